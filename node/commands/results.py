"""Where `transcribe` and `merge` write: tried before the work, which may take an hour."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from node.errors import ConfigError, NodeError

if TYPE_CHECKING:
    from collections.abc import Iterable


class OutputError(NodeError):
    """The result cannot be written where it should be."""


def try_place(output: Path | None, inputs: Iterable[Path]) -> None:
    """Make sure that a file can be written, without changing what is there.

    Raises:
        ConfigError: it cannot, or is one of the files to read.
    """
    if output is None:
        return
    # What a link leads to is tried, and the link left alone.
    output = Path(os.path.realpath(output))
    try:
        there = output.exists()
        if there and any(file.exists() and output.samefile(file) for file in inputs):
            raise ConfigError([f"--output: {output} is one of the files to read"])
        if there and not output.is_file() and not output.is_dir():
            return  # a pipe or a device: opening it may wait for a reader
        with output.open("ab"):
            pass
        if not there:
            output.unlink()
    except FileNotFoundError as error:
        raise ConfigError([f"--output: there is no folder {output.parent}"]) from error
    except OSError as error:
        raise ConfigError([f"--output: {output} cannot be written: {error.strerror}"]) from error


def write(text: str, output: Path | None) -> None:
    """Write the result to its file, or to standard output.

    Raises:
        OutputError: the file cannot be written (any more); the result is on standard output.
    """
    if output is None:
        sys.stdout.write(text)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        sys.stdout.write(text)
        raise OutputError(
            f"{output} cannot be written: {error.strerror}; the result is on standard output"
        ) from error
