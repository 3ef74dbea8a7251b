"""What is being recorded, as a table of states and moves, and what is shown of it.

Recording and finishing are separate: a session that was recorded is still being transcribed and
written while the next one is recorded. Only recording has states.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from node.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence


class State(StrEnum):
    IDLE = "idle"
    STARTING = "starting"
    RECORDING = "recording"
    STOPPING = "stopping"  # only shown: nothing is recorded, something is still being written
    ERROR = "error"  # nothing can be recorded: the model is missing


class Move(StrEnum):
    START = "start"
    OPENED = "opened"
    REFUSED = "refused"
    STOP = "stop"
    MODEL_LOST = "model lost"
    MODEL_READY = "model ready"


TRANSITIONS: dict[tuple[State, Move], State] = {
    (State.IDLE, Move.START): State.STARTING,
    (State.STARTING, Move.OPENED): State.RECORDING,
    (State.STARTING, Move.REFUSED): State.IDLE,
    (State.RECORDING, Move.STOP): State.IDLE,
    (State.IDLE, Move.MODEL_LOST): State.ERROR,
    (State.ERROR, Move.MODEL_READY): State.IDLE,
}


class StateMachine:
    """Holds the state of what is recorded; owned by the main thread."""

    def __init__(self) -> None:
        self.state = State.IDLE

    def move(self, move: Move) -> None:
        """Go where the table says; a move it does not list is a bug in the caller."""
        try:
            self.state = TRANSITIONS[self.state, move]
        except KeyError:
            raise AssertionError(f"{move} does not fit the state {self.state}") from None

    def shown(self, *, finishing: bool) -> State:
        """The state for `T/session`: "stopping" while sessions are still being written and none is
        recorded.
        """
        return State.STOPPING if finishing and self.state is State.IDLE else self.state

    def check_start(self, running: str | None) -> None:
        """Whether a session may start now.

        Raises:
            RequestError: `already_recording` with the running session, or `busy`.
        """
        if self.state is State.RECORDING:
            raise RequestError(
                "already_recording", f"session {running} is being recorded", session_id=running
            )
        if self.state is State.STARTING:
            raise RequestError("busy", f"session {running} is {self.state}; try again when done")

    def session_to_stop(
        self, running: str | None, finishing: Sequence[str], wanted: str | None
    ) -> str:
        """Which session `session/stop` means: without an id the running one, or else the newest.

        Raises:
            RequestError: `not_recording`.
        """
        recorded = [running] if running is not None and self.state is State.RECORDING else []
        stoppable = [*finishing, *recorded]
        if not stoppable:
            raise RequestError("not_recording", "no session is being recorded")
        if wanted is None:
            return stoppable[-1]
        if wanted not in stoppable:
            raise RequestError(
                "not_recording",
                f"session_id: {wanted} is neither being recorded nor being written;"
                f" these are: {', '.join(stoppable)}",
            )
        return wanted
