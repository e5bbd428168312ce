"""The coordinator that lies: it speaks the protocol's messages to any party in any order, and keeps all that it hears.

What it says by default is the truth, so that an attack is the one thing that is not. Its corrupt parties run the same software; it reads
their state, has them answer a PREPARE as often as it likes, each time from the state after JOIN, and signs with their keys.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from flwr.app import RecordDict

from stfed.encoding import EncodingPlan, MetricSchema, unpack_vector
from stfed.errors import DecodeError
from stfed.flower import records
from stfed.secagg.directory import Directory
from stfed.secagg.messages import (
    Complaint,
    Confirm,
    ConfirmRequest,
    Delivery,
    DrawnTrainRequest,
    Header,
    Join,
    Kind,
    Masked,
    Phase,
    Prepare,
    TrainRequest,
    Unmask,
    UnmaskRequest,
    peek,
)
from stfed.secagg.params import Mode, choose
from stfed.secagg.roster import PartyRoster
from stfed.secagg.server import Enrolment, Joining
from stfed.secagg.signing import sign_survivors
from stfed.secagg.transcript import RoundFacts
from stfed.wire import Records
from tests.attacks.secagg.heard import ComplainedError, Heard, Parties, View, delivery_of, neighbours, plan_of, prepare_from
from tests.attacks.secagg.training import content_of, model
from tests.attacks.secagg.world import RUN, Setting, World
from tests.flower.apps import numpy_of


class Coordinator(World):
    """The parties, and who lies to them."""

    enrolment: Enrolment

    def __init__(self, folder: Any, setting: Setting | None = None, **how: Any) -> None:
        super().__init__(folder, setting or Setting(), **how)
        self.epoch, self.round = 0, 0
        self.heard: dict[int, Heard] = defaultdict(Heard)
        self._knows_directory: set[int] = set()
        self.told: dict[int, RoundFacts] = {}

    # --- JOIN ----------------------------------------------------------------------------------------------------------------------------

    def join(self) -> Coordinator:
        """A new epoch with everybody."""
        self.epoch += 1
        roster = PartyRoster(self.roster) if self.malicious else None
        joining = Joining(Header(RUN, self.epoch, self.round), self.mode, roster)
        request = joining.request().encode()
        for party in self.everybody:
            joining.add(party.number, self.light(party, request))
        assert not joining.drops, joining.drops
        self.enrol({entry: self.everybody[node] for node, entry in zip(*_closed(joining), strict=True)})
        self.corrupt = tuple(range(self.setting.n - self.setting.corrupt, self.setting.n))
        return self

    def enrol(self, joins: dict[bytes, Any], corrupt: Iterable[Any] = ()) -> None:
        """Makes a directory of these JOINs and whoever answers for each. Nothing in it is checked: that is the parties' business."""
        entries = sorted(joins, key=lambda entry: Join.decode(entry).identity)
        header = Join.decode(entries[0]).header
        encoded = Records(b"".join(entries), len(entries[0]), bytes)
        directory = Directory(Header(RUN, self.epoch, self.round, header.suite), self.mode, encoded)
        self.enrolment = Enrolment(directory, tuple(range(len(entries))))
        self.parties = [joins[entry] for entry in entries]
        for index, party in enumerate(self.parties):
            party.index = index
            party.joined()
        self.corrupt = tuple(party.index for party in corrupt)
        self._knows_directory = set()

    @property
    def malicious(self) -> bool:
        return self.mode is Mode.MALICIOUS

    @property
    def joins(self) -> list[Join]:
        return [Join.decode(entry) for entry in self.enrolment.directory.encoded]

    def light(self, party: Any, request: bytes) -> bytes:
        """A light step's answer."""
        return records.message_of(party.ask(records.light(request)))

    # --- PREPARE -------------------------------------------------------------------------------------------------------------------------

    def facts(self, round_: int | None = None, cohort: Parties | None = None, **changes: Any) -> RoundFacts:
        """What PREPARE says of the next round: everybody, with the smallest numbers that are secure."""
        if round_ is None:
            self.round += 1
            round_ = self.round
        cohort = self.all if cohort is None else cohort
        directory = self.enrolment.directory
        if not {"k", "t"} <= changes.keys():
            parameters = choose(len(cohort), 0.1, 0.1, mode=self.mode, roster=len(self.roster.members) if self.malicious else None)
            changes = {"k": parameters.k, "t": parameters.t, **changes}
        phase = changes.pop("phase", Phase.TRAIN)
        plan = changes.pop("plan", None) or plan_of(len(cohort))
        digest = directory.cohort_digest(tuple(sorted(set(cohort))))
        header = Header(RUN, self.epoch, round_)
        return RoundFacts(header, phase, self.mode, changes.pop("k"), changes.pop("t"), plan.encode(), cohort, digest)

    def prepare(self, index: int, facts: RoundFacts, **changes: Any) -> Prepare:
        """PREPARE to one party; the first one of an epoch has the directory."""
        if index in self.corrupt:
            return self._spy(index, facts)
        directory = () if index in self._knows_directory else self.enrolment.directory.encoded
        request = replace(facts.request(directory), **changes)
        reply = prepare_from(self.light(self.parties[index], request.encode()))
        self._knows_directory.add(index)
        self.heard[reply.header.round].prepares[index] = reply, facts
        self.told[index] = facts
        return reply

    def _spy(self, index: int, facts: RoundFacts) -> Prepare:
        """A corrupt party answers, from the state after JOIN, and the coordinator looks into its memory."""
        state, reply = self.parties[index].deal(facts.request(self.enrolment.directory.encoded).encode())
        self.heard[facts.header.round].spied.append((index, state, reply))
        return reply

    def prepared(self, facts: RoundFacts | None = None, first: Iterable[int] = ()) -> RoundFacts:
        """PREPARE to the cohort, these ones first."""
        facts = facts or self.facts()
        order = dict.fromkeys([*first, *facts.cohort])
        for index in order:
            self.prepare(index, facts)
        return facts

    # --- TRAIN ---------------------------------------------------------------------------------------------------------------------------

    def dealing(self, dealer: int, facts: RoundFacts) -> tuple[Prepare, RoundFacts]:
        """What a dealer dealt in this round; a corrupt one under just these facts."""
        heard = self.heard[facts.header.round]
        if dealer not in self.corrupt:
            return heard.prepares[dealer]
        for index, state, prepare in reversed(heard.spied):
            if index == dealer and state.facts == facts:
                return prepare, facts
        return self._spy(dealer, facts), facts

    def delivery(self, dealer: int, holder: int, facts: RoundFacts) -> Delivery:
        """The dealer's shares for this holder, as they are to be passed on."""
        prepare, dealt_under = self.dealing(dealer, facts)
        return delivery_of(prepare, dealer, holder, dealt_under)

    def dealers(self, holder: int, alive: Parties, facts: RoundFacts) -> Parties:
        """Whose shares it must hold, of those in U1."""
        if not facts.drawn:
            return tuple(other for other in neighbours(facts, holder) if other in alive)
        return tuple(other for other in alive if other != holder and holder in self.dealing(other, facts)[0].holders)  # type: ignore[attr-defined]

    def deliveries(self, holder: int, alive: Parties, facts: RoundFacts) -> tuple[Delivery, ...]:
        """From all of these."""
        return tuple(self.delivery(dealer, holder, facts) for dealer in self.dealers(holder, alive, facts))

    def train(
        self,
        index: int,
        alive: Parties | None = None,
        content: RecordDict | None = None,
        *,
        deliveries: tuple[Delivery, ...] | None = None,
        dealers: Parties | None = None,
        message_type: str = "train",
        group: str = "g",
        ttl: float = 3600.0,
    ) -> View:
        """TRAIN to one honest party: the model of the round, by default, and U1 as it should be."""
        facts = self.told[index]
        alive = facts.cohort if alive is None else alive
        content = content_of(model(facts.header.round)) if content is None else content
        dealers = self.dealers(index, alive, facts) if dealers is None else dealers
        if deliveries is None:
            deliveries = tuple(self.delivery(dealer, index, facts) for dealer in dealers)
        request = TrainRequest(header=facts.header, alive=alive, deliveries=deliveries)
        if facts.drawn:
            request = DrawnTrainRequest(header=facts.header, alive=alive, deliveries=deliveries, dealers=dealers)
        digest = self.content_digest(index, content, message_type, group)
        # A liar tells each party that everybody has the run config that this one has.
        sent = records.attach(content, request.encode(), self.run_config(index))
        reply = self.parties[index].ask(sent, message_type, group=group, ttl=ttl)
        message = records.message_of(reply)
        if peek(message)[0] is Kind.COMPLAINT:
            complaint = Complaint.decode(message)
            raise ComplainedError(f"a signed complaint about party {complaint.dealer}'s shares: {complaint.grievance.name}")
        return self._note(index, alive, dealers, digest, content, reply)

    def content_digest(self, index: int, content: RecordDict, message_type: str, group: str) -> bytes:
        """What this party's transcript has for a content."""
        return records.bound_digest(message_type, group, records.content_digest(content), self.run_config(index))

    def run_config(self, index: int) -> bytes:
        """The digest of what this party has."""
        return records.config_digest(self.parties[index].node.context)

    def _note(self, index: int, alive: Parties, dealers: Parties, digest: bytes, content: RecordDict, reply: RecordDict) -> View:
        facts = self.told[index]
        drawn = getattr(self.heard[facts.header.round].prepares[index][0], "holders", ())
        partners = tuple(sorted({*dealers, *(set(drawn) & set(alive))}))
        data, payload = records.unmasked(reply)
        masked, plan = Masked.decode(data), EncodingPlan.decode(facts.plan)
        received, rate = numpy_of(content["arrays"]), self.parties[index].rate
        vector, schema = unpack_vector(payload, plan), MetricSchema.decode(masked.schema)
        view = View(facts, alive, dealers, partners, facts.transcript(alive, digest), received, rate, vector, schema, masked, payload)
        self.heard[facts.header.round].views[index] = view
        return view

    def trained(self, facts: RoundFacts | None = None, **how: Any) -> RoundFacts:
        """Everybody honest has sent its vector, and nothing wrong has been said."""
        facts = self.prepared(facts)
        for index in facts.cohort:
            if index in self.honest:
                self.train(index, **how)
        return facts

    # --- CONFIRM, UNMASK -----------------------------------------------------------------------------------------------------------------

    def confirm(self, index: int, survivors: Parties, **header: Any) -> bytes:
        """A party's signature under a survivor set; a corrupt one signs anything."""
        facts = self.told[index]
        request = ConfirmRequest(header=replace(facts.header, **header), survivors=survivors)
        signature = Confirm.decode(self.light(self.parties[index], request.encode())).signature
        heard = self.heard[facts.header.round]
        heard.signatures[index, heard.views[index].transcript, survivors] = signature
        return signature

    def confirmations(self, index: int, survivors: Parties) -> tuple[tuple[int, bytes], ...]:
        """All signatures there are that this party could take for good, and the corrupt parties'."""
        heard, view = self.heard[self.told[index].header.round], self.heard[self.told[index].header.round].views[index]
        found = {
            party: signature
            for (party, text, signed), signature in heard.signatures.items()
            if (text, signed) == (view.transcript, survivors)
        }
        for party in set(self.corrupt) & set(survivors):
            found[party] = sign_survivors(self.parties[party].key.ed25519, view.facts.header, view.transcript, survivors)
        return tuple(sorted(found.items()))

    def unmask(
        self,
        index: int,
        survivors: Parties,
        confirmations: tuple[tuple[int, bytes], ...] | None = None,
        riding: RoundFacts | None = None,
        **header: Any,
    ) -> Unmask:
        """A party's shares; with `riding`, the PREPARE of that round is on the same message, and its reply is kept if there is one."""
        facts, heard = self.told[index], self.heard[self.told[index].header.round]
        if confirmations is None:
            confirmations = self.confirmations(index, survivors) if self.malicious else ()
        request = UnmaskRequest(header=replace(facts.header, **header), survivors=survivors, confirmations=confirmations)
        offered = None if riding is None else riding.request(()).encode()
        reply = self.parties[index].ask(records.light(request.encode(), riding=offered))
        unmask = Unmask.decode(records.message_of(reply))
        for dealer, (of, share) in zip(heard.views[index].dealers, unmask.shares, strict=True):
            heard.released[dealer, of][index] = share
        if riding is not None:
            with suppress(DecodeError):  # refused
                self.heard[riding.header.round].prepares[index] = prepare_from(records.prepare_in(reply)), riding
        return unmask

    def ended(self, survivors: Parties | None = None, among: Iterable[int] | None = None) -> None:
        """CONFIRM in malicious mode, then UNMASK, to these honest parties of the survivor set: by default all of them."""
        told = [index for index in (self.honest if among is None else among) if index in self.told]
        if survivors is None:
            survivors = self.told[told[0]].cohort
        told = [index for index in told if index in survivors]
        if self.malicious:
            for index in told:
                self.confirm(index, survivors)
        for index in told:
            self.unmask(index, survivors)

    def whole_round(self, **how: Any) -> RoundFacts:
        """A round as it should be."""
        facts = self.trained(**how)
        self.ended(facts.cohort)
        return facts


def _closed(joining: Joining) -> tuple[tuple[int, ...], tuple[bytes, ...]]:
    enrolment = joining.close()
    return enrolment.nodes, enrolment.directory.encoded
