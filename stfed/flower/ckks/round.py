"""`CkksRound`: one encrypted sum behind Flower, from the strategy's messages to the decoded mean."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from flwr.app import Error, Message
from numpy.typing import NDArray

from stfed.crypto.identity import BadSignatureError
from stfed.encoding import DecodedSum
from stfed.encoding.metrics import MetricSchema
from stfed.errors import DecodeError, LocalError, PeerError, QuorumError
from stfed.flower import records
from stfed.flower.ckks import carriage, messages, vectors, vouching
from stfed.flower.ckks.holder import KeyHolder
from stfed.flower.ckks.messages import Mean, Round, Statement, Sum, Train
from stfed.flower.ckks.numbers import decode
from stfed.flower.ckks.plan import Numbers, SumPlan
from stfed.flower.courier import Exchange, Made
from stfed.flower.events import RoundReport
from stfed.flower.request import Request
from stfed.flower.talk import error_text
from stfed.keys.signing import VerifyingKey
from stfed.secagg.refusals import RefusedError
from stfed.secagg.roster import PartyRoster
from stfed.secagg.server import Drop, DropReason

MODE = "ckks"
_MAX_GROUPS = 4
"""Of contributions that say different things: each has a sum of its own until it shows which most parties are in. One who is alone with
what it says makes room for the next, so that a few who say all kinds of things keep nobody else out."""


@dataclass(eq=False)
class _Group:
    """Contributions to one sum."""

    total: vectors.Total
    nodes: list[int] = field(default_factory=list)
    statements: list[bytes] = field(default_factory=list)
    vectors: list[bytes] = field(default_factory=list)
    members: set[str] = field(default_factory=set)
    least: int = 0


@dataclass(frozen=True)
class Holder:
    """Where the key holder is, and how it is spoken to.

    Attributes:
        where: it, or its node.
        signed: whether it wants everybody's vector.
        key: whose signature its answers must have; None takes them without.
    """

    where: KeyHolder | int
    signed: bool
    key: VerifyingKey | None = None

    def check(self, mean: Mean, round_: Round, request: bytes, sent: list[bytes], numbers: bytes) -> None:
        """Returns if it is the answer to the request; DecodeError or BadSignatureError if not."""
        if mean.round != round_:
            raise DecodeError("the key holder answers about another round")
        if self.key is not None:
            vouching.check_mean(self.key, mean, request, sent, numbers)


class CkksRound:
    """TRAIN, add, have the sum decrypted.

    Args:
        request: what the strategy asks of the nodes.
        received: the model that it sends them.
        plan: of the sum.
        round_: which one it is.
        context: under which key.
        holder: who decrypts.
        roster: whose signatures count; None leaves that to the key holder.
        least: fewest parties of a sum.
        errors: takes the error replies of parties, by node.
        report: filled as it happens.
    """

    def __init__(
        self,
        request: Request,
        received: Mapping[str, NDArray[Any]],
        plan: SumPlan,
        round_: Round,
        context: Any,
        holder: Holder,
        roster: PartyRoster | None,
        least: int,
        errors: dict[int, Error],
        report: RoundReport,
    ) -> None:
        self._request, self._received, self._plan, self._round = request, received, plan, round_
        self._context, self._holder, self._roster, self._least = context, holder, roster, least
        self._errors = errors
        self.report: RoundReport = report
        self._encoded = plan.encode()
        self._groups: dict[tuple[object, ...], _Group] = {}

    def train(self, timeout_s: float | None, answered: Callable[[], None]) -> Generator[Exchange, None, None]:
        """Sends the model, and adds what comes back; `answered` is called for each reply."""
        message = messages.encode(Train(self._round, self._encoded))
        content = carriage.beside(self._request.content, message)
        model_bytes = sum(len(array.data) for record in self._request.content.array_records.values() for array in record.values())

        def make(node: int) -> Any:
            self.report.sent("train", message, beside_bytes=model_bytes)
            return content

        def on_reply(node: int, reply: Message) -> None:
            self._on_reply(node, reply)
            answered()

        self.report.trips += 1
        nodes = self._request.messages
        yield Exchange(Made(nodes, make), self._request.message_type, self._request.group_id, timeout_s, on_reply)
        for node in nodes:
            if node not in self.report.dropped and not any(node in group.nodes for group in self._groups.values()):
                self._drop(node, DropReason.NO_REPLY)

    def finish(self, timeout_s: float, freeze: Any) -> Generator[Exchange, None, DecodedSum]:
        """Has the sum of most parties decrypted.

        Args:
            timeout_s: how long the key holder may take.
            freeze: called with the nodes in the sum before the key holder is asked.

        Raises:
            QuorumError: too few parties are left, or they have no weight.
            PeerError: the key holder refuses, does not answer, or answers nonsense.
        """
        key, group = max(self._groups.items(), key=lambda one: len(one[1].nodes), default=(None, None))
        for other, losers in self._groups.items():
            for node in losers.nodes if other != key else ():
                self._drop(node, DropReason.OTHER_METRICS, "its metrics or its run config are not those of most others")
        count = 0 if group is None else len(group.nodes)
        if group is None or count < self._least:
            gone = [f"node {node}" for node in self._request.messages if group is None or node not in group.nodes]
            raise QuorumError(f"{count} of {self._plan.parties} parties sent an update, {self._least} are needed", missing=gone)
        if count < group.least:
            raise QuorumError(
                f"{count} of {self._plan.parties} parties sent an update, and one of them is to be in sums of {group.least} or more",
                hint="its own policy says so (min_survivors, honest_survivors, gamma); sample more parties, or leave that one out",
            )
        freeze(tuple(group.nodes))
        request = messages.encode(Sum(self._round, self._encoded, tuple(group.statements)))
        sent = group.vectors if self._holder.signed else [group.total.encode()]
        self.report.sent("decrypt", request, beside_bytes=sum(map(len, sent)))
        if isinstance(self._holder.where, KeyHolder):
            numbers = self._asked(self._holder.where, request, sent)
        else:
            numbers = yield from self._told(self._holder.where, request, sent, timeout_s)
        schema = MetricSchema.decode(messages.decode(Statement, group.statements[0]).schema)
        scale = group.total.scale
        decoded = decode(self._plan, numbers, count, scale.error, scale.scalar_error, self._received, schema)
        self.report.note_result(decoded, tuple(group.nodes))
        return decoded

    def _asked(self, holder: KeyHolder, request: bytes, sent: list[bytes]) -> Numbers:
        try:
            mean, numbers = holder.mean(self._round.run, request, sent)
        except (RefusedError, DecodeError) as error:
            raise PeerError(
                f"the key holder refuses: {error.message}", hint=error.hint if isinstance(error, RefusedError) else None
            ) from None
        self._holder.check(mean, self._round, request, sent, numbers.tobytes())
        self.report.received("decrypt", messages.encode(mean), beside_bytes=numbers.nbytes)
        return numbers

    def _told(self, node: int, request: bytes, sent: list[bytes], timeout_s: float) -> Generator[Exchange, None, Numbers]:
        answers: list[Numbers] = []

        def on_reply(_: int, reply: Message) -> None:
            if reply.has_error():
                raise PeerError(f"the key holder refuses: {error_text(reply)}", party=f"node {node}")
            data, numbers = carriage.message_of(reply.content), carriage.vectors_in(reply.content)
            if len(numbers) != 1 or len(numbers[0]) % 8:
                raise DecodeError("the key holder answers with something that is no mean")
            self._holder.check(messages.decode(Mean, data), self._round, request, sent, numbers[0])
            self.report.received("decrypt", data, beside_bytes=len(numbers[0]))
            found = np.frombuffer(numbers[0], "<f8")
            if len(found) < self._plan.length(0):
                raise DecodeError("the key holder's mean has too few numbers")
            answers.append(found)

        self.report.trips += 1
        content = carriage.carried(request, sent)
        yield Exchange({node: content}, records.LIGHT_MESSAGE, f"decrypt-{self._round.number}", timeout_s, on_reply)
        if not answers:
            raise PeerError("the key holder did not answer in time", party=f"node {node}", hint="raise light_timeout_s")
        return answers[0]

    def _on_reply(self, node: int, reply: Message) -> None:
        if reply.has_error():
            self._errors[node] = reply.error
            self._drop(node, DropReason.ERROR_REPLY, error_text(reply))
            return
        try:
            self._take(node, carriage.message_of(reply.content), carriage.vectors_in(reply.content))
        except BadSignatureError as error:
            self._drop(node, DropReason.BAD_SIGNATURE, error.message)
        except RefusedError as error:  # of the roster
            self._drop(node, DropReason.BAD_SIGNATURE, error.message)
        except (DecodeError, LocalError) as error:
            self._drop(node, DropReason.MALFORMED, error.message)

    def _take(self, node: int, data: bytes, sent: list[bytes]) -> None:
        statement = messages.decode(Statement, data)
        if statement.least > self._plan.parties:
            raise DecodeError("it is to be in no sum of so few parties as are asked")
        said = statement.round, statement.plan, statement.phase, statement.content
        if said != (self._round, hashlib.sha256(self._encoded).digest(), self._request.phase, self._request.digest):
            raise DecodeError("it is about another round, plan or model")
        if len(sent) != 1 or hashlib.sha256(sent[0]).digest() != statement.vector:
            raise DecodeError("its vector does not fit its digest")
        self.report.received("train", data, beside_bytes=len(sent[0]))
        member = "" if self._roster is None else self._signer(self._roster, statement)
        metrics = len(MetricSchema.decode(statement.schema).names)
        group = self._groups.get(statement.facts)
        if group is None:
            group = _Group(vectors.Total(self._plan.scale(self._context, metrics)))
        if member in group.members:
            raise DecodeError("this member of the roster has contributed already")
        group.total.add(sent[0])
        if statement.facts not in self._groups and len(self._groups) >= _MAX_GROUPS:
            self._make_room()
        self._groups[statement.facts] = group
        group.least = max(group.least, statement.least)
        group.nodes.append(node)
        group.statements.append(data)
        if member:
            group.members.add(member)
        if self._holder.signed:
            group.vectors.append(sent[0])

    def _make_room(self) -> None:
        alone = next((facts for facts, group in self._groups.items() if len(group.nodes) == 1), None)
        if alone is None:
            raise DecodeError("what it says of its metrics and its run config is not what the others say")
        (node,) = self._groups.pop(alone).nodes
        self._drop(node, DropReason.OTHER_METRICS, "nobody else has its metrics or its run config")

    @staticmethod
    def _signer(roster: PartyRoster, statement: Statement) -> str:
        statement.check_signature()
        return roster.member(statement.identity)

    def _drop(self, node: int, reason: DropReason, detail: str = "") -> None:
        self.report.drop(node, Drop("train", reason, detail))
