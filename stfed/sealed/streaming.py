"""Sealing a model that is larger than memory: names, types and shapes first, as safetensors needs them, then the tensors one by one.

The tensors are written in `SealedWriter.order`, which is that of any sealed file: falling alignment, then name. So each is aligned in the
file, and the content is byte for byte what `save_file` seals. A tensor that is itself larger than memory is written in chunks of rows.
Beside the tensor or chunk at hand 16 segments are held, 1 MiB each by default, and two for each thread that seals them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self, Unpack

from stfed.errors import LocalError, shown
from stfed.files import File, check_target, replacing
from stfed.keys.keyfile import PathLike
from stfed.sealed import anytensor, inner
from stfed.sealed.intake import Intake
from stfed.sealed.manifest import Manifest
from stfed.sealed.options import SealOptions
from stfed.sealed.sealrequest import SealRequest
from stfed.sealed.stream import Progress
from stfed.sealed.tensors import Spec
from stfed.sealed.trail import Trail, trail
from stfed.sealed.writer import Sealing, note_sealed


class SealedWriter:
    """A sealed file in the making. It appears when its `with` block ends well and everything was written, and else not at all.

    Example:
        with SealedWriter("model.safetensors", {"w": ("F32", [10, 4])}, recipients="colleague.pub") as file:
            for name in file.order:
                file.write(name, compute(name))

    Args:
        path: the sealed file.
        specs: what will be written, by name: `(dtype, shape)` with a type of numpy or torch or a safetensors code, or a tensor on the meta
            device.
        metadata: text to save with the tensors; sealed like them.
        progress: hears of every segment.
        options: as `SealOptions` says.

    Attributes:
        order: the names in the order in which to write them.
        manifest: what the file states; known after the block.

    Raises:
        LocalError: as `save_file`, and for a shape that is none.
    """

    order: tuple[str, ...]
    manifest: Manifest

    def __init__(
        self,
        path: PathLike,
        specs: Mapping[str, Any],
        metadata: Mapping[str, str] | None = None,
        *,
        progress: Progress | None = None,
        **options: Unpack[SealOptions],
    ) -> None:
        self._path = check_target(path)
        self._specs = {name: anytensor.spec_of(name, described) for name, described in specs.items()}
        self._header, order = inner.build(self._specs, metadata)
        self.order = tuple(order)
        self._request, self._progress = SealRequest.of(**options), progress
        self._plain_bytes = len(self._header) + sum(spec.size_bytes for spec in self._specs.values())
        self._sealing = Sealing(self._plain_bytes, self._request)
        self._at = 0  # index in the order of the tensor that is due
        self._rows = 0  # how many of its rows are written
        self._intake: Intake | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._log: Trail = stack.enter_context(trail(self._request.audit))
            self._target: File = stack.enter_context(replacing(self._path))
            self._intake = Intake(self._sealing.begin(self._target), self._plain_bytes, self._progress)
            self._intake.take(memoryview(self._header))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._intake = None
        if error is not None:
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:
            missing = self.order[self._at :]
            if missing:
                count = f"{len(missing)} of {len(self.order)} announced tensors are missing, {shown(missing[0])} first"
                raise LocalError(f"{self._path} was not written: {count}")
            self._sealing.finish(self._target)
            self.manifest = self._sealing.manifest
            note_sealed(self._log, self._path, self.manifest, self._request)

    def write(self, name: str, tensor: Any) -> None:
        """Writes the tensor that is due.

        Raises:
            LocalError: if it is another one's turn, or type or shape are not as announced. Nothing was written then; another call may.
        """
        announced = self._due(name)
        if self._rows:
            raise LocalError(f"{self._rows} rows of tensor {shown(name)} are written already: go on with write_chunk")
        spec, data = anytensor.octets(name, tensor)
        if spec != announced:
            raise LocalError(f"tensor {shown(name)} is {_form(spec)}, announced was {_form(announced)}")
        self._take(data)
        self._at += 1

    def write_chunk(self, name: str, chunk: Any) -> None:
        """Writes the next rows (first dimension) of the tensor that is due; its turn ends with the last row.

        Raises:
            LocalError: as `write`; if the tensor has no dimensions, or not so many rows.
        """
        announced = self._due(name)
        spec, data = anytensor.octets(name, chunk)
        if not announced.shape or spec.dtype != announced.dtype or spec.shape[1:] != announced.shape[1:] or not spec.shape:
            raise LocalError(f"a chunk of tensor {shown(name)} is {_form(spec)}, rows of {_form(announced)} are due")
        rows = self._rows + spec.shape[0]
        if rows > announced.shape[0]:
            raise LocalError(f"tensor {shown(name)} has {announced.shape[0]} rows, with this chunk it would have {rows}")
        self._take(data)
        self._rows = rows
        if rows == announced.shape[0]:
            self._at, self._rows = self._at + 1, 0

    def _due(self, name: str) -> Spec:
        """The announced form of `name`, if it is its turn and the file is open."""
        if self._intake is None:
            raise LocalError("the file is not being written: use it in a `with` block")
        if name not in self._specs:
            raise LocalError(f"tensor {shown(name)} was not announced", hint="name all tensors in specs")
        if self._at == len(self.order) or name != self.order[self._at]:
            due = shown(self.order[self._at]) if self._at < len(self.order) else "nothing more"
            raise LocalError(f"tensor {shown(name)} is written out of order: {due} is due", hint="follow SealedWriter.order")
        return self._specs[name]

    def _take(self, data: memoryview) -> None:
        assert self._intake is not None  # _due has looked
        self._intake.take(data)


def save_iter(
    tensors: Iterable[tuple[str, Any]] | Callable[[str], Any],
    path: PathLike,
    specs: Mapping[str, Any],
    metadata: Mapping[str, str] | None = None,
    *,
    progress: Progress | None = None,
    **options: Unpack[SealOptions],
) -> Manifest:
    """Seals tensors that come one by one, of numpy or torch, each forgotten before the next is asked for.

    Args:
        tensors: a function that gives the tensor of a name, such as `safe_open(...).get_tensor`, or names and tensors in the order in
            which they stand in the file (`stream_order`).
        path: the sealed file.
        specs: as in `SealedWriter`.
        metadata: as there.
        progress: as there.
        options: as there.

    Returns:
        What the file states, and its hash.

    Raises:
        LocalError: as `SealedWriter`; nothing appears at `path` then.
    """
    with SealedWriter(path, specs, metadata, progress=progress, **options) as file:
        if callable(tensors):
            for name in file.order:
                file.write(name, tensors(name))
        else:
            for name, tensor in tensors:
                file.write(name, tensor)
    return file.manifest


def stream_order(specs: Mapping[str, Any]) -> list[str]:
    """The names in the order in which a file holds these tensors, and a stream has to bring them."""
    return inner.build({name: anytensor.spec_of(name, described) for name, described in specs.items()}, None)[1]


def _form(spec: Spec) -> str:
    return f"{spec.dtype.code} {list(spec.shape)}"
