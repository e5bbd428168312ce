"""One secure round behind Flower: from the strategy's messages to the decoded mean."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TypeAlias

from flwr.app import Error, RecordDict

from stfed.encoding import DecodedSum, EncodingPlan, MetricSchema, decode_sum
from stfed.errors import DecodeError, LocalError, QuorumError
from stfed.flower import records
from stfed.flower.courier import Courier
from stfed.flower.events import RoundReport
from stfed.flower.forecast import Forecast
from stfed.flower.journal import Journal
from stfed.flower.opening import Opening, facts_for, numbered
from stfed.flower.request import Request
from stfed.flower.roll import Roll
from stfed.flower.settings import Settings
from stfed.flower.talk import Talk
from stfed.secagg.masking import Accumulate
from stfed.secagg.messages import Kind, peek
from stfed.secagg.params import Mode, Parameters
from stfed.secagg.server import Collecting, Confirming, DealerFaultError, Drop, DropReason, Enrolment, Preparing, Sum, Unmasking
from stfed.secagg.transcript import RoundFacts

log = logging.getLogger("stfed")

_LINGER_S = 5.0
"""Once those who confirmed could finish the round alone, the others get this long, or as long again as it took so far: whoever confirms
late gives no shares, and shares to spare are worth a few seconds, not the whole timeout of a party that is gone. Likewise those who are to
prepare the next round, once this one can be unmasked: who is late is asked again when that round begins."""

Step: TypeAlias = Preparing | Collecting | Confirming | Unmasking


def _warn_of_limits(report: RoundReport, decoded: DecodedSum, plan: EncodingPlan) -> None:
    """Says when a result is not the plain mean because values or weights were out of range."""
    if plan.clip_is_too_small(decoded.clipped, len(report.summed)):
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
    """JOIN if needed, PREPARE, TRAIN, in malicious mode CONFIRM, UNMASK, decode.

    Two round trips in a steady run, TRAIN and UNMASK: PREPARE has ridden on the UNMASK of the round before. In malicious mode CONFIRM is
    the third.

    Args:
        opening: the round that was prepared ahead; used if it is the one that the strategy asks for.
        forecast: what will be asked for after this.
        accumulate: does the keystreams of unmasking elsewhere.

    Attributes:
        report: what happened, filled as it happens.
        errors: the error replies of parties, by node.
        ahead: the round that was prepared for what comes next.
    """

    def __init__(
        self,
        request: Request,
        roll: Roll,
        courier: Courier,
        journal: Journal,
        settings: Settings,
        run: int,
        weight_key: str,
        opening: Opening | None,
        forecast: Forecast,
        accumulate: Accumulate | None = None,
    ) -> None:
        self._request, self._roll, self._courier, self._journal = request, roll, courier, journal
        self._settings, self._run, self._weight_key = settings, run, weight_key
        self._opening, self._forecast, self._accumulate = opening, forecast, accumulate
        self._received = request.model()
        self.report = RoundReport(request.phase.name.lower(), tuple(request.messages), request.server_round())
        self.errors: dict[int, Error] = {}
        self.ahead: Opening | None = None
        self._step: Step | None = None
        self._was_ahead = False

    def execute(self, timeout_s: float | None) -> DecodedSum:
        """Runs the steps.

        Args:
            timeout_s: how long TRAIN waits.

        Raises:
            QuorumError: too few parties are left.
            PeerError: a party's secret is not the one it committed to.
        """
        enrolment = self._roll.enrol(self._request.messages, self.report, self.errors)
        talk = Talk(enrolment, self._courier, self.report, self.errors, self._settings.light_timeout_s)
        try:
            total = self._steps(enrolment, talk, timeout_s)
        except DealerFaultError as error:
            self._roll.accuse(error.dealer, Drop("unmask", DropReason.BROKEN_COMMITMENT, f"round {self.report.round}"))
            raise
        except QuorumError:
            if self._was_ahead:
                self._roll.begin_anew()  # what the parties' owners decide may have changed since they prepared, and shows in TRAIN
            raise
        finally:
            if self._step is not None:
                self._note_drops(self._step, talk)
            if self._opening is not None:
                self._opening.done()
        decoded = decode_sum(total.plan, total.total, len(total.survivors), self._received, MetricSchema.decode(total.schema))
        self.report.note_result(decoded, tuple(talk.nodes[index] for index in total.survivors))
        _warn_of_limits(self.report, decoded, total.plan)
        return decoded

    def _steps(self, enrolment: Enrolment, talk: Talk, timeout_s: float | None) -> Sum:
        opening = self._open(enrolment)
        collecting = self._step = self._prepare(opening, talk)
        self._train(collecting, opening.run_config, talk, timeout_s)
        if self._settings.mode is Mode.MALICIOUS:
            confirming = self._step = collecting.confirm()
            unmasking = self._step = self._confirm(confirming, talk)
        else:
            unmasking = self._step = collecting.close()
            self._freeze(unmasking, talk)
        return self._unmask(unmasking, enrolment, talk)

    def _note_drops(self, step: Step, talk: Talk) -> None:
        for index, drop in step.drops.items():
            self.report.drop(talk.nodes[index], drop)
            if drop.reason is DropReason.WRONG_SHARE and self._settings.mode is Mode.MALICIOUS:
                self._roll.accuse(index, Drop(drop.step, drop.reason, f"round {self.report.round}"))

    def _open(self, enrolment: Enrolment) -> Opening:
        """The round that the strategy asks for: the one that was prepared ahead if it is that one, and a new one otherwise."""
        settings, messages = self._settings, self._request.messages
        members, absent = self._roll.members(messages)
        for node, why in absent.items():
            self.report.drop(node, why)
        parameters = self._parameters(len(members), absent)
        plan = settings.plan(self._received, parameters.n, self._weight_key, self._run)
        self._forecast.planned(self._request.phase, plan)
        self.report.note_parameters(parameters, plan, enrolment.directory.header.epoch)
        facts = facts_for(settings, enrolment, parameters, plan, self._request.phase, members, self._run)
        ahead = self._opening
        # One that is old was answered by parties that may be gone by now, and TRAIN would wait for them much longer than PREPARE does.
        if ahead is not None and ahead.fits(facts) and self._courier.now() - ahead.opened_at < settings.light_timeout_s:
            self.report.round, self._was_ahead = ahead.round, True
            return ahead
        if ahead is not None:
            ahead.done()
        # After JOIN: an epoch starts behind the last round number used.
        opening = self._opening = self._opened(enrolment, parameters, plan, facts)
        self.report.round = opening.round
        return opening

    def _opened(self, enrolment: Enrolment, parameters: Parameters, plan: EncodingPlan, facts: RoundFacts) -> Opening:
        """A new round of these facts, with a number of its own."""
        facts = numbered(facts, self._journal.next_round(self._run))
        return Opening.of(self._roll, self._settings, enrolment, parameters, plan, facts, self._courier.now())

    def _parameters(self, n: int, absent: Collection[int]) -> Parameters:
        settings, asked = self._settings, len(self._request.messages)
        missing = [f"node {node}" for node in absent]
        least = settings.floor(max(2, n), n - 1, self._roll.roster_size)
        if n < least:
            raise QuorumError(
                f"{n} of {asked} parties have joined, {least} are needed for a sum",
                missing=missing,
                hint="sample more parties per round: fraction_train, min_train_nodes",
            )
        try:
            return settings.parameters(n, self._roll.roster_size)
        except LocalError as error:
            if not absent:
                raise
            raise QuorumError(
                f"{n} of {asked} parties have joined, too few for the settings: {error.message}", missing=missing, hint=error.hint
            ) from None

    def _prepare(self, opening: Opening, talk: Talk) -> Collecting:
        self._step = opening.preparing
        # All of them, or whoever did not answer when it was asked ahead. A party that did, unheard, says the same again.
        contents = {index: records.light(self.report.sent("prepare", opening.request(index))) for index in opening.open()}

        def read(index: int, content: RecordDict) -> None:
            opening.take(index, self.report.received("prepare", records.message_of(content)), content)

        if contents:
            talk.exchange("prepare", contents, read, opening.fail, timeout_s=self._settings.light_timeout_s)
        return opening.close(self._request.bound)

    def _train(self, collecting: Collecting, run_config: bytes, talk: Talk, timeout_s: float | None) -> None:
        request = self._request
        model_bytes = sum(len(array.data) for record in request.content.array_records.values() for array in record.values())
        contents = {}
        for index in collecting.alive:
            message = self.report.sent("train", collecting.request(index).encode(), beside_bytes=model_bytes)
            contents[index] = records.attach(request.content, message, run_config)

        def read(index: int, content: RecordDict) -> None:
            message = records.message_of(content)
            if peek(message)[0] is Kind.COMPLAINT:
                collecting.complain(index, self.report.received("train", message))
                return
            message, vector = records.unmasked(content)
            collecting.add(index, self.report.received("train", message, beside_bytes=len(vector)), vector)

        try:
            talk.exchange(
                "train",
                contents,
                read,
                collecting.fail,
                timeout_s=timeout_s,
                message_type=request.message_type,
                group_id=request.group_id,
            )
        finally:
            self._roll.note_disputes(collecting.disputes, self.report.round)

    def _confirm(self, confirming: Confirming, talk: Talk) -> Unmasking:
        self._freeze(confirming, talk)
        message = confirming.request().encode()
        complete = self._lingering(confirming.enough, lambda: False)
        talk.light("confirm", dict.fromkeys(confirming.survivors, message), confirming.add, confirming.fail, complete)
        unmasking = confirming.close()
        self.report.confirmed = tuple(talk.nodes[index] for index in unmasking.asked)
        return unmasking

    def _freeze(self, step: Confirming | Unmasking, talk: Talk) -> None:
        """Durable before the first CONFIRM or UNMASK leaves: this round is never asked again with another U2."""
        self._journal.freeze(self._run, self.report.round, tuple(talk.nodes[index] for index in step.survivors))

    def _unmask(self, unmasking: Unmasking, enrolment: Enrolment, talk: Talk) -> Sum:
        message, asked = unmasking.request().encode(), frozenset(unmasking.asked)
        ahead = self.ahead = self._look_ahead(enrolment)
        prepares = {} if ahead is None else {index: self.report.sent("ahead", ahead.request(index)) for index in ahead.cohort}
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
            if ahead is not None and index in prepares:
                try:
                    prepared = records.prepare_in(content) if index in asked else reply
                    ahead.take(index, self.report.received("ahead", prepared), content)
                except DecodeError as error:
                    failed_ahead(index, error.message)

        def fail(index: int, detail: str) -> None:
            if index in asked:
                unmasking.fail(index, detail)
            failed_ahead(index, detail)

        def failed_ahead(index: int, detail: str) -> None:
            if ahead is None or index not in prepares:
                return
            if index in asked:
                ahead.stumbled(index)
            else:
                ahead.fail(index, detail)  # it was not in the sum and is not there now: it may join before the round that it would miss

        complete = unmasking.complete if ahead is None else self._lingering(unmasking.complete, ahead.settled)
        talk.exchange(
            "unmask",
            contents,
            read,
            fail,
            complete=complete,
            timeout_s=self._settings.light_timeout_s,
            elsewhere=prepares.keys() - asked,
        )
        if ahead is not None:
            ahead.note_absent(prepares.keys() - asked)
        with self.report.timed("sum", self._courier.now):
            return unmasking.close(accumulate=self._accumulate)

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

    def _look_ahead(self, enrolment: Enrolment) -> Opening | None:
        """The round that comes next, if it can be foreseen and needs no JOIN."""
        expected = self._forecast.next() if self._settings.prepare_ahead else None
        if expected is None or self._roll.has_to_join(expected.nodes):
            return None
        members, _ = self._roll.members(expected.nodes)
        settings = self._settings
        try:
            parameters = settings.parameters(len(members), self._roll.roster_size)
            plan = (
                settings.plan({}, parameters.n, self._weight_key, self._run)
                if expected.plan is None
                else replace(expected.plan, parties=parameters.n)
            )
            facts = facts_for(settings, enrolment, parameters, plan, expected.phase, members, self._run)
        except LocalError:
            return None  # too few are left; the round itself will say so
        return self._opened(enrolment, parameters, plan, facts)
