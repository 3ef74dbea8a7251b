"""Where a Whisper model comes from: a folder, the cache of earlier downloads, or the network."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from node.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

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

    Raises:
        ModelError: it is neither in its folder nor cached, nor can it be downloaded.
    """
    # Imported here: it takes a second and 90 MB that `check` and `--help` need not pay.
    from faster_whisper import WhisperModel  # noqa: PLC0415

    threads = settings.threads or min(MAX_AUTO_THREADS, os.cpu_count() or 1)
    source = str(settings.folder) if settings.folder else settings.model
    if settings.folder and not (settings.folder / "model.bin").is_file():
        raise ModelError(
            f"transcription.model: {settings.folder} holds no model.bin; give the folder of a"
            " CTranslate2 Whisper model, or a name such as base"
        )
    try:
        return _open(WhisperModel, source, settings, threads)
    except Exception as error:  # the loaders of three libraries raise whatever they like
        raise ModelError(_advice(settings, error)) from error


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
        return model_class(source, **options)


def _advice(settings: EngineSettings, error: Exception) -> str:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if settings.folder:
        return f"transcription.model: {settings.folder} cannot be loaded: {reason}"
    return (
        f"transcription.model: {settings.model} is not on this machine and cannot be downloaded"
        f" ({reason}); run `python -m node fetch-model` where there is a network, or give a folder"
    )
