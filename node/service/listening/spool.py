"""Writes utterances to the disk while they are spoken; keeps them in memory if it refuses."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from node.core.model import MB, SAMPLE_RATE, iso
from node.errors import StoreError
from node.service.items import DiskFailed, SegmentWithdrawn, SpeechDropped
from node.service.transcribing.segments import speaker_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import numpy.typing as npt

    from node.adapters.store import AudioFolder, Recording, Utterance, Utterances
    from node.core.model import Segment
    from node.core.mqtt.payloads import EventPayload
    from node.core.mqtt.topics import Topics
    from node.core.room.endpointing import Ended
    from node.core.text.context import Speaker
    from node.service.items import ThreadItem
    from node.service.transcribing.partials import Speaking

log = logging.getLogger(__name__)

MAX_MEMORY_S = 1800
"""Seconds of speech kept in memory while the disk refuses (55 MB); beyond that the oldest goes."""

LOOK_EVERY_S = 2.0
"""How often to recount a full spool: with tens of thousands of files that takes a moment."""


class SpooledUtterance:
    """One utterance: what is on the disk, and what is still to be written or deleted."""

    def __init__(
        self, session_id: str, mic: str, speaker: str, language: str | None, start: int
    ) -> None:
        self._place = (session_id, mic, speaker, language, start)
        self.start = self.speech = start
        self._unwritten: list[npt.NDArray[np.int16]] = []
        self._on_disk: tuple[Utterance, Recording] | None = None
        self._finished = self._captured = self._discarded = False
        self._withdrawal: tuple[str, bool] | None = None
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
        """Its row, once it is on the disk."""
        return self._on_disk[0] if self._on_disk else None

    def append(self, samples: npt.NDArray[np.int16]) -> None:
        self._unwritten.append(samples)
        self.heard += len(samples)

    def discard(self) -> None:
        """Drop it, as another mic's speech: from memory now, from the disk in `write`."""
        self._discarded = True
        self.drop_sound()

    def withdraw(self, other: str, *, keep: bool) -> None:
        """Treat an ended one as speech of the mic `other`: `keep` it as such, or discard it."""
        assert self.ended is not None
        if self._captured:
            self._withdrawal = other, keep
        elif keep:
            self.ended = replace(self.ended, crosstalk_of=other)
        else:
            self.discard()

    def drop_sound(self) -> bool:
        """Drop what waits in memory; return whether nothing at all is left of it."""
        self._unwritten.clear()
        self.heard = 0
        if self.ended is not None:
            self.ended = replace(self.ended, sound=None, raw=None)
        if self._on_disk is None:
            return True
        self._on_disk[1].drop_pending()
        return False

    def write(self, utterances: Utterances) -> bool:
        """Write what is still missing on the disk, or delete a discarded utterance.

        Returns:
            Whether it is done: it waits for the engine, or no trace of it is left.

        Raises:
            StoreError, OSError: the disk refuses; the next call goes on from there.
        """
        if self._discarded:
            if self._on_disk is not None:
                utterances.discard(*self._on_disk)
                self._on_disk = None
            return True
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
            recording.finish(self.ended.end - self.start)
            self._finished = True
        if not self._captured:
            utterances.captured(utterance, self.ended)
            self._captured = True
            self.drop_sound()
        return True

    def withdrawn(
        self, utterances: Utterances, tell: Callable[[Segment], tuple[str, str]]
    ) -> Segment | None:
        """Withdraw it in the store, if that is due; return its segment if it had one already.

        To be called once `write` is done.

        Raises:
            StoreError: the disk refuses.
        """
        if self._withdrawal is None or self._on_disk is None:
            return None
        other, keep = self._withdrawal
        return utterances.withdraw(self._on_disk[0], other, keep=keep, tell=tell)


class Spool:
    """The service's sink: holds each utterance until it waits for the engine or is discarded.

    Once the disk has refused something, everything after it waits for `retry`, which goes through
    the utterances in the order in which they began. Owned by the listener thread.
    """

    def __init__(
        self,
        *,
        utterances: Utterances,
        audio: AudioFolder,
        max_mb: int,
        captured: Callable[[], None],
        misheard: Callable[[Speaker], None],
        topics: Topics,
        speaking: Speaking | None = None,
        post: Callable[[ThreadItem], None],
    ) -> None:
        self._utterances = utterances
        self._audio = audio
        self._max_bytes = max_mb * MB
        self._captured = captured
        self._misheard = misheard
        self._tell = partial(withdrawal, topics)
        self._speaking = speaking
        self._post = post
        self._pending: list[SpooledUtterance] = []
        self._refused = False
        self._look_at = 0.0

    def begin(
        self, session_id: str, mic: str, speaker: str, language: str | None, at: tuple[int, int]
    ) -> SpooledUtterance | None:
        """Begin an utterance; if the spool is full, report it as dropped and return None.

        `at` holds the first sample of the sound to keep, and that of the speech in it.
        """
        if not self._has_room():
            reason = f"storage.max_spool_mb ({self._max_bytes // MB}) is reached"
            self._post(SpeechDropped(mic, reason))
            return None
        spoken = SpooledUtterance(session_id, mic, speaker, language, at[0])
        spoken.speech = at[1]
        self._pending.append(spoken)
        self._push(spoken)
        return spoken

    def append(self, spoken: SpooledUtterance, samples: npt.NDArray[np.int16], more: int) -> None:
        """Add sound to it; at least `more` samples follow."""
        spoken.append(samples)
        self._push(spoken)
        if self._speaking is not None and (utterance := spoken.utterance) is not None:
            self._speaking.heard(utterance, spoken.speech, spoken.heard, more)

    def end(self, spoken: SpooledUtterance, ended: Ended) -> None:
        """End it."""
        # What the disk refuses waits in memory, where there is no room for a second copy.
        spoken.ended = replace(ended, raw=None) if self._refused else ended
        # Its session waits for it, whether or not the disk has its row.
        self._utterances.hold(spoken.session_id, 1)
        self._push(spoken)
        self._bound_memory()
        self._fall_silent(spoken)  # only now: the transcriber must know it as open or captured

    def discard(self, spoken: SpooledUtterance) -> None:
        """Discard it: it was another mic's speech."""
        self._fall_silent(spoken)
        spoken.discard()
        self._push(spoken)

    def withdraw(self, spoken: SpooledUtterance, other: str, *, keep: bool) -> None:
        """Withdraw it: it ended as its mic's own, but was the speech of the mic `other`.

        Args:
            spoken: what `end` was called with.
            other: the mic whose own utterance has the same speech.
            keep: whether to transcribe it all the same, if that is still to be done.
        """
        if spoken not in self._pending:
            if spoken.utterance is None:  # nothing of it was kept
                return
            self._pending.append(spoken)
            self._utterances.hold(spoken.session_id, 1)  # its session must wait for that
        spoken.withdraw(other, keep=keep)
        self._push(spoken)

    def retry(self) -> None:
        """Try again to write what the disk has refused."""
        if not self._refused:
            return
        self._refused = False
        refused = False
        for spoken in tuple(self._pending):
            self._push(spoken)
            refused, self._refused = refused or self._refused, False
        self._refused = refused

    def _fall_silent(self, spoken: SpooledUtterance) -> None:
        if self._speaking is not None and (utterance := spoken.utterance) is not None:
            self._speaking.ended(utterance)

    def _has_room(self) -> bool:
        try:
            return self._make_room() or (self._may_look() and self._make_room())
        except OSError as error:
            self._post(DiskFailed(str(error)))
        return True

    def _make_room(self) -> bool:
        """Delete kept sound as needed; return whether there is room."""
        while self._audio.total_bytes() > self._max_bytes:
            if not self._audio.drop_oldest_kept():
                return False
        return True

    def _may_look(self) -> bool:
        """Recount before dropping speech, but not too often; somebody may have made room."""
        if time.monotonic() < self._look_at:
            return False
        self._audio.look()
        self._look_at = time.monotonic() + LOOK_EVERY_S
        return True

    def _push(self, spoken: SpooledUtterance) -> None:
        """Write or delete an utterance as far as the disk allows now."""
        if self._refused:
            return
        try:
            done = spoken.write(self._utterances)
            withdrawn = spoken.withdrawn(self._utterances, self._tell) if done else None
        except (StoreError, OSError) as error:
            self._refused = True
            self._post(DiskFailed(str(error)))
            return
        if withdrawn is not None:
            self._misheard(speaker_of(withdrawn))
            self._post(SegmentWithdrawn(withdrawn))
        if done:
            self._let_go(spoken)
            self._captured()

    def _let_go(self, spoken: SpooledUtterance) -> None:
        self._pending.remove(spoken)
        if spoken.ended is not None:
            self._utterances.hold(spoken.session_id, -1)

    def _bound_memory(self) -> None:
        late = [spoken for spoken in self._pending if spoken.ended is not None and spoken.heard]
        seconds = sum(spoken.seconds for spoken in late)
        while seconds > MAX_MEMORY_S:
            oldest = late.pop(0)
            seconds -= oldest.seconds
            reason = f"{oldest.seconds:.0f} s of speech: the disk has been refusing for too long"
            self._post(SpeechDropped(None, reason))
            if oldest.drop_sound():
                self._let_go(oldest)


def withdrawal(topics: Topics, segment: Segment) -> tuple[str, str]:
    """Return topic and payload of the event for a segment that was another mic's speech."""
    event: EventPayload = {
        "event_type": "segment_withdrawn",
        "id": segment.id,
        "mic": segment.mic,
        "message": f"{segment.mic}: a segment is left out of the transcript: it was the speech of"
        f" {segment.crosstalk_of}; the node learned only later how these two mics hear each other",
        "time": iso(datetime.now(UTC)),
    }
    return topics.event, json.dumps(event, ensure_ascii=False)
