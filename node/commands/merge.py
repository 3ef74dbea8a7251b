"""`merge`: one transcript of a meeting, from the JSON files of several nodes' sessions."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from node.commands import results
from node.config import Config, load_config
from node.core.model import MB
from node.core.text import documents
from node.core.text.documents import DocumentError
from node.core.text.format_names import SUFFIX
from node.core.text.merged import merged
from node.service.settings import zone

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable
    from pathlib import Path

    from node.core.text.documents import Recorded

MAX_MB = 256
"""A whole day of speech with word times is a tenth of it."""


def run(arguments: argparse.Namespace) -> int:
    """Write the merged transcript, and say how far the nodes' clocks agree.

    Raises:
        ConfigError: the configuration or `--output` is wrong.
        DocumentError: a file is not a session's, or they are not of one meeting.
        OutputError: the result cannot be written where it should be.
    """
    config = load_config(arguments.config) if arguments.config else Config()
    results.try_place(arguments.output, arguments.files)
    transcript = merged(_read_all(arguments.files), zone(config), by_node=arguments.by_node)
    for remark in transcript.clocks.remarks:
        sys.stderr.write(f"{remark}\n")
    results.write(transcript.write(SUFFIX[arguments.format]), arguments.output)
    return 0


def _read_all(files: Iterable[Path]) -> list[Recorded]:
    found, problems = [], []
    for file in files:
        try:
            found.append(_read(file))
        except DocumentError as error:
            problems.append(str(error))
    if problems:
        raise DocumentError("\n".join(problems))
    return found


def _read(file: Path) -> Recorded:
    try:
        with file.open("rb") as opened:
            raw = opened.read(MAX_MB * MB + 1)
        if len(raw) > MAX_MB * MB:
            raise DocumentError(f"{file}: it has more than {MAX_MB} MB")
        return documents.read(raw.decode("utf-8-sig"), str(file))
    except UnicodeDecodeError:
        raise DocumentError(f"{file}: it is not JSON in UTF-8") from None
    except OSError as error:
        raise DocumentError(f"{file}: it cannot be read: {error.strerror}") from error
