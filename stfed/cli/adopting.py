"""Making an ordinary Flower app a secure one: which lines of it change, found in its syntax tree, changed in its text.

Everything else stays as it is, comments and layout too. What is not understood is said, with what to write by hand; nothing is guessed.
"""

from __future__ import annotations

import ast
import difflib
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stfed.errors import LocalError

_MOD, _STRATEGY = "secagg_mod", "SecureAggregation"
_FOLDER = "name the folder of a Flower app, as `flwr new` makes it"
_BY_HAND = {
    _MOD: "from stfed.flower import secagg_mod, and ClientApp(mods=[secagg_mod]) around your train function",
    _STRATEGY: "from stfed.flower import SecureAggregation, and SecureAggregation(FedAvg(...)) around your strategy, whose start you call",
}


@dataclass(frozen=True, slots=True)
class Change:
    """One file, before and after."""

    path: Path
    before: str
    after: str

    def diff(self, root: Path) -> str:
        """As `diff -u` has it, with paths under `root`."""
        name = str(self.path.relative_to(root))
        lines = difflib.unified_diff(self.before.splitlines(True), self.after.splitlines(True), f"a/{name}", f"b/{name}")
        return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def changes(app: Path) -> list[Change]:
    """What makes the app in a folder a secure one; empty if it is one.

    Raises:
        LocalError: it is no Flower app, or one whose code has another form than the ones that are known here.
    """
    project = app / "pyproject.toml"
    text = _read(project)
    try:
        table = tomllib.loads(text)
        components = table["tool"]["flwr"]["app"]["components"]
        server, client = components["serverapp"], components["clientapp"]
    except (tomllib.TOMLDecodeError, KeyError, TypeError):
        raise LocalError(f"{project} names no serverapp and clientapp", hint=_FOLDER) from None
    edited = [_edit(_module(app, client), _client), _edit(_module(app, server), _server), _project(project, text, table)]
    return [change for change in edited if change.before != change.after]


def _read(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return file.read()
    except FileNotFoundError:
        raise LocalError(f"there is no {path}", hint=_FOLDER) from None


def _module(app: Path, reference: Any) -> Path:
    """The file of MODULE:ATTRIBUTE."""
    name = str(reference).partition(":")[0]
    for root in (app, app / "src"):
        path = root.joinpath(*name.split("."))
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.is_file():
                return file
    raise LocalError(f"{app / 'pyproject.toml'} names {reference}, and there is no such file under {app}")


@dataclass(frozen=True, slots=True)
class _Insertion:
    """Text to put at a place; the place is a character of the file."""

    at: int
    text: str


def _edit(path: Path, edit: Any) -> Change:
    before = _read(path)
    try:
        tree = ast.parse(before)
    except SyntaxError as error:
        raise LocalError(f"{path}, line {error.lineno}: no Python that this version understands: {error.msg}") from None
    lines = [0]
    for line in before.splitlines(True):
        lines.append(lines[-1] + len(line))

    def place(line: int, column_bytes: int) -> int:
        start = lines[line - 1]
        return start + len(before[start : lines[line]].encode()[:column_bytes].decode())

    after = before
    for insertion in sorted(edit(path, tree, before, place), key=lambda one: one.at, reverse=True):
        after = after[: insertion.at] + insertion.text + after[insertion.at :]
    ast.parse(after)
    return Change(path, before, after)


def _called(node: ast.AST) -> str | None:
    """The name of what is called: `ClientApp` of `ClientApp(...)` and of `flwr.clientapp.ClientApp(...)`."""
    if not isinstance(node, ast.Call):
        return None
    return node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id if isinstance(node.func, ast.Name) else None


def _uses(tree: ast.AST, name: str) -> bool:
    return any(isinstance(node, ast.Name) and node.id == name for node in ast.walk(tree))


def _client(path: Path, tree: ast.Module, text: str, place: Any) -> Iterator[_Insertion]:
    """`mods=[secagg_mod]`, in front of the mods that are there: what leaves the party is masked last."""
    if _uses(tree, _MOD):
        return
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _called(node) == "ClientApp"]
    if len(calls) != 1 or calls[0].args:
        raise _unknown(path, f"{len(calls)} calls of ClientApp" if len(calls) != 1 else "a ClientApp with a client_fn", _MOD)
    (call,) = calls
    mods = next((keyword.value for keyword in call.keywords if keyword.arg == "mods"), None)
    if mods is None:
        end = place(call.end_lineno, call.end_col_offset) - 1
        inside = text[place(call.func.end_lineno, call.func.end_col_offset) + 1 : end]
        comma = "" if not inside.strip() or inside.rstrip().endswith(",") else ", "
        yield _Insertion(end, f"{comma}mods=[{_MOD}]")
    elif isinstance(mods, ast.List):
        start = place(mods.lineno, mods.col_offset) + 1
        yield _Insertion(start, f"{_MOD}, " if mods.elts else _MOD)
    else:
        raise _unknown(path, "mods= is not a list", _MOD)
    yield _import(tree, text, place, _MOD)


def _server(path: Path, tree: ast.Module, text: str, place: Any) -> Iterator[_Insertion]:
    """`SecureAggregation(...)` around the strategy whose `start` is called."""
    if _uses(tree, _STRATEGY):
        return
    starts = [
        node.func.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "start"
        and (node.args or node.keywords)
    ]
    found: list[ast.expr] = []
    for value in starts:
        if isinstance(value, ast.Call):
            found.append(value)
        elif isinstance(value, ast.Name):
            found += [
                node.value
                for node in ast.walk(tree)
                if isinstance(node, ast.Assign | ast.AnnAssign)
                and isinstance(node.value, ast.Call)
                and any(isinstance(target, ast.Name) and target.id == value.id for target in _targets(node))
            ]
    if len(found) != 1:
        raise _unknown(path, f"{len(found)} strategies whose start is called", _STRATEGY)
    (call,) = found
    yield _Insertion(place(call.lineno, call.col_offset), f"{_STRATEGY}(")
    yield _Insertion(place(call.end_lineno, call.end_col_offset), ")")
    yield _import(tree, text, place, _STRATEGY)


def _targets(node: ast.Assign | ast.AnnAssign) -> list[ast.expr]:
    return node.targets if isinstance(node, ast.Assign) else [node.target]


def _import(tree: ast.Module, text: str, place: Any, name: str) -> _Insertion:
    """Below the last import at the top of the module: before the first line that is something else."""
    last: ast.stmt | None = None
    for statement in tree.body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            last = statement
        elif not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)):
            break
    line = f"from stfed.flower import {name}"
    newline = "\r\n" if "\r\n" in text else "\n"
    if last is None:
        raise LocalError("a module of a Flower app without an import at its top", hint=_BY_HAND[name])
    return _Insertion(place(last.end_lineno, last.end_col_offset), f"{newline}{line}")


def _unknown(path: Path, what: str, name: str) -> LocalError:
    return LocalError(f"{path}: {what}, which is left to you", hint=_BY_HAND[name])


def _project(path: Path, text: str, table: dict[str, Any]) -> Change:
    """`stfed` among the dependencies."""
    needed = table.get("project", {}).get("dependencies")
    if not isinstance(needed, list):
        raise LocalError(f"{path} has no [project] dependencies", hint='write "stfed" where this app says what it needs')
    if any(re.match(r"stfed\b", str(one)) for one in needed):
        return Change(path, text, text)
    match = re.search(r"^dependencies\s*=\s*\[", text, re.MULTILINE)
    if match is None:
        raise LocalError(f"{path}: where its dependencies are is left to you", hint='write "stfed" among them')
    rest = text[match.end() :]
    indent = re.match(r"(\s*\n)([ \t]+)", rest)
    own = f'{indent[1]}{indent[2]}"stfed",' if indent else '"stfed", ' if needed else '"stfed"'
    after = text[: match.end()] + own + rest
    assert "stfed" in tomllib.loads(after)["project"]["dependencies"]
    return Change(path, text, after)
