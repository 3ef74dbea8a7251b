"""Models with trained weights, by the names that the benchmarks take."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.errors import ModelError
from tests.rig.weights import real_base

DEMO = Path(__file__).resolve().parents[2] / "config/demo/model"

NAMES = ("base", "demo")
"""Whisper's own `base`, fetched once; and the small one of the demonstration."""


def folder(name: str) -> Path:
    """Folder of a model in CTranslate2's form.

    Raises:
        ModelError: `base` is neither here nor to be fetched.
    """
    if name == "demo":
        return DEMO
    try:
        return real_base()
    except (pytest.skip.Exception, pytest.fail.Exception) as problem:  # it is made for tests
        raise ModelError(str(problem)) from None
