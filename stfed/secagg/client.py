"""The party's side of the protocol: one class per state, each holding only the secrets that are still alive.

Theory of operation::

    JOIN                PREPARE              TRAIN                  vector masked        UNMASK
     -> Joined ---------> Prepared -----------> Training + MaskKeys ---> Trained ----------> Ready -> (PREPARE of a later round)

A state is a value: a handler takes a message and returns the next state and the reply, and never changes the state it was called on.
Whoever drives it (`stfed.secagg.party`) stores the new state durably *before* the reply leaves, which is what makes PREPARE, TRAIN and
UNMASK happen once only. `freeze` writes a state to bytes and `thaw` brings it back, because a Flower client handles every message in a
fresh process. Every handler checks every claim of the coordinator, each with its own error (`refusals`), before it uses a secret.

What each state knows:

- `Joined`: the X25519 private key. No pairwise key exists yet.
- `Ready`: the pairwise keys, ratcheted past the last round. Nothing of the last round is left (see `PairwiseKeys` for the private key).
- `Prepared`: besides the keys: b_i, the seeds s_ij and the keys that open incoming shares. z_i is gone: it is in the box and the shares.
- `Training`, `Trained`: U1 and the shares held for the neighbours. The own seeds are gone: `MaskKeys` has them, in memory only.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import repeat
from typing import ClassVar, Self

from stfed.crypto import aead, agreement, shamir
from stfed.crypto.identity import Identity
from stfed.crypto.kdf import KEY_BYTES, equal
from stfed.crypto.labels import Label
from stfed.crypto.random import Entropy
from stfed.crypto.shamir import SHARE_BYTES
from stfed.encoding import EncodingPlan, Vector
from stfed.errors import DecodeError, LocalError, PeerError
from stfed.secagg import keys
from stfed.secagg.directory import Directory
from stfed.secagg.masking import apply_masks
from stfed.secagg.messages import (
    DealtShares,
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
from stfed.secagg.policy import Policy
from stfed.secagg.refusals import (
    DirectoryError,
    ModeError,
    NotAMemberError,
    RoundOrderError,
    ShareHoldersError,
    ShareMismatchError,
    ShareUnreadableError,
    SurvivorsError,
    UnknownPartyError,
    WrongRoundError,
)
from stfed.secagg.suite import suite_from
from stfed.secagg.transcript import MODE_CODES, RoundFacts, mode_from
from stfed.wire import Reader, Writer

_MAX_DIRECTORY_ITEMS = 1 << 20
_BOX_NONCE = bytes(aead.NONCE_BYTES)
_NO_KEY = bytes(KEY_BYTES)


@dataclass(frozen=True, slots=True)
class Membership:
    """This party's place in the epoch: public facts only."""

    directory: Directory
    index: int

    def write(self, writer: Writer) -> None:
        """Appends the fields."""
        header = self.directory.header
        writer.u64(header.run).u32(header.epoch).u32(header.round).u16(header.suite).u8(MODE_CODES[self.directory.mode])
        writer.u32(self.index).u32(len(self.directory.encoded[0])).fixed_vector(self.directory.encoded, len(self.directory.encoded[0]))

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Takes the fields. The entries were checked when the state was made; they are decoded again, not verified again."""
        run, epoch, round_, suite = reader.u64("run"), reader.u32("epoch"), reader.u32("round"), reader.u16("suite")
        header = Header(run, epoch, round_, suite_from(suite))
        mode, index, size_bytes = mode_from(reader.u8("mode")), reader.u32("index"), reader.u32("entry size")
        encoded = tuple(reader.fixed_vector("directory", size_bytes, max_items=_MAX_DIRECTORY_ITEMS))
        return cls(Directory(header, mode, encoded), index)


@dataclass(frozen=True, slots=True)
class PairwiseKeys:
    """K_ij(next_round) for every other party of the directory.

    Up to `Policy.eager_parties` parties, all of them are agreed on at once and the private key is forgotten: forward secrecy per round.
    In a larger directory a party would spend minutes on keys of neighbours it never meets, so it keeps the private key until the epoch
    ends and derives what a round needs: forward secrecy per epoch.

    Attributes:
        next_round: the smallest round number that can still be used.
        values: by directory index, this party's own entry empty; empty altogether where the private key is kept.
        private_key: empty where the values are.
    """

    next_round: int
    values: tuple[bytes, ...] = field(repr=False)
    private_key: bytes = field(default=b"", repr=False)

    @classmethod
    def agree(cls, private_key: bytes, directory: Directory, index: int, policy: Policy) -> Self:
        """Agrees on a key with everybody in the directory, now or when needed."""
        first = directory.header.round + 1
        if len(directory) > policy.eager_parties:
            return cls(first, (), private_key)
        joins = [directory.join(other) for other in range(len(directory))]
        own = joins.pop(index)
        values = keys.pairwise_keys(private_key, own, joins)
        values.insert(index, b"")
        return cls(first, tuple(values))

    def step(self, round_: int, wanted: Collection[int], member: Membership) -> tuple[PairwiseKeys, dict[int, bytes]]:
        """Ratchets to just past `round_` and derives R_ij(round_) for the wanted parties."""
        if self.private_key:
            directory = member.directory
            own = directory.join(member.index)
            agreed = keys.pairwise_keys(self.private_key, own, [directory.join(index) for index in wanted])
            current = dict(zip(wanted, agreed, strict=True))
            start = directory.header.round + 1
        else:
            current = {index: value for index, value in enumerate(self.values) if value}
            start = self.next_round
        for _ in range(round_ - start):
            current = {index: keys.next_key(value) for index, value in current.items()}
        ahead, round_keys = {}, {}
        for index in wanted:
            ahead[index], round_keys[index] = keys.next_and_round_key(current[index])
        values = tuple((ahead.get(index) or keys.next_key(current[index])) if value else b"" for index, value in enumerate(self.values))
        return PairwiseKeys(round_ + 1, values, self.private_key), round_keys

    def write(self, writer: Writer) -> None:
        """Appends the fields."""
        writer.u64(self.next_round).opaque(self.private_key)
        writer.fixed_vector([value or _NO_KEY for value in self.values], KEY_BYTES)

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Takes the fields."""
        next_round, private_key = reader.u64("next_round"), reader.opaque("private_key", max_bytes=32)
        values = reader.fixed_vector("keys", KEY_BYTES, max_items=_MAX_DIRECTORY_ITEMS)
        return cls(next_round, tuple(b"" if value == _NO_KEY else value for value in values), private_key)


class ClientState:
    """A state that freezes to bytes and thaws."""

    __slots__ = ()
    TAG: ClassVar[int]

    @property
    def header(self) -> Header:
        """Where in the run this state is."""
        raise NotImplementedError

    def _write(self, writer: Writer) -> None:
        raise NotImplementedError

    @classmethod
    def _read(cls, reader: Reader) -> Self:
        raise NotImplementedError

    def freeze(self) -> bytes:
        """This state as bytes. They hold secrets: they belong into an encrypted store, nowhere else."""
        writer = Writer().u8(self.TAG)
        self._write(writer)
        return writer.getvalue()


def thaw(data: bytes) -> ClientState:
    """The state that `freeze` wrote."""
    reader = Reader(data, "party state")
    tag = reader.u8("tag")
    for state in (Joined, Ready, Prepared, Training, Trained):
        if tag == state.TAG:
            result: ClientState = state._read(reader)
            reader.end()
            return result
    raise DecodeError(f"party state {tag} is not known")


def join(request: JoinRequest, policy: Policy, identity: Identity | None, entropy: Entropy) -> tuple[Joined, Join]:
    """Takes part in an epoch of a run: a fresh X25519 key, published in a JOIN.

    Args:
        request: the coordinator's message.
        policy: this party's own.
        identity: its long-term identity; required in malicious mode, unused in semi-honest mode.
        entropy: where the key comes from.

    Raises:
        ModeError: the coordinator runs another mode than the policy's.
        LocalError: malicious mode without an identity.
    """
    mode = mode_from(request.mode)
    if mode is not policy.mode:
        raise ModeError(
            f"the coordinator runs in {mode.value} mode, this party's policy is {policy.mode.value}",
            hint="set the same mode in SecureAggregation and in the party's policy",
        )
    if mode is Mode.MALICIOUS and identity is None:
        raise LocalError(
            "malicious mode needs an identity on every party", hint="create one with `stfed keygen` and name it in the node's config"
        )
    private_key = agreement.generate(entropy)
    unsigned = Join(
        header=request.header,
        identity=identity.public_bytes if mode is Mode.MALICIOUS and identity is not None else entropy(32),
        public_key=agreement.public_key(private_key),
    )
    signed = unsigned
    if mode is Mode.MALICIOUS and identity is not None:
        signature = identity.sign(Label.SIGN_MESSAGE, unsigned.unsigned())
        signed = Join(header=request.header, identity=unsigned.identity, public_key=unsigned.public_key, signature=signature)
    return Joined(request.header, mode, private_key, signed.encode()), signed


@dataclass(frozen=True, slots=True)
class Joined(ClientState):
    """Has published a key and waits for the directory, which comes with the first PREPARE."""

    TAG: ClassVar[int] = 1
    epoch_header: Header
    mode: Mode
    private_key: bytes = field(repr=False)
    own_join: bytes = field(repr=False)

    @property
    def header(self) -> Header:
        """Where in the run this state is."""
        return self.epoch_header

    def _write(self, writer: Writer) -> None:
        writer.opaque(self.own_join).u8(MODE_CODES[self.mode]).fixed(self.private_key, 32)

    @classmethod
    def _read(cls, reader: Reader) -> Self:
        own_join, mode = reader.opaque("own_join", max_bytes=256), mode_from(reader.u8("mode"))
        return cls(Join.decode(own_join).header, mode, reader.fixed(32, "private_key"), own_join)

    def admit(self, directory: tuple[bytes, ...], policy: Policy) -> Ready:
        """Checks the directory and agrees on a key with everybody in it.

        Raises:
            DirectoryError (and its kinds): the directory is not one, or this party's own JOIN is not in it.
        """
        checked = Directory.of(self.epoch_header, self.mode, directory)
        index = checked.index_of(self.own_join)
        return Ready(Membership(checked, index), PairwiseKeys.agree(self.private_key, checked, index, policy))

    def prepare(self, request: PrepareRequest, policy: Policy, entropy: Entropy) -> tuple[Prepared, Prepare]:
        """Admits the directory that comes with the first PREPARE, then prepares the round."""
        if not request.directory:
            raise DirectoryError("the first PREPARE of an epoch must carry the directory")
        return self.admit(request.directory, policy)._prepare(request, policy, entropy)


@dataclass(frozen=True, slots=True)
class Ready(ClientState):
    """Between rounds: the pairwise keys, and nothing of any round."""

    TAG: ClassVar[int] = 2
    member: Membership
    keys: PairwiseKeys

    @property
    def header(self) -> Header:
        """Where in the run this state is."""
        return self.member.directory.header

    def _write(self, writer: Writer) -> None:
        self.member.write(writer)
        self.keys.write(writer)

    @classmethod
    def _read(cls, reader: Reader) -> Self:
        return cls(Membership.read(reader), PairwiseKeys.read(reader))

    def prepare(self, request: PrepareRequest, policy: Policy, entropy: Entropy) -> tuple[Prepared, Prepare]:
        """Commits to the secrets of a round and deals their shares to the neighbours.

        Args:
            request: the coordinator's message.
            policy: this party's own; checked here, not only when the run began.
            entropy: where b, z, the coefficients and the nonces come from.

        Returns:
            The next state and the reply.

        Raises:
            RefusedError: one kind for each rule of `protocol.md` that the request breaks.
        """
        if request.directory:
            raise DirectoryError("a second directory in one epoch: the first one stands")
        return self._prepare(request, policy, entropy)

    def _prepare(self, request: PrepareRequest, policy: Policy, entropy: Entropy) -> tuple[Prepared, Prepare]:
        facts = self._check(request, policy)
        header, own = facts.header, self.member.index
        graph = facts.graph()
        position = facts.cohort.index(own)
        neighbours = tuple(facts.cohort[other] for other in graph.neighbours(position))
        ratcheted, round_keys = self.keys.step(header.round, neighbours, self.member)
        seeds, outgoing, incoming = zip(*keys.neighbour_keys(round_keys, header, facts.cohort_digest, own), strict=True)

        secrets = shamir.random_secrets(2, entropy)
        self_seed, box_secret = shamir.rows_to_bytes(secrets)
        shares_b, shares_z = map(shamir.rows_to_bytes, shamir.share(secrets, facts.t, range(1, facts.k + 1), entropy))
        commit_b = keys.commit_self_seed(self_seed, header, own)
        commit_z = keys.commit_box_key(box_secret, header, own)
        box = aead.seal(keys.box_key(box_secret, header, own), _BOX_NONCE, b"".join(seeds), keys.box_associated_data(header, own))
        hashes_b = keys.share_hashes(zip(repeat(own), neighbours, shares_b), ShareOf.SELF_SEED, header)
        hashes_z = keys.share_hashes(zip(repeat(own), neighbours, shares_z), ShareOf.BOX_KEY, header)
        commits_s = [keys.commit_pairwise_seed(seed, header, own, other) for other, seed in zip(neighbours, seeds, strict=True)]
        public = list(zip(hashes_b, hashes_z, commits_s, strict=True))
        commitments = keys.commitments_digest(header, own, commit_b, commit_z, box, public)
        dealt = tuple(
            DealtShares(
                aead.seal_random(
                    key,
                    share_b + share_z,
                    keys.share_associated_data(header, own, other, point, facts.t, facts.k, commitments),
                    entropy,
                ),
                *hashes,
            )
            for point, (other, key, share_b, share_z, hashes) in enumerate(
                zip(neighbours, outgoing, shares_b, shares_z, public, strict=True), start=1
            )
        )
        state = Prepared(self.member, ratcheted, facts, neighbours, self_seed, seeds, incoming)
        return state, Prepare(header=header, commit_self_seed=commit_b, commit_box_key=commit_z, box=box, dealt=dealt)

    def _check(self, request: PrepareRequest, policy: Policy) -> RoundFacts:
        directory, own = self.member.directory, self.member.index
        header = request.header
        if (header.run, header.epoch, header.suite) != (directory.header.run, directory.header.epoch, directory.header.suite):
            raise WrongRoundError("PREPARE belongs to another run, epoch or suite than the one this party joined")
        if mode_from(request.mode) is not policy.mode or directory.mode is not policy.mode:
            raise ModeError(f"the round is not in this party's mode, {policy.mode.value}")
        check_round_order(header.round, self.keys.next_round, policy)
        if own not in request.cohort:
            raise NotAMemberError("this party is not in the cohort it is asked to prepare for")
        directory.check_known(request.cohort, "the cohort")
        policy.check_cohort(len(request.cohort))
        policy.check_parameters(len(request.cohort), request.k, request.t)
        policy.check_plan(EncodingPlan.decode(request.plan), len(request.cohort))
        return RoundFacts.of(request, directory.cohort_digest(request.cohort))


def check_round_order(round_: int, next_round: int, policy: Policy) -> None:
    """Refuses a round number that is not new, or that skips so far that the ratchet would be a denial of service."""
    if round_ < next_round:
        raise RoundOrderError(f"round {round_} was used before or is older than one that was; the next one is {next_round}")
    if round_ - next_round > policy.max_skipped_rounds:
        raise RoundOrderError(f"round {round_} skips {round_ - next_round} rounds, this party allows {policy.max_skipped_rounds}")


@dataclass(frozen=True, slots=True)
class Prepared(ClientState):
    """Has dealt its shares and waits for U1 and the model.

    Attributes:
        neighbours: directory indices, ascending.
        self_seed: b_i.
        seeds: s_ij per neighbour.
        incoming: per neighbour, the key of the shares it deals to this party.
    """

    TAG: ClassVar[int] = 3
    member: Membership
    keys: PairwiseKeys
    facts: RoundFacts
    neighbours: tuple[int, ...]
    self_seed: bytes = field(repr=False)
    seeds: tuple[bytes, ...] = field(repr=False)
    incoming: tuple[bytes, ...] = field(repr=False)

    @property
    def header(self) -> Header:
        """Where in the run this state is."""
        return self.facts.header

    def _write(self, writer: Writer) -> None:
        self.member.write(writer)
        self.keys.write(writer)
        writer.opaque(self.facts.encode()).u32s(self.neighbours).fixed(self.self_seed, SHARE_BYTES)
        writer.fixed_vector(self.seeds, KEY_BYTES).fixed_vector(self.incoming, KEY_BYTES)

    @classmethod
    def _read(cls, reader: Reader) -> Self:
        return cls(
            Membership.read(reader),
            PairwiseKeys.read(reader),
            RoundFacts.decode(reader.opaque("facts", max_bytes=1 << 30)),
            reader.u32s("neighbours", max_items=_MAX_DIRECTORY_ITEMS),
            reader.fixed(SHARE_BYTES, "self_seed"),
            tuple(reader.fixed_vector("seeds", KEY_BYTES, max_items=_MAX_DIRECTORY_ITEMS)),
            tuple(reader.fixed_vector("incoming", KEY_BYTES, max_items=_MAX_DIRECTORY_ITEMS)),
        )

    def ready(self) -> Ready:
        """Gives the round up."""
        return Ready(self.member, self.keys)

    def train(self, request: TrainRequest, content: bytes, policy: Policy) -> tuple[Training, MaskKeys]:
        """Checks U1 and the neighbours' shares, and derives the keys of the masks.

        Args:
            request: the coordinator's message.
            content: 32-byte hash of the model and config that the train function is about to receive.
            policy: this party's own.

        Returns:
            The next state, to be stored before training starts, and the mask keys, which are never stored.

        Raises:
            RefusedError: one kind for each rule that the request breaks.
        """
        facts, own = self.facts, self.member.index
        if request.header != facts.header:
            raise WrongRoundError("TRAIN belongs to another round than the one this party prepared")
        alive = frozenset(request.alive)
        if own not in alive:
            raise NotAMemberError("this party is not in U1")
        if strangers := alive - set(facts.cohort):
            raise UnknownPartyError(f"U1 names party {min(strangers)}, which is not in the cohort of PREPARE")
        policy.check_alive(len(alive), facts.n, facts.k, "U1")
        living = tuple(at for at, other in enumerate(self.neighbours) if other in alive)
        if len(living) < facts.t:
            raise ShareHoldersError(f"{len(living)} of this party's share-holders are in U1, t = {facts.t} are needed")
        if len(request.deliveries) != len(living):
            raise ShareHoldersError(f"U1 has {len(living)} neighbours of this party, the message has shares of {len(request.deliveries)}")

        graph, position_of = facts.graph(), {index: at for at, index in enumerate(facts.cohort)}
        opened: list[tuple[int, bytes]] = []
        for at, delivery in zip(living, request.deliveries, strict=True):
            dealer = self.neighbours[at]
            point = graph.point(position_of[dealer], position_of[own])
            associated = keys.share_associated_data(facts.header, dealer, own, point, facts.t, facts.k, delivery.commitments)
            try:
                opened.append((dealer, aead.open_random(self.incoming[at], delivery.sealed, associated)))
            except PeerError:
                name = self.member.directory.name(dealer)
                raise ShareUnreadableError(f"the shares of party {name} do not open", party=name) from None
        held = tuple((dealer, both[:SHARE_BYTES], both[SHARE_BYTES:]) for dealer, both in opened)
        shares_b = [(dealer, own, share_b) for dealer, share_b, _ in held]
        shares_z = [(dealer, own, share_z) for dealer, _, share_z in held]
        shamir.rows_from_bytes([share for *_, share in shares_b + shares_z])
        hashes = zip(
            keys.share_hashes(shares_b, ShareOf.SELF_SEED, facts.header),
            keys.share_hashes(shares_z, ShareOf.BOX_KEY, facts.header),
            strict=True,
        )
        for (dealer, *_), (hash_b, hash_z), delivery in zip(held, hashes, request.deliveries, strict=True):
            if not (equal(hash_b, delivery.self_seed_hash) and equal(hash_z, delivery.box_key_hash)):
                name = self.member.directory.name(dealer)
                raise ShareMismatchError(f"a share of party {name} is not the one it published the hash of", party=name)

        transcript = facts.transcript(request.alive, content)
        masks = MaskKeys(
            header=facts.header,
            plan=EncodingPlan.decode(facts.plan),
            add=(
                keys.self_mask_key(self.self_seed, transcript),
                *(keys.pairwise_mask_key(self.seeds[at], transcript) for at in living if self.neighbours[at] > own),
            ),
            subtract=tuple(keys.pairwise_mask_key(self.seeds[at], transcript) for at in living if self.neighbours[at] < own),
        )
        return Training(self.member, self.keys, facts, request.alive, held), masks


@dataclass(frozen=True, slots=True)
class MaskKeys:
    """The keys of this party's masks in one round. Lives in memory between TRAIN and the masked vector, never in a store."""

    header: Header
    plan: EncodingPlan
    add: tuple[bytes, ...] = field(repr=False)
    subtract: tuple[bytes, ...] = field(repr=False)

    def apply(self, vector: Vector, *, threads: int | None = None) -> None:
        """y = x + PRG(b) + sum of PRG(s_ij) for j > i - sum of PRG(s_ij) for j < i, in place.

        Args:
            vector: x, of the plan.
            threads: as `keystream.accumulate`.
        """
        apply_masks(vector, self.plan, self.add, self.subtract, threads=threads)


@dataclass(frozen=True, slots=True)
class _Holding(ClientState):
    """What `Training` and `Trained` share.

    Attributes:
        alive: U1, as this party saw it: UNMASK uses this one and no other.
        held: per neighbour in U1, ascending: index, share of b, share of z.
    """

    member: Membership
    keys: PairwiseKeys
    facts: RoundFacts
    alive: tuple[int, ...]
    held: tuple[tuple[int, bytes, bytes], ...] = field(repr=False)

    @property
    def header(self) -> Header:
        """Where in the run this state is."""
        return self.facts.header

    def _write(self, writer: Writer) -> None:
        self.member.write(writer)
        self.keys.write(writer)
        writer.opaque(self.facts.encode()).u32s(self.alive).u32s([dealer for dealer, _, _ in self.held])
        writer.fixed_vector([share_b + share_z for _, share_b, share_z in self.held], 2 * SHARE_BYTES)

    @classmethod
    def _read(cls, reader: Reader) -> Self:
        member, pairwise, facts = (
            Membership.read(reader),
            PairwiseKeys.read(reader),
            RoundFacts.decode(reader.opaque("facts", max_bytes=1 << 30)),
        )
        alive, dealers = (reader.u32s(name, max_items=_MAX_DIRECTORY_ITEMS) for name in ("alive", "dealers"))
        shares = reader.fixed_vector("shares", 2 * SHARE_BYTES, max_items=_MAX_DIRECTORY_ITEMS)
        held = tuple((dealer, both[:SHARE_BYTES], both[SHARE_BYTES:]) for dealer, both in zip(dealers, shares, strict=True))
        return cls(member, pairwise, facts, alive, held)

    def ready(self) -> Ready:
        """Gives the round up, or closes it."""
        return Ready(self.member, self.keys)


@dataclass(frozen=True, slots=True)
class Training(_Holding):
    """TRAIN was accepted and its one use is spent. A party that is found in this state after a crash has lost the round."""

    TAG: ClassVar[int] = 4

    def finish(self, schema: bytes, payload_bytes: int) -> tuple[Trained, Masked]:
        """The masked vector exists; the reply may leave as soon as the returned state is stored."""
        reply = Masked(header=self.facts.header, schema=schema, payload_bytes=payload_bytes)
        return Trained(self.member, self.keys, self.facts, self.alive, self.held), reply


@dataclass(frozen=True, slots=True)
class Trained(_Holding):
    """Has sent its masked input and waits for U2."""

    TAG: ClassVar[int] = 5

    def unmask(self, request: UnmaskRequest, policy: Policy) -> tuple[Ready, Unmask]:
        """Releases one share per neighbour: of b where the neighbour is in the sum, of z where it is not. Then forgets the round.

        Raises:
            RefusedError: U2 is not a subset of the U1 that this party trained with, too small, or without this party.
        """
        facts = self.facts
        if request.header != facts.header:
            raise WrongRoundError("UNMASK belongs to another round than the one this party trained in")
        if facts.mode is Mode.MALICIOUS:
            raise ModeError("malicious mode needs CONFIRM before UNMASK, which this version does not have")
        if request.confirmations:
            raise ModeError("UNMASK carries confirmations, but the round is semi-honest")
        survivors = frozenset(request.survivors)
        if self.member.index not in survivors:
            raise NotAMemberError("this party is not in U2")
        if strangers := survivors - set(self.alive):
            raise SurvivorsError(f"U2 names party {min(strangers)}, which is not in the U1 that this party trained with")
        policy.check_alive(len(survivors), facts.n, facts.k, "U2")
        shares = tuple(
            (ShareOf.SELF_SEED, share_b) if dealer in survivors else (ShareOf.BOX_KEY, share_z) for dealer, share_b, share_z in self.held
        )
        return self.ready(), Unmask(header=facts.header, shares=shares)
