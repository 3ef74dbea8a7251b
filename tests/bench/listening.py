"""The engine as the service asks it: speaker by speaker, with what each has said before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.adapters.whisper import Engine, EngineSettings
from node.core.text.context import Contexts
from node.core.text.prior import LanguagePrior

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from node.core.model import Transcription

SESSION = "session"


def loaded(model: Path, languages: Sequence[str], threads: int) -> Engine:
    """An engine with the node's defaults.

    Raises:
        ModelError: there is no model in the folder.
    """
    settings = EngineSettings(
        model=str(model),
        folder=model,
        download_root=model,
        languages=tuple(languages),
        threads=threads,
    )
    engine = Engine(settings)
    engine.load()
    return engine


class Listener:
    """Hears the utterances of one session in order; with `context`, behind what was said before."""

    def __init__(self, engine: Engine, *, context: bool = True) -> None:
        self._engine = engine
        self._context = context
        self._languages = LanguagePrior()
        self._contexts = Contexts()

    def hear(self, speaker: str, start: int, samples: npt.NDArray[np.int16]) -> Transcription:
        """What is made of int16 samples at 16 kHz that begin at sample `start` of the session."""
        known = SESSION, speaker, speaker
        heard = self._engine.transcribe(
            samples,
            None,
            prior=self._languages.of(speaker, speaker),
            earlier=self._contexts.of(known, start) if self._context else (),
        )
        self._languages.learn(speaker, speaker, heard)
        self._contexts.learn(known, start + len(samples), samples, heard)
        return heard
