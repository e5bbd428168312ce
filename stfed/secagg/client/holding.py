"""What a party holds from TRAIN to UNMASK: U1 as it saw it, and its neighbours' shares. Nothing of its own secrets is left."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from stfed.crypto.shamir import SHARE_BYTES
from stfed.encoding import EncodingPlan
from stfed.secagg.client.membership import Membership
from stfed.secagg.client.pairwise import PairwiseKeys
from stfed.secagg.client.state import ClientState
from stfed.secagg.messages import Header, ShareOf, Unmask
from stfed.secagg.policy import Policy
from stfed.secagg.refusals import NotAMemberError, SurvivorsError, WrongRoundError
from stfed.secagg.transcript import RoundFacts
from stfed.wire import Reader, Writer

if TYPE_CHECKING:
    from stfed.secagg.client.ready import Ready

_MAX_NEIGHBOURS = 1 << 20


@dataclass(frozen=True, slots=True)
class Holding(ClientState):
    """What `Training`, `Trained` and `Confirmed` share.

    Attributes:
        alive: U1, as this party saw it: CONFIRM and UNMASK use this one and no other.
        transcript: T, the one that this party's masks are derived with.
        held: per neighbour in U1, ascending: index, share of b, share of z.
    """

    member: Membership
    keys: PairwiseKeys
    facts: RoundFacts
    alive: tuple[int, ...]
    transcript: bytes
    held: tuple[tuple[int, bytes, bytes], ...] = field(repr=False)

    @property
    def header(self) -> Header:
        """Where in the run this state is."""
        return self.facts.header

    def _write(self, writer: Writer) -> None:
        self.member.write(writer)
        self.keys.write(writer)
        writer.opaque(self.facts.encode()).u32s(self.alive).fixed(self.transcript, 32).u32s([dealer for dealer, _, _ in self.held])
        writer.fixed_vector([share_b + share_z for _, share_b, share_z in self.held], 2 * SHARE_BYTES)

    @classmethod
    def _read(cls, reader: Reader) -> Self:
        member, pairwise, facts = (
            Membership.read(reader),
            PairwiseKeys.read(reader),
            RoundFacts.decode(reader.opaque("facts", max_bytes=1 << 30)),
        )
        alive = reader.u32s("alive", max_items=_MAX_NEIGHBOURS)
        transcript = reader.fixed(32, "transcript")
        dealers = reader.u32s("dealers", max_items=_MAX_NEIGHBOURS)
        shares = reader.fixed_vector("shares", 2 * SHARE_BYTES, max_items=_MAX_NEIGHBOURS)
        held = tuple((dealer, both[:SHARE_BYTES], both[SHARE_BYTES:]) for dealer, both in zip(dealers, shares, strict=True))
        return cls(member, pairwise, facts, alive, transcript, held)

    def ready(self) -> Ready:
        """Gives the round up, or closes it."""
        from stfed.secagg.client.ready import Ready  # the states form a circle

        return Ready(self.member, self.keys)

    def check_survivors(self, header: Header, survivors: tuple[int, ...], policy: Policy, step: str) -> None:
        """Refuses a U2 that this party must neither sign nor unmask.

        Raises:
            WrongRoundError: the message is of another round.
            ModeError: this party's policy has another mode by now.
            NotAMemberError: this party is not in U2.
            SurvivorsError: U2 has somebody who was not in this party's U1.
            CohortTooSmallError: U2 is below the floor.
        """
        if header != self.facts.header:
            raise WrongRoundError(f"{step} belongs to another round than the one this party trained in")
        policy.check_mode(self.facts.mode)
        if self.member.index not in survivors:
            raise NotAMemberError("this party is not in U2")
        if strangers := set(survivors) - set(self.alive):
            raise SurvivorsError(f"U2 names party {min(strangers)}, which is not in the U1 that this party trained with")
        promised = EncodingPlan.decode(self.facts.plan).promised_survivors
        policy.check_alive(len(survivors), self.facts.n, self.facts.k, "U2", promised=promised)

    def release(self, survivors: tuple[int, ...]) -> Unmask:
        """One share per neighbour in U1: of b where the neighbour is in the sum, of z where it is not."""
        inside = frozenset(survivors)
        shares = tuple(
            (ShareOf.SELF_SEED, share_b) if dealer in inside else (ShareOf.BOX_KEY, share_z) for dealer, share_b, share_z in self.held
        )
        return Unmask(header=self.facts.header, shares=shares)
