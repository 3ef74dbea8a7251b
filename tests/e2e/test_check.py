"""`check`: each thing that can be wrong, with a real broker, a real model and virtual mics."""

from __future__ import annotations

import re
import shutil
import socket
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from node.adapters.store import Store
from node.core.model import Assignment, MicInfo
from tests.rig.broker import HOST, Broker, free_port
from tests.rig.commands import Terminal, run, write
from tests.rig.disks import FatDisk
from tests.rig.node import MODEL, ROOT, RunningNode, configuration
from tests.rig.usbtree import Card, UsbTree
from tests.rig.vmics import write_wav
from tests.rig.workers import RunningWorker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.rig.mqtt import Watcher
    from tests.rig.rabbitmq import RabbitMQ
    from tests.rig.vmics import VirtualMics

CONNACK_UNSUPPORTED = b"\x20\x02\x00\x01"  # MQTT 3.1.1, 3.2: unacceptable protocol version


def recorded(folder: Path, port: int, **sections: Any) -> dict[str, Any]:
    """A configuration whose one mic is a file, so that no sound system is needed."""
    folder.mkdir(exist_ok=True)
    noise = np.random.default_rng(1).integers(-900, 900, 48000, dtype=np.int16)
    sound = write_wav(folder / "noise.wav", noise, 16000)
    audio = {"source": "files", "files": [{"mic": "tape", "file": str(sound), "loop": True}]}
    return configuration(folder, port, [], **{"audio": audio, **sections})


def check(folder: Path, config: dict[str, Any]) -> tuple[int, dict[str, tuple[str, str]]]:
    """Return the exit status, and state and detail of each thing."""
    done = run("check", "--config", write(folder, config))
    return done.returncode, table(done.stdout)


def table(output: str) -> dict[str, tuple[str, str]]:
    lines = [re.split(r"\s{2,}", line, maxsplit=2) for line in output.splitlines()[1:]]
    return {what: (state, detail) for what, state, detail in lines}


def broker_says(folder: Path, port: int, **mqtt: Any) -> tuple[int, str, str]:
    """Return the exit status, and state and detail of the broker alone."""
    # A missing model is only a warning, and nothing is loaded: this is about brokers.
    others = {"transcription": {"model": "tiny"}}
    status, found = check(folder, recorded(folder, port, mqtt=mqtt, **others))
    return status, *found["broker"]


def test_all_right(tmp_path: Path, broker: Broker, watcher: Watcher) -> None:
    config = recorded(tmp_path, broker.port)
    seen = watcher.count()
    status, found = check(tmp_path, config)
    assert status == 0, found
    assert {what for what, (state, _) in found.items() if state != "ok"} == {"model"}
    assert "This is a demonstration model" in found["model"][1]
    assert re.search(r"loads in [\d.]+ s, takes \d+ MB", found["model"][1])
    assert found["time zone"][1].startswith("Europe/Paris: it is 20")
    assert found["broker"][1] == f"{HOST}:{broker.port}, MQTT 5, without TLS, anonymous"
    assert re.search(r"16000 Hz, -3\d(\.\d)? dBFS", found["microphone tape"][1])
    assert "as scribe:lab:check" in broker.log()
    watcher.publish("probe")
    watcher.wait_for("probe", after=seen)
    assert [message.topic for message in watcher.messages(after=seen)] == ["probe"]
    assert not (tmp_path / "storage").exists()  # checking leaves no trace


def test_on_a_terminal_nothing_is_cut(tmp_path: Path, broker: Broker) -> None:
    file = write(tmp_path, recorded(tmp_path, broker.port))
    with Terminal("check", "--config", file) as terminal:
        assert terminal.wait() == 0
        terminal.wait_output("threads")
        assert "…" not in terminal.output().split("what", 1)[1]


def test_a_broker_that_is_not_there(tmp_path: Path) -> None:
    port = free_port()
    status, state, detail = broker_says(tmp_path, port)
    assert (status, state) == (1, "wrong")
    assert detail.startswith(f"{HOST}:{port}: no broker listens there: start it")


def test_a_broker_whose_name_nobody_knows(tmp_path: Path) -> None:
    status, state, detail = broker_says(tmp_path, 1883, host="nosuch.invalid")
    assert (status, state) == (1, "wrong")
    assert "unknown host name" in detail


def test_a_broker_that_hangs(tmp_path: Path, broker: Broker) -> None:
    broker.freeze()
    status, state, detail = broker_says(tmp_path, broker.port)
    assert (status, state) == (1, "wrong")
    assert "no answer to an MQTT connect" in detail


def test_logins(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("right\n")
    password.chmod(0o600)
    login = {"username": "scribe", "password_file": str(password)}
    with Broker(users={"scribe": "right"}) as broker:
        assert broker_says(tmp_path, broker.port, **login)[:2] == (0, "ok")
        old = broker_says(tmp_path, broker.port, **login, protocol="3.1.1")
        assert old == (0, "ok", f"{HOST}:{broker.port}, MQTT 3.1.1, without TLS, as scribe")
        anonymous = broker_says(tmp_path, broker.port)
        assert anonymous[:2] == (1, "wrong")
        assert "it requires a login; set mqtt.username" in anonymous[2]
        password.write_text("wrong\n")
        for protocol in ("5", "3.1.1"):
            refused = broker_says(tmp_path, broker.port, **login, protocol=protocol)
            assert refused[:2] == (1, "wrong")
            assert "it does not accept user scribe with this password" in refused[2]
        password.unlink()
        missing = broker_says(tmp_path, broker.port, **login)
        assert missing[:2] == (1, "wrong")
        assert f"mqtt.password_file: {password} cannot be read" in missing[2]


def test_a_password_without_a_user(tmp_path: Path) -> None:
    """MQTT 5 allows it, for tokens; it is sent, and a broker that wants a user says so."""
    password = tmp_path / "password"
    password.write_text("the token")
    password.chmod(0o600)
    with one_connection(CONNACK_UNSUPPORTED) as (port, received):
        broker_says(tmp_path, port, password_file=str(password))
        assert received.get(timeout=10).endswith(b"\x00\x09the token")
    with Broker(users={"scribe": "right"}) as broker:
        status, state, detail = broker_says(tmp_path, broker.port, password_file=str(password))
    assert (status, state) == (1, "wrong")
    assert "it does not accept a password without a user; set mqtt.username" in detail
    with Broker() as broker:
        status, state, detail = broker_says(tmp_path, broker.port, password_file=str(password))
    assert (status, state) == (0, "ok")
    assert detail.endswith("with only a password")


def test_a_password_without_a_user_and_mqtt_3_1_1(tmp_path: Path) -> None:
    mqtt = {"password_file": str(tmp_path / "password"), "protocol": "3.1.1"}
    done = run("check", "--config", write(tmp_path, recorded(tmp_path, 1, mqtt=mqtt)))
    assert done.returncode == 78
    assert "MQTT 3.1.1 has no password without a user; set mqtt.username" in done.stdout


@pytest.mark.parametrize(
    ("line", "lacks"), [("retain_available false", "retained messages"), ("max_qos 0", "QoS 1")]
)
def test_a_broker_that_lacks_what_the_node_needs(tmp_path: Path, line: str, lacks: str) -> None:
    """`check` says so, and so does the node, which could never work with that broker."""
    port = free_port()
    with Broker(extra=f"listener {port} {HOST}\n{line}"):
        status, state, detail = broker_says(tmp_path, port)
        assert (status, state) == (1, "wrong")
        assert f"no {lacks}, which the node needs" in detail
        with RunningNode(tmp_path, configuration(tmp_path, port, [])) as node:
            node.program.wait_output(f"no {lacks}, which the node needs", 20)


def test_a_broker_that_closes_on_mqtt_5_without_a_word(tmp_path: Path, rabbitmq: RabbitMQ) -> None:
    status, state, detail = broker_says(tmp_path, rabbitmq.port)
    assert (status, state) == (1, "wrong")
    assert 'it does not speak MQTT 5; set mqtt.protocol: "3.1.1"' in detail
    with RunningNode(tmp_path, configuration(tmp_path, rabbitmq.port, [])) as node:
        node.program.wait_output('it does not speak MQTT 5; set mqtt.protocol: "3.1.1"', 20)
    assert broker_says(tmp_path, rabbitmq.port, protocol="3.1.1")[:2] == (0, "ok")


def test_a_password_that_others_can_read(tmp_path: Path, broker: Broker) -> None:
    password = tmp_path / "password"
    password.write_text("secret")
    password.chmod(0o644)
    mqtt = {"username": "scribe", "password_file": str(password)}
    status, found = check(tmp_path, recorded(tmp_path, broker.port, mqtt=mqtt))
    assert status == 0
    assert found["password file"][0] == "warning"
    assert f"chmod 600 {password}" in found["password file"][1]
    assert "secret" not in str(found)


def test_a_base_topic_with_a_dot(tmp_path: Path, broker: Broker) -> None:
    mqtt = {"base_topic": "my.house"}
    config = recorded(tmp_path, broker.port, mqtt=mqtt, transcription={"model": "tiny"})
    assert check(tmp_path, config)[1]["base topic"][0] == "warning"


def test_anonymous_on_the_network(tmp_path: Path) -> None:
    mqtt = {"host": "nosuch.invalid"}
    _, found = check(tmp_path, recorded(tmp_path, 1883, mqtt=mqtt))
    assert found["broker login"][0] == "warning"
    assert "set mqtt.username and mqtt.password_file" in found["broker login"][1]


def test_tls(tmp_path: Path) -> None:
    with Broker(tls=True) as broker:
        assert broker.tls_port is not None
        trusted = {"enabled": True, "ca_file": str(broker.ca_file)}
        good = broker_says(tmp_path, broker.tls_port, tls=trusted)
        assert good[:2] == (0, "ok")
        assert "with TLS" in good[2]
        unknown = broker_says(tmp_path, broker.tls_port, tls={"enabled": True})
        assert unknown[:2] == (1, "wrong")
        assert "its certificate is not accepted" in unknown[2]
        assert "set mqtt.tls.ca_file" in unknown[2]
        # Another name for 127.0.0.1, which is not in the certificate.
        misnamed = broker_says(tmp_path, broker.tls_port, host="127.1", tls=trusted)
        assert misnamed[:2] == (1, "wrong")
        assert "set mqtt.host to the name in the certificate" in misnamed[2]
        plain = broker_says(tmp_path, broker.tls_port)
        assert plain[:2] == (1, "wrong")
        assert "this port needs TLS" in plain[2]
        reverse = broker_says(tmp_path, broker.port, tls=trusted)
        assert reverse[:2] == (1, "wrong")
        assert "it does not speak TLS there" in reverse[2]


@contextmanager
def one_connection(answer: bytes) -> Iterator[tuple[int, SimpleQueue[bytes]]]:
    """A broker that gives its one client this answer; yields its port and what it received."""
    received: SimpleQueue[bytes] = SimpleQueue()
    with socket.create_server((HOST, 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                received.put(connection.recv(1024))
                connection.sendall(answer)
                connection.recv(1024)

        thread = Thread(target=serve)
        thread.start()
        yield server.getsockname()[1], received
        thread.join()


@pytest.mark.parametrize(("spoken", "other"), [("5", "3.1.1"), ("3.1.1", "5")])
def test_a_broker_of_another_protocol_version(tmp_path: Path, spoken: str, other: str) -> None:
    with one_connection(CONNACK_UNSUPPORTED) as (port, _):
        status, state, detail = broker_says(tmp_path, port, protocol=spoken)
    assert (status, state) == (1, "wrong")
    assert f"MQTT {spoken}" in detail
    assert f'set mqtt.protocol: "{other}"' in detail


def test_microphones(tmp_path: Path, broker: Broker, virtual_mics: VirtualMics) -> None:
    noise = np.random.default_rng(1).integers(-900, 900, 60 * 16000, dtype=np.int16)
    virtual_mics.play("desk", noise)
    config = configuration(tmp_path, broker.port, ["desk", "wall", "nosuch"])
    status, found = check(tmp_path, config)
    assert status == 1
    assert found["microphone wall"][0] == "warning"
    assert "but only zeros" in found["microphone wall"][1]
    assert found["microphone nosuch"][0] == "wrong"
    assert "PortAudio lists no input 'nosuch'" in found["microphone nosuch"][1]
    assert found["microphone desk"][1].startswith("desk: 16000 Hz")


def test_a_microphone_whose_id_has_a_dot(tmp_path: Path, broker: Broker) -> None:
    """RabbitMQ takes the dot for a topic level. Ids are those that the node remembers."""
    tree = UsbTree(tmp_path / "machine").create()
    tree.plug(Card(1, "1-1.2"), Card(2, "1-1.3"))
    audio = {
        "proc_root": str(tree.proc_root),
        "sys_root": str(tree.sys_root),
        "devices": [{"mic": "of.old", "device": "desk"}],
    }
    store = Store(tmp_path / "storage", keep_audio=False)
    store.open()
    alice = MicInfo("usb-1-1.2", "USB PnP Sound Device", usb_port="1-1.2")
    store.sessions.remember_mics([(alice, Assignment("Alice"))])
    store.close()
    config = configuration(tmp_path, broker.port, [], audio=audio, transcription={"model": "tiny"})
    done = run("check", "--config", write(tmp_path, config))
    dotted = [line for line in done.stdout.splitlines() if "has a dot" in line]
    assert [line.split()[1] for line in dotted] == ["usb-1-1.2", "of.old"]
    assert "unassign it and restart the node" in dotted[0]
    assert 'use "_" in the configuration' in dotted[1]
    assert "microphone usb-1-1_3" in done.stdout


def test_no_microphone(tmp_path: Path, broker: Broker) -> None:
    status, found = check(tmp_path, configuration(tmp_path, broker.port, []))
    assert status == 1
    assert found["microphones"][0] == "wrong"
    assert "plug in a USB microphone" in found["microphones"][1]


@pytest.mark.parametrize(
    ("model", "status", "said"),
    [
        ("./nosuch", 1, "wrong: .*nosuch holds no model.bin"),
        (
            "./empty",
            1,
            "wrong: .*empty holds no model.bin, no config.json, no tokenizer.json, no v",
        ),
        ("./broken", 1, "wrong: .*broken cannot be loaded"),
        ("gigantic", 1, "wrong: .*gigantic is not a Whisper model; use one of tiny.en, tiny"),
        ("tiny", 0, "warning: .*not on this machine yet; run `python -m node fetch-model`"),
    ],
)
def test_models(tmp_path: Path, broker: Broker, model: str, status: int, said: str) -> None:
    (tmp_path / "empty").mkdir()
    shutil.copytree(MODEL, tmp_path / "broken")
    (tmp_path / "broken" / "model.bin").write_bytes(b"no model")
    config = recorded(tmp_path, broker.port, transcription={"model": model})
    exit_status, found = check(tmp_path, config)
    assert exit_status == status
    assert re.match(said, ": ".join(found["model"]))


def test_sound_that_leaves_the_machine(tmp_path: Path, broker: Broker, watcher: Watcher) -> None:
    shared = recorded(tmp_path, broker.port, transcription={"model": str(MODEL), "where": "broker"})
    status, found = check(tmp_path, shared)
    assert status == 0
    assert found["sound"][0] == "warning"
    assert "all sound of what people say is sent to workers through the broker" in found["sound"][1]
    assert found["model"] == ("ok", "none is loaded here: workers transcribe")
    assert found["workers"][0] == "warning"
    assert "none with the model model is online" in found["workers"][1]
    with RunningWorker(tmp_path, "attic", broker.port) as worker:
        worker.wait_online(watcher)
        _, found = check(tmp_path, shared)
        assert found["workers"] == ("ok", "1 with the model model: attic")
        here = recorded(tmp_path, broker.port)
        assert not {"sound", "workers"} & set(check(tmp_path, here)[1])


def test_storage(tmp_path: Path, broker: Broker) -> None:
    config = recorded(tmp_path, broker.port, transcription={"model": "tiny"})
    storage = tmp_path / "storage"
    storage.write_text("")
    status, found = check(tmp_path, config)
    assert status == 1
    assert found["storage"] == (
        "wrong",
        f"storage.path: {storage} cannot be used: Not a directory",
    )
    storage.unlink()
    storage.mkdir(mode=0o755)
    status, found = check(tmp_path, config)
    assert status == 0
    assert found["storage"][0] == "warning"
    assert f"mode 0755: others may read transcripts; chmod 700 {storage}" in found["storage"][1]
    storage.chmod(0o1777)
    _, found = check(tmp_path, config)
    assert found["storage"][1].endswith(f"set storage.path to {storage}/scribe-node")
    storage.chmod(0o700)
    (storage / "scribe.db").write_bytes(b"this is no database, but long enough for its header" * 9)
    status, found = check(tmp_path, config)
    assert status == 1
    assert found["storage"][0] == "ok"
    assert found["database"] == (
        "wrong",
        f"{storage}/scribe.db cannot be read: file is not a database",
    )


@pytest.mark.parametrize("target", ["link", "nowhere"])
def test_storage_behind_a_link_that_leads_to_no_folder(
    tmp_path: Path, broker: Broker, target: str
) -> None:
    """To itself, or to what is not mounted."""
    (tmp_path / "link").symlink_to(tmp_path / target)
    storage = {"path": str(tmp_path / "link" / "storage")}
    config = recorded(tmp_path, broker.port, storage=storage, transcription={"model": "tiny"})
    status, found = check(tmp_path, config)
    assert status == 1
    assert found["storage"][0] == "wrong"
    assert found["model"][0] == "warning"


@pytest.mark.parametrize(("umask", "state"), [("022", "warning"), ("077", "ok")])
def test_storage_that_keeps_no_permissions(
    tmp_path: Path, broker: Broker, umask: str, state: str
) -> None:
    """So it is before the first start, when the folder does not exist yet."""
    with FatDisk(tmp_path / "stick", f"umask={umask}") as stick:
        settings = {"path": str(stick.folder / "scribe"), "max_spool_mb": 10}
        config = recorded(tmp_path, broker.port, storage=settings, transcription={"model": "tiny"})
        assert check(tmp_path, config)[1]["storage"][0] == state
        (stick.folder / "scribe").mkdir(mode=0o700)
        found = check(tmp_path, config)[1]["storage"]
    assert found[0] == state
    advice = "its file system (FAT, exFAT?) does not store permissions: others may read"
    assert (advice in found[1]) == (state == "warning")


def test_a_wrong_configuration_is_told_at_once_and_whole(tmp_path: Path) -> None:
    file = tmp_path / "node.yaml"
    file.write_text(
        "mqtt:\n  hots: broker.lan\n  port: many\naudio:\n  source: files\ntime_zone: Paris\n"
    )
    done = run("check", "--config", file)
    assert done.returncode == 78
    for line, key in ((2, "mqtt.hots"), (3, "mqtt.port"), (4, "audio.files"), (6, "time_zone")):
        assert f"configuration  wrong  {file}:{line}: {key}: " in done.stdout
    assert "broker " not in done.stdout
    assert str(MODEL) not in done.stdout


def test_a_configuration_file_that_is_missing(tmp_path: Path) -> None:
    done = run("check", "--config", tmp_path / "nosuch.yaml")
    assert done.returncode == 78
    assert "cannot be read: No such file or directory" in done.stdout


def test_the_shipped_demo_configuration(tmp_path: Path) -> None:
    done = run(
        "check", "--config", ROOT / "config" / "demo" / "node.yaml", env={"HOME": str(tmp_path)}
    )
    found = table(done.stdout)
    assert found["configuration"][0] == "ok"
    assert [found[f"microphone mic-{who}"][0] for who in ("alice", "bruno", "chloe")] == ["ok"] * 3
