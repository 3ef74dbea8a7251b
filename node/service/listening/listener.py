"""The listener thread: owns all microphones of the session and listens to them.

Orders come from the main thread through a queue and a waker; items go to its inbox.
"""

from __future__ import annotations

import queue
import time
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from node.adapters.vad import Silero
from node.core.model import SAMPLE_RATE
from node.core.room.room import Room
from node.service.items import Flushed, LevelsMeasured, MicsOpened, MicsRefused
from node.service.listening import orders
from node.service.listening.attendance import Attendance
from node.service.listening.microphone import OPEN_ATTEMPTS, Microphone, Placer
from node.service.listening.recorder import Recorder
from node.service.listening.waker import Waker
from node.service.service_thread import ServiceThread

if TYPE_CHECKING:
    from collections.abc import Callable

    from node.core.model import Assignment
    from node.core.room.endpointing import Endpointing
    from node.core.room.room import Mode
    from node.service.inventory import Inventory
    from node.service.items import ThreadItem
    from node.service.listening.spool import Spool, SpooledUtterance

OPEN_TIMEOUT_S = 5.0
"""A mic without sound this long after a start counts as unavailable."""

STOP_GRACE_S = 0.2
"""How long sound spoken before a stop takes to arrive through driver and pipe."""

LEVELS_EVERY_S = 5.0
QUIET_STEP_S = 0.16
"""How often to read sound while nobody speaks. Five frames read at once take a third of the
processor time of five single ones. Once a frame may be speech, sound is read as it comes.

A kill loses what is not on the disk. Of a running utterance that is up to 0.4 s: a block of 48 ms
on its way, up to 0.22 s that wait to be judged with several mics, and 125 ms that wait to be
written. Of one that is beginning, all is lost until it has `vad.min_speech_ms`: 0.31 s from the
first frame of speech with one mic, 0.47 to 0.63 s with two (measured, the block included), and up
to 0.13 s less where the detector is sure."""

STEP_S = 0.25
"""How often to check stalls, retries and levels while mics are open."""

IDLE_STEP_S = 5.0
"""The same without mics: often enough for the watchdog."""

SPOOL_RETRY_S = 1.0


@dataclass(frozen=True, slots=True)
class _Session:
    """What all mics of a session share; `zero` is the monotonic time of its sample 0."""

    id: str
    zero: float
    recorder: Recorder[SpooledUtterance]


class _Phase(Enum):
    IDLE = auto()
    OPENING = auto()  # mics are being opened; their sound is held
    OPENED = auto()  # all deliver; the main thread will say go or end
    RECORDING = auto()


class Listener:
    """Captures all mics of a session at once. Public methods are for the main thread."""

    def __init__(
        self,
        *,
        inventory: Inventory,
        spool: Spool,
        endpointing: Endpointing,
        crosstalk: Mode,
        post: Callable[[ThreadItem], None],
    ) -> None:
        self._inventory = inventory
        self._spool = spool
        self._endpointing = endpointing
        self._mode = crosstalk
        self._post = post
        self._orders: queue.SimpleQueue[orders.Order] = queue.SimpleQueue()
        self._waker = Waker()
        self._thread = ServiceThread("listener", self._run, post)
        self._silero = Silero()
        self._session: _Session | None = None
        self._mics: dict[str, Microphone] = {}
        self._placers: dict[str, Placer] = {}
        self._attendance = Attendance(post)
        self._phase = _Phase.IDLE
        self._open_by = 0.0
        self._levels_at = 0.0
        self._retry_at = 0.0
        self.beat = 0.0  # time of the thread's last round; read by the watchdog

    def configure(self, endpointing: Endpointing, crosstalk: Mode) -> None:
        """Change the settings, from the next session on."""
        self._endpointing, self._mode = endpointing, crosstalk

    def start(self) -> None:
        """Start the thread.

        Raises:
            ModelError: the model for voice activity detection is missing.
        """
        self._silero.locate()
        self.beat = time.monotonic()
        self._waker.start()
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """End the thread and all capture processes; return whether it ended in time."""
        self._order(orders.Quit())
        return self._thread.join(timeout_s)

    def begin(
        self,
        session_id: str,
        zero: float,
        assignments: dict[str, Assignment],
        *,
        patient: bool = False,
    ) -> None:
        """Open the mics of a session whose sample 0 is at the monotonic time `zero`.

        Answered by `MicsOpened` or `MicsRefused`. With `patient`, recording starts at once and
        missing mics join when they deliver, as in mid-session.
        """
        self._order(orders.Begin(session_id, zero, assignments, patient))

    def go(self) -> None:
        """Record, from the first sample held: the session now exists."""
        self._order(orders.Go())

    def assign(self, mic: str, assignment: Assignment) -> None:
        """Change a mic's assignment from now on; a mic that is not open yet joins."""
        self._order(orders.Reassign(mic, assignment))

    def end(self) -> None:
        """Close the mics; answered by `Flushed`."""
        self._order(orders.End())

    def _order(self, order: orders.Order) -> None:
        self._orders.put(order)
        self._waker.wake()

    # The listener thread runs everything below.

    def _run(self) -> None:
        try:
            while self._step():
                pass
        finally:
            for microphone in self._mics.values():
                microphone.stop()
            if self._session is not None:
                for mic in self._mics:
                    self._session.recorder.close(mic)

    def _step(self) -> bool:
        """Wait once for sound or an order, and handle it; return False when told to quit."""
        self._listen(STEP_S if self._mics else IDLE_STEP_S)
        if not self._obey():
            return False
        self._supervise()
        return True

    def _listen(self, timeout_s: float) -> None:
        """Read what the mics deliver; an order only ends the wait."""
        if self._phase is _Phase.RECORDING and not self._busy():
            self._waker.wait((), min(timeout_s, QUIET_STEP_S))
            for microphone in self._mics.values():
                microphone.read()
            return
        mics = {fd: mic for mic in self._mics.values() if (fd := mic.fileno()) is not None}
        for descriptor in self._waker.wait(mics, timeout_s):
            mics[descriptor].read()

    def _busy(self) -> bool:
        return self._session is not None and self._session.recorder.busy

    def _obey(self) -> bool:
        while not self._orders.empty():
            match self._orders.get():
                case orders.Begin() as begin:
                    self._begin(begin)
                case orders.Go():
                    self._go()
                case orders.Reassign(mic, assignment):
                    self._assign(mic, assignment)
                case orders.End():
                    self._end()
                case orders.Quit():
                    return False
        return True

    def _begin(self, begin: orders.Begin) -> None:
        room = Room(self._endpointing, self._mode)
        recorder = Recorder(begin.session_id, room, self._silero, self._spool, self._mode)
        self._session = _Session(begin.session_id, begin.zero, recorder)
        self._phase = _Phase.OPENING
        self._open_by = time.monotonic() + OPEN_TIMEOUT_S
        for mic, assignment in begin.assignments.items():
            self._join(mic, assignment, self._session)
            self._mics[mic].open()
        if begin.patient:
            for mic in begin.assignments:
                self._attendance.expect(mic)
            self._go()

    def _go(self) -> None:
        self._phase = _Phase.RECORDING
        self._levels_at = time.monotonic() + LEVELS_EVERY_S
        for placer in self._placers.values():
            placer.go()

    def _assign(self, mic: str, assignment: Assignment) -> None:
        if self._session is None:
            return
        if mic in self._mics:
            self._session.recorder.assign(mic, assignment)
        else:
            self._attendance.expect(mic)
            self._join(mic, assignment, self._session)
            self._placers[mic].go()
            self._mics[mic].open()

    def _join(self, mic: str, assignment: Assignment, session: _Session) -> None:
        session.recorder.join(mic, assignment)
        self._placers[mic] = Placer(mic, session.zero, session.recorder)
        source = self._inventory.source(mic, session.zero)
        self._mics[mic] = Microphone(mic, source, self._placers[mic])

    def _end(self) -> None:
        if self._session is None:
            return
        deadline = time.monotonic() + STOP_GRACE_S
        while (left := deadline - time.monotonic()) > 0:
            self._listen(left)
        for microphone in self._mics.values():
            microphone.stop()
        # Only after the last sound of all: whose speech it is depends on all of them.
        ends = [self._session.recorder.close(mic) for mic in self._mics]
        now = round((time.monotonic() - self._session.zero) * SAMPLE_RATE)
        self._post(Flushed(self._session.id, max([now, *ends])))
        self._clear()

    def _clear(self) -> None:
        self._mics, self._placers, self._session = {}, {}, None
        self._attendance = Attendance(self._post)
        self._phase = _Phase.IDLE

    def _supervise(self) -> None:
        now = self.beat = time.monotonic()
        if now >= self._retry_at:
            self._retry_at = now + SPOOL_RETRY_S
            self._spool.retry()
        for microphone in self._mics.values():
            microphone.supervise(now)
        if self._phase is _Phase.OPENING:
            self._check_opening(now)
        elif self._phase is _Phase.RECORDING:
            self._report(now)

    def _check_opening(self, now: float) -> None:
        assert self._session is not None
        waiting = [m for m in self._mics.values() if not m.delivers]
        if not waiting:
            self._phase = _Phase.OPENED
            rates = {mic: m.sample_rate or 0 for mic, m in self._mics.items()}
            self._post(MicsOpened(rates))
            return
        given_up = {m.mic: m.failure for m in waiting if m.failure and m.attempts >= OPEN_ATTEMPTS}
        if given_up or now >= self._open_by:
            reasons = {m.mic: m.failure or f"{m.mic} delivers no sound" for m in waiting}
            self._post(MicsRefused(reasons))
            for microphone in self._mics.values():
                microphone.stop()
            self._clear()

    def _report(self, now: float) -> None:
        for microphone in self._mics.values():
            self._attendance.look(microphone)
        if self._session is not None and now >= self._levels_at:
            self._levels_at = now + LEVELS_EVERY_S
            recorder = self._session.recorder
            levels = {mic: recorder.level_dbfs(mic) for mic in self._mics}
            lost_s = sum(placer.lost_s for placer in self._placers.values())
            self._post(LevelsMeasured(levels, lost_s, recorder.lags_s()))
