"""The session's states and what moves them, as a table: everything about states is here."""

from __future__ import annotations

from enum import StrEnum

from node.errors import RequestError


class State(StrEnum):
    IDLE = "idle"
    STARTING = "starting"
    RECORDING = "recording"
    STOPPING = "stopping"
    ERROR = "error"  # nothing can be recorded: the model is missing


class Move(StrEnum):
    START = "start"
    OPENED = "opened"
    REFUSED = "refused"
    STOP = "stop"
    DRAINED = "drained"
    MODEL_LOST = "model lost"
    MODEL_READY = "model ready"


TRANSITIONS: dict[tuple[State, Move], State] = {
    (State.IDLE, Move.START): State.STARTING,
    (State.STARTING, Move.OPENED): State.RECORDING,
    (State.STARTING, Move.REFUSED): State.IDLE,
    (State.RECORDING, Move.STOP): State.STOPPING,
    (State.STOPPING, Move.DRAINED): State.IDLE,
    (State.IDLE, Move.STOP): State.STOPPING,  # a session cut off by a crash, found at start
    (State.ERROR, Move.STOP): State.STOPPING,
    (State.IDLE, Move.MODEL_LOST): State.ERROR,
    (State.ERROR, Move.MODEL_READY): State.IDLE,
}


class Machine:
    """Holds the state; owned by the main thread."""

    def __init__(self) -> None:
        self.state = State.IDLE

    def move(self, move: Move) -> None:
        """Go where the table says; a move it does not name is a bug in the caller."""
        try:
            self.state = TRANSITIONS[self.state, move]
        except KeyError:
            raise AssertionError(f"{move} does not fit the state {self.state}") from None

    def check_start(self, running: str | None) -> None:
        """Whether a session may start now.

        Raises:
            RequestError: `already_recording` with the running session, or `busy`.
        """
        if self.state is State.RECORDING:
            raise RequestError(
                "already_recording", f"session {running} is being recorded", session_id=running
            )
        if self.state in {State.STARTING, State.STOPPING}:
            raise RequestError("busy", f"session {running} is {self.state}; try again when done")

    def check_stop(self, running: str | None, wanted: str | None) -> None:
        """Whether `session/stop` means the running session.

        Raises:
            RequestError: `not_recording`.
        """
        if running is None or self.state not in {State.RECORDING, State.STOPPING}:
            raise RequestError("not_recording", "no session is being recorded")
        if wanted not in {None, running}:
            raise RequestError(
                "not_recording", f"session_id: {wanted} is not the running session {running}"
            )
