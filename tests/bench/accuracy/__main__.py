"""Who said what, when: this node beside other ways. `python -m tests.bench.accuracy [--quick]`."""

from __future__ import annotations

import argparse
from functools import reduce
from operator import add
from typing import TYPE_CHECKING

from tests.bench.accuracy import systems
from tests.bench.accuracy.acoustics import Acoustics, record
from tests.bench.accuracy.meeting import Plan, converse
from tests.bench.accuracy.score import Score, score

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.bench.accuracy.acoustics import Recording
    from tests.bench.accuracy.meeting import Spoken

    System = Callable[[list[Spoken], Recording], list[systems.Line]]

SEEDS = {"tune": 1000, "report": 2000}

SCENES: dict[str, tuple[int, float, Acoustics]] = {
    "2 speakers, -10 dB, 10 %": (2, 0.10, Acoustics(bleed_db=-10)),
    "3 speakers, no bleed, 10 %": (3, 0.10, Acoustics(bleed_db=None)),
    "4 speakers, -20 dB, 10 %": (4, 0.10, Acoustics(bleed_db=-20, gain_db=12, delay_s=0.2)),
    "4 speakers, -10 dB, 0 %": (4, 0.0, Acoustics(bleed_db=-10)),
    "4 speakers, -10 dB, 10 %": (4, 0.10, Acoustics(bleed_db=-10)),
    "4 speakers, -6 dB, 25 %": (4, 0.25, Acoustics(bleed_db=-6)),
    "4 speakers, -6 dB, 25 %, gains 12 dB, delays 0.2 s": (
        *(4, 0.25),
        Acoustics(bleed_db=-6, gain_db=12, delay_s=0.2),
    ),
    "3 speakers, -3 dB, 10 %": (3, 0.10, Acoustics(bleed_db=-3)),
    "8 speakers, -10 dB, 10 %": (8, 0.10, Acoustics(bleed_db=-10, gain_db=12, delay_s=0.2)),
}
"""Speakers, overlap and acoustics; gains, loudness, delays and drifts differ in all of them."""

SYSTEMS: dict[str, System] = {
    "oracle": lambda said, _: systems.oracle(said),
    "node, drop": lambda _, recording: systems.node(recording.tracks, "drop"),
    "node, off": lambda _, recording: systems.node(recording.tracks, "off"),
    "faster-whisper, its VAD": lambda _, recording: systems.vad_filter(recording.tracks),
    "blocks of 30 s": lambda _, recording: systems.blocks(recording.tracks, 30),
    "blocks of 15 s": lambda _, recording: systems.blocks(recording.tracks, 15),
}
QUICK_SYSTEMS = ("oracle", "node, drop", "node, off")

HEADER = (
    "| | cpWER | tcpWER 5 s | tcpWER 1 s | ORC-WER | doubled | lost | order errors |\n"
    "|---|---|---|---|---|---|---|---|"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few meetings, own systems only")
    parser.add_argument("--seeds", choices=SEEDS, default="report")
    parser.add_argument("--meetings", type=int, help="meetings of each kind")
    parser.add_argument("--length", type=float, default=90.0, help="seconds of a meeting")
    parser.add_argument("--scenes", default="", help="only those whose name contains this")
    parser.add_argument("--systems", nargs="*", choices=SYSTEMS)
    given = parser.parse_args()
    names = given.systems or (QUICK_SYSTEMS if given.quick else tuple(SYSTEMS))
    count = given.meetings or (1 if given.quick else 3)
    for scene in (scene for scene in SCENES if given.scenes in scene):
        print(f"\n### {scene}\n\n{HEADER}", flush=True)
        meetings = [_meeting(scene, given.seeds, number, given.length) for number in range(count)]
        for name in names:
            print(_row(name, meetings), flush=True)


def _meeting(
    scene: str, seeds: str, number: int, length_s: float
) -> tuple[list[Spoken], Recording]:
    speakers, overlap, acoustics = SCENES[scene]
    seed = SEEDS[seeds] + 20 * list(SCENES).index(scene) + number
    said = converse(Plan(seed, speakers, overlap, length_s, seeds))
    return said, record(said, speakers, acoustics, seed)


def _row(name: str, meetings: list[tuple[list[Spoken], Recording]]) -> str:
    scores = [score(said, SYSTEMS[name](said, recording)) for said, recording in meetings]
    total = reduce(add, scores)
    cells = [name, *_rates(total)]
    return f"| {' | '.join(cells)} |"


def _rates(total: Score) -> list[str]:
    by_words = (total.cp, total.tcp5, total.tcp1, total.orc)
    return [
        *(f"{100 * errors / total.words:.1f} %" for errors in by_words),
        f"{total.doubled} of {total.sentences}",
        f"{total.lost} of {total.sentences}",
        f"{total.disordered} of {total.pairs}",
    ]


if __name__ == "__main__":
    main()
