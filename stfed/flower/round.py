"""One secure round behind Flower: from the strategy's messages to the decoded mean."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TypeAlias

from flwr.app import Error, Message, RecordDict

from stfed.encoding import DecodedSum, EncodingPlan, MetricSchema, decode_sum
from stfed.errors import DecodeError, LocalError, QuorumError
from stfed.flower import records
from stfed.flower.courier import Courier
from stfed.flower.events import RoundReport
from stfed.flower.journal import Journal
from stfed.flower.request import Request
from stfed.flower.roll import Roll
from stfed.flower.settings import Settings
from stfed.secagg.messages import Header
from stfed.secagg.server import Collecting, Enrolment, Preparing, Sum, Unmasking
from stfed.secagg.transcript import RoundFacts

log = logging.getLogger("stfed")

Step: TypeAlias = Preparing | Collecting | Unmasking


def _warn_of_limits(report: RoundReport, decoded: DecodedSum, plan: EncodingPlan) -> None:
    """Says when a result is not the plain mean because values or weights were out of range."""
    if decoded.clipped:
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
    """JOIN if needed, PREPARE, TRAIN, UNMASK, decode.

    Attributes:
        report: what happened, filled as it happens.
        errors: the error replies of parties, by node.
    """

    def __init__(
        self, request: Request, roll: Roll, courier: Courier, journal: Journal, settings: Settings, run: int, weight_key: str
    ) -> None:
        self._request, self._roll, self._courier, self._journal = request, roll, courier, journal
        self._settings, self._run, self._weight_key = settings, run, weight_key
        self._received = request.model()
        self.report = RoundReport(request.phase.name.lower(), tuple(request.messages), request.server_round())
        self.errors: dict[int, Error] = {}
        self._step: Step | None = None

    def execute(self, timeout_s: float | None) -> DecodedSum:
        """Runs the steps.

        Args:
            timeout_s: how long TRAIN waits.

        Raises:
            QuorumError: too few parties are left.
            PeerError: a party's secret is not the one it committed to.
        """
        enrolment = self._roll.enrol(self._request.messages, self.report, self.errors)
        # After JOIN: an epoch starts behind the last round number used.
        self.report.round = self._journal.next_round(self._run)
        try:
            preparing = self._step = self._begin(enrolment)
            collecting = self._step = self._prepare(preparing, enrolment)
            unmasking = self._step = self._train(collecting, enrolment, timeout_s)
            total = self._unmask(unmasking, enrolment)
        finally:
            if self._step is not None:
                for index, drop in self._step.drops.items():
                    self.report.drop(enrolment.nodes[index], drop)
        decoded = decode_sum(total.plan, total.total, len(total.survivors), self._received, MetricSchema.decode(total.schema))
        self.report.note_result(decoded, tuple(enrolment.nodes[index] for index in total.survivors))
        _warn_of_limits(self.report, decoded, total.plan)
        return decoded

    def _begin(self, enrolment: Enrolment) -> Preparing:
        settings, index_of, messages = self._settings, enrolment.index_of(), self._request.messages
        members = [node for node in messages if self._roll.present(node)]
        absent = messages.keys() - set(members)
        for node in absent:
            self.report.drop(node, self._roll.why_absent(node))
        n = len(members)
        least = settings.floor(max(2, n), n - 1)
        if n < least:
            raise QuorumError(
                f"{n} of {len(messages)} parties have joined, {least} are needed for a sum",
                missing=[f"node {node}" for node in absent],
                hint="sample more parties per round: fraction_train, min_train_nodes",
            )
        try:
            parameters = settings.parameters(n)
        except LocalError as error:
            if not absent:
                raise
            raise QuorumError(
                f"{n} of {len(messages)} parties have joined, too few for the settings: {error.message}",
                missing=[f"node {node}" for node in absent],
                hint=error.hint,
            ) from None
        plan = settings.plan(self._received, n, self._weight_key)
        directory, cohort = enrolment.directory, tuple(sorted(index_of[node] for node in members))
        header = Header(self._run, directory.header.epoch, self.report.round, directory.header.suite)
        facts = RoundFacts(
            header, self._request.phase, settings.mode, parameters.k, parameters.t, plan.encode(), cohort, directory.cohort_digest(cohort)
        )
        self.report.note_parameters(parameters, plan, header.epoch)
        return Preparing(facts, enrolment.names(), settings.floor(n, parameters.k))

    def _prepare(self, preparing: Preparing, enrolment: Enrolment) -> Collecting:
        index_of = enrolment.index_of()
        cohort = [enrolment.nodes[index] for index in preparing.facts.cohort]
        # One copy each of the message with the directory and of the one without: the directory grows with the parties.
        encoded: dict[bool, bytes] = {}
        contents = {}
        for node in cohort:
            directory = self._roll.directory_for(node)
            if bool(directory) not in encoded:
                encoded[bool(directory)] = preparing.request(directory).encode()
            contents[node] = records.light(self.report.sent("prepare", encoded[bool(directory)]))

        def add(node: int, content: RecordDict) -> None:
            preparing.add(index_of[node], self.report.received("prepare", records.message_of(content)))
            self._roll.directory_arrived(node)

        self._exchange("prepare", contents, records.LIGHT_MESSAGE, self._settings.light_timeout_s, enrolment, add, preparing.fail)
        try:
            collecting = preparing.close(self._request.digest)
            for index in collecting.alive:
                self._roll.mark_well(enrolment.nodes[index])
            return collecting
        finally:
            for index, drop in preparing.drops.items():
                self._roll.mark_absent(enrolment.nodes[index], drop)

    def _train(self, collecting: Collecting, enrolment: Enrolment, timeout_s: float | None) -> Unmasking:
        index_of = enrolment.index_of()
        model_bytes = sum(len(array.data) for record in self._request.content.array_records.values() for array in record.values())
        contents = {}
        for index in collecting.alive:
            message = self.report.sent("train", collecting.request(index).encode(), beside_bytes=model_bytes)
            contents[enrolment.nodes[index]] = records.attach(self._request.content, message)

        def add(node: int, content: RecordDict) -> None:
            message, vector = records.unmasked(content)
            collecting.add(index_of[node], self.report.received("train", message, beside_bytes=len(vector)), vector)

        self._exchange(
            "train", contents, self._request.message_type, timeout_s, enrolment, add, collecting.fail, group_id=self._request.group_id
        )
        return collecting.close()

    def _unmask(self, unmasking: Unmasking, enrolment: Enrolment) -> Sum:
        index_of = enrolment.index_of()
        survivors = tuple(enrolment.nodes[index] for index in unmasking.survivors)
        # Durable before the first UNMASK leaves: this round is never asked again with another U2.
        self._journal.freeze(self._run, self.report.round, survivors)
        message = unmasking.request().encode()
        contents = {node: records.light(self.report.sent("unmask", message)) for node in survivors}

        def add(node: int, content: RecordDict) -> None:
            unmasking.add(index_of[node], self.report.received("unmask", records.message_of(content)))

        self._exchange(
            "unmask", contents, records.LIGHT_MESSAGE, self._settings.light_timeout_s, enrolment, add, unmasking.fail, unmasking.complete
        )
        with self.report.timed("sum", self._courier.now):
            return unmasking.close()

    def _exchange(
        self,
        step: str,
        contents: Mapping[int, RecordDict],
        message_type: str,
        timeout_s: float | None,
        enrolment: Enrolment,
        add: Callable[[int, RecordDict], None],
        fail: Callable[[int, str], None],
        complete: Callable[[], bool] = lambda: False,
        group_id: str | None = None,
    ) -> None:
        index_of = enrolment.index_of()

        def on_reply(node: int, reply: Message) -> None:
            if reply.has_error():
                self.errors[node] = reply.error
                fail(index_of[node], reply.error.reason or "")
                return
            try:
                add(node, reply.content)
            except DecodeError as error:
                fail(index_of[node], error.message)

        with self.report.timed(step, self._courier.now):
            self._courier.exchange(
                contents,
                message_type,
                f"{step}-{self.report.round}" if group_id is None else group_id,
                timeout_s=timeout_s,
                on_reply=on_reply,
                complete=complete,
            )
