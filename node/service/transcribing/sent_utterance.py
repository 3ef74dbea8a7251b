"""One utterance at the workers: what is sent of it, and what has come back."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from pydantic import ValidationError

from node.adapters import flac
from node.adapters.whisper import heard_before
from node.core.model import SAMPLE_RATE, joined
from node.core.text.hallucination import quietest
from node.core.work.messages import (
    EarlierPart,
    Work,
    WorkError,
    WorkRequest,
    encode_request,
    part_of,
)
from node.core.work.patience import LONGEST_S

if TYPE_CHECKING:
    from node.adapters.store import Utterance
    from node.adapters.whisper import Clip, EngineSettings
    from node.core.model import Transcription
    from node.core.work.messages import ModelId

PROCESS = secrets.token_hex(4)
"""In the id of every request, so that answers to an earlier process are known as such."""

SHORTEST = 3 * SAMPLE_RATE // 2
"""Samples of the shortest piece into which an utterance is cut to fit into a packet."""


@dataclass(slots=True)
class Part:
    """A stretch of an utterance from sample `start`, and the request for it.

    Monotonic times: when it was sent first, when last (None: it has to be), when that is given up,
    and before when it must not be sent again. `sends` counts how often it was sent, `refusals`
    workers that could not take it.
    """

    start: int
    clip: Clip
    request: WorkRequest
    sound: bytes
    first_sent: float | None = None
    sent_at: float | None = None
    due: float = 0.0
    not_before: float = 0.0
    sends: int = 0
    refusals: int = 0
    answers_seen: int = 0
    heard: Transcription | None = None
    engine_s: float = 0.0

    @property
    def seconds(self) -> float:
        return self.request.total / SAMPLE_RATE

    def payload(self, deadline_s: float) -> bytes:
        request = self.request.model_copy(update={"deadline_s": round(deadline_s, 1)})
        return encode_request(Work(request, self.sound))


@dataclass(slots=True)
class SentUtterance:
    """An utterance at the workers.

    `returns`: it comes back instead of being sent again. `failed_at` are workers that failed on it;
    `missed` counts failures, and deadlines that passed, while others were answered.
    """

    utterance: Utterance
    clip: Clip
    returns: bool
    parts: list[Part] = field(default_factory=list)
    missed: int = 0
    failed_at: set[str] = field(default_factory=set)

    @property
    def is_done(self) -> bool:
        return all(part.heard is not None for part in self.parts)

    def heard(self) -> Transcription:
        """Return what was heard in all parts together."""
        first, *rest = self.parts
        assert first.heard is not None
        found = first.heard
        for part in rest:
            assert part.heard is not None
            start_s = part.start / SAMPLE_RATE
            found = joined([found, part.heard], start_s, found.language_probability)
        return found


class Cutter:
    """Makes requests of clips, each small enough for the broker."""

    def __init__(self, settings: EngineSettings, model: ModelId) -> None:
        self._settings = settings
        self._model = model

    def parts(self, key: str, clip: Clip, beam_size: int | None, most: int) -> list[Part] | None:
        """Return the requests for a clip, each of at most `most` bytes; None if that cannot be.

        First what was said before is left out, then the clip is cut at its quietest places.

        Raises:
            WorkError: it cannot be sent as a request.
        """
        clip = replace(clip, earlier=tuple(heard_before(clip)))
        whole = self._part(f"{PROCESS}/{key}", 0, clip, beam_size)
        if len(whole.payload(LONGEST_S)) <= most:
            return [whole]
        return self._cut(key, 0, replace(clip, earlier=()), beam_size, most)

    def _cut(
        self, key: str, start: int, clip: Clip, beam_size: int | None, most: int
    ) -> list[Part] | None:
        length = len(clip.samples)
        part = self._part(f"{PROCESS}/{key}/{start}-{start + length}", start, clip, beam_size)
        if len(part.payload(LONGEST_S)) <= most:
            return [part]
        if length < 2 * SHORTEST:
            return None
        middle = quietest(clip.samples)
        found: list[Part] = []
        for offset, samples in zip((0, middle), np.split(clip.samples, [middle]), strict=True):
            piece = replace(clip, samples=samples)
            cut = self._cut(key, start + offset, piece, beam_size, most)
            if cut is None:
                return None
            found += cut
        return found

    def _part(self, request_id: str, start: int, clip: Clip, beam_size: int | None) -> Part:
        try:
            request = self._request(request_id, clip, beam_size)
        except ValidationError as error:
            raise WorkError(
                f"it cannot be sent as a request: {error.errors()[0]['msg']}"
            ) from error
        sound = flac.encode(np.concatenate([*(e.samples for e in clip.earlier), clip.samples]))
        return Part(start, clip, request, sound)

    def _request(self, request_id: str, clip: Clip, beam_size: int | None) -> WorkRequest:
        settings = self._settings
        words = [*settings.hotwords, *([clip.hotwords] if clip.hotwords else [])]
        return WorkRequest(
            id=request_id,
            model=self._model,
            samples=len(clip.samples),
            earlier=[
                EarlierPart(samples=len(each.samples), text=each.text, language=each.language)
                for each in clip.earlier
            ],
            language=clip.language,
            languages=list(settings.languages),
            prior=part_of(clip.prior),
            hotwords=", ".join(words) or None,
            initial_prompt=settings.initial_prompt,
            beam_size=beam_size or settings.beam_size,
            window=settings.window,
            words=settings.word_timestamps,
            overlapped=clip.overlapped,
        )
