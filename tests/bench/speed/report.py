"""The tables, with the aims."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.bench.speed.setup import Outcome

    Results = dict[str, Outcome]
    Scene = tuple[int, int]

NAMES = {
    "ours": "this node, from the tracks",
    "live": "this node, the whole service in real time",
    "floor": "floor: raw CTranslate2 on exactly the speech",
    "openai-blocks": "blocks of 30 s, openai-whisper",
    "faster-blocks": "blocks of 30 s, faster-whisper",
    "faster-vad": "faster-whisper with its VAD, each track afterwards",
    "batched": "BatchedInferencePipeline, each track afterwards",
    "wyoming": "wyoming-faster-whisper, each utterance once",
}

AIM_FLOOR = 1.15
AIMS = {"openai-blocks": 10.0, "faster-vad": 5.0}
"""At most this many times the floor; this many times less than others."""

BOUNDED_S = 10.0
"""A lag counts as bounded if that of the last utterances is below this."""


@dataclass(frozen=True, slots=True)
class Load:
    """As many people speaking all the time as the floor can follow, each alone in a room."""

    mics: int
    floor: Outcome
    live: Outcome


def main_table(title: str, scene: Scene, results: Results) -> str:
    mics, percent = scene
    head = [
        f"\n{title}, {mics} microphones, somebody speaks {percent} % of the time\n",
        "| | CPU s an hour | of the floor | windows of 30 s | tokens | lag, median | at the end |",
        "|---|---|---|---|---|---|---|",
    ]
    rows = [_row(name, results[name], results.get("floor")) for name in NAMES if name in results]
    return "\n".join([*head, *rows, "", *_aims(results)])


def _row(name: str, outcome: Outcome, floor: Outcome | None) -> str:
    hour = 3600 / outcome.length_s
    cells = [
        NAMES[name],
        f"{outcome.cpu_s_an_hour:,.0f}",
        f"{outcome.cpu_s_an_hour / floor.cpu_s_an_hour:.2f}" if floor else "",
        f"{outcome.windows * hour:,.0f}" if outcome.windows else "",
        f"{outcome.tokens * hour:,.0f}" if outcome.tokens else "",
        _seconds(outcome.median_lag_s),
        _seconds(outcome.last_lag_s),
    ]
    return f"| {' | '.join(cells)} |"


def _seconds(value: float | None) -> str:
    return "after the meeting" if value is None else f"{value:.1f} s"


def _aims(results: Results) -> list[str]:
    """Return the aims, the results, and where our time goes."""
    ours, floor = results.get("ours"), results.get("floor")
    lines = []
    if ours and floor:
        times = ours.cpu_s_an_hour / floor.cpu_s_an_hour
        lines.append(
            _aim(
                f"at most {AIM_FLOOR} times the floor", f"{times:.2f} times", met=times <= AIM_FLOOR
            )
        )
    for name, least in AIMS.items():
        if ours and name in results:
            times = results[name].cpu_s_an_hour / ours.cpu_s_an_hour
            what = f"{least:g} times less than {NAMES[name]}"
            lines.append(_aim(what, f"{times:.1f} times", met=times >= least))
    if ours:
        engine = ours.parts_s["engine"] * 3600 / ours.length_s
        rest = ours.cpu_s_an_hour - engine
        lines.append(
            f"Ours: engine {engine:.0f} s, hearing (VAD, ownership, cutting) {rest:.0f} s;"
            f" second looks {ours.second_looks * 3600 / ours.length_s:.0f}."
        )
    return lines


def _aim(what: str, became: str, *, met: bool) -> str:
    return f"Aim: {what}: {became}, {'met' if met else 'MISSED'}."


def cross_table(title: str, scenes: Mapping[Scene, Results]) -> str:
    """Return processor seconds per hour for every system in every meeting."""
    order = sorted(scenes, key=lambda scene: (scene[1] != 50, scene))
    heads = " | ".join(f"{mics} mics, {percent} %" for mics, percent in order)
    lines = [f"\n{title}, CPU s an hour\n", f"| | {heads} |", "|---" * (len(order) + 1) + "|"]
    for name, system in NAMES.items():
        if all(name in scenes[scene] for scene in order):
            cells = (f"{scenes[scene][name].cpu_s_an_hour:,.0f}" for scene in order)
            lines.append(f"| {system} | {' | '.join(cells)} |")
    return "\n".join(lines)


def load_lines(load: Load) -> str:
    floor, live = load.floor, load.live
    last = live.last_lag_s
    met = last is not None and last <= BOUNDED_S
    return (
        f"\n{load.mics} people at full speech at once, as many as the floor can follow: lag of the"
        f" floor {_seconds(floor.median_lag_s)}, at the end {_seconds(floor.last_lag_s)}; of the"
        f" service, in real time, {_seconds(live.median_lag_s)}, at the end {_seconds(last)}.\n"
        + _aim(f"lag at the end at most {BOUNDED_S:g} s", _seconds(last), met=met)
    )
