"""The page's program on a real broker with a real node: its APIs, its stream, who may ask."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from contextlib import ExitStack
from functools import partial
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.rig.broker import Broker
from tests.rig.mqtt import Watcher
from tests.rig.node import ROOT, RunningNode
from tests.rig.page import PEOPLE, RunningPage, Stream, meeting
from tests.rig.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GOOD = "correct horse"
TWO = [{"mic_id": 1, "person_name": "Alice"}, {"mic_id": 2, "person_name": "Bruno"}]
STAMPED = re.compile(r"\[\d\d:\d\d:\d\d\] (Alice|Bruno): .+")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningPage, RunningNode]]:
    """A node in a meeting that never ends, and the page for it."""
    folder = tmp_path_factory.mktemp("page")
    with (
        Broker() as broker,
        Watcher(broker.port) as watcher,
        RunningNode(folder, meeting(folder, broker.port)) as node,
        RunningPage(node.file, password_file=folder / "none") as page,
    ):
        node.wait_online(watcher)
        yield page.wait_online(), node


@pytest.fixture
def page(lab: tuple[RunningPage, RunningNode]) -> Iterator[RunningPage]:
    yield lab[0]
    lab[0].post("stop_transcription")


def set_password(file: Path) -> None:
    command = [sys.executable, "-m", "node", "web", "--set-password", "--password-file", str(file)]
    done = subprocess.run(
        command, cwd=ROOT, input=f"{GOOD}\n", text=True, capture_output=True, check=True
    )
    assert str(file) in done.stdout


def test_a_password_that_cannot_be_kept_leaves_the_old_one(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    set_password(secret)
    before = secret.read_bytes()
    command = [sys.executable, "-m", "node", "web", "--set-password"]
    command += ["--password-file", str(secret)]
    env = {**os.environ, "PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        command, cwd=ROOT, env=env, input=b"p\xe9ssword\xf11\n", capture_output=True, check=False
    )
    assert (done.returncode, b"encoding" in done.stderr) == (78, True), done.stderr
    assert secret.read_bytes() == before


def lines(page: RunningPage) -> list[str]:
    text: str = page.get("get_transcriptions").json()["transcription"]
    return text.splitlines()


def test_the_prototypes_flow(page: RunningPage) -> None:
    mics = page.get("detect_mics").json()["mics"]
    assert [mic["mic_id"] for mic in mics] == [1, 2, 3]
    assert {"mic_id", "device_index", "name", "default_samplerate"} <= mics[0].keys()
    started = page.post("start_transcription", {"assignments": TWO})
    assert started.status == 200
    assert started.json()["status"] == "started"
    wait_until(lambda: len(lines(page)) >= 3, 60, "three lines")
    stopped = page.post("stop_transcription").json()
    assert stopped["status"] == "stopped"
    found = lines(page)
    assert all(STAMPED.fullmatch(line) for line in found)
    assert page.post("stop_transcription").json() == stopped  # as the prototype: its file again
    file = page.get("download_transcription")
    assert file.headers["content-disposition"].startswith('attachment; filename="full_transcript')
    assert file.text.splitlines() == found
    with open(stopped["file_path"], encoding="utf-8") as written:  # noqa: PTH123
        assert written.read() == file.text


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"assignments": []}, "assignments"),
        ({}, "assignments"),
        ({"assignments": [{"mic_id": 9, "person_name": "Alice"}]}, "there is no 9"),
        ({"assignments": [{"mic_id": 1}]}, "person_name"),
        ({"assignments": "Alice"}, "assignments"),
        ([], "dictionary"),
    ],
)
def test_a_wrong_start_is_refused_as_by_the_prototype(
    page: RunningPage, body: object, words: str
) -> None:
    answer = page.post("start_transcription", body)
    assert answer.status == 400
    assert answer.json()["status"] == "error"
    assert words in answer.json()["message"]


def test_a_second_start_is_refused(page: RunningPage) -> None:
    assert page.post("start_transcription", {"assignments": TWO}).status == 200
    again = page.post("start_transcription", {"assignments": TWO})
    assert again.status == 400
    assert again.json()["code"] == "already_recording"


def test_a_stream_tells_states_and_speech(page: RunningPage) -> None:
    with Stream(page) as stream:
        assert (stream.content_type or "").startswith("text/event-stream")
        # Microphones of the test before may still be closing.
        wait_until(lambda: page.view() in stream.of("state"), 20, "the state as it is now")
        page.post("api/nodes/lab/start", {"assignments": [{"mic": "mic-alice", "speaker": "A"}]})
        segments = wait_until(lambda: stream.of("segment"), 60, "a segment")
        wait_until(
            lambda: stream.of("state")[-1]["nodes"][0]["session"]["state"] == "recording",
            20,
            "recording is told",
        )
    assert segments[0]["node"] == "lab"
    assert segments[0]["body"]["speaker"] == "A"


def record(page: RunningPage, title: str, count: int = 3) -> str:
    """Record so many lines; return the session's id."""
    names = [{"mic": mic, "speaker": name} for mic, name in PEOPLE.items()]
    start = page.post("api/nodes/lab/start", {"assignments": names, "title": title}).json()
    wait_until(lambda: len(lines(page)) >= count, 60, f"{count} lines")
    assert page.post("api/nodes/lab/stop").status == 200
    session_id: str = start["data"]["session_id"]
    return session_id


def test_past_sessions_are_listed_read_downloaded_and_deleted(
    page: RunningPage, lab: tuple[RunningPage, RunningNode]
) -> None:
    session = record(page, "Réunion")
    listed = page.get("api/nodes/lab/sessions?limit=1").json()["data"]["sessions"]
    assert [(one["session_id"], one["title"]) for one in listed] == [(session, "Réunion")]
    of = f"api/nodes/lab/sessions/{session}"
    segments = page.get(f"{of}/segments").json()["data"]["segments"]
    written = max((lab[1].storage / "transcripts").glob("*.txt")).with_suffix
    for suffix in ("txt", "srt", "vtt", "md"):
        answer = page.get(f"{of}/transcript.{suffix}")
        if suffix != "md":  # written on request only
            assert answer.text == written(f".{suffix}").read_text(encoding="utf-8"), suffix
        assert answer.status == 200
        assert f"transcript_{session}.{suffix}" in answer.headers["content-disposition"]
    whole = page.get(f"{of}/transcript.json").json()
    assert whole["segments"] == segments
    kept = json.loads(written(".json").read_text(encoding="utf-8"))
    kept["segments"] = [each for each in kept["segments"] if each["crosstalk_of"] is None]
    assert whole == {**kept, "segments": sorted(kept["segments"], key=segments.index)}
    assert page.get(f"{of}/transcript.exe").status == 400
    assert page.ask("DELETE", of).status == 200
    assert page.get(f"{of}/segments").json()["code"] == "unknown_session"


def test_a_meeting_of_two_nodes_is_one_transcript(tmp_path: Path) -> None:
    with Broker() as broker, Watcher(broker.port) as watcher, ExitStack() as stack:
        nodes = {}
        for name in ("kitchen", "office"):
            home = tmp_path / name
            home.mkdir()
            node = RunningNode(home, meeting(home, broker.port, node={"id": name}))
            nodes[name] = stack.enter_context(node)
        page = RunningPage(nodes["kitchen"].file, password_file=tmp_path / "none")
        page = stack.enter_context(page)
        for node in nodes.values():
            node.wait_online(watcher)
            names = [{"mic": "mic-alice", "speaker": f"Alice of {node.topic}"}]
            watcher.request(node.topic, "mics/assign", {"assignments": names})
        wait_until(lambda: len(page.view()["nodes"]) == 2, 30, "both nodes")
        after = watcher.count()
        watcher.publish("scribe/all/request/session/start", '{"group": "budget"}')
        for node in nodes.values():
            watcher.wait_for(f"{node.topic}/mic/mic-alice/segment", 60, after)
        watcher.publish("scribe/all/request/session/stop")
        sessions = {
            name: watcher.wait_for(f"{node.topic}/transcript/final", 60, after).json()
            for name, node in nodes.items()
        }
        of = f"api/nodes/office/sessions/{sessions['office']['session_id']}"
        found = page.get(f"{of}/meeting").json()["data"]
        assert found["nodes"] == ["kitchen", "office"]
        assert any("clock" in remark for remark in found["remarks"])
        whole = page.get(f"{of}/meeting.json")
        files = [session["files"]["json"] for session in sessions.values()]
        command = [sys.executable, "-m", "node", "merge", *files, "--format", "json"]
        done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=True)
        kept, merged = json.loads(done.stdout), whole.json()
        for document in (kept, merged):  # what was heard of others is in the files alone
            own = [each for each in document["segments"] if each["crosstalk_of"] is None]
            document["segments"] = own
        assert merged == kept
        text = page.get(f"{of}/meeting.txt").text
        assert {name for name in nodes if f"Alice of scribe/{name}: " in text} == set(nodes)
        assert page.get(f"{of}/meeting.exe").status == 400


def test_segments_are_had_in_parts(page: RunningPage) -> None:
    session = record(page, "Long", 5)
    of = f"api/nodes/lab/sessions/{session}"
    whole = page.get(f"{of}/segments").json()["data"]
    parts: list[Any] = []
    offset: int | None = 0
    while offset is not None:
        part = page.get(f"{of}/segments?limit=2&offset={offset}").json()["data"]
        parts += part["segments"]
        offset = part["next_offset"]
    assert parts == whole["segments"]


def microphone(page: RunningPage, mic: str) -> dict[str, Any]:
    (found,) = [one for one in page.node()["mics"] if one["mic"] == mic]
    assert isinstance(found, dict)
    return found


def test_names_are_kept_and_microphones_muted(page: RunningPage) -> None:
    bruno = partial(microphone, page, "mic-bruno")
    names = [{"mic": "mic-bruno", "speaker": "Zoé"}]
    assert page.post("api/nodes/lab/assign", {"assignments": names}).status == 200
    wait_until(lambda: bruno()["speaker"] == "Zoé", 20, "the name is shown")
    page.post("api/nodes/lab/mics/mic-bruno/enabled", {"enabled": False})
    wait_until(lambda: not bruno()["enabled"], 20, "it is muted")
    page.post("api/nodes/lab/mics/mic-bruno/enabled", {"enabled": True})
    wait_until(lambda: bruno()["enabled"], 20, "it is not muted any more")
    assert page.post("api/nodes/lab/mics/none/enabled", {"enabled": True}).status == 400


def test_a_node_that_is_not_there_is_named(page: RunningPage) -> None:
    for node in ("attic", "all", "lab%2Fmic"):
        answer = page.post(f"api/nodes/{node}/stop")
        assert answer.status in {404, 503}, node
    assert page.get("detect_mics?node=attic").json()["message"] == "the node attic is offline"


def test_no_get_changes_anything(page: RunningPage) -> None:
    paths = page.get("openapi.json").json()["paths"]
    changing = ("start", "stop", "assign", "enabled", "login", "logout", "search")
    for path, methods in paths.items():
        if any(path.rstrip("}").endswith(word) for word in changing):
            assert "get" not in methods, path
    assert page.get("start_transcription").status == 405
    assert page.node()["session"]["state"] == "idle"


def test_the_page_loads_nothing_from_elsewhere(page: RunningPage) -> None:
    for path in ("", "docs"):
        answer = page.get(path)
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert re.findall(r"(?:src|href)=\"(?:[a-z]+:|//|/)", answer.text) == []
        for name in re.findall(r"(?:src|href)=\"(static/[^\"]+)\"", answer.text):
            assert page.get(name).status == 200
    assert page.get("static/../app.py").status == 404
    assert page.get("healthz").json() == {"ok": True}


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("GET", {"Host": "evil.example:8099"}, 400),
        ("GET", {"Host": "localhost"}, 200),
        ("GET", {"X_Ingress_Path": "/x", "Host": "evil.example"}, 400),
        ("POST", {"Origin": "http://evil.example"}, 403),
        ("POST", {"Sec_Fetch_Site": "cross-site"}, 403),
    ],
)
def test_other_sites_pages_are_refused(
    page: RunningPage, method: str, headers: dict[str, str], status: int
) -> None:
    path = "api/nodes" if method == "GET" else "api/nodes/lab/start"
    body: dict[str, str] | None = None if method == "GET" else {}
    assert page.ask(method, path, body, headers).status == status


@pytest.mark.parametrize("chunked", [False, True])
def test_a_request_that_is_too_long_is_not_read(page: RunningPage, *, chunked: bool) -> None:
    """Anybody may send the one that asks for the password."""
    piece = b"x" * 65_537
    before = psutil.Process(page.program.pid).memory_info().rss
    connection = HTTPConnection("127.0.0.1", page.port, timeout=30)
    headers = {"Content-Type": "application/json"}
    for _ in range(20):
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may hang up first
            pieces = (piece for _ in range(200))
            connection.request("POST", "/api/login", pieces if chunked else piece * 200, headers)
            assert connection.getresponse().read() != b""
        connection.close()
    assert psutil.Process(page.program.pid).memory_info().rss < before + 8 * 2**20
    assert page.get("api/nodes").status == 200


def test_a_form_of_another_site_is_no_json(page: RunningPage) -> None:
    answer = page.ask("POST", "start_transcription", None, {"Content-Type": "text/plain"})
    assert answer.status == 400


def test_others_are_served_only_with_a_password(
    lab: tuple[RunningPage, RunningNode], tmp_path: Path
) -> None:
    secret = tmp_path / "password"
    command = [sys.executable, "-m", "node", "web", "--config", str(lab[1].file)]
    command += ["--listen", "0.0.0.0:0", "--password-file", str(secret)]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False)
    assert done.returncode == 78
    assert "--set-password" in done.stderr
    set_password(secret)
    with RunningPage(lab[1].file, listen="0.0.0.0:0", password_file=secret) as page:
        for path in ("api/nodes", "api/stream", "detect_mics", "openapi.json", "docs"):
            assert page.get(path).status == 401, path
        assert page.get("").status == page.get("static/app.js").status == 200
        assert page.post("api/login", {"password": "wrong one"}).status == 403
        cookie = page.post("api/login", {"password": GOOD}).headers["set-cookie"]
        assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
        token = cookie.partition(";")[0]
        assert page.get("api/nodes", Cookie=token).status == 200
        assert page.post("api/logout", Cookie=token).status == 200
        assert page.get("api/nodes", Cookie=token).status == 401
        basic = base64.b64encode(f"any:{GOOD}".encode()).decode()
        assert page.get("api/nodes", Authorization=f"Basic {basic}").status == 200
        assert page.get("api/nodes", Authorization="Basic ???").status == 401
        for _ in range(6):
            last = page.post("api/login", {"password": "wrong one"}).status
        assert last == 429


def test_a_proxy_that_logs_people_in_needs_no_password(
    lab: tuple[RunningPage, RunningNode], tmp_path: Path
) -> None:
    none = tmp_path / "none"
    arguments = ("--ingress", "127.0.0.1")
    with RunningPage(lab[1].file, *arguments, listen="0.0.0.0:0", password_file=none) as page:
        answer = page.get("api/nodes", Host="homeassistant.local", X_Ingress_Path="/api/x")
        assert answer.status == 200
    arguments = ("--ingress", "172.30.32.2")
    with RunningPage(lab[1].file, *arguments, listen="0.0.0.0:0", password_file=none) as page:
        assert page.get("api/nodes").status == 403


def test_the_stream_has_a_type_that_no_ingress_compresses(page: RunningPage) -> None:
    with Stream(page, Accept="application/octet-stream") as plain, Stream(page) as stream:
        wait_until(lambda: plain.of("state") and stream.of("state"), 20, "the first states")
    assert plain.content_type == "application/octet-stream"
    assert str(stream.content_type).startswith("text/event-stream")
    answer = page.get("api/nodes", Accept="application/octet-stream")
    assert answer.headers["content-type"] == "application/json"


def test_a_node_and_a_broker_that_go_are_said_and_come_back(tmp_path: Path) -> None:
    with Broker() as broker, Watcher(broker.port) as watcher:
        config = meeting(tmp_path, broker.port)
        with (
            RunningNode(tmp_path, config) as node,
            RunningPage(node.file, password_file=tmp_path / "none") as page,
        ):
            node.wait_online(watcher)
            page.wait_online()
            node.program.signal(signal.SIGKILL)
            wait_until(lambda: page.node()["online"] is False, 60, "the node is offline")
            assert page.node()["troubles"] == [{"code": "offline", "text": ""}]
            assert page.get("detect_mics").status == 503
            before = watcher.count()
            node.start().wait_online(watcher, before)
            page.wait_online()
            broker.kill()
            wait_until(lambda: not page.view()["broker"]["connected"], 60, "the broker is away")
            answer = page.post("start_transcription", {"assignments": TWO})
            assert answer.status == 503
            assert "no connection to the broker" in answer.json()["message"]
            assert page.get("healthz").status == 503
            broker.start()
            wait_until(lambda: page.view()["broker"]["connected"], 60, "the broker is back")
            wait_until(lambda: page.node().get("online"), 60, "the node is online")
            # The node comes back in its own time, and until then its last `online` stands.
            wait_until(lambda: page.get("detect_mics").status == 200, 90, "the node answers")
            assert page.node()["session"]["state"] == "idle"  # the start of before is not sent


def test_it_ends_on_a_signal_with_pages_open(lab: tuple[RunningPage, RunningNode]) -> None:
    node = lab[1]
    with RunningPage(node.file, password_file=node.folder / "none") as page, Stream(page) as stream:
        wait_until(lambda: stream.of("state"), 20, "the first state")
        page.program.signal(signal.SIGTERM)
        assert page.program.wait(20) in {0, -signal.SIGTERM}
        assert "Traceback" not in page.program.output()


def test_an_address_in_use_is_said(lab: tuple[RunningPage, RunningNode]) -> None:
    page, node = lab
    command = [sys.executable, "-m", "node", "web", "--config", str(node.file)]
    command += ["--listen", f"127.0.0.1:{page.port}"]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False)
    assert done.returncode == 1
    assert "is it running already?" in done.stderr


def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    """As where only the node's own packages are installed."""
    hidden = (
        "import sys; sys.modules['fastapi'] = None; from node.cli import main; sys.exit(main())"
    )
    command = [sys.executable, "-c", hidden, "web", "--config", str(tmp_path / "none")]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False)
    assert done.returncode == 1
    assert "scribe-node[web]" in done.stderr
    assert "Traceback" not in done.stderr
