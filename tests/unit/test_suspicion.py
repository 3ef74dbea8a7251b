"""Which message or subscription makes a broker cut connections, on good and bad links."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from node.service.publishing.suspicion import MAX_CUTS, SAFE_BYTES, Sent, Suspicion

if TYPE_CHECKING:
    from collections.abc import Callable

WINDOW = 10
TOPICS = [f"topic/{number}" for number in range(20)]


class Sender:
    """Sends one small message per topic at every connection, as the node does with its states."""

    def __init__(self, topics: list[str], size: int = 100) -> None:
        self.suspicion = Suspicion()
        self.found: list[str] = []
        self.connections = 0
        self._topics = topics
        self._size = size
        self._mid = 0

    def connect(self, cuts: Callable[[int, str], bool]) -> bool:
        """Make one connection; `cuts` is asked with place and topic. Return whether it ended well.

        The broker answers one message after another. Those after the one it cuts at have been sent
        too, as far as the window goes.
        """
        self.connections += 1
        allowed = [topic for topic in self._topics if self.suspicion.limit(topic) is None]
        due = [str(key) for key in self.suspicion.arranged(allowed)]
        on_the_way: list[tuple[int, str]] = []
        place = 0
        while due or on_the_way:
            window = 1 if self.suspicion.active else WINDOW
            while due and len(on_the_way) < window:
                on_the_way.append((self._send(due[0]), due.pop(0)))
            mid, topic = on_the_way.pop(0)
            if cuts(place, topic):
                if (cause := self.suspicion.disconnected(0.1)) is not None:
                    self.found.append(cause.topic)
                return False
            self.suspicion.acknowledged(mid, 0.1)
            place += 1
        self.suspicion.settle()
        return True

    def _send(self, topic: str) -> int:
        self._mid += 1
        self.suspicion.sent(self._mid, Sent(topic, topic, self._size, 0.0))
        return self._mid

    def run(self, cuts: Callable[[int, str], bool], most: int) -> None:
        """Connect until it ends well."""
        for _ in range(most):
            if self.connect(cuts):
                return
        pytest.fail(f"{most} connections have ended; found: {self.found}")


@pytest.mark.parametrize("forbidden", [TOPICS[0], TOPICS[7], TOPICS[-1]])
def test_a_forbidden_topic_is_found_after_a_few_cuts(forbidden: str) -> None:
    sender = Sender(TOPICS)
    sender.run(lambda _, topic: topic == forbidden, MAX_CUTS + 2)
    assert sender.found == [forbidden]
    assert sender.suspicion.limit(forbidden) == 0
    assert not sender.suspicion.active


def test_all_forbidden_topics_are_found() -> None:
    forbidden = {TOPICS[0], TOPICS[1], TOPICS[9], TOPICS[19]}
    sender = Sender(TOPICS)
    sender.run(lambda _, topic: topic in forbidden, MAX_CUTS * len(forbidden) + 1)
    assert set(sender.found) == forbidden


@pytest.mark.parametrize("lifetime", range(20))
def test_a_link_of_short_life_condemns_nothing(lifetime: int) -> None:
    sender = Sender(TOPICS)
    for _ in range(60):
        sender.connect(lambda place, _: place >= lifetime)
    assert sender.found == []


def test_a_single_cut_is_forgotten() -> None:
    sender = Sender(TOPICS)
    assert not sender.connect(lambda place, _: place == 7)
    assert sender.suspicion.active
    assert sender.connect(lambda *_: False)
    assert not sender.suspicion.active


def test_a_message_larger_than_any_before_may_be_too_large() -> None:
    """Smaller ones on the topic are still sent; if they are cut for too, it is the topic."""
    suspicion = Suspicion()
    size = 20 * SAFE_BYTES
    for _ in range(MAX_CUTS):
        _answer_some(suspicion)
        suspicion.sent(99, Sent("large", "large", size))
        cause = suspicion.disconnected(0.1)
    assert cause == Sent("large", "large", size)
    assert suspicion.limit("large") == size
    for _ in range(MAX_CUTS):
        _answer_some(suspicion)
        suspicion.sent(99, Sent("small", "large", 0))
        suspicion.disconnected(0.1)
    assert suspicion.limit("large") == 0


def test_a_message_no_larger_than_others_is_cut_for_its_topic() -> None:
    suspicion = Suspicion()
    suspicion.sent(1, Sent("large", "allowed", 20 * SAFE_BYTES))
    suspicion.acknowledged(1, 0.0)
    for _ in range(MAX_CUTS):
        _answer_some(suspicion)
        suspicion.sent(99, Sent("other", "forbidden", 20 * SAFE_BYTES))
        suspicion.disconnected(0.1)
    assert suspicion.limit("forbidden") == 0
    assert suspicion.limit("allowed") is None


def test_a_subscription() -> None:
    suspicion = Suspicion()
    for _ in range(MAX_CUTS):
        _answer_some(suspicion)
        suspicion.sent(99, Sent("a filter", "forbidden/#", None))
        cause = suspicion.disconnected(0.1)
    assert cause is not None
    assert cause.is_subscription
    assert suspicion.bars("forbidden/#")
    assert suspicion.limit("forbidden/#") is None


def test_a_message_without_an_answer() -> None:
    """A QoS 0 message is proven by the answer to what was sent after it."""
    suspicion = Suspicion()
    for _ in range(MAX_CUTS):
        _answer_some(suspicion, at=0.0)
        suspicion.sent_fleeting("allowed", 10, 0.1)
        _answer_some(suspicion, at=0.2)
        suspicion.sent_fleeting("forbidden", 10, 0.3)
        cause = suspicion.disconnected(0.4)
    assert cause is not None
    assert cause.topic == "forbidden"
    assert suspicion.limit("forbidden") == 0
    assert suspicion.limit("allowed") is None


def test_what_was_sent_long_before_the_end_is_not_suspected() -> None:
    suspicion = Suspicion()
    suspicion.sent(1, Sent("a", "a", 10, 0.0))
    suspicion.disconnected(30.0)
    assert not suspicion.active


def test_connections_that_end_before_they_serve_for_anything_are_counted() -> None:
    sender = Sender(TOPICS)
    for _ in range(4):
        sender.connect(lambda *_: True)
    assert sender.suspicion.fruitless == 4


def _answer_some(suspicion: Suspicion, at: float = 0.0) -> None:
    for mid in range(1, 8):
        suspicion.sent(mid, Sent(f"other {mid}", f"other/{mid}", 10, at))
        suspicion.acknowledged(mid, at)
