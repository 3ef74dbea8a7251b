"""Models with trained weights, by their names in the benchmarks."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.errors import ModelError
from tests.rig.weights import real_base

DEMO = Path(__file__).resolve().parents[2] / "config/demo/model"

NAMES = ("base", "demo")
"""Whisper's own `base`, fetched once, and the demonstration model."""


def folder(name: str) -> Path:
    """Return the folder of a model in CTranslate2's format.

    Raises:
        ModelError: `base` is not here and cannot be fetched.
    """
    if name == "demo":
        return DEMO
    try:
        return real_base()
    except (pytest.skip.Exception, pytest.fail.Exception) as problem:  # it is made for tests
        raise ModelError(str(problem)) from None
