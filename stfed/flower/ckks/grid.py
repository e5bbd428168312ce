"""`CkksGrid`: a `SecureGrid` whose `send_and_receive` is one encrypted sum. A strategy sees no difference.

The key holder's node is no party: strategies that ask which nodes there are are not told of it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from flwr.app import Error, Message

from stfed.crypto.identity import BadSignatureError
from stfed.crypto.random import system_entropy
from stfed.errors import DecodeError, LocalError, PeerError, QuorumError, StfedError
from stfed.flower import records
from stfed.flower.ckks import carriage, vouching
from stfed.flower.ckks.holder import KeyHolder
from stfed.flower.ckks.messages import CHALLENGE_BYTES, Here, Round, Who, decode, encode
from stfed.flower.ckks.plan import SumPlan
from stfed.flower.ckks.round import MODE, CkksRound, Holder
from stfed.flower.ckks.settings import CkksSum
from stfed.flower.courier import Made
from stfed.flower.events import RoundReport
from stfed.flower.grid import SecureGrid
from stfed.flower.replies import of_parties
from stfed.flower.request import Request
from stfed.flower.steps import TimedStep
from stfed.keys.keyfile import read_verifier
from stfed.secagg.roster import PartyRoster

log: logging.Logger = logging.getLogger("stfed")


class CkksGrid(SecureGrid):
    """Sums under a key holder's key.

    Args:
        grid: Flower's.
        ckks: the key, and who holds it.
        **options: of `SecureGrid`.
    """

    def __init__(self, grid: Any, settings: Any, *, ckks: CkksSum, **options: Any) -> None:
        super().__init__(grid, settings, **options)
        ckks.check(self.settings)
        self._ckks, self._asked = ckks, set[int]()
        self._members = None if ckks.roster is None else PartyRoster(ckks.roster)
        self._holder: Holder | None = None
        self._trusted = None if ckks.trusted is None else read_verifier(ckks.trusted)
        if isinstance(ckks.key_holder, KeyHolder):
            self._holder = Holder(ckks.key_holder, ckks.key_holder.wants_vectors, self._trusted)

    def get_node_ids(self) -> Iterable[int]:
        """All nodes but the key holder's."""
        nodes = list(self._grid.get_node_ids())
        self._find(nodes)
        return [node for node in nodes if self._holder is None or node != self._holder.where]

    def _find(self, nodes: Iterable[int]) -> None:
        """Asks those that have not been asked who they are, all of them: there may be one that says falsely that it holds the key.

        Raises:
            LocalError: two say so, and with a pinned key, sign so.
        """
        wanted, found = self._ckks.key_holder, list[Holder]()
        unknown = [node for node in nodes if node not in self._asked and (wanted is None or node == wanted)]
        if self._holder is not None or not unknown:
            return
        self._asked.update(unknown)
        who = Who(system_entropy(CHALLENGE_BYTES))

        def on_reply(node: int, reply: Message) -> None:
            if reply.has_error():
                return
            try:
                here = decode(Here, carriage.message_of(reply.content))
            except DecodeError:
                return
            if here.fingerprint != self._ckks.context.fingerprint:
                return
            try:
                if self._trusted is not None:
                    vouching.check_here(self._trusted, here, who, self.run.run_id, node)
            except BadSignatureError as error:
                log.warning("node %d says that it holds the key, and is not believed: %s", node, error.message)
                return
            found.append(Holder(node, here.signed, self._trusted))

        self._courier.exchange(
            Made(unknown, lambda _: carriage.carried(encode(who))),
            records.LIGHT_MESSAGE,
            "who",
            timeout_s=self.settings.light_timeout_s,
            on_reply=on_reply,
        )
        if len(found) > 1:
            self._asked.clear()
            raise LocalError(
                f"nodes {', '.join(str(one.where) for one in found)} all say that they hold the key",
                hint="only one of them does: name it, CkksSum(key_holder=<node id>)",
            )
        if found:
            self._holder = found[0]
            log.info("node %d is the key holder", found[0].where)

    def _nobody(self) -> LocalError:
        key = f"the key {self._ckks.context.fingerprint.hex()[:16]}..."
        if self._trusted is None:
            return LocalError(
                f"no node says that it holds {key}", hint="start a node with key_holder_app, or name its id: CkksSum(key_holder=...)"
            )
        return LocalError(
            f"no node says that it holds {key} with the signature of {self._trusted.fingerprint}",
            hint="start the key holder's node with key_holder_app(..., identity=KEY), KEY being that of CkksSum(trusted=KEY.pub)",
        )

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """One encrypted sum: TRAIN, and a question to the key holder. See `SecureGrid.send_and_receive`."""
        messages = list(messages)
        if not messages:
            return []
        request = Request.of(messages)
        received, errors, n = request.model(), dict[int, Error](), len(request.messages)
        settings, replies = self.settings, list[Message]()
        report = RoundReport(request.phase.name.lower(), tuple(request.messages), request.server_round(), n=n, mode=MODE)
        try:
            self._find(self._grid.get_node_ids())
            if self._holder is None:
                self._asked.clear()  # an answer may have been lost
                self._find(self._grid.get_node_ids())
            if self._holder is None:
                raise self._nobody()
            plan = SumPlan.of(
                received,
                n,
                clip=settings.first_clip,
                max_weight=settings.max_weight,
                metric_bound=self._ckks.metric_bound,
                uniform=settings.uniform,
                weight_key=self._weight_key,
            )
            report.clip, report.max_weight, report.parameters = plan.clip, plan.max_weight, plan.elements
            least = settings.floor(max(2, n), n - 1, None if self._members is None else len(self._members))
            if n < least:
                raise QuorumError(f"{n} parties are asked, {least} are needed for a sum", hint="sample more parties per round")
            report.round = self._journal.next_round(self.run.run_id)
            number = Round(self._ckks.context.fingerprint, self.run.run_id, report.round)
            round_ = CkksRound(request, received, plan, number, self._ckks.context, self._holder, self._members, least, errors, report)
            decoded = self._sum(round_, timeout)
            replies = of_parties(request, decoded, report.summed, self._weight_key, uniform=settings.uniform)
        except StfedError as error:
            report.failure = str(error)
            if settings.on_failure == "raise" or not isinstance(error, QuorumError | PeerError | DecodeError):
                raise
            log.error("round %d failed, the model stays as it is: %s", report.round, error)
        finally:
            self._last[report.phase] = [report]
            self.reports.append(report)
            self._events.emit("round", **report.as_dict())
        return [*replies, *(Message(error, reply_to=request.messages[node]) for node, error in errors.items() if node not in report.summed)]

    def _sum(self, round_: CkksRound, timeout: float | None) -> Any:
        report, number = round_.report, round_.report.round

        def conversation() -> Any:
            with TimedStep(self._events, report, "train", len(report.asked), self._courier.now) as step:
                yield from round_.train(timeout, step.answered)
            with TimedStep(self._events, report, "decrypt", 1, self._courier.now) as step:
                decoded = yield from round_.finish(self.settings.light_timeout_s, freeze)
                step.answered()
            return decoded

        def freeze(nodes: tuple[int, ...]) -> None:
            self._journal.freeze(self.run.run_id, number, nodes)

        return self._courier.converse([conversation()])[0]
