"""CONFIRM: the frozen U2 gets the signatures without which no party releases a share; malicious mode only."""

from __future__ import annotations

from stfed.crypto.identity import BadSignatureError
from stfed.errors import DecodeError, QuorumError
from stfed.secagg.messages import Confirm, ConfirmRequest
from stfed.secagg.server.drops import DropReason
from stfed.secagg.server.step import Round, RoundStep
from stfed.secagg.server.unmasking import Unmasking
from stfed.secagg.signing import check_survivors


class Confirming(RoundStep):
    """Collects signatures under U2. Made by `Collecting.confirm`.

    Who does not confirm stays in the sum, since others hold shares of its secrets, but is not asked for shares: it would give none.

    Attributes:
        survivors: U2, which does not change any more.
    """

    def __init__(self, round_: Round, unmasking: Unmasking, transcript: bytes) -> None:
        self._round, self._unmasking, self._transcript = round_, unmasking, transcript
        self.survivors: tuple[int, ...] = unmasking.survivors
        self._in_sum = frozenset(self.survivors)
        self._confirmations: dict[int, bytes] = {}

    def request(self) -> ConfirmRequest:
        """The same message for everybody in U2."""
        return ConfirmRequest(header=self.facts.header, survivors=self.survivors)

    def fail(self, party: int, detail: str) -> None:
        """The party answered with an error."""
        if self._waits_for(party):
            self._round.drop(party, "confirm", DropReason.ERROR_REPLY, detail)

    def _waits_for(self, party: int) -> bool:
        return not self._closed and party in self._in_sum and party not in self._confirmations and party not in self.drops

    def add(self, party: int, data: bytes) -> None:
        """Takes one confirmation, the first one; one that is not this party's signature under this U2 names its sender."""
        if not self._waits_for(party):
            return
        try:
            confirm = Confirm.decode(data)
            if confirm.header != self.facts.header:
                raise DecodeError("it belongs to another round")
            check_survivors(self._round.identity(party), confirm.signature, self.facts.header, self._transcript, self.survivors)
        except (DecodeError, BadSignatureError) as error:
            self._round.drop_for(party, "confirm", error)
            return
        self._confirmations[party] = confirm.signature

    def enough(self) -> bool:
        """Whether those who confirmed so far can finish the round alone: they are a quorum, and hold t shares of everybody's secret."""
        return len(self._confirmations) >= self._round.quorum and self._unmasking.recoverable_by(self._confirmations)

    def close(self) -> Unmasking:
        """UNMASK, for those who confirmed.

        Raises:
            QuorumError: fewer than the quorum confirmed.
        """
        self._close_once()
        silent = [party for party in self.survivors if party not in self._confirmations]
        for party in silent:
            self._round.drop(party, "confirm", DropReason.NO_REPLY)
        confirmed, quorum = len(self._confirmations), self._round.quorum
        if confirmed < quorum:
            raise QuorumError(
                f"{confirmed} of {len(self.survivors)} parties confirmed the survivor set, {quorum} are needed "
                f"({self._round.described(silent)})",
                missing=self._round.missing(silent),
            )
        self._unmasking.confirmed_by(self._confirmations)
        return self._unmasking
