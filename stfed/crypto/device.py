"""The keystream where the tensors are: on a GPU, bit by bit what `stfed.crypto.keystream` computes on the host.

There is one construction, AES-256 in counter mode, and nothing to negotiate: parties with and without a GPU take part in one round. What
runs on the GPU is `stfed.crypto.triton_aes`, compiled by Triton on first use (some seconds, then cached on disk).

Key schedules are computed on the host, copied to the GPU, and overwritten with zeros: here at once, there when a `DeviceStreams` is closed.
What the driver keeps of the copy on its way is out of reach, like what Python keeps of the keys themselves.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from stfed.crypto import keystream
from stfed.crypto.bitslice import schedules
from stfed.crypto.keystream import KEY_BYTES, SEGMENT_BYTES, STREAM_SEGMENTS, Words
from stfed.errors import LocalError

if TYPE_CHECKING:
    import torch

log: logging.Logger = logging.getLogger("stfed")

LANES, WARPS = 128, 4
"""Lanes of a program, one a thread: 16 KiB of the vector."""
_INTERPRETED_LANES = 2048  # NumPy under Triton's interpreter has a price per call, not per lane
_BYTES_PER_LANE = 128
_ALIGNMENT_BYTES = 16
_TESTED_SEGMENT = 0x1A2B3  # every byte that a segment number can have
_TRITON = (3, 3)  # the first whose kernels can pass tuples on
_CAPABILITY = (7, 5)  # the least that the kernel was compiled for


def interpreting() -> bool:
    """Whether Triton's interpreter stands in for the GPU (TRITON_INTERPRET=1): for tests, on tensors of the host, and slow."""
    return os.environ.get("TRITON_INTERPRET") == "1"


@functools.cache
def has_triton() -> bool:
    """Whether a Triton is installed that can compile the kernel."""
    try:
        import triton
    except ImportError:
        return False
    return tuple(int(part) for part in triton.__version__.split(".")[:2]) >= _TRITON


def available(device: torch.device) -> bool:
    """Whether keystreams can be made there: on an NVIDIA GPU that Triton compiles for."""
    if device.type != "cuda":
        return interpreting() and has_triton()
    import torch

    if not has_triton() or not torch.cuda.is_available() or torch.version.cuda is None:
        return False
    return torch.cuda.get_device_capability(device) >= _CAPABILITY


@functools.cache
def works(device: torch.device, word_bytes: int) -> bool:
    """Whether the kernel for words of this size compiles there and gives the host's answer; looked at once a process.

    Triton needs a C compiler besides itself, and what it makes runs on hardware that nobody here has seen. A mask that is wrong by a bit
    spoils the round for everybody and is noticed by nobody, so no GPU is believed without a test.
    """
    import torch

    keys = [bytes([number]) * KEY_BYTES for number in range(3)]
    words = np.arange(LANES * _BYTES_PER_LANE // word_bytes + 5, dtype=f"u{word_bytes}")
    try:
        total = torch.tensor(words.view(f"i{word_bytes}"), device=device)
        with DeviceStreams(keys[:2], keys[2:], device=device) as streams:
            streams.accumulate(total, first_segment=_TESTED_SEGMENT)
        found = total.cpu().numpy().view(words.dtype)
    except Exception as error:
        log.warning("masks are made on the host: the kernel for %s cannot run (%s: %s)", device, type(error).__name__, error)
        return False
    keystream.accumulate(words, keys[:2], keys[2:], first_segment=_TESTED_SEGMENT)
    if not np.array_equal(found, words):
        log.error("masks are made on the host: the kernel on %s gives wrong keystreams", device)
        return False
    return True


class DeviceStreams:
    """The streams of several keys on one device; `with` it, so that the key schedules are wiped there when it ends.

    Args:
        add: keys of 32 bytes each.
        subtract: keys of 32 bytes each.
        device: where the tensors are.

    Raises:
        LocalError: a key of another size, or no place for keystreams.
    """

    def __init__(self, add: Sequence[bytes], subtract: Sequence[bytes] = (), *, device: torch.device) -> None:
        import torch

        if not available(device):
            raise LocalError(
                f"keystreams cannot be made on {device}: that takes a CUDA GPU and Triton {_TRITON[0]}.{_TRITON[1]} or later",
                hint="pip install 'stfed[gpu]', or move the tensors to the CPU",
            )
        self._subtracted, self._keys = len(subtract), len(add) + len(subtract)
        sliced = schedules([*subtract, *add]).view(np.int32)
        self._schedules = torch.tensor(sliced, device=device)
        sliced.fill(0)

    def __len__(self) -> int:
        """How many streams there are."""
        return self._keys

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._schedules.zero_()

    def accumulate(self, total: torch.Tensor, *, first_segment: int = 0) -> None:
        """`total += sum of the streams of add - sum of the streams of subtract`, in place, modulo 2^(bits of an element).

        Args:
            total: integers of 16, 32 or 64 bits, signed or not, one-dimensional, contiguous, on the device of these streams.
            first_segment: the segment of every stream that `total` starts at.

        Raises:
            LocalError: another tensor, or the streams are not that long.
        """
        import torch

        self._check(total, first_segment)
        if not total.numel() or not self._keys:
            return
        if total.data_ptr() % _ALIGNMENT_BYTES:
            aligned = total.clone()
            self.accumulate(aligned, first_segment=first_segment)
            total.copy_(aligned)
            return
        size_bytes = total.element_size()
        lanes = LANES if total.is_cuda else _INTERPRETED_LANES
        per_program = lanes * _BYTES_PER_LANE // size_bytes
        programs, rest = divmod(total.numel(), per_program)
        if programs:
            self._launch(total[: programs * per_program], programs, first_segment, 0, lanes)
        if rest:
            # What does not fill a program is done in a buffer that does.
            padded = torch.zeros(per_program, dtype=total.dtype, device=total.device)
            padded[:rest].copy_(total[-rest:])
            self._launch(padded, 1, first_segment, programs, lanes)
            total[-rest:].copy_(padded[:rest])

    def _launch(self, part: torch.Tensor, programs: int, first_segment: int, first_program: int, lanes: int) -> None:
        import torch

        from stfed.crypto import triton_aes

        launch: Callable[..., Any] = triton_aes.accumulate[(programs,)]
        with torch.cuda.device(part.device) if part.is_cuda else contextlib.nullcontext():
            launch(
                part.view(torch.uint32),
                self._schedules.view(torch.uint32),
                self._subtracted,
                self._keys,
                first_segment,
                first_program,
                LANE_BITS=8 * part.element_size(),
                LANES=lanes,
                num_warps=WARPS,
                enable_fp_fusion=False,
            )

    def _check(self, total: torch.Tensor, first_segment: int) -> None:
        import torch

        signed = (torch.int16, torch.int32, torch.int64)
        if total.dtype not in (*signed, torch.uint16, torch.uint32, torch.uint64):
            raise LocalError(f"expected a tensor of integers of 16, 32 or 64 bits, not of {total.dtype}")
        if total.ndim != 1 or not total.is_contiguous():
            raise LocalError("expected a one-dimensional, contiguous tensor")
        if total.device != self._schedules.device:
            raise LocalError(f"the tensor is on {total.device}, these streams are on {self._schedules.device}")
        end = first_segment + -(-total.numel() * total.element_size() // SEGMENT_BYTES)
        if first_segment < 0 or end > STREAM_SEGMENTS:
            raise LocalError(f"segments {first_segment} to {end} are not inside the {STREAM_SEGMENTS} that one key may give out")


def accumulator(device: torch.device | str = "cuda") -> Callable[[Words, Sequence[bytes], Sequence[bytes]], None]:
    """`accumulate(words, add, subtract)` for words of the host, by way of the device: for a coordinator that takes off many masks.

    The words go there and come back once; each mask costs what it costs there. Without a GPU that can do it, the host does.
    """

    def accumulate(words: Words, add: Sequence[bytes], subtract: Sequence[bytes]) -> None:
        import torch

        place = torch.device(device)
        if not available(place) or not works(place, words.itemsize):
            keystream.accumulate(words, add, subtract)
            return
        on_host = torch.from_numpy(words.view(f"i{words.itemsize}"))
        total = on_host.to(place, copy=True)
        with DeviceStreams(add, subtract, device=place) as streams:
            streams.accumulate(total)
        on_host.copy_(total)

    return accumulate
