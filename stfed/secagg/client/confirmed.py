"""UNMASK in malicious mode: only for the one U2 that this party signed, and only if a quorum of its members signed the same.

The quorum is floor((n+C)/2) + 1 of the cohort's n parties. Two different survivor sets, or one set under two transcripts, with so many
signatures each would share a signer outside the C corrupt ones, and an honest party signs once. So all shares that honest parties ever
release in a round are for one U2, whatever the coordinator told whom (Bonawitz et al., CCS 2017, section 6.2, the consistency check).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, Self

from stfed.crypto.identity import BadSignatureError
from stfed.secagg.client.holding import Holding
from stfed.secagg.directory import Directory
from stfed.secagg.messages import MAX_PARTIES, Header, Unmask, UnmaskRequest
from stfed.secagg.policy import Policy
from stfed.secagg.refusals import (
    ConfirmationError,
    ConfirmationQuorumError,
    DuplicateConfirmationError,
    OtherSurvivorsError,
    StrangeConfirmationError,
)
from stfed.secagg.signing import check_survivors
from stfed.wire import Reader, Writer

if TYPE_CHECKING:
    from stfed.secagg.client.ready import Ready


@dataclass(frozen=True, slots=True)
class Confirmed(Holding):
    """Has signed a survivor set and waits for the signatures of the others.

    Attributes:
        survivors: the U2 that was signed.
    """

    TAG: ClassVar[int] = 6
    survivors: tuple[int, ...]

    def _write(self, writer: Writer) -> None:
        Holding._write(self, writer)
        writer.u32s(self.survivors)

    @classmethod
    def _read(cls, reader: Reader) -> Self:
        base = Holding._read(reader)
        survivors = reader.u32s("survivors", max_items=MAX_PARTIES)
        return cls(base.member, base.keys, base.facts, base.alive, base.transcript, base.held, survivors)

    def unmask(self, request: UnmaskRequest, policy: Policy) -> tuple[Ready, Unmask]:
        """Releases one share per neighbour. Then forgets the round.

        Raises:
            OtherSurvivorsError: this is not the U2 that this party signed.
            ConfirmationError (and its kinds): the confirmations are not what they must be.
            RefusedError: as in CONFIRM, if the policy has become stricter since.
        """
        self.check_survivors(request.header, request.survivors, policy, "UNMASK")
        if request.survivors != self.survivors:
            raise OtherSurvivorsError("UNMASK is for another U2 than the one that this party signed")
        self._check_confirmations(request.confirmations, policy)
        return self.ready(), self.release(self.survivors)

    def _check_confirmations(self, confirmations: tuple[tuple[int, bytes], ...], policy: Policy) -> None:
        directory, needed = self.member.directory, policy.quorum(self.facts.n)
        signers = [party for party, _ in confirmations]
        if any(right <= left for left, right in pairwise(signers)):
            raise DuplicateConfirmationError("the confirmations are not in order, or name a party twice")
        if strangers := set(signers) - set(self.survivors):
            raise StrangeConfirmationError(f"party {min(strangers)} confirms, which is not in U2")
        if len(signers) < needed:
            raise ConfirmationQuorumError(
                f"{len(signers)} of {len(self.survivors)} parties in U2 confirm it, floor((n+C)/2)+1 = {needed} are needed"
            )
        if (party := _first_forged(directory, self.facts.header, self.transcript, self.survivors, confirmations)) is not None:
            name = directory.name(party)
            raise ConfirmationError(
                f"the confirmation of party {name} is not its signature under this round, transcript and U2", party=name
            )


@lru_cache(maxsize=2)
def _first_forged(
    directory: Directory, header: Header, transcript: bytes, survivors: tuple[int, ...], confirmations: tuple[tuple[int, bytes], ...]
) -> int | None:
    """The first party whose confirmation is not its signature; None if all are.

    Cached, because all parties of a simulation check the same public signatures in one process: n * n of them otherwise.
    """
    for party, signature in confirmations:
        try:
            check_survivors(directory.join(party).identity, signature, header, transcript, survivors)
        except BadSignatureError:
            return party
    return None
