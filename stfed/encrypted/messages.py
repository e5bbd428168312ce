"""One encrypted tensor as bytes: `dumps` and `loads`, in the project's one codec (`stfed.wire`).

What stands beside the words is what everybody may know: whose keys, shape and layout, level, bounds. Everything is held against the context
and the length of the message before anything is allocated or given to the native library. What cannot be checked is whether the bounds are
true: they are the sender's word, and so is that this is the tensor that was meant. Carry messages where their sender is known: in a
secure channel, or in a signed file (`stfed.encrypted.files`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Self

from stfed.encrypted import words
from stfed.encrypted.checks import check_room
from stfed.encrypted.context import EvaluationContext
from stfed.encrypted.headfields import read_flag, read_start, write_start
from stfed.encrypted.layout import Layout
from stfed.encrypted.tensor import EncryptedTensor
from stfed.errors import LocalError, MalformedError
from stfed.wire import Reader, Writer

_MAGIC = b"stfed-ckks-tensor\n"
FINGERPRINT_BYTES = 32
AXES_MAX = 32
_TYPES = {"shape": list, "block": int, "uniform": bool, "clean": bool, "bound": float, "error": float, "left": int}


@dataclass(frozen=True)
class Description:
    """An encrypted tensor but for its words; the fields are those of `EncryptedTensor` and `Layout`.

    Raises:
        MalformedError: on being made, for values that no tensor has.
    """

    shape: tuple[int, ...]
    block: int
    uniform: bool
    clean: bool
    bound: float
    error: float
    left: int

    def __post_init__(self) -> None:
        if len(self.shape) > AXES_MAX or not all(1 <= length < 1 << 48 for length in self.shape):
            raise MalformedError(f"an encrypted tensor has at most {AXES_MAX} axes, and no empty or boundless one")
        if not (math.isfinite(self.bound) and math.isfinite(self.error) and self.bound >= 0 and self.error >= 0):
            raise MalformedError("the bounds of an encrypted tensor are no finite numbers")

    @classmethod
    def of(cls, tensor: EncryptedTensor) -> Self:
        """What describes this tensor."""
        layout = tensor.layout
        if len(layout.shape) > AXES_MAX:
            raise LocalError(f"a tensor of {len(layout.shape)} axes is not written, only up to {AXES_MAX}", hint="reshape it")
        bound, error = tensor.bound + 0.0, tensor.error + 0.0  # no negative zero: one value, one encoding
        return cls(layout.shape, layout.block, layout.uniform, tensor.clean or layout.uniform, bound, error, tensor.left)

    def to_json(self) -> dict[str, Any]:
        """For a file's metadata."""
        return asdict(self) | {"shape": list(self.shape)}

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Reads what `to_json` gives; MalformedError for anything else."""
        if not isinstance(value, dict) or {key: type(item) for key, item in value.items()} != _TYPES:
            raise MalformedError("an encrypted tensor is described with other fields than this release knows")
        if not all(type(length) is int for length in value["shape"]):
            raise MalformedError("an encrypted tensor has a shape that is no list of sizes")
        return cls(**value | {"shape": tuple(value["shape"])})

    def layout(self, context: EvaluationContext) -> Layout:
        """Where its elements lie.

        Raises:
            MalformedError: nowhere, in ciphertexts of this context.
        """
        try:
            layout = Layout(self.shape, context.parameters.slots, self.block, self.uniform)
            if not 0 <= self.left <= context.parameters.depth:
                raise LocalError(f"a tensor with {self.left} multiplications left, of parameters that have {context.parameters.depth}")
            check_room(context, self.left, self.bound + self.error)
        except LocalError as error:
            raise MalformedError(f"this describes no encrypted tensor: {error.message}") from None
        if self.uniform and not self.clean:
            raise MalformedError("this describes no encrypted tensor: a uniform one is clean")
        return layout

    def size_bytes(self, context: EvaluationContext) -> int:
        """How long its words are; raises as `layout`."""
        return self.layout(context).ciphertexts * words.ciphertext_bytes(context.parameters, self.left)


def encode_tensor(tensor: EncryptedTensor) -> Iterator[bytes]:
    """The words of its ciphertexts, one after the other."""
    for ciphertext in tensor.ciphertexts:
        yield words.encode(tensor.context, ciphertext)


def decode_tensor(context: EvaluationContext, description: Description, data: bytes | memoryview) -> EncryptedTensor:
    """A tensor from its description and its words.

    Raises:
        MalformedError: they do not fit each other or the context, or `words.decode` refuses a ciphertext.
    """
    layout = description.layout(context)
    if len(data) != description.size_bytes(context):
        raise MalformedError(
            f"{len(data)} bytes of words, and a tensor of shape {description.shape} at this level has {description.size_bytes(context)}"
        )
    view, step = memoryview(data), words.ciphertext_bytes(context.parameters, description.left)
    ciphertexts = tuple(words.decode(context, description.left, view[at : at + step]) for at in range(0, len(data), step))
    return EncryptedTensor(context, layout, ciphertexts, description.bound, description.error, description.clean)


def check_fingerprint(context: EvaluationContext, fingerprint: bytes, what: str) -> None:
    """LocalError if `what` is encrypted under other keys than the context's."""
    if fingerprint != context.fingerprint:
        raise LocalError(
            f"{what} is encrypted under the keys {fingerprint.hex()}, and these are {context.fingerprint.hex()}",
            hint="use the evaluation context with that fingerprint; what is encrypted under different keys cannot be put together",
        )


def dumps(tensor: EncryptedTensor) -> bytes:
    """A tensor as one message; `loads` reads it. The same tensor always gives the same bytes."""
    described = Description.of(tensor)
    head = write_start(_MAGIC).fixed(tensor.context.fingerprint, FINGERPRINT_BYTES)
    head.vector(described.shape, Writer.u64).u32(described.block).u8(described.uniform).u8(described.clean)
    head.f64(described.bound).f64(described.error).u8(described.left)
    return b"".join((head.getvalue(), *encode_tensor(tensor)))


def loads(context: EvaluationContext, data: bytes | bytearray | memoryview) -> EncryptedTensor:
    """The tensor of a message.

    Args:
        context: the keys that it must be encrypted under.
        data: what `dumps` wrote, from whomever.

    Raises:
        DecodeError: it is no message of a tensor of these parameters.
        LocalError: it is encrypted under other keys.
    """
    reader = Reader(bytes(data), "encrypted tensor")
    read_start(reader, _MAGIC)
    check_fingerprint(context, reader.fixed(FINGERPRINT_BYTES, "fingerprint"), "the tensor")
    shape = tuple(reader.vector("shape", lambda axis: axis.u64("length"), max_items=AXES_MAX, item_min_bytes=8))
    block = reader.u32("block")
    uniform, clean = read_flag(reader, "uniform"), read_flag(reader, "clean")
    described = Description(shape, block, uniform, clean, reader.f64("bound"), reader.f64("error"), reader.u8("left"))
    return decode_tensor(context, described, memoryview(data)[len(data) - reader.remaining :])
