"""Microphones with an offset, or with one channel wired the wrong way round, in a live session."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.model.sentences import SENTENCES
from tests.rig.node import Room, RunningNode, configuration, spoken
from tests.rig.vmics import write_wav

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.rig.broker import Broker
    from tests.rig.mqtt import Message, Watcher

RATE = 16000
SAID = [sentence for sentence in SENTENCES if sentence.language == "en"][:2]
FAINTER_DB = -30
NOISE_DBFS = -78
LEAD_S = 6.0
"""Silence first: on a busy machine playing starts late and skips as much."""


@pytest.fixture
def wired(tmp_path: Path, broker: Broker, watcher: Watcher) -> Iterator[Room]:
    """The same two sentences on each mic: faint ones above an offset, or against each other."""
    lead = np.zeros(round(LEAD_S * RATE), np.int16)
    sound = np.concatenate([lead, spoken(*SAID, pause_s=2.0)])
    noise = np.random.default_rng(0).standard_normal(len(sound)) * 4
    faint = np.round(sound * 10 ** (FAINTER_DB / 20) + noise).astype(np.int16)
    tapes = {
        "plain": write_wav(tmp_path / "plain.wav", faint, RATE),
        "offset": write_wav(tmp_path / "offset.wav", faint + np.int16(600), RATE),
        "crossed": write_wav(tmp_path / "crossed.wav", np.stack([sound, -sound], axis=1), RATE),
    }
    files = [{"mic": mic, "file": str(file)} for mic, file in tapes.items()]
    audio = {"source": "files", "devices": [], "files": files}
    config = configuration(tmp_path, broker.port, [], audio=audio, crosstalk={"mode": "off"})
    with RunningNode(tmp_path, config) as node:
        node.wait_online(watcher)
        yield Room(node, None, watcher)  # type: ignore[arg-type]  # tapes are heard


def shows_speech(message: Message, topic: str) -> bool:
    return message.topic == topic and (message.json()["level_dbfs"] or -100) > NOISE_DBFS + 10


def loudest_dbfs(wired: Room, mic: str) -> float:
    """Return the highest level published; all mics are measured at once."""
    states = wired.watcher.messages(f"{wired.node.topic}/mic/{mic}/state")
    return max(state.json()["level_dbfs"] or -100.0 for state in states)


def test_they_are_heard_like_others(wired: Room) -> None:
    session = wired.start(plain="Alice", offset="Bruno", crossed="Chloé")
    segments = wired.segments(session, 6)
    for mic in ("plain", "offset", "crossed"):  # the texts may be there before the next level
        topic = f"{wired.node.topic}/mic/{mic}/state"
        wired.watcher.wait_for(partial(shows_speech, topic=topic), timeout=10)
    wired.stop()  # what is answered after it was published before
    levels = {mic: loudest_dbfs(wired, mic) for mic in ("plain", "offset", "crossed")}
    texts = {mic: [s["text"] for s in segments if s["mic"] == mic] for mic in levels}
    assert texts["offset"] == texts["plain"]
    assert texts["crossed"] == [sentence.text for sentence in SAID]
    assert levels["offset"] == pytest.approx(levels["plain"], abs=0.5)
    assert levels["offset"] < levels["crossed"] - 20
    assert wired.node.program.output().count("crossed: its two channels cancel each other") == 1
