"""UNMASK: shares are collected, seeds recovered, masks taken off."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stfed.crypto import shamir
from stfed.crypto.identity import BadSignatureError
from stfed.crypto.kdf import equal
from stfed.encoding import EncodingPlan, Vector
from stfed.errors import DecodeError, PeerError, QuorumError
from stfed.secagg import keys
from stfed.secagg.drawn import drawn_point
from stfed.secagg.masking import Accumulate, apply_masks
from stfed.secagg.messages import SHORT_HASH_BYTES, ShareOf, Unmask, UnmaskRequest
from stfed.secagg.server.drops import Drop, DropReason
from stfed.secagg.server.published import Published
from stfed.secagg.server.step import Round, RoundStep
from stfed.secagg.transcript import RoundFacts

# Secrets that are reconstructed in one matrix product: with a threshold of a thousand, that takes 50 MB.
_DEALERS_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Sum:
    """What a round released.

    Attributes:
        total: the sum of the survivors' vectors.
        survivors: U2, as directory indices.
        schema: which metrics the vector carries.
        drops: who left, when and why, by directory index.
    """

    facts: RoundFacts
    plan: EncodingPlan
    total: Vector
    survivors: tuple[int, ...]
    schema: bytes
    drops: Mapping[int, Drop]


class DealerFaultError(PeerError):
    """A secret is not the one that its owner committed to. It dealt shares, so no next round will be better with it.

    Attributes:
        dealer: its directory index.
    """

    def __init__(self, dealer: int, name: str, why: str) -> None:
        hint = "leave this party out and run the round again"
        super().__init__(f"{name} is at fault: {why}; the round is lost", party=name, hint=hint)
        self.dealer = dealer


class Unmasking(RoundStep):
    """Collects shares, recovers the seeds and takes the masks off. Made by `Collecting.close`, or by `Confirming.close`.

    Attributes:
        survivors: U2.
        asked: whom UNMASK is for: in malicious mode those of U2 that confirmed it, since nobody else would answer.
    """

    def __init__(
        self,
        round_: Round,
        published: dict[int, Published],
        plan: EncodingPlan,
        transcript: bytes,
        total: Vector,
        survivors: tuple[int, ...],
        schema: bytes,
    ) -> None:
        self._round, self._published, self._plan = round_, published, plan
        self._transcript, self._total, self._schema = transcript, total, schema
        self.survivors: tuple[int, ...] = survivors
        self.asked: tuple[int, ...] = survivors
        self._confirmations: tuple[tuple[int, bytes], ...] = ()
        self._in_sum = frozenset(survivors)
        # By place in U1: how many shares of a party's secret there are, and the first t of them with their points.
        t = round_.facts.t
        self._row = {dealer: row for row, dealer in enumerate(published)}
        self._counts = np.zeros(len(published), np.int64)
        self._points = np.zeros((len(published), t), np.uint16)
        self._shares = np.zeros((len(published), t, shamir.LIMBS), np.uint16)
        self._short = len(published)
        self._answered: set[int] = set()

    def request(self) -> UnmaskRequest:
        """The same message for everybody who is asked."""
        return UnmaskRequest(header=self.facts.header, survivors=self.survivors, confirmations=self._confirmations)

    def confirmed_by(self, confirmations: Mapping[int, bytes]) -> None:
        """Takes over who confirmed U2, with the signatures that the others need to see. Who did not is among the drops."""
        self._confirmations = tuple(sorted(confirmations.items()))
        self.asked = tuple(sorted(confirmations))

    def recoverable_by(self, parties: Iterable[int]) -> bool:
        """Whether these parties hold t shares of every secret that is needed."""
        return not self._round.links.short_of(parties, self.facts.t)

    def fail(self, party: int, detail: str) -> None:
        """The party answered with an error. Its input stays in the sum: others hold shares of its seed."""
        if self._waits_for(party):
            self._round.drop(party, "unmask", DropReason.ERROR_REPLY, detail)

    def _waits_for(self, party: int) -> bool:
        return not self._closed and party in self._in_sum and party not in self._answered and party not in self.drops

    def add(self, party: int, data: bytes) -> None:
        """Takes one UNMASK; each share is checked against the hash its dealer published, so a wrong one names its holder."""
        if not self._waits_for(party):
            return
        links = self._round.links
        dealers, slots = links.dealers(party), links.slots(party)
        try:
            unmask = Unmask.decode(data)
            if unmask.header != self.facts.header:
                raise DecodeError("it belongs to another round")
            self._round.check_signature(unmask, party, self._transcript)
            if len(unmask.shares) != len(dealers):
                raise DecodeError(f"it has {len(unmask.shares)} shares, {len(dealers)} are due")
            for dealer, (of, _) in zip(dealers, unmask.shares, strict=True):
                if of is not (ShareOf.SELF_SEED if dealer in self._in_sum else ShareOf.BOX_KEY):
                    raise DecodeError("it has a share of the wrong secret")
            limbs = shamir.rows_from_bytes([share for _, share in unmask.shares])
        except (DecodeError, BadSignatureError) as error:
            self._round.drop_for(party, "unmask", error)
            return
        self._answered.add(party)
        good = self._as_dealt(party, dealers, slots, unmask)
        for dealer, right in zip(dealers, good, strict=True):
            if not right:
                self._round.drop(party, "unmask", DropReason.WRONG_SHARE, f"its share of {self._round.names[dealer]}'s secret")
        points = [drawn_point(links.place[party])] * len(slots) if self.facts.drawn else [slot + 1 for slot in slots]
        self._take(np.array([self._row[dealer] for dealer in dealers], np.int64)[good], np.array(points)[good], limbs[good])

    def _as_dealt(self, party: int, dealers: Sequence[int], slots: Sequence[int], unmask: Unmask) -> NDArray[np.bool_]:
        """Which of the shares have the hash that their dealer published."""
        good = np.zeros(len(dealers), bool)
        for of in ShareOf:
            chosen = [at for at, (kind, _) in enumerate(unmask.shares) if kind is of]
            hashes = keys.share_hashes([(dealers[at], party, unmask.shares[at][1]) for at in chosen], of, self.facts.header)
            for at, hashed in zip(chosen, hashes, strict=True):
                good[at] = equal(hashed, self._published[dealers[at]].share_hash(slots[at], of))
        return good

    def _take(self, rows: NDArray[np.int64], points: NDArray[np.int64], limbs: NDArray[np.uint16]) -> None:
        """Keeps one more share of the secret of each of these rows, where t are not there yet."""
        counts = self._counts[rows]
        wanted = counts < self.facts.t
        rows, counts = rows[wanted], counts[wanted]
        self._points[rows, counts] = points[wanted]
        self._shares[rows, counts] = limbs[wanted]
        self._counts[rows] += 1
        self._short -= int(np.count_nonzero(counts + 1 == self.facts.t))

    def complete(self) -> bool:
        """Whether every secret that is needed has t shares already, so that nobody else has to be waited for."""
        return not self._short

    def close(self, *, threads: int | None = None, accumulate: Accumulate | None = None) -> Sum:
        """Recovers the seeds and takes the masks off the sum.

        Args:
            threads: for the keystreams, as `keystream.accumulate`.
            accumulate: does the keystreams of the ring part elsewhere; see `masking.Accumulate`.

        Raises:
            QuorumError: somebody's secret has fewer than t shares; nothing partial is released.
            DealerFaultError: a recovered secret is not the one its owner committed to.
        """
        self._close_once()
        if self._short:
            silent = {party for party in self.survivors if party not in self._answered}
            raise QuorumError(
                f"the secrets of {self._short} parties have fewer than t = {self.facts.t} shares: "
                f"{len(silent)} of {len(self.survivors)} parties did not answer UNMASK ({self._round.described(silent)})",
                missing=self._round.missing(silent | (set(self.facts.cohort) - self._in_sum)),
            )
        secrets = self._reconstruct()
        add, subtract = self._masks(secrets)
        apply_masks(self._total, self._plan, add, subtract, threads=threads, accumulate=accumulate)
        return Sum(self.facts, self._plan, self._total, self.survivors, self._schema, dict(self.drops))

    def _reconstruct(self) -> dict[int, bytes]:
        """b_j of every survivor and z_j of everybody else in U1."""
        dealers = list(self._published)
        secrets: dict[int, bytes] = {}
        for start in range(0, len(dealers), _DEALERS_AT_ONCE):
            block = slice(start, start + _DEALERS_AT_ONCE)
            recovered = shamir.reconstruct(self._points[block], self._shares[block])
            secrets.update(zip(dealers[block], shamir.rows_to_bytes(recovered), strict=True))
        header = self.facts.header
        for dealer, secret in secrets.items():
            said = self._published[dealer]
            if dealer in self._in_sum:
                honest = equal(keys.commit_self_seed(secret, header, dealer), said.commit_self_seed)
            else:
                honest = equal(keys.commit_box_key(secret, header, dealer), said.commit_box_key)
            if not honest:
                raise self._fault(dealer, "its shares hold, but their secret is not the one it committed to")
        return secrets

    def _masks(self, secrets: dict[int, bytes]) -> tuple[list[bytes], list[bytes]]:
        """Keystream keys to add to and to subtract from the sum."""
        add: list[bytes] = []
        subtract = keys.self_mask_keys([secrets[party] for party in self.survivors], self._transcript)
        for party in sorted(self._published.keys() - self._in_sum):
            seeds = self._pairwise_seeds(party, secrets[party])
            # `other` added this mask if `party` is the larger index, and subtracted it otherwise.
            subtract += keys.pairwise_mask_keys([seed for other, seed in seeds if other < party], self._transcript)
            add += keys.pairwise_mask_keys([seed for other, seed in seeds if other > party], self._transcript)
        return add, subtract

    def _pairwise_seeds(self, party: int, secret: bytes) -> list[tuple[int, bytes]]:
        """s_ij of a party that is not in the sum with its neighbours that are, out of its box."""
        header, said = self.facts.header, self._published[party]
        try:
            opened = said.seeds(keys.box_key(secret, header, party), keys.box_associated_data(header, party))
        except PeerError:
            raise self._fault(party, "its box does not open with the key it committed to") from None
        seeds = list(zip(said.neighbours.tolist(), opened, strict=True))
        hashes = keys.commit_pairwise_seeds(seeds, header, party)
        published = said.seed_commitments()
        in_sum = [at for at, (other, _) in enumerate(seeds) if other in self._in_sum]
        if not all(equal(hashes[at], published[SHORT_HASH_BYTES * at : SHORT_HASH_BYTES * (at + 1)]) for at in in_sum):
            raise self._fault(party, "its box holds another seed than the one it committed to")
        return [seeds[at] for at in in_sum]

    def _fault(self, party: int, why: str) -> DealerFaultError:
        return DealerFaultError(party, self._round.names[party], why)
