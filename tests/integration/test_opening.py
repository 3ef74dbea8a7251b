"""Models that cannot be opened: the fault is reported at once, and without the network."""

from __future__ import annotations

import json
import shutil
import socket
from typing import TYPE_CHECKING

import pytest

from node.adapters.whisper.opening import EngineSettings, open_model
from node.errors import ModelError
from tests.rig.node import MODEL

if TYPE_CHECKING:
    from pathlib import Path

UNSUPPORTED_BY_ANY_CPU = "int8_float16"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return shutil.copytree(MODEL, tmp_path / "model")


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collects the host names that are looked up; none can be resolved here."""
    names: list[str] = []

    def refuse(host: str, *_: object, **__: object) -> None:
        names.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "no network in this test")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return names


def refusal(folder: Path, compute_type: str = "int8") -> str:
    with pytest.raises(ModelError) as caught:
        open_model(EngineSettings(str(folder), folder, folder / "downloads", compute_type))
    return str(caught.value)


@pytest.mark.parametrize(
    ("file", "named"),
    [
        ("model.bin", "model.bin"),
        ("config.json", "config.json"),
        ("tokenizer.json", "tokenizer.json"),
        ("vocabulary.json", "vocabulary.json or vocabulary.txt"),
    ],
)
def test_a_missing_file_is_named(folder: Path, asked: list[str], file: str, named: str) -> None:
    (folder / file).unlink()
    assert f"transcription.model: {folder} holds no {named}; give" in refusal(folder)
    assert asked == []


def test_a_folder_that_cannot_be_read_is_named(folder: Path) -> None:
    too_long = folder / ("x" * 300)
    assert "cannot be read: File name too long; give a folder" in refusal(too_long)


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "vocabulary.json"])
def test_a_damaged_file_is_the_models_fault(folder: Path, asked: list[str], file: str) -> None:
    (folder / file).write_text("{damaged")
    assert refusal(folder).startswith(f"transcription.model: {folder}")
    assert asked == []


def test_a_config_nested_without_end_is_the_models_fault(folder: Path) -> None:
    (folder / "config.json").write_text("[" * 100_000)
    assert refusal(folder).startswith(f"transcription.model: {folder}/config.json: ")


@pytest.mark.parametrize("config", [{}, [], None, {"suppress_ids": []}])
def test_the_config_of_another_kind_of_model_is_refused(folder: Path, config: object) -> None:
    (folder / "config.json").write_text(json.dumps(config))
    assert "config.json is not that of a CTranslate2 Whisper model" in refusal(folder)


def test_a_missing_preprocessor_file_means_80_bands(folder: Path, asked: list[str]) -> None:
    file = folder / "preprocessor_config.json"
    file.unlink()
    settings = EngineSettings(str(folder), folder, folder / "downloads")
    assert open_model(settings).model.n_mels == 80
    file.write_text(json.dumps({"feature_size": 128}))
    assert "expects 80 mel bands, but its preprocessor_config.json gives 128" in refusal(folder)
    assert asked == []


def test_a_type_that_the_processor_lacks_is_not_the_models_fault(folder: Path) -> None:
    said = refusal(folder, UNSUPPORTED_BY_ANY_CPU)
    assert said.startswith("transcription.compute_type: ")
    assert f"does not support {UNSUPPORTED_BY_ANY_CPU}; use one of auto, default, " in said
    assert "float32" in said
