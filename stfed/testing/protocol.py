"""The protocol without Flower: real client and server states against each other in one process, with scripted drops.

For tests and benchmarks of the core. Every message crosses as bytes, and every party keeps its state in a store and thaws it for each
message, as it does behind Flower.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from stfed.crypto.keystream import keystream
from stfed.crypto.random import Entropy, system_entropy
from stfed.encoding import EncodingPlan, MetricSchema, Vector, pack_vector
from stfed.secagg.messages import Header, Phase
from stfed.secagg.params import Parameters
from stfed.secagg.party import Party
from stfed.secagg.policy import Policy
from stfed.secagg.server import Collecting, Enrolment, Joining, Preparing, Sum, Unmasking
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


@dataclass
class LocalProtocol:
    """n parties and a coordinator, in one process.

    Attributes:
        n: how many parties; party i's node id is i.
        policy: every party's.
        seed: makes all randomness reproducible; the operating system's if None.
        run: the run id.
        log: every message that crossed: (step, "down" or "up", node, bytes).
    """

    n: int
    policy: Policy = field(default_factory=Policy)
    seed: str | None = None
    run: int = 7
    stores: list[PartyStore] = field(default_factory=list)
    log: list[tuple[str, str, int, bytes]] = field(default_factory=list)
    keep_log: bool = True

    def __post_init__(self) -> None:
        self.stores = self.stores or [MemoryStore() for _ in range(self.n)]
        entropies = [system_entropy if self.seed is None else scripted_entropy(f"{self.seed}/{node}") for node in range(self.n)]
        self.parties = [Party(store, self.policy, entropy=entropy) for store, entropy in zip(self.stores, entropies, strict=True)]
        self.epoch, self.round = 0, 0
        self.enrolment: Enrolment | None = None
        self._directory_known: set[int] = set()

    def _cross(self, step: str, direction: str, node: int, data: bytes) -> bytes:
        if self.keep_log:
            self.log.append((step, direction, node, data))
        return data

    def join(self, missing: Collection[int] = ()) -> Enrolment:
        """Starts an epoch with everybody but the missing."""
        self.epoch += 1
        joining = Joining(Header(self.run, self.epoch, self.round), self.policy.mode)
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
        preparing = Preparing(facts, self.enrolment.names(), self.policy.floor(len(cohort), parameters.k))
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
            ticket = self.parties[node].start_training(request, content, preparing.facts.phase)
            vector = vector_of(node)
            ticket.masks.apply(vector, threads=threads)
            payload = pack_vector(vector, ticket.masks.plan)
            reply = self.parties[node].finish_training(ticket, schema.encode(), len(payload))
            collecting.add(index, self._cross("train", "up", node, reply), self._cross("train", "up", node, payload))
        return collecting

    def unmask(self, collecting: Collecting, *, missing: Collection[int] = (), threads: int | None = None) -> Sum:
        """UNMASK and the sum."""
        assert self.enrolment is not None
        unmasking: Unmasking = collecting.close()
        request = unmasking.request().encode()
        for index in unmasking.survivors:
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
        gone |= set(drops.get("unmask", ()))
        return self.unmask(collecting, missing=gone)
