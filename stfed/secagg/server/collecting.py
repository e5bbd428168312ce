"""TRAIN: masked inputs are added up as they arrive; who sent one is U2."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from stfed.crypto.identity import BadSignatureError
from stfed.crypto.kdf import equal
from stfed.encoding import EncodingPlan, MetricSchema, Vector, payload_bytes, unpack_vector
from stfed.errors import DecodeError, LocalError, QuorumError
from stfed.secagg.messages import (
    Complaint,
    Delivery,
    DrawnTrainRequest,
    Masked,
    Prepare,
    TrainRequest,
)
from stfed.secagg.server.confirming import Confirming
from stfed.secagg.server.disputes import Dispute
from stfed.secagg.server.drops import DropReason
from stfed.secagg.server.published import Published
from stfed.secagg.server.step import Round, RoundStep
from stfed.secagg.server.unmasking import Unmasking
from stfed.secagg.signing import round_context
from stfed.wire import Records

_MAX_SCHEMAS = 4
"""How many different sets of metrics are kept apart, each with a sum of its own; this bounds the coordinator's memory. In malicious mode
there is room for one more than there may be liars, so that the honest parties' set always finds a place."""


class Collecting(RoundStep):
    """Adds up the masked inputs as they arrive. Made by `Preparing.close`."""

    def __init__(self, round_: Round, published: dict[int, Published], prepares: Mapping[int, Prepare], content: bytes) -> None:
        self._round, self._published = round_, published
        self._evidence = prepares if round_.malicious else {}
        self.plan: EncodingPlan = EncodingPlan.decode(round_.facts.plan)
        self.alive: tuple[int, ...] = tuple(published)
        self.transcript: bytes = round_.facts.transcript(self.alive, content)
        self._payload_bytes = payload_bytes(self.plan)
        # One running sum per set of metrics, because vectors with different metrics cannot be added; as a rule there is one.
        self._sums: dict[bytes, tuple[Vector, set[int]]] = {}
        self.disputes: list[Dispute] = []

    def request(self, party: int) -> TrainRequest:
        """The message for this party: U1 and the shares that its neighbours dealt it."""
        links = self._round.links
        dealers = links.dealers(party)
        data = b"".join(self._published[dealer].delivery(slot) for dealer, slot in zip(dealers, links.slots(party), strict=True))
        deliveries = Records(data, Delivery.BYTES, Delivery.decode)
        if self.facts.drawn:
            return DrawnTrainRequest(header=self.facts.header, alive=self.alive, deliveries=deliveries, dealers=dealers)
        return TrainRequest(header=self.facts.header, alive=self.alive, deliveries=deliveries)

    def fail(self, party: int, detail: str) -> None:
        """The party answered with an error."""
        if self._waits_for(party):
            self._round.drop(party, "train", DropReason.ERROR_REPLY, detail)

    def complain(self, party: int, data: bytes) -> None:
        """The party answered with a complaint about a neighbour's shares: it is out of the round, and the dispute is on record.

        One that is not about what the neighbour dealt and this side passed on accuses nobody, and costs its sender the round alike.

        Args:
            party: directory index, from U1.
            data: the `Complaint` message.
        """
        if not self._waits_for(party):
            return
        try:
            complaint = Complaint.decode(data)
            if complaint.header != self.facts.header:
                raise DecodeError("it belongs to another round")
            if not self._round.malicious:
                raise DecodeError("complaints belong to malicious mode")
            self._round.check_signature(complaint, party, round_context(self.facts))
            dealer = complaint.dealer
            if dealer not in self._published or party not in self._round.links.holders(dealer):
                raise DecodeError("it complains about somebody who dealt it nothing")
            delivery = self._published[dealer].delivery(self._round.links.slot(dealer, party))
            if not equal(complaint.delivery, hashlib.sha256(delivery).digest()):
                raise DecodeError("it complains about shares that it was not sent")
        except (DecodeError, BadSignatureError) as error:
            self._round.drop_for(party, "train", error)
            return
        identity = self._round.identity
        self.disputes.append(Dispute(identity(party), identity(dealer), complaint, self._evidence[dealer]))
        why = f"the shares of {self._round.names[dealer]}: {complaint.grievance.name.lower().replace('_', ' ')}"
        self._round.drop(party, "train", DropReason.DISPUTE, why)

    def _waits_for(self, party: int) -> bool:
        return party in self._published and party not in self.drops and not any(party in summed for _, summed in self._sums.values())

    def add(self, party: int, data: bytes, payload: bytes | memoryview) -> None:
        """Takes one masked input and adds it to the running sum. The first one counts.

        Args:
            party: directory index, from U1.
            data: the `Masked` message.
            payload: the packed vector.
        """
        if not self._waits_for(party):
            return
        try:
            masked = Masked.decode(data)
            if masked.header != self.facts.header:
                raise DecodeError("it belongs to another round")
            self._round.check_signature(masked, party, self.transcript)
            if self._round.malicious and not masked.payload_digest:
                raise DecodeError("it does not say which vector it is signed for")
            if masked.payload_bytes != len(payload) or len(payload) != self._payload_bytes:
                raise DecodeError(f"its vector has {len(payload)} bytes, {self._payload_bytes} are due")
            if masked.payload_digest and not equal(masked.payload_digest, hashlib.sha256(payload).digest()):
                raise DecodeError("its vector does not fit its digest")
            if len(MetricSchema.decode(masked.schema).names) > self.plan.metric_slots:
                raise DecodeError(f"it has more metrics than the {self.plan.metric_slots} that there is room for")
            vector = unpack_vector(payload, self.plan)
        except (DecodeError, BadSignatureError) as error:
            self._round.drop_for(party, "train", error)
            return
        if masked.schema not in self._sums:
            if len(self._sums) >= max(_MAX_SCHEMAS, (self._round.corrupt or 0) + 1):
                self._round.drop(party, "train", DropReason.OTHER_METRICS, "its metrics have other names than the others'")
                return
            self._sums[masked.schema] = (Vector.zeros(self.plan), set())
        total, summed = self._sums[masked.schema]
        total.add(vector, self.plan)
        summed.add(party)

    def close(self) -> Unmasking:
        """Freezes U2, in semi-honest mode. The driver must record it durably before an UNMASK leaves.

        Raises:
            QuorumError: U2 is below the floor.
            LocalError: the round is malicious: its parties unmask nothing that they have not confirmed.
        """
        if self._round.malicious:
            raise LocalError("in malicious mode U2 goes to CONFIRM before UNMASK", hint="call confirm()")
        return self._frozen()

    def confirm(self) -> Confirming:
        """Freezes U2, in malicious mode. The driver must record it durably before a CONFIRM leaves.

        Raises:
            QuorumError: U2 is below the floor or the quorum of signatures.
            LocalError: the round is semi-honest.
        """
        if not self._round.malicious:
            raise LocalError("CONFIRM belongs to malicious mode", hint="call close()")
        unmasking = self._frozen()
        return Confirming(self._round, unmasking, self.transcript)

    def _frozen(self) -> Unmasking:
        self._close_once()
        # The metrics that most parties have; of equals, the first in byte order.
        most = max(sorted(self._sums), key=lambda schema: len(self._sums[schema][1]), default=None)
        total, summed = (Vector.zeros(self.plan), set[int]()) if most is None else self._sums[most]
        for schema, (_, others) in self._sums.items():
            for party in others if schema != most else ():
                self._round.drop(party, "train", DropReason.OTHER_METRICS, "its metrics have other names than the others'")
        for party in self.alive:
            if party not in summed:
                self._round.drop(party, "train", DropReason.NO_REPLY)
        gone = set(self.facts.cohort) - summed
        if len(summed) < self._round.floor or most is None:
            raise QuorumError(
                f"{len(summed)} of {self.facts.n} parties sent an update, {self._round.floor} are needed ({self._round.described(gone)})",
                missing=self._round.missing(gone),
            )
        if short := self._round.links.short_of(summed, self.facts.t):
            raise QuorumError(
                f"{len(summed)} of {self.facts.n} parties sent an update, too few to recover the secrets of {len(short)} parties, which "
                f"t = {self.facts.t} of their share-holders must answer for ({self._round.described(gone)})",
                missing=self._round.missing(gone),
            )
        return Unmasking(self._round, self._published, self.plan, self.transcript, total, tuple(sorted(summed)), most)
