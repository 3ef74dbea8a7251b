"""Where a Whisper model comes from: a folder, the cache of earlier downloads, or the network."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from node.errors import HubError, ModelError

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

FILES = ("model.bin", "config.json", "tokenizer.json")
VOCABULARIES = ("vocabulary.json", "vocabulary.txt")
"""Files that a model's folder must hold, and of which it must hold one."""

CONFIG_KEYS = frozenset({"suppress_ids", "suppress_ids_begin"})
"""Keys of `config.json` without which CTranslate2 fails at the first utterance."""

NOTICE_FILE = "notice.txt"
"""A model folder may say in this file what it cannot do; the node repeats it wherever it can."""

ALONE = "learned_from_single_utterances"
"""Key of a model's `config.json`; CTranslate2 passes over what it does not know."""

MAX_AUTO_THREADS = 4
"""More threads gain little on one encode and cost the rest of the machine (faster-whisper #33)."""


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """The `transcription` section, with the model found out to be a name or a folder."""

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

    A folder is all there is to a model that has one: the network is not asked for what is missing.

    Raises:
        HubError: it is not on this machine, and the hub does not deliver it.
        ModelError: its folder or its files are no good; or this machine cannot compute in the
            type configured.
    """
    # Imported here: it takes a second and 90 MB that `check` and `--help` need not pay.
    from faster_whisper import WhisperModel  # noqa: PLC0415

    threads = settings.threads or min(MAX_AUTO_THREADS, os.cpu_count() or 1)
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


def notice_of(settings: EngineSettings) -> str | None:
    """What the model's folder says of its own limits."""
    file = settings.folder / NOTICE_FILE if settings.folder else None
    if file is None or not file.is_file():
        return None
    try:  # whatever its encoding: it is for people, who read the rest of it
        return file.read_text(encoding="utf-8", errors="replace").strip() or None
    except OSError as error:
        log.warning("%s cannot be read: %s", file, error)
        return None


def hears_alone(settings: EngineSettings) -> bool:
    """Whether the model has learned from single utterances only, as its `config.json` says.

    It is lost where something stands before an utterance, and has no leaning to English. Models
    that were trained as Whisper was do not say so, and neither does a file that makes no sense.
    """
    file = settings.folder / "config.json" if settings.folder else None
    if file is None or not file.is_file():
        return False
    try:
        return bool(json.loads(file.read_bytes()).get(ALONE))
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        log.warning("%s cannot be read (%s): fetch the model anew", file, type(error).__name__)
        return False


def _require_type(compute_type: str) -> None:
    """Raises ModelError where CTranslate2 cannot compute in this type here."""
    from ctranslate2 import get_supported_compute_types  # noqa: PLC0415 -- see open_model

    supported = {"auto", "default", *get_supported_compute_types("cpu")}
    if compute_type not in supported:
        raise ModelError(
            f"transcription.compute_type: this machine's processor does not compute in"
            f" {compute_type}; use one of {', '.join(sorted(supported))}"
        )


def _require_files(folder: Path) -> None:
    """Raises ModelError where a file is missing: faster-whisper would fetch some from the network.

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
            f"transcription.model: {folder}/config.json is none of a CTranslate2 Whisper model:"
            f" it must hold {' and '.join(sorted(CONFIG_KEYS))}"
        )


def _missing(folder: Path) -> list[str]:
    """Names of files that a model's folder lacks. Raises OSError where it cannot be read."""
    wanted = [(name,) for name in FILES] + [VOCABULARIES]
    return [
        " or ".join(names)
        for names in wanted
        if not any((folder / name).is_file() for name in names)
    ]


def _require_bands(model: Any, source: str) -> None:
    """Raises ModelError where sound would be analysed in other bands than the model has learned."""
    wanted, made = model.model.n_mels, len(model.feature_extractor.mel_filters)
    if wanted != made:
        raise ModelError(
            f"transcription.model: {source} hears {wanted} mel bands, but its"
            f" preprocessor_config.json makes {made} (80 where that file is missing or damaged);"
            " take that file from where the model comes from"
        )


def _open(model_class: Any, source: str, settings: EngineSettings, threads: int) -> Any:
    """Load what is on the disk; ask the network only where nothing is."""
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
    """Folder of the model, fetched from the hub.

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
    """What to say of a model that is there and cannot be loaded."""
    model = settings.folder or settings.model
    return f"transcription.model: {model} cannot be loaded: {_reason(error)}"


def _reason(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
