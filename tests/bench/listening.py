"""The engine as the service uses it: by speaker, in the context of what each said before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.adapters.store import Utterance
from node.adapters.whisper import Engine, EngineSettings
from node.service.transcribing.segments import Recogniser

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from node.core.model import Transcription

SESSION = "session"


def loaded(model: Path, languages: Sequence[str], threads: int) -> Engine:
    """Return an engine with the node's defaults.

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
    """Transcribes a session's utterances in order; with `context`, after what was said before."""

    def __init__(self, engine: Engine, *, context: bool = True) -> None:
        self._recogniser = Recogniser(engine)
        self._context = context

    def hear(self, speaker: str, start: int, samples: npt.NDArray[np.int16]) -> Transcription:
        """Transcribe int16 samples at 16 kHz that begin at sample `start` of the session."""
        utterance = Utterance(SESSION, 0, speaker, speaker, None, start, start + len(samples))
        clip = self._recogniser.clip(utterance, samples, alone=not self._context)
        heard = self._recogniser.transcribe(clip)
        self._recogniser.learn(utterance, clip, heard)
        return heard
