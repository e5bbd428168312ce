"""`Groups`: who is summed with whom, where a round has one sum for each group instead of one over everybody.

A strategy that compares updates gets a mean of each group to compare. Groups are drawn from the operating system's randomness and then
kept: a coordinator that sees sums over ever new groups can solve for single updates, as far as these stay alike from round to round (So,
Ali, Guler, Jiao, Avestimehr, "Securing Secure Aggregation: Mitigating Multi-Round Privacy Leakage in Federated Learning", AAAI 2023).
docs/robust.md says what a group's mean gives away; ADR 0026 why it is done this way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import SystemRandom

from stfed.errors import LocalError
from stfed.flower.office import Office

Cut = tuple[tuple[int, ...], ...]
_SHUFFLE = SystemRandom().shuffle


class Groups:
    """The groups of one run.

    Args:
        size: the fewest nodes of a group, g.
        regroup_every: draw anew for every so many cuts; None keeps the groups for as long as they can be kept.
        shuffle: puts a list in random order, in place.
        least: fewest groups that are of use; fewer are given, but not kept.
    """

    def __init__(
        self, size: int, regroup_every: int | None = None, shuffle: Callable[[list[int]], None] = _SHUFFLE, *, least: int = 1
    ) -> None:
        self.size: int = size
        self._regroup_every, self._shuffle, self._least = regroup_every, shuffle, least
        self._members: list[set[int]] = []
        self._uses = 0
        self._foreseen: tuple[frozenset[int], Cut, list[set[int]] | None] | None = None

    def foresee(self, nodes: Iterable[int]) -> Cut:
        """What the next `cut` gives, if it is one of these nodes."""
        wanted = frozenset(nodes)
        if self._foreseen is None or self._foreseen[0] != wanted:
            due = self._regroup_every is not None and self._uses >= self._regroup_every
            kept = None if due else self._kept(wanted)
            cut = kept or self._drawn(wanted)
            self._foreseen = wanted, tuple(tuple(sorted(group)) for group in cut), kept
        return self._foreseen[1]

    def cut(self, nodes: Iterable[int]) -> Cut:
        """Cuts these nodes into groups, and keeps them.

        The groups that there are stay as they are while each has at least g and fewer than 2g of these nodes; who is new goes to the
        smallest, and who is away has its place kept. Otherwise all are drawn anew: floor(n/g) groups, whose sizes differ by one at most.

        Returns:
            The nodes of each group; nothing if there are fewer than g.
        """
        cut = self.foresee(nodes)
        assert self._foreseen is not None
        _, _, kept = self._foreseen
        if len(cut) < self._least:
            # Whoever is away comes back, and would find groups that are too few and large enough to be kept.
            self._foreseen = None
            return cut
        if kept is None:
            self._members, self._uses = [set(group) for group in cut], 0
        else:
            self._members = [group | set(here) for group, here in zip(self._members, cut, strict=True)]
        self._uses, self._foreseen = self._uses + 1, None
        return cut

    def _kept(self, nodes: frozenset[int]) -> list[set[int]] | None:
        """The groups that there are, of these nodes; None if they have to be drawn anew."""
        here = [group & nodes for group in self._members]
        new = sorted(nodes.difference(*self._members))
        self._shuffle(new)
        for node in new if here else ():
            min(here, key=len).add(node)
        return here if len(here) >= max(1, self._least) and all(self.size <= len(group) < 2 * self.size for group in here) else None

    def _drawn(self, nodes: frozenset[int]) -> list[set[int]]:
        order, count = sorted(nodes), len(nodes) // self.size
        self._shuffle(order)
        return [set(order[first::count]) for first in range(count)]


def check_groups(office: Office, asked: int, size: int, least: int) -> None:
    """Refuses, before anything is sent, groups that the strategy or the protocol cannot work with.

    Args:
        office: knows the settings and the roster.
        asked: nodes that the strategy asks.
        size: g.
        least: fewest groups that the strategy can work with.

    Raises:
        LocalError: too few groups, or groups too small for the settings; with what to change.
    """
    count = asked // size
    if count < least:
        raise LocalError(
            f"{asked} parties make {count} groups of {size} or more, the strategy needs {least}",
            hint="sample more parties per round (fraction_train, min_train_nodes), or lower group_size",
        )
    for n in sorted({asked // count, -(-asked // count)}):
        if (reason := _unfit(office, n)) is not None:
            fitting = next((other for other in range(n + 1, asked + 1) if _unfit(office, other) is None), None)
            hint = "sample more parties, or lower gamma or delta" if fitting is None else f"set group_size to {fitting} or more"
            raise LocalError(f"group_size={size} makes a group of {n} parties: {reason}", hint=hint)


def _unfit(office: Office, n: int) -> str | None:
    """Why there is no secure sum over a cohort of n; None if there is."""
    if n < (least := office.floor(n)):
        return f"{least} are needed for a sum"
    try:
        office.parameters(n)
    except LocalError as error:
        return error.message
    return None
