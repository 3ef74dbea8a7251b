"""When a topic is asked for again that the broker has refused."""

from __future__ import annotations

import math

import pytest

from node.adapters.broker import Acknowledged
from node.service.subscriptions import FIRST_AGAIN_S, LONGEST_AGAIN_S, Subscriptions


class Asking:
    """The topics asked for, in order; a message's number is its place, from 1."""

    def __init__(self) -> None:
        self.topics: list[str] = []

    def __call__(self, topic: str) -> int:
        self.topics.append(topic)
        return len(self.topics)


@pytest.fixture
def asking() -> Asking:
    return Asking()


def waited(asking: Asking, subscriptions: Subscriptions, now: float) -> float:
    """Refuse what was asked for last; return the seconds after which it is asked for again."""
    count = len(asking.topics)
    assert subscriptions.acknowledged(Acknowledged(count, "not authorised"), now)
    for seconds in range(2 * round(LONGEST_AGAIN_S)):
        subscriptions.look(now + seconds)
        if len(asking.topics) > count:
            return seconds
    return math.inf


def test_what_is_refused_is_asked_for_again_less_and_less_often(asking: Asking) -> None:
    subscriptions = Subscriptions(asking, ["a"])
    subscriptions.begin()
    now, waits = 0.0, []
    for _ in range(6):
        waits.append(waited(asking, subscriptions, now))
        now += waits[-1]
    assert waits == [FIRST_AGAIN_S, 120, 240, 480, LONGEST_AGAIN_S, LONGEST_AGAIN_S]
    assert subscriptions.refusal == "not authorised"
    assert not subscriptions.are_granted
    assert subscriptions.acknowledged(Acknowledged(len(asking.topics), None), now)
    assert subscriptions.refusal is None
    assert subscriptions.are_granted


def test_only_what_is_refused_is_asked_for_again(asking: Asking) -> None:
    subscriptions = Subscriptions(asking, ["a", "b"])
    subscriptions.begin()
    assert subscriptions.acknowledged(Acknowledged(1, None), 0.0)
    assert waited(asking, subscriptions, 0.0) == FIRST_AGAIN_S
    assert asking.topics == ["a", "b", "b"]


def test_a_new_connection_asks_for_all_at_once_and_is_patient_no_longer(asking: Asking) -> None:
    subscriptions = Subscriptions(asking, ["a"])
    subscriptions.begin()
    now = waited(asking, subscriptions, 0.0)
    subscriptions.end()
    assert not subscriptions.are_granted
    subscriptions.begin()
    assert asking.topics == ["a", "a", "a"]
    assert waited(asking, subscriptions, now) == FIRST_AGAIN_S


def test_answers_to_other_messages_are_not_taken(asking: Asking) -> None:
    subscriptions = Subscriptions(asking, ["a"])
    subscriptions.begin()
    assert not subscriptions.acknowledged(Acknowledged(7, "not authorised"), 0.0)
    assert subscriptions.refusal is None
