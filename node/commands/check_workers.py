"""Checks what leaves this machine if work is shared out, and whether anybody is there to do it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.commands.findings import Finding, ok, warning
from node.commands.follower import Follower
from node.core.mqtt.topics import ANY_WORKER, worker_status
from node.core.work.fleet import Fleet
from node.errors import NodeError
from node.service.publishing.broker_advice import sound_warning
from node.service.settings import broker_settings, wanted_model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from node.config import Config

FIRST_S, NEXT_S = 2.0, 0.3
"""How long to wait for the first retained status, and for each further one."""


def check_workers(config: Config) -> Iterator[Finding]:
    """Look at what is sent where, and at what workers say of themselves."""
    problem = sound_warning(config)
    if problem is None:
        return
    yield warning("sound", problem)
    fleet = Fleet(wanted_model(config))
    try:
        for topic, payload in _statuses(config).items():
            fleet.saw(topic.split("/")[-2], payload)
    except NodeError:  # the row of the broker says why
        return
    for useless in fleet.news():
        yield warning("worker", useless)
    yield _found(fleet, config)


def _statuses(config: Config) -> dict[str, bytes]:
    topic = worker_status(config.mqtt.base_topic, ANY_WORKER)
    with Follower(broker_settings(config), [topic]) as follower:
        follower.wait_news(FIRST_S)
        count = -1
        while count < len(follower.payloads()):
            count = len(follower.payloads())
            follower.wait_news(NEXT_S)
        return follower.payloads()


def _found(fleet: Fleet, config: Config) -> Finding:
    model, workers = config.transcription.model_name, fleet.useful
    if not workers:
        advice = f"start one: `scribe-node worker`, with transcription.model: {model}"
        return warning("workers", f"none with the model {model} is online; {advice}")
    names = ", ".join(sorted(status.worker for status in workers))
    return ok("workers", f"{len(workers)} with the model {model}: {names}")
