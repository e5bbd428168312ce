"""What a function or a class consists of, as far as its users see it, with the annotations as they are written.

Of a class: its constructor, what it and its bases in stfed define without an underscore, the operators among them, and the attributes that
are declared in its body or set on `self`. What Python or `dataclass` makes is no part, nor is what Flower's or NumPy's classes bring.
"""

from __future__ import annotations

import ast
import enum
import importlib
import inspect
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tests.public.modules import is_ours, tree_of

_UNTOLD = {
    "__init__",
    "__new__",
    "__post_init__",
    "__init_subclass__",
    "__getattr__",
    "__repr__",
    "__reduce__",
    "__setattr__",
    "__delattr__",
}
"""Constructors are told as what they are called with; the others say nothing about how an object is used."""


@dataclass(frozen=True)
class Part:
    """One thing that users see.

    Attributes:
        name: what it is called, after a dot where it is a member; empty for a function and a constructor.
        home: the module in whose names the annotations are written.
        signature: of what can be called; None for an attribute.
        annotation: of an attribute, as it is written; None if there is none.
        note: what else is to be said of it: `[property]`, `[classmethod]`, `= value`, `constructor`.
    """

    name: str
    home: str
    signature: inspect.Signature | None = None
    annotation: object = None
    note: str = ""


def of_function(function: Callable[..., Any]) -> Part:
    """A function as it is called."""
    return Part("", function.__module__, inspect.signature(function))


def of_class(cls: type, elsewhere: Container[type] = ()) -> Iterator[Part]:
    """The parts of a class, the constructor first; without those of bases that are told elsewhere."""
    told = set[str]()
    bases = [base for base in cls.__mro__ if is_ours(base) and (base is cls or base not in elsewhere)]
    maker = next((base for base in bases if "__init__" in vars(base)), None)
    if maker is not None and not issubclass(cls, enum.Enum) and not getattr(cls, "_is_protocol", False):
        yield Part("", maker.__module__, inspect.signature(maker.__init__), None, "constructor")
    for base in bases:
        for part in _defined(base):
            if part.name not in told:
                told.add(part.name)
                yield part


def _defined(cls: type) -> Iterator[Part]:
    home = cls.__module__
    for name, value in vars(cls).items():
        if name.startswith("_") and not (name.startswith("__") and name not in _UNTOLD):
            continue
        how = {staticmethod: "[static]", classmethod: "[classmethod]"}.get(type(value), "")
        value = getattr(value, "__func__", value)
        if isinstance(value, property | cached_property):
            getter = value.fget if isinstance(value, property) else value.func
            yield Part(f".{name}", home, None, inspect.signature(getter).return_annotation, "[property]")
        elif inspect.isfunction(value) and is_ours(value) and not value.__code__.co_filename.startswith("<"):
            yield Part(f".{name}", value.__module__, inspect.signature(value), None, how)
        elif isinstance(value, enum.Enum):
            yield Part(f".{name}", home, None, type(value).__name__, f"= {value.value!r}")
    if not issubclass(cls, enum.Enum):
        for name, annotation in attributes_of(cls).items():
            yield Part(f".{name}", home, None, annotation)


def attributes_of(cls: type) -> dict[str, str | None]:
    """Its public attributes and how they are annotated, in the body or where `self` gets them; None if nowhere."""
    source = _source(cls)
    found: dict[str, str | None] = {}
    for function in [source, *(node for node in source.body if isinstance(node, ast.FunctionDef))]:
        given = {one.arg: one.annotation for one in _arguments(function)}
        for node in function.body if function is source else ast.walk(function):
            if not isinstance(node, ast.AnnAssign | ast.Assign):
                continue
            annotation = node.annotation if isinstance(node, ast.AnnAssign) else None
            if isinstance(node.value, ast.Name):  # self.name = name, an argument, whose annotation is as good
                annotation = annotation or given.get(node.value.id)
            for target in [node.target] if isinstance(node, ast.AnnAssign) else node.targets:
                for leaf in ast.walk(target):
                    name = leaf.id if function is source and isinstance(leaf, ast.Name) else _of_self(leaf)
                    if name is not None and not name.startswith("_"):
                        found[name] = found.get(name) or (ast.unparse(annotation) if annotation is not None else None)
    methods = {name for base in cls.__mro__ for name, value in vars(base).items() if callable(value) or isinstance(value, property)}
    return {name: annotation for name, annotation in found.items() if annotation is not None or name not in methods}


def _of_self(target: ast.AST) -> str | None:
    stored = isinstance(target, ast.Attribute) and isinstance(target.ctx, ast.Store)
    return target.attr if stored and isinstance(target.value, ast.Name) and target.value.id == "self" else None


def _arguments(function: ast.ClassDef | ast.FunctionDef) -> list[ast.arg]:
    if isinstance(function, ast.ClassDef):
        return []
    return [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]


def _source(cls: type) -> ast.ClassDef:
    module = importlib.import_module(cls.__module__)
    node: ast.AST = tree_of(module)
    for name in cls.__qualname__.split("."):
        node = next(child for child in ast.walk(node) if isinstance(child, ast.ClassDef) and child.name == name)
    assert isinstance(node, ast.ClassDef)
    return node
