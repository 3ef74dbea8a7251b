"""SIGKILL at random moments under load; `python -m tests.bench.soak` is the long campaign."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tests.model.sentences import ENGLISH, FRENCH
from tests.rig.campaign import Campaign
from tests.rig.node import RunningNode, configuration
from tests.rig.tapes import record, tape_recorder

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rig.broker import Broker
    from tests.rig.mqtt import Watcher

KILLS = 4
MICS = ("desk", "door", "wall", "sofa")
SEED = 20261122


@pytest.mark.parametrize("resume", [True, False], ids=["goes on", "is closed"])
def test_no_sentence_is_lost_or_doubled(
    broker: Broker, watcher: Watcher, tmp_path: Path, resume: bool
) -> None:
    """With and without `session.resume`: half of the eight kills each."""
    rng = random.Random(SEED + resume)
    tapes = [record(tmp_path, mic, ENGLISH + FRENCH, rng) for mic in MICS]
    config = configuration(
        tmp_path,
        broker.port,
        [],
        audio=tape_recorder(*tapes),
        session={"resume": resume},
        crosstalk={"mode": "off"},
    )
    with RunningNode(tmp_path, config) as node:
        report = Campaign(node, watcher, tapes, rng, resume=resume).run(KILLS)
    assert not report.wrong, "\n".join(report.wrong)
    assert report.expected > 0
    assert report.found == report.expected
    assert max(report.online_s) < 10
