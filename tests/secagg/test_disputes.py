"""Shares that do not open or do not fit: who complains, what that proves, and who is left out next time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stfed.crypto import aead
from stfed.errors import QuorumError
from stfed.secagg.messages import Complaint, Delivery, Grievance, TrainRequest
from stfed.secagg.params import Mode, choose
from stfed.secagg.refusals import ShareError, ShareFieldError, ShareMismatchError, ShareUnreadableError
from stfed.secagg.server import DropReason, excluded
from stfed.secagg.server.disputes import settle
from stfed.secagg.signing import check_signed, round_context, signed
from stfed.testing.protocol import LocalProtocol
from tests.secagg.scene import MALICIOUS, VICTIM, Scene, assert_equal, plan_of, some_share, sum_of, vectors_of

Lie = Callable[[Scene, Delivery], Delivery]
LIES: dict[str, tuple[type[ShareError], Grievance, Lie]] = {
    "unreadable": (ShareUnreadableError, Grievance.UNREADABLE, lambda s, d: replace(d, sealed=bytes(92))),
    "out of the field": (ShareFieldError, Grievance.OUT_OF_FIELD, lambda s, d: s.forged(1, b"\xff" * 32, some_share())),
    "not the one hashed": (ShareMismatchError, Grievance.MISMATCH, lambda s, d: replace(d, box_key_hash=bytes(16))),
}


def lied_to(scene: Scene, lie: Lie) -> TrainRequest:
    """The TRAIN that the victim is owed, with what its second neighbour dealt replaced."""
    first, second, *rest = scene.request.deliveries
    request: TrainRequest = scene.but(deliveries=(first, lie(scene, second), *rest))
    return request


# --- the party ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lie", LIES)
def test_a_party_signs_what_is_wrong_with_whose_shares_and_as_they_came(lie: str) -> None:
    scene = Scene(policy=MALICIOUS).at("train")
    error, grievance, forge = LIES[lie]
    request = lied_to(scene, forge)
    with scene.refuses(error):
        scene.start(request)
    with pytest.raises(error) as caught:
        scene.start(request)
    assert caught.value.complaint is not None
    complaint = Complaint.decode(caught.value.complaint)
    check_signed(complaint, scene.protocol.identities[VICTIM].public_bytes, round_context(scene.preparing.facts))
    assert (complaint.dealer, complaint.grievance) == (scene.others[1], grievance)
    assert complaint.delivery == hashlib.sha256(request.deliveries[1].encode()).digest()
    scene.finishes()


@pytest.mark.parametrize("lie", LIES)
def test_a_semi_honest_party_refuses_alike_and_signs_nothing(lie: str) -> None:
    scene = Scene().at("train")
    error, _, forge = LIES[lie]
    with pytest.raises(error) as caught:
        scene.start(lied_to(scene, forge))
    assert caught.value.complaint is None
    scene.finishes()


def test_a_complaint_tells_no_secret() -> None:
    scene = Scene(policy=MALICIOUS).at("train")
    state: Any = scene.state()
    secrets = [state.self_seed, *state.seeds, *state.incoming, *(value for value in state.keys.values if value)]
    for error, _, forge in LIES.values():
        with pytest.raises(error) as caught:
            scene.start(lied_to(scene, forge))
        assert caught.value.complaint is not None
        assert not any(secret in caught.value.complaint for secret in secrets)
        assert len(caught.value.complaint) == 20 + 4 + 1 + 32 + 4 + 64


# --- the coordinator ---------------------------------------------------------------------------------------------------------------------


def honest_complaint(scene: Scene, **changes: Any) -> Complaint:
    """What the victim would sign about what it was really sent."""
    message = Complaint(
        header=scene.request.header,
        dealer=scene.others[1],
        grievance=Grievance.UNREADABLE,
        delivery=hashlib.sha256(scene.request.deliveries[1].encode()).digest(),
    )
    return signed(replace(message, **changes), scene.protocol.identities[VICTIM], round_context(scene.preparing.facts))


def test_a_complaint_takes_its_sender_out_of_the_round_and_puts_the_pair_on_record() -> None:
    scene = Scene(policy=MALICIOUS).at("train")
    message = honest_complaint(scene)
    scene.collecting.complain(scene.index, message.encode())
    drop = scene.collecting.drops[scene.index]
    assert (drop.step, drop.reason) == ("train", DropReason.DISPUTE)
    (dispute,) = scene.collecting.disputes
    dealer = scene.protocol.enrolment.nodes[scene.others[1]]  # type: ignore[union-attr]
    identities = scene.protocol.identities
    assert (dispute.accuser, dispute.accused) == (identities[VICTIM].public_bytes, identities[dealer].public_bytes)
    # Anybody can check: both signed, and what the accuser complains about is what the accused dealt.
    context = round_context(scene.preparing.facts)
    check_signed(dispute.complaint, dispute.accuser, context)
    check_signed(dispute.prepare, dispute.accused, context)
    assert scene.request.deliveries[1].sealed in {dealt.sealed for dealt in dispute.prepare.dealt}
    result = scene.protocol.unmask(scene.collecting)
    assert_equal(result.total, sum_of(scene.plan, scene.vectors, [node for node in range(6) if node != VICTIM]))


@pytest.mark.parametrize(
    ("forge", "reason", "detail"),
    [
        (lambda s, c: b"", DropReason.MALFORMED, "version"),
        (lambda s, c: replace(c, signature=b"").encode(), DropReason.BAD_SIGNATURE, ""),
        (lambda s, c: replace(c, dealer=s.others[2]).encode(), DropReason.BAD_SIGNATURE, ""),
        (lambda s, c: honest_complaint(s, header=replace(c.header, round=9)).encode(), DropReason.MALFORMED, "another round"),
        (lambda s, c: honest_complaint(s, dealer=s.index).encode(), DropReason.MALFORMED, "dealt it nothing"),
        (lambda s, c: honest_complaint(s, dealer=99).encode(), DropReason.MALFORMED, "dealt it nothing"),
        (lambda s, c: honest_complaint(s, delivery=bytes(32)).encode(), DropReason.MALFORMED, "shares that it was not sent"),
        (lambda s, c: honest_complaint(s, dealer=s.others[2]).encode(), DropReason.MALFORMED, "shares that it was not sent"),
    ],
)
def test_a_complaint_that_does_not_hold_accuses_nobody(forge: Any, reason: DropReason, detail: str) -> None:
    scene = Scene(policy=MALICIOUS).at("train")
    scene.collecting.complain(scene.index, forge(scene, honest_complaint(scene)))
    drop = scene.collecting.drops[scene.index]
    assert (drop.step, drop.reason) == ("train", reason)
    assert detail in drop.detail
    assert scene.collecting.disputes == []
    assert_equal(scene.protocol.unmask(scene.collecting).total, sum_of(scene.plan, scene.vectors, [n for n in range(6) if n != VICTIM]))


def test_a_party_complains_once_and_not_beside_a_vector() -> None:
    scene = Scene(policy=MALICIOUS).at("train")
    complaint = honest_complaint(scene).encode()
    scene.send_vector(scene.start())
    scene.collecting.complain(scene.index, complaint)
    for stranger in (6, 99, -1):
        scene.collecting.complain(stranger, complaint)
    assert (scene.collecting.disputes, dict(scene.collecting.drops)) == ([], {})
    second = Scene(policy=MALICIOUS).at("train")
    for _ in range(3):
        second.collecting.complain(second.index, honest_complaint(second).encode())
    assert len(second.collecting.disputes) == 1


def test_a_semi_honest_coordinator_hears_no_complaint() -> None:
    scene = Scene().at("train")
    scene.collecting.complain(scene.index, honest_complaint(scene).encode())
    assert "complaints belong to malicious mode" in scene.collecting.drops[scene.index].detail
    assert scene.collecting.disputes == []


# --- who is left out ---------------------------------------------------------------------------------------------------------------------


def test_one_dealer_that_spoils_a_round_for_everybody_is_left_out_of_the_next_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before there were complaints, one bad dealer could spoil every round, and the coordinator never learnt who it was."""
    n, liar = 7, 3
    protocol, vectors = LocalProtocol(n, replace(MALICIOUS, fixed_encoding=False)), vectors_of(plan_of(n), n)

    def run(nodes: list[int]) -> Any:
        plan, parameters = plan_of(len(nodes)), choose(len(nodes), 0.1, 0.1, mode=Mode.MALICIOUS, roster=n)
        return protocol.sum_round(plan, parameters, lambda node: deepcopy(vectors[node]), nodes=nodes)

    honest = protocol.parties[liar].answer
    seal = aead.seal_random

    def lying(request: bytes) -> bytes:
        with monkeypatch.context() as patch:
            patch.setattr(aead, "seal_random", lambda key, plain, associated, entropy: seal(bytes(32), plain, associated, entropy))
            return honest(request)

    protocol.parties[liar].answer = lying  # type: ignore[method-assign]
    with pytest.raises(QuorumError):
        run(list(range(n)))
    assert len(protocol.disputes) == n - 1
    assert protocol.excluded() == {liar}
    others = [node for node in range(n) if node != liar]
    assert_equal(run(others).total, sum_of(plan_of(n - 1), vectors, others))


def test_a_false_complaint_frames_nobody_alone() -> None:
    assert settle([(1, 2)], 2) == {1: 1, 2: 1}
    assert settle([(1, 2), (2, 1)], 2) == {1: 1, 2: 1}
    assert settle([], 2) == {}
    # Two liars against one party: with two liars about, it may be either side, and one liar goes for each honest party.
    assert settle([(1, 9), (2, 9)], 2) == {9: 2, 1: 1}
    # Three against one are more than there can be liars: at least one of them says the truth.
    assert settle([(1, 9), (2, 9), (3, 9)], 2) == {9: 3}
    assert settle([(9, 1), (9, 2), (9, 3)], 2) == {9: 3}
    # With that one gone only one liar is left, and whoever contradicts two others is it.
    assert settle([(1, 9), (2, 9), (3, 9), (8, 4), (8, 5)], 2) == {9: 3, 8: 2}


parties = st.integers(0, 9)
contradictions = st.sets(st.tuples(parties, parties).filter(lambda pair: pair[0] != pair[1]), max_size=20)


@settings(max_examples=500)
@given(
    st.sets(st.tuples(parties, parties).filter(lambda pair: pair[0] != pair[1]), max_size=20),
    st.sets(parties, min_size=1),
    st.integers(0, 3),
)
def test_liars_take_out_no_more_honest_parties_than_they_are(pairs: set[tuple[int, int]], liars: set[int], unused: int) -> None:
    """A contradiction has a liar at one end at least; whoever stands in none stays, and no contradiction is left."""
    true = {pair for pair in pairs if liars & set(pair)}
    out = set(settle(true, len(liars) + unused))
    assert all(set(pair) & out for pair in true)
    assert out <= {end for pair in true for end in pair}
    assert len(out - liars) <= len(out & liars)


def test_disputes_go_by_identity_over_epochs() -> None:
    scene = Scene(policy=MALICIOUS).at("train")
    scene.collecting.complain(scene.index, honest_complaint(scene).encode())
    scene.protocol.disputes += scene.collecting.disputes
    dealer = scene.protocol.enrolment.nodes[scene.others[1]]  # type: ignore[union-attr]
    scene.protocol.join()
    assert scene.protocol.excluded() == {VICTIM, dealer}
    assert excluded(scene.protocol.disputes, 1) == {scene.protocol.identities[node].public_bytes for node in (VICTIM, dealer)}
