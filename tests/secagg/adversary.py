"""A coordinator that lies, and what it knows: it asks real parties anything, in any order, and keeps every answer.

Five parties are on the roster and one of them, the last, is the coordinator's own (C = 1). It signs and says whatever is useful, and all
shares that are dealt to it are known. What the coordinator knows is kept as names, not as numbers: a secret is known with t shares of it.

- b_j and z_j: with t shares, of honest parties that released one and of the corrupt one, which has both.
- s_ij, as i derives it: with z_i, or with z_j if j was shown the same cohort.
- a sum of the updates of some honest parties: with all their b, all their vectors, and every pairwise mask on them, which is off if its
  seed is known, and cancels if the other end is in the sum as well, masked with this one, and derived its masks from the same transcript.

`smallest_sum` is the fewest honest parties in any such sum. Two invariants make the protocol: no party's b and z are both known, and no sum
has fewer honest parties than the policy promises. That the corrupt party's own messages are honest ones, apart from answering as often
and as inconsistently as it is asked, costs the attacker nothing: its secrets are no obstacle anyway.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from stfed.errors import DecodeError
from stfed.secagg import keys
from stfed.secagg.client import Trained
from stfed.secagg.messages import (
    Confirm,
    ConfirmRequest,
    Delivery,
    DrawnPrepare,
    Header,
    Kind,
    Message,
    Phase,
    Prepare,
    ShareOf,
    TrainRequest,
    Unmask,
    UnmaskRequest,
    peek,
)
from stfed.secagg.params import Mode
from stfed.secagg.policy import Policy
from stfed.secagg.record import Record
from stfed.secagg.refusals import RefusedError
from stfed.secagg.signing import sign_survivors
from stfed.secagg.transcript import RoundFacts
from stfed.testing.protocol import LocalProtocol
from tests.secagg.scene import NO_METRICS, plan_of

N, C = 5, 1
POLICY = Policy(mode=Mode.MALICIOUS, gamma=0.1, delta=0.0, fixed_encoding=False)
HONEST_FLOOR = POLICY.floor(N, N - 1) - C
Parties = tuple[int, ...]


@dataclass(frozen=True)
class View:
    """What one honest party took for the round when it sent its vector."""

    transcript: bytes
    alive: Parties
    dealers: Parties


@dataclass
class Knowledge:
    """Of one round."""

    prepares: dict[int, tuple[Prepare, RoundFacts]] = field(default_factory=dict)
    views: dict[int, View] = field(default_factory=dict)
    released: dict[tuple[int, ShareOf], set[int]] = field(default_factory=lambda: defaultdict(set))
    signatures: dict[tuple[int, Parties], bytes] = field(default_factory=dict)


class Adversary:
    """The coordinator, its corrupt party, and the honest ones. Indices are places in the directory; the corrupt one is `corrupt`."""

    def __init__(self, n: int = N, policy: Policy = POLICY) -> None:
        self.n, self.protocol = n, LocalProtocol(n, policy, keep_log=False)
        self.enrolment = self.protocol.join()
        self.corrupt = self.enrolment.index_of()[n - 1]
        self.honest = tuple(index for index in range(n) if index != self.corrupt)
        self.rounds: dict[int, Knowledge] = defaultdict(Knowledge)
        self.sent: list[bytes] = []
        self.answers: dict[tuple[int, Kind, Header], set[bytes]] = defaultdict(set)
        # The corrupt party answers from the state after JOIN, as often as the coordinator likes.
        self._fresh = deepcopy(self._store(self.corrupt)._runs)
        self._mark: Any = None

    def marked(self) -> Adversary:
        """Remembers this moment, for `rewind`."""
        self._mark = deepcopy(self._moment())
        return self

    def rewind(self) -> None:
        """Back to the mark, all parties and what is known: much faster than a new beginning."""
        stores, self.rounds, self.answers, self.sent = deepcopy(self._mark)
        for index, (runs, contents) in enumerate(stores):
            self._store(index)._runs, self._store(index)._contents = runs, contents

    def _moment(self) -> Any:
        stores = [(self._store(index)._runs, self._store(index)._contents) for index in range(self.n)]
        return stores, self.rounds, self.answers, self.sent

    def _store(self, index: int) -> Any:
        return self.protocol.stores[self.enrolment.nodes[index]]

    def party(self, index: int) -> Any:
        return self.protocol.parties[self.enrolment.nodes[index]]

    def state(self, index: int) -> Any:
        record: bytes = self._store(index)._runs[self.protocol.run].record
        return Record.decode(record).state

    def ask(self, index: int, request: Message | bytes) -> bytes | None:
        """A light step; None is a refusal."""
        data = request if isinstance(request, bytes) else request.encode()
        self.sent.append(data)
        if index == self.corrupt:
            self._store(index)._runs = deepcopy(self._fresh)
        try:
            reply: bytes = self.party(index).answer(data)
        except (RefusedError, DecodeError):
            return None
        self._learn(index, data, reply)
        return reply

    def _learn(self, index: int, request: bytes, reply: bytes) -> None:
        kind, header = peek(reply)
        if index != self.corrupt:
            self.answers[index, kind, header].add(reply)
        known = self.rounds[header.round]
        if kind in (Kind.PREPARE, Kind.DRAWN_PREPARE):
            if index == self.corrupt or index not in known.prepares:  # an honest party answers once, and resends
                form = DrawnPrepare if kind is Kind.DRAWN_PREPARE else Prepare
                known.prepares[index] = form.decode(reply), self.state(index).facts
        elif kind is Kind.CONFIRM:
            known.signatures[index, ConfirmRequest.decode(request).survivors] = Confirm.decode(reply).signature
        elif kind is Kind.UNMASK:
            for dealer, (of, _) in zip(known.views[index].dealers, Unmask.decode(reply).shares, strict=True):
                known.released[dealer, of].add(index)

    # --- what it can say -----------------------------------------------------------------------------------------------------------------

    def prepare(self, index: int, round_: int, cohort: Parties, t: int) -> None:
        """PREPARE, with parameters of the coordinator's own choice."""
        directory = self.enrolment.directory
        header = Header(self.protocol.run, self.protocol.epoch, round_)
        plan = plan_of(len(cohort), 4).encode()
        facts = RoundFacts(header, Phase.TRAIN, Mode.MALICIOUS, len(cohort) - 1, t, plan, cohort, directory.cohort_digest(cohort))
        joined = index == self.corrupt or not hasattr(self.state(index), "member")
        self.ask(index, facts.request(directory.encoded if joined else ()))

    def train(self, index: int, alive: Parties, content: bytes, *, send: bool = True) -> None:
        """TRAIN with this U1; the shares are the ones that their dealers dealt last, whatever they were told."""
        state = self.state(index)
        if index == self.corrupt or not hasattr(state, "incoming"):
            return
        known = self.rounds[state.header.round]
        deliveries = tuple(self._delivery(known, dealer, index) for dealer in alive if dealer in state.neighbours)
        request = TrainRequest(header=state.header, alive=alive, deliveries=deliveries)
        self.sent.append(request.encode())
        try:
            ticket = self.party(index).start_training(request.encode(), content)
        except (RefusedError, DecodeError):
            return
        if send:
            self.party(index).finish_training(ticket, NO_METRICS, 1, bytes(32))
            state = self.state(index)
            known.views[index] = View(state.transcript, state.alive, tuple(dealer for dealer, _, _ in state.held))

    def _delivery(self, known: Knowledge, dealer: int, holder: int) -> Delivery:
        garbage = Delivery(bytes(92), bytes(32), bytes(16), bytes(16))
        if dealer not in known.prepares:
            return garbage
        holders = self.holders(known.prepares[dealer][0].header.round, dealer)
        if holder not in holders:
            return garbage
        prepare, _ = known.prepares[dealer]
        dealt = prepare.dealt[holders.index(holder)]
        return Delivery(dealt.sealed, keys.published_by(prepare, dealer), dealt.self_seed_hash, dealt.box_key_hash)

    def confirm(self, index: int, survivors: Parties) -> None:
        self.ask(index, ConfirmRequest(header=self.state(index).header, survivors=survivors))

    def unmask(self, index: int, survivors: Parties) -> None:
        """UNMASK with every signature there is under this U2, and the corrupt party's, which signs anything."""
        state = self.state(index)
        if index == self.corrupt or not isinstance(getattr(state, "transcript", None), bytes):
            return
        header, known = state.header, self.rounds[state.header.round]
        confirmations = {party: signature for (party, signed), signature in known.signatures.items() if signed == survivors}
        if self.corrupt in survivors:
            own = self.protocol.identities[self.n - 1]
            confirmations[self.corrupt] = sign_survivors(own, header, state.transcript, survivors)
        self.ask(index, UnmaskRequest(header=header, survivors=survivors, confirmations=tuple(sorted(confirmations.items()))))

    def replay(self, index: int, which: int, flip: int | None) -> None:
        """Something that was said before, to anybody, with a bit changed or not."""
        if not self.sent:
            return
        data = bytearray(self.sent[which % len(self.sent)])
        if flip is not None:
            data[flip % len(data)] ^= 1 << flip % 8
        if peek_kind(bytes(data)) is not Kind.TRAIN_REQUEST:
            self.ask(index, bytes(data))

    # --- several at once -----------------------------------------------------------------------------------------------------------------

    def everybody_prepares(self, round_: int, t: int = 3) -> None:
        cohort = tuple(range(self.n))
        for index in cohort:
            self.prepare(index, round_, cohort, t)

    def everybody_trains(self, alive: Parties = tuple(range(N)), variant: int = 0) -> None:
        for index in self.honest:
            self.train(index, alive, content_of(self.state(index).header.round, variant))

    # --- what it knows -------------------------------------------------------------------------------------------------------------------

    def knows(self, round_: int, party: int, of: ShareOf) -> bool:
        """Whether a secret of an honest party can be reconstructed."""
        known = self.rounds[round_]
        if party not in known.prepares:
            return False
        _, facts = known.prepares[party]
        return len(known.released[party, of]) + (self.corrupt in self.holders(round_, party)) >= facts.t

    def holders(self, round_: int, party: int) -> Parties:
        """Who was dealt shares of a party's secrets."""
        prepare, facts = self.rounds[round_].prepares[party]
        return prepare.holders if isinstance(prepare, DrawnPrepare) else all_but(party, of=facts.cohort)

    def partners(self, round_: int, party: int) -> Parties:
        """With whom a party has masked."""
        view = self.rounds[round_].views[party]
        return tuple(sorted({*view.dealers, *(holder for holder in self.holders(round_, party) if holder in view.alive)}))

    def both(self) -> list[tuple[int, int]]:
        """Rounds and parties of which both secrets are known."""
        return [
            (round_, party) for round_ in list(self.rounds) for party in self.honest if all(self.knows(round_, party, of) for of in ShareOf)
        ]

    def smallest_sum(self) -> tuple[int, Parties] | None:
        """The round and the honest parties of the sum over fewest of them that can be computed."""
        sums = [(round_, found) for round_ in list(self.rounds) for party in self.honest if (found := self._sum_with(round_, party))]
        return min(sums, key=lambda item: len(item[1]), default=None)

    def _sum_with(self, round_: int, party: int) -> Parties | None:
        """The smallest sum that has this party in it, if there is one."""
        known, inside, waiting = self.rounds[round_], set[int](), [party]
        while waiting:
            one = waiting.pop()
            if one in inside:
                continue
            inside.add(one)
            if one not in known.views or not self.knows(round_, one, ShareOf.SELF_SEED):
                return None
            view = known.views[one]
            for other in self.partners(round_, one):
                if other == self.corrupt or self._knows_seed(round_, one, other):
                    continue
                if other not in known.views or known.views[other].transcript != view.transcript:
                    return None
                if one not in self.partners(round_, other):
                    return None
                waiting.append(other)
        return tuple(sorted(inside))

    def _knows_seed(self, round_: int, one: int, other: int) -> bool:
        prepares = self.rounds[round_].prepares
        same = other in prepares and prepares[one][1].cohort_digest == prepares[other][1].cohort_digest
        return self.knows(round_, one, ShareOf.BOX_KEY) or (same and self.knows(round_, other, ShareOf.BOX_KEY))

    def check(self) -> None:
        """The invariants; and that nobody ever gave two answers to one step of one round."""
        assert self.both() == [], "both secrets of a party"
        found = self.smallest_sum()
        assert found is None or len(found[1]) >= HONEST_FLOOR, f"a sum over {found[1]} only"
        assert all(len(replies) == 1 for replies in self.answers.values()), "two answers to one step"


def peek_kind(data: bytes) -> Kind | None:
    try:
        return peek(data)[0]
    except DecodeError:
        return None


def content_of(round_: int, variant: int) -> bytes:
    return hashlib.sha256(f"{round_}/{variant}".encode()).digest()


def all_but(*gone: int, n: int = N, of: Parties | None = None) -> Parties:
    return tuple(party for party in (range(n) if of is None else of) if party not in gone)


def trained() -> Adversary:
    """Everybody has sent a vector, and the coordinator has not said anything wrong yet."""
    adversary = Adversary()
    adversary.everybody_prepares(1)
    adversary.everybody_trains()
    assert all(isinstance(adversary.state(index), Trained) for index in adversary.honest)
    return adversary
