"""What each part of the engine contributes, with the demonstration model.

`python -m tests.bench.engine`
"""

from __future__ import annotations

import argparse

from tests.bench.engine import hotwords, language, noise, window

PARTS = {
    "language": lambda scale: language.run(round(40 * scale)),
    "window": lambda scale: window.run(round(100 * scale)),
    "hotwords": lambda scale: hotwords.run(round(100 * scale)),
    "noise": lambda scale: noise.run(10 * scale),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.bench.engine", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="default: all")
    parser.add_argument("--scale", type=float, default=1.0, help="0.1 for a tenth of the time")
    given = parser.parse_args()
    for name in given.parts or PARTS:
        PARTS[name](given.scale)
        print()


if __name__ == "__main__":
    main()
