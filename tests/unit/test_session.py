from __future__ import annotations

from itertools import product

import pytest

from node.core.session import TRANSITIONS, Machine, Move, State
from node.errors import RequestError

TABLE = {
    (State.IDLE, Move.START): State.STARTING,
    (State.STARTING, Move.OPENED): State.RECORDING,
    (State.STARTING, Move.REFUSED): State.IDLE,
    (State.RECORDING, Move.STOP): State.STOPPING,
    (State.STOPPING, Move.DRAINED): State.IDLE,
    (State.IDLE, Move.STOP): State.STOPPING,
    (State.ERROR, Move.STOP): State.STOPPING,
    (State.IDLE, Move.MODEL_LOST): State.ERROR,
    (State.ERROR, Move.MODEL_READY): State.IDLE,
}


def machine(state: State) -> Machine:
    made = Machine()
    made.state = state
    return made


def test_a_node_begins_idle() -> None:
    assert Machine().state is State.IDLE


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


def test_every_state_is_left_and_reached() -> None:
    assert {state for state, _ in TRANSITIONS} == set(State)
    assert set(TRANSITIONS.values()) == set(State)
    assert {move for _, move in TRANSITIONS} == set(Move)


def test_a_start_while_recording_names_the_running_session() -> None:
    with pytest.raises(RequestError, match="session now is being recorded") as caught:
        machine(State.RECORDING).check_start("now")
    assert caught.value.code == "already_recording"
    assert caught.value.details == {"session_id": "now"}


@pytest.mark.parametrize("state", [State.STARTING, State.STOPPING])
def test_a_start_between_states_is_to_be_tried_again(state: State) -> None:
    with pytest.raises(RequestError, match=f"session now is {state}") as caught:
        machine(state).check_start("now")
    assert caught.value.code == "busy"


@pytest.mark.parametrize("state", [State.IDLE, State.ERROR])
def test_a_start_is_not_the_states_to_refuse(state: State) -> None:
    machine(state).check_start(None)


@pytest.mark.parametrize("wanted", [None, "now"])
@pytest.mark.parametrize("state", [State.RECORDING, State.STOPPING])
def test_a_stop_of_the_running_session(state: State, wanted: str | None) -> None:
    machine(state).check_stop("now", wanted)


@pytest.mark.parametrize("state", [State.IDLE, State.STARTING, State.ERROR])
def test_a_stop_where_nothing_is_recorded(state: State) -> None:
    for running in (None, "now"):
        with pytest.raises(RequestError, match="no session is being recorded") as caught:
            machine(state).check_stop(running, None)
        assert caught.value.code == "not_recording"


def test_a_stop_of_another_session_names_both() -> None:
    with pytest.raises(RequestError, match=r"^session_id: old .* running session now") as caught:
        machine(State.RECORDING).check_stop("now", "old")
    assert caught.value.code == "not_recording"
