"""What the formats of a transcript are called: over MQTT, on the command line, and as files."""

from __future__ import annotations

from typing import Literal, get_args

Format = Literal["text", "json", "srt", "vtt", "md"]
FORMATS: tuple[Format, ...] = get_args(Format)

AT_THE_END: tuple[Format, ...] = ("text", "json", "srt", "vtt")
"""Those written when a session ends, and by a `transcript/save` that names none."""

SUFFIX: dict[str, str] = {"text": "txt", "json": "json", "srt": "srt", "vtt": "vtt", "md": "md"}
"""Of the file of each, which is also its key in a session's `files`."""
