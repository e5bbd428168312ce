"""TRAIN: U1 and the neighbours' shares are checked, and the masks' keys derived."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Self

from stfed.crypto.kdf import KEY_BYTES
from stfed.crypto.shamir import SHARE_BYTES
from stfed.encoding import EncodingPlan
from stfed.secagg import keys
from stfed.secagg.client.deliveries import open_deliveries
from stfed.secagg.client.masks import MaskKeys
from stfed.secagg.client.membership import Membership
from stfed.secagg.client.pairwise import PairwiseKeys
from stfed.secagg.client.state import ClientState
from stfed.secagg.client.trained import Training
from stfed.secagg.messages import DrawnTrainRequest, Header, TrainRequest
from stfed.secagg.policy import Policy
from stfed.secagg.refusals import (
    DealerError,
    NotAMemberError,
    ShareHoldersError,
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
        neighbours: with whom it may share a mask, as directory indices, ascending.
        self_seed: b_i.
        seeds: s_ij per neighbour.
        incoming: per neighbour, the key of the shares it deals to this party.
        holders: those of the neighbours that this party has drawn to hold its shares; empty where all of them do.
    """

    TAG: ClassVar[int] = 3
    member: Membership
    keys: PairwiseKeys
    facts: RoundFacts
    neighbours: tuple[int, ...]
    self_seed: bytes = field(repr=False)
    seeds: tuple[bytes, ...] = field(repr=False)
    incoming: tuple[bytes, ...] = field(repr=False)
    holders: tuple[int, ...] = ()

    @property
    def header(self) -> Header:
        """Where in the run this state is."""
        return self.facts.header

    def _write(self, writer: Writer) -> None:
        self.member.write(writer)
        self.keys.write(writer)
        writer.opaque(self.facts.encode()).u32s(self.neighbours).fixed(self.self_seed, SHARE_BYTES)
        writer.fixed_vector(self.seeds, KEY_BYTES).fixed_vector(self.incoming, KEY_BYTES).u32s(self.holders)

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
            reader.u32s("holders", max_items=_MAX_NEIGHBOURS),
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
        if strangers := alive.difference(facts.cohort):
            raise UnknownPartyError(f"U1 names party {min(strangers)}, which is not in the cohort of PREPARE")
        plan = EncodingPlan.decode(facts.plan)
        policy.check_alive(len(alive), facts.n, facts.k, "U1", promised=plan.promised_survivors)
        dealers = self._dealers(request, alive)
        places = {other: at for at, other in enumerate(self.neighbours)}
        held = open_deliveries(self.member, facts, [(dealer, self.incoming[places[dealer]]) for dealer in dealers], request.deliveries)

        # Where parties draw: with everybody who holds this party's shares or whose shares it holds, once for each, whoever drew whom.
        partners = sorted(alive.intersection(self.holders).union(dealers))
        transcript = facts.transcript(request.alive, content)
        pairwise = dict(zip(partners, keys.pairwise_mask_keys([self.seeds[places[other]] for other in partners], transcript), strict=True))
        masks = MaskKeys(
            header=facts.header,
            plan=plan,
            add=(keys.self_mask_key(self.self_seed, transcript), *(key for other, key in pairwise.items() if other > own)),
            subtract=tuple(key for other, key in pairwise.items() if other < own),
        )
        return Training(self.member, self.keys, facts, request.alive, transcript, held), masks

    def _dealers(self, request: TrainRequest, alive: frozenset[int]) -> tuple[int, ...]:
        """Whose shares this party must have got: its neighbours in U1, or, where parties draw, those that the message names.

        The coordinator may leave dealers out where it names them. That gains it nothing: such a dealer masks with this party all the
        same, since it drew it, and a mask that stands at one end only never comes off.
        """
        drawn = isinstance(request, DrawnTrainRequest)
        if drawn is not self.facts.drawn:
            raise DealerError(f"the message {'names' if drawn else 'does not name'} the dealers of its shares, in this round that is wrong")
        living = tuple(other for other in self.holders or self.neighbours if other in alive)
        self._check_holders(len(living))
        dealers = request.dealers if isinstance(request, DrawnTrainRequest) else living
        if strangers := set(dealers) - (alive - {self.member.index}):
            raise DealerError(f"the message has shares of party {min(strangers)}, which is not in U1 or is this party itself")
        if len(request.deliveries) != len(dealers):
            raise ShareHoldersError(f"U1 has {len(dealers)} neighbours of this party, the message has shares of {len(request.deliveries)}")
        return dealers

    def _check_holders(self, living: int) -> None:
        """Refuses a U1 that is small enough for a second, larger one to be confirmed without it.

        Without this floor a coordinator gives a few victims a U1 of their own, lets the others confirm a U2 in which only one of the few is
        alive, and reads its update: the others hold t shares of every secret of the few.
        """
        if living < self.facts.t:
            raise ShareHoldersError(f"{living} of this party's share-holders are in U1, t = {self.facts.t} are needed")
