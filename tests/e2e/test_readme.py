"""Every command of the documents is run as written, except for paths, ports and names."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.bench import plumbing
from tests.model.sentences import SENTENCES
from tests.rig.documents import DOCUMENTS, blocks, text
from tests.rig.mqtt import Watcher
from tests.rig.node import MODEL, ROOT, RunningNode, configuration, spoken
from tests.rig.processes import Program, need
from tests.rig.vmics import VirtualMic, VirtualMics, write_wav

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rig.broker import Broker

TEXT = "\n".join(text(file) for file in DOCUMENTS)
STARTS = r"sudo |systemctl |systemd-analyze |journalctl |unzip |mosquitto_\w+ |\.venv/bin/|make "
INLINE = re.compile(rf"`((?:{STARTS})[^`]+)`")

COMMANDS = [
    line.strip()
    for kind, block in blocks(TEXT)
    for line in block.splitlines()
    if kind == "sh" and line.strip()
]
STARTING = [line for line in COMMANDS if "scribe/pi/request/session/start -m" in line]
"""In English and in French."""

STOP = "mosquitto_pub -t scribe/pi/request/session/stop -n"
TRANSCRIBE = next(line for line in COMMANDS if "node transcribe" in line)

RUN_HERE = {
    "make run CONFIG=config/node.yaml",
    *STARTING,
    "mosquitto_sub -t 'scribe/pi/mic/+/segment'",
    STOP,
    ".venv/bin/python -m node mics",
    ".venv/bin/python -m node check",
    ".venv/bin/python -m node fetch-model",
    TRANSCRIBE,
    ".venv/bin/python -m tests.bench.plumbing",
    "make schemas",
}
RUN_ELSEWHERE = {
    ".venv/bin/python -m tests.bench.backlog": "a benchmark of minutes on a model of real size",
    ".venv/bin/python -m tests.bench.partials": "a benchmark; test_partials.py shows the same",
    ".venv/bin/python -m tests.bench.eight_hours": "a benchmark of minutes",
    ".venv/bin/python -m tests.bench.first_sentence": "a benchmark of many minutes, as root",
    ".venv/bin/python -m tests.rig.picture": (
        "test_demo.py runs what it draws, tests/project/test_readme.py draws it"
    ),
    ".venv/bin/python -m node": "the command by itself",
    ".venv/bin/python -m node sessions": "test_looks.py",
    ".venv/bin/python -m node transcript": "test_looks.py",
    "make run": "test_demo.py runs it",
    "make run MICS=1 CONFIG=config/node.yaml": "test_demo_mics.py, with another file",
    "make run MICS=1": "test_demo_mics.py runs it, with a configuration of its own",
    "make test": "it runs this test",
    "make coverage": "the unit tests again, with their branches counted",
    "make dist": "test_package.py builds the same",
    "make lock": "it asks the package index for the newest of everything",
    "make test-install": "some minutes, as root",
    "make test-container": "some minutes, as root",
    "make test-container-arm64": "half an hour, as root",
    "make addon": "tests/project/test_shipping.py looks at what it makes",
    "make icons": "tests/project/test_shipping.py looks at what it draws",
    "docker compose build": "there is no Docker here; tests/system/test_container.py builds it",
    "docker compose up --detach": (
        "there is no Docker here; tests/system/test_container.py has compose.yaml's options"
    ),
    "docker compose run --rm page web --set-password": "tests/system/test_container.py",
    "docker compose exec node scribe-node check": "test_check.py, outside of a container",
    "docker compose logs --follow node": "Docker's own",
    "sudo chown 10301:10301 FOLDER": "the system's own",
    "make test-install-arm64": "ten minutes, as root",
    "make unit": "it is a part of make test",
    "make lint": "it comes before the tests wherever they are run for good",
    "make test-clients": "it needs 1 GB of clients, and comes behind this test where those are",
    "make test-web": "it needs Chromium, and comes behind this test where that is",
    ".venv/bin/python -m node web": "tests/integration/test_web.py",
    ".venv/bin/python -m node web --set-password": "tests/integration/test_web.py",
    ".venv/bin/python -m node web --listen 0.0.0.0:8099": "tests/integration/test_web.py",
    ".venv/bin/python -m node worker": "tests/e2e/test_workers.py",
    "sudo systemctl disable --now scribe-node": "systemd's own",
    "docker compose --profile worker up --detach worker": (
        "there is no Docker here; tests/project/test_shipping.py checks the service"
    ),
    "make soak": "test_kills.py runs a short campaign of the same",
    "make bench-speed SPEECH=folder": "an hour; test_speed_bench.py runs its parts",
    ".venv/bin/python -m node bench": "test_bench.py",
    ".venv/bin/python -m node transcribe alice.wav bruno.wav --model base --compare-window": (
        "tests/integration/test_engine.py, with another model"
    ),
    ".venv/bin/python -m tests.bench.engine": "tests/integration/test_engine.py runs a part of it",
    "make bench-accuracy SPEECH=folder": "hours",
    "make bench-fleet SPEECH=folder": (
        "a quarter of an hour; tests/integration/test_fleet_bench.py runs a short one"
    ),
    ".venv/bin/python -m tests.bench.capturing": (
        "minutes, with the real base; tests/integration/test_capturing_bench.py runs a short one"
    ),
    "make bench-words SPEECH=folder": (
        "minutes, on recordings; tests/integration/test_speech_benches.py runs it on a few"
    ),
    ".venv/bin/python -m tests.bench.accuracy.hearing": "a benchmark of minutes in simulated rooms",
    "sudo systemd/install.sh": "tests/system/test_install.py, by make test-install",
    "sudo systemd/install.sh --web": "tests/system/test_install.py, by make test-install",
    "sudo systemd/install.sh --worker": "tests/system/test_install.py, by make test-install",
    "sudo scribe-node web --set-password --password-file /etc/scribe-node/web-password": (
        "tests/system/test_install.py"
    ),
    "sudo systemctl restart scribe-node-web": "tests/system/test_install.py",
    "sudo nano /etc/scribe-node/node.yaml": "an editor",
    "sudo systemctl restart scribe-node": "tests/system/test_service.py",
    "sudo scribe-node check": "tests/system/test_install.py; here without sudo",
    "sudo scribe-node status --watch": "test_looks.py",
    "sudo systemctl edit scribe-node": "systemd's own",
    "sudo systemctl reload scribe-node": "tests/system/test_service.py",
    "systemctl start": "tests/system/test_service.py",
    "systemctl status": "tests/system/test_service.py",
    "systemctl status scribe-node": "tests/system/test_service.py",
    "systemd-analyze security scribe-node": "tests/project/test_systemd.py, on the unit's file",
    "journalctl -u scribe-node": "systemd's own",
    "sudo systemd/install.sh uninstall": "tests/system/test_install.py",
    "sudo bash install.sh --wheel scribe_node-*.whl": "tests/system/test_install.py",
    "unzip -p scribe_node-*.whl '*/systemd/install.sh' > install.sh": (
        "tests/system/test_install.py"
    ),
    "sudo runuser -u scribe-node -- scribe-node fetch-model --config /etc/scribe-node/node.yaml": (
        "the installer's own line; tests/system/test_install.py"
    ),
    "sudo scribe-node bench": "test_bench.py",
    "sudo scribe-node transcript": "test_looks.py",
    "sudo apt install git make python3": "what a clone needs: it is here already",
    "sudo scribe-node": "the command by itself",
    "sudo scribe-node mics": "run below, without sudo",
    "sudo scribe-node sessions": "test_looks.py",
    "sudo scribe-node transcript [ID] --format srt": "test_looks.py",
    "sudo apt install mosquitto": "the Makefile does the same",
    (
        "mosquitto_pub -t scribe/all/request/session/start"
        """ -m '{"title":"Budget","group":"budget"}'"""
    ): "test_two_nodes.py, with a client of its own",
    "mosquitto_pub -t scribe/all/request/session/stop -n": "test_two_nodes.py",
    ".venv/bin/python -m node merge kitchen.json office.json --format srt --output budget.srt": (
        "test_merge.py"
    ),
    "mosquitto_sub -v -t 'scribe/+/status'": "one topic, of those that test_readme.py knows",
    ".venv/bin/pre-commit install": "test_pre_commit.py",
}


def test_no_command_of_the_documents_is_left_out() -> None:
    commands = {*COMMANDS, *INLINE.findall(TEXT)}
    assert commands == RUN_HERE | set(RUN_ELSEWHERE)


def test_the_service_as_the_readme_runs_it(broker: Broker, tmp_path: Path) -> None:
    need("make", "mosquitto_pub", "mosquitto_sub")
    config = configuration(tmp_path, broker.port, ["one", "two"], node={"id": "pi"})
    with VirtualMics([VirtualMic("one"), VirtualMic("two")]) as mics, Watcher(broker.port) as seen:
        file = RunningNode(tmp_path, config).file
        with Program(["make", "run", f"CONFIG={file}"], mics.env, ROOT) as node:
            seen.wait_for(lambda m: m.topic == "scribe/pi/status" and m.text == "online", 120)
            command = _with_port("mosquitto_sub -t 'scribe/pi/mic/+/segment'", broker)
            with Program([*command, "-C", "1"]) as subscriber:
                _tell(STARTING[0], broker, seen)
                mics.play("two", spoken(SENTENCES[0]), 16000)
                assert subscriber.wait(30) == 0
                assert '"speaker": "Bruno"' in subscriber.output()
            for again in STARTING[1:]:
                _tell(STOP, broker, seen)
                _tell(again, broker, seen)
            _tell(STOP, broker, seen)
            for verb in ("mics", "check", "fetch-model"):
                done = _python(f".venv/bin/python -m node {verb}", "--config", str(file), mics=mics)
                assert done.returncode == 0, done.stdout
            node.signal_group(signal.SIGTERM)
            seen.wait_for(lambda m: m.topic == "scribe/pi/status" and m.text == "offline", 30)


def _tell(command: str, broker: Broker, seen: Watcher) -> None:
    """Publish a request as written, and wait until it succeeds."""
    answer = re.search(r"scribe/pi/request/(\S+)", command)
    assert answer
    before = seen.count()
    subprocess.run(_with_port(command, broker), check=True)
    topic = f"scribe/pi/response/{answer[1]}"
    assert seen.wait_for(topic, 30, before).json()["status"] == "ok"


def _with_port(command: str, broker: Broker) -> list[str]:
    return [*shlex.split(command), "-p", str(broker.port)]


def _python(
    command: str, *more: str, mics: VirtualMics | None = None, cwd: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, *shlex.split(command)[1:], *more]
    return subprocess.run(
        words, cwd=cwd, env=mics.env if mics else None, stdout=-1, stderr=-2, text=True, check=False
    )


def test_recorded_tracks_as_the_readme_transcribes_them(tmp_path: Path) -> None:
    for name in ("alice", "bruno"):
        write_wav(tmp_path / f"{name}.wav", spoken(SENTENCES[0]), 16000)
    command = TRANSCRIBE.replace("alice.wav", str(tmp_path / "alice.wav"))
    command = command.replace("bruno.wav", str(tmp_path / "bruno.wav"))
    done = _python(command, "--model", str(MODEL))
    assert done.returncode == 0, done.stdout
    assert f"Alice: {SENTENCES[0].text}" in done.stdout


def test_the_benchmark_runs() -> None:
    """Run once, briefly: its figures mean nothing here."""
    tables = plumbing.measure(rounds=1, seconds=0.2, started=1)
    assert [table.row_count for table in tables] == [1, 3, 4]
