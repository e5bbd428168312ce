"""The public surface as text, one name a line, sorted, so that a difference reads like a change log.

What is public in two modules is told where it is first, and named in the other; what a class has from a base that is public is told there.
Classes that no public module names but that an annotation of a public name speaks of are no part of the text. Their types have to be
complete all the same, for a type checker follows them.
"""

from __future__ import annotations

import enum
import inspect
from collections.abc import Container, Iterator
from functools import cache
from pathlib import Path

from tests.public import hints, parts
from tests.public.modules import is_ours, public
from tests.public.parts import Part

PINNED = Path(__file__).parent / "api.txt"
HEAD = (
    "# The public names of stfed with their signatures. `python -m tests.public --write` writes it, tests/test_public_names.py compares.\n"
)


@cache
def told() -> list[tuple[str, object, list[Part]]]:
    """Every public name, what it stands for and its parts. A second name for the same has none."""
    everything = public()
    classes = {value for _, _, value in everything if inspect.isclass(value)}
    seen, found = set[int](), list[tuple[str, object, list[Part]]]()
    for module, name, value in everything:
        again = callable(value) and id(value) in seen
        seen.add(id(value))
        found.append((f"{module}.{name}", value, [] if again else parts_of(value, classes)))
    return found


def reached() -> Iterator[tuple[str, list[Part]]]:
    """Every public name with its parts, and then every class of ours that their annotations speak of, and that those of these speak of."""
    seen, waiting = set[type](), list[type]()
    for where, value, found in told():
        seen |= {value} if inspect.isclass(value) else set()
        waiting += _spoken_of(found)
        yield where, found
    while waiting:
        cls = waiting.pop()
        if cls not in seen:
            seen.add(cls)
            found = parts_of(cls, seen)
            waiting += [*cls.__bases__, *_spoken_of(found)]
            yield f"{cls.__module__}.{cls.__qualname__}", found


def parts_of(value: object, elsewhere: Container[type]) -> list[Part]:
    """What is told about a value: of a class and a function all, of anything else only that it is there."""
    if inspect.isclass(value) and is_ours(value):
        return list(parts.of_class(value, elsewhere))
    return [parts.of_function(value)] if inspect.isfunction(value) else []


def annotations_of(part: Part) -> Iterator[tuple[str, object]]:
    """The annotations of a part, each with what it is of."""
    if part.signature is None:
        yield part.name, part.annotation
        return
    for name, parameter in part.signature.parameters.items():
        if name not in ("self", "cls"):
            yield f"{part.name}({name})", parameter.annotation
    if part.note != "constructor":
        yield f"{part.name} ->", part.signature.return_annotation


def _spoken_of(found: list[Part]) -> Iterator[type]:
    for part in found:
        for _, annotation in annotations_of(part):
            if hints.trouble(annotation, part.home) is None:
                inner = hints.within(hints.evaluated(annotation, part.home))
                yield from (hint for hint in inner if inspect.isclass(hint) and is_ours(hint))


def text() -> str:
    """The whole surface, as it is pinned."""
    first: dict[int, str] = {}
    lines = list[str]()
    for where, value, found in told():
        same = first.setdefault(id(value), where) if callable(value) else where
        if same != where:
            lines.append(f"{where}  is {same}")
        elif not inspect.isfunction(value):
            lines.append(f"{where}  class {_bases(value)}" if inspect.isclass(value) else f"{where}  {type(value).__name__}")
        lines += [f"{where}{_line(part)}" for part in found]
    return HEAD + "".join(f"{line.rstrip()}\n" for line in sorted(lines))


def _bases(cls: type) -> str:
    return ", ".join(base.__name__ for base in cls.__bases__ if base is not object)


def _line(part: Part) -> str:
    if part.signature is None:
        return f"{part.name}: {part.annotation} {part.note}"
    if part.note == "constructor":
        return f"{part.name}({', '.join(_parameters(part.signature))})"
    return f"{part.name}({', '.join(_parameters(part.signature))}) -> {_annotation(part.signature.return_annotation)} {part.note}"


def _parameters(signature: inspect.Signature) -> Iterator[str]:
    """As they are written: Python versions print signatures in different ways."""
    starred = slashed = False
    for name, parameter in signature.parameters.items():
        own = name.startswith("_") and parameter.default is not parameter.empty  # a dataclass's private field
        if name in ("self", "cls") or own:
            continue
        if slashed and parameter.kind is not parameter.POSITIONAL_ONLY:
            slashed = False
            yield "/"
        slashed = parameter.kind is parameter.POSITIONAL_ONLY
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            starred = True
            yield "*"
        starred = starred or parameter.kind is parameter.VAR_POSITIONAL
        stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        annotation = "" if parameter.annotation is parameter.empty else f": {_annotation(parameter.annotation)}"
        default = "" if parameter.default is parameter.empty else f" = {_default(parameter.default)}"
        yield f"{stars}{name}{annotation}{default}"
    if slashed:
        yield "/"


def _annotation(annotation: object) -> str:
    if annotation is inspect.Signature.empty:
        return "?"
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", None) or str(annotation)


def _default(value: object) -> str:
    if isinstance(value, enum.Enum):
        return f"{type(value).__name__}.{value.name}"
    plain = value is None or isinstance(value, bool | int | float | str | bytes | tuple)
    return repr(value) if plain else f"<{type(value).__name__}>"
