"""Where a Whisper model comes from: a folder, the cache of earlier downloads, or the network."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from node.errors import HubError, ModelError

log = logging.getLogger(__name__)

FILES = ("model.bin", "config.json", "tokenizer.json")
VOCABULARIES = ("vocabulary.json", "vocabulary.txt")
"""Files that a model folder must have, and files of which it must have one."""

CONFIG_KEYS = frozenset({"suppress_ids", "suppress_ids_begin"})
"""Keys of `config.json` without which CTranslate2 fails at the first utterance."""

NOTICE_FILE = "notice.txt"
"""A model folder may state the model's limits in this file; the node repeats them everywhere."""

ALONE = "learned_from_single_utterances"
"""Key of a model's `config.json`; CTranslate2 ignores keys that it does not know."""

MAX_AUTO_THREADS = 4
"""More threads gain little on one encode and cost the rest of the machine (faster-whisper #33)."""


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """The `transcription` section, with the model resolved to a name or a folder."""

    model: str
    folder: Path | None
    download_root: Path
    compute_type: str = "int8"
    languages: tuple[str, ...] = ()
    threads: int = 0
    beam_size: int = 5
    window: Literal["fit", "full"] = "fit"
    word_timestamps: bool = False
    hotwords: tuple[str, ...] = ()
    initial_prompt: str | None = None


def open_model(settings: EngineSettings) -> Any:
    """Load the `faster_whisper.WhisperModel` that the settings name.

    A folder must be complete: what is missing is not fetched from the network.

    Raises:
        HubError: it is not on this machine, and the hub does not deliver it.
        ModelError: its folder or files are unusable, or this machine does not support the
            configured compute type.
    """
    # Imported here: it takes a second and 90 MB, which commands without a model need not pay.
    from faster_whisper import WhisperModel  # noqa: PLC0415  # it takes a second

    threads = threads_of(settings)
    source = str(settings.folder) if settings.folder else settings.model
    _require_type(settings.compute_type)
    if settings.folder:
        _require_files(settings.folder)
    try:
        model = _open(WhisperModel, source, settings, threads)
    except HubError:
        raise
    except Exception as error:  # the loaders of three libraries raise whatever they like
        raise ModelError(_advice(settings, error)) from error
    _require_bands(model, source)
    return model


def threads_of(settings: EngineSettings) -> int:
    """Return how many processor threads the model gets."""
    return settings.threads or min(MAX_AUTO_THREADS, os.cpu_count() or 1)


def folder_of(settings: EngineSettings) -> Path:
    """Return the folder of a model that is on this machine.

    Raises:
        ModelError: it is not there.
    """
    if settings.folder:
        return settings.folder
    from faster_whisper import download_model  # noqa: PLC0415 -- see open_model

    try:
        cache = str(settings.download_root)
        return Path(download_model(settings.model, local_files_only=True, cache_dir=cache))
    except (OSError, ValueError, RuntimeError) as error:  # which one varies with the hub's library
        raise ModelError(f"transcription.model: {settings.model} is not on this machine") from error


def notice_of(settings: EngineSettings) -> str | None:
    """Return what the model folder says about the model's limits, if anything."""
    file = settings.folder / NOTICE_FILE if settings.folder else None
    if file is None or not file.is_file():
        return None
    try:  # in any encoding: people can read it even with some characters replaced
        return file.read_text(encoding="utf-8", errors="replace").strip() or None
    except OSError as error:
        log.warning("%s cannot be read: %s", file, error)
        return None


def hears_alone(settings: EngineSettings) -> bool:
    """Return whether the model was trained on single utterances only, by its `config.json`.

    Such a model fails on an utterance with speech before it, and has no bias towards English.
    Models trained like Whisper do not say so, and an unreadable file counts as not saying so.
    """
    file = settings.folder / "config.json" if settings.folder else None
    if file is None or not file.is_file():
        return False
    try:
        return bool(json.loads(file.read_bytes()).get(ALONE))
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        log.warning("%s cannot be read (%s): fetch the model again", file, type(error).__name__)
        return False


def _require_type(compute_type: str) -> None:
    """Raise ModelError if CTranslate2 does not support this type on this machine."""
    from ctranslate2 import get_supported_compute_types  # noqa: PLC0415 -- see open_model

    supported = {"auto", "default", *get_supported_compute_types("cpu")}
    if compute_type not in supported:
        raise ModelError(
            f"transcription.compute_type: this machine's processor does not support {compute_type};"
            f" use one of {', '.join(sorted(supported))}"
        )


def _require_files(folder: Path) -> None:
    """Raise ModelError if a file is missing: faster-whisper would fetch some from the network.

    `preprocessor_config.json` may be missing, see `_require_bands`.
    """
    try:
        missing = _missing(folder)
    except OSError as error:
        raise ModelError(
            f"transcription.model: {folder} cannot be read: {error.strerror}; give a folder that"
            " this user may read"
        ) from error
    if missing:
        raise ModelError(
            f"transcription.model: {folder} holds no {', no '.join(missing)}; give the folder of a"
            " CTranslate2 Whisper model with all its files, or a name such as base"
        )
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"transcription.model: {folder}/config.json: {error}") from error
    if not isinstance(config, dict) or not config.keys() >= CONFIG_KEYS:
        raise ModelError(
            f"transcription.model: {folder}/config.json is not that of a CTranslate2 Whisper model:"
            f" it must have {' and '.join(sorted(CONFIG_KEYS))}"
        )


def _missing(folder: Path) -> list[str]:
    """Return the names of files that a model folder lacks; OSError if it cannot be read."""
    wanted = [(name,) for name in FILES] + [VOCABULARIES]
    return [
        " or ".join(names)
        for names in wanted
        if not any((folder / name).is_file() for name in names)
    ]


def _require_bands(model: Any, source: str) -> None:
    """Raise ModelError if sound would be analysed in other mel bands than the model expects."""
    wanted, made = model.model.n_mels, len(model.feature_extractor.mel_filters)
    if wanted != made:
        raise ModelError(
            f"transcription.model: {source} expects {wanted} mel bands, but its"
            f" preprocessor_config.json gives {made} (80 if that file is missing or damaged);"
            " copy that file from where the model comes from"
        )


def _open(model_class: Any, source: str, settings: EngineSettings, threads: int) -> Any:
    """Load the model from the disk; ask the network only if it is not there."""
    options = {
        "device": "cpu",
        "compute_type": settings.compute_type,
        "cpu_threads": threads,
        "num_workers": 1,
        "download_root": str(settings.download_root),
    }
    if settings.folder:
        return model_class(source, **options, local_files_only=True)
    try:
        return model_class(source, **options, local_files_only=True)
    except Exception as error:  # noqa: BLE001  # not cached: which error says so varies by version
        log.info("model %s is not on this machine yet, downloading it (%s)", source, type(error))
    return model_class(_downloaded(settings), **options, local_files_only=True)


def _downloaded(settings: EngineSettings) -> str:
    """Return the folder of the model, fetched from the hub.

    Raises:
        HubError: the hub does not deliver it.
    """
    from faster_whisper import download_model  # noqa: PLC0415 -- see open_model

    try:
        folder: str = download_model(settings.model, cache_dir=str(settings.download_root))
    except Exception as error:  # two HTTP libraries and a file system raise whatever they like
        reason = _reason(error)
        raise HubError(
            f"transcription.model: {settings.model} is not on this machine and cannot be"
            f" downloaded ({reason}); run `python -m node fetch-model` where there is a network, or"
            " give a folder",
            reason,
        ) from error
    return folder


def _advice(settings: EngineSettings, error: Exception) -> str:
    """Return what to say about a model that is there but cannot be loaded."""
    model = settings.folder or settings.model
    return f"transcription.model: {model} cannot be loaded: {_reason(error)}"


def _reason(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
