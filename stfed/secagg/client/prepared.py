"""TRAIN: U1 and the neighbours' shares are checked, and the masks' keys derived."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from stfed.crypto import aead, shamir
from stfed.crypto.kdf import KEY_BYTES, equal
from stfed.crypto.shamir import SHARE_BYTES
from stfed.encoding import EncodingPlan
from stfed.errors import PeerError
from stfed.secagg import keys
from stfed.secagg.client.masks import MaskKeys
from stfed.secagg.client.membership import Membership
from stfed.secagg.client.pairwise import PairwiseKeys
from stfed.secagg.client.state import ClientState
from stfed.secagg.client.trained import Training
from stfed.secagg.messages import (
    Delivery,
    Header,
    ShareOf,
    TrainRequest,
)
from stfed.secagg.policy import Policy
from stfed.secagg.refusals import (
    NotAMemberError,
    ShareFieldError,
    ShareHoldersError,
    ShareMismatchError,
    ShareUnreadableError,
    UnknownPartyError,
    WrongRoundError,
)
from stfed.secagg.transcript import RoundFacts
from stfed.wire import Reader, Writer

if TYPE_CHECKING:
    from stfed.secagg.client.ready import Ready

_MAX_NEIGHBOURS = 1 << 20


@dataclass(frozen=True, slots=True)
class Prepared(ClientState):
    """Has dealt its shares and waits for U1 and the model.

    Attributes:
        neighbours: directory indices, ascending.
        self_seed: b_i.
        seeds: s_ij per neighbour.
        incoming: per neighbour, the key of the shares it deals to this party.
    """

    TAG: ClassVar[int] = 3
    member: Membership
    keys: PairwiseKeys
    facts: RoundFacts
    neighbours: tuple[int, ...]
    self_seed: bytes = field(repr=False)
    seeds: tuple[bytes, ...] = field(repr=False)
    incoming: tuple[bytes, ...] = field(repr=False)

    @property
    def header(self) -> Header:
        """Where in the run this state is."""
        return self.facts.header

    def _write(self, writer: Writer) -> None:
        self.member.write(writer)
        self.keys.write(writer)
        writer.opaque(self.facts.encode()).u32s(self.neighbours).fixed(self.self_seed, SHARE_BYTES)
        writer.fixed_vector(self.seeds, KEY_BYTES).fixed_vector(self.incoming, KEY_BYTES)

    @classmethod
    def _read(cls, reader: Reader) -> Self:
        return cls(
            Membership.read(reader),
            PairwiseKeys.read(reader),
            RoundFacts.decode(reader.opaque("facts", max_bytes=1 << 30)),
            reader.u32s("neighbours", max_items=_MAX_NEIGHBOURS),
            reader.fixed(SHARE_BYTES, "self_seed"),
            tuple(reader.fixed_vector("seeds", KEY_BYTES, max_items=_MAX_NEIGHBOURS)),
            tuple(reader.fixed_vector("incoming", KEY_BYTES, max_items=_MAX_NEIGHBOURS)),
        )

    def ready(self) -> Ready:
        """Gives the round up."""
        from stfed.secagg.client.ready import Ready  # the states form a circle

        return Ready(self.member, self.keys)

    def train(self, request: TrainRequest, content: bytes, policy: Policy) -> tuple[Training, MaskKeys]:
        """Checks U1 and the neighbours' shares, and derives the keys of the masks.

        Args:
            request: the coordinator's message.
            content: 32-byte hash of the model and config that the train function is about to receive.
            policy: this party's own.

        Returns:
            The next state, to be stored before training starts, and the mask keys, which are never stored.

        Raises:
            RefusedError: one kind for each rule that the request breaks.
        """
        facts, own = self.facts, self.member.index
        if request.header != facts.header:
            raise WrongRoundError("TRAIN belongs to another round than the one this party prepared")
        policy.check_mode(facts.mode)
        alive = frozenset(request.alive)
        if own not in alive:
            raise NotAMemberError("this party is not in U1")
        if strangers := alive - set(facts.cohort):
            raise UnknownPartyError(f"U1 names party {min(strangers)}, which is not in the cohort of PREPARE")
        policy.check_alive(len(alive), facts.n, facts.k, "U1")
        living = tuple(at for at, other in enumerate(self.neighbours) if other in alive)
        self._check_holders(len(living))
        if len(request.deliveries) != len(living):
            raise ShareHoldersError(f"U1 has {len(living)} neighbours of this party, the message has shares of {len(request.deliveries)}")

        graph, position_of = facts.graph(), {index: at for at, index in enumerate(facts.cohort)}
        opened: list[tuple[int, bytes]] = []
        for at, delivery in zip(living, request.deliveries, strict=True):
            dealer = self.neighbours[at]
            point = graph.point(position_of[dealer], position_of[own])
            associated = keys.share_associated_data(facts.header, dealer, own, point, facts.t, facts.k, delivery.commitments)
            try:
                opened.append((dealer, aead.open_random(self.incoming[at], delivery.sealed, associated)))
            except PeerError:
                name = self.member.directory.name(dealer)
                raise ShareUnreadableError(
                    f"the shares of party {name} do not open", dealer=dealer, delivery=delivery, party=name
                ) from None
        held = tuple((dealer, both[:SHARE_BYTES], both[SHARE_BYTES:]) for dealer, both in opened)
        shares_b = [(dealer, own, share_b) for dealer, share_b, _ in held]
        shares_z = [(dealer, own, share_z) for dealer, _, share_z in held]
        self._check_field(held, request.deliveries)
        hashes = zip(
            keys.share_hashes(shares_b, ShareOf.SELF_SEED, facts.header),
            keys.share_hashes(shares_z, ShareOf.BOX_KEY, facts.header),
            strict=True,
        )
        for (dealer, *_), (hash_b, hash_z), delivery in zip(held, hashes, request.deliveries, strict=True):
            if not (equal(hash_b, delivery.self_seed_hash) and equal(hash_z, delivery.box_key_hash)):
                name = self.member.directory.name(dealer)
                raise ShareMismatchError(
                    f"a share of party {name} is not the one it published the hash of", dealer=dealer, delivery=delivery, party=name
                )

        transcript = facts.transcript(request.alive, content)
        masks = MaskKeys(
            header=facts.header,
            plan=EncodingPlan.decode(facts.plan),
            add=(
                keys.self_mask_key(self.self_seed, transcript),
                *(keys.pairwise_mask_key(self.seeds[at], transcript) for at in living if self.neighbours[at] > own),
            ),
            subtract=tuple(keys.pairwise_mask_key(self.seeds[at], transcript) for at in living if self.neighbours[at] < own),
        )
        return Training(self.member, self.keys, facts, request.alive, transcript, held), masks

    def _check_holders(self, living: int) -> None:
        """Refuses a U1 that is small enough for a second, larger one to be confirmed without it.

        Without this floor a coordinator gives a few victims a U1 of their own, lets the others confirm a U2 in which only one of the few is
        alive, and reads its update: the others hold t shares of every secret of the few.
        """
        if living < self.facts.t:
            raise ShareHoldersError(f"{living} of this party's share-holders are in U1, t = {self.facts.t} are needed")

    def _check_field(self, held: tuple[tuple[int, bytes, bytes], ...], deliveries: tuple[Delivery, ...]) -> None:
        """Refuses the first dealer with a limb outside GF(65521)."""
        limbs = np.frombuffer(b"".join(share_b + share_z for _, share_b, share_z in held), "<u2").reshape(len(held), -1)
        outside = (limbs >= shamir.PRIME).any(axis=1)
        if outside.any():
            at = int(outside.argmax())
            dealer = held[at][0]
            name = self.member.directory.name(dealer)
            raise ShareFieldError(
                f"a share of party {name} has a limb that is not below {shamir.PRIME}", dealer=dealer, delivery=deliveries[at], party=name
            )
