"""What the coordinator can compute from all that it has heard, in numbers: secrets from shares, seeds from boxes, sums from masked vectors.

Nothing here is a model: a secret counts as known when enough shares give the one that was committed to, a seed when it fits its commitment,
and a sum when the vectors, with the masks that can be computed taken off, decode to the parties' true updates. So what an attack gains is
shown by the gain itself, and `least_sum` is what no attack may get below.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from stfed.crypto import aead, shamir
from stfed.encoding import EncodingPlan, Vector, decode_sum
from stfed.errors import PeerError
from stfed.secagg import keys
from stfed.secagg.masking import apply_masks
from stfed.secagg.messages import ShareOf
from stfed.secagg.server.links import Links
from tests.attacks.secagg.coordinator import Coordinator
from tests.attacks.secagg.heard import Heard, Parties, links_of, seed_commitment
from tests.attacks.secagg.training import Arrays, examples_of, update_of

_NONCE = bytes(aead.NONCE_BYTES)
_SEED_BYTES = 32


@dataclass(frozen=True)
class Loot:
    """Of one round.

    Attributes:
        world: everybody.
        heard: what was said, up to now: make another one when more was.
    """

    world: Coordinator
    heard: Heard
    _secrets: dict[tuple[int, ShareOf], bytes | None] = field(default_factory=dict, repr=False)

    # --- secrets -------------------------------------------------------------------------------------------------------------------------

    def shares(self, party: int, of: ShareOf) -> dict[int, bytes]:
        """The shares of a secret that are known, by evaluation point: released ones, and those dealt to the corrupt."""
        prepare, facts = self.heard.prepares[party]
        links = links_of(prepare, party, facts)
        found = {}
        for holder in links.holders(party):
            share = self.heard.released[party, of].get(holder) or self._dealt_to_corrupt(links, party, holder, of)
            dealt = prepare.dealt[links.slot(party, holder)]
            hashed = dealt.self_seed_hash if of is ShareOf.SELF_SEED else dealt.box_key_hash
            if share and keys.share_hash(share, of, facts.header, party, holder) == hashed:
                found[links.point(party, holder)] = share
        return found

    def _dealt_to_corrupt(self, links: Links, party: int, holder: int, of: ShareOf) -> bytes | None:
        _, facts = self.heard.prepares[party]
        point, binding = links.point(party, holder), facts.share_binding
        for index, state, _ in self.heard.spied:
            if index != holder or party not in state.neighbours:
                continue
            delivery = self.world.delivery(party, holder, facts)
            ends = facts.header, party, holder, point, facts.t, facts.k, delivery.commitments, binding
            try:
                both = aead.open_random(state.incoming[state.neighbours.index(party)], delivery.sealed, keys.share_associated_data(*ends))
            except PeerError:
                continue
            return both[: shamir.SHARE_BYTES] if of is ShareOf.SELF_SEED else both[shamir.SHARE_BYTES :]
        return None

    def secret(self, party: int, of: ShareOf) -> bytes | None:
        """b or z of a party, if t of its shares are known."""
        if (party, of) not in self._secrets:
            self._secrets[party, of] = self._reconstructed(party, of)
        return self._secrets[party, of]

    def _reconstructed(self, party: int, of: ShareOf) -> bytes | None:
        if party not in self.heard.prepares:
            return None
        prepare, facts = self.heard.prepares[party]
        found = self.shares(party, of)
        if len(found) < facts.t:
            return None
        points = sorted(found)[: facts.t]
        recovered = shamir.reconstruct(np.array([points]), shamir.rows_from_bytes([found[point] for point in points])[None])
        (secret,) = shamir.rows_to_bytes(recovered)
        commit, committed = (
            (keys.commit_self_seed, prepare.commit_self_seed) if of is ShareOf.SELF_SEED else (keys.commit_box_key, prepare.commit_box_key)
        )
        assert commit(secret, facts.header, party) == committed, "t good shares of an honest dealer gave another secret"
        return secret

    def both(self, party: int) -> bool:
        """Whether both secrets of a party are known: then its update is, too."""
        return all(self.secret(party, of) is not None for of in ShareOf)

    def seed(self, party: int, other: int) -> bytes | None:
        """s_ij as `party` derives it, if it can be computed."""
        prepare, facts = self.heard.prepares[party]
        committed = seed_commitment(prepare, party, other, facts)
        candidates = [*self.heard.guessed[party], *self.heard.guessed[other], *self._boxed(party, other), *self._boxed(other, party)]
        candidates += [
            state.seeds[state.neighbours.index(party)]
            for index, state, _ in self.heard.spied
            if index == other and party in state.neighbours
        ]
        fits = (seed for seed in candidates if keys.commit_pairwise_seed(seed, facts.header, party, other) == committed)
        return next(fits, None)

    def _boxed(self, owner: int, other: int) -> list[bytes]:
        secret = self.secret(owner, ShareOf.BOX_KEY)
        if secret is None:
            return []
        prepare, facts = self.heard.prepares[owner]
        opened = aead.open_(keys.box_key(secret, facts.header, owner), _NONCE, prepare.box, keys.box_associated_data(facts.header, owner))
        return [opened[at : at + _SEED_BYTES] for at in range(0, len(opened), _SEED_BYTES)]

    # --- sums ----------------------------------------------------------------------------------------------------------------------------

    def sum_with(self, party: int) -> Parties | None:
        """The smallest set of honest parties with this one in it whose sum can be computed."""
        inside, waiting = set[int](), [party]
        while waiting:
            one = waiting.pop()
            if one in inside:
                continue
            inside.add(one)
            view = self.heard.views.get(one)
            if view is None or self.secret(one, ShareOf.SELF_SEED) is None:
                return None
            for other in view.partners:
                if self.seed(one, other) is not None:
                    continue
                theirs = self.heard.views.get(other)
                if other in self.world.corrupt or theirs is None or theirs.transcript != view.transcript:
                    return None
                if one not in theirs.partners:
                    return None  # a mask at one end only never comes off
                waiting.append(other)
        return tuple(sorted(inside))

    def sum_of(self, parties: Parties) -> Arrays:
        """The sum of their weighted updates, from masked vectors and secrets alone."""
        total = self._unmasked(parties)
        views = self.heard.views
        plan = EncodingPlan.decode(views[parties[0]].facts.plan)
        received = views[parties[0]].received
        decoded = decode_sum(plan, total, len(parties), received, views[parties[0]].schema)
        assert decoded.total_weight == sum(map(self.weight, parties)), "the weights in the sum are not theirs"
        return {name: (np.asarray(mean, float) - received[name]) * decoded.total_weight for name, mean in decoded.arrays.items()}

    def taken_off(self, parties: Parties) -> Arrays:
        """The same with the ring words alone, whatever they are: in units of a weighted update, without asking whether it is one."""
        plan, at = EncodingPlan.decode(self.heard.views[parties[0]].facts.plan), 0
        words = self._unmasked(parties).ring.astype(np.int64)
        centred = np.where(words >= 1 << plan.ring_bits - 1, words - (1 << plan.ring_bits), words) * plan.step * plan.max_weight
        result: Arrays = {}
        for spec in plan.tensors:
            result[spec.name] = centred[at : at + spec.size].reshape(spec.shape)
            at += spec.size
        return result

    def _unmasked(self, parties: Parties) -> Vector:
        """Their vectors added up, with all masks taken off that can be."""
        views = {party: self.heard.views[party] for party in parties}
        plan = EncodingPlan.decode(views[parties[0]].facts.plan)
        total = Vector.zeros(plan)
        add: list[bytes] = []
        subtract: list[bytes] = []
        for party, view in views.items():
            total.add(view.vector, plan)
            own = self.secret(party, ShareOf.SELF_SEED)
            assert own is not None
            subtract.append(keys.self_mask_key(own, view.transcript))
            for other in view.partners:
                seed = self.seed(party, other)
                if seed is not None:
                    (subtract if other > party else add).append(keys.pairwise_mask_key(seed, view.transcript))
        apply_masks(total, plan, add, subtract)
        return total

    def weight(self, party: int) -> int:
        """How many examples the party has; the coordinator reads it off the sum."""
        return examples_of(self.world.parties[party].number)

    def truth(self, parties: Parties) -> Arrays:
        """What the sum should be."""
        result: Arrays = {}
        for party in parties:
            factor = self.weight(party) * self.heard.views[party].rate
            for name, value in update_of(self.world.parties[party].number).items():
                result[name] = result.get(name, 0) + factor * value
        return result
