"""What a party commits to in PREPARE: b and z, dealt in shares to its holders, and the box with its pairwise seeds.

On a graph that follows from public values (semi-honest mode, and the complete graph) the neighbours are both: they hold the shares and
share the masks. Where a party draws its holders, it does not know yet who will draw *it*, so the seeds, their commitments and the box
cover the whole cohort, and only the shares go to the holders alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat

from stfed.crypto import aead, shamir
from stfed.crypto.random import Entropy
from stfed.secagg import keys
from stfed.secagg.drawn import draw_holders, drawn_point
from stfed.secagg.messages import DealtShares, DrawnPrepare, Prepare, ShareOf, encode_parties
from stfed.secagg.transcript import RoundFacts
from stfed.wire import Records

_BOX_NONCE = bytes(aead.NONCE_BYTES)


@dataclass(frozen=True, slots=True)
class Places:
    """Whom one party deals with in one round, as directory indices.

    Attributes:
        neighbours: with whom it may share a mask, ascending: the box has a seed for each.
        holders: who gets shares, ascending.
        points: their x.
    """

    neighbours: tuple[int, ...]
    holders: tuple[int, ...]
    points: Sequence[int]

    @classmethod
    def of(cls, facts: RoundFacts, own: int, entropy: Entropy) -> Places:
        """Those of the graph, or drawn now."""
        cohort, place = facts.cohort, facts.place(own)
        if not facts.drawn:
            neighbours = tuple(cohort[other] for other in facts.graph().neighbours(place).tolist())
            return cls(neighbours, neighbours, range(1, facts.k + 1))
        drawn = draw_holders(facts.n, place, facts.k, entropy)
        return cls(cohort[:place] + cohort[place + 1 :], tuple(cohort[at] for at in drawn), [drawn_point(at) for at in drawn])


@dataclass(frozen=True, slots=True)
class Dealt:
    """What is left of a party's secrets once it has dealt, and what it says.

    Attributes:
        prepare: the message.
        self_seed: b_i. (z_i is in the box and the shares, and nowhere else.)
        seeds: s_ij by neighbour.
        incoming: per neighbour, the key of the shares that it deals to this party.
    """

    prepare: Prepare
    self_seed: bytes = field(repr=False)
    seeds: tuple[bytes, ...] = field(repr=False)
    incoming: tuple[bytes, ...] = field(repr=False)


def deal(facts: RoundFacts, own: int, places: Places, round_keys: Mapping[int, bytes], entropy: Entropy) -> Dealt:
    """Draws b and z, deals their shares and puts the seeds into the box.

    Args:
        facts: the round.
        own: this party.
        places: whom it deals with.
        round_keys: R(r) by neighbour, in their order.
        entropy: where b, z, the coefficients and the nonces come from.
    """
    header, holders = facts.header, places.holders
    holding = frozenset(holders)
    seeds, outgoing, incoming = zip(*keys.neighbour_keys(round_keys, header, facts.cohort_digest, own, holding), strict=True)

    secrets = shamir.random_secrets(2, entropy)
    self_seed, box_secret = shamir.rows_to_bytes(secrets)
    shares_b, shares_z = map(shamir.rows_to_bytes, shamir.share(secrets, facts.t, places.points, entropy))
    commit_b = keys.commit_self_seed(self_seed, header, own)
    commit_z = keys.commit_box_key(box_secret, header, own)
    box = aead.seal(keys.box_key(box_secret, header, own), _BOX_NONCE, b"".join(seeds), keys.box_associated_data(header, own))
    hashes_b = keys.share_hashes(zip(repeat(own), holders, shares_b), ShareOf.SELF_SEED, header)
    hashes_z = keys.share_hashes(zip(repeat(own), holders, shares_z), ShareOf.BOX_KEY, header)
    commits = keys.commit_pairwise_seeds(zip(places.neighbours, seeds, strict=True), header, own)
    to_holders, others = commits, b""
    if facts.drawn:
        to_holders = [commit for other, commit in zip(places.neighbours, commits, strict=True) if other in holding]
        others = b"".join(commit for other, commit in zip(places.neighbours, commits, strict=True) if other not in holding)
    public = list(zip(hashes_b, hashes_z, to_holders, strict=True))
    named = (encode_parties(holders), others) if facts.drawn else ()
    commitments = keys.commitments_digest(header, own, commit_b, commit_z, box, public, *named)

    binding, key_to = facts.share_binding, [key for key in outgoing if key]
    dealt = b"".join(
        aead.seal_random(
            key, share_b + share_z, keys.share_associated_data(header, own, holder, point, facts.t, facts.k, commitments, binding), entropy
        )
        + b"".join(hashes)
        for key, holder, point, share_b, share_z, hashes in zip(key_to, holders, places.points, shares_b, shares_z, public, strict=True)
    )
    records = Records(dealt, DealtShares.BYTES, DealtShares.decode)
    prepare = Prepare(header=header, commit_self_seed=commit_b, commit_box_key=commit_z, box=box, dealt=records)
    if facts.drawn:
        prepare = DrawnPrepare.of(prepare, holders, others)
    return Dealt(prepare, self_seed, seeds, incoming)
