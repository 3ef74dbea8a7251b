"""Kills a node at random moments while people speak without a break.

Each kill is SIGKILL to the whole process group; `tests.rig.verdict` finds what it cost.
"""

from __future__ import annotations

import json
import time
from datetime import datetime
from typing import TYPE_CHECKING

from tests.rig.node import TOPIC
from tests.rig.processes import alive, children, files_of, wait_until
from tests.rig.verdict import Judge, Report, Span, rows

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from tests.rig.mqtt import Message, Watcher
    from tests.rig.node import RunningNode
    from tests.rig.tapes import Tape

LOST_S = 0.5
"""How much of the last sound before a kill may be lost by the promise."""

OPEN_S = 0.5
"""From when every player has its tape open until a sentence may begin."""

KILL_AFTER_S = (0.2, 8.0)
HEARD_S = 6.0
"""Least time of speech before the first kill: some sentences must be heard whole."""

LAST_S = 4.0
"""How long a session that continued over all kills still hears speech before it is stopped."""

POLL_S = 0.02
DRAIN_S = 60


class Campaign:
    """Kills a node again and again; with `resume`, one session continues over all kills."""

    def __init__(
        self,
        node: RunningNode,
        watcher: Watcher,
        tapes: Sequence[Tape],
        rng: random.Random,
        *,
        resume: bool,
    ) -> None:
        self._node = node
        self._watcher = watcher
        self._tapes = {tape.mic: tape for tape in tapes}
        self._rng = rng
        self._resume = resume
        self._spans: list[Span] = []
        self._playing_at: float | None = None
        self._report = Report()

    def run(self, kills: int) -> Report:
        """Kill the node `kills` times, let the last process finish, and judge every sentence."""
        for number in range(kills):
            seconds = self._rng.uniform(*KILL_AFTER_S)
            if number == 0:
                seconds = max(HEARD_S, seconds)
            self._live(seconds, of_speech=number % 2 == 0)
            self._report.kills += 1
        self._finish()
        Judge(self._node.storage, self._watcher, self._tapes, self._spans, self._report).judge()
        return self._report

    # One run of the process.

    def _live(self, seconds: float, *, of_speech: bool) -> None:
        """Kill `seconds` after the start or after the tapes are heard: in and after recovery."""
        after, began = self._watcher.count(), time.monotonic()
        self._node.start()
        asked = False
        self._playing_at = None
        counts_from = began
        while time.monotonic() < counts_from + seconds:
            if not self._plays(after) and of_speech:
                counts_from = time.monotonic()
            if not asked and self._may_start(after):
                self._ask_for_session()
                asked = True
            assert self._node.program.process.poll() is None, self._node.program.output()
            assert time.monotonic() < began + DRAIN_S, self._node.program.output()
            time.sleep(POLL_S)
        recorders = children(self._node.pid)
        self._node.program.kill_group()
        killed_at = time.time()
        self._note_span(after, killed_at - LOST_S)
        self._note_recovery(after, began)
        wait_until(lambda: not any(map(alive, recorders)), 5, "the capture processes end with it")

    def _plays(self, after: int) -> bool:
        """Note when all tapes are open: only from then on is each of them sure to be heard.

        On a busy machine that may be seconds after `recording`.
        """
        if self._playing_at is None and self._recording(after):
            opened = {file for child in children(self._node.pid) for file in files_of(child)}
            if all(str(tape.file) in opened for tape in self._tapes.values()):
                self._playing_at = time.time()
        return self._playing_at is not None

    def _recording(self, after: int) -> bool:
        return any(m.json()["state"] == "recording" for m in self._session_states(after))

    def _may_start(self, after: int) -> bool:
        states = self._session_states(after)
        if not states or states[-1].json()["state"] not in {"idle", "stopping"}:
            return False
        return not self._resume or not self._spans

    def _ask_for_session(self) -> None:
        assignments = [{"mic": mic, "speaker": mic.title()} for mic in self._tapes]
        request = json.dumps({"assignments": assignments})
        self._watcher.publish(f"{TOPIC}/request/session/start", request)

    def _session_states(self, after: int) -> list[Message]:
        return [m for m in self._watcher.messages(f"{TOPIC}/session", after) if not m.retain]

    def _note_span(self, after: int, until: float) -> None:
        """Note a span up to `until`, in wall time like `started_at`: both are of this machine."""
        for message in self._session_states(after):
            state = message.json()
            if state["state"] == "recording":
                zero = datetime.fromisoformat(state["started_at"]).timestamp()
                begin = (self._playing_at or until) + OPEN_S
                self._spans.append(Span(state["session_id"], zero, begin - zero, until - zero))
                return

    def _note_recovery(self, after: int, began: float) -> None:
        online = [
            m.time
            for m in self._watcher.messages(f"{TOPIC}/status", after)
            if m.text == "online" and not m.retain
        ]
        segments = self._watcher.messages(f"{TOPIC}/mic/+/segment", after)
        replayed = [m.time for m in segments if m.json()["replayed"]]
        if online and self._report.kills:
            self._report.online_s.append(online[0] - began)
        if replayed:
            self._report.replayed_s.append(replayed[-1] - began)

    # The last run: it finishes what all the others left.

    def _finish(self) -> None:
        after, began = self._watcher.count(), time.monotonic()
        self._node.start().wait_online(self._watcher, after)
        if self._resume:
            self._playing_at = None
            wait_until(lambda: self._plays(after), DRAIN_S, "all tapes are heard")
            time.sleep(LAST_S)  # the tapes keep playing: speech that no kill interrupts
            until = time.time()
            answer = self._watcher.request(TOPIC, "session/stop", timeout=DRAIN_S)
            assert answer["status"] == "ok", answer
            self._note_span(after, until - LOST_S)
        self._await_state(after, "idle")
        wait_until(lambda: self._outbox() == 0, DRAIN_S, "the outbox is empty")
        self._note_recovery(after, began)
        assert self._node.end() == 0, self._node.program.output()

    def _await_state(self, after: int, wanted: str) -> None:
        wait_until(
            lambda: any(m.json()["state"] == wanted for m in self._session_states(after)[-1:]),
            DRAIN_S,
            f"the session is {wanted}",
        )

    def _outbox(self) -> int:
        return len(rows(self._node.storage, "SELECT 1 FROM outbox"))
