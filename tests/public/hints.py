"""What an annotation is, once it is evaluated, and what is wrong with it: missing, unknown, without parameters, or wider than it has to be.

`typing.get_type_hints` would do, but for names that a module imports for type checkers only; these are imported here.
"""

from __future__ import annotations

import ast
import collections.abc
import importlib
import inspect
import typing
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

from tests.public.modules import is_ours, tree_of


@cache
def names_in(home: str) -> dict[str, Any]:
    """The names of a module as a type checker sees them."""
    module = importlib.import_module(home)
    known = dict(vars(module))
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            exec(compile(ast.Module(node.body, []), home, "exec"), known)
    return known


@cache
def evaluated(annotation: object, home: str) -> Any:
    """What an annotation stands for; raises what Python raises if it stands for nothing."""
    return evaluated(eval(annotation, names_in(home)), home) if isinstance(annotation, str) else annotation


def within(hint: Any) -> Iterator[Any]:
    """A hint and all that it is made of. Of an array neither the shape nor the element type is told apart: NDArray[Any] is any array."""
    yield hint
    if typing.get_origin(hint) is np.ndarray:
        return
    for argument in typing.get_args(hint):
        for inner in argument if isinstance(argument, list) else [argument]:
            if typing.get_origin(hint) is not typing.Literal:
                yield from within(inner)


def is_bare(hint: Any) -> bool:
    """Whether it is a generic type without its parameters, which a type checker reads as Any."""
    if hint in (typing.Callable, collections.abc.Callable, typing.Union, typing.Optional):
        return True
    if not isinstance(hint, type) or typing.get_origin(hint) is not None:
        return False
    if issubclass(hint, np.generic):  # np.float64 can be subscripted and need not be
        return hint in (np.number, np.integer, np.floating, np.inexact)
    if is_ours(hint) or issubclass(hint, typing.Generic):  # type: ignore[arg-type]
        return bool(getattr(hint, "__parameters__", ()))
    return hasattr(hint, "__class_getitem__")


@cache
def trouble(annotation: object, home: str) -> str | None:
    """What is wrong with an annotation, in words; None if nothing is. Any is for the caller to judge (`has_any`)."""
    if annotation is None or annotation is inspect.Parameter.empty:
        return "has no annotation"
    try:
        hint = evaluated(annotation, home)
    except Exception as error:  # whatever evaluating somebody's text raises is the finding
        return f"is annotated `{annotation}`, which cannot be evaluated: {error}"
    bare = [inner for inner in within(hint) if is_bare(inner)]
    if bare:
        return f"is annotated `{annotation}`, where `{getattr(bare[0], '__name__', bare[0])}` lacks its parameters"
    return None


def has_any(annotation: object, home: str) -> bool:
    """Whether Any is a part of it, itself or inside."""
    return any(inner is Any for inner in within(evaluated(annotation, home)))
