"""What the coordinator can compute of the victim's update from the shares that clinics released: nothing here is forbidden to it.

With t shares of the seed of the victim's own mask that mask comes off; with t shares of the other secret the box with the victim's pairwise
seeds opens, and those come off. With both, what is left is the update.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from stfed.crypto import aead, shamir
from stfed.demo.clinics import Pixels
from stfed.demo.recovery import from_vector
from stfed.demo.world import VICTIM, World
from stfed.encoding import EncodingPlan
from stfed.secagg import keys
from stfed.secagg.masking import apply_masks
from stfed.secagg.messages import ShareOf, Unmask
from stfed.secagg.server import Enrolment
from stfed.secagg.server.links import SEED_BYTES, Links
from stfed.secagg.transcript import RoundFacts


class Loot:
    """Shares of the victim's two secrets.

    Args:
        world: where its masked vector is.
        enrolment: who is who.
        facts: of the round.
    """

    def __init__(self, world: World, enrolment: Enrolment, facts: RoundFacts) -> None:
        self._world, self._facts, self._links = world, facts, Links(facts)
        self._victim = enrolment.nodes.index(VICTIM)
        self._shares: dict[ShareOf, dict[int, bytes]] = defaultdict(dict)

    def take(self, holder: int, reply: bytes) -> None:
        """What a clinic answered to UNMASK: its share of the victim's one secret or the other."""
        dealers = self._links.dealers(holder)
        if self._victim in dealers:
            of, share = Unmask.decode(reply).shares[dealers.index(self._victim)]
            self._shares[of][self._links.point(self._victim, holder)] = share

    def __str__(self) -> str:
        own, box_key = (len(self._shares[of]) for of in (ShareOf.SELF_SEED, ShareOf.BOX_KEY))
        return f"{own} shares of one secret and {box_key} of the other; {self._facts.t} of both are needed"

    def picture(self) -> Pixels | None:
        """The victim's vector with every mask taken off that can be; None if it never came."""
        if VICTIM not in self._world.vectors:
            return None
        vector, transcript = self._world.vectors[VICTIM], self._world.transcripts[VICTIM]
        own, box_key = self._secret(ShareOf.SELF_SEED), self._secret(ShareOf.BOX_KEY)
        add: list[bytes] = []
        subtract = [] if own is None else [keys.self_mask_key(own, transcript)]
        if box_key is not None:
            for other, seed in self._opened(box_key).items():
                (subtract if other > self._victim else add).append(keys.pairwise_mask_key(seed, transcript))
        apply_masks(vector, EncodingPlan.decode(self._facts.plan), add, subtract)
        return from_vector(vector)

    def _secret(self, of: ShareOf) -> bytes | None:
        found = self._shares[of]
        if len(found) < self._facts.t:
            return None
        points = sorted(found)[: self._facts.t]
        rows = shamir.rows_from_bytes([found[point] for point in points])
        (secret,) = shamir.rows_to_bytes(shamir.reconstruct(np.array([points]), rows[None]))
        return secret

    def _opened(self, box_key: bytes) -> dict[int, bytes]:
        """The victim's seeds by neighbour."""
        header, box = self._facts.header, self._world.prepares[self._victim].box
        key = keys.box_key(box_key, header, self._victim)
        seeds = aead.open_(key, bytes(aead.NONCE_BYTES), box, keys.box_associated_data(header, self._victim))
        neighbours = self._links.neighbours(self._victim)
        return {other: seeds[SEED_BYTES * at : SEED_BYTES * (at + 1)] for at, other in enumerate(neighbours)}
