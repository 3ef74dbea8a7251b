"""`make run MICS=1`: speak into your own microphones, and read it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import yaml

from node.commands import demo_mics
from node.config import load_config
from tests.model.sentences import SENTENCES
from tests.rig.hub import hub, hub_env
from tests.rig.node import MODEL, ROOT, spoken
from tests.rig.processes import Program, alive, need, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.rig.vmics import VirtualMics

    Pids = list[int]

COMMAND: tuple[str | Path, ...] = (sys.executable, "-m", "node", "demo", "--mics")


def configuration(folder: Path, *mics: str, model: Path | str = MODEL) -> Path:
    """What a user whose microphones are not USB cards would write; the model is small."""
    sections = {
        # A broker and a storage folder that the demo must leave alone.
        "mqtt": {"host": "broker.invalid", "base_topic": "elsewhere"},
        "storage": {"path": str(folder / "ordinary")},
        "audio": {
            "devices": [{"mic": mic, "device": mic} for mic in mics],
            "proc_root": str(folder),
            "sys_root": str(folder),
        },
        "transcription": {"model": str(model), "threads": 1},
    }
    file = folder / "node.yaml"
    file.write_text(yaml.safe_dump(sections), encoding="utf-8")
    return file


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "XDG_DATA_HOME": str(folder), "COLUMNS": "120"}


@contextlib.contextmanager
def speaking(command: Sequence[str | Path], env: dict[str, str]) -> Iterator[tuple[Program, Pids]]:
    """The demo, ready for speech, and its processes, which a test must not leave behind.

    Broker and node have process groups of their own, so ending the command's is not enough.
    """
    with Program(command, env, ROOT) as demo:
        demo.wait_output("Speak; Ctrl-C ends it", 60)
        pids = [process.pid for process in psutil.Process(demo.pid).children(recursive=True)]
        try:
            yield demo, pids
        finally:
            for pid in filter(alive, pids):
                os.kill(pid, signal.SIGKILL)


def test_who_speaks_reads_it_until_ctrl_c(virtual_mics: VirtualMics, tmp_path: Path) -> None:
    need("mosquitto")
    command = [*COMMAND, "--config", configuration(tmp_path, "desk", "wall"), "--speaker", "Zoé"]
    with speaking(command, environment(tmp_path)) as (demo, processes):
        for mic, sentence in zip(("desk", "wall"), SENTENCES, strict=False):
            virtual_mics.play(mic, spoken(sentence), 16000)
            demo.wait_output(sentence.text, 30)
        demo.signal_group(signal.SIGINT)
        assert demo.wait(30) == 0, demo.output()
        wait_until(lambda: not any(alive(pid) for pid in processes), 10, "all has ended")
        output = demo.output()
    live, _, merged = output.partition("Transcript, in order of speech")
    for speaker, sentence in zip(("Zoé", "Micro 2"), SENTENCES, strict=False):
        assert f"{speaker:<7} {sentence.text}" in live
        assert f"{speaker}: {sentence.text}" in merged
    assert "Zoé: desk (desk)" in live
    storage = tmp_path / "scribe-node-demo-mics"
    (text,) = (storage / "transcripts").glob("*.txt")
    assert str(text) in output.replace("\n", "")
    assert storage.stat().st_mode & 0o777 == 0o700
    assert "Traceback" not in output


def test_one_runs_at_a_time_and_the_end_of_the_terminal_leaves_nothing_that_listens(
    virtual_mics: VirtualMics, tmp_path: Path
) -> None:
    need("mosquitto")
    assert virtual_mics.env
    command = [*COMMAND, "--config", configuration(tmp_path, "desk")]
    demo_env = environment(tmp_path)
    with speaking(command, demo_env) as (demo, processes):
        assert len(processes) >= 3  # the broker, the node and the recorder
        second = subprocess.run(
            command, env=demo_env, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
        )
        assert second.returncode == 1
        assert "another demo runs in" in second.stderr
        demo.signal_group(signal.SIGHUP)
        demo.wait(30)
        wait_until(lambda: not any(alive(pid) for pid in processes), 10, "all has ended")


def test_it_transcribes_itself_whoever_does_so_for_the_service(tmp_path: Path) -> None:
    file = configuration(tmp_path)
    given = yaml.safe_load(file.read_text(encoding="utf-8"))
    given["transcription"]["where"] = "broker"
    file.write_text(yaml.safe_dump(given), encoding="utf-8")
    assert demo_mics._own(load_config(file), tmp_path).transcription.where == "here"


def test_without_a_microphone_it_says_what_to_do(tmp_path: Path) -> None:
    need("make")
    file = configuration(tmp_path, "lectern")
    with Program(["make", "run", "MICS=1", f"CONFIG={file}"], environment(tmp_path), ROOT) as demo:
        assert demo.wait(240) != 0
        output = demo.output()
    assert "no microphone was found (lectern: not connected): plug in a USB microphone" in output
    assert "Error 1" in output  # how make reports the exit status
    assert "Broker on port" not in output
    assert "Traceback" not in output


def test_what_the_node_refuses_is_said_in_words(virtual_mics: VirtualMics, tmp_path: Path) -> None:
    """A microphone that gives no sound: listed, but frozen."""
    need("mosquitto")
    command = [*COMMAND, "--config", configuration(tmp_path, "desk")]
    with Program(command, environment(tmp_path), ROOT) as demo:
        demo.wait_output("Micro 1: desk (desk)", 60)
        virtual_mics.freeze("desk")
        assert demo.wait(90) == 1, demo.output()
        output = demo.output()
    virtual_mics.thaw("desk")
    assert output.splitlines()[-1].startswith("session/start: desk: ")
    assert "Traceback" not in output


def test_a_model_that_is_not_there_is_said_in_words(
    virtual_mics: VirtualMics, tmp_path: Path
) -> None:
    need("mosquitto")
    assert virtual_mics.env
    file = configuration(tmp_path, "desk", model=tmp_path / "nowhere")
    with Program([*COMMAND, "--config", file], environment(tmp_path), ROOT) as demo:
        assert demo.wait(60) == 1, demo.output()
        output = demo.output()
    assert output.count(f"transcription.model: {tmp_path / 'nowhere'} holds no model.bin") == 1
    assert "Traceback" not in output


def test_a_model_that_is_named_is_fetched_to_where_the_node_has_it_too(
    virtual_mics: VirtualMics, tmp_path: Path
) -> None:
    """The test hub can serve any files as this one: its official SHA-256 is not known."""
    need("mosquitto")
    assert virtual_mics.env
    name = "distil-small.en"
    command = [*COMMAND, "--config", configuration(tmp_path, "desk", model=name)]
    with hub() as port:
        env = environment(tmp_path) | hub_env(tmp_path, port)
        with speaking(command, env) as (demo, _):
            demo.signal_group(signal.SIGINT)
            assert demo.wait(30) == 0, demo.output()
            output = demo.output()
    assert f"{name} is ready" in output
    assert "Nothing was heard" in output
    assert [*(tmp_path / "ordinary" / "models").glob("*/snapshots/*/model.bin")]
