"""From TRAIN to the survivor set: the masked vector, then UNMASK in semi-honest mode, CONFIRM in malicious mode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from stfed.crypto.identity import Identity
from stfed.secagg.client.confirmed import Confirmed
from stfed.secagg.client.holding import Holding
from stfed.secagg.messages import Confirm, ConfirmRequest, Masked, Unmask, UnmaskRequest
from stfed.secagg.params import Mode
from stfed.secagg.policy import Policy
from stfed.secagg.refusals import ModeError
from stfed.secagg.signing import sign_survivors

if TYPE_CHECKING:
    from stfed.secagg.client.ready import Ready


@dataclass(frozen=True, slots=True)
class Training(Holding):
    """TRAIN was accepted and its one use is spent. A party that is found in this state after a crash has lost the round."""

    TAG: ClassVar[int] = 4

    def finish(self, schema: bytes, payload_bytes: int, payload_digest: bytes = b"") -> tuple[Trained, Masked]:
        """The masked vector exists; the reply may leave as soon as the returned state is stored."""
        reply = Masked(header=self.facts.header, schema=schema, payload_bytes=payload_bytes, payload_digest=payload_digest)
        return Trained(self.member, self.keys, self.facts, self.alive, self.transcript, self.held), reply


@dataclass(frozen=True, slots=True)
class Trained(Holding):
    """Has sent its masked input and waits for U2."""

    TAG: ClassVar[int] = 5

    def confirm(self, request: ConfirmRequest, policy: Policy, identity: Identity) -> tuple[Confirmed, Confirm]:
        """Signs U2, the only one of this round; malicious mode.

        Raises:
            RefusedError: U2 is not a subset of the U1 that this party trained with, too small, or without this party.
            ModeError: the round is semi-honest.
        """
        if self.facts.mode is not Mode.MALICIOUS:
            raise ModeError("CONFIRM belongs to malicious mode, the round is semi-honest")
        survivors = request.survivors
        self.check_survivors(request.header, survivors, policy, "CONFIRM")
        signature = sign_survivors(identity, self.facts.header, self.transcript, survivors)
        state = Confirmed(self.member, self.keys, self.facts, self.alive, self.transcript, self.held, survivors)
        return state, Confirm(header=self.facts.header, signature=signature)

    def unmask(self, request: UnmaskRequest, policy: Policy) -> tuple[Ready, Unmask]:
        """Releases one share per neighbour, in semi-honest mode. Then forgets the round.

        Raises:
            RefusedError: U2 is not a subset of the U1 that this party trained with, too small, or without this party.
            ModeError: the round is malicious: nothing is released before CONFIRM.
        """
        if self.facts.mode is Mode.MALICIOUS:
            raise ModeError("malicious mode needs CONFIRM before UNMASK")
        if request.confirmations:
            raise ModeError("UNMASK carries confirmations, but the round is semi-honest")
        self.check_survivors(request.header, request.survivors, policy, "UNMASK")
        return self.ready(), self.release(request.survivors)
