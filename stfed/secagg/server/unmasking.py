"""UNMASK: shares are collected, seeds recovered, masks taken off."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Mapping
from dataclasses import dataclass

import numpy as np

from stfed.crypto import aead, shamir
from stfed.crypto.identity import BadSignatureError
from stfed.crypto.kdf import equal
from stfed.encoding import EncodingPlan, Vector
from stfed.errors import DecodeError, PeerError, QuorumError
from stfed.secagg import keys
from stfed.secagg.masking import apply_masks
from stfed.secagg.messages import (
    Prepare,
    ShareOf,
    Unmask,
    UnmaskRequest,
)
from stfed.secagg.server.drops import Drop, DropReason
from stfed.secagg.server.links import SEED_BYTES
from stfed.secagg.server.step import Round, RoundStep
from stfed.secagg.transcript import RoundFacts

_BOX_NONCE = bytes(aead.NONCE_BYTES)
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
        prepares: dict[int, Prepare],
        plan: EncodingPlan,
        transcript: bytes,
        total: Vector,
        survivors: tuple[int, ...],
        schema: bytes,
    ) -> None:
        self._round, self._prepares, self._plan = round_, prepares, plan
        self._transcript, self._total, self._schema = transcript, total, schema
        self.survivors = self.asked = survivors
        self._confirmations: tuple[tuple[int, bytes], ...] = ()
        self._in_sum = frozenset(survivors)
        self._shares: dict[int, dict[int, bytes]] = defaultdict(dict)
        self._answered: set[int] = set()

    def request(self) -> UnmaskRequest:
        """The same message for everybody who is asked."""
        return UnmaskRequest(header=self.facts.header, survivors=self.survivors, confirmations=self._confirmations)

    def confirmed_by(self, confirmations: Mapping[int, bytes]) -> None:
        """Takes over who confirmed U2, with the signatures that the others need to see. Who did not is among the drops."""
        self._confirmations = tuple(sorted(confirmations.items()))
        self.asked = tuple(sorted(confirmations))

    def recoverable_by(self, parties: Container[int]) -> bool:
        """Whether these parties hold t shares of every secret that is needed."""
        holders = self._round.links.holders
        return all(sum(holder in parties for holder in holders[dealer]) >= self.facts.t for dealer in self._prepares)

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
        header = self.facts.header
        links = self._round.links
        dealers = [dealer for dealer in links.dealers[party] if dealer in self._prepares]
        try:
            unmask = Unmask.decode(data)
            if unmask.header != header:
                raise DecodeError("it belongs to another round")
            self._round.check_signature(unmask, party, self._transcript)
            if len(unmask.shares) != len(dealers):
                raise DecodeError(f"it has {len(unmask.shares)} shares, {len(dealers)} are due")
            for dealer, (of, _) in zip(dealers, unmask.shares, strict=True):
                if of is not (ShareOf.SELF_SEED if dealer in self._in_sum else ShareOf.BOX_KEY):
                    raise DecodeError("it has a share of the wrong secret")
            shamir.rows_from_bytes([share for _, share in unmask.shares])
        except (DecodeError, BadSignatureError) as error:
            self._round.drop_for(party, "unmask", error)
            return
        self._answered.add(party)
        for of in ShareOf:
            shares = [(dealer, party, share) for dealer, (kind, share) in zip(dealers, unmask.shares, strict=True) if kind is of]
            for (dealer, _, share), hashed in zip(shares, keys.share_hashes(shares, of, header), strict=True):
                dealt = self._prepares[dealer].dealt[links.slot[dealer][party]]
                if equal(hashed, dealt.self_seed_hash if of is ShareOf.SELF_SEED else dealt.box_key_hash):
                    self._shares[dealer][links.point(dealer, party)] = share
                else:
                    self._round.drop(party, "unmask", DropReason.WRONG_SHARE, f"its share of {self._round.names[dealer]}'s secret")

    def complete(self) -> bool:
        """Whether every secret that is needed has t shares already, so that nobody else has to be waited for."""
        return all(len(self._shares[dealer]) >= self.facts.t for dealer in self._prepares)

    def close(self, *, threads: int | None = None) -> Sum:
        """Recovers the seeds and takes the masks off the sum.

        Raises:
            QuorumError: somebody's secret has fewer than t shares; nothing partial is released.
            DealerFaultError: a recovered secret is not the one its owner committed to.
        """
        self._close_once()
        t = self.facts.t
        short = [dealer for dealer in self._prepares if len(self._shares[dealer]) < t]
        if short:
            silent = {party for party in self.survivors if party not in self._answered}
            raise QuorumError(
                f"the secrets of {len(short)} parties have fewer than t = {t} shares: "
                f"{len(silent)} of {len(self.survivors)} parties did not answer UNMASK ({self._round.described(silent)})",
                missing=self._round.missing(silent | (set(self.facts.cohort) - self._in_sum)),
            )
        secrets = self._reconstruct()
        add, subtract = self._masks(secrets)
        apply_masks(self._total, self._plan, add, subtract, threads=threads)
        return Sum(self.facts, self._plan, self._total, self.survivors, self._schema, dict(self.drops))

    def _reconstruct(self) -> dict[int, bytes]:
        """b_j of every survivor and z_j of everybody else in U1."""
        dealers, t = list(self._prepares), self.facts.t
        secrets: dict[int, bytes] = {}
        for start in range(0, len(dealers), _DEALERS_AT_ONCE):
            block = dealers[start : start + _DEALERS_AT_ONCE]
            points = [sorted(self._shares[dealer])[:t] for dealer in block]
            held = [self._shares[dealer][point] for dealer, at in zip(block, points, strict=True) for point in at]
            shares = shamir.rows_from_bytes(held).reshape(len(block), t, shamir.LIMBS)
            recovered = shamir.reconstruct(np.array(points), shares)
            secrets.update(zip(block, shamir.rows_to_bytes(recovered), strict=True))
        header = self.facts.header
        for dealer, secret in secrets.items():
            prepare = self._prepares[dealer]
            if dealer in self._in_sum:
                honest = equal(keys.commit_self_seed(secret, header, dealer), prepare.commit_self_seed)
            else:
                honest = equal(keys.commit_box_key(secret, header, dealer), prepare.commit_box_key)
            if not honest:
                raise self._fault(dealer, "its shares hold, but their secret is not the one it committed to")
        return secrets

    def _masks(self, secrets: dict[int, bytes]) -> tuple[list[bytes], list[bytes]]:
        """Keystream keys to add to and to subtract from the sum."""
        add: list[bytes] = []
        subtract = [keys.self_mask_key(secrets[party], self._transcript) for party in self.survivors]
        header, links = self.facts.header, self._round.links
        for party in self._prepares:
            if party in self._in_sum:
                continue
            seeds, prepare = self._open_box(party, secrets[party]), self._prepares[party]
            for other in links.neighbours(party):
                if other not in self._in_sum:
                    continue
                seed = seeds[links.seed_at(party, other)]
                if not equal(keys.commit_pairwise_seed(seed, header, party, other), links.seed_commitment(party, prepare, other)):
                    raise self._fault(party, "its box holds another seed than the one it committed to")
                # `other` added this mask if `party` is the larger index, and subtracted it otherwise.
                (subtract if party > other else add).append(keys.pairwise_mask_key(seed, self._transcript))
        return add, subtract

    def _open_box(self, party: int, secret: bytes) -> list[bytes]:
        header = self.facts.header
        try:
            opened = aead.open_(
                keys.box_key(secret, header, party), _BOX_NONCE, self._prepares[party].box, keys.box_associated_data(header, party)
            )
        except PeerError:
            raise self._fault(party, "its box does not open with the key it committed to") from None
        return [opened[at : at + SEED_BYTES] for at in range(0, len(opened), SEED_BYTES)]

    def _fault(self, party: int, why: str) -> DealerFaultError:
        return DealerFaultError(party, self._round.names[party], why)
