"""The coordinator's side of the protocol: one class per step, fed with replies as they arrive.

Theory of operation::

    Joining --close--> Enrolment          once per epoch
    Preparing --close--> Collecting --close--> Unmasking --close--> Sum

Every step has `request` (what to send), `add` (one reply, checked and absorbed at once), `fail` (an error reply) and, once, `close` (no
more replies: the next step, or a `QuorumError` that names who is missing). The first answer of a party that was asked counts; doubles,
strangers and what comes after `close` change nothing. A reply that breaks a rule costs its sender the round: it is recorded in `drops`
with the reason and the others go on. `Collecting` keeps a running sum, so memory is O(model), not O(parties x model). There is no clock
and no IO here: who waits, and how long, is the driver's business.

The coordinator learns, for each party, its self-mask seed or its pairwise seeds, never both (Bell et al., CCS 2020), and so the sum.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from stfed.crypto import aead, shamir
from stfed.crypto.kdf import equal
from stfed.encoding import EncodingPlan, MetricSchema, Vector, payload_bytes, unpack_vector
from stfed.errors import DecodeError, LocalError, PeerError, QuorumError
from stfed.secagg import keys
from stfed.secagg.directory import Directory, check_join
from stfed.secagg.masking import apply_masks
from stfed.secagg.messages import (
    Delivery,
    Header,
    Join,
    JoinRequest,
    Masked,
    Prepare,
    PrepareRequest,
    ShareOf,
    TrainRequest,
    Unmask,
    UnmaskRequest,
)
from stfed.secagg.params import Mode
from stfed.secagg.transcript import MODE_CODES, RoundFacts

_BOX_NONCE = bytes(aead.NONCE_BYTES)
_SEED_BYTES = 32
_DESCRIBED = 5
# Secrets that are reconstructed in one matrix product: with a threshold of a thousand, that takes 50 MB.
_DEALERS_AT_ONCE = 256
_MAX_SCHEMAS = 4
"""How many different sets of metrics are kept apart, each with a sum of its own; this bounds the coordinator's memory."""


class DropReason(Enum):
    """Why a party is out of a round."""

    NO_REPLY = "no reply"
    ERROR_REPLY = "error reply"
    MALFORMED = "malformed message"
    COMMITMENT_MISMATCH = "commitments to pairwise seeds that its neighbours contradict"
    TOO_FEW_HOLDERS = "too few of its share-holders are left"
    WRONG_SHARE = "a share that is not the one dealt"
    OTHER_METRICS = "metrics that the others do not have"


@dataclass(frozen=True, slots=True)
class Drop:
    """One party that left a round.

    Attributes:
        step: the step in which it left: "join", "prepare", "train" or "unmask".
        detail: what was wrong, without values.
    """

    step: str
    reason: DropReason
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.reason.value} ({self.detail})" if self.detail else self.reason.value


@dataclass(frozen=True, slots=True)
class Enrolment:
    """Who joined an epoch.

    Attributes:
        directory: their JOINs, sorted by identity.
        nodes: per directory index, the coordinator's own key for the party (Flower's node id).
    """

    directory: Directory
    nodes: tuple[int, ...]

    def index_of(self) -> dict[int, int]:
        """Directory index by node."""
        return {node: index for index, node in enumerate(self.nodes)}

    def names(self) -> tuple[str, ...]:
        """How errors name the parties, by index."""
        return tuple(f"node {node}" for node in self.nodes)


class _Step:
    """What closes once. Its successor works on the same sum, so a second close would take the masks off twice."""

    _closed = False

    def _close_once(self) -> None:
        if self._closed:
            raise LocalError(f"{type(self).__name__} is closed already")
        self._closed = True


class Joining(_Step):
    """Collects the JOINs of an epoch.

    Args:
        header: run, epoch, suite; its round is the last round number used before.
        mode: semi-honest or malicious.
    """

    def __init__(self, header: Header, mode: Mode) -> None:
        self.header, self.mode = header, mode
        self.drops: dict[int, Drop] = {}
        self._joins: dict[bytes, tuple[int, bytes]] = {}
        self._public_keys: set[bytes] = set()
        self._joined: set[int] = set()

    def request(self) -> JoinRequest:
        """The same message for everybody."""
        return JoinRequest(header=self.header, mode=MODE_CODES[self.mode])

    def add(self, node: int, data: bytes) -> None:
        """Takes one JOIN of a node, the first one; one that would spoil the directory for everybody drops its sender instead."""
        if self._closed or node in self._joined or node in self.drops:
            return
        try:
            join = Join.decode(data)
            check_join(join, self.header, self.mode)
            if join.identity in self._joins or join.public_key in self._public_keys:
                raise PeerError("its identity or public key is another party's")
        except (DecodeError, PeerError) as error:
            self.drops[node] = Drop("join", DropReason.MALFORMED, error.message)
            return
        self._joins[join.identity] = (node, bytes(data))
        self._public_keys.add(join.public_key)
        self._joined.add(node)

    def close(self) -> Enrolment:
        """The directory of those who joined.

        Raises:
            QuorumError: nobody did.
        """
        self._close_once()
        if not self._joins:
            raise QuorumError("no party joined the run", missing=[f"node {node}" for node in self.drops])
        order = sorted(self._joins)
        directory = Directory.of(self.header, self.mode, [self._joins[identity][1] for identity in order])
        return Enrolment(directory, tuple(self._joins[identity][0] for identity in order))


@dataclass(slots=True)
class _Round:
    """What the steps of one round hand on."""

    facts: RoundFacts
    names: Sequence[str]
    floor: int
    drops: dict[int, Drop] = field(default_factory=dict)

    def __post_init__(self) -> None:
        graph = self.facts.graph()
        cohort = self.facts.cohort
        self.position = {index: at for at, index in enumerate(cohort)}
        self.neighbours = {index: tuple(cohort[other] for other in graph.neighbours(at)) for at, index in enumerate(cohort)}
        self.slot = {dealer: {holder: at for at, holder in enumerate(holders)} for dealer, holders in self.neighbours.items()}

    position: dict[int, int] = field(init=False)
    neighbours: dict[int, tuple[int, ...]] = field(init=False)
    slot: dict[int, dict[int, int]] = field(init=False)

    def drop(self, party: int, step: str, reason: DropReason, detail: str = "") -> None:
        self.drops.setdefault(party, Drop(step, reason, detail))

    def missing(self, parties: Iterable[int]) -> list[str]:
        return [self.names[party] for party in parties]

    def described(self, parties: Iterable[int]) -> str:
        """The drops of these parties in words, for an error; of many, the first few."""
        gone = [party for party in sorted(parties) if party in self.drops]
        words = [f"{self.names[party]}: {self.drops[party]}" for party in gone[:_DESCRIBED]]
        return "; ".join(words) + (f"; and {len(gone) - _DESCRIBED} more" if len(gone) > _DESCRIBED else "")


class _RoundStep(_Step):
    """A step of a round."""

    _round: _Round

    @property
    def facts(self) -> RoundFacts:
        """What PREPARE fixed about the round."""
        return self._round.facts

    @property
    def drops(self) -> Mapping[int, Drop]:
        """Who left the round so far, by directory index."""
        return self._round.drops


class Preparing(_RoundStep):
    """Collects commitments, boxes and shares.

    Args:
        facts: what PREPARE fixes.
        names: how errors name the parties, by directory index.
        floor: the fewest parties that U1 and U2 may have.
    """

    def __init__(self, facts: RoundFacts, names: Sequence[str], floor: int) -> None:
        if (sized := EncodingPlan.decode(facts.plan).parties) != facts.n:
            raise LocalError(f"the encoding is sized for {sized} parties, the cohort has {facts.n}")
        self._round = _Round(facts, names, floor)
        self._prepares: dict[int, Prepare] = {}

    def request(self, directory: tuple[bytes, ...] = ()) -> PrepareRequest:
        """The message for a party; `directory` goes with its first one of an epoch."""
        return self.facts.request(directory)

    def fail(self, party: int, detail: str) -> None:
        """The party answered with an error."""
        if self._waits_for(party):
            self._round.drop(party, "prepare", DropReason.ERROR_REPLY, detail)

    def _waits_for(self, party: int) -> bool:
        """The first answer of a member of the cohort counts, and no other."""
        return party in self._round.position and party not in self._prepares and party not in self.drops

    def add(self, party: int, data: bytes) -> None:
        """Takes one PREPARE. The first one counts."""
        if not self._waits_for(party):
            return
        try:
            prepare = Prepare.decode(data)
            if prepare.header != self.facts.header:
                raise DecodeError("it belongs to another round")
            if prepare.signature:
                raise DecodeError("it is signed, but the round is semi-honest")
            if len(prepare.dealt) != self.facts.k:
                raise DecodeError(f"it deals shares to {len(prepare.dealt)} neighbours, k = {self.facts.k}")
            if len(prepare.box) != self.facts.k * _SEED_BYTES + aead.TAG_BYTES:
                raise DecodeError("its box has the wrong size")
        except DecodeError as error:
            self._round.drop(party, "prepare", DropReason.MALFORMED, error.message)
            return
        self._prepares[party] = prepare

    def close(self, content: bytes) -> Collecting:
        """Fixes U1: who prepared, agrees with its neighbours, and still has t share-holders.

        Args:
            content: 32-byte hash of the model and config that TRAIN will carry.

        Raises:
            QuorumError: U1 is below the floor.
        """
        self._close_once()
        for party in self.facts.cohort:
            if party not in self._prepares:
                self._round.drop(party, "prepare", DropReason.NO_REPLY)
        alive = {party for party in self._prepares if party not in self.drops}
        alive -= self._contradicted(alive)
        alive -= self._abandoned(alive)
        if len(alive) < self._round.floor:
            gone = set(self.facts.cohort) - alive
            raise QuorumError(
                f"{len(alive)} of {self.facts.n} parties are left after PREPARE, {self._round.floor} are needed "
                f"({self._round.described(gone)})",
                missing=self._round.missing(gone),
            )
        return Collecting(self._round, {party: self._prepares[party] for party in sorted(alive)}, content)

    def _contradicted(self, alive: set[int]) -> set[int]:
        """Parties to drop so that no two neighbours left publish different commitments to their seed: most mismatches first."""
        prepares, slot = self._prepares, self._round.slot
        mismatches = {
            (party, other)
            for party in alive
            for other, dealt in zip(self._round.neighbours[party], prepares[party].dealt, strict=True)
            if party < other and other in alive and dealt.seed_commitment != prepares[other].dealt[slot[other][party]].seed_commitment
        }
        dropped: set[int] = set()
        while mismatches:
            counts = Counter(end for edge in mismatches for end in edge)
            most = max(counts.values())
            # Two ends of one edge contradict each other equally: nobody can tell which one lies, so both go and neither is framed.
            worst = {party for party, count in counts.items() if count == most}
            for party in worst:
                self._round.drop(party, "prepare", DropReason.COMMITMENT_MISMATCH, f"{most} neighbours published another commitment")
            dropped |= worst
            mismatches = {edge for edge in mismatches if worst.isdisjoint(edge)}
        return dropped

    def _abandoned(self, alive: set[int]) -> set[int]:
        """Parties with fewer than t share-holders alive; dropping one can leave another short, so until nothing changes."""
        left, dropped = set(alive), set[int]()
        while short := {party for party in left if sum(other in left for other in self._round.neighbours[party]) < self.facts.t}:
            left -= short
            dropped |= short
        for party in dropped:
            self._round.drop(party, "prepare", DropReason.TOO_FEW_HOLDERS)
        return dropped


class Collecting(_RoundStep):
    """Adds up the masked inputs as they arrive. Made by `Preparing.close`."""

    def __init__(self, round_: _Round, prepares: dict[int, Prepare], content: bytes) -> None:
        self._round, self._prepares = round_, prepares
        self.plan = EncodingPlan.decode(round_.facts.plan)
        self.alive = tuple(prepares)
        self.transcript = round_.facts.transcript(self.alive, content)
        self._payload_bytes = payload_bytes(self.plan)
        # One running sum per set of metrics, because vectors with different metrics cannot be added; as a rule there is one.
        self._sums: dict[bytes, tuple[Vector, set[int]]] = {}
        header = round_.facts.header
        self._commitments = {
            party: keys.commitments_digest(
                header, party, prepare.commit_self_seed, prepare.commit_box_key, prepare.box, keys.published(prepare.dealt)
            )
            for party, prepare in prepares.items()
        }

    def request(self, party: int) -> TrainRequest:
        """The message for this party: U1 and the shares that its neighbours dealt it."""
        deliveries = []
        for dealer in self._round.neighbours[party]:
            if dealer in self._prepares:
                dealt = self._prepares[dealer].dealt[self._round.slot[dealer][party]]
                deliveries.append(Delivery(dealt.sealed, self._commitments[dealer], dealt.self_seed_hash, dealt.box_key_hash))
        return TrainRequest(header=self.facts.header, alive=self.alive, deliveries=tuple(deliveries))

    def fail(self, party: int, detail: str) -> None:
        """The party answered with an error."""
        if self._waits_for(party):
            self._round.drop(party, "train", DropReason.ERROR_REPLY, detail)

    def _waits_for(self, party: int) -> bool:
        return party in self._prepares and party not in self.drops and not any(party in summed for _, summed in self._sums.values())

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
            if masked.signature:
                raise DecodeError("it is signed, but the round is semi-honest")
            if masked.payload_bytes != len(payload) or len(payload) != self._payload_bytes:
                raise DecodeError(f"its vector has {len(payload)} bytes, {self._payload_bytes} are due")
            if masked.payload_digest and not equal(masked.payload_digest, hashlib.sha256(payload).digest()):
                raise DecodeError("its vector does not fit its digest")
            if len(MetricSchema.decode(masked.schema).names) > self.plan.metric_slots:
                raise DecodeError(f"it has more metrics than the {self.plan.metric_slots} that there is room for")
            vector = unpack_vector(payload, self.plan)
        except DecodeError as error:
            self._round.drop(party, "train", DropReason.MALFORMED, error.message)
            return
        if masked.schema not in self._sums:
            if len(self._sums) == _MAX_SCHEMAS:
                self._round.drop(party, "train", DropReason.OTHER_METRICS, "its metrics have other names than the others'")
                return
            self._sums[masked.schema] = (Vector.zeros(self.plan), set())
        total, summed = self._sums[masked.schema]
        total.add(vector, self.plan)
        summed.add(party)

    def close(self) -> Unmasking:
        """Freezes U2. The driver must record it durably before an UNMASK leaves.

        Raises:
            QuorumError: U2 is below the floor.
        """
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
        neighbours, t = self._round.neighbours, self.facts.t
        if short := sum(sum(holder in summed for holder in neighbours[party]) < t for party in self._prepares):
            raise QuorumError(
                f"{len(summed)} of {self.facts.n} parties sent an update, too few to recover the secrets of {short} parties, which t = {t} "
                f"of their share-holders must answer for ({self._round.described(gone)})",
                missing=self._round.missing(gone),
            )
        return Unmasking(self._round, self._prepares, self.plan, self.transcript, total, tuple(sorted(summed)), most)


@dataclass(frozen=True, slots=True)
class Sum:
    """What a round released.

    Attributes:
        total: the sum of the survivors' vectors.
        survivors: U2, as directory indices.
        schema: which metrics the vector carries.
        drops: who left, when and why, by directory index.
    """

    facts: RoundFacts
    plan: EncodingPlan
    total: Vector
    survivors: tuple[int, ...]
    schema: bytes
    drops: Mapping[int, Drop]


class Unmasking(_RoundStep):
    """Collects shares, recovers the seeds and takes the masks off. Made by `Collecting.close`."""

    def __init__(
        self,
        round_: _Round,
        prepares: dict[int, Prepare],
        plan: EncodingPlan,
        transcript: bytes,
        total: Vector,
        survivors: tuple[int, ...],
        schema: bytes,
    ) -> None:
        self._round, self._prepares, self._plan = round_, prepares, plan
        self._transcript, self._total, self._schema = transcript, total, schema
        self.survivors = survivors
        self._in_sum = frozenset(survivors)
        self._shares: dict[int, dict[int, bytes]] = defaultdict(dict)
        self._answered: set[int] = set()

    def request(self) -> UnmaskRequest:
        """The same message for everybody in U2."""
        return UnmaskRequest(header=self.facts.header, survivors=self.survivors)

    def fail(self, party: int, detail: str) -> None:
        """The party answered with an error. Its input stays in the sum: others hold shares of its seed."""
        if self._waits_for(party):
            self._round.drop(party, "unmask", DropReason.ERROR_REPLY, detail)

    def _waits_for(self, party: int) -> bool:
        return not self._closed and party in self._in_sum and party not in self._answered and party not in self.drops

    def add(self, party: int, data: bytes) -> None:
        """Takes one UNMASK; each share is checked against the hash its dealer published, so a wrong one names its holder."""
        if not self._waits_for(party):
            return
        header = self.facts.header
        dealers = [dealer for dealer in self._round.neighbours[party] if dealer in self._prepares]
        try:
            unmask = Unmask.decode(data)
            if unmask.header != header:
                raise DecodeError("it belongs to another round")
            if unmask.signature:
                raise DecodeError("it is signed, but the round is semi-honest")
            if len(unmask.shares) != len(dealers):
                raise DecodeError(f"it has {len(unmask.shares)} shares, {len(dealers)} are due")
            for dealer, (of, _) in zip(dealers, unmask.shares, strict=True):
                if of is not (ShareOf.SELF_SEED if dealer in self._in_sum else ShareOf.BOX_KEY):
                    raise DecodeError("it has a share of the wrong secret")
            shamir.rows_from_bytes([share for _, share in unmask.shares])
        except DecodeError as error:
            self._round.drop(party, "unmask", DropReason.MALFORMED, error.message)
            return
        self._answered.add(party)
        for of in ShareOf:
            shares = [(dealer, party, share) for dealer, (kind, share) in zip(dealers, unmask.shares, strict=True) if kind is of]
            for (dealer, _, share), hashed in zip(shares, keys.share_hashes(shares, of, header), strict=True):
                at = self._round.slot[dealer][party]
                dealt = self._prepares[dealer].dealt[at]
                if equal(hashed, dealt.self_seed_hash if of is ShareOf.SELF_SEED else dealt.box_key_hash):
                    self._shares[dealer][at + 1] = share
                else:
                    self._round.drop(party, "unmask", DropReason.WRONG_SHARE, f"its share of {self._round.names[dealer]}'s secret")

    def complete(self) -> bool:
        """Whether every secret that is needed has t shares already, so that nobody else has to be waited for."""
        return all(len(self._shares[dealer]) >= self.facts.t for dealer in self._prepares)

    def close(self, *, threads: int | None = None) -> Sum:
        """Recovers the seeds and takes the masks off the sum.

        Raises:
            QuorumError: somebody's secret has fewer than t shares; nothing partial is released.
            PeerError: a recovered secret is not the one its owner committed to; `party` names it.
        """
        self._close_once()
        t = self.facts.t
        short = [dealer for dealer in self._prepares if len(self._shares[dealer]) < t]
        if short:
            silent = {party for party in self.survivors if party not in self._answered}
            raise QuorumError(
                f"the secrets of {len(short)} parties have fewer than t = {t} shares: "
                f"{len(silent)} of {len(self.survivors)} parties did not answer UNMASK ({self._round.described(silent)})",
                missing=self._round.missing(silent | (set(self.facts.cohort) - self._in_sum)),
            )
        secrets = self._reconstruct()
        add, subtract = self._masks(secrets)
        apply_masks(self._total, self._plan, add, subtract, threads=threads)
        return Sum(self.facts, self._plan, self._total, self.survivors, self._schema, dict(self.drops))

    def _reconstruct(self) -> dict[int, bytes]:
        """b_j of every survivor and z_j of everybody else in U1."""
        dealers, t = list(self._prepares), self.facts.t
        secrets: dict[int, bytes] = {}
        for start in range(0, len(dealers), _DEALERS_AT_ONCE):
            block = dealers[start : start + _DEALERS_AT_ONCE]
            points = [sorted(self._shares[dealer])[:t] for dealer in block]
            held = [self._shares[dealer][point] for dealer, at in zip(block, points, strict=True) for point in at]
            shares = shamir.rows_from_bytes(held).reshape(len(block), t, shamir.LIMBS)
            recovered = shamir.reconstruct(np.array(points), shares)
            secrets.update(zip(block, shamir.rows_to_bytes(recovered), strict=True))
        header = self.facts.header
        for dealer, secret in secrets.items():
            prepare = self._prepares[dealer]
            if dealer in self._in_sum:
                honest = equal(keys.commit_self_seed(secret, header, dealer), prepare.commit_self_seed)
            else:
                honest = equal(keys.commit_box_key(secret, header, dealer), prepare.commit_box_key)
            if not honest:
                raise self._fault(dealer, "its shares hold, but their secret is not the one it committed to")
        return secrets

    def _masks(self, secrets: dict[int, bytes]) -> tuple[list[bytes], list[bytes]]:
        """Keystream keys to add to and to subtract from the sum."""
        add: list[bytes] = []
        subtract = [keys.self_mask_key(secrets[party], self._transcript) for party in self.survivors]
        header = self.facts.header
        for party in self._prepares:
            if party in self._in_sum:
                continue
            for other, seed in zip(self._round.neighbours[party], self._open_box(party, secrets[party]), strict=True):
                if other not in self._in_sum:
                    continue
                dealt = self._prepares[party].dealt[self._round.slot[party][other]]
                if not equal(keys.commit_pairwise_seed(seed, header, party, other), dealt.seed_commitment):
                    raise self._fault(party, "its box holds another seed than the one it committed to")
                # `other` added this mask if `party` is the larger index, and subtracted it otherwise.
                (subtract if party > other else add).append(keys.pairwise_mask_key(seed, self._transcript))
        return add, subtract

    def _open_box(self, party: int, secret: bytes) -> list[bytes]:
        header = self.facts.header
        try:
            opened = aead.open_(
                keys.box_key(secret, header, party), _BOX_NONCE, self._prepares[party].box, keys.box_associated_data(header, party)
            )
        except PeerError:
            raise self._fault(party, "its box does not open with the key it committed to") from None
        return [opened[at : at + _SEED_BYTES] for at in range(0, len(opened), _SEED_BYTES)]

    def _fault(self, party: int, why: str) -> PeerError:
        name = self._round.names[party]
        return PeerError(f"{name} is at fault: {why}; the round is lost", party=name, hint="leave this party out and run the round again")
