"""The public surface is what tests/public/api.txt says, and its types are complete: nobody meets an Any by accident."""

from __future__ import annotations

import ast
import difflib
import inspect
from fnmatch import fnmatchcase
from pathlib import Path

from tests.public import hints, surface
from tests.public.modules import shown

ROOT = Path(__file__).parents[1]

ANY = {
    "stfed.SafeTensorLibrary.*": "takes and gives what it is asked to encrypt: NumPy's and torch's arrays, lists, numbers",
    "stfed.flower.*(fields)": "the fields of Settings by name, checked when they come in",
    "stfed.flower.settings.Settings.given(fields)": "the same, on their way",
    "stfed.flower.ckks.CkksSum.over*": "passes on what SecureGrid takes",
    "stfed.flower.analytics.Analytics.ask ->": "results of other types for every question; the single questions have methods with types",
    "stfed.flower.analytics.answer(source)": "columns of NumPy, pandas or plain lists",
    "*.as_dict ->": "JSON",
    "*.to_dict ->": "JSON",
    "*.to_json ->": "JSON",
    "*.from_json(value)": "JSON",
    "stfed.keys.Roster.tables ->": "TOML",
    "stfed.dp.Accountant.restore(state)": "JSON",
    "stfed.dp.DpRelease.parse(facts)": "an event of the log, read from JSON",
    "stfed.report.*": "events of the log, read from JSON; their types are in stfed.report.schema",
    "stfed.sealed.SealedInfo*policy*": "JSON, as the file says it",
    "stfed.sealed.safe_open.*": "tensors of the framework that was named",
    "stfed.sealed.shards.*": "tensors of the framework that was named",
    "stfed.sealed.streaming.*": "tensors of NumPy or torch",
    "stfed.encrypted.EncryptedTensor*": "ciphertexts of SEAL, which has no types; operands that NumPy makes an array of",
    "stfed.encrypted.EvaluationContext.*": "keys and ciphertexts of SEAL, which has no types",
    "stfed.encrypted.SecretContext.*": "ciphertexts of SEAL, which has no types",
    "stfed.encrypted.chebyshev(function)": "a function of NumPy, or one that makes an array of an array",
    "stfed.encrypted.encrypt(array)": "what NumPy makes an array of",
}
"""Where a public annotation may hold Any, and why. Arrays of any element type (NDArray[Any]) need no place here."""


def test_nothing_public_came_went_or_changed_unnoticed() -> None:
    pinned, now = surface.PINNED.read_text().splitlines(), surface.text().splitlines()
    changes = [line for line in difflib.unified_diff(pinned, now, n=0, lineterm="") if line[:3] not in ("---", "+++") and line[:2] != "@@"]
    assert not changes, "\n".join(["the public surface is another; `python -m tests.public --write` accepts it:", *changes])


def test_no_public_name_is_hidden_by_a_module_of_the_same_name() -> None:
    """What a package loads when it is asked for is not asked for once a module of that name has been imported."""
    assert not [where for where, value, _ in surface.told() if inspect.ismodule(value)]


def test_every_public_type_is_complete() -> None:
    wrong, count = [], 0
    for where, found in surface.reached():
        for part in found:
            for what, annotation in surface.annotations_of(part):
                count += 1
                trouble = hints.trouble(annotation, part.home)
                wrong += [f"{where}{what} {trouble}"] if trouble else []
    assert not wrong, "\n".join(wrong)
    assert count > 2000


def test_any_is_where_it_is_meant() -> None:
    wide = set[str]()
    for where, _, found in surface.told():
        for part in found:
            wide |= {where + what for what, annotation in surface.annotations_of(part) if hints.has_any(annotation, part.home)}
    meant = {name: [pattern for pattern in ANY if fnmatchcase(name, pattern)] for name in wide}
    assert not sorted(name for name, patterns in meant.items() if not patterns)
    assert set(ANY) == {pattern for patterns in meant.values() for pattern in patterns}, "a pattern that nothing needs"


def test_every_public_attribute_is_annotated_where_it_is_set() -> None:
    """In all of stfed: type checkers infer an attribute's type each in its own way, so what users see of it is written down."""
    wrong, count = [], 0
    for path in sorted((ROOT / "stfed").rglob("*.py")):
        for cls in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ClassDef) and node.name[0] != "_"):
            known, loose = attributes(cls)
            count += len(known)
            wrong += [f"{path.relative_to(ROOT)}:{line}: {cls.name}.{name}" for name, line in loose.items() if name not in known]
    assert not wrong, "\n".join(["write `self.name: Type = ...`:", *wrong])
    assert count > 1000


def attributes(cls: ast.ClassDef) -> tuple[set[str], dict[str, int]]:
    """The public attributes whose type is said, and the others with the line that sets them."""
    known, loose = set[str](), dict[str, int]()
    for node in cls.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            known.add(node.target.id)
    for function in (node for node in cls.body if isinstance(node, ast.FunctionDef)):
        known |= {function.name} if function.decorator_list else set()  # a property with a setter
        arguments = {one.arg for one in [*function.args.args, *function.args.kwonlyargs] if one.annotation is not None}
        for node in ast.walk(function):
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Attribute):
                known.add(node.target.attr)
            elif isinstance(node, ast.Assign):
                said = isinstance(node.value, ast.Constant) or (isinstance(node.value, ast.Name) and node.value.id in arguments)
                for target in node.targets:
                    names = [leaf.attr for leaf in ast.walk(target) if is_of_self(leaf)]
                    if isinstance(target, ast.Attribute) and said:
                        known |= set(names)
                    loose |= {name: node.lineno for name in names if not name.startswith("_")}
    return known, loose


def is_of_self(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self"


def test_what_the_book_shows_is_public() -> None:
    told = surface.told()
    names = {where for where, _, _ in told} | {where.rpartition(".")[0] for where, _, _ in told}
    homes = {f"{value.__module__}.{value.__qualname__}" for _, value, _ in told if inspect.isclass(value) or inspect.isfunction(value)}
    assert len(shown()) > 10
    assert set(shown()) <= names | homes
