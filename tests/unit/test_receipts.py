"""In which order a worker acknowledges what it was sent."""

from __future__ import annotations

from node.adapters.broker import Message
from node.service.working.receipts import Receipts


def message(number: int, connection: int = 1) -> Message:
    return Message("t", b"", retained=False, receipt=(connection, number))


def test_messages_are_acknowledged_in_the_order_in_which_they_came() -> None:
    done: list[Message] = []
    receipts = Receipts(done.append)
    first, second, third = (message(number) for number in (7, 8, 9))
    for each in (first, second, third):
        receipts.arrived(each)
    receipts.settle(second)
    receipts.settle(second)
    assert done == []
    receipts.settle(first)
    assert done == [first, second]
    receipts.settle(third)
    assert done == [first, second, third]


def test_what_needs_no_acknowledgement_holds_up_nothing() -> None:
    done: list[Message] = []
    receipts = Receipts(done.append)
    first, last = message(1), message(2)
    receipts.arrived(first)
    for _ in range(3):  # all of them have the number 0
        receipts.arrived(message(0))
        receipts.settle(message(0))
    receipts.arrived(last)
    receipts.settle(first)
    receipts.settle(last)
    assert done == [first, last]


def test_what_came_by_an_earlier_connection_is_forgotten() -> None:
    done: list[Message] = []
    receipts = Receipts(done.append)
    old, new = message(1), message(1, connection=2)
    receipts.arrived(old)
    receipts.clear()
    receipts.arrived(new)
    receipts.settle(old)
    assert done == []
    receipts.settle(new)
    assert done == [new]
