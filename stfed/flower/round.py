"""One secure sum behind Flower: from the strategy's messages to the decoded mean."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Generator, Mapping
from typing import Any, TypeAlias

from flwr.app import Error, RecordDict
from numpy.typing import NDArray

from stfed.encoding import DecodedSum, EncodingPlan, MetricSchema, decode_sum
from stfed.errors import DecodeError, LocalError, QuorumError
from stfed.flower import records
from stfed.flower.ahead import Ahead
from stfed.flower.courier import Exchange, Made
from stfed.flower.events import RoundReport
from stfed.flower.office import Office
from stfed.flower.opening import Opening
from stfed.flower.request import Request
from stfed.flower.steps import TimedStep
from stfed.flower.talk import Talk
from stfed.secagg.messages import Kind, peek
from stfed.secagg.params import Mode, Parameters
from stfed.secagg.server import Collecting, Confirming, DealerFaultError, Drop, DropReason, Enrolment, Preparing, Sum, Unmasking

log: logging.Logger = logging.getLogger("stfed")
MORE_PARTIES = (
    "sample more parties per round (fraction_train, min_train_nodes), or have more nodes: "
    'flwr run simulates two unless told --federation-config "num-supernodes=N"'
)
"""What to do where a cohort is too small."""

_LINGER_S = 5.0
"""Once those who confirmed could finish the round alone, the others get this long, or as long again as it took so far: whoever confirms
late gives no shares, and shares to spare are worth a few seconds, not the whole timeout of a party that is gone. Likewise those who are to
prepare the next round, once this one can be unmasked: who is late is asked again when that round begins."""

Step: TypeAlias = Preparing | Collecting | Confirming | Unmasking


def _warn_of_limits(report: RoundReport, decoded: DecodedSum, plan: EncodingPlan, *, clip_follows: bool) -> None:
    """Says when a result is not the plain mean because values or weights were out of range."""
    if not clip_follows and plan.clip_is_too_small(decoded.clipped, len(report.summed)):
        log.warning(
            "round %d: %d coordinates of %d updates were clipped to %g; raise clip if this goes on",
            report.round,
            decoded.clipped,
            len(report.summed),
            plan.clip,
        )
    if decoded.saturated:
        log.warning(
            "round %d: the %s of %d of %d parties is over max_weight and counts as %g; raise max_weight",
            report.round,
            plan.weight_key,
            decoded.saturated,
            len(report.summed),
            plan.max_weight,
        )


class SecureRound:
    """PREPARE, TRAIN, in malicious mode CONFIRM, UNMASK, decode.

    Two round trips in a steady run, TRAIN and UNMASK: PREPARE has ridden on the UNMASK of the round before. In malicious mode CONFIRM is
    the third.

    Args:
        request: what the strategy asks of the nodes of this sum.
        received: the model that it sends them (`Request.model`).
        enrolment: the epoch's.
        office: what the rounds of a run share.
        prepared: the rounds that were prepared ahead; one is taken if it is the one that the strategy asks for.
        ahead: where what comes next is prepared.
        errors: takes the error replies of parties, by node.
        group: which of the groups of a request this is; None where it is all of them.

    Attributes:
        report: what happened, filled as it happens.
    """

    def __init__(
        self,
        request: Request,
        received: Mapping[str, NDArray[Any]],
        enrolment: Enrolment,
        office: Office,
        prepared: Ahead | None,
        ahead: Ahead,
        errors: dict[int, Error],
        group: int | None = None,
    ) -> None:
        self._request, self._received, self._enrolment, self._office = request, received, enrolment, office
        self._roll, self._courier, self._settings = office.roll, office.courier, office.settings
        self._prepared, self._ahead, self._errors = prepared, ahead, errors
        self.report: RoundReport = RoundReport(request.phase.name.lower(), tuple(request.messages), request.server_round(), group)
        self._step: Step | None = None
        self._opening: Opening | None = None
        self._was_ahead = False

    def conversation(self, timeout_s: float | None) -> Generator[Exchange, None, DecodedSum]:
        """The steps, for a `Courier`.

        Args:
            timeout_s: how long TRAIN waits.

        Raises:
            QuorumError: too few parties are left.
            PeerError: a party's secret is not the one it committed to.
        """
        talk = Talk(self._enrolment, self._courier, self.report, self._errors, self._settings.light_timeout_s, self._office.events)
        try:
            total = yield from self._steps(talk, timeout_s)
        except DealerFaultError as error:
            self._roll.accuse(error.dealer, Drop("unmask", DropReason.BROKEN_COMMITMENT, f"round {self.report.round}"))
            raise
        except QuorumError:
            # What the parties' owners decide may have changed since they prepared, and shows in TRAIN. A group that fails is prepared by
            # itself in the next round, where those who refuse are dropped by name: no reason for all others to join again.
            if self._was_ahead and self.report.group is None:
                self._roll.begin_anew()
            raise
        finally:
            if self._step is not None:
                self._note_drops(self._step, talk)
            if self._opening is not None:
                self._opening.done()
        decoded = decode_sum(total.plan, total.total, len(total.survivors), self._received, MetricSchema.decode(total.schema))
        self.report.note_result(decoded, tuple(talk.nodes[index] for index in total.survivors))
        _warn_of_limits(self.report, decoded, total.plan, clip_follows=self._office.clip is not None)
        return decoded

    def _steps(self, talk: Talk, timeout_s: float | None) -> Generator[Exchange, None, Sum]:
        opening = self._open()
        collecting = self._step = yield from self._prepare(opening, talk)
        yield from self._train(collecting, opening.run_config, talk, timeout_s)
        if self._settings.mode is Mode.MALICIOUS:
            confirming = self._step = collecting.confirm()
            unmasking = self._step = yield from self._confirm(confirming, talk)
        else:
            unmasking = self._step = collecting.close()
            self._freeze(unmasking, talk)
        return (yield from self._unmask(unmasking, talk))

    def _note_drops(self, step: Step, talk: Talk) -> None:
        for index, drop in step.drops.items():
            self.report.drop(talk.nodes[index], drop)
            if drop.reason is DropReason.WRONG_SHARE and self._settings.mode is Mode.MALICIOUS:
                self._roll.accuse(index, Drop(drop.step, drop.reason, f"round {self.report.round}"))

    def _open(self) -> Opening:
        """The round that the strategy asks for: the one that was prepared ahead if it is that one, and a new one otherwise."""
        office, messages, phase = self._office, self._request.messages, self._request.phase
        members, absent = self._roll.members(messages)
        for node, why in absent.items():
            self.report.drop(node, why)
        parameters = self._parameters(len(members), absent)
        plan = office.plan(self._received, parameters.n)
        office.allow(plan, self._request.server_round())
        office.forecast.planned(phase, plan)
        self.report.note_parameters(parameters, plan, self._enrolment.directory.header.epoch)
        facts = office.facts(self._enrolment, parameters, plan, phase, members)
        opening = None if self._prepared is None else self._prepared.take(facts)
        self._was_ahead = opening is not None
        # After JOIN: an epoch starts behind the last round number used.
        self._opening = opening or office.open(self._enrolment, parameters, plan, facts)
        self.report.round = self._opening.round
        return self._opening

    def _parameters(self, n: int, absent: Collection[int]) -> Parameters:
        asked, missing = len(self._request.messages), [f"node {node}" for node in absent]
        least = self._office.floor(n)
        if n < least:
            raise QuorumError(
                f"{n} of {asked} parties have joined, {least} are needed for a sum",
                missing=missing,
                hint=MORE_PARTIES,
            )
        try:
            return self._office.parameters(n)
        except LocalError as error:
            if not absent and self.report.group is None:
                raise
            raise QuorumError(
                f"{n} of {asked} parties have joined, too few for the settings: {error.message}", missing=missing, hint=error.hint
            ) from None

    def _prepare(self, opening: Opening, talk: Talk) -> Generator[Exchange, None, Collecting]:
        self._step = opening.preparing
        # All of them, or whoever did not answer when it was asked ahead. A party that did, unheard, says the same again.
        contents = {index: records.light(self.report.sent("prepare", opening.request(index))) for index in opening.open()}

        def read(index: int, content: RecordDict) -> None:
            opening.take(index, self.report.received("prepare", records.message_of(content)), content)

        if contents:
            yield from talk.exchange("prepare", contents, read, opening.fail, timeout_s=self._settings.light_timeout_s)
        return opening.close(self._request.bound)

    def _train(self, collecting: Collecting, run_config: bytes, talk: Talk, timeout_s: float | None) -> Generator[Exchange, None, None]:
        request = self._request
        model_bytes = sum(len(array.data) for record in request.content.array_records.values() for array in record.values())

        def make(index: int) -> RecordDict:
            message = self.report.sent("train", collecting.request(index).encode(), beside_bytes=model_bytes)
            return records.attach(request.content, message, run_config)

        def read(index: int, content: RecordDict) -> None:
            message = records.message_of(content)
            if peek(message)[0] is Kind.COMPLAINT:
                collecting.complain(index, self.report.received("train", message))
                return
            message, vector = records.unmasked(content)
            collecting.add(index, self.report.received("train", message, beside_bytes=len(vector)), vector)

        try:
            yield from talk.exchange(
                "train",
                Made(collecting.alive, make),
                read,
                collecting.fail,
                timeout_s=timeout_s,
                message_type=request.message_type,
                group_id=request.group_id,
            )
        finally:
            self._roll.note_disputes(collecting.disputes, self.report.round)

    def _confirm(self, confirming: Confirming, talk: Talk) -> Generator[Exchange, None, Unmasking]:
        self._freeze(confirming, talk)
        message = confirming.request().encode()
        complete = self._lingering(confirming.enough, lambda: False)
        yield from talk.light("confirm", dict.fromkeys(confirming.survivors, message), confirming.add, confirming.fail, complete)
        unmasking = confirming.close()
        self.report.confirmed = tuple(talk.nodes[index] for index in unmasking.asked)
        return unmasking

    def _freeze(self, step: Confirming | Unmasking, talk: Talk) -> None:
        """Durable before the first CONFIRM or UNMASK leaves: this round is never asked again with another U2."""
        self._office.journal.freeze(self._office.run, self.report.round, tuple(talk.nodes[index] for index in step.survivors))

    def _unmask(self, unmasking: Unmasking, talk: Talk) -> Generator[Exchange, None, Sum]:
        message, asked = unmasking.request().encode(), frozenset(unmasking.asked)
        ahead = self._ahead.prepares(self._enrolment, self._request.messages)
        prepares = {index: self.report.sent("ahead", opening.request(index)) for index, opening in ahead.items()}
        contents = {
            index: records.light(self.report.sent("unmask", message), riding=prepares.get(index))
            if index in asked
            else records.light(prepares[index])
            for index in sorted(asked | prepares.keys())
        }

        def read(index: int, content: RecordDict) -> None:
            reply = records.message_of(content)
            if index in asked:
                unmasking.add(index, self.report.received("unmask", reply))
            if index in ahead:
                try:
                    prepared = records.prepare_in(content) if index in asked else reply
                    ahead[index].take(index, self.report.received("ahead", prepared), content)
                except DecodeError as error:
                    failed_ahead(index, error.message)

        def fail(index: int, detail: str) -> None:
            if index in asked:
                unmasking.fail(index, detail)
            failed_ahead(index, detail)

        def failed_ahead(index: int, detail: str) -> None:
            if index not in ahead:
                return
            if index in asked:
                ahead[index].stumbled(index)
            else:
                ahead[index].fail(index, detail)  # it was not in the sum and is not there now: it may join before the round it would miss

        def settled() -> bool:
            return all(opening.answered(index) for index, opening in ahead.items())

        yield from talk.exchange(
            "unmask",
            contents,
            read,
            fail,
            complete=self._lingering(unmasking.complete, settled) if ahead else unmasking.complete,
            timeout_s=self._settings.light_timeout_s,
            elsewhere=ahead.keys() - asked,
        )
        for index in ahead.keys() - asked:
            ahead[index].note_absent((index,))
        with TimedStep(self._office.events, self.report, "sum", 0, self._courier.now):
            return unmasking.close(accumulate=self._office.accumulate)

    def _lingering(self, enough: Callable[[], bool], all_in: Callable[[], bool]) -> Callable[[], bool]:
        """Whether a step can end: all are in, or enough of them and the others have had `_LINGER_S`, or as long again as it took."""
        started = self._courier.now()
        enough_at: float | None = None

        def complete() -> bool:
            nonlocal enough_at
            now = self._courier.now()
            if enough_at is None and enough():
                enough_at = now
            return enough_at is not None and (all_in() or now - enough_at >= max(_LINGER_S, enough_at - started))

        return complete
