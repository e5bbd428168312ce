"""A coordinator in front of real clinics that can say anything to any of them, and what each of them answered.

The clinics are ClientApps with the secure mod on `stfed.testing.InMemoryGrid`, each with a store of its own and, in malicious mode, an
identity and the roster. Beside them stand as many nodes of the coordinator's own, which run the same software with identities that are on
no clinic's roster. What is true in a message comes from the coordinator's real side of the protocol, `stfed.secagg.server`; a lie is a
message that it did not write.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from flwr.app import Context, Message, RecordDict

from stfed.demo.answers import Answer, answer_of
from stfed.demo.clinics import CLINICS, app, model, record
from stfed.encoding import EncodingPlan, Vector, unpack_vector
from stfed.flower import SecAggMod, records
from stfed.keys import Member, Role, Roster, SigningKey
from stfed.secagg.messages import Confirm, ConfirmRequest, Header, Phase, Prepare, TrainRequest
from stfed.secagg.params import Mode, choose
from stfed.secagg.policy import Policy
from stfed.secagg.roster import PartyRoster
from stfed.secagg.server import Collecting, Enrolment, Joining, Preparing
from stfed.secagg.transcript import RoundFacts
from stfed.testing import InMemoryGrid

VICTIM = 0
"""The clinic that the lies are about."""
OWN = range(CLINICS, 2 * CLINICS - 1)
"""The coordinator's own nodes: as many as there are other clinics."""
_EPOCH, _ROUND, _GROUP = 1, 1, "1"


class World:
    """Clinics, keys and the coordinator's side, for one lie.

    Args:
        mode: of the clinics' policy and of the run.
        state: an empty folder for the clinics' state.

    Attributes:
        answers: what the clinics answered, in order, since `lies` was called.
        vectors: the masked vectors that came, by clinic.
        transcripts: what each of these was masked for.
        prepares: what was dealt, by directory index.
        remark: what else is to be said of how it went.
    """

    def __init__(self, mode: Mode, state: Path) -> None:
        self.mode: Mode = mode
        self._state = state
        self._keys = [SigningKey.generate() for _ in range(2 * CLINICS - 1)]
        mods = [self._mod(node) for node in range(len(self._keys))]
        self.grid: InMemoryGrid = InMemoryGrid(lambda node: app(mods[node]), len(mods), describe=records.describe)
        self._ids = {self.grid.index(node_id): node_id for node_id in self.grid.get_node_ids()}
        self.answers: list[Answer] = []
        self.vectors: dict[int, Vector] = {}
        self.transcripts: dict[int, bytes] = {}
        self.prepares: dict[int, Prepare] = {}
        self.remark = ""
        self._run_configs: dict[int, bytes] = {}
        self._lying = False

    @property
    def malicious(self) -> bool:
        """Whether the clinics sign and confirm."""
        return self.mode is Mode.MALICIOUS

    @property
    def clinics(self) -> range:
        """All of them."""
        return range(CLINICS)

    def _mod(self, node: int) -> SecAggMod:
        """A clinic's knows the clinics; one of the coordinator's own believes whatever it needs to."""
        policy = Policy(mode=self.mode)
        if not self.malicious:
            return SecAggMod(policy, state_dir=self._state)

        def identity(context: Context) -> SigningKey:
            return self._keys[node]

        members = self.clinics if node < CLINICS else (VICTIM, *OWN)
        return SecAggMod(policy, identity=identity, roster=self.roster(members), state_dir=self._state, allow_insecure=True)

    def roster(self, nodes: Iterable[int]) -> Roster:
        """These, by their keys."""
        members = (Member(f"clinic {node + 1}", frozenset({Role.PARTY}), signing=self._keys[node].public) for node in nodes)
        return Roster("demo", tuple(members))

    def lies(self) -> None:
        """From here on the coordinator does not follow the protocol; what was answered before counts for nothing."""
        self.answers.clear()
        self._lying = True

    # --- what is said ------------------------------------------------------------------------------------------------------------------

    def ask(self, node: int, content: RecordDict) -> RecordDict | None:
        """A node's reply; None if it refuses. What a clinic says is noted."""
        (reply,) = self.grid.send_and_receive(
            [Message(content, dst_node_id=self._ids[node], message_type=records.LIGHT_MESSAGE, group_id=_GROUP)]
        )
        if node < CLINICS and self._lying:
            self.answers.append(answer_of(node, str(reply.error.reason)) if reply.has_error() else Answer(node))
        return None if reply.has_error() else reply.content

    def light(self, node: int, request: bytes) -> bytes | None:
        """A node's reply to JOIN, PREPARE, CONFIRM or UNMASK; None if it refuses."""
        content = self.ask(node, records.light(request))
        if content is None:
            return None
        if "run-config" in content[records.RECORD]:
            self._run_configs[node] = records.run_config_of(content)
        return records.message_of(content)

    # --- the protocol ------------------------------------------------------------------------------------------------------------------

    @property
    def header(self) -> Header:
        """Of the one round that there is."""
        return Header(self.grid.run.run_id, _EPOCH, _ROUND)

    def join(self, nodes: Sequence[int]) -> Enrolment:
        """The directory of these nodes' JOINs."""
        roster = PartyRoster(self.roster(nodes)) if self.malicious else None
        joining = Joining(Header(self.grid.run.run_id, _EPOCH, 0), self.mode, roster)
        request = joining.request().encode()
        for node in nodes:
            reply = self.light(node, request)
            if reply is not None:
                joining.add(node, reply)
        return joining.close()

    def prepare(
        self, enrolment: Enrolment, cohort: tuple[int, ...] | None = None, *, k: int | None = None, t: int | None = None
    ) -> Preparing | None:
        """PREPARE to a cohort, the victim first; None if somebody refuses.

        Args:
            enrolment: who joined.
            cohort: directory indices; all by default.
            k: neighbours; by default as many as there should be, like t.
            t: shares that rebuild a secret.
        """
        cohort = tuple(range(len(enrolment.nodes))) if cohort is None else cohort
        chosen = choose(len(enrolment.nodes), 0.1, 0.1, mode=self.mode)
        plan = plan_of(len(cohort))
        digest = enrolment.directory.cohort_digest(cohort)
        facts = RoundFacts(self.header, Phase.TRAIN, self.mode, k or chosen.k, t or chosen.t, plan.encode(), cohort, digest)
        signed = (enrolment.directory, chosen.corrupt) if self.malicious else (None, None)
        preparing = Preparing(facts, enrolment.names(), 2, directory=signed[0], corrupt=signed[1])
        request = preparing.request(enrolment.directory.encoded).encode()
        for index in sorted(cohort, key=lambda index: enrolment.nodes[index] != VICTIM):
            reply = self.light(enrolment.nodes[index], request)
            if reply is None:
                return None
            preparing.add(index, reply)
            self.prepares[index] = Prepare.decode(reply)
        return preparing

    def train(self, enrolment: Enrolment, preparing: Preparing, requests: Mapping[int, TrainRequest] | None = None) -> Collecting:
        """TRAIN, as it should be but for the requests given by node."""
        requests = {} if requests is None else requests
        content = RecordDict({"arrays": record(model())})
        (config,) = set(self._run_configs.values())
        bound = records.bound_digest(records.LIGHT_MESSAGE, _GROUP, records.content_digest(content), config)
        collecting = preparing.close(bound)
        for index in collecting.alive:
            node = enrolment.nodes[index]
            request = requests.get(node) or collecting.request(index)
            reply = self.ask(node, records.attach(content, request.encode(), config))
            if reply is not None:
                message, payload = records.unmasked(reply)
                self.vectors[node] = unpack_vector(memoryview(bytearray(payload)), collecting.plan)
                self.transcripts[node] = preparing.facts.transcript(request.alive, bound)
                collecting.add(index, message, payload)
        return collecting

    def confirm(self, node: int, survivors: tuple[int, ...]) -> bytes | None:
        """A clinic's signature under a survivor set; None if it refuses."""
        reply = self.light(node, ConfirmRequest(header=self.header, survivors=survivors).encode())
        return None if reply is None else Confirm.decode(reply).signature


def plan_of(parties: int) -> EncodingPlan:
    """The encoding of the clinics' model."""
    return EncodingPlan.for_arrays(model(), parties=parties, clip=8.0, max_weight=1.0, metric_slots=2)
