"""The image, built on a Debian made by debootstrap, and the node in it as compose.yaml runs it."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.rig.asker import SAID, Asker
from tests.rig.broker import Broker, free_port
from tests.rig.mqtt import Watcher
from tests.rig.node import ROOT
from tests.rig.prefix_proxy import PrefixProxy
from tests.rig.processes import need, wait_until
from tests.rig.supervisor import TOKEN, Supervisor, audio_info
from tests.system.podman import Podman, options, service

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.container, pytest.mark.timeout(3600)]

SUITE = os.environ.get("CONTAINER_SUITE", "trixie")
ARCHITECTURE = os.environ.get("CONTAINER_ARCHITECTURE")
"""An emulated architecture, such as arm64; this machine's own by default."""

BASE = "localhost/debian:base"
IMAGE = "localhost/scribe-node"
VOLUME = "scribe"
UID = 10301
GOOD = "correct horse"
BUILD_TIMEOUT_S = 3600 if ARCHITECTURE else 1800
ONLINE_S = 300 if ARCHITECTURE else 60
KEEPALIVE_S = 5
DEMO = "/opt/scribe-node/venv/share/scribe-node/config/demo"
MICS = ("alice", "bruno", "chloe")
PYTHON = "/opt/scribe-node/venv/bin/python"

# Not the service's, which could be more than this process may set.
LIMITS = ("--ulimit", "nofile=4096:4096", "--ulimit", "nproc=512:512")


not_emulated = pytest.mark.skipif(
    ARCHITECTURE is not None, reason="an emulated machine does not keep up with speech"
)


@pytest.fixture(scope="module")
def podman() -> Iterator[Podman]:
    with Podman() as running:
        yield running


@pytest.fixture(scope="module")
def image(podman: Podman) -> str:
    """The Dockerfile's image for compose.yaml."""
    make_base(podman)
    return build(podman, IMAGE, ROOT, "--target", service()["build"]["target"])


def make_base(podman: Podman) -> None:
    """Make what stands for debian:trixie-slim; pip gets the certificates it needs here from it."""
    need("debootstrap")
    root = Path(tempfile.mkdtemp(prefix="base-", dir="/var/tmp"))
    root.chmod(0o755)
    archive = root.with_suffix(".tar")
    try:
        options = ["--variant=minbase", "--include=ca-certificates"]
        options += [f"--arch={ARCHITECTURE}"] if ARCHITECTURE else []
        command = ["debootstrap", *options, SUITE, str(root)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        shutil.rmtree(root / "var/cache/apt/archives")
        if bundle := os.environ.get("PIP_CERT"):
            shutil.copy(bundle, root / "etc/packages.crt")
            (root / "etc/pip.conf").write_text("[global]\ncert = /etc/packages.crt\n")
        subprocess.run(["tar", "-C", root, "-cf", archive, "."], check=True)
        podman.do("import", *of_architecture(), archive, BASE, timeout=300)
    finally:
        shutil.rmtree(root)
        archive.unlink(missing_ok=True)


def of_architecture() -> tuple[str, ...]:
    """The option with which podman imports and builds what is emulated."""
    return ("--arch", ARCHITECTURE) if ARCHITECTURE else ()


def build(podman: Podman, tag: str, folder: Path, *options: str) -> str:
    began = time.monotonic()
    form = ("--isolation", "chroot", "--format", "docker", "--build-arg", f"BASE={BASE}")
    podman.do(
        "build", *of_architecture(), *form, *options, "--tag", tag, folder, timeout=BUILD_TIMEOUT_S
    )
    size, base = (int(podman.inspect(name, "{{.Size}}")) for name in (tag, BASE))
    seconds = time.monotonic() - began
    print(f"built in {seconds:.0f} s: {(size - base) / 1e6:.0f} MB on {base / 1e6:.0f} MB of base")
    return tag


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    with Broker() as running:
        yield running


@pytest.fixture
def seen(broker: Broker) -> Iterator[Watcher]:
    with Watcher(broker.port) as watcher:
        yield watcher


def write(folder: Path, text: str) -> Path:
    """Write a configuration that the container's user can read."""
    file = folder / "node.yaml"
    file.write_text(text)
    file.chmod(0o644)
    return file


@pytest.fixture
def node(
    podman: Podman, image: str, broker: Broker, seen: Watcher, tmp_path: Path
) -> Iterator[str]:
    """A node that hears the demo's recordings, online; the name of its container."""
    config = yaml.safe_load((ROOT / "config/container/node.yaml").read_text(encoding="utf-8"))
    config["node"]["id"] = "lab"
    config["mqtt"] |= {"host": "127.0.0.1", "port": broker.port, "keepalive_s": KEEPALIVE_S}
    files = [{"mic": mic, "file": f"{DEMO}/mic-{mic}.wav"} for mic in MICS]
    config["audio"] = {"source": "files", "files": files}
    config["transcription"]["model"] = f"{DEMO}/model"
    (tmp_path / "node").mkdir()
    file = write(tmp_path / "node", yaml.safe_dump(config))
    before, began = seen.count(), time.monotonic()
    volumes = (
        "-v",
        f"{file}:/etc/scribe-node/node.yaml:ro",
        "-v",
        f"{VOLUME}:/var/lib/scribe-node",
    )
    podman.do(
        *("run", "--detach", "--name", "node", "--network", "host", *LIMITS),
        *(*options(service()), *volumes, image),
    )
    seen.wait_for(
        lambda m: m.topic == "scribe/lab/status" and m.text == "online" and not m.retain,
        ONLINE_S,
        before,
    )
    print(f"online after {time.monotonic() - began:.1f} s")
    yield "node"
    podman.do("rm", "--force", "--time", "0", "--volumes", "node")
    podman.do("volume", "rm", VOLUME)


@pytest.mark.parametrize("profile", [(), ("--profile", "worker")])
def test_compose_accepts_its_file(profile: tuple[str, ...]) -> None:
    need("docker-compose")
    file = ("--file", str(ROOT / "compose.yaml"))
    command = ["docker-compose", *file, *profile, "config", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_image_has_no_compiler_and_another_user_than_root(podman: Podman, image: str) -> None:
    assert podman.inspect(image, "{{.Config.User}}") == "scribe-node"
    look = "command -v cc gcc g++ make || true; ls /source /var/lib/apt/lists 2>/dev/null; id"
    run = ("run", "--rm", "--network", "none", *LIMITS, "--entrypoint", "sh")
    said = podman.do(*run, image, "-c", look)
    assert re.fullmatch(r"/var/lib/apt/lists:\nuid=10301\(scribe-node\).*29\(audio\)", said), said


def test_it_installs_only_what_is_locked(podman: Podman, image: str) -> None:
    run = ("run", "--rm", "--network", "none", *LIMITS, "--entrypoint", PYTHON, image)
    frozen = podman.do(*run, "-m", "pip", "list", "--format=freeze", "--exclude=pip").split()
    locks = [ROOT / "systemd/requirements.lock", ROOT / "systemd/requirements-web.lock"]
    lock = "\n".join(file.read_text(encoding="utf-8") for file in locks)
    locked = {
        re.sub(r"[-_.]+", "-", one).lower()
        for one in re.findall(r"^\S+==[^;\s]+", lock, re.MULTILINE)
    }
    installed = {re.sub(r"[-_.]+", "-", one).lower() for one in frozen}
    assert {one.partition("==")[0] for one in installed - locked} == {"scribe-node"}


@not_emulated
def test_a_session_as_compose_runs_it(podman: Podman, node: str, seen: Watcher) -> None:
    """It serves, without a right that it does not need, and a stop loses nothing."""
    assign = [{"mic": mic, "speaker": mic.capitalize()} for mic in MICS]
    answer = seen.request("scribe/lab", "session/start", {"assignments": assign}, 60)
    assert answer["status"] == "ok", answer
    segments = "scribe/lab/mic/+/segment"
    wait_until(lambda: len(seen.messages(segments)) >= 3, 60, "three segments")
    speakers = {message.json()["speaker"] for message in seen.messages(segments)}
    assert speakers <= {"Alice", "Bruno", "Chloe"}
    assert_confined(podman, node)
    assert_stops(podman, node, seen)
    transcript = seen.wait_for("scribe/lab/transcript/final", 5).json()
    assert transcript["segments_total"] >= 3
    volume = podman.do("volume", "inspect", "--format", "{{.Mountpoint}}", VOLUME)
    kept = {file.name: file.stat().st_uid for file in Path(volume, "transcripts").iterdir()}
    assert kept == {Path(path).name: UID for path in transcript["files"].values()}


def assert_confined(podman: Podman, node: str) -> None:
    status = podman.do("exec", node, "cat", "/proc/1/status")
    assert re.search(rf"^Uid:\s+{UID}\s", status, re.MULTILINE)
    assert re.findall(r"^Cap\w+:\s+(\w+)$", status, re.MULTILINE) == 5 * [16 * "0"]
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE)
    for place in ("/opt/scribe-node/x", "/etc/scribe-node/x", "/usr/bin/x"):
        refused = podman.run("exec", "--user", "0", node, "touch", place)
        assert "Read-only file system" in refused.stderr


def assert_stops(podman: Podman, node: str, seen: Watcher) -> None:
    """Within the time that compose.yaml gives it."""
    began, before = time.monotonic(), seen.count()
    podman.do("stop", "--time", service()["stop_grace_period"].removesuffix("s"), node)
    print(f"stopped after {time.monotonic() - began:.1f} s")
    assert podman.inspect(node, "{{.State.ExitCode}}") == "0"
    seen.wait_for(lambda m: m.topic == "scribe/lab/status" and m.text == "offline", 5, before)


@not_emulated
def test_a_worker_as_compose_runs_it(
    podman: Podman, image: str, broker: Broker, seen: Watcher, tmp_path: Path
) -> None:
    of = service("worker")
    config = {
        "mqtt": {"host": "127.0.0.1", "port": broker.port},
        "worker": {"id": "attic"},
        "transcription": {"model": f"{DEMO}/model"},
    }
    file = write(tmp_path, yaml.safe_dump(config))
    mounts = ("-v", f"{file}:/etc/scribe-node/node.yaml:ro", "-v", "worker:/var/lib/scribe-node")
    podman.do(
        *("run", "--detach", "--name", "worker", "--network", "host", "--no-healthcheck"),
        *(*LIMITS, *options(of), *mounts, image, *of["command"]),
    )
    status = "scribe/worker/attic/status"
    seen.wait_for(lambda m: m.topic == status and m.json()["state"] == "online", ONLINE_S)
    with Asker(broker.port) as asker:
        asker.ask()
        answer = asker.answer()
        assert answer.result is not None
        assert answer.result.text == SAID.text
    assert_confined(podman, "worker")
    podman.do("stop", "--time", of["stop_grace_period"].removesuffix("s"), "worker")
    assert podman.inspect("worker", "{{.State.ExitCode}}") == "0"
    seen.wait_for(lambda m: m.topic == status and m.json()["state"] == "offline", 5)
    podman.do("rm", "--volumes", "worker")
    podman.do("volume", "rm", "worker")


@pytest.fixture
def page(podman: Podman, image: str, broker: Broker, tmp_path: Path) -> Iterator[Page]:
    """The page as compose.yaml runs it, on a port of this machine; its password is set first."""
    of, port = service("page"), free_port()
    file = write(tmp_path, f"mqtt: {{host: 127.0.0.1, port: {broker.port}}}\n")
    mounts = ("-v", f"{file}:/etc/scribe-node/node.yaml:ro", "-v", "page:/var/lib/scribe-node")
    run = ("run", "--network", "host", *LIMITS, *options(of), *mounts)
    command = [word.replace(":8099", f":{port}") for word in of["command"]]
    assert command != of["command"]
    refused = podman.run(*run, "--rm", image, *command)
    assert refused.returncode == 78, refused.stderr
    assert "web --set-password" in refused.stderr
    podman.do(*run, "--rm", "--interactive", image, "web", "--set-password", typed=f"{GOOD}\n")
    _, *check = of["healthcheck"]["test"]
    check[-1] = check[-1].replace(":8099/", f":{port}/")
    health = ("--health-cmd", json.dumps(check), "--health-interval", "disable")
    podman.do(*run, "--detach", "--name", "page", *health, image, *command)
    yield Page(port)
    podman.do("rm", "--force", "--time", "0", "--volumes", "page")
    podman.do("volume", "rm", "page")


class Page:
    """Asked as by a script: with the password, by HTTP Basic authentication."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/"

    def ask(self, path: str, body: object = None, password: str = GOOD) -> Any:
        login = base64.b64encode(f"any:{password}".encode()).decode()
        headers = {"Authorization": f"Basic {login}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, headers)  # noqa: S310
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return json.load(answer)

    def is_ready(self) -> bool:
        try:
            return bool(self.ask("healthz")["ok"])
        except OSError:
            return False


@not_emulated
@pytest.mark.usefixtures("node")
def test_the_page_as_compose_runs_it(podman: Podman, page: Page) -> None:
    """The flow of one session, by who has the password."""
    wait_until(page.is_ready, 60, "the page sees the node")
    with pytest.raises(urllib.error.HTTPError, match="401"):
        page.ask("detect_mics", password="wrong one")  # noqa: S106
    assert len(page.ask("detect_mics")["mics"]) == len(MICS)
    assignments = [{"mic_id": 1, "person_name": "Alice"}, {"mic_id": 2, "person_name": "Bruno"}]
    assert page.ask("start_transcription", {"assignments": assignments})["status"] == "started"
    said = re.compile(r"\[\d\d:\d\d:\d\d\] (Alice|Bruno): .+")
    wait_until(lambda: len(said.findall(transcription(page))) >= 3, 60, "three lines")
    stopped = page.ask("stop_transcription", {})
    assert stopped["file_path"].startswith("/var/lib/scribe-node/transcripts/")
    assert all(said.fullmatch(line) for line in transcription(page).splitlines())
    assert_confined(podman, "page")
    assert health(podman, "page") == "healthy"
    secret = podman.do("exec", "page", "cat", ".config/scribe-node/web-password")
    assert secret.startswith("scrypt:")
    podman.do("stop", "--time", "10", "page")
    assert podman.inspect("page", "{{.State.ExitCode}}") in {"0", "143"}


def transcription(page: Page) -> str:
    text: str = page.ask("get_transcriptions")["transcription"]
    return text


def test_the_health_check_sees_a_node_that_hangs(podman: Podman, node: str, seen: Watcher) -> None:
    assert health(podman, node) == "healthy"
    log = podman.inspect(node, "{{range .State.Health.Log}}{{.Output}}{{end}}")
    assert log == "", "what it prints may have spoken words in it"
    top = podman.do("top", node, "hpid", "args").splitlines()
    (pid,) = [int(line.split()[0]) for line in top if line.endswith("scribe-node run")][-1:]
    before = seen.count()
    os.kill(pid, signal.SIGSTOP)
    try:
        offline = "the broker has missed it"
        wait_until(lambda: offline_since(seen, before), 4 * KEEPALIVE_S, offline)
        # In the first 30 s nothing counts, and one bad look never does.
        wait_until(lambda: health(podman, node) == "unhealthy", 60, "it is found unhealthy")
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: health(podman, node) == "healthy", 60, "it is well again")


def health(podman: Podman, node: str) -> str:
    """Look once, as the engine does every minute; return what it then holds of the node."""
    podman.run("healthcheck", "run", node)
    return podman.inspect(node, "{{.State.Health.Status}}")


def offline_since(seen: Watcher, after: int) -> bool:
    return any(m.text == "offline" for m in seen.messages("scribe/lab/status", after))


def test_a_wrong_configuration_ends_it(podman: Podman, image: str, tmp_path: Path) -> None:
    file = write(tmp_path, "mqtt:\n  port: many\n")
    mount = ("-v", f"{file}:/etc/scribe-node/node.yaml:ro")
    done = podman.run("run", "--rm", "--network", "none", *LIMITS, *mount, image)
    assert done.returncode == 78
    assert "node.yaml:2" in done.stderr


def make_addon(target: Path) -> Path:
    """Return the add-on's folder, as a user copies it to Home Assistant."""
    subprocess.run(["make", "-s", "addon", f"ADDON={target}"], cwd=ROOT, check=True)
    return target / "scribe_node"


@not_emulated
@pytest.mark.usefixtures("image")
def test_the_add_on_is_built_from_its_folder_as_the_supervisor_does(
    podman: Podman, broker: Broker, seen: Watcher, tmp_path: Path
) -> None:
    """And starts, without inputs: there is no sound server. tests/e2e/test_addon.py has one."""
    folder, data = make_addon(tmp_path / "addon"), tmp_path / "data"
    arguments = ("--build-arg", "BUILD_VERSION=0.1.0", "--build-arg", "BUILD_ARCH=amd64")
    form = ("--file", str(folder / "Dockerfile"), "--label", "io.hass.type=app")
    image = build(podman, "localhost/scribe-addon", folder, *form, *arguments)
    run = ("run", "--network", "host", *LIMITS)
    plugin = "ldd /usr/lib/*/alsa-lib/libasound_module_pcm_pulse.so"
    libraries = podman.do(*run, "--rm", "--entrypoint", "sh", image, "-c", plugin)
    assert "libpulse.so" in libraries
    assert "not found" not in libraries

    data.mkdir(mode=0o700)
    options = yaml.safe_load((folder / "config.yaml").read_text())["options"]
    (data / "options.json").write_text(json.dumps({**options, "model": f"{DEMO}/model"}))
    service = {"host": "127.0.0.1", "port": broker.port, "username": "addons", "password": "pw"}
    answers = {"/services/mqtt": service, "/audio/info": audio_info({})}
    mounts = ("-v", f"{data}:/data", "-v", f"{tmp_path}:/share", "-e", f"SUPERVISOR_TOKEN={TOKEN}")
    port = free_port()
    page = ("--ingress", "127.0.0.2", "--listen", f"0.0.0.0:{port}")
    with Supervisor(answers) as supervisor, PrefixProxy(port, "127.0.0.2") as proxy:
        detached = (*run, "--detach", "--name", "addon", *mounts, image)
        podman.do(*detached, "--supervisor", supervisor.url, *page)
        status = "scribe/homeassistant/status"
        seen.wait_for(lambda m: m.topic == status and m.text == "online" and not m.retain, ONLINE_S)
        wait_until(lambda: '"online":true' in read(f"{proxy.url}api/nodes"), 60, "the page is up")
        assert read(f"http://127.0.0.1:{port}/api/nodes") == "403"
    assert seen.wait_for("homeassistant/device/+/config", 20).json()["components"]
    assert health(podman, "addon") == "healthy"
    users = podman.do("top", "addon", "user", "args").splitlines()
    (web,) = [line.split()[0] for line in users if "scribe-node web" in line]
    assert web == "scribe-node"
    podman.do("stop", "--time", "45", "addon")
    assert podman.inspect("addon", "{{.State.ExitCode}}") == "0"


def read(url: str) -> str:
    """Return what is answered; a refusal's status, or nothing where nobody listens."""
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310
            text: str = answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return str(error.code)
    except OSError:
        return ""
    return text
