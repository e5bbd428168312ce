"""Ways to tensors: planned, and so checked and priced, before anything is computed.

A *way* is a tensor to be: its layout, level and bounds are known, and its ciphertexts are computed when somebody asks for them. Ways can
start where others end, and at the end of the last one `Way.go` makes the tensor, or refuses to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from stfed.encrypted.arithmetic import Ciphertext
from stfed.encrypted.bounds import Bounded, dropped_error
from stfed.encrypted.checks import check_left, check_room
from stfed.encrypted.context import EvaluationContext
from stfed.encrypted.costs import Cost, Prices
from stfed.encrypted.layout import Layout

if TYPE_CHECKING:
    from stfed.encrypted.tensor import EncryptedTensor


class Start(Bounded, Protocol):
    """Where a way starts: an `EncryptedTensor`, or the end of another way."""

    @property
    def layout(self) -> Layout:
        """Where its elements are."""

    @property
    def ciphertexts(self) -> Sequence[Ciphertext]:
        """Those of the layout."""

    @property
    def clean(self) -> bool:
        """Whether slots that no element has are zero."""


@dataclass(frozen=True)
class Way:
    """A tensor to be.

    Attributes:
        context: its keys.
        layout: where its elements will be.
        left: how many multiplications it will have left; negative if it cannot be gone.
        bound: no slot will be larger.
        error: no slot will be more wrong.
        clean: whether slots that no element has will be zero.
        cost: of all of it.
        run: computes the ciphertexts.
    """

    context: EvaluationContext
    layout: Layout
    left: int
    bound: float
    error: float
    clean: bool
    cost: Cost
    run: Callable[[], Sequence[Ciphertext]]

    @cached_property
    def ciphertexts(self) -> Sequence[Ciphertext]:
        """Computed at the first call."""
        return self.run()

    def go(self, what: str, instead: str = "encrypt it in the shape that you need") -> EncryptedTensor:
        """Goes it, if all checks pass.

        Args:
            what: the operation, for errors.
            instead: what to do if it is too costly.

        Raises:
            LocalError: no multiplication is left for it, no Galois keys, numbers that would not fit, or too costly.
        """
        check_left(self.context, self.left + self.cost.levels, self.cost.levels, what)
        self.cost.check(what, instead)
        if self.cost.rotations:
            self.context.galois_keys  # noqa: B018 - refuses if there are none
        check_room(self.context, self.left, self.bound + self.error)
        from stfed.encrypted.tensor import EncryptedTensor  # which is made of these modules

        return EncryptedTensor(self.context, self.layout, tuple(self.ciphertexts), self.bound, self.error, self.clean)


def so_far(start: Start) -> Cost:
    """What it costs to get there."""
    return start.cost if isinstance(start, Way) else Cost()


def relabelled(start: Start, layout: Layout, *, clean: bool | None = None) -> Way:
    """The same ciphertexts, read another way."""
    ready = start.clean if clean is None else clean
    return Way(start.context, layout, start.left, start.bound, start.error, ready, so_far(start), lambda: start.ciphertexts)


def lowered(start: Start, left: int) -> Start:
    """The same with fewer multiplications left."""
    if start.left == left:
        return start
    context, layout = start.context, start.layout
    error = dropped_error(start, left)
    prices, count = Prices(context, left + 1), layout.ciphertexts
    cost = so_far(start) + Cost(0, 0, count, count * (prices.constant_s + prices.division_s))
    return Way(
        context,
        layout,
        left,
        start.bound,
        error,
        start.clean,
        cost,
        lambda: context.each("drop", [(each, left) for each in start.ciphertexts]),
    )
