"""A defence taken out, and nothing else: one `raise` deleted from the source of one function, or one function replaced.

`Check("stfed.secagg.client.prepared:Prepared.train", "NotAMemberError")` recompiles that method without the statement that raises this
error; what surrounds it, the condition included, stays. If the statement is not there exactly once, the attack's test fails: it has lost
its defence.
"""

from __future__ import annotations
import __future__

import ast
import functools
import importlib
import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

_KEPT_DECORATORS = {"classmethod", "staticmethod", "property"}


def resolve(target: str) -> tuple[Any, str, Any]:
    """Owner, name and raw value of `module:qualified.name`."""
    module, _, path = target.partition(":")
    owner: Any = importlib.import_module(module)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    return owner, name, inspect.getattr_static(owner, name)


def place(target: str) -> str:
    """The file in which the target is written, and its name there, for people."""
    _, _, raw = resolve(target)
    function = _function(raw)
    module = target.partition(":")[0] if function is None else function.__module__
    path = target.partition(":")[2] if function is None else function.__qualname__
    return f"`{module.replace('.', '/')}.py` {path}"


def _function(raw: Any) -> Any:
    """The plain function under decorators; None if there is none."""
    while raw is not None and not inspect.isfunction(raw):
        raw = getattr(raw, "__wrapped__", None) or getattr(raw, "__func__", None) or getattr(raw, "fget", None)
    return raw


class _Delete(ast.NodeTransformer):
    """Puts `pass` in the place of matching `raise` statements."""

    def __init__(self, error: str, says: str) -> None:
        self.error, self.says, self.found = error, says, 0

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        raised = node.exc
        named = isinstance(raised, ast.Call) and ast.unparse(raised.func).rpartition(".")[2] == self.error
        if not named or self.says not in ast.unparse(node):
            return node
        self.found += 1
        return ast.copy_location(ast.Pass(), node)


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        target: "module:qualified.name" of the function it is in.
        error: the name of what it raises.
        says: part of the statement's text, where one function raises the same error twice.
    """

    target: str
    error: str
    says: str = ""

    def __str__(self) -> str:
        return place(self.target)

    @contextmanager
    def removed(self) -> Iterator[None]:
        """The block runs without it."""
        owner, name, raw = resolve(self.target)
        with _set(owner, name, raw, self._without(_function(raw))):
            yield

    def _without(self, function: Callable[..., Any]) -> Any:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
        definition = tree.body[0]
        assert isinstance(definition, ast.FunctionDef)
        definition.decorator_list = [node for node in definition.decorator_list if ast.unparse(node) in _KEPT_DECORATORS]
        deleting = _Delete(self.error, self.says)
        deleting.visit(tree)
        assert deleting.found == 1, f"{self.target} raises {self.error} {self.says!r} {deleting.found} times"
        code = compile(ast.fix_missing_locations(tree), self.target, "exec", __future__.annotations.compiler_flag, dont_inherit=True)
        made: dict[str, Any] = {}
        exec(code, inspect.unwrap(function).__globals__, made)
        return made[definition.name]


@dataclass(frozen=True)
class Instead:
    """A function replaced, where the defence is no check but what something is bound to.

    Attributes:
        target: "module:qualified.name".
        value: what stands there instead; given the real one first if `wraps`.
        what: the defence in words.
    """

    target: str
    value: Any
    what: str
    wraps: bool = False

    def __str__(self) -> str:
        return f"{place(self.target)} ({self.what})"

    @contextmanager
    def removed(self) -> Iterator[None]:
        """The block runs without it."""
        owner, name, raw = resolve(self.target)
        value = functools.partialmethod(_wrapped, self.value, raw) if self.wraps and inspect.isclass(owner) else self.value
        if self.wraps and not inspect.isclass(owner):
            value = functools.partial(self.value, raw)
        with _set(owner, name, raw, value):
            yield


def _wrapped(self: Any, instead: Callable[..., Any], real: Any, *args: Any, **kwargs: Any) -> Any:
    return instead(functools.partial(real, self), self, *args, **kwargs)


@contextmanager
def _set(owner: Any, name: str, before: Any, value: Any) -> Iterator[None]:
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
