from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from node.core.model import UNDATED
from node.core.text.markdown import escaped, head, joined, paragraphs, to_markdown
from tests.unit.spoken import PARIS, line_text, segment, session, transcript

READER = MarkdownIt("commonmark").enable(["table", "strikethrough"])

TALK = (
    segment(1, 0.5, "Bonjour tout le monde."),
    segment(2, 2.5, "On commence ?"),
    segment(3, 3723.25, "Tom & <Jerry> *fin*", speaker="Bob_b_", mic="wall"),
    segment(4, 3725, "Oui."),
)


def read(text: str) -> list[tuple[str, str]]:
    """Everything a reader of Markdown finds that is not text, and the text between."""
    found = []
    for token in READER.parse(text):
        found += [
            (child.type, child.content)
            for child in token.children or []
            if child.content or child.type != "text"
        ]
        if token.type.endswith(("_open", "_block", "fence")):
            found.append((token.type, ""))
    return found


def test_head_and_paragraphs() -> None:
    assert to_markdown(transcript(*TALK, title="Budget #2")) == (
        "# Budget \\#2\n"
        "\n"
        "2026-11-22 11:00 · **Alice**, **Bob\\_b\\_**\n"
        "\n"
        "**Alice** (11:00:00): Bonjour tout le monde. On commence ?\n"
        "\n"
        "**Bob\\_b\\_** (12:02:03): Tom \\& \\<Jerry\\> \\*fin\\*\n"
        "\n"
        "**Alice** (12:02:05): Oui.\n"
    )


@given(st.lists(st.sampled_from(["Alice", "Bob_b_", "*", "a\\\\"]), min_size=1), st.integers(1, 5))
def test_pages_make_the_same_whole(speakers: list[str], lines: int) -> None:
    spoken = transcript(
        *(segment(n, 2.0 * n, f"**A** (n) {n}", speaker=name) for n, name in enumerate(speakers, 1))
    )
    whole, turns = to_markdown(spoken), spoken.turns
    top = head(spoken.session, turns, PARIS)
    pages = [
        paragraphs(spoken.session, turns[first : first + lines], PARIS)
        for first in range(0, len(turns), lines)
    ]
    assert joined([top + pages[0], *pages[1:]]) == whole


def test_without_a_title_the_date_is_the_heading() -> None:
    assert to_markdown(transcript(TALK[0])).splitlines()[:3] == [
        "# 2026-11-22 11:00",
        "",
        "**Alice**",
    ]


def test_a_recording_without_a_date_is_given_none() -> None:
    undated = to_markdown(transcript(TALK[0], started_at=UNDATED))
    assert undated == "**Alice**\n\n**Alice** (01:00:00): Bonjour tout le monde.\n"
    titled = to_markdown(transcript(started_at=UNDATED, title="Budget"))
    assert titled == "# Budget\n\n"


def test_silence_has_a_heading_only() -> None:
    assert to_markdown(transcript()) == "# 2026-11-22 11:00\n\n"


def test_a_page_continues_without_a_head() -> None:
    turns = transcript(*TALK).turns
    assert paragraphs(session(), turns[3:], PARIS) == "**Alice** (12:02:05): Oui.\n"
    assert paragraphs(session(), (), PARIS) == ""


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("at 10:30, see: this", "at 10:30, see: this"),
        ("https://a.org www.a.org WWW.a.org", "https\\://a.org www\\.a.org WWW\\.a.org"),
        (":tada: $1$ ==x== a@b", "\\:tada: \\$1\\$ \\=\\=x\\=\\= a\\@b"),
        ("C'est l'été - (oui) ! 100 %.", "C'est l'été - (oui) ! 100 %."),
        (" a\nb\r\nc ", "a b c"),
    ],
)
def test_only_what_could_be_markup_is_escaped(text: str, written: str) -> None:
    assert escaped(text) == written


SIGNS = "\\`*_{}[]()<>#+-.!|~&:=^$@'\" \t\n1a"
MARKED = ["<b>", "](x)", "**", "&amp;", "http://", "---", "_a_", "*a*", "~~a~~", "`a`"]
MARKED += ["<a@b.c>", "|a|", "&#65;", "[a](b)", "![a](b)"]
SPELT = {ord("A") + number: marked for number, marked in enumerate(MARKED)}
HOSTILE = st.text([*SIGNS, *map(chr, SPELT)], min_size=8, max_size=24).map(
    lambda text: text.translate(SPELT)
)


@cache
def marks(*, titled: bool) -> list[str]:
    """What a reader finds where nobody tries to be markup."""
    plain = segment(1, 0.5, "x", speaker="x")
    written = to_markdown(transcript(plain, title="x" if titled else None))
    return [kind for kind, _ in read(written) if kind != "text"]


@settings(max_examples=120)
@given(HOSTILE | line_text, (HOSTILE | line_text).filter(str.strip), HOSTILE | line_text)
def test_no_text_becomes_markup(text: str, speaker: str, title: str) -> None:
    said = segment(1, 0.5, text, speaker=speaker)
    found = read(to_markdown(transcript(said, title=title)))
    assert [kind for kind, _ in found if kind != "text"] == marks(titled=bool(title.strip()))
    shown = "".join(content for _, content in found)
    assert shown.endswith(f"): {' '.join(text.splitlines()).strip()}".rstrip())
