"""Patience with workers, who they are, the order of texts, and when help is asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.core.mqtt.topics import Topics, is_work_response, work_request, worker_status
from node.core.overload import Load
from node.core.work.fleet import FLICKER, MAX_WORKERS, Fleet, matters, mismatch
from node.core.work.help import CALM_S, PAUSE_S, Help
from node.core.work.messages import ModelId, WorkerStatus, encode_status
from node.core.work.order import HELD_S, Order
from node.core.work.patience import LEAST_S, LONGEST_S, UNKNOWN_RTF, Patience

SHA, OTHER = "a" * 64, "b" * 64
BASE = ModelId(name="base", sha256=SHA)


# Topics.


@pytest.mark.parametrize(
    ("model", "topic"),
    [
        ("base", "scribe/work/base/request"),
        ("distil-large-v3.5", "scribe/work/distil-large-v3-5/request"),
        ("/srv/models/Base #2/", "scribe/work/base-2/request"),
        ("./été/", "scribe/work/-t-/request"),
        ("/", "scribe/work/model/request"),
    ],
)
def test_a_model_is_one_level_of_a_topic(model: str, topic: str) -> None:
    assert work_request("scribe", model) == topic


def test_answers_go_to_nodes_and_nowhere_else() -> None:
    assert is_work_response("a/b", Topics("a/b", "kitchen").work_response)
    for topic in (
        "a/b/kitchen/request/session/start",
        "a/b/kitchen/work/response/x",
        "a/b/+/work/response",
        "kitchen/work/response",
        "",
    ):
        assert not is_work_response("a/b", topic)
    assert worker_status("scribe", "attic") == "scribe/worker/attic/status"


# Patience.


def test_a_deadline_begins_with_what_workers_say() -> None:
    patience = Patience()
    unknown, slow, quick = (patience.deadline_s(5, rtf) for rtf in (None, 2.0, 0.1))
    assert unknown == patience.deadline_s(5, UNKNOWN_RTF)
    assert LEAST_S < quick < unknown < slow


def test_a_deadline_follows_the_waits_that_were_seen() -> None:
    patience = Patience()
    patience.answered(5, 1.0, 0.5)
    at_once = patience.deadline_s(5, None)
    for _ in range(10):
        patience.answered(5, 20.5, 0.5)
    assert patience.deadline_s(5, None) > max(20, at_once)


def test_a_slow_engine_counts_more_than_a_quick_one() -> None:
    patience = Patience()
    patience.answered(5, 10.0, 10.0)
    slow = patience.rtf
    assert slow == 1.0
    patience.answered(5, 1.0, 1.0)
    assert patience.rtf is not None
    assert 0.8 < patience.rtf < slow
    patience.answered(5, 20.0, 20.0)
    assert patience.rtf == 2.0


def test_an_answer_to_what_was_sent_twice_tells_nothing_of_the_wait() -> None:
    patience = Patience()
    patience.expired(0, 1)
    doubled = patience.deadline_s(5, 0.5)
    patience.answered(5, None, 0.5)
    assert patience.deadline_s(5, 0.5) == doubled
    patience.answered(5, 0.5, 0.5)
    assert patience.deadline_s(5, 0.5) == doubled / 2


def test_requests_that_were_under_way_together_double_a_deadline_once() -> None:
    patience = Patience()
    first = patience.deadline_s(5, 0.1)
    for sent_at in (0.0, 0.1, 2.9):
        patience.expired(sent_at, 3.0)
    assert patience.deadline_s(5, 0.1) == 2 * first
    patience.expired(3.0, 9.0)
    assert patience.deadline_s(5, 0.1) == 4 * first


@given(
    st.lists(st.none() | st.tuples(st.floats(0.1, 30), st.floats(0, 500), st.floats(0, 500))),
    st.floats(0.1, 41),
)
def test_a_deadline_is_never_extreme(
    seen: list[tuple[float, float, float] | None], s: float
) -> None:
    patience = Patience()
    for each in seen:
        if each is None:
            patience.expired(0, 0)
        else:
            patience.answered(*each)
        assert LEAST_S <= patience.deadline_s(s, None) <= LONGEST_S
    before = patience.deadline_s(s, None)
    patience.expired(0, 0)
    assert patience.deadline_s(s, None) >= before


# Workers.


def status(worker: str, model: ModelId | None = BASE, **fields: object) -> bytes:
    return encode_status(
        WorkerStatus(state="online", worker=worker, model=model, **fields)  # type: ignore[arg-type]
    )


def gone(worker: str) -> bytes:
    return encode_status(WorkerStatus(state="offline", worker=worker))


def test_workers_come_and_go() -> None:
    fleet = Fleet(BASE)
    assert Fleet(BASE).rtf is None
    fleet.saw("attic", status("attic", slots=2))
    fleet.saw("barn", status("barn", slots=3, rtf=0.5))
    fleet.saw("cave", status("cave", rtf=0.7))
    assert (len(fleet.useful), fleet.slots, fleet.rtf) == (3, 6, 0.7)
    fleet.saw("cave", gone("cave"))
    fleet.saw("barn", gone("barn"))
    fleet.saw("barn", gone("barn"))
    assert [each.worker for each in fleet.useful] == ["attic"]
    fleet.saw("attic", b"")
    assert fleet.useful == []
    fleet.saw("attic", status("attic"))
    fleet.clear()
    assert fleet.useful == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"in_flight": 2, "answered": 7, "failed": 1, "refused": 3, "dropped": 1}, False),
        ({"rtf": 0.5 * FLICKER * 1.01}, True),
        ({"rtf": 0.5 * FLICKER * 0.99}, False),
        ({"rtf": 0.5 / FLICKER / 1.01}, True),
        ({"rtf": None}, True),
        ({"slots": 3}, True),
        ({"model": ModelId(name="base", sha256=OTHER)}, True),
    ],
)
def test_what_nodes_go_by(change: dict[str, object], *, expected: bool) -> None:
    said = WorkerStatus(state="online", worker="attic", model=BASE, slots=2, rtf=0.5)
    now = said.model_copy(update=change)
    assert matters(said, now) is expected
    assert matters(now, said) is expected
    silent = said.model_copy(update={"rtf": None})
    assert not matters(silent, silent)


def test_a_worker_speaks_for_itself_only() -> None:
    fleet = Fleet(BASE)
    fleet.saw("attic", status("barn"))
    assert fleet.useful == []


def test_workers_with_another_model_are_of_no_use_and_that_is_said_once() -> None:
    fleet = Fleet(BASE)
    fleet.saw("tiny", status("tiny", ModelId(name="tiny", sha256=SHA)))
    fleet.saw("odd", status("odd", ModelId(name="base", sha256=OTHER)))
    fleet.saw("bare", status("bare", None))
    assert fleet.useful == []
    (said,) = fleet.news()
    assert "the worker odd is of no use: its base has other weights" in said
    assert fleet.news() == []


def test_weights_that_one_side_does_not_know_are_trusted() -> None:
    assert mismatch(ModelId(name="base"), BASE) is None
    assert mismatch(BASE, ModelId(name="base")) is None
    assert mismatch(BASE, BASE) is None
    assert mismatch(BASE, ModelId(name="base", sha256=OTHER)) is not None
    assert mismatch(BASE, None) == "its model is unknown, not base"


def test_no_more_workers_are_remembered_than_is_reasonable() -> None:
    fleet = Fleet(BASE)
    for number in range(MAX_WORKERS + 5):
        fleet.saw(f"w{number}", status(f"w{number}"))
    assert len(fleet.useful) == MAX_WORKERS
    fleet.saw("w0", status("w0", slots=9))
    assert fleet.slots == MAX_WORKERS + 8


def test_what_is_said_of_workers_is_bounded_whatever_they_claim() -> None:
    fleet = Fleet(BASE)
    said = 0
    for number in range(MAX_WORKERS + 5):
        for sha in (f"{number:064x}", f"{number + 1_000_000:064x}"):
            fleet.saw(f"w{number}", status(f"w{number}", ModelId(name="base", sha256=sha)))
            said += len(fleet.news())
        fleet.saw(f"w{number}", gone(f"w{number}"))
    assert said == MAX_WORKERS


# Order.


def drained(order: Order[str], now: float = 0) -> list[str]:
    found = []
    while (ready := order.ready(now)) is not None:
        found.append(ready[1])
        order.drop(ready[0])
    return found


def test_texts_come_in_the_order_in_which_utterances_were_handed_out() -> None:
    order: Order[str] = Order()
    for key in "abc":
        order.begin(key, key, 0)
    order.done("c", "C")
    order.done("a", "A")
    assert drained(order) == ["A"]
    assert order.finished == {"c"}
    assert order.unfinished() == ["b"]
    order.begin("b", "b", 5)  # sent again
    order.done("b", "B")
    assert drained(order) == ["B", "C"]


def test_nobody_waits_for_ever() -> None:
    order: Order[str] = Order()
    order.begin("stuck", "Alice", 0)
    order.begin("hers", "Alice", 1)
    order.begin("his", "Bruno", 1)
    order.done("hers", "later")
    order.done("his", "now")
    assert drained(order, HELD_S - 1) == []
    assert drained(order, HELD_S) == ["now"]
    order.drop("stuck")
    assert drained(order, HELD_S) == ["later"]


def test_an_utterance_is_behind_what_its_speaker_said_before() -> None:
    order: Order[str] = Order()
    order.begin("a", "Alice", 0)
    order.begin("b", "Alice", 0)
    assert order.is_behind("c", "Alice", 1)
    assert order.is_behind("b", "Alice", 1)
    assert not order.is_behind("a", "Alice", 1)
    assert not order.is_behind("d", "Bruno", 1)
    assert not order.is_behind("c", "Alice", HELD_S)


@given(st.permutations(range(8)), st.lists(st.sampled_from("ABC"), min_size=8, max_size=8))
def test_any_order_of_answers_gives_one_order_of_texts(
    answered: list[int], speakers: list[str]
) -> None:
    order: Order[int] = Order()
    for number, speaker in enumerate(speakers):
        order.begin(str(number), speaker, 0)
    found: list[int] = []
    for number in answered:
        order.done(str(number), number)
        while (ready := order.ready(1)) is not None:
            found.append(ready[1])
            order.drop(ready[0])
    assert found == list(range(8))


# Help.


def test_help_is_asked_for_from_the_first_sign_of_load_until_it_is_calm() -> None:
    wanted = Help()
    assert not wanted.look(0, Load.NORMAL)
    assert wanted.look(1, Load.NO_PARTIALS)
    assert wanted.look(1 + CALM_S - 0.1, Load.NORMAL)
    assert not wanted.look(1 + CALM_S, Load.NORMAL)


def test_help_that_does_not_come_is_not_asked_for_at_once_again() -> None:
    wanted = Help()
    assert wanted.look(0, Load.BEAM_1)
    wanted.unanswered(1)
    times = [1, 1 + PAUSE_S - 0.1, 1 + PAUSE_S]
    assert [wanted.look(at, Load.BEAM_1) for at in times] == [False, False, True]
