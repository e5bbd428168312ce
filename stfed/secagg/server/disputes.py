"""Who is left out when two parties contradict each other and nobody can tell which of them lies.

A contradiction is two published commitments to one seed that differ, or a complaint about shares. It has a liar at one end at least, so
whoever contradicts more parties than there can be liars is one, and goes alone. Of any other contradiction both ends go. Either way
no more honest parties than liars lose their place, a complaint by itself frames nobody, and no contradiction is left. (It is the rule by
which Buss shrinks a vertex cover, and a maximal matching on the rest.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from stfed.secagg.messages import Complaint, Prepare

P = TypeVar("P", int, bytes)


@dataclass(frozen=True, slots=True)
class Dispute:
    """A complaint that was signed, about shares that were signed too: one of the two parties is at fault, and both are on record.

    Attributes:
        accuser: Ed25519 identity of who complained.
        accused: Ed25519 identity of who dealt the shares.
        complaint: what the accuser signed.
        prepare: what the accused signed; the shares in question are in it as ciphertexts, so nothing here is secret.
    """

    accuser: bytes
    accused: bytes
    complaint: Complaint = field(repr=False)
    prepare: Prepare = field(repr=False)


def excluded(disputes: Iterable[Dispute], corrupt: int) -> set[bytes]:
    """The identities to leave out of the next cohorts, given all disputes of a run and how many parties may be corrupt."""
    return set(settle({(dispute.accuser, dispute.accused) for dispute in disputes}, corrupt))


def settle(contradictions: Iterable[tuple[P, P]], liars: int) -> dict[P, int]:
    """Whom to leave out so that no contradiction is left, and in how many each stood when its turn came.

    Args:
        contradictions: pairs of parties.
        liars: how many there can be.
    """
    left, out = {frozenset(pair) for pair in contradictions}, dict[P, int]()
    while left:
        counts = Counter(end for pair in left for end in pair)
        party = max(sorted(counts), key=counts.__getitem__)
        opposite = max(sorted(end for pair in left if party in pair for end in pair - {party}), key=counts.__getitem__)
        gone = {party} if counts[party] > liars else {party, opposite}
        out |= {end: counts[end] for end in gone}
        left = {pair for pair in left if gone.isdisjoint(pair)}
        liars -= 1
    return out


def worst_first(contradictions: Iterable[tuple[P, P]]) -> dict[P, int]:
    """The same for parties that follow the protocol up to mistakes (semi-honest mode): the most contradicted go first, equals together.

    Two liars could have a third party dropped alone by this.
    """
    left, out = {frozenset(pair) for pair in contradictions}, dict[P, int]()
    while left:
        counts = Counter(end for pair in left for end in pair)
        most = max(counts.values())
        worst = {party: most for party, count in counts.items() if count == most}
        out |= worst
        left = {pair for pair in left if worst.keys().isdisjoint(pair)}
    return out
