"""The README and the pages it leads to, as the tests read them."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = tuple(sorted((ROOT / "docs").glob("*.md")))
DOCUMENTS = (README, *PAGES)

_FENCE = re.compile(r"^ *```([^\n]*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)|\b(?:href|src)=\"([^\"]+)\"")


def text(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def relative(file: Path) -> str:
    """As in `docs/mqtt.md`."""
    return file.relative_to(ROOT).as_posix()


def blocks(content: str) -> list[tuple[str, str]]:
    """Language (empty where none is named) and content of each fenced block."""
    return _FENCE.findall(content)


def prose(content: str) -> str:
    """All but the fenced blocks."""
    return _FENCE.sub("", content)


def anchors(content: str) -> set[str]:
    """What a link may name behind `#`: GitHub's rule for headings."""
    titles = re.findall(r"^#+ (.+)$", prose(content), re.MULTILINE)
    slugs = [re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles]
    seen: Counter[str] = Counter()
    found = set()
    for slug in slugs:
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def links(file: Path) -> Iterator[tuple[Path, str]]:
    """File and anchor (may be empty) of each link or picture of a document that stays within."""
    for groups in _LINK.findall(prose(text(file))):
        target = "".join(groups)
        if not re.match(r"[a-z]+:", target):
            path, _, anchor = target.partition("#")
            yield (file.parent / path).resolve() if path else file, anchor


def dead_links(file: Path) -> list[str]:
    """Links of a document to files that are not there, or to no heading of theirs."""
    return [
        f"{target}#{anchor}"
        for target, anchor in links(file)
        if not target.exists() or (anchor and anchor not in anchors(text(target)))
    ]
