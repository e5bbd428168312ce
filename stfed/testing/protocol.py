"""The protocol without Flower: real client and server states against each other in one process, with scripted drops.

For tests and benchmarks of the core. Every message crosses as bytes, and every party keeps its state in a store and thaws it for each
message, as it does behind Flower.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from stfed.crypto.identity import Identity
from stfed.crypto.keystream import keystream
from stfed.crypto.random import Entropy, system_entropy
from stfed.encoding import EncodingPlan, MetricSchema, Vector, pack_vector
from stfed.keys import Member, Role, Roster, SigningKey
from stfed.secagg.messages import Header, Phase
from stfed.secagg.params import Mode, Parameters, corrupt_parties
from stfed.secagg.party import Party
from stfed.secagg.policy import Policy
from stfed.secagg.refusals import ShareError
from stfed.secagg.roster import MemberRoster, PartyRoster
from stfed.secagg.server import Collecting, Dispute, Enrolment, Joining, Preparing, Sum, Unmasking, excluded
from stfed.secagg.store import MemoryStore, PartyStore
from stfed.secagg.transcript import RoundFacts


def scripted_entropy(seed: str) -> Entropy:
    """Reproducible bytes for vectors and tests; never for a real run."""
    key = hashlib.sha256(seed.encode()).digest()
    used = 0

    def draw(size_bytes: int, /) -> bytes:
        nonlocal used
        start, used = used, used + size_bytes
        return keystream(key, start, size_bytes)

    return draw


NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
"""When everything happens: keys of `roster_of` have no other time."""


@lru_cache(maxsize=256)
def signing_key(node: int) -> SigningKey:
    """The long-term key of a party: of tests, and public."""
    return SigningKey.generate(entropy=scripted_entropy(f"identity {node}"))


def roster_of(n: int) -> Roster:
    """Parties 0..n-1, by their long-term keys."""
    members = tuple(Member(f"party {node}", frozenset({Role.PARTY}), signing=signing_key(node).public) for node in range(n))
    return Roster("test", members)


@dataclass
class LocalProtocol:
    """n parties and a coordinator, in one process.

    Attributes:
        n: how many parties; party i's node id is i.
        policy: every party's. In malicious mode, party i's identity is reproducible too, and all of them are on one roster.
        seed: makes all randomness reproducible; the operating system's if None.
        run: the run id.
        log: every message that crossed: (step, "down" or "up", node, bytes).
        keep_log: whether there is one.
        roster: in malicious mode, who may take part; by default the n parties.
    """

    n: int
    policy: Policy = field(default_factory=Policy)
    seed: str | None = None
    run: int = 7
    stores: list[PartyStore] = field(default_factory=list)
    log: list[tuple[str, str, int, bytes]] = field(default_factory=list)
    keep_log: bool = True
    roster: MemberRoster | None = None

    def __post_init__(self) -> None:
        self.stores = self.stores or [MemoryStore() for _ in range(self.n)]
        entropies = [system_entropy if self.seed is None else scripted_entropy(f"{self.seed}/{node}") for node in range(self.n)]
        self.identities: list[Identity] = [signing_key(node).ed25519 for node in range(self.n)]
        if self.malicious and self.roster is None:
            self.roster = PartyRoster(roster_of(self.n), lambda: NOON)
        self.parties: list[Party] = [self._party(*parts) for parts in zip(self.stores, self.identities, entropies, strict=True)]
        self.epoch: int = 0
        self.round: int = 0
        self.enrolment: Enrolment | None = None
        self._directory_known: set[int] = set()
        self.disputes: list[Dispute] = []

    @property
    def malicious(self) -> bool:
        """Whether the parties sign and confirm."""
        return self.policy.mode is Mode.MALICIOUS

    def _party(self, store: PartyStore, identity: Identity, entropy: Entropy) -> Party:
        if not self.malicious:
            return Party(store, self.policy, entropy=entropy)
        return Party(store, self.policy, identity=identity, roster=self.roster, entropy=entropy)

    def _cross(self, step: str, direction: str, node: int, data: bytes) -> bytes:
        if self.keep_log:
            self.log.append((step, direction, node, data))
        return data

    def join(self, missing: Collection[int] = ()) -> Enrolment:
        """Starts an epoch with everybody but the missing."""
        self.epoch += 1
        joining = Joining(Header(self.run, self.epoch, self.round), self.policy.mode, self.roster)
        request = joining.request().encode()
        for node, party in enumerate(self.parties):
            if node not in missing:
                joining.add(node, self._cross("join", "up", node, party.answer(self._cross("join", "down", node, request))))
        self.enrolment = joining.close()
        self._directory_known = set()
        return self.enrolment

    def prepare(
        self, plan: EncodingPlan, parameters: Parameters, nodes: Sequence[int], *, phase: Phase = Phase.TRAIN, missing: Collection[int] = ()
    ) -> Preparing:
        """PREPARE with these nodes as the cohort; the missing never get the message."""
        assert self.enrolment is not None, "join first"
        self.round += 1
        index_of = self.enrolment.index_of()
        cohort = tuple(sorted(index_of[node] for node in nodes))
        directory = self.enrolment.directory
        facts = RoundFacts(
            Header(self.run, self.epoch, self.round),
            phase,
            self.policy.mode,
            parameters.k,
            parameters.t,
            plan.encode(),
            cohort,
            directory.cohort_digest(cohort),
        )
        floor = replace(self.policy, roster=parameters.roster).floor(len(cohort), parameters.k)
        signers: dict[str, Any] = {"directory": directory, "corrupt": parameters.corrupt} if self.malicious else {}
        preparing = Preparing(facts, self.enrolment.names(), floor, **signers)
        for node in nodes:
            if node in missing:
                continue
            first = node not in self._directory_known
            request = preparing.request(directory.encoded if first else ()).encode()
            reply = self.parties[node].answer(self._cross("prepare", "down", node, request))
            self._directory_known.add(node)
            preparing.add(index_of[node], self._cross("prepare", "up", node, reply))
        return preparing

    def train(
        self,
        preparing: Preparing,
        vector_of: Callable[[int], Vector],
        content: bytes,
        *,
        missing: Collection[int] = (),
        schema: MetricSchema = MetricSchema(),  # noqa: B008 - immutable
        threads: int | None = None,
    ) -> Collecting:
        """TRAIN: each node's vector, masked and packed, into the running sum."""
        assert self.enrolment is not None
        collecting = preparing.close(content)
        for index in collecting.alive:
            node = self.enrolment.nodes[index]
            if node in missing:
                continue
            request = self._cross("train", "down", node, collecting.request(index).encode())
            try:
                ticket = self.parties[node].start_training(request, content, preparing.facts.phase)
            except ShareError as error:
                if error.complaint is None:
                    raise
                collecting.complain(index, self._cross("train", "up", node, error.complaint))
                continue
            vector = vector_of(node)
            ticket.masks.apply(vector, threads=threads)
            payload = pack_vector(vector, ticket.masks.plan)
            digest = hashlib.sha256(payload).digest() if self.malicious else b""
            reply = self.parties[node].finish_training(ticket, schema.encode(), len(payload), digest)
            collecting.add(index, self._cross("train", "up", node, reply), self._cross("train", "up", node, payload))
        self.disputes += collecting.disputes
        return collecting

    def excluded(self) -> set[int]:
        """The nodes that stand in a dispute which nobody can settle, for the cohorts to come."""
        identities = excluded(self.disputes, corrupt_parties(self.n, self.policy.gamma))
        return {node for node, identity in enumerate(self.identities) if identity.public_bytes in identities}

    def confirm(self, collecting: Collecting, *, missing: Collection[int] = ()) -> Unmasking:
        """CONFIRM, in malicious mode; in semi-honest mode there is none."""
        assert self.enrolment is not None
        if not self.malicious:
            return collecting.close()
        confirming = collecting.confirm()
        request = confirming.request().encode()
        for index in confirming.survivors:
            node = self.enrolment.nodes[index]
            if node not in missing:
                reply = self.parties[node].answer(self._cross("confirm", "down", node, request))
                confirming.add(index, self._cross("confirm", "up", node, reply))
        return confirming.close()

    def unmask(
        self, collecting: Collecting, *, unconfirmed: Collection[int] = (), missing: Collection[int] = (), threads: int | None = None
    ) -> Sum:
        """CONFIRM where there is one, UNMASK and the sum; the unconfirmed never get the one message, the missing never the other."""
        assert self.enrolment is not None
        unmasking = self.confirm(collecting, missing=unconfirmed)
        request = unmasking.request().encode()
        for index in unmasking.asked:
            node = self.enrolment.nodes[index]
            if node not in missing:
                unmasking.add(
                    index, self._cross("unmask", "up", node, self.parties[node].answer(self._cross("unmask", "down", node, request)))
                )
        return unmasking.close(threads=threads)

    def sum_round(
        self,
        plan: EncodingPlan,
        parameters: Parameters,
        vector_of: Callable[[int], Vector],
        *,
        nodes: Sequence[int] | None = None,
        drops: Mapping[str, Collection[int]] | None = None,
        content: bytes | None = None,
    ) -> Sum:
        """One whole round with scripted drops: step name -> nodes that never answer it (and nothing after it)."""
        drops = drops or {}
        gone: set[int] = set(drops.get("join", ()))
        if self.enrolment is None:
            self.join(gone)
        nodes = [node for node in (range(self.n) if nodes is None else nodes) if node not in gone]
        gone |= set(drops.get("prepare", ()))
        preparing = self.prepare(plan, parameters, nodes, missing=gone)
        gone |= set(drops.get("train", ()))
        content = content if content is not None else hashlib.sha256(f"model {self.round}".encode()).digest()
        collecting = self.train(preparing, vector_of, content, missing=gone)
        silent = gone | set(drops.get("confirm", ()))
        return self.unmask(collecting, unconfirmed=silent, missing=silent | set(drops.get("unmask", ())))
