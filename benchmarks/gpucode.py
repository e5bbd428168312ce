"""What the GPU kernel costs, counted: from its source, and from the machine code it compiles to, which takes Triton but no GPU.

A count is no measurement. What it gives is a bound: a GPU whose units for 32-bit integers did nothing else and never waited would take that
long. The rates come from NVIDIA: 64 results a clock and multiprocessor for logic, shifts and additions (CUDA C++ Programming Guide,
"Throughput of Native Arithmetic Instructions", compute capability 8.0, 8.9 and 9.0), multiprocessors and clocks from the data sheets.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stfed.crypto import bitslice, device

BYTES = 128
"""A lane makes 32 words of a keystream at a time."""
CHACHA20 = (20 * 4 * 12 + 16) / 64
"""Operations a byte of ChaCha20 (RFC 8439): 20 rounds of four quarter rounds of four additions, XORs and rotations, then 16 additions."""
_UNITS = 64


@dataclass(frozen=True)
class Gpu:
    """A GPU by its data sheet."""

    name: str
    multiprocessors: int
    clock_ghz: float
    capability: int

    def keystream_gb_s(self, instructions: float) -> float:
        """The most keystream a second, for so many integer instructions a byte."""
        return self.multiprocessors * _UNITS * self.clock_ghz / instructions


GPUS = (Gpu("A100 SXM", 108, 1.41, 80), Gpu("H100 SXM", 132, 1.98, 90), Gpu("RTX 4090", 128, 2.52, 89))


def operations() -> dict[str, float]:
    """Operations a byte of keystream, by step, as the source has them; a turn counts as the one instruction that it is on a GPU."""
    rounds = bitslice.ROUNDS
    counts = {
        "SubBytes": rounds * 4 * _operators(bitslice.sub_bytes),
        "ShiftRows": rounds * 3 * 8,
        "MixColumns": (rounds - 1) * 4 * (_operators(bitslice.mix) + 8),
        "AddRoundKey": (rounds + 1) * 32,
        "to bytes": 4 * _operators(bitslice.transpose_bits) + 8 * _operators(bitslice.transpose_bytes),
        "addition": 32,
    }
    return {step: count / BYTES for step, count in counts.items()}


def _operators(circuit: Callable[..., Any]) -> int:
    return sum(isinstance(node, ast.BinOp) for node in ast.walk(ast.parse(inspect.getsource(circuit))))


@dataclass(frozen=True)
class Compiled:
    """What the kernel for 32-bit lanes became.

    Attributes:
        arithmetic: instructions a byte of keystream that the integer units have to issue at most.
        loads: loads of round keys a byte.
        registers: a thread.
        spills: instructions that keep registers in memory.
    """

    arithmetic: float
    loads: float
    registers: int
    spills: int


def compiled(capability: int) -> Compiled:
    """The kernel compiled for a GPU that need not be there.

    Raises:
        RuntimeError: Triton cannot, or its code is not three loops (signs, keys, rounds), one in the other.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from stfed.crypto import triton_aes

    signature = dict.fromkeys(("words", "schedules"), "*u32") | dict.fromkeys(
        ("subtracted", "keys", "first_segment", "first_program"), "i32"
    )
    constants = {"LANE_BITS": 32, "LANES": device.LANES}
    source = ASTSource(triton_aes.accumulate, signature | dict.fromkeys(constants, "constexpr"), constants)
    kernel = triton.compile(source, GPUTarget("cuda", capability, 32), {"num_warps": device.WARPS, "enable_fp_fusion": False})
    # "LBB2:" or control codes, a tab, perhaps a predicate, the instruction
    lines = kernel.asm["sass"].splitlines()
    labels = {line.rstrip(":"): at for at, line in enumerate(lines) if re.fullmatch(r"\w+:", line)}
    code = [(at, *found.groups()) for at, line in enumerate(lines) if (found := re.search(r"\t(?:@!?U?P\w+ )?([A-Z]\w*)(.*);", line))]
    loops = sorted(
        (labels[rest.split()[-1]], at) for at, opcode, rest in code if opcode == "BRA" and labels.get(rest.split()[-1], at) < at - 1
    )
    if len(loops) != 3 or not loops[0][1] > loops[1][1] > loops[2][1]:
        raise RuntimeError(f"the code has the loops {loops}, not three nested ones")
    _, keys, rounds = loops

    def times(at: int) -> int:
        return bitslice.ROUNDS - 1 if rounds[0] <= at <= rounds[1] else 1 if keys[0] <= at <= keys[1] else 0

    weighed = [(times(at), opcode) for at, opcode, _ in code]
    loads = sum(weight for weight, opcode in weighed if opcode.startswith("LDG"))
    others = sum(weight for weight, opcode in weighed if not opcode.startswith(("LDG", "U", "B", "NOP")))
    registers = 1 + max(int(number) for _, _, operands in code for number in re.findall(r"\bR(\d+)\b", operands))
    return Compiled(others / BYTES, loads / BYTES, registers, sum(opcode in ("STL", "LDL") for _, opcode, _ in code))
