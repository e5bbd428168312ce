"""What an operation costs, known before it is done: moving elements and products of encrypted matrices can take hours, which nobody sees
from the line of Python that asks for it. Above a limit an operation is refused, and the error tells the cost.

Seconds are estimates from a model, not from a measurement on the spot, so that what is refused today is not accepted tomorrow on a quieter
machine. An operation on ciphertexts is number-theoretic transforms of polynomials of degree N and products point by point; its time is a
multiple of N log2 N, where the number of moduli decides how many transforms there are. The multiples were fitted to SEAL 4 on one core of a
server of 2023, at N = 8192 and 16384 and all levels, and are good to a factor of two; `benchmarks/encrypted.py` prints real ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from stfed.errors import LocalError

if TYPE_CHECKING:
    from stfed.encrypted.context import EvaluationContext

LIMIT_S = 60.0
"""Of one operation, on one core, unless `allowing` says otherwise."""
LIMIT_BYTES = 4 << 30
"""Of ciphertexts that an operation needs in memory at a time, beside its operands and its result."""
_limit_s = ContextVar("limit_s", default=LIMIT_S)


@contextmanager
def allowing(seconds: float) -> Iterator[None]:
    """Within it, operations may take this long by the estimate, instead of a minute: `with allowing(600): a @ b`."""
    token = _limit_s.set(seconds)
    try:
        yield
    finally:
        _limit_s.reset(token)


@dataclass(frozen=True)
class Cost:
    """Of one operation.

    Attributes:
        levels: multiplications one after the other that it uses up.
        rotations: by a power of two; each is a key switch.
        products: of a ciphertext with plain numbers, or with another one.
        seconds: an estimate for one core.
        peak_bytes: of ciphertexts in memory at a time, beside operands and result.
        floor: whether it is the products alone, counted before the operation is planned, which takes long itself where they are many.
    """

    levels: int = 0
    rotations: int = 0
    products: int = 0
    seconds: float = 0.0
    peak_bytes: int = 0
    floor: bool = False

    def __add__(self, other: Self) -> Cost:
        """One after the other."""
        return Cost(
            self.levels + other.levels,
            self.rotations + other.rotations,
            self.products + other.products,
            self.seconds + other.seconds,
            max(self.peak_bytes, other.peak_bytes),
        )

    def __str__(self) -> str:
        if self.floor:
            return f"at least {self.products} products, about {self.seconds:.2g} s on one core, and rotations beside them"
        return f"{self.products} products, {self.rotations} rotations, about {self.seconds:.2g} s on one core"

    def check(self, what: str, instead: str) -> None:
        """Refuses what takes too long.

        Args:
            what: the operation: "moving (3, 4) to (4, 3)".
            instead: what to do about it.

        Raises:
            LocalError: above the limit.
        """
        limit_s = _limit_s.get()
        if self.seconds > limit_s:
            raise LocalError(
                f"{what} would take {self}, over the limit of {limit_s:.3g} s", hint=f"{instead}, or raise the limit: costs.allowing"
            )
        if self.peak_bytes > LIMIT_BYTES:
            raise LocalError(f"{what} would need {self.peak_bytes / 2**30:.1f} GiB of memory beside its result ({self})", hint=instead)


@dataclass(frozen=True)
class Prices:
    """Seconds of single operations on ciphertexts with `left` multiplications left.

    Args:
        context: whose parameters count.
        left: before the operation.
    """

    context: EvaluationContext
    left: int

    @property
    def _unit_s(self) -> float:
        degree = self.context.parameters.degree
        return 1e-9 * degree * (degree.bit_length() - 1)

    @property
    def size_bytes(self) -> int:
        """Of a ciphertext in memory."""
        return 16 * self.context.parameters.degree * (self.left + 1)

    @property
    def rotation_s(self) -> float:
        """By a power of two: as many transforms as pairs of moduli."""
        return 1.6 * self._unit_s * (self.left + 1) * (self.left + 2)

    @property
    def mask_s(self) -> float:
        """A product with plain numbers that differ, most of it encoding them, added to others."""
        return self._unit_s * (3.5 + 1.5 * (self.left + 1))

    @property
    def constant_s(self) -> float:
        """A product with one number for all slots, added to others."""
        return 0.7 * self._unit_s * (self.left + 1)

    @property
    def division_s(self) -> float:
        """After products, of their sum."""
        return 1.5 * self._unit_s * (self.left + 1)

    @property
    def product_s(self) -> float:
        """Of two ciphertexts, added to others, neither relinearised nor divided."""
        return 1.4 * self._unit_s * (self.left + 1)
