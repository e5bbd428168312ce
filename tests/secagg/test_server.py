"""The coordinator against parties that misbehave: who is dropped, why, and that the others' sum is exact all the same, or is none."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Collection
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stfed.crypto import aead, agreement, shamir
from stfed.encoding import MetricSchema, Vector, pack_vector
from stfed.errors import LocalError, PeerError, QuorumError
from stfed.secagg import keys
from stfed.secagg.messages import Header, Join, JoinRequest, Masked, Prepare, ShareOf, Unmask
from stfed.secagg.params import Mode
from stfed.secagg.party import Party
from stfed.secagg.server import DealerFaultError, DropReason, Joining, Preparing, Sum, Unmasking
from stfed.secagg.store import MemoryStore
from tests.secagg.scene import NO_METRICS, VICTIM, Scene, assert_equal, join_request, plan_of, sum_of, without

NAME = f"node {VICTIM}"


def vector_of(scene: Scene) -> Callable[[int], Vector]:
    return lambda node: deepcopy(scene.vectors[node])


def ended_without(scene: Scene, reason: DropReason, step: str, detail: str = "") -> None:
    """The round goes on to the others' exact sum; the victim is the one drop, for this reason."""
    match scene.step:
        case "prepare":
            collecting = scene.protocol.train(scene.preparing, vector_of(scene), scene.content, missing={VICTIM})
            result = scene.protocol.unmask(collecting)
        case "train":
            result = scene.protocol.unmask(scene.collecting)
        case _:
            result = scene.unmasking.close()
    drop = result.drops[scene.index]
    assert (drop.step, drop.reason) == (step, reason)
    assert detail in drop.detail
    assert set(result.drops) == {scene.index}
    summed = range(scene.n) if step == "unmask" else [node for node in range(scene.n) if node != VICTIM]
    assert len(result.survivors) == len(summed)
    assert_equal(result.total, sum_of(scene.plan, scene.vectors, summed))


# --- JOIN --------------------------------------------------------------------------------------------------------------------------------

HEADER = Header(7, 1, 0)


def join_of(seed: int, **changes: Any) -> bytes:
    join = Join(header=HEADER, identity=bytes((seed,)) * 32, public_key=agreement.public_key(bytes((seed,)) * 32))
    return replace(join, **changes).encode()


def joining(*nodes: int) -> Joining:
    step = Joining(HEADER, Mode.SEMI_HONEST)
    for node in nodes:
        step.add(node, join_of(node))
    return step


def test_the_directory_is_sorted_and_knows_whose_join_is_where() -> None:
    enrolment = joining(3, 1, 2).close()
    assert enrolment.nodes == (1, 2, 3)
    assert enrolment.index_of() == {1: 0, 2: 1, 3: 2}
    assert enrolment.names() == ("node 1", "node 2", "node 3")
    assert enrolment.directory.encoded == tuple(map(join_of, (1, 2, 3)))


def test_what_joining_asks_for_is_what_parties_answer() -> None:
    step = Joining(HEADER, Mode.SEMI_HONEST)
    assert step.request() == JoinRequest.decode(join_request())
    step.add(5, Party(MemoryStore()).answer(step.request().encode()))
    assert step.close().nodes == (5,)


@pytest.mark.parametrize(
    ("data", "detail"),
    [
        (b"", "version"),
        (join_of(9)[:-1], "signature"),
        (join_request(), "expected JOIN"),
        (join_of(9, header=replace(HEADER, run=8)), "another run, epoch or suite"),
        (join_of(9, header=replace(HEADER, round=1)), "another run, epoch or suite"),
        (join_of(9, public_key=bytes(32)), "low order"),
        (join_of(9, public_key=b"\xff" * 32), "canonical"),
        (join_of(9, signature=bytes(64)), "is signed"),
        (join_of(9, identity=bytes((1,)) * 32), "another party's"),
        (join_of(9, public_key=agreement.public_key(bytes((1,)) * 32)), "another party's"),
    ],
)
def test_a_join_that_would_spoil_the_directory_drops_its_sender_only(data: bytes, detail: str) -> None:
    step = joining(1, 2)
    step.add(9, data)
    assert (step.drops[9].step, step.drops[9].reason) == ("join", DropReason.MALFORMED)
    assert detail in step.drops[9].detail
    assert step.close().nodes == (1, 2)


def test_the_first_join_of_a_node_counts() -> None:
    step = joining(1, 2)
    step.add(1, join_of(1))
    step.add(1, join_of(9))
    step.add(2, b"")
    assert step.drops == {}
    assert step.close().directory.encoded == (join_of(1), join_of(2))


def test_a_node_that_was_dropped_stays_dropped() -> None:
    step = joining(1, 2)
    step.add(3, b"")
    step.add(3, join_of(3))
    assert step.close().nodes == (1, 2)


def test_nobody_joined() -> None:
    step = joining()
    step.add(3, b"")
    with pytest.raises(QuorumError, match="no party joined") as caught:
        step.close()
    assert caught.value.missing == ("node 3",)


# --- PREPARE -----------------------------------------------------------------------------------------------------------------------------


def prepare_of(scene: Scene) -> Prepare:
    return Prepare.decode(scene.answer(scene.request))


PREPARES: list[tuple[str, Callable[[Prepare], bytes], str]] = [
    ("nothing", lambda _: b"", "version"),
    ("a cut message", lambda p: p.encode()[:-1], "signature"),
    ("another kind", lambda _: join_request(), "expected PREPARE"),
    ("another round", lambda p: replace(p, header=replace(p.header, round=2)).encode(), "another round"),
    ("another run", lambda p: replace(p, header=replace(p.header, run=8)).encode(), "another round"),
    ("too few shares", lambda p: replace(p, dealt=p.dealt[1:]).encode(), "deals shares to 4 neighbours, k = 5"),
    ("too many shares", lambda p: replace(p, dealt=(*p.dealt, p.dealt[0])).encode(), "deals shares to 6 neighbours, k = 5"),
    ("a short box", lambda p: replace(p, box=p.box[:-1]).encode(), "box has the wrong size"),
    ("a long box", lambda p: replace(p, box=p.box + bytes(32)).encode(), "box has the wrong size"),
]


@pytest.mark.parametrize(("violation", "detail"), [case[1:] for case in PREPARES], ids=[case[0] for case in PREPARES])
def test_a_malformed_prepare_costs_its_sender_the_round(violation: Callable[[Prepare], bytes], detail: str) -> None:
    scene = Scene().at("prepare")
    scene.preparing.add(scene.index, violation(prepare_of(scene)))
    ended_without(scene, DropReason.MALFORMED, "prepare", detail)


def test_a_party_that_answers_prepare_with_an_error_is_dropped() -> None:
    scene = Scene().at("prepare")
    scene.preparing.fail(scene.index, "policy")
    scene.preparing.add(scene.index, scene.answer(scene.request))
    ended_without(scene, DropReason.ERROR_REPLY, "prepare", "policy")


def test_a_party_that_does_not_prepare_is_dropped() -> None:
    ended_without(Scene().at("prepare"), DropReason.NO_REPLY, "prepare")


def test_the_first_prepare_counts_and_strangers_do_not() -> None:
    scene = Scene().at("prepare")
    reply = scene.answer(scene.request)
    scene.preparing.add(scene.index, reply)
    scene.preparing.add(scene.index, b"")
    scene.preparing.add(scene.index, Prepare.decode(reply).encode()[:-1])
    scene.preparing.fail(scene.index, "late")
    for stranger in (6, 99, -1):
        scene.preparing.add(stranger, reply)
        scene.preparing.fail(stranger, "who")
    assert scene.preparing.drops == {}
    scene.finishes()


def test_a_late_prepare_is_not_in_the_round() -> None:
    scene = Scene().at("prepare")
    reply = scene.answer(scene.request)
    collecting = scene.preparing.close(scene.content)
    scene.preparing.add(scene.index, reply)
    assert scene.index not in collecting.alive
    assert collecting.drops[scene.index].reason is DropReason.NO_REPLY


def test_a_cohort_that_the_encoding_is_not_sized_for_is_our_own_mistake() -> None:
    scene = Scene().at("prepare")
    facts = replace(scene.preparing.facts, plan=plan_of(5).encode())
    with pytest.raises(LocalError, match="sized for 5 parties, the cohort has 6"):
        Preparing(facts, [NAME] * 6, 3)


def test_too_few_prepares_name_who_is_missing_and_why() -> None:
    scene = Scene().at("prepare")
    step = Preparing(scene.preparing.facts, scene.protocol.enrolment.names(), 3)  # type: ignore[union-attr]
    step.add(scene.index, scene.answer(scene.request))
    step.add(scene.others[0], b"")
    step.fail(scene.others[1], "its policy")
    with pytest.raises(QuorumError, match="0 of 6 parties are left after PREPARE, 3 are needed") as caught:
        step.close(scene.content)
    assert len(caught.value.missing) == 6
    assert NAME in caught.value.missing
    assert step.drops[scene.index].reason is DropReason.TOO_FEW_HOLDERS
    for why in (": malformed message", ": error reply (its policy)"):
        assert why in str(caught.value)
    assert str(caught.value).count("no reply") == 1, "a reason is there once, with all of its parties"


def test_a_reason_of_many_names_a_few_of_them() -> None:
    scene = Scene(9).at("prepare")
    step = Preparing(scene.preparing.facts, scene.protocol.enrolment.names(), 3)  # type: ignore[union-attr]
    for party in scene.others:
        step.fail(party, "its policy")
    step.fail(scene.index, "another one")
    with pytest.raises(
        QuorumError, match=r"\((node \d, ){5}and 3 more: error reply \(its policy\); node \d: error reply \(another one\)\)"
    ):
        step.close(scene.content)


def test_a_party_with_fewer_than_t_share_holders_is_dropped_and_so_on_until_nothing_changes() -> None:
    scene = Scene(9).at("prepare")
    assert scene.parameters.t == 5
    step = Preparing(scene.preparing.facts, scene.protocol.enrolment.names(), 2)  # type: ignore[union-attr]
    alive = sorted({scene.index, *scene.others[:4]})
    for party in alive:
        step.add(party, scene.answer(scene.request) if party == scene.index else scene.preparing._prepares[party].encode())
    with pytest.raises(QuorumError, match="0 of 9 parties are left"):
        step.close(scene.content)
    assert {party for party, drop in step.drops.items() if drop.reason is DropReason.TOO_FEW_HOLDERS} == set(alive)


# --- commitments to pairwise seeds -------------------------------------------------------------------------------------------------------


def contradicted(scene: Scene, lies: Collection[tuple[int, int]]) -> dict[int, DropReason]:
    """Who is dropped when these parties publish another commitment for the edges to these neighbours."""
    step = Preparing(scene.preparing.facts, scene.protocol.enrolment.names(), 2)  # type: ignore[union-attr]
    for party, prepare in scene.preparing._prepares.items():
        dealt = list(prepare.dealt)
        for other in without(tuple(range(scene.n)), party):
            if (party, other) in lies:
                at = other if other < party else other - 1
                dealt[at] = replace(dealt[at], seed_commitment=hashlib.sha256(bytes((party, other))).digest()[:16])
        step.add(party, replace(prepare, dealt=tuple(dealt)).encode())
    with contextlib.suppress(QuorumError):
        step.close(scene.content)
    return {party: drop.reason for party, drop in step.drops.items() if drop.reason is DropReason.COMMITMENT_MISMATCH}


def everybody_prepared() -> Scene:
    scene = Scene(8).at("prepare")
    scene.preparing.add(scene.index, scene.answer(scene.request))
    return scene


PREPARED = everybody_prepared()


def test_a_party_that_contradicts_two_neighbours_or_more_is_dropped_alone() -> None:
    for neighbours in ((1, 2), (1, 2, 3, 4, 5, 6, 7)):
        assert set(contradicted(PREPARED, [(0, other) for other in neighbours])) == {0}


def test_of_one_contradicted_edge_both_ends_go_and_neither_is_framed() -> None:
    assert set(contradicted(PREPARED, [(0, 5)])) == set(contradicted(PREPARED, [(5, 0)])) == {0, 5}


def test_the_most_contradicted_go_first_and_clear_the_others() -> None:
    lies = [(0, other) for other in range(1, 8)] + [(3, other) for other in (1, 2, 4)]
    assert set(contradicted(PREPARED, lies)) == {0, 3}


def test_no_contradiction_drops_nobody() -> None:
    assert contradicted(PREPARED, []) == {}


@settings(max_examples=60, deadline=None)
@given(lies=st.sets(st.tuples(st.integers(0, 7), st.integers(0, 7)).filter(lambda edge: edge[0] != edge[1]), max_size=14))
def test_no_contradiction_is_left_and_nobody_goes_without_one(lies: set[tuple[int, int]]) -> None:
    dropped = set(contradicted(PREPARED, lies))
    edges = {frozenset(edge) for edge in lies}
    assert all(edge & dropped for edge in edges)
    assert dropped <= {party for edge in edges for party in edge}


def test_a_liar_is_dropped_and_the_others_sum_is_exact() -> None:
    scene = Scene().at("prepare")
    reply = prepare_of(scene)
    lies = tuple(replace(item, seed_commitment=bytes(16)) for item in reply.dealt)
    scene.preparing.add(scene.index, replace(reply, dealt=lies).encode())
    ended_without(scene, DropReason.COMMITMENT_MISMATCH, "prepare", "5 neighbours published another commitment")


# --- TRAIN -------------------------------------------------------------------------------------------------------------------------------


def sent(scene: Scene, schema: bytes = NO_METRICS, ring: Vector | None = None) -> tuple[Masked, bytes]:
    """The victim's masked vector and the message beside it, not yet given to the coordinator."""
    ticket = scene.start()
    vector = deepcopy(scene.vectors[VICTIM]) if ring is None else ring
    ticket.masks.apply(vector)
    payload = pack_vector(vector, scene.plan)
    return Masked.decode(scene.party.finish_training(ticket, schema, len(payload))), payload


def metrics(*names: str) -> bytes:
    return MetricSchema(tuple(sorted(names))).encode()


VECTORS: list[tuple[str, Callable[[Masked, bytes], tuple[bytes, bytes]], str]] = [
    ("no message", lambda m, p: (b"", p), "version"),
    ("another kind", lambda m, p: (join_request(), p), "expected MASKED"),
    ("another round", lambda m, p: (replace(m, header=replace(m.header, round=2)).encode(), p), "another round"),
    ("a short vector", lambda m, p: (replace(m, payload_bytes=len(p) - 1).encode(), p[:-1]), "bytes"),
    ("an oversized vector", lambda m, p: (replace(m, payload_bytes=4 * len(p)).encode(), 4 * p), "bytes"),
    ("no vector", lambda m, p: (replace(m, payload_bytes=0).encode(), b""), "bytes"),
    ("a length that is not the vector's", lambda m, p: (replace(m, payload_bytes=len(p) + 1).encode(), p), "bytes"),
    ("a digest that is not the vector's", lambda m, p: (replace(m, payload_digest=bytes(32)).encode(), p), "does not fit its digest"),
    ("padding that is not zero", lambda m, p: (m.encode(), set_byte(p, 66, p[66] | 0x80)), "padding"),
    ("a limb of more than 30 bits", lambda m, p: (m.encode(), set_byte(p, -1, 0xFF)), "more than 30 bits"),
    ("metrics that are none", lambda m, p: (replace(m, schema=b"\xff").encode(), p), "metrics"),
    ("more metrics than there is room for", lambda m, p: (replace(m, schema=metrics("a")).encode(), p), "more metrics than the 0"),
]


def set_byte(data: bytes, at: int, value: int) -> bytes:
    changed = bytearray(data)
    changed[at] = value
    return bytes(changed)


@pytest.mark.parametrize(("violation", "detail"), [case[1:] for case in VECTORS], ids=[case[0] for case in VECTORS])
def test_a_malformed_vector_costs_its_sender_the_round(violation: Callable[[Masked, bytes], tuple[bytes, bytes]], detail: str) -> None:
    scene = Scene(ring_bits=13, size=41).at("train")  # 41 words of 13 bits: 67 bytes, with three bits of padding in the last one
    scene.collecting.add(scene.index, *violation(*sent(scene)))
    ended_without(scene, DropReason.MALFORMED, "train", detail)


def test_a_digest_that_is_the_vectors_is_taken() -> None:
    scene = Scene().at("train")
    masked, payload = sent(scene)
    scene.collecting.add(scene.index, replace(masked, payload_digest=hashlib.sha256(payload).digest()).encode(), memoryview(payload))
    assert_equal(scene.protocol.unmask(scene.collecting).total, sum_of(scene.plan, scene.vectors, range(6)))


def test_a_party_that_answers_train_with_an_error_is_dropped() -> None:
    scene = Scene().at("train")
    scene.collecting.fail(scene.index, "out of memory")
    masked, payload = sent(scene)
    scene.collecting.add(scene.index, masked.encode(), payload)
    ended_without(scene, DropReason.ERROR_REPLY, "train", "out of memory")


def test_a_party_that_sends_no_vector_is_dropped() -> None:
    ended_without(Scene().at("train"), DropReason.NO_REPLY, "train")


def test_the_first_vector_counts_once_and_strangers_do_not() -> None:
    scene = Scene().at("train")
    masked, payload = sent(scene)
    for _ in range(3):
        scene.collecting.add(scene.index, masked.encode(), payload)
    scene.collecting.add(scene.index, b"", b"")
    scene.collecting.fail(scene.index, "late")
    for stranger in (6, 99, -1):
        scene.collecting.add(stranger, masked.encode(), payload)
        scene.collecting.fail(stranger, "who")
    result = scene.protocol.unmask(scene.collecting)
    assert result.drops == {}
    assert_equal(result.total, sum_of(scene.plan, scene.vectors, range(6)))


def test_a_late_vector_is_never_added_and_its_sender_keeps_its_self_mask() -> None:
    scene = Scene().at("train")
    masked, payload = sent(scene)
    scene.unmasking = scene.collecting.close()
    scene.collecting.add(scene.index, masked.encode(), payload)
    scene.request = scene.unmasking.request()
    assert scene.index not in scene.request.survivors
    released = [Unmask.decode(reply).shares[without(tuple(range(6)), holder).index(scene.index)] for holder, reply in others_unmask(scene)]
    assert {of for of, _ in released} == {ShareOf.BOX_KEY}
    result = scene.unmasking.close()
    assert_equal(result.total, sum_of(scene.plan, scene.vectors, [node for node in range(6) if node != VICTIM]))


def others_unmask(scene: Scene) -> list[tuple[int, bytes]]:
    """Gives the coordinator everybody else's UNMASK; and who said what."""
    assert scene.protocol.enrolment is not None
    parties = [scene.protocol.parties[node] for node in scene.protocol.enrolment.nodes]
    replies = [(holder, parties[holder].answer(scene.request.encode())) for holder in scene.others]
    for holder, reply in replies:
        scene.unmasking.add(holder, reply)
    return replies


def test_metrics_that_most_do_not_have_cost_their_sender_the_round_even_if_it_was_first() -> None:
    scene = Scene(metric_slots=3).at("prepare")
    scene.preparing.add(scene.index, scene.answer(scene.request))
    collecting = scene.preparing.close(scene.content)
    scene.collecting, scene.request, scene.step = collecting, collecting.request(scene.index), "train"
    masked, payload = sent(scene, metrics("loss", "only mine"))
    collecting.add(scene.index, masked.encode(), payload)
    others_train(scene, lambda _: metrics("loss"))
    ended_without(scene, DropReason.OTHER_METRICS, "train", "other names")


def others_train(scene: Scene, schema_of: Callable[[int], bytes]) -> None:
    assert scene.protocol.enrolment is not None
    for index in scene.others:
        node = scene.protocol.enrolment.nodes[index]
        party = scene.protocol.parties[node]
        ticket = party.start_training(scene.collecting.request(index).encode(), scene.content)
        vector = deepcopy(scene.vectors[node])
        ticket.masks.apply(vector)
        payload = pack_vector(vector, scene.plan)
        scene.collecting.add(index, party.finish_training(ticket, schema_of(index), len(payload)), payload)


def test_there_is_a_limit_to_how_many_kinds_of_metrics_are_kept_apart() -> None:
    """Each has a sum as large as the model; what comes with a fifth kind is dropped at once."""
    scene = Scene(9, metric_slots=3).at("prepare")
    scene.preparing.add(scene.index, scene.answer(scene.request))
    scene.collecting = scene.preparing.close(scene.content)
    others_train(scene, lambda index: metrics(str(index)))
    dropped = [drop.reason for drop in scene.collecting.drops.values()]
    assert dropped == [DropReason.OTHER_METRICS] * 4
    with pytest.raises(QuorumError, match="1 of 9 parties sent an update, 3 are needed") as caught:
        scene.collecting.close()
    assert len(caught.value.missing) == 8


def test_too_few_vectors_name_who_is_missing() -> None:
    scene = Scene().at("prepare")
    scene.preparing.add(scene.index, scene.answer(scene.request))
    scene.collecting = scene.preparing.close(scene.content)
    scene.request = scene.collecting.request(scene.index)
    scene.send_vector(scene.start())
    with pytest.raises(QuorumError, match="1 of 6 parties sent an update, 3 are needed") as caught:
        scene.collecting.close()
    assert set(caught.value.missing) == {f"node {node}" for node in range(6) if node != VICTIM}


def test_no_vector_at_all_is_no_sum() -> None:
    scene = Scene().at("prepare")
    with pytest.raises(QuorumError, match="0 of 6 parties sent an update"):
        scene.preparing.close(scene.content).close()


# --- UNMASK ------------------------------------------------------------------------------------------------------------------------------


def unmask_of(scene: Scene) -> Unmask:
    return Unmask.decode(scene.answer(scene.request))


def with_share(unmask: Unmask, at: int, of: ShareOf, share: bytes) -> bytes:
    return replace(unmask, shares=(*unmask.shares[:at], (of, share), *unmask.shares[at + 1 :])).encode()


UNMASKS: list[tuple[str, Callable[[Unmask], bytes], str]] = [
    ("nothing", lambda _: b"", "version"),
    ("another kind", lambda _: join_request(), "expected UNMASK"),
    ("another round", lambda u: replace(u, header=replace(u.header, round=2)).encode(), "another round"),
    ("too few shares", lambda u: replace(u, shares=u.shares[1:]).encode(), "4 shares, 5 are due"),
    ("too many shares", lambda u: replace(u, shares=(*u.shares, u.shares[0])).encode(), "6 shares, 5 are due"),
    ("a share of the wrong secret", lambda u: with_share(u, 2, ShareOf.BOX_KEY, u.shares[2][1]), "wrong secret"),
    ("a limb that is not in the field", lambda u: with_share(u, 2, u.shares[2][0], b"\xff" * 32), "not below 65521"),
]


@pytest.mark.parametrize(("violation", "detail"), [case[1:] for case in UNMASKS], ids=[case[0] for case in UNMASKS])
def test_a_malformed_unmask_is_named_and_the_round_completes(violation: Callable[[Unmask], bytes], detail: str) -> None:
    scene = Scene().at("unmask")
    scene.unmasking.add(scene.index, violation(unmask_of(scene)))
    ended_without(scene, DropReason.MALFORMED, "unmask", detail)


@pytest.mark.parametrize("at", range(5))
def test_a_wrong_share_names_its_holder_and_the_round_completes(at: int) -> None:
    scene = Scene().at("unmask")
    unmask = unmask_of(scene)
    of, share = unmask.shares[at]
    wrong = shamir.to_bytes((shamir.from_bytes(share) + np.uint16(1)) % np.uint16(shamir.PRIME))
    scene.unmasking.add(scene.index, with_share(unmask, at, of, wrong))
    dealer = scene.protocol.enrolment.names()[scene.others[at]]  # type: ignore[union-attr]
    ended_without(scene, DropReason.WRONG_SHARE, "unmask", f"its share of {dealer}'s secret")


def test_a_wrong_share_is_not_used_and_the_same_holders_right_ones_are() -> None:
    scene = Scene().at("unmask")
    unmask = unmask_of(scene)
    scene.unmasking._counts[:] = 0  # as if nobody had answered before
    scene.unmasking.add(scene.index, with_share(unmask, 0, unmask.shares[0][0], bytes(32)))
    gained = {dealer for dealer, row in scene.unmasking._row.items() if scene.unmasking._counts[row]}
    assert gained == set(scene.others[1:])


def test_a_party_that_answers_unmask_with_an_error_stays_in_the_sum() -> None:
    scene = Scene().at("unmask")
    scene.unmasking.fail(scene.index, "state lost")
    scene.unmasking.add(scene.index, scene.answer(scene.request))
    ended_without(scene, DropReason.ERROR_REPLY, "unmask", "state lost")


def test_the_first_unmask_counts_and_strangers_do_not() -> None:
    scene = Scene().at("unmask")
    reply = scene.answer(scene.request)
    scene.unmasking.add(scene.index, reply)
    scene.unmasking.add(scene.index, b"")
    scene.unmasking.fail(scene.index, "late")
    for stranger in (6, 99, -1):
        scene.unmasking.add(stranger, reply)
        scene.unmasking.fail(stranger, "who")
    result = scene.unmasking.close()
    assert result.drops == {}
    assert_equal(result.total, sum_of(scene.plan, scene.vectors, range(6)))


def test_an_unmask_of_a_party_that_is_not_in_the_sum_is_not_heard() -> None:
    scene = Scene().at("train")
    masked, payload = sent(scene)
    unmasking = scene.collecting.close()
    everybody = replace(unmasking.request(), survivors=tuple(range(6)))
    unmasking.add(scene.index, scene.answer(everybody))
    assert not unmasking._counts.any()
    assert masked.payload_bytes == len(payload)


def test_complete_says_when_nobody_has_to_be_waited_for() -> None:
    scene = Scene().at("train")
    scene.send_vector(scene.start())
    unmasking = scene.collecting.close()
    answered = 0
    assert scene.protocol.enrolment is not None
    for index in unmasking.survivors:
        assert not unmasking.complete()
        reply = scene.protocol.parties[scene.protocol.enrolment.nodes[index]].answer(unmasking.request().encode())
        unmasking.add(index, reply)
        answered += 1
        if unmasking.complete():
            break
    # Each of the first t + 1 lacks a share of its own; everybody has t others after t + 1 answers.
    assert answered == scene.parameters.t + 1
    assert_equal(unmasking.close().total, sum_of(scene.plan, scene.vectors, range(6)))


def test_too_few_right_shares_release_nothing() -> None:
    scene = Scene().at("train")
    scene.send_vector(scene.start())
    unmasking: Unmasking = scene.collecting.close()
    assert scene.protocol.enrolment is not None
    for count, index in enumerate(unmasking.survivors):
        unmask = Unmask.decode(scene.protocol.parties[scene.protocol.enrolment.nodes[index]].answer(unmasking.request().encode()))
        wrong = tuple((of, bytes(32)) for of, _ in unmask.shares)
        unmasking.add(index, unmask.encode() if count < 3 else replace(unmask, shares=wrong).encode())
    masked = deepcopy(unmasking._total)
    with pytest.raises(QuorumError, match="the secrets of 3 parties have fewer than t = 3 shares"):
        unmasking.close()
    assert_equal(unmasking._total, masked)


# --- dealers that lie --------------------------------------------------------------------------------------------------------------------


def lying(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, lie: Callable[..., Any], scene: Scene) -> None:
    """The victim prepares with one function of its code replaced; everybody else, the coordinator included, is honest."""
    with monkeypatch.context() as patch:
        patch.setattr(module, name, lie)
        scene.preparing.add(scene.index, scene.answer(scene.request))


def carried_on(scene: Scene, *, alive: bool) -> Sum:
    """The rest of the round, in which the victim sends its vector or does not."""
    missing = set() if alive else {VICTIM}
    return scene.protocol.unmask(scene.protocol.train(scene.preparing, vector_of(scene), scene.content, missing=missing))


honest_seal, honest_share = aead.seal, shamir.share


def other_content(key: bytes, nonce: bytes, plaintext: bytes, associated_data: bytes) -> bytes:
    """Seals the box over other seeds, and the shares, which are shorter, as they are."""
    return honest_seal(key, nonce, plaintext if len(plaintext) == 64 else bytes(len(plaintext)), associated_data)


def no_polynomial(secrets: Any, threshold: int, points: Any, entropy: Any) -> Any:
    """Shares that lie on no polynomial of degree t - 1."""
    return honest_share(secrets, len(points), points, entropy)


DEALERS: list[tuple[str, Any, str, Callable[..., Any], str, list[bool]]] = [
    ("a commitment to another b", keys, "commit_self_seed", lambda *_: bytes(32), "not the one it committed to", [True]),
    ("a commitment to another z", keys, "commit_box_key", lambda *_: bytes(32), "not the one it committed to", [False]),
    ("shares of no polynomial", shamir, "share", no_polynomial, "not the one it committed to", [True, False]),
    ("a box under another key", keys, "box_key", lambda *_: bytes(32), "its box does not open", [False]),
    ("other seeds in the box", aead, "seal", other_content, "its box holds another seed", [False]),
]


@pytest.mark.parametrize(("module", "name", "lie", "why", "found"), [case[1:] for case in DEALERS], ids=[case[0] for case in DEALERS])
def test_a_dealer_that_lies_is_named_where_its_secret_is_needed_and_no_sum_is_released(
    monkeypatch: pytest.MonkeyPatch, module: Any, name: str, lie: Callable[..., Any], why: str, found: list[bool]
) -> None:
    for alive in (True, False):
        scene = Scene().at("prepare")
        lying(monkeypatch, module, name, lie, scene)
        if alive in found:
            with pytest.raises(PeerError, match=f"{NAME} is at fault: .*{why}") as caught:
                carried_on(scene, alive=alive)
            assert caught.value.party == NAME
            assert isinstance(caught.value, DealerFaultError)
            assert caught.value.dealer == scene.index
        else:
            summed = range(6) if alive else [node for node in range(6) if node != VICTIM]
            assert_equal(carried_on(scene, alive=alive).total, sum_of(scene.plan, scene.vectors, summed))


def test_a_dealer_whose_share_is_not_the_one_it_hashed_is_found_by_its_holders(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene().at("prepare")
    lying(monkeypatch, keys, "share_hashes", lambda shares, *_: [bytes(16) for _ in shares], scene)
    with pytest.raises(PeerError, match="is not the one it published the hash of"):
        carried_on(scene, alive=True)


# --- anything at all ---------------------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_whatever_a_party_sends_the_others_sum_is_exact_or_there_is_none(data: st.DataObject) -> None:
    """A changed byte at any step drops the victim, or is found out, or harms nobody but the victim's own input."""
    scene = Scene()
    step: Any = data.draw(st.sampled_from(["prepare", "train", "unmask"]))
    scene.at(step)

    def changed(message: bytes) -> bytes:
        if data.draw(st.booleans()):
            return data.draw(st.binary(max_size=40))
        at = data.draw(st.integers(0, len(message) - 1))
        return set_byte(message, at, message[at] ^ data.draw(st.integers(1, 255)))

    others = [node for node in range(6) if node != VICTIM]
    if step == "prepare":
        scene.preparing.add(scene.index, changed(scene.answer(scene.request)))
        try:
            collecting = scene.protocol.train(scene.preparing, vector_of(scene), scene.content, missing={VICTIM})
            result = scene.protocol.unmask(collecting)
        except PeerError:
            return
        survivors = [scene.protocol.enrolment.nodes[index] for index in result.survivors]  # type: ignore[union-attr]
        assert_equal(result.total, sum_of(scene.plan, scene.vectors, survivors))
    elif step == "train":
        masked, payload = sent(scene)
        scene.collecting.add(scene.index, changed(masked.encode()), payload)
        result = scene.protocol.unmask(scene.collecting)
        assert_equal(result.total, sum_of(scene.plan, scene.vectors, others if scene.index in result.drops else range(6)))
    else:
        scene.unmasking.add(scene.index, changed(scene.answer(scene.request)))
        assert_equal(scene.unmasking.close().total, sum_of(scene.plan, scene.vectors, range(6)))
