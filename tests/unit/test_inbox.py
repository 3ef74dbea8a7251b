"""The main thread's queue: a flood of commands is dropped and counted, everything else kept."""

from __future__ import annotations

from node.adapters.broker import MAX_QUEUED_COMMANDS, Acknowledged, Message
from node.service.inbox import Inbox

COMMAND = Message("scribe/lab/request/x", b"", retained=False)


def test_what_a_burst_leaves_out_is_counted_once_it_is_over() -> None:
    inbox = Inbox()
    for _ in range(MAX_QUEUED_COMMANDS + 8):
        inbox.deliver(COMMAND)
    inbox.deliver(Acknowledged(1))
    assert inbox.dropped() == 0
    taken = 0
    while inbox.take(0) is not None:
        taken += 1
    assert taken == MAX_QUEUED_COMMANDS + 2
    assert inbox.dropped() == 7
    assert inbox.dropped() == 0
