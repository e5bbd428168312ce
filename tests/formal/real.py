"""The model's actions, done to real parties: what `tests.formal.model` calls known is computed here from bytes.

Party p of the model is place p of the directory; the corrupt ones are real parties too, whose stores the coordinator reads. Vectors are
random words, really masked. `Real.learns` does what the coordinator would: shares together, boxes open, masks off.

Taking a rule out is `taken_out`: a patch of the one check. A rule that something happens once only is taken out by giving the party its
store back as it was before that step.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from itertools import chain
from math import ceil
from typing import Any

import numpy as np
import pytest

from stfed.crypto import aead, shamir
from stfed.encoding import Vector, pack_vector
from stfed.secagg import keys, signing
from stfed.secagg.client import Confirmed, Prepared, trained
from stfed.secagg.client.holding import Holding
from stfed.secagg.masking import apply_masks
from stfed.secagg.messages import Confirm as ConfirmReply
from stfed.secagg.messages import ConfirmRequest, Delivery, Header, Phase, ShareOf, TrainRequest, UnmaskRequest
from stfed.secagg.messages import Prepare as PrepareReply
from stfed.secagg.messages import Unmask as UnmaskReply
from stfed.secagg.params import Mode
from stfed.secagg.party import Party
from stfed.secagg.policy import Policy
from stfed.secagg.record import Record
from stfed.secagg.refusals import (
    CohortTooSmallError,
    ConfirmationError,
    ContentReuseError,
    DirectoryError,
    NotAMemberError,
    OtherSurvivorsError,
    ParametersError,
    RoundOrderError,
    ShareHoldersError,
    ShareUnreadableError,
    StateLostError,
    SurvivorsError,
    UnknownPartyError,
    WrongRoundError,
    WrongStepError,
)
from stfed.secagg.roster import PartyRoster
from stfed.secagg.transcript import RoundFacts
from stfed.testing.protocol import NOON, LocalProtocol, roster_of
from tests.formal.model import Action, Confirm, Leak, Prepare, Train, Unmask, members
from tests.formal.rules import Rule, Setting, Without
from tests.secagg.scene import NO_METRICS, plan_of, vectors_of

SIZE = 6
REFUSED_BY: dict[Rule, tuple[type[Exception], ...]] = {
    Rule.ORDER: (WrongStepError, StateLostError, RoundOrderError, NotAMemberError),
    Rule.ONCE_PREPARE: (RoundOrderError,),
    Rule.SECRECY: (ParametersError,),
    Rule.T_MINIMUM: (ParametersError,),
    Rule.ROSTER: (ParametersError, CohortTooSmallError),
    Rule.ONCE_TRAIN: (WrongStepError, ContentReuseError),
    Rule.SELF_IN_U1: (NotAMemberError,),
    Rule.U1_IN_COHORT: (UnknownPartyError,),
    Rule.MIN_U1: (CohortTooSmallError,),
    Rule.HOLDERS: (ShareHoldersError,),
    Rule.OPENS: (ShareHoldersError, ShareUnreadableError),
    Rule.ONCE_CONFIRM: (WrongStepError,),
    Rule.SELF_IN_U2: (NotAMemberError,),
    Rule.U2_IN_U1: (SurvivorsError,),
    Rule.STORED_U1: (SurvivorsError,),
    Rule.MIN_U2: (CohortTooSmallError,),
    Rule.ONCE_UNMASK: (WrongStepError,),
    Rule.SIGNED_U2: (OtherSurvivorsError,),
    Rule.SIGNERS_IN_U2: (ConfirmationError,),
    Rule.T_SIGNED: (ConfirmationError,),
    Rule.QUORUM: (ConfirmationError,),
    Rule.QUORUM_CORRUPT: (ConfirmationError,),
}
"""What the real party raises where the model refuses by this rule."""


class ResentError(Exception):
    """The party answered with the very bytes of an earlier answer: a resend, which is no answer."""


def gamma_of(setting: Setting) -> float:
    """A share of n that rounds up to C as the parties count it."""
    corrupt = setting.corrupt if setting.counted < 0 else setting.counted
    return (corrupt - 0.5) / setting.n if corrupt else 0.0


def policy_of(setting: Setting) -> Policy:
    """What every party of a setting has decided."""
    return Policy(
        mode=Mode.MALICIOUS,
        gamma=gamma_of(setting),
        delta=0.0,
        honest_survivors=setting.honest_minimum,
        fixed_encoding=False,
        min_cohort=2,
    )


class Real:
    """Real parties that stand for a setting, and a coordinator that keeps everything.

    Args:
        setting: the numbers.
        without: rules that are taken out.
        riding: whether every UNMASK has the PREPARE of the next round on it. To the model that is the same event: what is asked of this
            round afterwards is refused as it was.
    """

    def __init__(self, setting: Setting, without: Without = frozenset(), *, riding: bool = False) -> None:
        assert not setting.roster, "one cohort"
        self.setting, self.without, self.h, self.riding = setting, without, setting.honest, riding
        members_of_roster = setting.n
        if setting.counted >= 0:  # gamma N rounds up to C, gamma n to what the parties count
            members_of_roster = next(size for size in range(setting.n, 99) if ceil(gamma_of(setting) * size) == setting.corrupt)
        policy = policy_of(setting)
        roster = PartyRoster(roster_of(members_of_roster), lambda: NOON)
        self.protocol = LocalProtocol(setting.n, policy, keep_log=False, roster=roster)
        enrolment = self.protocol.join()
        self.nodes, self.directory = enrolment.nodes, enrolment.directory
        self.header, self.plan = Header(self.protocol.run, self.protocol.epoch, 1), plan_of(setting.n, SIZE)
        everybody = tuple(range(setting.n))
        self.facts = RoundFacts(
            self.header,
            Phase.TRAIN,
            Mode.MALICIOUS,
            setting.n - 1,
            setting.t,
            self.plan.encode(),
            everybody,
            self.directory.cohort_digest(everybody),
        )
        self.inputs = vectors_of(self.plan, 2 * 2 * setting.n, seed=1)
        self._restart()
        with pytest.MonkeyPatch.context() as patch:  # the coordinator's own take part in anything
            patch.setattr(Policy, "check_parameters", _no_check)
            for party in range(self.h, setting.n):
                self.prepared[party] = [self._prepare(party)]

    def _restart(self) -> None:
        self.prepared: dict[int, list[tuple[PrepareReply, Prepared]]] = {party: [] for party in range(self.setting.n)}
        self.vectors: dict[tuple[int, int, int], tuple[Vector, Vector, bytes, dict[int, int]]] = {}
        self.signatures: list[tuple[int, bytes, tuple[int, ...], bytes]] = []
        self.shares: dict[tuple[int, int, ShareOf], dict[int, bytes]] = {}
        self.trained_with: dict[int, dict[int, int]] = {}
        self.answers: set[bytes] = set()
        self.before: dict[tuple[int, type], Any] = {}

    def mark(self) -> Any:
        """This moment, for `back_to`."""
        names = ("prepared", "vectors", "signatures", "shares", "trained_with", "answers", "before")
        return deepcopy([self._store(party) for party in range(self.setting.n)]), {name: deepcopy(getattr(self, name)) for name in names}

    def back_to(self, moment: Any) -> None:
        """All parties and all knowledge as they were."""
        stores, known = deepcopy(moment)
        for party, stored in enumerate(stores):
            self._restore(party, stored)
        vars(self).update(known)

    # --- one step ------------------------------------------------------------------------------------------------------------------------

    def does(self, action: Action) -> None:
        """Says it to the party, and keeps the answer. Raises what the party refuses with."""
        party, kind = action.party, type(action)
        once = {Prepare: Rule.ONCE_PREPARE, Train: Rule.ONCE_TRAIN, Confirm: Rule.ONCE_CONFIRM, Unmask: Rule.ONCE_UNMASK}[kind]
        now = deepcopy(self._store(party))
        if once in self.without and (party, kind) in self.before:
            self._restore(party, self.before[party, kind])
        try:
            self._says(action)
        except Exception:
            self._restore(party, now)
            raise
        self.before.setdefault((party, kind), now)

    def _says(self, action: Action) -> None:
        match action:
            case Prepare(party, _):
                self.prepared[party].append(self._prepare(party))
                self.before = {key: stored for key, stored in self.before.items() if key[0] != party or key[1] is Prepare}
            case Train(party, view):
                self._train(party, tuple(members(view.alive)), view.content, view.masked, view.second)
            case Confirm(party, survivors):
                self._confirm(party, tuple(members(survivors)))
            case Unmask(party, release):
                self._unmask(party, tuple(members(release.survivors)))

    def _party(self, party: int) -> Party:
        return self.protocol.parties[self.nodes[party]]

    def _store(self, party: int) -> Any:
        store: Any = self.protocol.stores[self.nodes[party]]
        return store._runs, store._contents

    def _restore(self, party: int, stored: Any) -> None:
        store: Any = self.protocol.stores[self.nodes[party]]
        store._runs, store._contents = deepcopy(stored)

    def _state(self, party: int) -> Any:
        return Record.decode(self._store(party)[0][self.protocol.run].record).state

    def _answer(self, party: int, request: bytes) -> bytes:
        reply = self._party(party).answer(request)
        if reply in self.answers:
            raise ResentError
        self.answers.add(reply)
        return reply

    def _prepare(self, party: int) -> tuple[PrepareReply, Prepared]:
        known = hasattr(self._state(party), "member")
        # Once the directory is known it must not come again; a resend is the very request, with it.
        directory = () if known and (party, Prepare) not in self.before else self.directory.encoded
        reply = PrepareReply.decode(self._answer(party, self.facts.request(directory).encode()))
        return reply, self._state(party)

    def _train(self, party: int, alive: tuple[int, ...], content: int, masked: int, second: int) -> None:
        dealers = {dealer: second >> dealer & 1 for dealer in members(masked)}
        deliveries = tuple(self._delivery(dealer, which, party) for dealer, which in dealers.items())
        request = TrainRequest(header=self.header, alive=alive, deliveries=deliveries)
        which = len(self.prepared[party]) - 1
        at = sum(vector[:2] == (party, which) for vector in self.vectors)
        ticket = self._party(party).start_training(request.encode(), hashlib.sha256(bytes([content])).digest())
        plain = self.inputs[(party * 2 + which) * 2 + at]
        masked_vector = deepcopy(plain)
        ticket.masks.apply(masked_vector)
        payload = pack_vector(masked_vector, self.plan)
        self._party(party).finish_training(ticket, NO_METRICS, len(payload), hashlib.sha256(payload).digest())
        self.trained_with[party] = dealers
        self.vectors[party, which, at] = plain, masked_vector, self._state(party).transcript, dealers

    def _delivery(self, dealer: int, which: int, holder: int) -> Delivery:
        if len(self.prepared[dealer]) <= which:
            return Delivery(bytes(92), bytes(32), bytes(16), bytes(16))
        reply, _ = self.prepared[dealer][which]
        dealt = reply.dealt[_place(dealer, holder)]
        return Delivery(dealt.sealed, keys.published_by(reply, dealer), dealt.self_seed_hash, dealt.box_key_hash)

    def _confirm(self, party: int, survivors: tuple[int, ...]) -> None:
        reply = self._answer(party, ConfirmRequest(header=self.header, survivors=survivors).encode())
        self.signatures.append((party, self._state(party).transcript, survivors, ConfirmReply.decode(reply).signature))

    def _unmask(self, party: int, survivors: tuple[int, ...]) -> None:
        transcript = getattr(self._state(party), "transcript", bytes(32))
        anybody, any_t = Rule.SIGNERS_IN_U2 in self.without, Rule.T_SIGNED in self.without
        listed = {
            signer: signature
            for signer, under, signed, signature in self.signatures
            if signed == survivors and (under == transcript or any_t) and (signer in survivors or anybody)
        }
        for corrupt in range(self.h, self.setting.n):
            if corrupt in survivors or anybody:
                identity = self.protocol.identities[self.nodes[corrupt]]
                under = bytes(32) if any_t else transcript
                listed[corrupt] = signing.sign_survivors(identity, self.header, under, survivors)
        request = UnmaskRequest(header=self.header, survivors=survivors, confirmations=tuple(sorted(listed.items())))
        reply = UnmaskReply.decode(self._released(party, request.encode()))
        for (dealer, which), (of, share) in zip(self.trained_with[party].items(), reply.shares, strict=True):
            self.shares.setdefault((dealer, which, of), {})[party] = share

    def _released(self, party: int, request: bytes) -> bytes:
        if not self.riding:
            return self._answer(party, request)
        following = replace(self.facts, header=replace(self.header, round=self.header.round + 1))
        released, prepared = self._party(party).unmask_and_prepare(request, following.request(()).encode())
        if released in self.answers:
            raise ResentError
        assert isinstance(prepared, bytes)
        assert isinstance(self._state(party), Prepared)
        self.answers.add(released)
        return released

    # --- what comes of it ----------------------------------------------------------------------------------------------------------------

    def learns(self, leak: Leak) -> bool:
        """Whether the coordinator computes from what it has been told exactly what the model says."""
        if leak.both >= 0:
            return any(
                self._secret(leak.both, which, ShareOf.SELF_SEED) and self._secret(leak.both, which, ShareOf.BOX_KEY)
                for which in range(len(self.prepared[leak.both]))
            )
        found = np.zeros(self.plan.vector_length, np.uint64)
        wanted = np.zeros_like(found)
        if any(vector not in self.vectors for vector, _ in leak.combination):
            return False
        for (party, which, at), factor in leak.combination:
            plain, vector, transcript, dealers = self.vectors[party, which, at]
            bare = deepcopy(vector)
            self._unmasked(party, which, dealers, bare, transcript)
            found += np.uint64(factor % 2**64) * bare.ring.astype(np.uint64)
            wanted += np.uint64(factor % 2**64) * plain.ring.astype(np.uint64)
        modulus = np.uint64((1 << self.plan.ring_bits) - 1)
        return bool(np.array_equal(found & modulus, wanted & modulus))

    def learns_secret(self, party: int, of: ShareOf) -> bytes | None:
        """b or z of its first PREPARE, if there are t shares."""
        return self._secret(party, 0, of)

    def _unmasked(self, party: int, which: int, dealers: dict[int, int], vector: Vector, transcript: bytes) -> None:
        """Takes off every mask whose seed is known."""
        add: list[bytes] = []
        subtract: list[bytes] = []
        own = self._secret(party, which, ShareOf.SELF_SEED)
        if own:
            subtract.append(keys.self_mask_key(own, transcript))
        for other in dealers:
            if seed := self._seed(party, other):
                (subtract if other > party else add).append(keys.pairwise_mask_key(seed, transcript))
        apply_masks(vector, self.plan, add, subtract)

    def _seed(self, party: int, other: int) -> bytes | None:
        for one, peer in ((party, other), (other, party)):
            if one >= self.h:
                return self.prepared[one][0][1].seeds[_place(one, peer)]
            for which, (reply, _) in enumerate(self.prepared[one]):
                if secret := self._secret(one, which, ShareOf.BOX_KEY):
                    key, associated = keys.box_key(secret, self.header, one), keys.box_associated_data(self.header, one)
                    opened = aead.open_(key, bytes(aead.NONCE_BYTES), reply.box, associated)
                    at = 32 * _place(one, peer)
                    return opened[at : at + 32]
        return None

    def _secret(self, dealer: int, which: int, of: ShareOf) -> bytes | None:
        """b or z, if there are t shares; it has to be the one that was committed to."""
        reply, _ = self.prepared[dealer][which]
        held = dict(self.shares.get((dealer, which, of), {}))
        held |= {corrupt: self._corrupt_share(dealer, which, corrupt, of) for corrupt in range(self.h, self.setting.n)}
        if len(held) < self.setting.t:
            return None
        chosen = sorted(held)[: self.setting.t]
        points = np.array([[_place(dealer, holder) + 1 for holder in chosen]])
        rows = shamir.rows_from_bytes([held[holder] for holder in chosen]).reshape(1, len(chosen), shamir.LIMBS)
        (secret,) = shamir.rows_to_bytes(shamir.reconstruct(points, rows))
        commit, published = (
            (keys.commit_self_seed, reply.commit_self_seed) if of is ShareOf.SELF_SEED else (keys.commit_box_key, reply.commit_box_key)
        )
        assert commit(secret, self.header, dealer) == published
        return bytes(secret)

    def _corrupt_share(self, dealer: int, which: int, corrupt: int, of: ShareOf) -> bytes:
        delivery, state = self._delivery(dealer, which, corrupt), self.prepared[corrupt][0][1]
        point = _place(dealer, corrupt) + 1
        associated = keys.share_associated_data(
            self.header, dealer, corrupt, point, self.setting.t, self.setting.n - 1, delivery.commitments
        )
        both = aead.open_random(state.incoming[_place(corrupt, dealer)], delivery.sealed, associated)
        return both[: len(both) // 2] if of is ShareOf.SELF_SEED else both[len(both) // 2 :]


def _place(owner: int, other: int) -> int:
    """Where another party stands among one's neighbours, on the complete graph."""
    return other - (other > owner)


# --- the checks, taken out ---------------------------------------------------------------------------------------------------------------


def _no_check(*_: Any, **__: Any) -> None:
    """Instead of a rule."""


def _not_checked(what: str) -> Callable[[pytest.MonkeyPatch], None]:
    original = Policy.check_alive

    def check_alive(self: Policy, alive: int, n: int, k: int, of: str, **promised: int) -> None:
        if of != what:
            original(self, alive, n, k, of, **promised)

    return lambda patch: patch.setattr(Policy, "check_alive", check_alive)


def _survivors(seen: Callable[[Any, tuple[int, ...]], set[int]]) -> Callable[[pytest.MonkeyPatch], None]:
    """The other checks see another U2; its size is checked as it is."""

    def take_out(patch: pytest.MonkeyPatch) -> None:
        original = Holding.check_survivors  # of now: two of these may be taken out at once

        def check_survivors(self: Any, header: Header, survivors: tuple[int, ...], policy: Policy, step: str) -> None:
            policy.check_alive(len(survivors), self.facts.n, self.facts.k, "U2")
            with pytest.MonkeyPatch.context() as inner:
                inner.setattr(Policy, "check_alive", _no_check)
                original(self, header, tuple(sorted(seen(self, survivors))), policy, step)

        patch.setattr(Holding, "check_survivors", check_survivors)

    return take_out


def _any_u1(patch: pytest.MonkeyPatch) -> None:
    original = Prepared.train

    def train(self: Any, request: TrainRequest, content: bytes, policy: Policy) -> Any:
        known = tuple(party for party in request.alive if party in self.facts.cohort)
        # The size of U1 is checked as the coordinator said it, strangers among them; z3 finds either kind of U1.
        policy.check_alive(len(request.alive), self.facts.n, self.facts.k, "U1")
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(Policy, "check_alive", _no_check)
            state, masks = original(self, replace(request, alive=known), content, policy)
        return replace(state, alive=request.alive), masks

    patch.setattr(Prepared, "train", train)


def _any_u2(patch: pytest.MonkeyPatch) -> None:
    original = Confirmed.unmask
    patch.setattr(Confirmed, "unmask", lambda self, request, policy: original(replace(self, survivors=request.survivors), request, policy))


def _without_t(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        trained, "sign_survivors", lambda identity, header, _, survivors: signing.sign_survivors(identity, header, bytes(32), survivors)
    )
    original = Confirmed._check_confirmations

    def check(self: Any, confirmations: Any, policy: Policy) -> None:
        original(replace(self, transcript=bytes(32)), confirmations, policy)

    patch.setattr(Confirmed, "_check_confirmations", check)


def _any_signer(patch: pytest.MonkeyPatch) -> None:
    def check(self: Any, confirmations: tuple[tuple[int, bytes], ...], policy: Policy) -> None:
        for party, signature in confirmations:
            identity = self.member.directory.join(party).identity
            signing.check_survivors(identity, signature, self.facts.header, self.transcript, self.survivors)
        if len(confirmations) < policy.quorum(self.facts.n):
            raise ConfirmationError("too few")

    patch.setattr(Confirmed, "_check_confirmations", check)


def _nothing(_: pytest.MonkeyPatch) -> None:
    """`Real.does` gives the store back."""


TAKE_OUT: dict[Rule, Callable[[pytest.MonkeyPatch], None]] = {
    Rule.ONCE_PREPARE: _nothing,
    Rule.ONCE_TRAIN: _nothing,
    Rule.ONCE_CONFIRM: _nothing,
    Rule.ONCE_UNMASK: _nothing,
    Rule.SECRECY: lambda patch: patch.setattr(Policy, "check_parameters", _no_check),
    Rule.T_MINIMUM: lambda patch: patch.setattr(Policy, "check_parameters", _no_check),
    Rule.ROSTER: lambda patch: patch.setattr(Party, "_rules", property(lambda self: self.policy)),
    Rule.U1_IN_COHORT: _any_u1,
    Rule.MIN_U1: _not_checked("U1"),
    Rule.HOLDERS: lambda patch: patch.setattr(Prepared, "_check_holders", _no_check),
    Rule.SELF_IN_U2: _survivors(lambda self, survivors: {*survivors, self.member.index}),
    Rule.U2_IN_U1: _survivors(lambda self, survivors: set(survivors) & set(self.alive)),
    Rule.MIN_U2: _not_checked("U2"),
    Rule.SIGNED_U2: _any_u2,
    Rule.SIGNERS_IN_U2: _any_signer,
    Rule.T_SIGNED: _without_t,
    Rule.QUORUM: lambda patch: patch.setattr(Policy, "quorum", lambda *_: 0),
    Rule.QUORUM_CORRUPT: lambda patch: patch.setattr(Policy, "quorum", lambda _, n: n // 2 + 1),
}
"""How each rule is taken out of the real parties. Not here: OPENS and EITHER_OR, which are the shape of the messages, and what has no check
of its own (SELF_IN_U1 is one with the masks, STORED_U1 has no message that could say otherwise)."""


@contextmanager
def taken_out(without: Without) -> Iterator[None]:
    """Real parties without these rules."""
    with pytest.MonkeyPatch.context() as patch:
        for rule in sorted(without, key=list(Rule).index):
            TAKE_OUT[rule](patch)
        yield


def refused_by(rules: set[Rule], *, riding: bool = False) -> tuple[type[Exception], ...]:
    """What a party may raise that breaks these rules; with `riding`, also because it is in the next round already: then the first PREPARE
    is no resend any more, and has a directory that the party knows.
    """
    ahead = (WrongRoundError, DirectoryError) if riding and rules & {Rule.ORDER, Rule.ONCE_PREPARE, Rule.ONCE_TRAIN} else ()
    return (*chain.from_iterable(REFUSED_BY[rule] for rule in rules), *ahead)
