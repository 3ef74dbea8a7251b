"""SIGHUP: read the configuration again and apply what can change without a restart."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from node.config import Config, load_config
from node.errors import ConfigError
from node.service.settings import endpointing

if TYPE_CHECKING:
    from pathlib import Path

    from node.service.conductor import Conductor
    from node.service.inventory import Inventory
    from node.service.items import ReloadRequested
    from node.service.listening.listener import Listener
    from node.service.mic_scanner import MicScanner
    from node.service.publishing.publisher import Publisher
    from node.service.supervision import Supervision

log = logging.getLogger(__name__)

SAFE = ("vad", "audio", "crosstalk", "transcription.language")
"""Sections and keys that apply from the next session; every other change needs a restart."""


class Reloader:
    """Owned by the main thread."""

    def __init__(
        self,
        *,
        file: Path,
        config: Config,
        inventory: Inventory,
        scanner: MicScanner,
        listener: Listener,
        conductor: Conductor,
        publisher: Publisher,
        supervision: Supervision,
    ) -> None:
        self._file = file
        self._config = config
        self._inventory = inventory
        self._listener = listener
        self._scanner = scanner
        self._conductor = conductor
        self._publisher = publisher
        self._supervision = supervision

    def on_reload(self, _item: ReloadRequested) -> None:
        self._supervision.reloading()
        self._publisher.event("configuration", self._reload())
        self._scanner.renew()
        self._supervision.up()

    def _reload(self) -> str:
        """Apply what may change; return a sentence on what did and what needs a restart."""
        try:
            config = load_config(self._file)
        except ConfigError as error:
            return f"the configuration is invalid, nothing has changed: {error}"
        changed = sorted(_differences(self._config.model_dump(), config.model_dump()))
        applied = [key for key in changed if _is_safe(key)]
        waiting = [key for key in changed if not _is_safe(key)]
        self._inventory.configure(config.audio)
        self._listener.configure(endpointing(config), config.crosstalk.mode)
        self._conductor.default_language = config.transcription.language
        self._config = _merged(self._config, config)
        parts = [
            f"applied: {', '.join(applied)}" if applied else "",
            f"needs a restart: {', '.join(waiting)}" if waiting else "",
        ]
        return "; ".join(filter(None, parts)) or "the configuration has not changed"


def _is_safe(key: str) -> bool:
    return any(f"{key}.".startswith(f"{safe}.") for safe in SAFE)


def _merged(running: Config, new: Config) -> Config:
    """Return the configuration in use: what is safe from the new one, the rest as it was.

    So undoing a change shows as a change again.
    """
    language = {"language": new.transcription.language}
    return running.model_copy(
        update={
            "vad": new.vad,
            "audio": new.audio,
            "crosstalk": new.crosstalk,
            "transcription": running.transcription.model_copy(update=language),
        }
    )


def _differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> set[str]:
    """Return the dotted keys whose values differ."""
    found: set[str] = set()
    for key, value in new.items():
        if isinstance(value, dict):
            found |= _differences(old[key], value, f"{prefix}{key}.")
        elif value != old[key]:
            found.add(f"{prefix}{key}")
    return found
