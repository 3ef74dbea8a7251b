"""TLS to the broker: right settings connect, wrong ones are named by file and key."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.rig.broker import Broker, free_port
from tests.rig.certificates import make_certificate, make_certificates
from tests.rig.commands import run, write
from tests.rig.mqtt import Watcher
from tests.rig.node import RunningNode, configuration

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STRICT = "tests.rig.strict_tls_node"
UNNAMED = """\
subjectAltName=IP:127.0.0.1
subjectKeyIdentifier=none
authorityKeyIdentifier=none
"""


class MutualBroker(Broker):
    """Requires from every client on `tls_port` a certificate of its own authority."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        lines = [f"listener {port} 127.0.0.1", f"cafile {folder}/ca.crt"]
        lines += [f"certfile {folder}/server.crt", f"keyfile {folder}/server.key"]
        super().__init__(extra="\n".join([*lines, "require_certificate true"]))
        self.tls_port = port


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder)
    make_certificate(folder, "client")
    return folder


@pytest.fixture(scope="module")
def mutual(files: Path) -> Iterator[Broker]:
    with MutualBroker(files) as broker:
        yield broker


def tls_configuration(folder: Path, port: int | None, **tls: str) -> dict[str, Any]:
    config = configuration(folder, port or 1, [])
    config["mqtt"]["tls"] = {"enabled": True, **tls}
    return config


def own(files: Path) -> dict[str, str]:
    names = {"ca_file": "ca.crt", "cert_file": "client.crt", "key_file": "client.key"}
    return {key: str(files / name) for key, name in names.items()}


def test_a_client_certificate_lets_the_node_in(mutual: Broker, files: Path, tmp_path: Path) -> None:
    config = tls_configuration(tmp_path, mutual.tls_port, **own(files))
    with Watcher(mutual.port) as watcher, RunningNode(tmp_path, config) as node:
        node.wait_online(watcher)
    done = run("check", "--config", write(tmp_path, config))
    assert "with TLS" in done.stdout


@pytest.mark.parametrize(
    ("key", "content", "what"),
    [
        ("ca_file", "", "has no PEM certificate"),
        ("ca_file", "no certificate", "has no PEM certificate"),
        ("cert_file", "no certificate", "has no PEM certificate"),
        ("key_file", "no key", "is not a PEM key without a password"),
        ("key_file", "server.key", "is not the key of mqtt.tls.cert_file"),
    ],
)
def test_a_file_that_is_wrong_ends_the_start(
    files: Path, tmp_path: Path, key: str, content: str, what: str
) -> None:
    bad = tmp_path / "bad.pem"
    if (files / content).is_file():
        shutil.copy(files / content, bad)
    else:
        bad.write_text(content)
    config = tls_configuration(tmp_path, 1, **{**own(files), key: str(bad)})
    done = run("run", "--config", write(tmp_path, config))
    assert done.returncode == 78
    assert f"mqtt.tls.{key}: {bad} {what}" in done.stderr
    assert (
        f"mqtt.tls.{key}: {bad} {what}" in run("check", "--config", tmp_path / "node.yaml").stdout
    )


def test_a_file_that_is_missing_ends_the_start(files: Path, tmp_path: Path) -> None:
    config = tls_configuration(tmp_path, 1, **{**own(files), "ca_file": "/nowhere/ca.pem"})
    done = run("run", "--config", write(tmp_path, config))
    assert done.returncode == 78
    assert 'mqtt.tls.ca_file: there is no file "/nowhere/ca.pem"' in done.stderr


def test_an_unknown_authority(mutual: Broker, files: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    make_certificates(other)
    tls = {**own(files), "ca_file": str(other / "ca.crt")}
    check_refusal_is_said(tmp_path, mutual, tls, "its certificate is not accepted")


def test_an_expired_broker_certificate(tmp_path: Path) -> None:
    make_certificates(tmp_path)
    make_certificate(tmp_path, "client")
    make_certificate(tmp_path, "server", days=-1)
    with MutualBroker(tmp_path) as broker:
        check_refusal_is_said(tmp_path, broker, own(tmp_path), "certificate has expired; renew it")


def test_without_a_client_certificate(mutual: Broker, files: Path, tmp_path: Path) -> None:
    tls = {"ca_file": str(files / "ca.crt")}
    check_refusal_is_said(tmp_path, mutual, tls, "needs a client certificate")


def test_an_expired_client_certificate(mutual: Broker, files: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(files, old)
    make_certificate(old, "client", days=-1)
    check_refusal_is_said(
        tmp_path, mutual, own(old), "needs a client certificate, or a different one"
    )


def test_an_authority_that_python_3_13_does_not_take(tmp_path: Path) -> None:
    """Home-made ones mostly lack keyUsage. The command in the advice makes one that works."""
    make_certificates(tmp_path, ca_extensions=())
    make_certificate(tmp_path, "client")
    ca_file = tmp_path / "ca.crt"
    with MutualBroker(tmp_path) as broker:
        check_refusal_is_said(
            tmp_path,
            broker,
            own(tmp_path),
            f"mqtt.tls.ca_file ({ca_file}) lacks extensions",
            STRICT,
        )
        config = write(tmp_path, tls_configuration(tmp_path, broker.tls_port, **own(tmp_path)))
        said = run("check", "--config", config, module=STRICT).stdout
        make_anew = (
            said[said.index("openssl req") :].splitlines()[0].replace("its old name", "test CA")
        )
        subprocess.run(shlex.split(make_anew), cwd=tmp_path, check=True, capture_output=True)
        done = run("check", "--config", config, module=STRICT)
        assert "with TLS" in done.stdout, done.stdout


def test_a_broker_certificate_that_python_3_13_does_not_take(tmp_path: Path) -> None:
    """It must name the key of its authority, which tools older than this openssl left out."""
    make_certificates(tmp_path, extensions=UNNAMED)
    make_certificate(tmp_path, "client")
    with MutualBroker(tmp_path) as broker:
        what = "Sign the broker's certificate again"
        check_refusal_is_said(tmp_path, broker, own(tmp_path), what, STRICT)


def check_refusal_is_said(
    folder: Path, broker: Broker, tls: dict[str, str], what: str, module: str = "node"
) -> None:
    """The node runs on and says so; `check` says the same; neither connects without TLS."""
    config = tls_configuration(folder, broker.tls_port, **tls)
    with Watcher(broker.port) as watcher, RunningNode(folder, config, module=module) as node:
        node.program.wait_output(what, 30)
        assert "Traceback" not in node.program.output()
        assert all(message.retain for message in watcher.messages("scribe/lab/status"))
        assert node.end() == 0
    done = run("check", "--config", write(folder, config), module=module)
    assert what in done.stdout
    assert done.returncode == 1


def test_a_broker_elsewhere_that_asks_nobody_is_warned_of(tmp_path: Path) -> None:
    config = configuration(tmp_path, 1, [])
    config["mqtt"]["host"] = "192.0.2.1"
    with RunningNode(tmp_path, config) as node:
        node.program.wait_output("anonymous, and 192.0.2.1 is not this machine", 30)
