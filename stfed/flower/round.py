"""One secure round behind Flower: from the strategy's messages to the decoded mean."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from typing import TypeAlias

from flwr.app import Error, RecordDict

from stfed.encoding import DecodedSum, EncodingPlan, MetricSchema, decode_sum
from stfed.errors import LocalError, QuorumError
from stfed.flower import records
from stfed.flower.courier import Courier
from stfed.flower.events import RoundReport
from stfed.flower.journal import Journal
from stfed.flower.request import Request
from stfed.flower.roll import Roll
from stfed.flower.settings import Settings
from stfed.flower.talk import Talk
from stfed.secagg.messages import Header, Kind, peek
from stfed.secagg.params import Mode, Parameters
from stfed.secagg.server import Collecting, Confirming, DealerFaultError, Drop, DropReason, Enrolment, Preparing, Sum, Unmasking
from stfed.secagg.transcript import RoundFacts

log = logging.getLogger("stfed")

_LINGER_S = 5.0
"""Once those who confirmed could finish the round alone, the others get this long, or as long again as it took so far: whoever confirms
late gives no shares, and shares to spare are worth a few seconds, not the whole timeout of a party that is gone."""

Step: TypeAlias = Preparing | Collecting | Confirming | Unmasking


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


def _most_frequent(digests: Iterable[bytes]) -> bytes:
    """Of equally frequent ones the smallest; what the parties say about their run config is in their own transcripts, whatever is taken."""
    counts = Counter(digests)
    return min(counts, key=lambda digest: (-counts[digest], digest), default=b"")


class SecureRound:
    """JOIN if needed, PREPARE, TRAIN, in malicious mode CONFIRM, UNMASK, decode.

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
        talk = Talk(enrolment, self._courier, self.report, self.errors, self._settings.light_timeout_s)
        try:
            total = self._steps(enrolment, talk, timeout_s)
        except DealerFaultError as error:
            self._roll.accuse(error.dealer, Drop("unmask", DropReason.BROKEN_COMMITMENT, f"round {self.report.round}"))
            raise
        finally:
            if self._step is not None:
                self._note_drops(self._step, talk)
        decoded = decode_sum(total.plan, total.total, len(total.survivors), self._received, MetricSchema.decode(total.schema))
        self.report.note_result(decoded, tuple(talk.nodes[index] for index in total.survivors))
        _warn_of_limits(self.report, decoded, total.plan)
        return decoded

    def _steps(self, enrolment: Enrolment, talk: Talk, timeout_s: float | None) -> Sum:
        preparing = self._step = self._begin(enrolment, talk)
        collecting = self._step = self._prepare(preparing, talk)
        self._train(collecting, talk, timeout_s)
        if self._settings.mode is Mode.MALICIOUS:
            confirming = self._step = collecting.confirm()
            unmasking = self._step = self._confirm(confirming, talk)
        else:
            unmasking = self._step = collecting.close()
            self._freeze(unmasking, talk)
        return self._unmask(unmasking, talk)

    def _note_drops(self, step: Step, talk: Talk) -> None:
        for index, drop in step.drops.items():
            self.report.drop(talk.nodes[index], drop)
            if drop.reason is DropReason.WRONG_SHARE and self._settings.mode is Mode.MALICIOUS:
                self._roll.accuse(index, Drop(drop.step, drop.reason, f"round {self.report.round}"))

    def _begin(self, enrolment: Enrolment, talk: Talk) -> Preparing:
        settings, messages = self._settings, self._request.messages
        excluded = self._roll.excluded()
        members = [node for node in messages if self._roll.present(node) and node not in excluded]
        absent = messages.keys() - set(members)
        for node in absent:
            self.report.drop(node, excluded.get(node) or self._roll.why_absent(node))
        parameters = self._parameters(len(members), absent)
        plan = settings.plan(self._received, parameters.n, self._weight_key)
        directory, cohort = enrolment.directory, tuple(sorted(talk.index_of[node] for node in members))
        header = Header(self._run, directory.header.epoch, self.report.round, directory.header.suite)
        facts = RoundFacts(
            header, self._request.phase, settings.mode, parameters.k, parameters.t, plan.encode(), cohort, directory.cohort_digest(cohort)
        )
        self.report.note_parameters(parameters, plan, header.epoch)
        floor = settings.floor(parameters.n, parameters.k, self._roll.roster_size)
        corrupt = parameters.corrupt if settings.mode is Mode.MALICIOUS else None
        return Preparing(facts, self._roll.names(), floor, directory=directory, corrupt=corrupt)

    def _parameters(self, n: int, absent: set[int]) -> Parameters:
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

    def _prepare(self, preparing: Preparing, talk: Talk) -> Collecting:
        # One copy each of the message with the directory and of the one without: the directory grows with the parties.
        encoded: dict[bool, bytes] = {}
        contents = {}
        for index in preparing.facts.cohort:
            directory = self._roll.directory_for(talk.nodes[index])
            if bool(directory) not in encoded:
                encoded[bool(directory)] = preparing.request(directory).encode()
            contents[index] = records.light(self.report.sent("prepare", encoded[bool(directory)]))
        replies: dict[int, tuple[bytes, bytes]] = {}

        def read(index: int, content: RecordDict) -> None:
            message = self.report.received("prepare", records.message_of(content))
            self._roll.directory_arrived(talk.nodes[index])
            replies[index] = message, records.run_config_of(content)

        talk.exchange("prepare", contents, read, preparing.fail, timeout_s=self._settings.light_timeout_s)
        run_config = _most_frequent(digest for _, digest in replies.values())
        for index, (message, digest) in replies.items():
            if digest == run_config:
                preparing.add(index, message)
            else:
                preparing.fail(index, "its run config is not that of the others")
        try:
            collecting = preparing.close(self._request.bound(run_config))
            for index in collecting.alive:
                self._roll.mark_well(talk.nodes[index])
            return collecting
        finally:
            for index, drop in preparing.drops.items():
                self._roll.mark_absent(talk.nodes[index], drop)

    def _train(self, collecting: Collecting, talk: Talk, timeout_s: float | None) -> None:
        request = self._request
        model_bytes = sum(len(array.data) for record in request.content.array_records.values() for array in record.values())
        contents = {}
        for index in collecting.alive:
            message = self.report.sent("train", collecting.request(index).encode(), beside_bytes=model_bytes)
            contents[index] = records.attach(request.content, message)

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
        started = self._courier.now()
        enough_at: float | None = None

        def complete() -> bool:
            nonlocal enough_at
            now = self._courier.now()
            if enough_at is None and confirming.enough():
                enough_at = now
            return enough_at is not None and now - enough_at >= max(_LINGER_S, enough_at - started)

        talk.light("confirm", dict.fromkeys(confirming.survivors, message), confirming.add, confirming.fail, complete)
        unmasking = confirming.close()
        self.report.confirmed = tuple(talk.nodes[index] for index in unmasking.asked)
        return unmasking

    def _freeze(self, step: Confirming | Unmasking, talk: Talk) -> None:
        """Durable before the first CONFIRM or UNMASK leaves: this round is never asked again with another U2."""
        self._journal.freeze(self._run, self.report.round, tuple(talk.nodes[index] for index in step.survivors))

    def _unmask(self, unmasking: Unmasking, talk: Talk) -> Sum:
        message = unmasking.request().encode()
        talk.light("unmask", dict.fromkeys(unmasking.asked, message), unmasking.add, unmasking.fail, unmasking.complete)
        with self.report.timed("sum", self._courier.now):
            return unmasking.close()
