"""TRAIN: what the coordinator passes on as a dealer's shares is opened and held against what the dealer published."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stfed.crypto import aead, shamir
from stfed.crypto.kdf import equal
from stfed.crypto.shamir import SHARE_BYTES
from stfed.errors import PeerError
from stfed.secagg import keys
from stfed.secagg.client.membership import Membership
from stfed.secagg.drawn import drawn_point
from stfed.secagg.messages import Delivery, ShareOf
from stfed.secagg.refusals import ShareFieldError, ShareMismatchError, ShareUnreadableError
from stfed.secagg.transcript import RoundFacts

Held = tuple[tuple[int, bytes, bytes], ...]
"""Per dealer: index, share of b, share of z."""


def open_deliveries(member: Membership, facts: RoundFacts, dealers: Sequence[tuple[int, bytes]], deliveries: Sequence[Delivery]) -> Held:
    """The shares of these dealers, each readable, in the field and the one that its dealer published the hash of.

    Args:
        member: this party.
        facts: the round.
        dealers: index, and key of the shares that it deals to this party.
        deliveries: what came, in the same order.

    Raises:
        ShareError: one kind for each of the three, for the first dealer with whom something is wrong.
    """
    deliveries = tuple(deliveries)
    held = _opened(member, facts, dealers, deliveries)
    _check_field(member, held, deliveries)
    _check_hashes(member, facts, held, deliveries)
    return held


def _opened(member: Membership, facts: RoundFacts, dealers: Sequence[tuple[int, bytes]], deliveries: Sequence[Delivery]) -> Held:
    own, binding = member.index, facts.share_binding
    held = []
    for (dealer, key), point, delivery in zip(dealers, _points(facts, own, [dealer for dealer, _ in dealers]), deliveries, strict=True):
        associated = keys.share_associated_data(facts.header, dealer, own, point, facts.t, facts.k, delivery.commitments, binding)
        try:
            both = aead.open_random(key, delivery.sealed, associated)
        except PeerError:
            name = member.directory.name(dealer)
            raise ShareUnreadableError(f"the shares of party {name} do not open", dealer=dealer, delivery=delivery, party=name) from None
        held.append((dealer, both[:SHARE_BYTES], both[SHARE_BYTES:]))
    return tuple(held)


def _points(facts: RoundFacts, own: int, dealers: Sequence[int]) -> list[int]:
    """This party's x for each dealer: computed, never read from the wire."""
    place = facts.place(own)
    if facts.drawn:
        return [drawn_point(place)] * len(dealers)
    graph = facts.graph()
    return [graph.point(facts.place(dealer), place) for dealer in dealers]


def _check_field(member: Membership, held: Held, deliveries: Sequence[Delivery]) -> None:
    """Refuses the first dealer with a limb outside GF(65521)."""
    limbs = np.frombuffer(b"".join(share_b + share_z for _, share_b, share_z in held), "<u2").reshape(len(held), 2 * shamir.LIMBS)
    outside = (limbs >= shamir.PRIME).any(axis=1)
    if outside.any():
        at = int(outside.argmax())
        dealer = held[at][0]
        name = member.directory.name(dealer)
        raise ShareFieldError(
            f"a share of party {name} has a limb that is not below {shamir.PRIME}", dealer=dealer, delivery=deliveries[at], party=name
        )


def _check_hashes(member: Membership, facts: RoundFacts, held: Held, deliveries: Sequence[Delivery]) -> None:
    hashes = zip(
        keys.share_hashes([(dealer, member.index, share_b) for dealer, share_b, _ in held], ShareOf.SELF_SEED, facts.header),
        keys.share_hashes([(dealer, member.index, share_z) for dealer, _, share_z in held], ShareOf.BOX_KEY, facts.header),
        strict=True,
    )
    for (dealer, *_), (hash_b, hash_z), delivery in zip(held, hashes, deliveries, strict=True):
        if not (equal(hash_b, delivery.self_seed_hash) and equal(hash_z, delivery.box_key_hash)):
            name = member.directory.name(dealer)
            raise ShareMismatchError(
                f"a share of party {name} is not the one it published the hash of", dealer=dealer, delivery=delivery, party=name
            )
