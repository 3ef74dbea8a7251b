"""Reads YAML as text with line numbers: just what a strict configuration file needs.

Every scalar stays the text that was written, except an empty one, which becomes None. The schema
decides what the text means, so `mode: off` is not a boolean, `language: no` is Norwegian and
`protocol: 3.1` is not a float. Aliases, tags and repeated keys are refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import yaml

KeyPath: TypeAlias = tuple[str | int, ...]

MAX_DEPTH = 16  # well below what would exhaust the stack of the recursive composer
EMPTY_KEY = '""'
_NULL = "tag:yaml.org,2002:null"


class Problem(NamedTuple):
    """A problem to fix: its line, counted from 1, the key it concerns (or ()) and what to do."""

    line: int
    path: KeyPath
    text: str


@dataclass
class Document:
    """A mapping read from YAML.

    `data` holds str, None, lists and dicts with str keys; `lines` holds the line of each key and
    list item. Whatever `problems` concern is missing from `data`.
    """

    data: dict[str, Any] = field(default_factory=dict)
    lines: dict[KeyPath, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def line_of(self, path: KeyPath) -> int:
        """Return the line of `path`, or of the nearest key above it that is in the file."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def parse(text: str) -> Document:
    """Read one YAML document; whatever is wrong in `text` is listed as problems, never raised."""
    document = Document()
    try:
        loader = _Composer(text)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        unprintable = f"contains the character U+{error.character:04X}; remove it"
        document.problems.append(Problem(line, (), unprintable))
        return document
    try:
        root = loader.get_single_node()
    except _RefusedError as error:
        document.problems.append(error.problem)
    except yaml.MarkedYAMLError as error:
        document.problems.append(_syntax_problem(error))
    except (ValueError, OverflowError):
        # PyYAML does not catch these from chr() and int(), for some escapes and version numbers.
        out_of_range = "is not valid YAML: an escape or number is out of range"
        document.problems.append(Problem(loader.line + 1, (), out_of_range))
    else:
        _Reader(document).read_root(root)
    return document


def format_path(path: KeyPath) -> str:
    """Return `("audio", "files", 0, "mic")` as `audio.files[0].mic`."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step or EMPTY_KEY}" for step in path)
    return "".join(steps).removeprefix(".")


class _RefusedError(Exception):
    def __init__(self, text: str, event: yaml.Event) -> None:
        super().__init__(text)
        self.problem = Problem(_line(event.start_mark), (), text)


class _Composer(yaml.SafeLoader):
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]  # PyYAML has no types
        if self.check_event(yaml.AliasEvent):
            raise _RefusedError("aliases (*name) are not allowed; write the value out", event)
        tag = getattr(event, "tag", None)
        if tag not in (None, "!"):
            raise _RefusedError(f"the tag {tag!r} is not allowed; write only the value", event)
        if self.depth == MAX_DEPTH:
            raise _RefusedError(f"is nested more than {MAX_DEPTH} levels deep", event)
        self.depth += 1
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _line(mark: Any) -> int:  # a Mark of PyYAML or of libyaml, or None
    return mark.line + 1 if mark else 1


def _syntax_problem(error: yaml.MarkedYAMLError) -> Problem:
    line = _line(error.problem_mark or error.context_mark)
    what = ": ".join(part for part in (error.context, error.problem) if part)
    if "'\\t'" in what:
        return Problem(line, (), "is not valid YAML: a tab stands here; indent with spaces")
    return Problem(line, (), f"is not valid YAML: {what}; check indentation, colons and quotes")


class _Reader:
    def __init__(self, document: Document) -> None:
        self._document = document

    def read_root(self, root: yaml.Node | None) -> None:
        if root is None or root.tag == _NULL:
            return
        if isinstance(root, yaml.MappingNode):
            self._document.data = self._mapping(root, ())
        else:
            self._refuse(root, (), 'must have sections such as "mqtt:" at its top level')

    def _value(self, node: yaml.Node, path: KeyPath) -> Any:
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._item(item, (*path, index)) for index, item in enumerate(node.value)]
        if not isinstance(node, yaml.ScalarNode) or node.tag == _NULL:
            return None
        return node.value if self._is_plain(node, path) else None

    def _item(self, node: yaml.Node, path: KeyPath) -> Any:
        self._document.lines[path] = _line(node.start_mark)
        return self._value(node, path)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._refuse(key_node, path, "has a list or mapping as a key; use a word")
                continue
            if not self._is_plain(key_node, path):
                continue
            key_path = (*path, key_node.value)
            if key_node.value in mapping:
                first = self._document.lines[key_path]
                self._refuse(key_node, key_path, f"is already on line {first}; keep one of them")
                continue
            self._document.lines[key_path] = _line(key_node.start_mark)
            mapping[key_node.value] = self._value(value_node, key_path)
        return mapping

    def _is_plain(self, node: yaml.ScalarNode, path: KeyPath) -> bool:
        # Line breaks, no-break spaces and the like come from pasting and from missing quotes.
        odd = next((char for char in node.value if not char.isprintable()), None)
        if odd is not None:
            self._refuse(node, path, f"contains the character U+{ord(odd):04X}; remove it")
        return odd is None

    def _refuse(self, node: yaml.Node, path: KeyPath, text: str) -> None:
        self._document.problems.append(Problem(_line(node.start_mark), path, text))
