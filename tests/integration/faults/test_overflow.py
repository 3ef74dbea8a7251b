"""A source that had to leave out sound, and says so."""

from __future__ import annotations

import os
import signal
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.model.sentences import SENTENCES
from tests.rig.node import Room, RunningNode, configuration, spoken
from tests.rig.processes import children
from tests.rig.vmics import write_wav

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rig.broker import Broker
    from tests.rig.mqtt import Watcher

RATE = 16000
HELLO, BONJOUR = SENTENCES[0], SENTENCES[31]


def start(segment: dict[str, Any]) -> float:
    return datetime.fromisoformat(segment["start"]).timestamp()


def test_a_reported_overflow_is_silence(broker: Broker, watcher: Watcher, tmp_path: Path) -> None:
    """A player that is held up skips sound and says so; what follows is in its right place."""
    tape = np.zeros(14 * RATE, np.int16)
    for at_s, sentence in ((1, HELLO), (9, BONJOUR)):
        sound = spoken(sentence)
        tape[at_s * RATE : at_s * RATE + len(sound)] = sound
    files = [{"mic": "tape", "file": str(write_wav(tmp_path / "tape.wav", tape, RATE))}]
    audio = {"source": "files", "devices": [], "files": files}
    with RunningNode(tmp_path, configuration(tmp_path, broker.port, [], audio=audio)) as node:
        room = Room(node.wait_online(watcher), None, watcher)  # type: ignore[arg-type]  # files
        session = room.start(tape="Alice")
        room.segments(session, 1)
        (player,) = children(node.pid)
        os.kill(player, signal.SIGSTOP)
        time.sleep(1.6)  # the length of the loss, checked below
        os.kill(player, signal.SIGCONT)
        first, second = room.segments(session, 2)
        assert [first["text"], second["text"]] == [HELLO.text, BONJOUR.text]
        assert start(second) - start(first) == pytest.approx(8, abs=0.2)
        assert 1 < room.do("health/check")["dropped_s"] < 2
        assert room.stop()["segments_total"] == 2
