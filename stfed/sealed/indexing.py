"""Basic indexing as numpy defines it, turned into the range of bytes that holds what is picked.

Integers, slices and one `...`; everything else is left to who has the whole tensor.
"""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

from stfed.sealed.errors import TensorError
from stfed.sealed.tensors import TensorInfo


class TensorIndexError(TensorError, IndexError):
    """An index is out of bounds, or there are more of them than dimensions. Iterating over a slice of a file ends with it."""


class Picked(NamedTuple):
    """Where something picked lies: bytes `begin` to `end` of the tensor's data are rows of `shape`, `rest` (if any) picks among them."""

    begin: int
    end: int
    shape: tuple[int, ...]
    rest: tuple[Any, ...]


def everything(info: TensorInfo) -> Picked:
    """The whole tensor."""
    return Picked(0, info.end - info.begin, info.shape, ())


def picked(index: Any, info: TensorInfo) -> Picked | None:
    """What `index` picks from a tensor; None if it is no basic index.

    Raises:
        TensorIndexError: if it is out of bounds.
    """
    picks = _complete(index, info.shape)
    if picks is None:
        return None
    if all(isinstance(pick, range) and pick == range(length) for pick, length in zip(picks, info.shape, strict=True)):
        return everything(info)
    return _rows(picks, info)


def _complete(index: Any, shape: tuple[int, ...]) -> list[int | range] | None:
    """One pick a dimension, counted from the front."""
    if isinstance(index, list) and not index:  # it picks no row
        index = slice(0, 0)
    given = list(index) if isinstance(index, tuple) else [index]
    if not all(pick is Ellipsis or isinstance(pick, slice) or _is_integer(pick) for pick in given):
        return None
    dots = [place for place, pick in enumerate(given) if pick is Ellipsis]
    if len(dots) > 1:  # torch allows it
        return None
    at, missing = dots[0] if dots else len(given), len(shape) - (len(given) - len(dots))
    if missing < 0:
        raise TensorIndexError(f"{_error(given, shape)}more slicing indexes than dimensions in tensor")
    full = [*given[:at], *[slice(None)] * missing, *given[at + len(dots) :]]
    return [_pick(pick, dimension, given, shape) for dimension, pick in enumerate(full)]


def _pick(pick: Any, dimension: int, given: list[Any], shape: tuple[int, ...]) -> int | range:
    length = shape[dimension]
    if isinstance(pick, slice):
        return range(*pick.indices(length))
    place = operator.index(pick)
    if place >= length:
        raise TensorIndexError(f"{_error(given, shape)}index {place} out of bounds for tensor dimension #{dimension} of size {length}")
    if place < -length:
        raise TensorIndexError(f"Invalid index {place} for dimension {dimension} of size {length}")
    return place % length


def _is_integer(pick: Any) -> bool:
    """Arrays of one element have an `__index__` too, but stand for something else."""
    return not isinstance(pick, bool) and hasattr(pick, "__index__") and not getattr(pick, "shape", ()) and _has_index(pick)


def _has_index(pick: Any) -> bool:
    try:
        operator.index(pick)
    except TypeError:  # a torch tensor of floats or booleans
        return False
    return True


def _error(given: list[Any], shape: tuple[int, ...]) -> str:
    def text(pick: Any) -> str:
        if not isinstance(pick, slice):
            return "..." if pick is Ellipsis else str(operator.index(pick))
        return ":".join(
            "" if bound is None else str(bound) for bound in (pick.start, pick.stop, pick.step)[: 2 if pick.step is None else 3]
        )

    return f"Error during slicing [{', '.join(map(text, given))}] with shape {list(shape)}: "


def _rows(picks: list[int | range], info: TensorInfo) -> Picked:
    """Leading integers fix one row each; the first slice gives a range of rows; everything after it lies inside those."""
    step_bytes, begin = info.end - info.begin, 0
    for dimension, pick in enumerate(picks):
        length = info.shape[dimension]
        step_bytes = step_bytes // length if length else 0
        if isinstance(pick, int):
            begin += pick * step_bytes
            continue
        low, high = (min(pick[0], pick[-1]), max(pick[0], pick[-1]) + 1) if pick else (0, 0)
        rest = tuple(_again(other) for other in picks[dimension + 1 :])
        left = slice(None, None, pick.step) if pick else slice(0, 0)
        return Picked(begin + low * step_bytes, begin + high * step_bytes, (high - low, *info.shape[dimension + 1 :]), (left, *rest))
    return Picked(begin, begin + step_bytes, (), ())


def _again(pick: int | range) -> int | slice:
    """A pick as an index. A range that runs down to the first element has no end that a slice could name."""
    if isinstance(pick, int):
        return pick
    return slice(pick.start, None if pick.stop < 0 else pick.stop, pick.step) if pick else slice(0, 0)
