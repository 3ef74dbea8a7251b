"""What the formats of a transcript are called: over MQTT, on the command line, and as files."""

from __future__ import annotations

from typing import Literal, get_args

Format = Literal["text", "json", "srt", "vtt"]
FORMATS: tuple[Format, ...] = get_args(Format)

SUFFIX: dict[str, str] = {"text": "txt", "json": "json", "srt": "srt", "vtt": "vtt"}
"""Of the file of each, which is also its key in a session's `files`."""
