from __future__ import annotations

from itertools import product

import pytest

from node.core.session import TRANSITIONS, Move, State, StateMachine
from node.errors import RequestError

TABLE = {
    (State.IDLE, Move.START): State.STARTING,
    (State.STARTING, Move.OPENED): State.RECORDING,
    (State.STARTING, Move.REFUSED): State.IDLE,
    (State.RECORDING, Move.STOP): State.IDLE,
    (State.IDLE, Move.MODEL_LOST): State.ERROR,
    (State.ERROR, Move.MODEL_READY): State.IDLE,
}


def machine(state: State) -> StateMachine:
    made = StateMachine()
    made.state = state
    return made


def test_a_node_begins_idle() -> None:
    assert StateMachine().state is State.IDLE


def test_states_have_the_names_of_the_interface() -> None:
    assert [str(s) for s in State] == ["idle", "starting", "recording", "stopping", "error"]


@pytest.mark.parametrize(("state", "move"), list(product(State, Move)), ids=str)
def test_every_move_in_every_state(state: State, move: Move) -> None:
    moved = machine(state)
    if (state, move) in TABLE:
        moved.move(move)
        assert moved.state is TABLE[state, move]
        return
    with pytest.raises(AssertionError, match=f"{move} does not fit the state {state}"):
        moved.move(move)
    assert moved.state is state


def test_every_state_but_the_shown_one_is_left_and_reached() -> None:
    states = set(State) - {State.STOPPING}
    assert {state for state, _ in TRANSITIONS} == states
    assert set(TRANSITIONS.values()) == states
    assert {move for _, move in TRANSITIONS} == set(Move)


@pytest.mark.parametrize("state", [state for state in State if state is not State.STOPPING])
def test_what_is_being_written_shows_only_where_nothing_else_does(state: State) -> None:
    assert machine(state).shown(finishing=False) is state
    shown = machine(state).shown(finishing=True)
    assert shown is (State.STOPPING if state is State.IDLE else state)


def test_a_start_while_recording_names_the_running_session() -> None:
    with pytest.raises(RequestError, match="session now is being recorded") as caught:
        machine(State.RECORDING).check_start("now")
    assert caught.value.code == "already_recording"
    assert caught.value.details == {"session_id": "now"}


def test_a_start_while_another_starts_is_to_be_tried_again() -> None:
    with pytest.raises(RequestError, match="session now is starting") as caught:
        machine(State.STARTING).check_start("now")
    assert caught.value.code == "busy"


@pytest.mark.parametrize("state", [State.IDLE, State.ERROR])
def test_a_start_is_not_the_states_to_refuse(state: State) -> None:
    machine(state).check_start(None)


@pytest.mark.parametrize(
    ("state", "wanted", "meant"),
    [
        (State.RECORDING, None, "now"),
        (State.RECORDING, "now", "now"),
        (State.RECORDING, "older", "older"),
        (State.RECORDING, "old", "old"),
        (State.IDLE, None, "old"),
        (State.IDLE, "older", "older"),
        (State.STARTING, None, "old"),
        (State.ERROR, "old", "old"),
    ],
)
def test_which_session_is_to_be_stopped(state: State, wanted: str | None, meant: str) -> None:
    running = "now" if state in {State.RECORDING, State.STARTING} else None
    assert machine(state).session_to_stop(running, ["older", "old"], wanted) == meant


@pytest.mark.parametrize("state", [State.IDLE, State.STARTING, State.ERROR])
def test_a_stop_where_nothing_is_recorded(state: State) -> None:
    for running in (None, "now"):
        with pytest.raises(RequestError, match="no session is being recorded") as caught:
            machine(state).session_to_stop(running, [], None)
        assert caught.value.code == "not_recording"


def test_a_stop_of_another_session_names_those_there_are() -> None:
    with pytest.raises(RequestError, match=r"^session_id: gone .* these are: old, now$") as caught:
        machine(State.RECORDING).session_to_stop("now", ["old"], "gone")
    assert caught.value.code == "not_recording"
