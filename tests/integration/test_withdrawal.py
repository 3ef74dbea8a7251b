"""Withdrawing an utterance that was another's speech, in every state it may be in.

Over a real spool and store; the transcriber's part is played step by step.
"""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.adapters.store import Store
from node.adapters.vad import Silero
from node.core.model import Assignment, Segment, Session, Transcription
from node.core.mqtt.topics import Topics
from node.core.room.endpointing import Ended, Endpointing
from node.core.room.room import Room
from node.errors import StoreError
from node.service.items import DiskFailed, SegmentWithdrawn
from node.service.listening.recorder import Recorder
from node.service.listening.spool import Spool, withdrawal
from node.service.transcribing.segments import segment_of
from tests.rig.introductions import tracks
from tests.rig.node import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from node.adapters.store import Utterance
    from node.core.text.context import Speaker
    from node.service.items import ThreadItem
    from node.service.listening.spool import SpooledUtterance

SESSION = "20261122T100000Z-aaaa"
SECOND = 16000
TOPICS = Topics("scribe", "lab")
HEARD = Transcription("Bonjour.", "fr", 0.9, 0.9)


@dataclass
class Desk:
    """A spool over a store; says and withdraws what Alice's mic picks up of Bruno at the door."""

    store: Store

    def __post_init__(self) -> None:
        self.items: list[ThreadItem] = []
        self.misheard: list[Speaker] = []
        self.spool = Spool(
            utterances=self.store.utterances,
            audio=self.store.audio,
            max_mb=10,
            captured=lambda: None,
            misheard=self.misheard.append,
            topics=TOPICS,
            post=self.items.append,
        )

    def refuse(self, *, refuses: bool) -> None:
        """Make SQLite refuse everything, or accept everything again."""
        with self.store.utterances._database.reading() as connection:
            connection.execute(f"PRAGMA query_only={'ON' if refuses else 'OFF'}")

    def say(self, number: int = 0) -> SpooledUtterance:
        start = number * 10 * SECOND
        spoken = self.spool.begin(SESSION, "desk", "Alice", None, (start, start + 100))
        assert spoken is not None
        self.spool.append(spoken, np.zeros(SECOND, np.int16), 0)
        self.spool.end(spoken, Ended(start + SECOND, speech=(start + 100, start + SECOND)))
        return spoken

    def withdraw(self, spoken: SpooledUtterance, *, keep: bool = False) -> None:
        self.spool.withdraw(spoken, "door", keep=keep)

    def take(self) -> Utterance:
        (utterance,) = self.store.utterances.next()
        return utterance

    def transcribe(self, utterance: Utterance) -> Segment | None:
        return self.store.utterances.transcribed(utterance, made(utterance))

    def segments(self) -> list[Segment]:
        return self.store.sessions.segments(SESSION)

    def unsent(self) -> list[tuple[str, dict[str, Any]]]:
        return [(m.topic, json.loads(m.payload)) for m in self.store.outbox.after(0, 99)]


def made(utterance: Utterance) -> Callable[[int], tuple[Segment, str, str]]:
    def make(seq: int) -> tuple[Segment, str, str]:
        segment = segment_of(utterance, HEARD, seq, 0.5)
        payload = json.dumps(segment.payload(datetime.now(UTC)))
        return segment, TOPICS.segment(utterance.mic), payload

    return make


def opened(folder: Path) -> Store:
    store = Store(folder, keep_audio=False)
    store.open()
    return store


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    store = opened(tmp_path)
    store.sessions.begin(Session(SESSION, datetime.now(UTC)), 0.0)
    yield Desk(store)
    store.close()


def spool(folder: Path) -> list[str]:
    return [file.name for file in (folder / "spool").iterdir()]


def is_nowhere(desk: Desk, folder: Path) -> bool:
    """Return whether no trace is left of anything that was said."""
    waits = desk.store.utterances.waiting(SESSION)
    return not waits and not desk.segments() and not desk.unsent() and not spool(folder)


def test_one_that_waits_is_forgotten(desk: Desk, tmp_path: Path) -> None:
    """By the transcriber's thread, which may be reading its sound."""
    desk.withdraw(desk.say())
    assert desk.store.utterances.next() == []
    assert desk.store.utterances.backlog_s() == 0
    assert desk.store.utterances.queue() == (None, 0.0)
    assert desk.store.utterances.waiting(SESSION) == 1
    assert len(desk.store.utterances.drop_unwanted()) == 1
    assert is_nowhere(desk, tmp_path)
    assert (desk.items, desk.misheard) == ([], [])


def test_one_that_waits_becomes_a_tagged_segment_where_those_are_kept(desk: Desk) -> None:
    desk.withdraw(desk.say(), keep=True)
    assert desk.store.utterances.drop_unwanted() == []
    segment = desk.transcribe(desk.take())
    assert segment is not None
    assert (segment.crosstalk_of, segment.seq) == ("door", 0)
    assert desk.segments() == [segment]
    assert desk.unsent() == []
    assert desk.store.sessions.segments_total(SESSION) == 0


def test_one_that_the_engine_is_at_makes_no_segment(desk: Desk, tmp_path: Path) -> None:
    spoken = desk.say()
    utterance = desk.take()
    desk.withdraw(spoken)
    assert len(desk.store.utterances.audio(utterance)) == SECOND
    assert desk.transcribe(utterance) is None
    assert desk.store.utterances.drop_unwanted() == []
    assert is_nowhere(desk, tmp_path)


def test_a_crash_does_not_bring_back_what_was_withdrawn(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its sound is deleted before the row that says whose speech it was."""
    spoken = desk.say()
    utterance = desk.take()
    desk.withdraw(spoken)

    def crash(*_given: object) -> None:
        raise OSError("the process ends here")

    for name in ("release", "discard"):
        monkeypatch.setattr(desk.store.audio, name, crash)
    with suppress(StoreError):
        desk.transcribe(utterance)
    desk.store.close()
    again = opened(tmp_path)
    again.utterances.recover()
    again.utterances.drop_unwanted()
    assert again.utterances.next() == []
    assert not spool(tmp_path)
    again.close()


def test_one_that_the_engine_is_at_is_tagged_where_those_are_kept(desk: Desk) -> None:
    spoken = desk.say()
    utterance = desk.take()
    desk.withdraw(spoken, keep=True)
    segment = desk.transcribe(utterance)
    assert segment is not None
    assert (segment.crosstalk_of, segment.seq) == ("door", 0)
    assert desk.unsent() == []
    following = desk.say(1)
    assert (own := desk.transcribe(desk.take())) is not None
    assert own.seq == 1
    assert following.utterance is not None


def test_a_withdrawal_that_is_repeated_is_told_once(desk: Desk) -> None:
    """As after a crash between the store's commit and the listener's note of it."""
    desk.say()
    utterance = desk.take()
    desk.transcribe(utterance)
    for expected in (True, False):
        segment = desk.store.utterances.withdraw(
            utterance, "door", keep=True, tell=lambda tagged: withdrawal(TOPICS, tagged)
        )
        assert (segment is not None) is expected
    assert [body["event_type"] for _, body in desk.unsent()] == ["segment", "segment_withdrawn"]
    assert desk.store.sessions.segments_total(SESSION) == 0


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("sent", [True, False])
def test_a_segment_is_tagged_and_taken_back_behind_itself(
    desk: Desk, *, keep: bool, sent: bool
) -> None:
    spoken = desk.say()
    own = desk.transcribe(desk.take())
    assert own is not None
    if sent:
        desk.store.outbox.done([message.id for message in desk.store.outbox.after(0, 9)])
    desk.withdraw(spoken, keep=keep)
    (segment,) = desk.segments()
    assert (segment.id, segment.seq, segment.crosstalk_of) == (own.id, 1, "door")
    *before, (topic, event) = desk.unsent()
    assert [body["id"] for _, body in before] == ([] if sent else [own.id])
    assert topic == "scribe/lab/event"
    assert (event["event_type"], event["id"], event["mic"]) == (
        "segment_withdrawn",
        own.id,
        "desk",
    )
    assert "Alice" not in event["message"]
    assert HEARD.text not in event["message"]
    assert desk.items == [SegmentWithdrawn(segment)]
    assert desk.misheard == [(SESSION, "desk", "Alice")]
    # Its number stays taken, and it is not counted.
    desk.say(1)
    assert (following := desk.transcribe(desk.take())) is not None
    assert following.seq == 2
    assert desk.store.sessions.segments_total(SESSION) == 1
    listed, _ = desk.store.sessions.page(1, 0)
    assert listed[0]["segments_total"] == 1


def test_nothing_is_said_of_a_segment_that_the_broker_never_took(desk: Desk) -> None:
    spoken = desk.say()
    desk.transcribe(desk.take())
    (message,) = desk.store.outbox.after(0, 9)
    desk.store.outbox.set_aside(message.id, "a test")
    desk.withdraw(spoken)
    assert [each.crosstalk_of for each in desk.segments()] == ["door"]
    assert desk.unsent() == []


def test_one_in_which_nothing_was_said_is_no_matter(desk: Desk, tmp_path: Path) -> None:
    spoken = desk.say()
    desk.store.utterances.transcribed(desk.take(), None)
    desk.withdraw(spoken)
    assert is_nowhere(desk, tmp_path)


def test_one_that_was_given_up_stays_given_up(desk: Desk, tmp_path: Path) -> None:
    spoken = desk.say()
    kept = desk.store.utterances.fail(desk.take(), "a test")
    desk.withdraw(spoken)
    assert desk.store.utterances.drop_unwanted() == []
    assert is_nowhere(desk, tmp_path)
    assert kept.exists()


def test_one_of_an_erased_session_is_no_matter(desk: Desk) -> None:
    spoken = desk.say()
    desk.transcribe(desk.take())
    desk.store.traces.strike(SESSION)
    desk.withdraw(spoken)
    assert desk.unsent() == []
    assert desk.items == []


@pytest.mark.parametrize("keep", [True, False])
def test_one_that_the_disk_has_not_taken_is_withdrawn_in_memory(
    desk: Desk, tmp_path: Path, *, keep: bool
) -> None:
    desk.refuse(refuses=True)
    desk.withdraw(desk.say(), keep=keep)
    assert desk.store.utterances.waiting(SESSION) == 1
    desk.refuse(refuses=False)
    desk.spool.retry()
    if not keep:
        assert is_nowhere(desk, tmp_path)
        return
    segment = desk.transcribe(desk.take())
    assert segment is not None
    assert segment.crosstalk_of == "door"
    assert desk.store.utterances.waiting(SESSION) == 0


def test_what_the_disk_refuses_is_tried_again_and_its_session_waits(desk: Desk) -> None:
    spoken = desk.say()
    desk.transcribe(desk.take())
    desk.refuse(refuses=True)
    desk.withdraw(spoken)
    assert any(isinstance(item, DiskFailed) for item in desk.items)
    assert not any(isinstance(item, SegmentWithdrawn) for item in desk.items)
    assert desk.store.utterances.waiting(SESSION) == 1
    desk.refuse(refuses=False)
    desk.spool.retry()
    assert desk.store.utterances.waiting(SESSION) == 0
    assert sum(isinstance(item, SegmentWithdrawn) for item in desk.items) == 1
    assert [topic for topic, _ in desk.unsent()] == ["scribe/lab/mic/desk/segment", TOPICS.event]


@pytest.mark.parametrize(("muted_from_s", "dropped"), [(None, 1), (7.0, 1), (0.0, 0)])
def test_what_a_mic_has_had_written_is_withdrawn_be_it_muted_or_not(
    desk: Desk, muted_from_s: float | None, dropped: int
) -> None:
    """Nothing was written for a muted speaker, and nothing happens."""
    silero = Silero()
    silero.locate()
    recorder = Recorder(SESSION, Room(Endpointing(), "drop"), silero, desk.spool, "drop")
    sound = dict(zip(("desk", "door"), tracks(), strict=True))
    for mic in sound:
        recorder.join(mic, Assignment(mic))
    for begin in range(0, len(sound["desk"]), SECOND // 10):
        if muted_from_s is not None and begin == round(muted_from_s * SECOND):
            recorder.assign("door", Assignment("door", enabled=False))
        for mic, samples in sound.items():
            recorder.hear(mic, begin, samples[begin : begin + SECOND // 10])
    for mic in sound:
        recorder.close(mic)
    copies = desk.store.utterances.drop_unwanted()
    assert [(copy.mic, copy.crosstalk_of) for copy in copies] == [("door", "desk")] * dropped
    left = [each for each in desk.store.utterances.next(9) if each.start < 6 * SECOND]
    assert [each.mic for each in left] == ["desk"]


DIE_AFTER = """
import os, pathlib, signal, sys
from tests.integration.test_withdrawal import Desk, opened, SESSION
from node.core.model import Session
from datetime import UTC, datetime

store = opened(pathlib.Path(sys.argv[1]))
store.sessions.begin(Session(SESSION, datetime.now(UTC)), 0.0)
desk = Desk(store)
spoken = desk.say()
if sys.argv[2] == "segment":
    desk.transcribe(desk.take())
elif sys.argv[2] == "discarding":
    desk.store.audio.discard = lambda utterance: (
        (desk.store.audio.spool / utterance.file_name).unlink(),
        os.kill(os.getpid(), signal.SIGKILL),
    )
desk.withdraw(spoken)
desk.store.utterances.drop_unwanted() if sys.argv[2] == "discarding" else None
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("state", ["waiting", "discarding", "segment"])
def test_a_withdrawal_outlives_the_process(tmp_path: Path, state: str) -> None:
    died = subprocess.run([sys.executable, "-c", DIE_AFTER, tmp_path, state], cwd=ROOT, check=False)
    assert died.returncode == -signal.SIGKILL
    desk = Desk(opened(tmp_path))
    try:
        assert desk.store.utterances.recover() == 0
        assert desk.store.utterances.next() == []
        desk.store.utterances.drop_unwanted()
        if state == "segment":
            assert [each.crosstalk_of for each in desk.segments()] == ["door"]
            assert [body["event_type"] for _, body in desk.unsent()] == [
                "segment",
                "segment_withdrawn",
            ]
        else:
            assert is_nowhere(desk, tmp_path)
    finally:
        desk.store.close()


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["say", "take", "transcribe", "withdraw", "refuse", "allow", "drop"]),
        st.integers(0, 3),
    ),
    min_size=8,
    max_size=30,
)
"""Long enough for most courses to reach a withdrawal, before and after its text is written."""


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, keep=st.booleans())
def test_in_whatever_order_no_withdrawn_text_is_left_unsaid(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]], *, keep: bool
) -> None:
    """Numbers have no gaps; of each segment sent that was withdrawn an event follows, once."""
    store = opened(tmp_path_factory.mktemp("store"))
    try:
        store.sessions.begin(Session(SESSION, datetime.now(UTC)), 0.0)
        course = _Course(Desk(store), keep=keep)
        course.run(steps)
        assert course.faults() == []
    finally:
        store.close()


class _Course:
    def __init__(self, desk: Desk, *, keep: bool) -> None:
        self._desk = desk
        self._keep = keep
        self._numbers = itertools.count()
        self._said: list[SpooledUtterance] = []
        self._taken: list[Utterance] = []
        self._withdrawn: set[str] = set()
        self._had_text: set[str] = set()
        self._refuses = False

    def run(self, steps: list[tuple[str, int]]) -> None:
        for step, number in steps:
            self._do(step, number)
        self._do("allow", 0)
        while self._taken or self._desk.store.utterances.next():
            self._do("take", 0)
            self._do("transcribe", 0)
        self._desk.store.utterances.drop_unwanted()

    def _do(self, step: str, number: int) -> None:
        desk = self._desk
        if step == "say":
            self._said.append(desk.say(next(self._numbers)))
        elif step == "take" and not self._taken:
            self._taken = desk.store.utterances.next()
        elif step == "transcribe" and not self._refuses:
            self._taken = self._taken or desk.store.utterances.next()
            if self._taken:
                desk.transcribe(self._taken.pop())
        elif step == "withdraw" and self._said:
            spoken = self._said.pop(number % len(self._said))
            start = str(spoken.start + 100)
            if start in self._starts():
                self._had_text.add(start)
            desk.withdraw(spoken, keep=self._keep)
            self._withdrawn.add(start)
        elif step in {"refuse", "allow"}:
            self._refuses = step == "refuse"
            desk.refuse(refuses=self._refuses)
            if not self._refuses:
                desk.spool.retry()
        elif step == "drop" and not self._refuses and not self._taken:
            desk.store.utterances.drop_unwanted()

    def _starts(self) -> set[str]:
        return {str(each.start) for each in self._desk.segments()}

    def faults(self) -> list[str]:
        """Name each promise that is broken."""
        desk = self._desk
        unsent = [body for _, body in desk.unsent()]
        published = [body for body in unsent if body["event_type"] == "segment"]
        told = [body["id"] for body in unsent if body["event_type"] != "segment"]
        tagged = {each.id for each in desk.segments() if each.crosstalk_of is not None}
        own = [each for each in desk.segments() if each.crosstalk_of is None]
        promises = {
            "numbers have no gaps": [body["seq"] for body in published]
            == list(range(1, len(published) + 1)),
            "an event follows its segment": all(
                body in published or body["id"] in {earlier["id"] for earlier in unsent[:place]}
                for place, body in enumerate(unsent)
            ),
            "each is told once": sorted(told)
            == sorted(tagged & {body["id"] for body in published}),
            "all others are kept": len(own) == len(self._said),
            "only those count": len(own) == desk.store.sessions.segments_total(SESSION),
            "none withdrawn is left": not {str(each.start) for each in own} & self._withdrawn,
            "what is wanted is kept, and no more": self._starts() & self._withdrawn
            == (self._withdrawn if self._keep else self._had_text),
            "nothing waits": desk.store.utterances.waiting(SESSION) == 0,
        }
        return [promise for promise, kept in promises.items() if not kept]
