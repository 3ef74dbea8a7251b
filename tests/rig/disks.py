"""Small disks that run full or that the kernel turns read-only. They need root."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Self

import pytest

from tests.rig.processes import need

MB = 1024 * 1024


class SmallDisk:
    """A tmpfs that can be filled to the last byte."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        self.folder = folder
        self._megabytes = megabytes
        self._filler = folder / "filler"

    def fill(self, leave: int = 0) -> None:
        """Fill all but `leave` bytes, including what has become free since the last call."""
        with self._filler.open("ab") as file:
            while (free := shutil.disk_usage(self.folder).free - leave) > 0:
                with suppress(OSError):  # somebody else took some of it meanwhile
                    os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), free)

    def make_room(self) -> None:
        self._filler.unlink()

    def __enter__(self) -> Self:
        self.folder.mkdir()
        options = ["-t", "tmpfs", "-o", f"size={self._megabytes}m", "none"]
        mount(*options, str(self.folder))
        return self

    def __exit__(self, *_exception: object) -> None:
        unmount(self.folder)


class BreakingDisk:
    """An ext4 file system on a loop device: on an error, the kernel turns it read-only for good.

    The same happens to a failing SD card. Only mounting it again makes it writable.
    """

    def __init__(self, folder: Path, megabytes: int) -> None:
        self.folder = folder
        self._image = folder.with_suffix(".img")
        self._megabytes = megabytes

    def break_down(self) -> None:
        command = ["findmnt", "-n", "-o", "SOURCE", str(self.folder)]
        device = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        trigger = Path("/sys/fs/ext4") / Path(device).name / "trigger_fs_error"
        trigger.write_text("a test", encoding="ascii")

    def mend(self) -> None:
        """Repair it and mount it again; nothing may have a file open on it."""
        unmount(self.folder)
        subprocess.run(["fsck.ext4", "-p", "-f", self._image], check=False, capture_output=True)
        self._mount()

    def _mount(self) -> None:
        mount("-o", "loop,errors=remount-ro", str(self._image), str(self.folder))

    def __enter__(self) -> Self:
        self.folder.mkdir()
        with self._image.open("wb") as file:
            file.truncate(self._megabytes * MB)
        subprocess.run(["mkfs.ext4", "-q", "-F", self._image], check=True, capture_output=True)
        self._mount()
        return self

    def __exit__(self, *_exception: object) -> None:
        unmount(self.folder)


class FatDisk:
    """An exFAT file system, as on USB sticks: all files have the permissions it is mounted with.

    If the kernel does not support it, the Debian package exfat-fuse does.
    """

    def __init__(self, folder: Path, options: str) -> None:
        self.folder = folder
        self._options = options

    def __enter__(self) -> Self:
        need("mkfs.exfat")
        self.folder.mkdir()
        image = self.folder.with_suffix(".img")
        with image.open("wb") as file:
            file.truncate(256 * MB)
        subprocess.run(["mkfs.exfat", image], check=True, capture_output=True)
        kind = ("-t", "exfat,exfat-fuse", "-o", f"loop,{self._options}")
        mount(*kind, str(image), str(self.folder))
        return self

    def __exit__(self, *_exception: object) -> None:
        unmount(self.folder)


def mount(*arguments: str) -> None:
    """Mount; if that is not allowed, skip the test, or fail it under CI, where it must be."""
    done = subprocess.run(["mount", *arguments], check=False, capture_output=True, text=True)
    if done.returncode == 0:
        return
    message = f"cannot mount: {done.stderr.strip()}"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def unmount(folder: Path) -> None:
    """Unmount, even if a process that is about to end still has a file open."""
    subprocess.run(["umount", "--lazy", folder], check=True, capture_output=True)
