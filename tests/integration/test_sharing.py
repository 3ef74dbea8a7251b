"""The transcriber thread that shares work out, over a real store and a real broker."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from node.adapters.whisper import Clip
from node.core.model import SAMPLE_RATE
from node.core.overload import DELAY_S, Load
from node.core.work.help import Help
from node.core.work.messages import LEAST_PACKET, ResultPart
from node.core.work.patience import LONGEST_S
from node.service import subscriptions
from node.service.items import (
    AnswersDropped,
    DiskFailed,
    LoadChanged,
    Transcribed,
    UtteranceFailed,
    WorkersChanged,
)
from node.service.transcribing import sharing, work_link
from node.service.transcribing.away import MAX_MISSED, SILENT, Failed, Heard
from node.service.transcribing.backlog import Backlog
from node.service.transcribing.sent_utterance import Cutter
from node.service.transcribing.work_link import OVERHEAD
from tests.model.sentences import SENTENCES
from tests.rig.access import ruled_broker, rules, set_default
from tests.rig.broker import Broker
from tests.rig.mqtt import Watcher
from tests.rig.node import spoken
from tests.rig.processes import wait_until
from tests.rig.scripted_worker import OWN, RESPONSE, Scripted
from tests.rig.sharer import NOISE, Sharer

if TYPE_CHECKING:
    from pathlib import Path

    from node.service.transcribing.away import Outcome

PATIENCE_S = 30
PAUSE = SAMPLE_RATE // 20
"""Samples of silence before and after a cut, at least."""


def test_the_longest_utterance_and_an_empty_one(sharer: Sharer, worker: Scripted) -> None:
    sharer.say(28.35)
    sharer.say(0)
    with sharer:
        asked = worker.next()
        assert asked.request.samples == round(28.35 * SAMPLE_RATE)
        text = worker.answer(asked)
        assert sharer.texts(2) == [text, None]


def test_an_utterance_that_nobody_answers_while_others_are_is_set_aside(
    sharer: Sharer, worker: Scripted
) -> None:
    now, away = 0.0, sharer.away

    def send() -> Outcome | None:
        sharer.say(1)
        utterance = sharer.store.utterances.next(1, without=away.ids)[0]
        return away.send(utterance, Clip(sharer.store.utterances.audio(utterance)), None, now)

    def heard() -> Heard | None:
        return next((each for each in away.go_on(now) if isinstance(each, Heard)), None)

    away.start()
    wait_until(lambda: away.go_on(now) == [] and away.problem is None, PATIENCE_S, "a worker")
    assert send() is None
    poison = worker.next().request.id
    for missed in range(1, MAX_MISSED + 1):
        assert send() is None
        worker.answer(worker.next())
        outcome = wait_until(heard, PATIENCE_S, "a text")
        assert outcome is not None
        sharer.store.utterances.transcribed(outcome.utterance, None)
        now += LONGEST_S
        if missed < MAX_MISSED:
            assert away.go_on(now) == []
            assert worker.next().request.id == poison
    (failed,) = away.go_on(now)
    assert isinstance(failed, Failed)
    assert f"no worker answered it in {MAX_MISSED} attempts" in failed.reason
    away.stop()


def test_loud_noise_fits_the_smallest_packets(sharer: Sharer) -> None:
    """Nothing in it can be left out, and what is shorter than 3 s is not cut."""
    clip = Clip(NOISE.integers(-32768, 32767, 3 * SAMPLE_RATE - 1, np.int16))
    most = LEAST_PACKET - OVERHEAD
    (part,) = Cutter(sharer.settings, OWN).parts("k" * 100, clip, None, most) or []
    assert len(part.payload(LONGEST_S)) <= most


@pytest.mark.parametrize(("first", "last"), [(5, 11), (6, 12), (6, 13), (13, 19)])
def test_what_does_not_fit_is_cut_in_pauses_and_all_of_it_is_sent(
    sharer: Sharer, first: int, last: int
) -> None:
    sound = spoken(*SENTENCES[first:last], pause_s=0.5)
    most = LEAST_PACKET - OVERHEAD
    parts = Cutter(sharer.settings, OWN).parts("k", Clip(sound), None, most) or []
    assert len(parts) > 1
    assert np.array_equal(np.concatenate([part.clip.samples for part in parts]), sound)
    for part in parts[1:]:
        assert not sound[part.start - PAUSE : part.start + PAUSE].any()


def test_texts_keep_their_order_through_an_outage(
    sharer: Sharer, worker: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "OUTAGE_S", 0.5)
    monkeypatch.setattr(Backlog, "load", Load.BEAM_1)  # a speaker may have two away
    with sharer:
        sharer.say(1)
        first = worker.next()
        sharer.say(1)
        later = worker.answer(worker.next())
        said = len(sharer.all(WorkersChanged))
        worker.says("offline")
        sharer.wait_for(WorkersChanged, said + 1)
        worker.says("online")
        again = worker.next()
        assert again.request.id == first.request.id
        assert sharer.all(Transcribed) == []
        earlier = worker.answer(again)
        assert sharer.texts(2) == [earlier, later]


def test_a_broker_that_takes_smaller_packets_than_before_gets_smaller_parts(tmp_path: Path) -> None:
    with Broker() as broker, Sharer(tmp_path, broker.port) as sharer:
        with Scripted(broker.port) as worker:
            sharer.say(6, level=30000)
            whole = worker.next()
            broker.stop()
        with (broker.folder / "mosquitto.conf").open("a") as configuration:
            configuration.write(f"max_packet_size {LEAST_PACKET + OVERHEAD}\n")
        broker.start()
        with Scripted(broker.port) as worker:
            left = whole.request.samples
            while left > 0:
                part = worker.next()
                left -= part.request.samples
                worker.answer(part)
            assert left == 0
            assert sharer.texts(1) != [None]


def test_a_disk_that_fails_while_unwanted_speech_is_dropped(
    sharer: Sharer, worker: Scripted
) -> None:
    """What is gone is given up at the workers too: its text would become a segment."""
    utterances, nobody = sharer.store.utterances, ("", "")
    with sharer:
        sharer.say(1)
        sharer.say(1, "door")
        first, second = worker.next(), worker.next()
        waiting = utterances.next(2)
        stuck = sharer.store.audio.spool / waiting[1].file_name
        stuck.unlink()
        (stuck / "cannot be removed").mkdir(parents=True)
        for utterance in waiting:
            utterances.withdraw(utterance, "wall", keep=False, tell=lambda _segment: nobody)
        sharer.transcriber.captured()
        sharer.wait_for(DiskFailed)
        assert sharer.texts(1) == [None]
        for asked in (first, second):
            worker.answer(asked)
        shutil.rmtree(stuck)
        assert sharer.texts(2) == [None, None]
        sharer.say(1)
        text = worker.answer(worker.next())
        assert sharer.texts(3)[-1] == text
    assert sharer.kept == [text]


def test_a_disk_that_does_not_move_what_is_given_up(
    sharer: Sharer, worker: Scripted, tmp_path: Path
) -> None:
    sharer.say(29.1)  # longer than a request may be
    utterances = sharer.store.utterances
    (utterance,) = utterances.next(1)
    spool, aside = sharer.store.audio.spool, tmp_path / "failed" / utterance.file_name
    (aside / "in the way").mkdir(parents=True)
    with sharer:
        (failed,) = sharer.wait_for(UtteranceFailed)
        assert str(spool / utterance.file_name) in failed.message
        sharer.say(1)
        text = worker.answer(worker.next())
        assert sharer.texts(1) == [text]
        assert sharer.all(DiskFailed) == []
        shutil.rmtree(aside)
        utterances.recover()  # as the next start does
        assert aside.is_file()
        assert list(spool.iterdir()) == []


def test_what_the_broker_refuses_is_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriptions, "FIRST_AGAIN_S", 0.5)
    monkeypatch.setattr(sharing, "OUTAGE_S", 0.5)
    watching = {"acltype": "subscribePattern", "topic": "watched/#", "allow": True}
    with (
        ruled_broker(tmp_path, rules(watching, subscribe=False)) as broker,
        Watcher(broker.port, topics=("watched/#",)) as watcher,
        Sharer(tmp_path, broker.port) as sharer,
    ):
        sharer.say(1)
        (changed,) = sharer.wait_for(WorkersChanged)
        assert changed.problem is not None
        assert "refuses to let this node hear workers: Not authorized" in changed.problem
        wait_until(lambda: broker.log().count("scribe/lab/work/response") >= 2, 30, "another try")
        set_default(watcher, "subscribe", allow=True)
        with Scripted(broker.port) as worker:
            text = worker.answer(worker.next())
            assert sharer.texts(1) == [text]
        assert sharer.all(WorkersChanged)[-1].problem is None


def test_what_comes_when_too_much_waits_is_dropped_and_counted(
    sharer: Sharer, worker: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sharer:
        sharer.say(1)
        asked = worker.next()
        with monkeypatch.context() as none_waits:
            none_waits.setattr(work_link, "MAX_WAITING", 0)
            for _ in range(3):
                worker.publish(RESPONSE, b"{}")
            wait_until(
                lambda: sum(item.count for item in sharer.all(AnswersDropped)) == 3,
                PATIENCE_S,
                "three are dropped",
            )
        text = worker.answer(asked)
        assert sharer.texts(1) == [text]
        assert sum(item.count for item in sharer.all(AnswersDropped)) == 3


def test_what_is_at_the_workers_is_no_load_of_a_node_that_they_help(
    tmp_path: Path, broker: Broker, worker: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would not try alone again: what is away takes its time, however little there is."""
    monkeypatch.setitem(DELAY_S, Load.NO_PARTIALS, 0.3)
    monkeypatch.setattr(Help, "look", lambda _self, _now, _load: True)
    with Sharer(tmp_path, broker.port, helped=True) as sharer:
        wait_until(lambda: sharer.away.problem is None, PATIENCE_S, "a worker")
        sharer.say(1)
        first = worker.next()
        time.sleep(0.5)  # it grows old
        sharer.say(1, "door")
        second = worker.next()
        answers = [worker.answer(first), worker.answer(second)]
        assert sharer.texts(2) == answers
        assert sharer.all(LoadChanged) == []


def test_an_engine_has_taken_no_longer_than_the_answer(sharer: Sharer, worker: Scripted) -> None:
    away = sharer.away
    away.start()
    wait_until(lambda: not away.go_on(0) and away.problem is None, PATIENCE_S, "a worker")
    sharer.say(1)
    utterance = sharer.store.utterances.next(1)[0]
    away.send(utterance, Clip(sharer.store.utterances.audio(utterance)), None, 0)
    result = ResultPart(text="Yes.", language="en", language_probability=1.0, confidence=1.0)
    worker.answer(worker.next(), result=result, engine_s=3600.0)
    (outcome,) = wait_until(lambda: away.go_on(2), PATIENCE_S, "a text") or []
    assert isinstance(outcome, Heard)
    assert outcome.engine_s == 2
    away.stop()


def test_silence_is_said_in_the_same_words_until_the_workers_were_away(tmp_path: Path) -> None:
    now = 0.0
    with Broker(persistence=False) as broker, Scripted(broker.port) as worker:
        sharer = Sharer(tmp_path, broker.port)
        away = sharer.away

        def ready() -> bool:
            return away.go_on(now) == [] and away.problem is None

        def expire(times: int) -> None:
            nonlocal now
            for _ in range(times):
                worker.next()
                now += LONGEST_S
                assert away.go_on(now) == []

        away.start()
        wait_until(ready, PATIENCE_S, "a worker")
        assert away.absent_s(now) == 0
        sharer.say(1)
        utterance = sharer.store.utterances.next(1)[0]
        away.send(utterance, Clip(sharer.store.utterances.audio(utterance)), None, now)
        expire(SILENT - 1)
        assert away.silence is None
        expire(1)
        said = away.silence
        assert said is not None
        expire(1)
        assert away.silence == said
        worker.says("offline")
        wait_until(lambda: not away.go_on(now) and away.problem, PATIENCE_S, "an absence")
        away.absent_s(now)
        assert away.silence == said
        worker.says("online")
        wait_until(ready, PATIENCE_S, "a worker")
        assert away.absent_s(now) == 0
        assert away.silence is None
        expire(SILENT)
        assert away.silence == said
        broker.kill()
        broker.start()
        wait_until(lambda: away.go_on(now) == [] and away.silence is None, PATIENCE_S, "no silence")
        away.stop()
        sharer.store.close()


def test_what_no_request_can_say_is_set_aside(sharer: Sharer, worker: Scripted) -> None:
    with sharer:
        sharer.say(29.1)
        (failed,) = sharer.wait_for(UtteranceFailed)
        assert "it cannot be sent as a request" in failed.message
        sharer.say(1)
        text = worker.answer(worker.next())
        assert sharer.texts(1) == [text]
