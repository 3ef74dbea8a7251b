"""The wall clock steps by hours in mid-session, as on a machine without a battery-backed clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.model.sentences import SENTENCES
from tests.rig.clock import HOUR_S, WallClock
from tests.rig.node import TOPIC, Room, RunningNode, configuration
from tests.rig.patience import stretched
from tests.rig.vmics import VirtualMic, VirtualMics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.rig.broker import Broker
    from tests.rig.mqtt import Watcher

SAID = (SENTENCES[0], SENTENCES[31], SENTENCES[6])


@pytest.fixture
def clock(tmp_path_factory: pytest.TempPathFactory) -> WallClock:
    return WallClock(tmp_path_factory.mktemp("clock"))


@pytest.fixture
def room(broker: Broker, watcher: Watcher, clock: WallClock, tmp_path: Path) -> Iterator[Room]:
    with VirtualMics([VirtualMic("desk"), VirtualMic("door")]) as mics:
        config = configuration(tmp_path, broker.port, ["desk", "door"])
        with RunningNode(tmp_path, config, mics.env | clock.env) as node:
            yield Room(node.wait_online(watcher), mics, watcher)


def start(segment: dict[str, str]) -> float:
    return datetime.fromisoformat(segment["start"]).timestamp()


def test_steps_move_nothing(room: Room, clock: WallClock) -> None:
    answer = room.do(
        "session/start",
        assignments=[{"mic": "desk", "speaker": "Alice"}, {"mic": "door", "speaker": "Bruno"}],
        max_duration_s=HOUR_S,
    )
    session, said_at = answer["session_id"], []
    for mic, hours, sentence in zip(("desk", "door", "desk"), (0, 5, -7), SAID, strict=True):
        clock.step_to(hours)
        said_at.append(time.monotonic())
        room.say(mic, sentence)
        room.segments(session, len(said_at))
    done = room.stop()
    segments = room.segments(session, 3)
    assert [segment["text"] for segment in segments] == [sentence.text for sentence in SAID]
    assert [segment["seq"] for segment in segments] == [1, 2, 3]
    assert len({segment["id"] for segment in segments}) == 3
    for before, after in ((0, 1), (1, 2)):
        real = said_at[after] - said_at[before]
        heard = start(segments[after]) - start(segments[before])
        assert heard == pytest.approx(real, abs=stretched(0.2))
    assert all(0 < segment["latency_s"] < stretched(5) for segment in segments)
    assert done["duration_s"] == pytest.approx(time.monotonic() - said_at[0], abs=stretched(2))
    (listed,) = room.do("session/list")["sessions"]
    assert listed["clock"]["shift_ms"] == pytest.approx(-7 * HOUR_S * 1000, abs=1000)
    whole = room.do("transcript/get", session_id=session)["text"]
    assert [line.partition(": ")[2] for line in whole.splitlines()] == [s.text for s in SAID]
    assert not room.watcher.messages(f"{TOPIC}/event")


def test_files_of_one_second_do_not_overwrite_each_other(room: Room, clock: WallClock) -> None:
    """The same hour comes again, and with it the same file names."""
    paths = []
    for hours in (0.0, 3.0):
        clock.step_to(hours)
        room.start(desk="Alice")
        paths.append(Path(room.stop()["file_path"]))
    stopped = paths[0].stat().st_mtime
    # The clock stands at the very second at which the first session was stopped.
    clock.step_to((stopped - time.time()) / HOUR_S)
    room.start(desk="Alice")
    paths.append(Path(room.stop()["file_path"]))
    assert len(set(paths)) == 3
    assert all(path.exists() for path in paths)
    moment = datetime.strptime(paths[1].stem[-15:], "%Y%m%d_%H%M%S").replace(tzinfo=UTC)
    assert abs(moment - datetime.now(UTC) - timedelta(hours=3)) < timedelta(hours=2, minutes=1)
    assert room.do("session/list")["total"] == 3


@pytest.mark.parametrize("hours", [-9, 9])
def test_the_time_limit_counts_real_seconds(room: Room, clock: WallClock, hours: int) -> None:
    assignments = [{"mic": "desk", "speaker": "Alice"}]
    room.do("session/start", assignments=assignments, max_duration_s=4)
    began, after = time.monotonic(), room.watcher.count()
    clock.step_to(hours)
    room.state("idle", after, timeout=10)
    assert 3 < time.monotonic() - began < stretched(8)


def test_a_session_cut_off_before_a_step_is_finished_after_it(room: Room, clock: WallClock) -> None:
    session = room.start(desk="Alice")
    room.say("desk", SAID[0])
    room.segments(session, 1)
    room.node.program.kill_group()
    clock.step_to(-30)
    after = room.watcher.count()
    room.node.start().wait_online(room.watcher, after)
    final = room.watcher.wait_for(f"{TOPIC}/transcript/final", 20, after).json()
    assert (final["session_id"], final["segments_total"]) == (session, 1)
    assert 0 < final["duration_s"] < 60
