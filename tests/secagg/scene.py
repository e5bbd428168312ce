"""A round stopped where a test wants to interfere: real parties, a real coordinator, and one party whose next message has not arrived.

`Scene().at("train")` has everybody through TRAIN but the victim; `scene.request` is the message it is owed. A test sends it something
else first, and then lets the round finish, which proves that the refusal changed nothing. `Scene(policy=MALICIOUS)` is the same with
signatures, a roster, and CONFIRM between TRAIN and UNMASK.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pytest

from stfed.crypto import aead, shamir
from stfed.encoding import EncodingPlan, MetricSchema, TensorSpec, Vector, pack_vector
from stfed.encoding.wide import LIMB_BITS, LIMB_MASK
from stfed.secagg import keys
from stfed.secagg.client import ClientState, Joined, Prepared
from stfed.secagg.messages import ConfirmRequest, Delivery, Header, JoinRequest, Message, Phase, PrepareRequest, ShareOf, TrainRequest
from stfed.secagg.params import Mode, Parameters, choose
from stfed.secagg.party import Party, Ticket
from stfed.secagg.policy import Policy
from stfed.secagg.record import Record
from stfed.secagg.server import Collecting, Confirming, Preparing, Sum, Unmasking
from stfed.testing.protocol import LocalProtocol

N, VICTIM = 6, 2
NO_METRICS = MetricSchema().encode()
Step = Literal["idle", "prepare", "train", "confirm", "unmask"]
MALICIOUS = Policy(mode=Mode.MALICIOUS)


def plan_of(n: int, size: int = 40, ring_bits: int = 32, metric_slots: int = 0, **settings: Any) -> EncodingPlan:
    return EncodingPlan((TensorSpec("w", "float32", (size,)),), parties=n, ring_bits=ring_bits, metric_slots=metric_slots, **settings)


def vectors_of(plan: EncodingPlan, n: int, seed: int = 0) -> list[Vector]:
    """Any words: the protocol does not know what they mean."""
    rng = np.random.default_rng(seed)
    return [
        Vector(
            rng.integers(0, 1 << plan.ring_bits, plan.vector_length, dtype=np.uint64, endpoint=False).astype(plan.lane),
            rng.integers(0, 1 << LIMB_BITS, plan.wide_length, dtype=np.uint32),
        )
        for _ in range(n)
    ]


def sum_of(plan: EncodingPlan, vectors: Sequence[Vector], nodes: Iterable[int]) -> Vector:
    """The sum, in Python integers: the ring words mod 2^b, each wide number mod 2^(30 limbs)."""
    chosen = [vectors[node] for node in nodes]
    ring = [sum(column) % (1 << plan.ring_bits) for column in zip(*(vector.ring.tolist() for vector in chosen), strict=True)]
    wide, at = np.zeros(plan.wide_length, np.uint32), 0
    for limbs, count in plan.wide_groups:
        places = [slice(at + place * count, at + (place + 1) * count) for place in range(limbs)]
        for number in range(count):
            total = sum(int(vector.wide[place][number]) << LIMB_BITS * i for vector in chosen for i, place in enumerate(places))
            for i, place in enumerate(places):
                wide[place][number] = total >> LIMB_BITS * i & LIMB_MASK
        at += limbs * count
    return Vector(np.array(ring, plan.lane), wide)


def assert_equal(found: Vector, wanted: Vector) -> None:
    np.testing.assert_array_equal(found.ring, wanted.ring)
    np.testing.assert_array_equal(found.wide, wanted.wide)


def without(parties: tuple[int, ...], *gone: int) -> tuple[int, ...]:
    return tuple(party for party in parties if party not in gone)


def patched(data: bytes, old: bytes, new: bytes) -> bytes:
    """`data` with the one place where `old` stands rewritten: for what the encoder refuses to write."""
    assert data.count(old) == 1
    return data.replace(old, new)


def u32s(*values: int) -> bytes:
    return b"".join(value.to_bytes(4, "big") for value in values)


def join_request(run: int = 7, epoch: int = 1, base: int = 0, mode: int = 1) -> bytes:
    """`base` is the last round number before the epoch."""
    return JoinRequest(header=Header(run, epoch, base), mode=mode).encode()


@dataclass
class Scene:
    n: int = N
    policy: Policy | None = None
    ring_bits: int = 32
    size: int = 40
    metric_slots: int = 0
    phase: Phase = Phase.TRAIN
    seed: str | None = None
    graph: Literal["auto", "complete", "sparse"] = "auto"

    step: Step = "idle"
    request: Any = None
    preparing: Preparing = None  # type: ignore[assignment]
    collecting: Collecting = None  # type: ignore[assignment]
    confirming: Confirming = None  # type: ignore[assignment]
    unmasking: Unmasking = None  # type: ignore[assignment]
    result: Sum = None  # type: ignore[assignment]
    sent: tuple[bytes, bytes] = (b"", b"")

    def __post_init__(self) -> None:
        self.policy = self.policy or Policy()
        self.protocol = LocalProtocol(self.n, self.policy, seed=self.seed)
        self.parameters: Parameters = choose(self.n, self.policy.gamma, self.policy.delta, mode=self.policy.mode, graph=self.graph)
        self.plan = plan_of(self.n, self.size, self.ring_bits, self.metric_slots)
        self.vectors = vectors_of(self.plan, self.n)
        self.store: Any = self.protocol.stores[VICTIM]
        self.party = self.protocol.parties[VICTIM]
        self.protocol.join()

    @property
    def index(self) -> int:
        """The victim's place in the directory."""
        assert self.protocol.enrolment is not None
        return self.protocol.enrolment.index_of()[VICTIM]

    @property
    def others(self) -> tuple[int, ...]:
        """Everybody else's places: on the complete graph the victim's neighbours."""
        return without(tuple(range(self.n)), self.index)

    @property
    def pair(self) -> tuple[int, ...]:
        """A set of two with the victim in it."""
        return tuple(sorted((self.index, self.others[0])))

    @property
    def content(self) -> bytes:
        """What everybody trains on in this round."""
        return hashlib.sha256(f"model {self.protocol.round}".encode()).digest()

    # --- the victim's store --------------------------------------------------------------------------------------------------------------

    def snapshot(self) -> Any:
        """All that the victim's store holds."""
        return deepcopy((self.store._runs, self.store._contents))

    def restore(self, snapshot: Any) -> None:
        self.store._runs, self.store._contents = deepcopy(snapshot)

    def record(self, node: int = VICTIM) -> bytes:
        with self.protocol.stores[node].transaction(self.protocol.run) as transaction:
            record = transaction.read()
        assert record is not None
        return record

    def state(self, node: int = VICTIM) -> ClientState:
        return Record.decode(self.record(node)).state

    def restart(self, policy: Policy | None = None) -> Party:
        """Another process with the same store."""
        identity, roster = (self.protocol.identities[VICTIM], self.protocol.roster) if self.protocol.malicious else (None, None)
        return Party(self.store, policy or self.policy, identity=identity, roster=roster)

    # --- what the coordinator says -------------------------------------------------------------------------------------------------------

    def but(self, **changes: Any) -> Any:
        """The message that the victim is owed, with these fields changed."""
        return replace(self.request, **changes)

    def elsewhere(self, **changes: Any) -> Any:
        """The message that the victim is owed, with these fields of its header changed."""
        return self.but(header=replace(self.request.header, **changes))

    def answer(self, request: Message | bytes) -> bytes:
        return self.party.answer(request if isinstance(request, bytes) else request.encode())

    def start(self, request: Message | bytes | None = None, content: bytes | None = None, phase: Phase | None = None) -> Ticket:
        request = self.request if request is None else request
        return self.party.start_training(
            request if isinstance(request, bytes) else request.encode(),
            self.content if content is None else content,
            self.phase if phase is None else phase,
        )

    def send_vector(self, ticket: Ticket) -> None:
        vector = deepcopy(self.vectors[VICTIM])
        ticket.masks.apply(vector)
        payload = pack_vector(vector, ticket.masks.plan)
        digest = hashlib.sha256(payload).digest() if self.protocol.malicious else b""
        self.sent = self.party.finish_training(ticket, NO_METRICS, len(payload), digest), payload
        self.collecting.add(self.index, *self.sent)

    @contextmanager
    def refuses(self, error: type[Exception], match: str | None = None) -> Iterator[None]:
        """The block is refused with exactly this error, and nothing about the victim has changed."""
        before = self.snapshot()
        with pytest.raises(error, match=match) as caught:
            yield
        assert type(caught.value) is error
        assert self.snapshot() == before

    # --- the round -----------------------------------------------------------------------------------------------------------------------

    def at(self, step: Step) -> Scene:
        """Goes on with right messages until the victim is owed this one."""
        while self.step != step:
            self._go_on()
        return self

    def finishes(self) -> Sum:
        """The rest of the round with right messages. The sum is exact, and the victim is in it."""
        if self.step == "idle":
            self._go_on()
        return self.at("idle").result

    def _go_on(self) -> None:
        match self.step:
            case "idle":
                self.preparing = self.protocol.prepare(self.plan, self.parameters, range(self.n), phase=self.phase, missing={VICTIM})
                assert self.protocol.enrolment is not None
                directory = self.protocol.enrolment.directory.encoded
                self.request = self.preparing.request(directory if isinstance(self.state(), Joined) else ())
                assert isinstance(self.request, PrepareRequest)
                self.step = "prepare"
            case "prepare":
                self.preparing.add(self.index, self.answer(self.request))
                self.collecting = self.protocol.train(
                    self.preparing, lambda node: deepcopy(self.vectors[node]), self.content, missing={VICTIM}
                )
                self.request = self.collecting.request(self.index)
                assert isinstance(self.request, TrainRequest)
                self.step = "train"
            case "train":
                self.send_vector(self.start())
                if self.protocol.malicious:
                    self.confirming = self.collecting.confirm()
                    self.request = self.confirming.request()
                    assert isinstance(self.request, ConfirmRequest)
                    self._others_answer(self.confirming)
                    self.step = "confirm"
                else:
                    self._to_unmask(self.collecting.close())
            case "confirm":
                self.confirming.add(self.index, self.answer(self.request))
                self._to_unmask(self.confirming.close())
            case "unmask":
                self.unmasking.add(self.index, self.answer(self.request))
                self.result = self.unmasking.close()
                assert self.result.drops == {}
                assert_equal(self.result.total, sum_of(self.plan, self.vectors, range(self.n)))
                self.step = "idle"

    def _to_unmask(self, unmasking: Unmasking) -> None:
        self.unmasking, self.request, self.step = unmasking, unmasking.request(), "unmask"
        self._others_unmask()

    def _others_unmask(self) -> None:
        self._others_answer(self.unmasking)

    def _others_answer(self, step: Confirming | Unmasking) -> None:
        for index in without(step.survivors, self.index):
            step.add(index, self.party_at(index).answer(self.request.encode()))

    def party_at(self, index: int) -> Party:
        """By directory index."""
        assert self.protocol.enrolment is not None
        return self.protocol.parties[self.protocol.enrolment.nodes[index]]

    def left(self, *gone: int) -> TrainRequest:
        """The TRAIN that the victim is owed, with fewer parties in U1 and without the shares of those."""
        state = self.state()
        assert isinstance(state, Prepared)
        keep = [delivery for delivery, dealer in zip(self.request.deliveries, state.neighbours, strict=True) if dealer not in gone]
        return replace(self.request, alive=without(self.request.alive, *gone), deliveries=tuple(keep))

    # --- a dealer that lies --------------------------------------------------------------------------------------------------------------

    def forged(self, at: int, share_b: bytes, share_z: bytes) -> Delivery:
        """What the victim's neighbour number `at` would have dealt with these shares: well sealed, with the right hashes."""
        state = self.state()
        assert isinstance(state, Prepared)
        header, dealer = state.header, state.neighbours[at]
        facts = state.facts
        commitments = self.request.deliveries[at].commitments
        point = facts.graph().point(facts.cohort.index(dealer), facts.cohort.index(self.index))
        associated = keys.share_associated_data(header, dealer, self.index, point, facts.t, facts.k, commitments)
        return Delivery(
            aead.seal_random(state.incoming[at], share_b + share_z, associated, lambda size: bytes(size)),
            commitments,
            keys.share_hash(share_b, ShareOf.SELF_SEED, header, dealer, self.index),
            keys.share_hash(share_z, ShareOf.BOX_KEY, header, dealer, self.index),
        )


def some_share(seed: int = 1) -> bytes:
    return bytes(np.random.default_rng(seed).integers(0, shamir.PRIME, shamir.LIMBS).astype("<u2").tobytes())


Violation = Callable[[Scene], Any]
Rule = tuple[str, type[Exception], str, Violation]
"""A name, the error that is due, a part of its text, and who breaks the rule."""


def each(rules: list[Rule]) -> pytest.MarkDecorator:
    """One test for each rule."""
    return pytest.mark.parametrize(("error", "match", "violation"), [rule[1:] for rule in rules], ids=[rule[0] for rule in rules])
