"""What `bench` makes of its measurements."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.commands.bench_advice import (
    RELATIVE,
    RESERVE,
    Findings,
    Row,
    advised,
    best_threads,
    estimates,
    row,
)
from node.commands.bench_model import Cost, Measured
from node.commands.bench_report import document


def measured(rtf: float, threads: int = 2, *, window: bool = True, full: bool = False) -> Measured:
    """Half of the time encodes; all threads are busy throughout."""
    lengths = (2.0, 4.0, 8.0)
    costs = [Cost(s, s * rtf / 2, s * rtf / 2, cpu_s=s * rtf * threads) for s in (*lengths, 30.0)]
    return Measured(threads, full, tuple(costs[:3]), costs[3] if window else None)


def test_the_engine_alone_limits_where_cores_are_many() -> None:
    assert row("base", measured(0.1), hearing=0.01, cores=64).mics == pytest.approx(RESERVE / 0.1)


def test_the_processor_limits_where_the_engine_has_all_of_it() -> None:
    found = row("base", measured(0.1), hearing=0.05, cores=2)
    assert found.mics == pytest.approx(RESERVE * 2 / (0.2 + 0.05))


@given(st.floats(0.001, 50), st.floats(0, 1), st.integers(1, 64))
def test_what_can_be_followed_never_takes_more_than_there_is(
    rtf: float, hearing: float, cores: int
) -> None:
    costs = measured(rtf)
    mics = row("base", costs, hearing, cores).mics
    assert mics * costs.rtf <= RESERVE * 1.001
    assert mics * (costs.cpu_rtf + hearing) <= RESERVE * cores * 1.001


@pytest.mark.parametrize(
    ("rtfs", "best"),
    [((0.4, 0.21, 0.2), 2), ((0.4, 0.38, 0.2), 4), ((0.2, 0.3, 0.4), 1), ((0.4,), 1)],
)
def test_threads_are_added_only_for_a_gain(rtfs: tuple[float, ...], best: int) -> None:
    runs = [measured(rtf, 2**power) for power, rtf in enumerate(rtfs)]
    assert best_threads(runs).threads == best


def test_estimates_are_of_what_is_not_there_and_scale_with_the_size() -> None:
    found = estimates("base", measured(0.1), {"base": None, "tiny": None})
    assert set(found) == set(RELATIVE) - {"base", "tiny"}
    small = found["small"]
    ratio = (RELATIVE["small"].encode + RELATIVE["small"].decode) / 2
    assert small.rtf == pytest.approx(0.1 * ratio)
    assert small.cpu_rtf == pytest.approx(0.2 * ratio)
    assert small.window
    full = (RELATIVE["small"].encode_full + RELATIVE["small"].decode) / 2
    assert small.window.rtf == pytest.approx(0.1 * full)
    whole = estimates("base", measured(0.1, full=True), {})["small"]
    assert whole.rtf == pytest.approx(0.1 * full), "utterances cost what a full window costs"


@pytest.mark.parametrize("known", RELATIVE)
def test_an_estimate_from_another_estimate_is_the_same(known: str) -> None:
    direct = estimates("base", measured(0.1), {})
    again = estimates(known, direct[known], {})
    for name, costs in direct.items():
        assert again[name].rtf == pytest.approx(costs.rtf)


def test_a_model_of_another_size_gives_no_estimates() -> None:
    assert estimates("/models/own", measured(0.1), {}) == {}


def rows(**mics: float) -> list[Row]:
    names = {"large_v3": "large-v3"}
    return [Row(names.get(n, n), measured(0.1), estimated=False, mics=m) for n, m in mics.items()]


def test_the_largest_model_that_follows_two_people_is_advised() -> None:
    best = advised(rows(tiny=20, small=2.4, base=9, large_v3=0.3))
    assert best
    assert best.model == "small"


def test_nothing_is_advised_where_nothing_follows() -> None:
    assert advised(rows(tiny=1.9, base=0.8)) is None
    assert advised([Row("/own", measured(0.1), estimated=False, mics=30)]) is None


def test_the_document_says_what_is_an_estimate() -> None:
    costs = measured(0.1, window=False)
    found = [
        row("base", costs, 0.01, 4),
        row("small", estimates("base", costs, {})["small"], 0.01, 4, estimated=True),
    ]
    said = document(Findings(4, 0.1, 0.01, tuple(found), (costs,), found[0]), hangover_s=0.6)
    assert [(m["model"], m["estimate"]) for m in said["models"]] == [
        ("base", False),
        ("small", True),
    ]
    assert said["models"][0]["text_after_s"] == pytest.approx(0.6 + 4 * 0.1)
    assert said["models"][0]["window"] is None
    assert said["advice"] == {"model": "base", "threads": 2}


def test_a_busy_machine_is_noticed() -> None:
    assert Findings(2, 13.0, 0.01, (), (), None).is_disturbed
    assert not Findings(4, 0.4, 0.01, (), (), None).is_disturbed
