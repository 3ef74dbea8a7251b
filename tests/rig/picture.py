"""The README's picture of a session, made of what `make run` prints: `python -m tests.rig.picture`.

Whoever changes what the demonstration prints runs it again.
"""

from __future__ import annotations

import io
import os
import signal
import tempfile

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from tests.rig.node import ROOT
from tests.rig.processes import Program

PICTURE = ROOT / "docs" / "session.svg"
COLUMNS = 100
TRANSCRIPT = "╭"
"""What the transcript begins with: it says the same again, and is left out."""

READY_S = 240

# It has a background of its own, so that it reads alike on light and dark pages.
THEME = TerminalTheme(
    (22, 27, 34),
    (240, 246, 252),
    [
        (72, 79, 88),
        (255, 123, 114),
        (86, 211, 100),
        (227, 179, 65),
        (121, 192, 255),
        (219, 150, 255),
        (86, 224, 231),
        (240, 246, 252),
    ],
)

# As rich's own template, but without its fonts, which a page would have to fetch from elsewhere.
FORMAT = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{
font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
font-size: {char_height}px;
}}
.{unique_id}-title {{ font-family: sans-serif; font-size: 18px; font-weight: bold; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def main() -> None:
    PICTURE.write_text(draw(output_of_the_demonstration()), encoding="utf-8")
    print(f"{PICTURE.relative_to(ROOT)}: {PICTURE.stat().st_size} bytes")


def output_of_the_demonstration() -> str:
    """All that `make run` prints, up to Ctrl-C, with its colours."""
    with tempfile.TemporaryDirectory() as storage:
        terminal = {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}
        environment = {**os.environ, **terminal, "XDG_DATA_HOME": storage}
        with Program(["make", "run"], environment, ROOT) as demo:
            demo.wait_output("Ctrl-C ends it", READY_S)
            demo.signal_group(signal.SIGINT)
            demo.wait(60)
            return demo.output()


def draw(output: str) -> str:
    """The SVG of a terminal with what was printed live.

    Args:
        output: what a terminal is given, escape sequences among it.
    """
    live, _, _ = output.partition(TRANSCRIPT)
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), highlight=False)
    console.print(Text.from_ansi(live.rstrip()), no_wrap=True)
    return console.export_svg(
        title="make run", theme=THEME, code_format=FORMAT, unique_id="session"
    )


if __name__ == "__main__":
    main()
