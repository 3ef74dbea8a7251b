"""`bench` as a person runs it, with the demonstration model."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.rig.broker import HOST, free_port
from tests.rig.commands import run, write
from tests.rig.node import MODEL, configuration

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.alone("it measures the machine")

REVISION = "0123456789abcdef0123456789abcdef01234567"
SIZES = ["tiny", "base", "small", "medium", "large-v3-turbo", "large-v3"]


def offline() -> dict[str, str]:
    """An environment in which every use of the network fails at once."""
    return {"HF_ENDPOINT": f"http://{HOST}:{free_port()}", "NO_PROXY": HOST, "no_proxy": HOST}


def cache(folder: Path, name: str) -> None:
    """Put the demo's model where a download of `name` would have left that one."""
    root = folder / "storage" / "models" / f"models--Systran--faster-whisper-{name}"
    shutil.copytree(MODEL, root / "snapshots" / REVISION)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text(REVISION, encoding="utf-8")


def named(folder: Path, model: str) -> Path:
    return write(folder, configuration(folder, 1, [], transcription={"model": model}))


def test_bench_of_the_configured_folder(tmp_path: Path) -> None:
    file = write(tmp_path, configuration(tmp_path, 1, []))
    done = run("bench", "--config", file, env=offline())
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Measuring {MODEL} for about 30 s\n")
    costs = re.search(rf"^{MODEL} +measured +(\d+) +(.+)$", done.stdout, re.MULTILINE)
    assert costs
    assert len(re.findall(r"\d+\.\d+", costs[2])) == 7
    assert re.search(rf"^{MODEL} +\d+\.\d +█*\+?$", done.stdout, re.MULTILINE)
    assert "estimate" not in done.stdout
    assert "No advice on models" in done.stdout
    assert re.search(r"Advice: transcription\.threads: \d\.", done.stdout)
    assert not (tmp_path / "storage").exists()  # measuring leaves no trace


def test_bench_estimates_the_models_that_are_not_there(tmp_path: Path) -> None:
    cache(tmp_path, "base")
    done = run("bench", "--json", "--config", named(tmp_path, "base"), env=offline())
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [m["model"] for m in found["models"]] == SIZES
    assert [m["model"] for m in found["models"] if not m["estimate"]] == ["base"]
    rtfs = [m["rtf"] for m in found["models"]]
    assert rtfs[:4] == sorted(rtfs[:4])
    assert all(m["mics_at_full_speech"] >= 0 for m in found["models"])
    assert found["hearing_cpu_s"] > 0
    advice = found["advice"]
    assert advice is None or advice["model"] in SIZES


def test_bench_measures_another_model_where_the_configured_one_is_missing(tmp_path: Path) -> None:
    cache(tmp_path, "tiny")
    done = run("bench", "--json", "--config", named(tmp_path, "base"), env=offline())
    assert done.returncode == 0, done.stderr
    found = {m["model"]: m["estimate"] for m in json.loads(done.stdout)["models"]}
    assert found["tiny"] is False
    assert found["base"] is True


def test_bench_without_any_model_says_what_to_do_and_fetches_nothing(tmp_path: Path) -> None:
    done = run("bench", "--config", named(tmp_path, "base"), env=offline())
    assert done.returncode == 1
    assert done.stdout == ""
    assert (
        "there is no model on this machine: run `python -m node fetch-model` (base)" in done.stderr
    )
    assert not (tmp_path / "storage").exists()


def test_bench_with_a_wrong_configuration(tmp_path: Path) -> None:
    done = run("bench", "--config", write(tmp_path, {"transcription": {"beam_size": 0}}))
    assert done.returncode == 78
    assert "transcription.beam_size" in done.stderr
