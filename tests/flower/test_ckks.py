"""Encrypted sums under a key holder's key: what a Flower user sees, what each side refuses, and what the numbers are worth."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import FedAdam, FedAvg
from hypothesis import given, settings
from hypothesis import strategies as st

from stfed.crypto.identity import BadSignatureError
from stfed.encoding.metrics import MetricSchema
from stfed.encrypted import words
from stfed.encrypted.context import SecretContext
from stfed.encrypted.keyfiles import load_secret, save_keypair, save_public
from stfed.encrypted.parameters import Parameters
from stfed.encrypted.seal import seal
from stfed.errors import DecodeError, LocalError, PeerError, QuorumError
from stfed.flower import DistributedDp, SecureAggregation, records
from stfed.flower.ckks import SUMS, CkksMod, CkksSum, KeyHolder, carriage, ckks_mod, flooding, key_holder_app, messages, vectors, vouching
from stfed.flower.ckks.ledger import Ledger
from stfed.flower.ckks.messages import Here, Kind, Mean, Round, Statement, Sum, Train, Who
from stfed.flower.ckks.numbers import average, decode, numbers_of
from stfed.flower.ckks.plan import SumPlan
from stfed.flower.ckks.refusals import SpentError, StatementError, WrongKeyError
from stfed.flower.ckks.scale import Scale
from stfed.flower.journal import Journal
from stfed.flower.nodecheck import check_node
from stfed.keys import SigningKey
from stfed.sealed.errors import UntrustedError
from stfed.secagg.messages import Phase
from stfed.secagg.params import Mode
from stfed.secagg.policy import Policy
from stfed.secagg.refusals import (
    CohortTooSmallError,
    ContentReuseError,
    ModeError,
    PlanError,
    RefusedError,
    RoundOrderError,
    UnknownIdentityError,
)
from stfed.testing import InMemoryGrid
from stfed.testing.leaks import Label, Secrets
from stfed.testing.protocol import roster_of, signing_key
from tests.flower import apps

N = 4
FIELDS = {"clip": 1.0, "max_weight": 128.0}


@cache
def secret() -> SecretContext:
    return SecretContext.generate(SUMS, rotations=False)


@cache
def stranger() -> SecretContext:
    return SecretContext.generate(SUMS, rotations=False)


def describe(message: Message) -> tuple[str, int] | None:
    """Step and round of a message to a node, for faults."""
    data = carriage.message_of(message.content)
    match messages.kind_of(data):
        case Kind.TRAIN:
            return "train", messages.decode(Train, data).round.number
        case Kind.SUM:
            return "decrypt", messages.decode(Sum, data).round.number
    return "who", 0


def identity_of(context: Any) -> Any:
    return signing_key(int(context.node_config["partition-id"]))


def federation(
    *faults: Mapping[str, Any],
    n: int = N,
    signed: bool = False,
    app: Any = None,
    policy: Policy | None = None,
    key: SigningKey | None = None,
) -> InMemoryGrid:
    """n parties, and behind them the key holder's node."""
    party = app or apps.client_app(CkksMod(secret().public, identity=identity_of if signed else None, policy=policy))
    holder = key_holder_app(secret(), roster=roster_of(n) if signed else None, state_dir=apps.scratch(), identity=key)
    return InMemoryGrid(lambda node: holder if node == n else party, n + 1, describe=describe, faults=apps.plan(*faults))


def run(grid: InMemoryGrid, rounds: int = 1, strategy: Any = None, ckks: CkksSum | None = None, **options: Any) -> SecureAggregation:
    """Trains, and checks every round against plain averaging of exactly the parties summed."""
    recorder = apps.Recorder()
    secure = SecureAggregation(strategy or apps.only_training(), ckks=ckks or CkksSum(secret().public), **{**FIELDS, **options})
    secure.start(grid, apps.model(), rounds, evaluate_fn=recorder)
    training = [report for report in secure.reports if report.phase == "train"]
    for report, before, after in zip(training, recorder.models, recorder.models[1:], strict=False):
        if report.failure is not None:
            assert after is before
            continue
        summed = apps.parties(grid, report.summed)
        allowed = report.error_bound + apps.rounding(len(summed), before)
        assert apps.distance(after, apps.mean_of(summed, before, report.server_round)) <= allowed
        assert report.total_weight == sum(map(apps.examples_of, summed))
        assert report.error_bound < 1e-8
    return secure


def lost(grid: InMemoryGrid, report: Any) -> dict[int, str]:
    return {grid.index(node): drop["reason"] for node, drop in report.dropped.items()}


# --- runs --------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signed", [False, True])
def test_a_run_is_the_plain_run_and_the_key_holder_is_no_party(signed: bool) -> None:
    grid = federation(signed=signed)
    secure = SecureAggregation(FedAvg(), ckks=CkksSum(secret().public), **FIELDS)
    result = secure.start(grid, apps.model(), 2)
    plain = FedAvg().start(apps.plain_grid(N), apps.model(), 2)
    assert apps.distance(result.arrays, plain.arrays) <= 2 * apps.rounding(N, plain.arrays) + 1e-8
    for mine, theirs in (
        (result.train_metrics_clientapp, plain.train_metrics_clientapp),
        (result.evaluate_metrics_clientapp, plain.evaluate_metrics_clientapp),
    ):
        for round_ in (1, 2):
            assert dict(mine[round_]) == pytest.approx(dict(theirs[round_]), abs=1e-6)
    grid.set_run(grid.run)
    assert [report.phase for report in secure.reports] == ["train", "evaluate"] * 2
    assert all(report.trips == 2 and len(report.summed) == N and not report.dropped for report in secure.reports)
    sums = [report.bytes_down["decrypt"] for report in secure.reports]
    assert all((one > N * 200_000) == signed for one in sums), "the key holder gets the sum, or everybody's vector if it wants signatures"


def test_nothing_of_a_party_crosses_in_clear() -> None:
    sought, before = Secrets(), apps.numpy_of(apps.model())
    for party in range(N):
        after, metrics = apps.train(party, before, 1)
        sought.add_update(str(party), 1, before, after)
        sought.add_metrics(str(party), 1, metrics)
    found: dict[bool, set[Label]] = {True: set(), False: set()}
    for secure, grid in ((True, federation()), (False, apps.plain_grid(N))):
        if secure:
            run(grid)
        else:
            apps.only_training().start(grid, apps.model(), 1)
        for record in grid.dump:
            found[secure] |= sought.found_in(record.payload)
    assert not found[True]
    assert found[False], "the search works"


def test_a_server_optimiser_sees_no_difference_and_a_local_key_holder_serves_a_simulation() -> None:
    ckks = CkksSum(secret().public, key_holder=KeyHolder(secret(), roster=None))
    grid = InMemoryGrid(apps.client_app(CkksMod(secret().public)), N)
    result = SecureAggregation(FedAdam(fraction_evaluate=0.0), ckks=ckks, uniform=True).start(grid, apps.model(), 2)
    even = apps.client_app(train=lambda *args: (apps.train(*args)[0], {"num-examples": 1, "train_loss": 0.0}))
    plain = FedAdam(fraction_evaluate=0.0).start(apps.plain_grid(N, app=even), apps.model(), 2)
    assert apps.distance(result.arrays, plain.arrays) < 1e-5


def test_integers_and_booleans_are_means_to_nearest_and_halves_stay_halves() -> None:
    before = {
        "count": np.array([1000, 7, 250], np.uint64),
        "flag": np.array([True, False]),
        "half": np.array([0.5, -1.0], np.float16),
        "small": np.array([[-100], [100]], np.int8),
    }
    moved = {"count": [3, 5, -7], "small": [[-20], [20]]}

    def train(party: int, arrays: apps.Arrays, server_round: int) -> apps.Trained:
        after = {name: value.copy() for name, value in arrays.items()}
        for name, change in moved.items():
            after[name] += (np.array(change) * (party + 1)).astype(after[name].dtype)
        after["flag"][:] = party % 2 == 0
        after["half"] += np.float16(party)
        return after, {"num-examples": 10}

    secure = SecureAggregation(apps.only_training(), ckks=CkksSum(secret().public), clip=8.0)
    grid = federation(app=apps.client_app(CkksMod(secret().public), train=train), n=3)
    found = apps.numpy_of(secure.start(grid, apps.record_of(before), 1).arrays)
    assert found["count"].tolist() == [1006, 17, 236]
    assert found["flag"].tolist() == [True, True]  # of three, two are
    assert found["small"].dtype == np.int8
    assert found["half"].tolist() == [1.5, 0.0]
    assert secure.reports[0].clipped == 0


def test_what_is_over_the_clip_is_cut_and_counted() -> None:
    secure = SecureAggregation(apps.only_training(), ckks=CkksSum(secret().public), clip=0.05, max_weight=128.0)
    result = secure.start(federation(), apps.model(), 1)
    assert apps.distance(result.arrays, apps.model()) <= 0.05 + 1e-6
    wanted = sum(
        int((np.abs(trained - before) > 0.05).sum())
        for party in range(N)
        for before, trained in zip(
            apps.numpy_of(apps.model()).values(), apps.update(party, apps.numpy_of(apps.model()), 1).values(), strict=True
        )
    )
    assert secure.reports[0].clipped == wanted > 0


# --- drops -------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["drop-request", "drop-reply", "error"])
def test_who_does_not_answer_is_not_in_the_sum_and_is_back_in_the_next(action: str) -> None:
    grid = federation({"action": action, "node": 2, "step": "train", "round": 1})
    secure = run(grid, rounds=2)
    first, second = secure.reports
    assert apps.parties(grid, first.summed) == [0, 1, 3]
    assert set(lost(grid, first)) == {2}
    assert len(second.summed) == N


@pytest.mark.parametrize("position", [0, 40, 100_000, -1])
def test_a_vector_that_was_changed_on_the_way_is_left_out(position: int) -> None:
    grid = federation({"action": "tamper", "node": 1, "step": "train", "record": carriage.VECTORS, "key": "0", "position": position})
    secure = run(grid)
    assert lost(grid, secure.reports[0]) == {1: "malformed message"}
    assert apps.parties(grid, secure.reports[0].summed) == [0, 2, 3]


def test_a_statement_that_was_changed_on_the_way_is_left_out() -> None:
    fault = {"action": "tamper", "node": 1, "step": "train", "record": carriage.RECORD, "key": "message"}
    for position in (0, 60, -1):
        grid = federation({**fault, "position": position}, signed=True)
        secure = run(grid, ckks=CkksSum(secret().public, roster=roster_of(N)))
        assert set(lost(grid, secure.reports[0])) == {1}


def test_what_a_party_said_in_another_round_is_left_out() -> None:
    said: list[Any] = []

    def stale(message: Message, context: Any, call_next: Any) -> Message:
        reply = CkksMod(secret().public)(message, context, call_next)
        if context.node_config["partition-id"] == 1 and carriage.VECTORS in reply.content:
            said.append(reply.content)
            return Message(said[0], reply_to=message)
        return reply

    grid = federation(app=apps.client_app(stale))
    first, second = run(grid, rounds=2).reports
    assert not first.dropped
    assert lost(grid, second) == {1: "malformed message"}
    assert "another round" in second.dropped[grid.node(1).node_id]["detail"]


def test_a_member_of_the_roster_contributes_once() -> None:
    twice = CkksMod(secret().public, identity=lambda context: signing_key(min(2, int(context.node_config["partition-id"]))))
    grid = federation(app=apps.client_app(twice), signed=True)
    secure = run(grid, ckks=CkksSum(secret().public, roster=roster_of(N)))
    assert list(lost(grid, secure.reports[0]).values()) == ["malformed message"]
    assert len(secure.reports[0].summed) == 3


def test_too_few_parties_are_no_sum_and_the_round_can_be_skipped() -> None:
    faults = [{"action": "drop-reply", "node": node, "step": "train", "round": 1} for node in (0, 1)]
    with pytest.raises(QuorumError, match="2 of 4 parties sent an update, 3 are needed"):
        run(federation(*faults))
    secure = run(federation(*faults), rounds=2, on_failure="skip")
    assert [report.failure is None for report in secure.reports] == [False, True]


def test_a_cohort_too_small_for_a_sum_is_not_asked() -> None:
    secure = SecureAggregation(apps.only_training(), ckks=CkksSum(secret().public, key_holder=KeyHolder(secret(), roster=None)))
    grid = InMemoryGrid(apps.client_app(CkksMod(secret().public)), 2)
    with pytest.raises(QuorumError, match="2 parties are asked, 3 are needed"):
        secure.start(grid, apps.model(), 1)
    assert not grid.dump


def test_a_party_is_in_no_sum_of_fewer_than_its_own_policy_says() -> None:
    fault = {"action": "drop-reply", "node": 2, "step": "train", "round": 1}
    strict = CkksMod(secret().public, policy=Policy(min_cohort=4, min_survivors=4))

    def one_is_strict(message: Message, context: Any, call_next: Any) -> Message:
        return (strict if context.node_config["partition-id"] == 0 else CkksMod(secret().public))(message, context, call_next)

    secure = run(federation(fault, app=apps.client_app(one_is_strict)), rounds=2, on_failure="skip")
    assert "3 of 4 parties sent an update, and one of them is to be in sums of 4 or more" in str(secure.reports[0].failure)
    assert len(secure.reports[1].summed) == 4


def test_a_party_that_no_sum_is_large_enough_for_is_left_out() -> None:
    def odd(message: Message, context: Any, call_next: Any) -> Message:
        reply = CkksMod(secret().public)(message, context, call_next)
        data = carriage.message_of(reply.content)
        if context.node_config["partition-id"] == 1 and messages.kind_of(data) is Kind.STATEMENT:
            said = replace(messages.decode(Statement, data), least=N + 1)
            reply.content = RecordDict({**reply.content, carriage.RECORD: carriage.carried(messages.encode(said))[carriage.RECORD]})
        return reply

    grid = federation(app=apps.client_app(odd))
    assert lost(grid, run(grid).reports[0]) == {1: "malformed message"}


def test_round_numbers_and_survivors_are_durable_before_the_sum_is_decrypted(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    grid = federation({"action": "drop-reply", "node": 0, "step": "train", "round": 1})
    run(grid, rounds=2, journal=path)
    assert Journal(path).position(grid.run.run_id) == (0, 2)
    with pytest.raises(LocalError, match="were frozen before"):
        Journal(path).freeze(grid.run.run_id, 2, ())


def test_each_step_of_a_sum_is_told_with_how_many_answered(tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    run(federation({"action": "drop-reply", "node": 0, "step": "train", "round": 1}), events=log)
    steps = [event for event in map(json.loads, log.read_text().splitlines()) if event["event"] == "step"]
    over = [(one["step"], one["asked"], one["answered"]) for one in steps if one["seconds"] is not None]
    assert over == [("train", N, N - 1), ("decrypt", 1, 1)]
    assert [one["step"] for one in steps if one["answered"] == 0] == ["train", "decrypt"]


def test_a_key_holder_that_is_gone_is_an_error_that_says_so() -> None:
    with pytest.raises(PeerError, match="key holder did not answer"):
        run(federation({"action": "drop-request", "node": N, "step": "decrypt"}))
    with pytest.raises(LocalError, match="no node says that it holds the key"):
        run(InMemoryGrid(apps.client_app(CkksMod(secret().public)), N))


def test_parties_without_examples_have_no_mean() -> None:
    app = apps.client_app(CkksMod(secret().public), train=lambda *args: (apps.train(*args)[0], {"num-examples": 0}))
    with pytest.raises(PeerError, match="have no weight, so there is no mean"):
        run(federation(app=app))
    with pytest.raises(QuorumError, match="have no weight, so there is no mean"):
        run(InMemoryGrid(app, N), ckks=CkksSum(secret().public, key_holder=KeyHolder(secret(), roster=None)))


def test_who_only_says_that_it_is_the_key_holder_is_not_taken_for_it() -> None:
    party, impostor = apps.client_app(CkksMod(secret().public)), ClientApp()

    @impostor.train()
    def claim(message: Message, context: Context) -> Message:
        if messages.kind_of(carriage.message_of(message.content)) is Kind.WHO:
            return Message(carriage.carried(messages.encode(Here(secret().public.fingerprint, True))), reply_to=message)
        return party(message, context)

    holder = key_holder_app(secret(), roster=None, state_dir=apps.scratch())
    late = apps.plan({"action": "delay", "node": N, "step": "who", "delay_s": 5.0, "occurrence": 1})
    grid = InMemoryGrid(lambda node: holder if node == N else impostor if node == 1 else party, N + 1, describe=describe, faults=late)
    with pytest.raises(LocalError, match="all say that they hold the key"):
        run(grid)
    assert all(len(record.payload) < 1000 for record in grid.dump), "not a vector was sent to anybody"
    named = CkksSum(secret().public, key_holder=grid.node(N).node_id)
    assert len(run(grid, ckks=named).reports[0].summed) == N


def impostor(party: Any, heard: list[bytes] | None = None) -> ClientApp:
    """Says that it is the key holder: without a signature, or with all that it ever heard of the real one."""
    app = ClientApp()

    @app.train()
    def claim(message: Message, context: Context) -> Message:
        if messages.kind_of(carriage.message_of(message.content)) is Kind.WHO:
            said = heard[0] if heard else messages.encode(Here(secret().public.fingerprint))
            return Message(carriage.carried(said), reply_to=message)
        return party(message, context)

    return app


@pytest.mark.parametrize("kind", ["ed25519", "ed25519-mldsa65"])
@pytest.mark.parametrize("signed", [False, True])
def test_a_pinned_key_holder_is_found_among_impostors(signed: bool, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    key = SigningKey.generate(kind)
    party = apps.client_app(CkksMod(secret().public, identity=identity_of if signed else None))
    holder = key_holder_app(secret(), roster=roster_of(N + 1) if signed else None, state_dir=apps.scratch(), identity=key)
    nodes = {0: impostor(party), N + 1: holder}
    grid = InMemoryGrid(lambda node: nodes.get(node, party), N + 2, describe=describe)
    secure = run(grid, rounds=2, ckks=pinned(key))
    assert [len(report.summed) for report in secure.reports] == [N + 1] * 2
    assert f"node {grid.node(0).node_id} says that it holds the key, and is not believed" in caplog.text


def pinned(key: SigningKey, **options: Any) -> CkksSum:
    return CkksSum(secret().public, trusted=key.public, **options)


def test_a_lone_impostor_is_not_taken_for_a_pinned_key_holder() -> None:
    party, key = apps.client_app(CkksMod(secret().public)), SigningKey.generate()
    grid = InMemoryGrid(lambda node: impostor(party) if node == 1 else party, N, describe=describe)
    named = [pinned(key), pinned(key, key_holder=grid.node(1).node_id)]
    for ckks in named:
        with pytest.raises(LocalError, match="with the signature of"):
            run(grid, ckks=ckks)
    assert all(len(record.payload) < 1000 for record in grid.dump), "not a vector was sent to anybody"


def test_an_answer_of_the_real_key_holder_proves_nothing_for_another_node_question_or_run() -> None:
    key, party = SigningKey.generate(), apps.client_app(CkksMod(secret().public))
    holder = KeyHolder(secret(), roster=None, identity=key)
    who, run_id, node = Who(b"w" * 32), 7, 11
    here = holder.here(who, run_id, node)
    vouching.check_here(key.public, here, who, run_id, node)
    for change in ((Who(b"x" * 32), run_id, node), (who, 8, node), (who, run_id, 12)):
        with pytest.raises(BadSignatureError):
            vouching.check_here(key.public, here, *change)
    for changed in (replace(here, signed=True), replace(here, fingerprint=b"f" * 32), replace(here, signature=b"")):
        with pytest.raises(BadSignatureError):
            vouching.check_here(key.public, changed, who, run_id, node)
    heard = [messages.encode(here)]
    grid = InMemoryGrid(lambda index: impostor(party, heard) if index == 1 else party, N, describe=describe)
    with pytest.raises(LocalError, match="with the signature of"):
        run(grid, ckks=pinned(key))


def test_a_pinned_key_holder_that_signs_nothing_or_with_another_key_is_refused() -> None:
    key = SigningKey.generate()
    for other in (None, SigningKey.generate()):
        with pytest.raises(LocalError, match=r"with the signature of .*identity=KEY"):
            run(federation(key=other), ckks=pinned(key))
        with pytest.raises(LocalError, match="does not sign with the key that is trusted"):
            pinned(key, key_holder=KeyHolder(secret(), roster=None, identity=other))
    assert len(run(federation(), ckks=CkksSum(secret().public)).reports[0].summed) == N, "who pins nothing asks for no signature"
    local = pinned(key, key_holder=KeyHolder(secret(), roster=None, identity=key))
    assert len(run(InMemoryGrid(apps.client_app(CkksMod(secret().public)), N), ckks=local).reports[0].summed) == N


@pytest.mark.parametrize(("record", "name"), [(carriage.RECORD, "message"), (carriage.VECTORS, "0")])
def test_a_mean_that_was_changed_on_the_way_is_no_mean(record: str, name: str) -> None:
    """Under a pinned key. Without one, a coordinator cannot tell: the last bit of a number is as good as another."""
    key = SigningKey.generate()
    changed = {"action": "tamper", "node": N, "step": "decrypt", "record": record, "key": name, "position": 0 if name == "0" else -1}
    with pytest.raises(BadSignatureError, match="CKKS_MEAN"):
        run(federation(changed, key=key), ckks=pinned(key))


def test_a_mean_is_signed_as_the_answer_to_one_request() -> None:
    key = SigningKey.generate()
    request, sent, numbers = b"request", [b"a", b"bc"], b"numbers!"
    mean = vouching.signed_mean(key, Mean(Round(b"f" * 32, 1, 2)), request, sent, numbers)
    vouching.check_mean(key.public, mean, request, sent, numbers)
    others = [(b"other", sent, numbers), (request, [b"ab", b"c"], numbers), (request, [b"a"], numbers), (request, sent, b"number!!")]
    for one in others:
        with pytest.raises(BadSignatureError):
            vouching.check_mean(key.public, mean, *one)
    with pytest.raises(BadSignatureError):
        vouching.check_mean(key.public, replace(mean, round=Round(b"f" * 32, 1, 3)), request, sent, numbers)


def test_a_key_holder_whose_first_answer_is_lost_is_asked_again() -> None:
    assert len(run(federation({"action": "drop-reply", "node": N, "step": "who", "occurrence": 1})).reports[0].summed) == N


@pytest.mark.parametrize("answer", ["nan", "short", "half a number", "two", "another round", "out of bounds", "plain"])
def test_an_answer_that_is_no_mean_is_an_error(answer: str) -> None:
    app, holder = ClientApp(), KeyHolder(secret(), roster=None)

    @app.train()
    def liar(message: Message, context: Context) -> Message:
        data = carriage.message_of(message.content)
        if messages.kind_of(data) is Kind.WHO:
            return Message(carriage.carried(messages.encode(Here(holder.fingerprint))), reply_to=message)
        said, numbers = holder.mean(message.metadata.run_id, data, carriage.vectors_in(message.content))
        mean = messages.encode(said)
        sent = [numbers.tobytes()]
        match answer:
            case "nan":
                sent = [np.full_like(numbers, np.nan).tobytes()]
            case "short":
                sent = [numbers[:5].tobytes()]
            case "half a number":
                sent = [sent[0][:-4]]
            case "two":
                sent *= 2
            case "another round":
                mean = messages.encode(Mean(replace(said.round, number=said.round.number + 1)))
            case "out of bounds":
                sent = [(numbers + 2).tobytes()]
            case "plain":
                return Message(RecordDict(), reply_to=message)
        return Message(carriage.carried(mean, sent), reply_to=message)

    party = apps.client_app(CkksMod(secret().public))
    grid = InMemoryGrid(lambda node: app if node == N else party, N + 1)
    with pytest.raises((DecodeError, PeerError)):
        run(grid)
    skipping = SecureAggregation(apps.only_training(), ckks=CkksSum(secret().public), on_failure="skip", **FIELDS)
    skipping.start(InMemoryGrid(lambda node: app if node == N else party, N + 1), apps.model(1), 1)
    assert skipping.reports[0].failure


def test_who_has_another_run_config_is_left_out() -> None:
    def odd(message: Message, context: Context, call_next: Any) -> Message:
        if context.node_config["partition-id"] == 1:
            context.run_config = {**context.run_config, "lr": 1.0}
        return CkksMod(secret().public)(message, context, call_next)

    grid = federation(app=apps.client_app(odd))
    assert set(lost(grid, run(grid).reports[0])) == {1}


def test_other_metrics_than_those_of_most_are_left_out() -> None:
    def train(party: int, arrays: apps.Arrays, server_round: int) -> apps.Trained:
        after, metrics = apps.train(party, arrays, server_round)
        return after, {**metrics, **({"extra": 1.0} if party == 0 else {})}

    grid = federation(app=apps.client_app(CkksMod(secret().public), train=train))
    secure = run(grid)
    assert lost(grid, secure.reports[0]) == {0: "metrics that the others do not have"}


def test_parties_that_say_all_kinds_of_things_keep_nobody_else_out() -> None:
    def train(party: int, arrays: apps.Arrays, server_round: int) -> apps.Trained:
        after, metrics = apps.train(party, arrays, server_round)
        return after, {**metrics, **({f"extra{party}": 1.0} if party < 5 else {})}

    grid = federation(app=apps.client_app(CkksMod(secret().public), train=train), n=9)
    secure = run(grid)
    assert lost(grid, secure.reports[0]) == dict.fromkeys(range(5), "metrics that the others do not have")
    pairs = federation(
        app=apps.client_app(CkksMod(secret().public), train=lambda party, *args: train(party // 2, *args)), n=12
    )  # five pairs, of which the last finds no room
    with pytest.raises(QuorumError, match="2 of 12 parties sent an update"):
        run(pairs)


# --- what a party refuses ----------------------------------------------------------------------------------------------------------------


def test_a_coordinator_that_names_a_key_of_its_own_gets_nothing() -> None:
    trained: list[int] = []

    def train(party: int, *args: Any) -> apps.Trained:
        trained.append(party)
        return apps.train(party, *args)

    grid = InMemoryGrid(apps.client_app(CkksMod(secret().public), train=train), N)
    ckks = CkksSum(stranger().public, key_holder=KeyHolder(stranger(), roster=None))
    secure = SecureAggregation(apps.only_training(), ckks=ckks, **FIELDS)
    with pytest.raises(QuorumError):
        secure.start(grid, apps.model(), 1)
    assert not trained
    for drop in secure.reports[0].dropped.values():
        assert drop["reason"] == "error reply"
        assert WrongKeyError.__name__ in drop["detail"]
        assert "encrypts under" in drop["detail"]


def test_a_node_names_its_own_key_file_and_pins_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, fingerprint = tmp_path / "sums.pub", secret().public.fingerprint.hex()
    save_public(secret().public, path, signer=None)
    ckks = CkksSum(secret().public, key_holder=KeyHolder(secret(), roster=None))

    def grid_with(*pins: str) -> InMemoryGrid:
        def config(node: int) -> dict[str, Any]:
            return {"partition-id": node, "stfed-ckks-context": str(path), "stfed-ckks-fingerprint": pins[node % len(pins)]}

        return InMemoryGrid(apps.client_app(ckks_mod), N, describe=describe, node_config=config)

    assert len(run(grid_with(fingerprint), ckks=ckks).reports[0].summed) == N
    grid = grid_with(fingerprint, fingerprint, fingerprint, "00" * 32)
    ckks = CkksSum(secret().public, key_holder=KeyHolder(secret(), roster=None))
    assert lost(grid, run(grid, ckks=ckks).reports[0]) == {3: "error reply"}
    assert "fingerprint" in caplog.text
    nowhere = InMemoryGrid(apps.client_app(ckks_mod), N, describe=describe)
    with pytest.raises(QuorumError):
        run(nowhere, ckks=ckks)
    assert "get the public context from the key holder" in caplog.text


def test_stfed_supernode_pins_both_kinds_of_apps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_keypair(lambda: SecretContext.generate(SUMS, rotations=False), tmp_path / "sums.key", passphrase=None, signer=None)
    fingerprint = load_secret(tmp_path / "sums.key").public.fingerprint.hex()
    (tmp_path / "own_ckks_app.py").write_text(
        "from flwr.clientapp import ClientApp\n"
        "from stfed.encrypted import load_secret\n"
        "from stfed.flower.ckks import ckks_mod, key_holder_app\n"
        f"holder = key_holder_app(load_secret({str(tmp_path / 'sums.key')!r}), roster=None, state_dir={str(tmp_path / 'state')!r})\n"
        "party = ClientApp(mods=[ckks_mod])\n"
        "party.train()(lambda message, context: message)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = {"stfed-state-dir": str(tmp_path / "state"), "stfed-ckks-context": str(tmp_path / "sums.key.pub")}
    for app, own in (("holder", {}), ("party", {"stfed-ckks-fingerprint": fingerprint})):
        node = check_node(f"own_ckks_app:{app}", {**config, **own}, ["--insecure", "--superlink", "127.0.0.1:1"])
        assert node.party.policy.mode is Mode.SEMI_HONEST
    with pytest.raises(UntrustedError):
        check_node("own_ckks_app:party", {**config, "stfed-ckks-fingerprint": "00" * 32}, ["--insecure", "--superlink", "127.0.0.1:1"])
    with pytest.raises(LocalError, match="none of ours"):
        check_node("own_ckks_app:party", {"stfed-ckks-contxt": ""}, ["--insecure", "--superlink", "127.0.0.1:1"])


@pytest.mark.parametrize(
    ("policy", "error"),
    [
        (Policy(mode=Mode.MALICIOUS), "ModeError"),
        (Policy(noise_multiplier=1.0), "PlanError"),
        (Policy(min_cohort=5), "CohortTooSmallError"),
        (Policy(clip=(2.0, 4.0)), "PlanError"),
        (Policy(max_weight=(1.0, 100.0)), "PlanError"),
        (Policy(max_parameters=40), "PlanError"),
        (Policy(weight_keys=("rows",)), "PlanError"),
        (Policy(tensors=()), "PlanError"),
        (Policy(config=()), "ConfigError"),
    ],
)
def test_a_party_refuses_what_its_policy_does_not_allow(policy: Policy, error: str) -> None:
    grid = federation(policy=policy)
    secure = SecureAggregation(apps.only_training(), ckks=CkksSum(secret().public), **FIELDS)
    with pytest.raises(QuorumError):
        secure.start(grid, apps.model(), 1)
    assert all(error in drop["detail"] for drop in secure.reports[0].dropped.values())


def test_more_rounds_than_a_party_allows_are_refused() -> None:
    secure = run(federation(policy=Policy(max_rounds=1)), rounds=2, on_failure="skip")
    assert [report.failure is None for report in secure.reports] == [True, False]


@pytest.mark.parametrize("bad", ["nan", "infinite", "infinite metric", "large metric", "shape", "list", "weight", "no weight"])
def test_a_reply_that_cannot_be_summed_is_refused_in_one_and_the_same_words(bad: str) -> None:
    def train(party: int, arrays: apps.Arrays, server_round: int) -> apps.Trained:
        after, metrics = apps.train(party, arrays, server_round)
        if party:
            return after, metrics
        match bad:
            case "nan":
                after["layer.weight"][0, 0] = np.nan
            case "infinite":
                after["layer.weight"][0, 0] = np.inf
            case "infinite metric":
                metrics["train_loss"] = math.inf
            case "large metric":
                metrics["train_loss"] = 10_001.0
            case "shape":
                after["layer.bias"] = after["layer.bias"][:2]
            case "list":
                metrics["train_loss"] = [1.0, 2.0]
            case "weight":
                metrics["num-examples"] = -1
            case "no weight":
                del metrics["num-examples"]
        return after, metrics

    grid = federation(app=apps.client_app(CkksMod(secret().public), train=train))
    secure = run(grid)
    (detail,) = {drop["detail"] for drop in secure.reports[0].dropped.values()}
    assert "the reply of the train function cannot be summed (details are in this party's own log)" in detail


def test_a_message_of_another_run_is_refused() -> None:
    grid = federation()
    content = apps.messages(grid, nodes=[0])[0].content
    plan = SumPlan.of(apps.numpy_of(apps.model()), N)
    fingerprint = secret().public.fingerprint
    answers = []
    for run_id in (grid.run.run_id, grid.run.run_id + 1):
        request = messages.encode(Train(Round(fingerprint, run_id, 1), plan.encode()))
        (reply,) = grid.send_and_receive([Message(carriage.beside(content, request), grid.node(0).node_id, "train")])
        answers.append(reply)
    assert answers[0].has_content()
    assert "belongs to another run" in answers[1].error.reason


def test_a_party_answers_neither_plain_messages_nor_those_of_masks() -> None:
    grid = apps.plain_grid(N, app=apps.client_app(CkksMod(secret().public)))
    replies = grid.send_and_receive(apps.messages(grid))
    assert all("PlainMessageError" in reply.error.reason for reply in replies)
    with pytest.raises(QuorumError):
        apps.secure().start(apps.secure_grid(N, app=apps.client_app(CkksMod(secret().public))), apps.model(), 1)
    with pytest.raises(QuorumError):
        run(InMemoryGrid(apps.client_app(apps.secure_mod()), N), ckks=CkksSum(secret().public, key_holder=KeyHolder(secret(), roster=None)))


# --- what a key holder refuses -----------------------------------------------------------------------------------------------------------


@dataclass
class Case:
    """A question to a key holder, and what makes it."""

    holder: KeyHolder
    plan: SumPlan
    statements: list[Statement]
    sent: list[bytes]
    wanted: np.ndarray
    run: int = 7
    number: int = 1

    def ask(self, **changes: Any) -> np.ndarray:
        round_ = changes.pop("round", Round(secret().public.fingerprint, self.run, self.number))
        plan, statements = changes.pop("plan", self.plan), changes.pop("statements", self.statements)
        request = messages.encode(Sum(round_, plan.encode(), tuple(messages.encode(one) for one in statements)))
        _, numbers = self.holder.mean(changes.pop("run", self.run), request, changes.pop("sent", self.sent))
        assert not changes
        return numbers

    def again(self, number: int, content: bytes | None = None, plan: SumPlan | None = None, signed: bool = False) -> Case:
        """The same contributions as another round."""
        round_, plan = Round(secret().public.fingerprint, self.run, number), plan or self.plan
        digest = hashlib.sha256(plan.encode()).digest()
        statements = [replace(one, round=round_, content=content or one.content, plan=digest) for one in self.statements]
        if signed:
            statements = [one.signed(signing_key(at).ed25519) for at, one in enumerate(statements)]
        return replace(self, statements=statements, number=number, plan=plan)


def case(
    *, signed: bool = False, policy: Policy | None = None, n: int = 3, roster: int | None = None, state_dir: Path | None = None
) -> Case:
    plan, schema = SumPlan.of({"w": np.zeros(5, np.float32)}, n), MetricSchema(("loss",))
    scale = plan.scale(secret().public, 1)
    rng = np.random.default_rng(0)
    numbers = [np.concatenate((rng.uniform(-0.1, 0.1, 6), [0.25, 0.0])) for _ in range(n)]
    sent = [vectors.encrypt(scale, one) for one in numbers]
    round_, digest = Round(secret().public.fingerprint, 7, 1), hashlib.sha256(plan.encode()).digest()
    statements = [
        Statement(round_, digest, Phase.TRAIN, b"c" * 32, b"b" * 32, schema.encode(), hashlib.sha256(one).digest(), 2) for one in sent
    ]
    total = np.sum(numbers, axis=0)
    wanted = np.concatenate((total[:-2] / total[-2], total[-2:]))
    holder = KeyHolder(secret(), roster=roster_of(roster or n) if signed else None, policy=policy, state_dir=state_dir)
    if signed:
        return Case(holder, plan, [one.signed(signing_key(at).ed25519) for at, one in enumerate(statements)], sent, wanted)
    sums = vectors.Total(scale)
    for one in sent:
        sums.add(one)
    return Case(holder, plan, statements, [sums.encode()], wanted)


@pytest.mark.parametrize("signed", [False, True])
def test_a_key_holder_answers_each_round_once_and_each_model_once(signed: bool) -> None:
    asked = case(signed=signed)
    assert np.abs(asked.ask() - asked.wanted).max() < 1e-9
    for again, error in (
        (asked, RoundOrderError),
        (asked.again(1, b"d" * 32, signed=signed), RoundOrderError),
        (asked.again(2, signed=signed), ContentReuseError),
        (asked.again(2, b"d" * 32, replace(asked.plan, clip=1.0), signed=signed), PlanError),
    ):
        with pytest.raises(error):
            again.ask()
    later = asked.again(5, b"d" * 32, signed=signed)
    assert np.abs(later.ask() - asked.wanted).max() < 1e-9
    with pytest.raises(RoundOrderError):
        asked.again(4, b"e" * 32, signed=signed).ask()


def test_what_was_decrypted_is_known_after_a_restart_and_a_key_pair_ends(tmp_path: Path) -> None:
    case(state_dir=tmp_path).ask()
    with pytest.raises(RoundOrderError):
        case(state_dir=tmp_path).ask()
    round_ = Round(b"k" * 32, 1, 1)
    ledger = Ledger(tmp_path, 2)
    for number in (1, 2):
        ledger.claim(replace(round_, number=number), Phase.TRAIN, bytes([number]) * 32, b"e" * 32, repeats=False, fixed=True)
    with pytest.raises(SpentError, match="make a new key pair"):
        ledger.claim(replace(round_, number=3), Phase.TRAIN, b"3" * 32, b"e" * 32, repeats=False, fixed=True)
    assert (tmp_path / "key-holder.sqlite").stat().st_mode & 0o777 == 0o600


def test_a_key_holder_refuses_sums_that_are_not_what_they_should_be() -> None:
    asked = case()
    first, second, third = asked.statements
    fingerprint = secret().public.fingerprint
    for changes, error in (
        ({"statements": [first, second]}, CohortTooSmallError),
        ({"statements": [first, second, second]}, StatementError),
        ({"statements": [first, second, replace(third, content=b"d" * 32)]}, StatementError),
        ({"statements": [first, second, replace(third, bound=b"d" * 32)]}, StatementError),
        ({"statements": [first, second, replace(third, schema=MetricSchema(("acc",)).encode())]}, StatementError),
        ({"statements": [first, second, third, replace(third, vector=b"d" * 32)]}, CohortTooSmallError),
        ({"round": Round(fingerprint, 7, 2)}, StatementError),
        ({"round": Round(stranger().public.fingerprint, 7, 1)}, WrongKeyError),
        ({"run": 8}, RefusedError),
        ({"plan": replace(asked.plan, max_weight=5.0)}, StatementError),
        ({"plan": replace(asked.plan, parties=2)}, CohortTooSmallError),
        ({"statements": [first, second, replace(third, least=4)]}, CohortTooSmallError),
        ({"sent": []}, StatementError),
        ({"sent": asked.sent * 2}, StatementError),
        ({"sent": [asked.sent[0][:-1]]}, DecodeError),
        ({"sent": [b"\xff" * len(asked.sent[0])]}, DecodeError),
        ({"sent": [bytes(len(asked.sent[0]))]}, DecodeError),  # which decrypts to what is in clear
    ):
        with pytest.raises(error):
            asked.ask(**changes)
    asked.ask()  # nothing of all that used the round up


def test_a_key_holder_with_a_roster_adds_what_parties_signed_and_nothing_else() -> None:
    asked = case(signed=True)
    first, second, third = asked.statements
    sums = vectors.Total(asked.plan.scale(secret().public, 1))
    for one in asked.sent:
        sums.add(one)
    plain = replace(third, identity=b"", signature=b"")
    for changes, error in (
        ({"sent": [sums.encode()]}, StatementError),
        ({"sent": [asked.sent[0], asked.sent[1], asked.sent[1]]}, StatementError),
        ({"sent": asked.sent[::-1]}, StatementError),
        ({"statements": [first, second, plain]}, PeerError),
        ({"statements": [first, second, plain.signed(signing_key(99).ed25519)]}, UnknownIdentityError),
        ({"statements": [first, second, plain.signed(signing_key(1).ed25519)]}, StatementError),
        ({"statements": [first, second, replace(plain, vector=second.vector).signed(signing_key(2).ed25519)]}, StatementError),
        ({"statements": [first, second, replace(third, vector=hashlib.sha256(b"").digest())]}, PeerError),
    ):
        with pytest.raises(error):
            asked.ask(**changes)
    assert np.abs(asked.ask() - asked.wanted).max() < 1e-9


def test_a_key_holder_has_a_policy_of_its_own() -> None:
    for policy, error in (
        (Policy(clip=(1.0, 2.0)), PlanError),
        (Policy(min_cohort=4), CohortTooSmallError),
        (Policy(tensors=()), PlanError),
        (Policy(mode=Mode.MALICIOUS), ModeError),
    ):
        with pytest.raises(error):
            case(policy=policy).ask()


def test_the_floor_counts_who_may_be_corrupt() -> None:
    with pytest.raises(CohortTooSmallError):
        case(n=5, signed=True, roster=40).ask()  # of whom 4 may be
    case(n=5, signed=True).ask()
    asked = case(n=4, policy=Policy(gamma=0.5))
    with pytest.raises(CohortTooSmallError):
        asked.ask(statements=asked.statements[:3])
    asked.ask()


# --- settings ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"mode": "malicious", "roster": roster_of(N)},
        {"group_size": 3},
        {"value_bits": 8},
        {"rotation": True},
        {"dp": DistributedDp(l2_clip=1.0, noise_multiplier=1.0, delta=1e-5), "uniform": True},
    ],
)
def test_settings_that_encrypted_sums_cannot_meet_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(LocalError):
        SecureAggregation(apps.only_training(), ckks=CkksSum(secret().public), **fields)


def test_a_coordinator_with_the_secret_is_told_not_to() -> None:
    with pytest.raises(LocalError, match="keep the secret context away"):
        CkksSum(secret())  # type: ignore[arg-type]
    with pytest.raises(LocalError, match="another key"):
        CkksSum(secret().public, key_holder=KeyHolder(stranger(), roster=None))
    small = SecretContext.generate(Parameters.for_depth(0), rotations=False)
    with pytest.raises(LocalError, match=r"no useful precision.*stfed\.flower\.ckks\.SUMS"):
        Scale(small.public, 10, 1_000_000, 3)


# --- numbers -----------------------------------------------------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(n=st.integers(1, 40), size=st.integers(1, 9000), metrics=st.integers(0, 3), seed=st.integers(0, 2**32 - 1))
def test_sums_are_within_their_error_and_the_noise_is_as_wide_as_said(n: int, size: int, metrics: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scale = Scale(secret().public, n, size + metrics + 2, metrics + 2)
    count = min(n, 2)
    numbers = [rng.uniform(-1, 1, scale.numbers) for _ in range(count)]
    total = vectors.Total(scale)
    for one in numbers:
        total.add(vectors.encrypt(scale, one))
    data = total.encode()
    assert len(data) == vectors.size_bytes(scale)
    exact = np.sum(numbers, axis=0)
    bounds = np.repeat((scale.error, scale.scalar_error), (size, metrics + 2))
    off = [vectors.decrypt(secret(), total) - exact for _ in range(2)]
    assert all((np.abs(one) <= bounds).all() for one in off)
    assert scale.scalar_error < n * 1e-15
    bare = vectors.decrypt(secret(), total, draws(scale, *([np.zeros(SUMS.degree, np.int64)] * scale.ciphertexts))) - exact
    assert (np.abs(bare) <= n * scale.context.noise.fresh(2.0, scale.scale) + scale.context.noise.decoding(2.0 * n)).all()
    if size > 1000:
        deviation = math.sqrt(SUMS.degree / 24) * 2.0 ** (scale.noise_bits - scale.scale_bits)  # of the real part of a slot
        assert 0.85 < np.sqrt(np.mean(off[0][:size] ** 2)) / deviation < 1.15, "uniform noise in all coefficients"
        assert not np.allclose(off[0], off[1], atol=0, rtol=1e-3), "of its own each time"


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("doublings", [0, 5, 10])
def test_the_largest_numbers_of_all_parties_do_not_wrap(sign: float, doublings: int) -> None:
    scale = Scale(secret().public, 2**doublings, SUMS.degree, 3)
    total = vectors.Total(scale)
    total.add(vectors.encrypt(scale, np.full(SUMS.degree, sign)))
    for _ in range(doublings):
        total.add(total.encode())
    assert np.abs(vectors.decrypt(secret(), total) - sign * 2**doublings).max() <= scale.error


def test_the_noise_is_what_the_smudging_lemma_asks_for() -> None:
    for parties, numbers in ((3, 40), (10, 1_000_003), (1000, 50_000)):
        scale = Scale(secret().public, parties, numbers, 3)
        mean = parties * (math.sqrt(8192 / 12) + 1)  # of |e|, at most
        distance = -(-(numbers + 6) // 8192) * 8192 * mean / 2.0**scale.noise_bits
        assert 2.0**-41 < 1024 * distance <= 2.0**-40
    scale = Scale(secret().public, 10, 1_000_003, 3)
    assert scale.error / 10 < 3e-9
    assert scale.scalar_error / 10 < 1e-15


def draws(scale: Scale, *polynomials: np.ndarray) -> Any:
    """The entropy of which the noise of one ciphertext after the other is these integers: int64 or Python's own (N,)."""

    def entropy(size_bytes: int) -> bytes:
        rest, found = next(left), []
        for width in reversed(flooding.widths(scale.noise_bits)):
            half = 1 << width - 1
            digit = (rest + half) % (2 * half) - half
            found.insert(0, digit + half)
            rest = (rest - digit) >> width
        assert not rest.any(), "in range"
        drawn = np.stack(found).astype("<u4").tobytes()
        assert len(drawn) == size_bytes
        return drawn

    left = iter(polynomials)
    return entropy


def noise_of(scale: Scale, entropy: Any) -> np.ndarray:
    """The integers that `entropy` draws, as Python's own."""
    found = np.zeros(SUMS.degree, object)
    for width, digit in zip(flooding.widths(scale.noise_bits), flooding.digits(scale, entropy), strict=True):
        found = found * (1 << width) + digit
    return found


def seeded(seed: int) -> Any:
    return np.random.default_rng(seed).bytes


@pytest.mark.parametrize(("parties", "numbers"), [(1, 10), (10, 1_000_000), (60_000, 8192)])
def test_the_noise_is_exactly_the_integers_that_were_drawn(parties: int, numbers: int) -> None:
    """Modulo both primes, at points of the transform: another polynomial of this degree would differ at most of them."""
    scale = Scale(secret().public, parties, numbers, 0)
    context = scale.context
    ciphertext, plaintext = context.arithmetic.zero(scale.left, scale.scale), seal().Plaintext()

    def residues(one: Any) -> np.ndarray:
        return words.unpacked(vectors._encoded(scale, one), words._form(context, scale.left), context.moduli).astype(object)

    roots = np.exp(1j * np.pi * np.array([pow(3, at, 2 * SUMS.degree) for at in range(SUMS.slots)]) / SUMS.degree)
    seal().CKKSEncoder(context.seal_context).encode(roots.tolist(), context.parms_ids[scale.left], 1.0, plaintext)  # X itself
    plaintext.scale, monomial = ciphertext.scale, seal().Ciphertext()
    seal().Evaluator(context.seal_context).add_plain(ciphertext, plaintext, monomial)
    before, after = residues(ciphertext), residues(flooding.flooded(scale, ciphertext, seeded(5)))
    points, found = residues(monomial)[0] - before[0], after[0] - before[0]
    assert (after[1] == before[1]).all()
    drawn = noise_of(scale, seeded(5))
    assert 2 ** (scale.noise_bits - 1) * 0.98 < max(abs(drawn)) <= 2 ** (scale.noise_bits - 1) * 1.001
    assert abs(sum(drawn)) < 6 * math.sqrt(SUMS.degree / 12) * 2**scale.noise_bits
    for at, modulus in enumerate(context.moduli[:-1]):
        for point in (0, 1, 4097, 8191):
            value, x = 0, points[at, point]
            for coefficient in reversed(drawn):
                value = (value * x + int(coefficient)) % modulus
            assert value == found[at, point] % modulus


def test_answers_do_not_tell_ciphertexts_with_noise_from_those_without() -> None:
    """What is drawn for the one and gives an answer has one partner, moved by e, that gives the same bits for the other."""
    scale, rng = Scale(secret().public, 3, SUMS.degree, 0), np.random.default_rng(1)
    context, library = scale.context, seal()
    encoder, evaluator = library.CKKSEncoder(context.seal_context), library.Evaluator(context.seal_context)

    def moved(ciphertext: Any, slots: np.ndarray, held: float) -> Any:
        """Less a plaintext of ours."""
        plaintext, result = library.Plaintext(), library.Ciphertext()
        encoder.encode(slots.tolist(), context.parms_ids[scale.left], held, plaintext)
        plaintext.scale = ciphertext.scale
        evaluator.sub_plain(ciphertext, plaintext, result)
        return result

    total, clear = vectors.Total(scale), vectors.Total(scale)
    parties = [rng.uniform(-1, 1, SUMS.degree) for _ in range(3)]
    parties[2][:1000] = -parties[0][:1000] - parties[1][:1000]  # a sum of nearly nothing, too
    parties[2] = parties[2].clip(-1, 1)
    for numbers in parties:
        total.add(vectors.encrypt(scale, numbers))

    def less_the_message(ciphertext: Any) -> Any:
        for numbers in parties:
            ciphertext = moved(ciphertext, numbers[: SUMS.slots] + 1j * numbers[SUMS.slots :], scale.scale)
        ciphertext.scale = 1.0
        return secret().slots(ciphertext)

    powers = np.array([pow(3, at, 2 * SUMS.degree) for at in range(SUMS.slots)])
    values, slots = np.zeros(2 * SUMS.degree, complex), less_the_message(total.ciphertexts[0])
    values[powers], values[-powers] = slots, slots.conj()
    found = np.fft.fft(values)[: SUMS.degree].real / SUMS.degree
    noise = np.rint(found).astype(np.int64)  # e, which nobody can know
    assert np.abs(found - noise).max() < 1e-6
    assert 5 < np.abs(noise).mean() <= 3 * scale.own_noise
    clear.ciphertexts, clear.count = [moved(total.ciphertexts[0], slots, 1.0)], 3
    assert not less_the_message(clear.ciphertexts[0]).any(), "no noise at all is left"

    assert (secret().slots(total.ciphertexts[0]) != secret().slots(clear.ciphertexts[0])).any(), "which would tell"
    for seed in range(3):
        drawn = noise_of(scale, seeded(seed))
        answer = vectors.decrypt(secret(), total, draws(scale, drawn))
        assert np.array_equal(answer, vectors.decrypt(secret(), total, seeded(seed)))
        assert np.array_equal(answer, vectors.decrypt(secret(), clear, draws(scale, drawn + noise)))
        ours, theirs, others = (
            vectors._encoded(scale, flooding.flooded(scale, one.ciphertexts[0], draws(scale, drawn + shift)))
            for one, shift in ((total, noise * 0), (clear, noise), (clear, noise[::-1]))
        )
        assert ours == theirs != others, "also what is decrypted, down to the last bit"
    assert 1024 * int(np.abs(noise).sum()) <= 2 ** (scale.noise_bits - 40), "draws without a partner, of all that a key pair decrypts"


def test_who_may_choose_what_is_decrypted_has_the_key() -> None:
    """Why there is no malicious mode: (0, D) decrypts to D times the secret key, and no noise that leaves a mean hides that."""
    scale = Scale(secret().public, 3, SUMS.degree, 0)
    chosen = np.zeros((2, SUMS.depth + 1, SUMS.degree), np.uint64)
    for at, modulus in enumerate(scale.context.moduli[:-1]):
        chosen[1, at] = int(scale.scale / 500) % modulus
    total = vectors.Total(scale)
    total.add(words.packed(chosen, scale.context.moduli))
    found = vectors.decrypt(secret(), total)
    assert np.abs(found).max() < 1, "it looks like a sum"
    slots = found[: SUMS.slots] + 1j * found[SUMS.slots :]
    powers = np.array([pow(3, at, 2 * SUMS.degree) for at in range(SUMS.slots)])  # the roots of the slots, in SEAL's order
    values = np.zeros(2 * SUMS.degree, complex)
    values[powers], values[-powers] = slots, slots.conj()
    key = np.fft.fft(values)[: SUMS.degree].real / SUMS.degree * 500
    assert np.abs(key - np.rint(key)).max() < 1e-3
    assert {-1.0, 0.0, 1.0} == set(np.unique(np.rint(key)))
    assert all(2500 < count < 3000 for count in np.unique(np.rint(key), return_counts=True)[1]), "uniform and ternary, as secrets are"


@given(
    clip=st.floats(1e-3, 100),
    weight=st.one_of(st.integers(0, 1000), st.floats(0, 1000)),
    value=st.floats(-2000, 2000),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=40, deadline=None)
def test_numbers_and_back_are_the_weighted_mean(clip: float, weight: float, value: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    received = {"a": rng.normal(size=(3, 2)), "n": rng.integers(-50, 50, 4), "b": rng.normal(size=3).astype(np.float32)}
    plan = SumPlan.of(received, 3, clip=clip, max_weight=1000.0)
    assert SumPlan.read(plan.encode()) == plan
    sums, wanted = np.zeros(plan.length(1)), {name: np.zeros(array.shape) for name, array in received.items()}
    weights = [weight, 3.0, 40.0]
    for own in weights:
        trained = {name: (array + rng.integers(-5, 5, array.shape)).astype(array.dtype) for name, array in received.items()}
        numbers, schema = numbers_of(plan, received, trained, own, {"loss": value})
        assert np.abs(numbers).max() <= 1
        sums += numbers
        for name, array in received.items():
            change = trained[name].astype(float) - array
            wanted[name] += own * (np.clip(change, -clip, clip) if array.dtype.kind == "f" else change)
    found = decode(plan, average(plan, sums, 3, 0.0, 0.0), 3, 0.0, 0.0, received, schema)
    assert found.total_weight == pytest.approx(sum(weights))
    assert found.metrics == {"loss": pytest.approx(value, abs=1e-9)}
    assert list(found.arrays) == list(received)
    for name, array in received.items():
        off = np.abs(np.asarray(found.arrays[name], float) - (array + wanted[name] / sum(weights))).max()
        assert off <= (0.5 + 1e-9 if name == "n" else 1e-5), name


def test_means_that_no_parties_can_have_are_refused() -> None:
    received = {"w": np.zeros(4, np.float32)}
    plan = SumPlan.of(received, 3)
    good = np.array([0.1] * 4 + [0.0] + [1.5, 0.0])
    schema = MetricSchema(("loss",))
    decode(plan, good, 3, 1e-9, 1e-9, received, schema)
    for at, value in ((0, 1.1), (4, -1.1), (5, 3.1), (5, 0.0), (6, 4.0), (6, -4.0), (0, math.nan)):
        bad = good.copy()
        bad[at] = value
        with pytest.raises(PeerError):
            decode(plan, bad, 3, 1e-9, 1e-9, received, schema)
    with pytest.raises(PeerError):
        decode(plan, good[:-1], 3, 1e-9, 1e-9, received, schema)
    with pytest.raises(QuorumError, match="no weight"):
        average(plan, np.array([0.0] * 7), 3, 1e-9, 1e-9)
    with pytest.raises(PeerError):
        average(plan, np.array([3.1] + [0.1] * 6), 3, 1e-9, 1e-9)


SAMPLES = [
    Who(b"w" * 32),
    Here(),
    Here(b"f" * 32, True, b"s" * 64),
    Train(Round(b"f" * 32, 2**63 + 1, 3), b"plan"),
    Statement(Round(b"f" * 32, 1, 2), b"p" * 32, Phase.EVALUATE, b"c" * 32, b"b" * 32, b"s", b"v" * 32, 3).signed(signing_key(1).ed25519),
    Sum(Round(b"f" * 32, 1, 2), b"plan", (b"a", b"bc")),
    Mean(Round(b"f" * 32, 1, 2), b"s" * 64),
]


@pytest.mark.parametrize("message", SAMPLES, ids=lambda message: type(message).__name__)
def test_messages_have_one_encoding_and_no_other(message: Any) -> None:
    data = messages.encode(message)
    assert messages.decode(type(message), data) == message
    assert messages.kind_of(data) is message.KIND
    for cut in range(len(data)):
        with pytest.raises(DecodeError):
            messages.decode(type(message), data[:cut])
    with pytest.raises(DecodeError):
        messages.decode(type(message), data + b"\0")
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1
        with suppress(DecodeError):
            assert messages.decode(type(message), bytes(changed)) != message


def test_a_flag_is_zero_or_one() -> None:
    data = bytearray(messages.encode(Here(b"f" * 32, True)))
    data[data.index(b"f" * 32) + 32] = 2
    with pytest.raises(DecodeError, match="one encoding"):
        messages.decode(Here, bytes(data))


def test_a_signature_is_for_every_field() -> None:
    statement = SAMPLES[4]
    assert isinstance(statement, Statement)
    statement.check_signature()
    other = b"x" * 32
    changes: list[dict[str, Any]] = [{name: other} for name in ("plan", "content", "bound", "vector", "schema")]
    changes += [{"round": replace(statement.round, number=9)}, {"round": replace(statement.round, run=9)}, {"phase": Phase.TRAIN}]
    changes += [{"least": 2}]
    changes += [{"identity": signing_key(2).ed25519.public_bytes}]
    for change in changes:
        with pytest.raises(PeerError):
            replace(statement, **change).check_signature()


def test_the_strategy_may_not_use_our_record() -> None:
    grid = federation()
    content = apps.messages(grid, nodes=[0])[0].content
    content[carriage.RECORD] = ConfigRecord()
    with pytest.raises(LocalError, match="give that record another name"):
        carriage.beside(content, b"")
    assert records.RECORD != carriage.RECORD
