"""Utterances on their way to the disk, while somebody speaks: and in memory while it refuses."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from node.core.model import SAMPLE_RATE
from node.errors import StoreError
from node.service.items import DiskFailed, SpeechDropped

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import numpy.typing as npt

    from node.adapters.store import AudioFolder, Recording, Utterance, Utterances
    from node.core.segmenter import Ended
    from node.service.items import WorkerItem
    from node.service.speaking import Speaking

log = logging.getLogger(__name__)

MAX_MEMORY_S = 1800
"""Seconds of speech kept in memory while the disk refuses (55 MB); then the oldest is dropped."""

MB = 1024 * 1024


class Spoken:
    """One utterance; every step to the disk is taken as soon as the disk allows it."""

    def __init__(
        self, session_id: str, mic: str, label: str, language: str | None, start: int
    ) -> None:
        self._place = (session_id, mic, label, language, start)
        self._start = self.speech = start
        self._unwritten: list[npt.NDArray[np.int16]] = []
        self._on_disk: tuple[Utterance, Recording] | None = None
        self._finished = False
        self.ended: Ended | None = None
        self.heard = 0

    @property
    def seconds(self) -> float:
        return self.heard / SAMPLE_RATE

    @property
    def session_id(self) -> str:
        return self._place[0]

    @property
    def utterance(self) -> Utterance | None:
        """Its row, once the disk has taken one."""
        return self._on_disk[0] if self._on_disk else None

    def append(self, samples: npt.NDArray[np.int16]) -> None:
        self._unwritten.append(samples)
        self.heard += len(samples)

    def drop_sound(self) -> bool:
        """Forget what waits in memory; says whether nothing at all is left of it."""
        self._unwritten.clear()
        self.heard = 0
        if self.ended is not None:
            self.ended = replace(self.ended, sound=None)
        if self._on_disk is None:
            return True
        self._on_disk[1].drop_pending()
        return False

    def push(self, utterances: Utterances) -> bool:
        """Go as far as the disk allows; says whether it is all there, ready for the engine.

        Raises:
            StoreError, OSError: the disk refuses; what is missing is kept, to be pushed again.
        """
        if self._on_disk is None:
            self._on_disk = utterances.open(*self._place)
        utterance, recording = self._on_disk
        while self._unwritten:
            recording.append(self._unwritten.pop(0))
        if self.ended is None:
            return False
        if not self._finished:
            if self.ended.sound is not None:
                recording.put_in_place(self.ended.sound)
            recording.finish(self.ended.end - self._start)
            self._finished = True
        utterances.captured(utterance, self.ended)
        return True

    def discard(self, utterances: Utterances) -> None:
        """Take back what is on the disk.

        Raises:
            StoreError, OSError: the disk refuses.
        """
        if self._on_disk is not None:
            utterance, recording = self._on_disk
            recording.discard()
            utterances.discard(utterance)


class Spool:
    """Takes what is spoken. Owned by the listener thread."""

    def __init__(
        self,
        *,
        utterances: Utterances,
        audio: AudioFolder,
        max_mb: int,
        captured: Callable[[], None],
        speaking: Speaking | None = None,
        post: Callable[[WorkerItem], None],
    ) -> None:
        self._utterances = utterances
        self._audio = audio
        self._max_bytes = max_mb * MB
        self._captured = captured
        self._speaking = speaking
        self._post = post
        self._late: deque[Spoken] = deque()

    def begin(
        self, session_id: str, mic: str, label: str, language: str | None, at: tuple[int, int]
    ) -> Spoken | None:
        """Somebody has begun to speak; None where the spool is full: it is dropped, and said.

        `at` are the first samples of the sound that is kept and of the speech in it.
        """
        if not self._has_room():
            reason = f"storage.max_spool_mb ({self._max_bytes // MB}) is reached"
            self._post(SpeechDropped(mic, reason))
            return None
        spoken = Spoken(session_id, mic, label, language, at[0])
        spoken.speech = at[1]
        self._push(spoken)
        return spoken

    def append(self, spoken: Spoken, samples: npt.NDArray[np.int16], more: int) -> None:
        """Take more of it; at least `more` samples follow."""
        spoken.append(samples)
        self._push(spoken)
        if self._speaking is not None and (utterance := spoken.utterance) is not None:
            self._speaking.heard(utterance, spoken.speech, spoken.heard, more)

    def end(self, spoken: Spoken, ended: Ended) -> None:
        """It has been spoken."""
        spoken.ended = ended
        if not self._push(spoken):
            self._late.append(spoken)
            self._utterances.hold(spoken.session_id, 1)
            self._bound_memory()
        self._fall_silent(spoken)  # only now: the transcriber must know of it as one or the other

    def discard(self, spoken: Spoken) -> None:
        """It was another mic's speech: forget it."""
        self._fall_silent(spoken)
        try:
            spoken.discard(self._utterances)
        except (StoreError, OSError) as error:  # it is taken for speech then, which loses nothing
            self._post(DiskFailed(str(error)))

    def retry(self) -> None:
        """Push what the disk has refused so far."""
        while self._late and self._push(self._late[0]):
            self._utterances.hold(self._late.popleft().session_id, -1)

    def _fall_silent(self, spoken: Spoken) -> None:
        if self._speaking is not None and (utterance := spoken.utterance) is not None:
            self._speaking.ended(utterance)

    def _has_room(self) -> bool:
        try:
            while self._audio.total_bytes() > self._max_bytes:
                if not self._audio.drop_oldest_kept():
                    return False
        except OSError as error:
            self._post(DiskFailed(str(error)))
        return True

    def _push(self, spoken: Spoken) -> bool:
        try:
            there = spoken.push(self._utterances)
        except (StoreError, OSError) as error:
            self._post(DiskFailed(str(error)))
            return False
        if there:
            self._captured()
        return there

    def _bound_memory(self) -> None:
        while sum(spoken.seconds for spoken in self._late) > MAX_MEMORY_S:
            oldest = next(spoken for spoken in self._late if spoken.heard)
            reason = f"{oldest.seconds:.0f} s of speech: the disk has refused them for too long"
            self._post(SpeechDropped(None, reason))
            if oldest.drop_sound():
                self._late.remove(oldest)
                self._utterances.hold(oldest.session_id, -1)
