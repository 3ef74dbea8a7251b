"""The rules of the package's layout, read from its source."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "node").rglob("*.py"))

LAYERS = ["core", "adapters", "service", "app", "commands", "cli"]
"""From the inside out: each may import what comes before it, and itself."""

WEB = "web"
"""Stands beside the node: an MQTT client of it. Only the command of that name imports it."""

WEB_ADAPTERS = {"broker", "tls"}

ANYWHERE = {"errors", "config"}
IMPURE = {"asyncio", "io", "logging", "multiprocessing", "os", "pathlib", "queue"}
IMPURE |= {"random", "shutil", "signal", "socket", "sqlite3", "subprocess", "threading", "time"}

PUBLIC_ALL_THE_SAME = {"os._exit", "_replace"}
"""Documented despite their underscore, which avoids a clash."""

MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 45


def name_of(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def module_of(file: Path) -> str:
    return name_of(file).removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@cache
def syntax(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


@cache
def nodes(file: Path) -> list[ast.AST]:
    return list(ast.walk(syntax(file)))


def plain_name(node: ast.AST) -> str:
    """Return the name that an expression is; empty for any other."""
    return node.id if isinstance(node, ast.Name) else ""


@cache
def imports(file: Path) -> list[str]:
    """Return the full names of everything that a file imports, anywhere in it."""
    found: list[str] = []
    for statement in nodes(file):
        if isinstance(statement, ast.Import):
            found += [alias.name for alias in statement.names]
        elif isinstance(statement, ast.ImportFrom):
            assert statement.level == 0, f"{name_of(file)}: imports are written in full"
            found += [f"{statement.module}.{alias.name}" for alias in statement.names]
    return found


def own_imports(file: Path) -> list[list[str]]:
    """Return what a file imports from this package: the parts after `node`."""
    return [name.split(".")[1:] for name in imports(file) if name.split(".")[0] == "node"]


def layer_of(parts: list[str]) -> str:
    """Return the name after `node`; empty for the package itself."""
    return parts[0] if parts else ""


def files_in(layer: str) -> list[Path]:
    return [file for file in FILES if layer_of(module_of(file).split(".")[1:]) == layer]


def functions(file: Path) -> list[tuple[str, int]]:
    """Return `file:line function` with its length in lines."""
    return [
        (f"{name_of(file)}:{node.lineno} {node.name}", (node.end_lineno or 0) - node.lineno + 1)
        for node in nodes(file)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_"


def private_names_used(file: Path) -> set[str]:
    """Return attributes, also of `self` (they may be inherited), and names imported or looked up.

    Those of an imported module have their full name: `os._exit`.
    """
    found = {name.split(".")[-1] for name in imports(file)}
    for node in nodes(file):
        if isinstance(node, ast.Attribute):
            whole = f"{plain_name(node.value)}.{node.attr}"
            found.add(whole if whole in PUBLIC_ALL_THE_SAME else node.attr)
        elif isinstance(node, ast.Call) and plain_name(node.func) in {"getattr", "setattr"}:
            found |= {str(a.value) for a in node.args if isinstance(a, ast.Constant)}
    return {name for name in found if is_private(name.rpartition(".")[2])}


def private_names_made(file: Path) -> set[str]:
    """Return what a file defines: functions, classes, variables, and attributes of `self`."""
    found: set[str] = set()
    for node in nodes(file):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found |= {node.attr} if plain_name(node.value) == "self" else set()
    return found


def test_every_module_belongs_to_a_layer() -> None:
    tops = {layer_of(module_of(file).split(".")[1:]) for file in FILES}
    assert tops - {"", "__main__"} == {*LAYERS, WEB} | ANYWHERE


@pytest.mark.parametrize("layer", LAYERS[1:])
def test_imports_go_inwards(layer: str) -> None:
    allowed = {*LAYERS[: LAYERS.index(layer) + 1], *ANYWHERE, "__version__"}
    for file in files_in(layer):
        may = allowed | {WEB} if name_of(file) == "node/commands/web.py" else allowed
        outer = {layer_of(parts) for parts in own_imports(file)} - may
        assert not outer, f"{name_of(file)} imports {outer}"


def test_the_page_knows_of_a_node_only_what_it_publishes() -> None:
    allowed = {WEB, "core", *ANYWHERE, "__version__"}
    files = files_in(WEB)
    assert files
    for file in files:
        for parts in own_imports(file):
            adapter = parts[0] == "adapters" and parts[1] in WEB_ADAPTERS
            assert adapter or parts[0] in allowed, f"{name_of(file)} imports {'.'.join(parts)}"


def test_the_core_imports_only_itself_and_the_errors() -> None:
    for file in files_in("core"):
        outer = {layer_of(parts) for parts in own_imports(file)} - {"core", "errors"}
        assert not outer, f"{name_of(file)} imports {outer}"


def test_the_core_is_pure() -> None:
    for file in files_in("core"):
        impure = {name.split(".")[0] for name in imports(file)} & IMPURE
        assert not impure, f"{name_of(file)} imports {impure}: the core does nothing to the world"


def test_the_core_does_not_look_at_the_clock() -> None:
    for file in files_in("core"):
        for call in nodes(file):
            asks = isinstance(call, ast.Attribute) and call.attr in {"now", "utcnow", "today"}
            assert not asks, f"{name_of(file)}: time comes in as an argument"


def test_configuration_and_errors_depend_on_nothing_outer() -> None:
    for file in files_in("config"):
        outer = {layer_of(parts) for parts in own_imports(file)} - {"config", "core", "errors"}
        assert not outer, f"{name_of(file)} imports {outer}"
    assert own_imports(ROOT / "node/errors.py") == []


def test_adapters_do_not_know_each_other() -> None:
    for file in files_in("adapters"):
        own = module_of(file).split(".")[1:]
        for parts in own_imports(file):
            assert parts[0] != "adapters" or parts[1] == own[1], (
                f"{name_of(file)} imports {'.'.join(parts)}"
            )


def test_the_capture_process_imports_next_to_nothing_of_the_package() -> None:
    """One runs for every mic: what it imports costs memory each time."""
    imported = own_imports(ROOT / "node/adapters/capture_child.py")
    shared = {"core/capture_records", "core/input_names"}
    assert {"/".join(parts[:2]) for parts in imported} == shared
    for module in {"__init__", "core/__init__", *shared}:
        assert own_imports(ROOT / f"node/{module}.py") == []


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_no_private_part_of_another_module_is_touched(file: Path) -> None:
    foreign = private_names_used(file) - private_names_made(file) - PUBLIC_ALL_THE_SAME
    assert not foreign, f"{name_of(file)} touches {foreign}"


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_a_file_has_one_meaning(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= MAX_FILE_LINES


def test_what_is_ignored_has_its_reason() -> None:
    """`# noqa: CODE` and `# type: ignore[code]` are followed by why."""
    ignored = re.compile(r"# (?:noqa: [A-Z]+\d+(?:, [A-Z]+\d+)*|type: ignore\[[\w, -]+\])(.*)$")
    found = {
        f"{name_of(file)}: {line.strip()}": match[1].strip("# -")
        for file in FILES
        for line in file.read_text(encoding="utf-8").splitlines()
        if (match := ignored.search(line))
    }
    assert len(found) > 50
    assert [place for place, reason in found.items() if not reason] == []


def test_functions_are_short() -> None:
    lengths = [entry for file in FILES for entry in functions(file)]
    assert [name for name, length in lengths if length > MAX_FUNCTION_LINES] == []


SHARES = """
import sys
from pathlib import Path
from node.adapters.systemd import Notifier
from node.app import Node
from node.config import Config
folder, where = Path(sys.argv[1]), sys.argv[2]
sections = {"storage": {"path": str(folder)}, "transcription": {"where": where}}
Node(Config.model_validate(sections), folder / "node.yaml", Notifier())
print("node.core.work.messages" in sys.modules)
"""


@pytest.mark.parametrize(("where", "loads"), [("here", "False"), ("broker", "True")])
def test_a_node_that_sends_nothing_away_does_not_load_what_would(
    tmp_path: Path, where: str, loads: str
) -> None:
    command = [sys.executable, "-c", SHARES, str(tmp_path), where]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=True)
    assert done.stdout.strip() == loads
