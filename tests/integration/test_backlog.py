"""Which waiting utterance comes next, and several in one search: real store, real engine."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.adapters.store import Store
from node.adapters.whisper import Clip, Engine, EngineSettings
from node.core.model import SAMPLE_RATE, Session
from node.core.overload import Load
from node.core.room.endpointing import Ended
from node.service.transcribing.backlog import MAX_TOGETHER, Backlog
from tests.model.sentences import SENTENCES
from tests.rig.node import MODEL, spoken

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from node.service.items import ThreadItem
    from tests.model.sentences import Sentence

OLD, NEW = "20261122T100000Z-aaaa", "20261123T100000Z-bbbb"
SHORT_S = 7.0
HOUR = 3600.0


class Waiting:
    """A store in which speech waits, and the backlog that hands it out."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder, keep_audio=False)
        self.store.open()
        self.items: list[ThreadItem] = []
        self.later_s = HOUR  # everything has waited long
        self.backlog = Backlog(
            sessions=self.store.sessions,
            utterances=self.store.utterances,
            shares_window=lambda seconds: seconds <= SHORT_S,
            post=self.items.append,
            clock=lambda: time.monotonic() + self.later_s,
        )

    def session(self, session_id: str) -> None:
        started_at = datetime.strptime(session_id[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        self.store.sessions.begin(Session(session_id, started_at), -HOUR)

    def say(self, session_id: str, mic: str, start_s: float, end_s: float) -> None:
        start, end = round(start_s * SAMPLE_RATE), round(end_s * SAMPLE_RATE)
        utterances = self.store.utterances
        utterance, recording = utterances.open(session_id, mic, mic, None, start)
        recording.append(np.zeros(end - start, np.int16))
        recording.finish(end - start)
        utterances.captured(utterance, Ended(end, speech=(start, end)))

    def take(self) -> list[str]:
        """Transcribe what comes next; return its mics."""
        found = self.backlog.next()
        for utterance in found:
            self.store.utterances.transcribed(utterance, None)
        return [utterance.mic for utterance in found]


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[Waiting]:
    made = Waiting(tmp_path)
    yield made
    made.store.close()


def test_what_ended_first_comes_first_whoever_talks_most(waiting: Waiting) -> None:
    waiting.session(NEW)
    waiting.say(NEW, "monologue", 0, 20)
    waiting.say(NEW, "yes", 19, 19.5)
    waiting.say(NEW, "monologue", 20, 40)
    waiting.say(NEW, "no", 30, 39)
    waiting.say(NEW, "monologue", 40, 60)
    order = [waiting.take() for _ in range(6)]
    assert order == [["yes"], ["monologue"], ["no"], ["monologue"], ["monologue"], []]


def test_old_speech_and_new_take_turns(waiting: Waiting) -> None:
    waiting.session(OLD)
    for at in range(4):
        waiting.say(OLD, "old", 20 * at, 20 * at + 10)
    waiting.store.utterances.recover()
    waiting.session(NEW)
    waiting.say(NEW, "new", 0, 10)
    waiting.say(NEW, "new", 20, 30)
    order = [mic for _ in range(6) for mic in waiting.take()]
    assert order == ["new", "old", "new", "old", "old", "old"]


def test_old_speech_is_no_load_but_new_speech_is(waiting: Waiting) -> None:
    waiting.session(OLD)
    waiting.say(OLD, "old", 0, 20)
    waiting.store.utterances.recover()
    waiting.backlog.weigh(1.0)
    assert waiting.backlog.load is Load.NORMAL
    assert not waiting.items
    waiting.session(NEW)
    waiting.say(NEW, "new", 0, 1)
    waiting.backlog.weigh(1.0)
    assert waiting.backlog.beam_size == 1
    assert len(waiting.items) == 1


def test_speech_that_ended_long_ago_but_waits_since_now_is_no_load(waiting: Waiting) -> None:
    """After a cut at a pause far back, a long `vad.hangover_ms`, or a disk that was full."""
    waiting.session(NEW)
    waiting.later_s = 0.0
    waiting.say(NEW, "new", 0, 1)
    waiting.backlog.weigh(1.0)
    assert waiting.backlog.load is Load.NORMAL
    assert waiting.backlog.lag_s(waiting.backlog.next()[0]) > HOUR / 2


def test_short_speech_goes_together_under_load_and_in_order(waiting: Waiting) -> None:
    waiting.session(NEW)
    for at, mic in enumerate("abcdef"):
        waiting.say(NEW, mic, 10 * at, 10 * at + (8 if mic == "d" else 3))
    assert waiting.take() == ["a"]
    waiting.say(NEW, "g", 70, 73)
    waiting.backlog.weigh(None)
    assert [waiting.take() for _ in range(4)] == [["b", "c"], ["d"], ["e", "f", "g"], []]


def test_no_more_go_together_than_the_first_can_wait_for(waiting: Waiting) -> None:
    waiting.session(NEW)
    for at in range(MAX_TOGETHER + 1):
        waiting.say(NEW, "desk", 10 * at, 10 * at + 3)
    waiting.backlog.weigh(None)
    assert [len(waiting.take()) for _ in range(2)] == [MAX_TOGETHER, 1]


def test_what_has_failed_goes_alone(waiting: Waiting) -> None:
    waiting.session(NEW)
    for at in range(5):
        waiting.say(NEW, str(at), 10 * at, 10 * at + 3)
    waiting.backlog.weigh(None)
    utterances = waiting.store.utterances
    first = waiting.backlog.next()
    utterances.retry(first[0])
    utterances.attempt(first[2])  # and then the process dies
    assert [waiting.take() for _ in range(2)] == [["0"], ["1"]]
    assert [waiting.take() for _ in range(2)] == [["2"], ["3", "4"]]


def test_what_failed_together_goes_one_by_one(waiting: Waiting) -> None:
    waiting.session(NEW)
    for at in range(3):
        waiting.say(NEW, str(at), 10 * at, 10 * at + 3)
    waiting.backlog.weigh(None)
    waiting.backlog.set_apart(waiting.backlog.next())
    assert [waiting.take() for _ in range(4)] == [["0"], ["1"], ["2"], []]


def test_speech_of_two_kinds_that_both_fail_together_is_done_all_the_same(waiting: Waiting) -> None:
    """Neither may put the other in a batch again: both would fail for ever, in turns."""
    waiting.session(OLD)
    for at in range(2):
        waiting.say(OLD, f"old-{at}", 10 * at, 10 * at + 3)
    waiting.store.utterances.recover()
    waiting.session(NEW)
    for at in range(2):
        waiting.say(NEW, f"new-{at}", 10 * at, 10 * at + 3)
    waiting.backlog.weigh(None)
    for _ in range(2):
        failing = waiting.backlog.next()
        assert len(failing) == 2
        waiting.backlog.set_apart(failing)
    done = [waiting.take() for _ in range(4)]
    assert sorted(done) == [["new-0"], ["new-1"], ["old-0"], ["old-1"]]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    languages = ("en", "fr")
    folder = tmp_path_factory.mktemp("models")
    made = Engine(EngineSettings("demo", MODEL, folder, languages=languages, threads=1))
    made.load()
    return made


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.sampled_from([*SENTENCES, None]), min_size=1, max_size=MAX_TOGETHER),
    st.sampled_from([1, 5]),
    st.booleans(),
)
def test_texts_are_the_same_together_and_alone(
    engine: Engine, said: list[Sentence | None], beam_size: int, long: bool
) -> None:
    silence = np.zeros(SAMPLE_RATE, np.int16)
    sounds = [spoken(s, pause_s=0.3) if s else silence for s in said]
    if long:  # one with a wider window than the others
        sounds.append(spoken(*SENTENCES[5:9], pause_s=0.8))
    together = engine.transcribe_together([Clip(each) for each in sounds], beam_size=beam_size)
    alone = [engine.transcribe(Clip(each), beam_size=beam_size) for each in sounds]
    for one, other in zip(together, alone, strict=True):
        assert (one.text, one.language) == (other.text, other.language)
        assert one.confidence == pytest.approx(other.confidence, abs=0.01)


def test_the_engine_says_what_shares_a_window(engine: Engine) -> None:
    assert engine.together(7.4)
    assert not engine.together(7.6)


def test_what_is_put_off_is_no_load_however_new_it_is(waiting: Waiting) -> None:
    waiting.session(NEW)
    waiting.say(NEW, "desk", 0, 20)
    waiting.later_s = 0
    waiting.backlog.put_off_all()
    waiting.later_s = HOUR
    waiting.backlog.weigh(1.0)
    assert waiting.backlog.load is Load.NORMAL
    assert waiting.take() == ["desk"]
