"""SIGHUP: the configuration is read again, and what can change without a restart does."""

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
"""Sections and keys that the next session takes up; every other change needs a restart."""


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
        """Take up what may change; says in a sentence what did and what waits for a restart."""
        try:
            config = load_config(self._file)
        except ConfigError as error:
            return f"the configuration is wrong, nothing is changed: {error}"
        changed = sorted(_differences(self._config.model_dump(), config.model_dump()))
        taken = [key for key in changed if _is_safe(key)]
        waiting = [key for key in changed if not _is_safe(key)]
        self._inventory.configure(config.audio)
        self._listener.configure(endpointing(config), config.crosstalk.mode)
        self._conductor.default_language = config.transcription.language
        self._config = _taken_up(self._config, config)
        parts = [
            f"taken up: {', '.join(taken)}" if taken else "",
            f"needs a restart: {', '.join(waiting)}" if waiting else "",
        ]
        return "; ".join(filter(None, parts)) or "the configuration has not changed"


def _is_safe(key: str) -> bool:
    return any(f"{key}.".startswith(f"{safe}.") for safe in SAFE)


def _taken_up(running: Config, new: Config) -> Config:
    """What serves from now on: of the new configuration what is safe, of the running one the rest.

    So a change that is taken back is one again.
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
    """Dotted keys whose values differ."""
    found: set[str] = set()
    for key, value in new.items():
        if isinstance(value, dict):
            found |= _differences(old[key], value, f"{prefix}{key}.")
        elif value != old[key]:
            found.add(f"{prefix}{key}")
    return found
