"""Every refusal of the protocol page, by its name: the violation is a real message, is refused with its own error, and changes nothing.

"Changes nothing" is held twice: the victim's store is the same afterwards, and the right message still works, to an exact sum with the
victim in it. Where the encoding makes a violation impossible to write down, the bytes are patched and the decoder refuses them. The
directory's rules are in `test_directory`, resends, crashes and races in `test_party`, and what a coordinator gets that shows parties
different things without breaking a rule in `test_transcript`.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from stfed.encoding import EncodingPlan
from stfed.encoding.rotation import Rotation
from stfed.errors import DecodeError, LocalError
from stfed.secagg.client import Prepared, Trained
from stfed.secagg.messages import (
    Header,
    Join,
    Kind,
    Phase,
    Prepare,
    PrepareRequest,
    ShareOf,
    TrainRequest,
    Unmask,
    UnmaskRequest,
)
from stfed.secagg.params import Mode, corrupt_parties
from stfed.secagg.party import Party
from stfed.secagg.policy import Policy
from stfed.secagg.refusals import (
    CohortTooSmallError,
    ContentReuseError,
    DirectoryError,
    EpochError,
    ModeError,
    NotAMemberError,
    ParametersError,
    PlanError,
    RoundOrderError,
    ShareFieldError,
    ShareHoldersError,
    ShareMismatchError,
    ShareUnreadableError,
    StateLostError,
    SurvivorsError,
    UnknownPartyError,
    WrongRoundError,
    WrongStepError,
)
from stfed.secagg.store import MemoryStore
from stfed.testing.protocol import LocalProtocol
from tests.secagg.scene import (
    NO_METRICS,
    Rule,
    Scene,
    Violation,
    each,
    join_request,
    patched,
    plan_of,
    some_share,
    u32s,
    vectors_of,
    without,
)

# --- JOIN --------------------------------------------------------------------------------------------------------------------------------


def test_another_mode_than_the_policys_is_refused() -> None:
    party = Party(MemoryStore())
    with pytest.raises(ModeError, match="the coordinator runs in malicious mode"):
        party.answer(join_request(mode=2))
    assert Join.decode(party.answer(join_request())).header == Header(7, 1, 0)


@pytest.mark.parametrize("mode", [0, 3, 255])
def test_a_mode_that_is_not_known_is_refused(mode: int) -> None:
    with pytest.raises(DecodeError, match=f"security mode {mode} is not known"):
        Party(MemoryStore()).answer(join_request(mode=mode))


def test_malicious_mode_needs_an_identity_and_a_roster() -> None:
    protocol = LocalProtocol(3, Policy(mode=Mode.MALICIOUS))
    identity, roster = protocol.identities[0], protocol.roster
    for parts in ({}, {"identity": identity}, {"roster": roster}):
        with pytest.raises(LocalError, match="needs an identity and a roster on every party"):
            Party(MemoryStore(), protocol.policy, **parts)  # type: ignore[arg-type]
    Party(MemoryStore(), protocol.policy, identity=identity, roster=roster)


def test_join_again_in_the_same_epoch_gets_the_cached_bytes() -> None:
    scene = Scene()
    request = join_request()
    before = scene.snapshot()
    assert scene.answer(request) == scene.restart().answer(request)
    assert scene.snapshot() == before
    scene.finishes()


def test_a_different_join_in_the_same_epoch_is_refused() -> None:
    scene = Scene()
    with scene.refuses(EpochError, "has joined epoch 1 of this run already, epoch 1 is not new"):
        scene.answer(join_request(7, 1, 5))
    scene.finishes()


def test_a_run_that_is_joined_already_is_refused_once_a_round_was_prepared() -> None:
    scene = Scene().at("train")
    with scene.refuses(EpochError):
        scene.answer(join_request())
    scene.finishes()


def test_an_older_epoch_is_refused() -> None:
    scene = Scene()
    scene.finishes()
    scene.protocol.join()
    scene.finishes()
    with scene.refuses(EpochError, "has joined epoch 2 of this run already, epoch 1 is not new"):
        scene.answer(join_request(7, 1, 2))
    scene.finishes()


def test_an_epoch_that_starts_below_a_used_round_is_refused() -> None:
    scene = Scene()
    scene.finishes()
    scene.finishes()
    with scene.refuses(RoundOrderError, "the new epoch starts after round 1, this party has used round 2"):
        scene.answer(join_request(7, 2, 1))
    scene.protocol.join()
    scene.finishes()


def test_every_epoch_has_a_new_key() -> None:
    party = Party(MemoryStore())
    joins = [Join.decode(party.answer(join_request(run, epoch, 0))) for run in (7, 8) for epoch in (1, 2)]
    assert len({join.public_key for join in joins}) == len({join.identity for join in joins}) == 4


# --- PREPARE -----------------------------------------------------------------------------------------------------------------------------

PREPARE_RULES: list[Rule] = [
    ("a cohort without this party", NotAMemberError, "not in the cohort", lambda s: s.but(cohort=without(s.request.cohort, s.index))),
    ("a cohort with an unknown party", UnknownPartyError, "names party 6", lambda s: s.but(cohort=(*s.request.cohort, 6))),
    ("a cohort of one", CohortTooSmallError, "has 1 parties", lambda s: s.but(cohort=(s.index,))),
    ("a cohort below the minimum", CohortTooSmallError, "has 2 parties", lambda s: s.but(cohort=s.pair)),
    ("t below a majority of the holders", ParametersError, "t = 2 shares", lambda s: s.but(t=2)),
    ("t = 1: a share is the secret", ParametersError, "t = 1 shares", lambda s: s.but(t=1)),
    ("t = 0", ParametersError, "t = 0 shares", lambda s: s.but(t=0)),
    ("t above k", ParametersError, "t = 6 of k = 5", lambda s: s.but(t=6)),
    ("a sparse graph of few parties", ParametersError, "complete graphs only", lambda s: s.but(k=4)),
    ("no neighbours", ParametersError, "complete graphs only", lambda s: s.but(k=0)),
    ("more neighbours than there are", ParametersError, "k = 6 neighbours", lambda s: s.but(k=6)),
    ("a plan sized for fewer parties: the sum could wrap", PlanError, "for 5 parties", lambda s: s.but(plan=plan_of(5).encode())),
    ("a plan sized for more parties", PlanError, "for 7 parties", lambda s: s.but(plan=plan_of(7).encode())),
    ("a plan that is none", DecodeError, "encoding plan", lambda s: s.but(plan=b"\x01")),
    ("malicious mode", ModeError, "not in this party's mode", lambda s: s.but(mode=2)),
    ("a mode that is not known", DecodeError, "mode 9 is not known", lambda s: s.but(mode=9)),
    ("another run", StateLostError, "has not joined this run", lambda s: s.elsewhere(run=8)),
    ("a later epoch", WrongRoundError, "of epoch 2", lambda s: s.elsewhere(epoch=2)),
    ("an earlier epoch", WrongRoundError, "of epoch 0", lambda s: s.elsewhere(epoch=0)),
]


@pytest.mark.parametrize("rounds_before", [0, 1])
@each(PREPARE_RULES)
def test_prepare_refuses(rounds_before: int, error: type[Exception], match: str, violation: Violation) -> None:
    scene = Scene()
    for _ in range(rounds_before):
        scene.finishes()
    scene.at("prepare")
    with scene.refuses(error, match):
        scene.answer(violation(scene))
    scene.finishes()


POLICY_RULES: list[tuple[str, type[Exception], str, Policy]] = [
    ("fewer parties than min_cohort", CohortTooSmallError, "takes part in 7 or more", Policy(min_cohort=7)),
    ("fewer parties than the corrupt share leaves room for", CohortTooSmallError, "takes part in 8 or more", Policy(gamma=0.9)),
    ("corrupt parties counted in the roster, not in the cohort", CohortTooSmallError, "8 or more", Policy(roster=51)),
    ("t <= C", ParametersError, "secrecy: t = 3 of k = 5", Policy(gamma=0.5)),
    ("t below min_threshold", ParametersError, "asks for 4 or more", Policy(min_threshold=4)),
    ("a ring that is too small", PlanError, "the ring has 32 bits", Policy(ring_bits=(33, 64))),
    ("a ring that is too large", PlanError, "the ring has 32 bits", Policy(ring_bits=(8, 31))),
    ("a clip that is too large", PlanError, "the clip is 8", Policy(clip=(1.0, 7.9))),
    ("a clip that is too small: signs would show", PlanError, "the clip is 8", Policy(clip=(8.1, 9.0))),
    ("a weight that this party does not give", PlanError, "the weight is 'num-examples'", Policy(weight_keys=("steps",))),
    ("a vector that is too long", PlanError, "words", Policy(max_parameters=39)),
]


@pytest.mark.parametrize(("error", "match", "policy"), [rule[1:] for rule in POLICY_RULES], ids=[rule[0] for rule in POLICY_RULES])
def test_prepare_refuses_what_this_partys_own_policy_forbids(error: type[Exception], match: str, policy: Policy) -> None:
    scene = Scene().at("prepare")
    usual, scene.party.policy = scene.party.policy, policy
    with scene.refuses(error, match):
        scene.answer(scene.request)
    scene.party.policy = usual
    scene.finishes()


def test_the_corrupt_count_is_of_the_roster_and_never_above_the_cohort() -> None:
    assert [corrupt_parties(10, 0.1, roster) for roster in (None, 10, 11, 100, 1000)] == [1, 1, 2, 10, 10]


def test_a_sparse_graph_that_could_fall_apart_or_is_none_is_refused() -> None:
    """k = 2 on a ring of 36: two drops in the right places cut it. An odd k leaves one side longer than the other."""
    scene = Scene(36, Policy(gamma=0.05, delta=0.05)).at("prepare")
    for k, t, match in ((2, 2, "connectivity: with k = 2 neighbours"), (25, 13, "k = 25 neighbours: a ring"), (0, 2, "k = 0 neighbours")):
        with scene.refuses(ParametersError, match):
            scene.answer(scene.but(k=k, t=t))
    scene.finishes()


@pytest.mark.parametrize("changed", [{"clip": 4.0}, {"max_weight": 9.0}, {"ring_bits": 31}, {"size": 39}, {"metric_slots": 1}])
def test_another_encoding_than_in_the_first_round_of_the_run_is_refused(changed: dict[str, Any]) -> None:
    """A bound that varies from round to round asks, in the counts of what was out of range, one comparison after another."""
    scene = Scene()
    scene.finishes()
    for _ in range(2):
        scene.at("prepare")
        with scene.refuses(PlanError, "another one than in the first round of this run"):
            scene.answer(scene.but(plan=plan_of(6, **changed).encode()))
        scene.finishes()
        scene.protocol.join()  # and a new epoch is still the same run


def test_another_encoding_is_fine_in_the_other_phase_in_another_cohort_or_by_policy() -> None:
    scene = Scene()
    scene.finishes()
    scene.phase, scene.plan = Phase.EVALUATE, plan_of(6, clip=4.0)
    scene.finishes()
    scene.at("prepare")
    with scene.refuses(PlanError, "for evaluate is another one"):
        scene.answer(scene.but(plan=plan_of(6).encode()))
    smaller = scene.but(plan=plan_of(5, clip=4.0).encode(), cohort=without(scene.request.cohort, scene.others[0]), k=4, t=3)
    before = scene.snapshot()
    assert scene.answer(smaller)
    scene.restore(before)
    scene.party.policy = Policy(fixed_encoding=False)
    assert scene.answer(scene.but(plan=plan_of(6).encode()))


def test_value_bits_are_one_encoding_whatever_the_cohort_and_its_ring() -> None:
    """The ring grows with the cohort. Another precision, another rotation or a ring of that size by itself are other encodings."""
    rotation = Rotation(bytes(16))
    scene = Scene()
    scene.plan = plan_of(6, value_bits=8, rotation=rotation)
    scene.vectors = vectors_of(scene.plan, 6)
    scene.finishes()
    scene.at("prepare")
    others = {"rotation": Rotation(bytes(15) + b"1")}, {"value_bits": 9}, {"rotation": None}, {"value_bits": None}
    for changed in others:
        with scene.refuses(PlanError, "another one than in the first round of this run"):
            scene.answer(scene.but(plan=replace(scene.plan, **changed).encode()))
    smaller = plan_of(3, value_bits=8, rotation=rotation)
    assert smaller.ring_bits < scene.plan.ring_bits
    assert scene.answer(scene.but(plan=smaller.encode(), cohort=tuple(sorted((scene.index, *scene.others[:2]))), k=2, t=2))


def test_a_party_named_twice_in_the_cohort_cannot_be_written_down() -> None:
    scene = Scene().at("prepare")
    with pytest.raises(LocalError, match="strictly increasing"):
        scene.but(cohort=(0, 1, 2, 2, 3, 4)).encode()
    for cohort in ((0, 1, 2, 2, 3, 4), (1, 0, 2, 3, 4, 5)):
        with scene.refuses(DecodeError, "a party is named twice or out of order"):
            scene.answer(patched(scene.request.encode(), u32s(6, 0, 1, 2, 3, 4, 5), u32s(6, *cohort)))
    scene.finishes()


def test_a_ring_that_could_wrap_cannot_be_written_down() -> None:
    with pytest.raises(LocalError, match="leaves less than one bit"):
        EncodingPlan((), parties=100, ring_bits=8)
    scene = Scene().at("prepare")
    plan = bytearray(scene.request.plan)
    at = plan.index((6).to_bytes(4, "big") + bytes((32,)))
    plan[at : at + 5] = (1 << 20).to_bytes(4, "big") + bytes((16,))
    with scene.refuses(DecodeError, "leaves less than one bit"):
        scene.answer(scene.but(plan=bytes(plan)))
    scene.finishes()


@pytest.mark.parametrize("suite", [0, 2, 0xFFFF])
def test_a_suite_that_is_not_known_cannot_be_written_down(suite: int) -> None:
    scene = Scene().at("prepare")
    data = scene.request.encode()
    with scene.refuses(DecodeError, f"cipher suite {suite} is not known"):
        scene.answer(data[:2] + suite.to_bytes(2, "big") + data[4:])
    scene.finishes()


def in_round(scene: Scene, round_: int) -> PrepareRequest:
    """With another clip, so that it is no resend of the message of that round."""
    return scene.but(header=replace(scene.request.header, round=round_), plan=plan_of(scene.n, clip=4.0).encode())


@pytest.mark.parametrize("round_", [0, 1, 2])
def test_a_round_number_that_was_used_or_is_older_is_refused(round_: int) -> None:
    scene = Scene()
    scene.finishes()
    scene.finishes()
    scene.at("prepare")
    with scene.refuses(RoundOrderError, f"round {round_} was used before or is older"):
        scene.answer(in_round(scene, round_))
    scene.finishes()


def test_a_round_number_below_the_epochs_base_is_refused() -> None:
    scene = Scene()
    scene.protocol.round = 9
    scene.protocol.join()
    scene.at("prepare")
    with scene.refuses(RoundOrderError, "round 9 was used before"):
        scene.answer(in_round(scene, 9))
    scene.finishes()


def test_prepare_again_in_the_open_round_with_other_content_is_refused() -> None:
    scene = Scene().at("train")
    header = scene.request.header
    again = replace(scene.preparing.request(), header=header, plan=plan_of(6, clip=4.0).encode())
    with scene.refuses(RoundOrderError, "round 1 was used before"):
        scene.answer(again)
    scene.finishes()


def test_a_round_number_that_skips_too_far_is_refused_and_the_cap_itself_is_not() -> None:
    scene = Scene()
    scene.finishes()
    scene.protocol.round += 1024
    scene.at("prepare")
    with scene.refuses(RoundOrderError, "round 1027 skips 1025 rounds, this party allows 1024"):
        scene.answer(in_round(scene, 1027))
    scene.finishes()


@pytest.mark.parametrize("step", ["train", "unmask"])
def test_prepare_of_a_later_round_gives_up_the_open_one_for_good(step: Any) -> None:
    scene = Scene().at(step)
    abandoned, content = scene.request, scene.content
    scene.step = "idle"
    scene.finishes()
    with scene.refuses(WrongStepError):
        if isinstance(abandoned, TrainRequest):
            scene.start(abandoned, content)
        else:
            scene.answer(abandoned)
    scene.at("train")  # Prepared, then Trained, in a later round
    with scene.refuses(WrongRoundError if step == "train" else WrongStepError):
        scene.start(abandoned, content) if step == "train" else scene.answer(abandoned)
    scene.at("unmask")
    with scene.refuses(WrongStepError if step == "train" else WrongRoundError):
        scene.start(abandoned, content) if step == "train" else scene.answer(abandoned)
    scene.finishes()


def test_a_vector_whose_round_was_given_up_during_training_must_not_leave() -> None:
    scene = Scene().at("train")
    ticket = scene.start()
    scene.step = "idle"
    scene.at("prepare")
    scene.answer(scene.request)
    with scene.refuses(WrongStepError, "vector masked does not belong to the state this party is in, Prepared"):
        scene.party.finish_training(ticket, b"", 0)
    scene.at("train")
    newer = scene.start()
    with scene.refuses(WrongRoundError, "moved on to another round"):
        scene.party.finish_training(ticket, b"", 0)
    scene.send_vector(newer)
    assert isinstance(scene.state(), Trained)


def test_a_prepare_that_is_refused_gives_up_nothing() -> None:
    scene = Scene().at("unmask")
    bad = replace(scene.preparing.request(), header=replace(scene.request.header, round=2), cohort=(scene.index,))
    with scene.refuses(CohortTooSmallError):
        scene.answer(bad)
    scene.finishes()


def test_a_resend_of_prepare_gets_identical_bytes_in_every_state_of_the_round() -> None:
    scene = Scene().at("prepare")
    request = scene.request
    first = scene.answer(request)
    for step in ("train", "unmask", "idle"):
        scene.at(step)  # type: ignore[arg-type]
        before = scene.snapshot()
        assert scene.restart().answer(request.encode()) == first
        assert scene.snapshot() == before
    scene.at("train")
    with scene.refuses(DirectoryError):
        scene.answer(request)
    scene.finishes()


def test_no_party_holds_a_share_of_its_own_secrets() -> None:
    scene = Scene().at("prepare")
    prepare = Prepare.decode(scene.answer(scene.request))
    state = scene.at("train").state()
    assert isinstance(state, Prepared)
    assert scene.index not in state.neighbours
    assert len(prepare.dealt) == len(state.neighbours) == scene.parameters.k
    trained = scene.at("unmask").state()
    assert isinstance(trained, Trained)
    assert scene.index not in {dealer for dealer, _, _ in trained.held}


def test_the_point_of_a_share_is_computed_and_no_message_has_it() -> None:
    """A field for it would be bytes: what is dealt and delivered is ciphertext, hashes and commitments, and nothing else."""
    scene = Scene().at("train")
    delivery = scene.request.deliveries[0]
    assert len(delivery.encode()) == len(delivery.sealed) + 32 + 16 + 16
    dealt = scene.preparing._prepares[scene.others[0]].dealt[0]
    assert len(dealt.encode()) == len(dealt.sealed) + 3 * 16
    assert len(dealt.sealed) == 12 + 32 + 32 + 16


# --- TRAIN -------------------------------------------------------------------------------------------------------------------------------


def changed(scene: Scene, at: int, **changes: Any) -> TrainRequest:
    """The TRAIN with one delivery changed."""
    deliveries = list(scene.request.deliveries)
    deliveries[at] = replace(deliveries[at], **changes)
    return scene.but(deliveries=tuple(deliveries))


def flipped(scene: Scene, at: int, field: str, byte: int = -1) -> TrainRequest:
    """The TRAIN with one bit of one delivery changed."""
    data = bytearray(getattr(scene.request.deliveries[at], field))
    data[byte] ^= 1
    return changed(scene, at, **{field: bytes(data)})


TRAIN_RULES: list[Rule] = [
    ("U1 without this party", NotAMemberError, "not in U1", lambda s: s.but(alive=without(s.request.alive, s.index))),
    ("U1 beyond the cohort", UnknownPartyError, "U1 names party 6", lambda s: s.but(alive=(*s.request.alive, 6))),
    ("U1 below the minimum", CohortTooSmallError, "U1 has 2 of 6", lambda s: s.left(*s.others[:4])),
    ("fewer than t share-holders in U1", ShareHoldersError, "2 of this party's", lambda s: s.left(*s.others[:3])),
    ("an edge into U1 left out", ShareHoldersError, "shares of 4", lambda s: s.but(deliveries=s.request.deliveries[1:])),
    ("shares without an edge", ShareHoldersError, "shares of 10", lambda s: s.but(deliveries=2 * tuple(s.request.deliveries))),
    ("the shares of dealers swapped", ShareUnreadableError, "do not open", lambda s: s.but(deliveries=s.request.deliveries[::-1])),
    ("a share ciphertext changed", ShareUnreadableError, "do not open", lambda s: flipped(s, 2, "sealed")),
    ("a nonce changed", ShareUnreadableError, "do not open", lambda s: flipped(s, 2, "sealed", 0)),
    ("a dealer's commitments changed", ShareUnreadableError, "do not open", lambda s: flipped(s, 0, "commitments")),
    ("a share of b that is not the one hashed", ShareMismatchError, "not the one", lambda s: flipped(s, 4, "self_seed_hash")),
    ("a share of z that is not the one hashed", ShareMismatchError, "not the one", lambda s: flipped(s, 4, "box_key_hash")),
    ("another round", WrongRoundError, "another round", lambda s: s.elsewhere(round=2)),
    ("another epoch", WrongRoundError, "of epoch 2", lambda s: s.elsewhere(epoch=2)),
    ("another run", StateLostError, "not joined", lambda s: s.elsewhere(run=8)),
]


@each(TRAIN_RULES)
def test_train_refuses(error: type[Exception], match: str, violation: Violation) -> None:
    scene = Scene().at("train")
    with scene.refuses(error, match):
        scene.start(violation(scene))
    scene.finishes()


def test_a_party_named_twice_in_u1_cannot_be_written_down() -> None:
    scene = Scene().at("train")
    with scene.refuses(DecodeError, "alive.*named twice or out of order"):
        scene.start(patched(scene.request.encode(), u32s(6, 0, 1, 2, 3, 4, 5), u32s(6, 0, 1, 2, 2, 3, 4)))
    scene.finishes()


def test_the_smallest_u1_of_this_party_is_enough() -> None:
    scene = Scene().at("train")
    ticket = scene.start(scene.left(*scene.others[:2]))
    assert len(ticket.masks.add) + len(ticket.masks.subtract) == 1 + 3


def test_a_share_ciphertext_of_another_round_is_refused() -> None:
    scene = Scene().at("train")
    old = scene.request.deliveries[0]
    scene.finishes()
    scene.at("train")
    for replayed in (changed(scene, 0, sealed=old.sealed), scene.but(deliveries=(old, *scene.request.deliveries[1:]))):
        with scene.refuses(ShareUnreadableError, "do not open"):
            scene.start(replayed)
    scene.finishes()


def test_a_share_ciphertext_meant_for_somebody_else_is_refused() -> None:
    scene = Scene().at("train")
    dealer, somebody = scene.others[:2]
    theirs = scene.collecting.request(somebody)
    at = without(tuple(range(scene.n)), somebody).index(dealer)
    with scene.refuses(ShareUnreadableError, "do not open"):
        scene.start(changed(scene, 0, sealed=theirs.deliveries[at].sealed))
    scene.finishes()


@pytest.mark.parametrize("which", ["b", "z"])
def test_a_share_with_a_limb_of_65521_or_more_is_refused(which: str) -> None:
    scene = Scene().at("train")
    bad = (65521).to_bytes(2, "little") * 16
    forged = scene.forged(1, *((bad, some_share()) if which == "b" else (some_share(), bad)))
    with scene.refuses(ShareFieldError, "not below 65521"):
        scene.start(scene.but(deliveries=(scene.request.deliveries[0], forged, *scene.request.deliveries[2:])))
    ticket = scene.start(
        replace(
            scene.request,
            deliveries=(scene.request.deliveries[0], scene.forged(1, some_share(), some_share(2)), *scene.request.deliveries[2:]),
        )
    )
    assert ticket.facts.header == scene.request.header, "with limbs in the field the same forgery passes: nobody but the dealer can make it"


def test_a_sparse_graph_refuses_a_u1_and_a_u2_with_more_drops_than_delta() -> None:
    """The graph of those left is sure to be connected for floor(delta n) drops only."""
    policy = Policy(gamma=0.05, delta=0.05)
    scene = Scene(36, policy, graph="sparse").at("train")
    assert scene.parameters.k < 35
    assert scene.parameters.dropouts == 1
    two = [party for party in range(36) if party not in {scene.index, *scene.state().neighbours}][:2]  # type: ignore[attr-defined]
    with scene.refuses(CohortTooSmallError, "U1 has 34 of 36 parties, this party takes part with 35 or more"):
        scene.start(scene.but(alive=without(scene.request.alive, *two)))
    scene.at("unmask")
    with scene.refuses(CohortTooSmallError, "U2 has 34 of 36 parties, this party takes part with 35 or more"):
        scene.answer(scene.but(survivors=without(scene.request.survivors, *two)))
    scene.finishes()


@pytest.mark.parametrize(("prepared", "trained"), [(Phase.TRAIN, Phase.EVALUATE), (Phase.EVALUATE, Phase.TRAIN)])
def test_another_phase_than_the_one_prepared_is_refused(prepared: Phase, trained: Phase) -> None:
    scene = Scene(phase=prepared).at("train")
    with scene.refuses(WrongStepError, f"PREPARE was for {prepared.name.lower()}, the message is for {trained.name.lower()}"):
        scene.start(phase=trained)
    scene.finishes()


def test_train_twice_is_refused() -> None:
    scene = Scene().at("train")
    request, smaller, content = scene.request, scene.left(scene.others[0]), scene.content
    ticket = scene.start()
    for attempt in (request, smaller):
        with scene.refuses(WrongStepError, "TRAIN does not belong to the state this party is in, Training"):
            scene.start(attempt, content)
    scene.send_vector(ticket)
    with scene.refuses(WrongStepError, "TRAIN does not belong to the state this party is in, Trained"):
        scene.start(request, hashlib.sha256(b"another model").digest())
    with scene.refuses(WrongStepError, "vector masked does not belong"):
        scene.party.finish_training(ticket, b"", 0)


def test_the_same_content_twice_in_one_phase_is_refused_and_in_the_other_phase_is_not() -> None:
    scene = Scene()
    first = scene.at("train").content
    scene.finishes()
    scene.at("train")
    with scene.refuses(ContentReuseError):
        scene.start(content=first)
    scene.finishes()
    scene.phase = Phase.EVALUATE
    scene.at("train")
    assert scene.start(content=first).facts.phase is Phase.EVALUATE


def test_the_same_content_again_is_this_partys_own_decision() -> None:
    scene = Scene()
    first = scene.at("train").content
    scene.finishes()
    scene.at("train")
    scene.party.policy = Policy(allow_repeats=True)
    assert scene.start(content=first).facts.header == scene.request.header


def test_the_same_content_is_refused_in_a_later_epoch_too() -> None:
    scene = Scene()
    first = scene.at("train").content
    scene.finishes()
    scene.protocol.join()
    scene.at("train")
    with scene.refuses(ContentReuseError):
        scene.start(content=first)
    scene.finishes()


# --- UNMASK ------------------------------------------------------------------------------------------------------------------------------

UNMASK_RULES: list[Rule] = [
    ("U2 without this party", NotAMemberError, "not in U2", lambda s: s.but(survivors=without(s.request.survivors, s.index))),
    ("U2 beyond U1", SurvivorsError, "U2 names party 6", lambda s: s.but(survivors=(*s.request.survivors, 6))),
    ("U2 below the minimum", CohortTooSmallError, "U2 has 2 of 6", lambda s: s.but(survivors=s.pair)),
    ("U2 of one", CohortTooSmallError, "U2 has 1 of 6", lambda s: s.but(survivors=(s.index,))),
    ("confirmations", ModeError, "confirmations", lambda s: s.but(confirmations=((0, bytes(64)),))),
    ("another round", WrongRoundError, "another round", lambda s: s.elsewhere(round=2)),
    ("another epoch", WrongRoundError, "of epoch 2", lambda s: s.elsewhere(epoch=2)),
    ("another run", StateLostError, "not joined", lambda s: s.elsewhere(run=8)),
]


@each(UNMASK_RULES)
def test_unmask_refuses(error: type[Exception], match: str, violation: Violation) -> None:
    scene = Scene().at("unmask")
    with scene.refuses(error, match):
        scene.answer(violation(scene))
    scene.finishes()


def test_unmask_refuses_a_member_of_the_cohort_that_was_not_in_u1() -> None:
    scene = Scene().at("train")
    gone, everybody = scene.others[0], scene.request.alive
    ticket = scene.start(scene.left(gone))
    scene.party.finish_training(ticket, NO_METRICS, 1)
    with scene.refuses(SurvivorsError, f"U2 names party {gone}, which is not in the U1 that this party trained with"):
        scene.answer(UnmaskRequest(header=ticket.facts.header, survivors=everybody))
    reply = Unmask.decode(scene.answer(UnmaskRequest(header=ticket.facts.header, survivors=without(everybody, gone))))
    assert len(reply.shares) == scene.parameters.k - 1


def test_a_party_named_twice_in_u2_cannot_be_written_down() -> None:
    scene = Scene().at("unmask")
    with scene.refuses(DecodeError, "survivors.*named twice or out of order"):
        scene.answer(patched(scene.request.encode(), u32s(6, 0, 1, 2, 3, 4, 5), u32s(6, 0, 1, 2, 3, 4, 4)))
    scene.finishes()


def test_unmask_before_train_is_refused() -> None:
    scene = Scene().at("train")
    unmask = UnmaskRequest(header=scene.request.header, survivors=scene.request.alive)
    with scene.refuses(WrongStepError, "UNMASK does not belong to the state this party is in, Prepared"):
        scene.answer(unmask)
    ticket = scene.start()
    with scene.refuses(WrongStepError, "UNMASK does not belong to the state this party is in, Training"):
        scene.answer(unmask)
    scene.send_vector(ticket)
    scene.answer(unmask)


def test_unmask_again_with_the_same_u2_gets_the_cached_identical_bytes() -> None:
    scene = Scene().at("unmask")
    request = scene.request
    first = scene.answer(request)
    before = scene.snapshot()
    assert scene.answer(request) == scene.restart().answer(request.encode()) == first
    assert scene.snapshot() == before


def test_unmask_again_with_another_u2_is_refused() -> None:
    """Two answers to one round would reveal both of a neighbour's secrets."""
    scene = Scene().at("unmask")
    request = scene.request
    scene.answer(request)
    with scene.refuses(WrongStepError, "UNMASK does not belong to the state this party is in, Ready"):
        scene.answer(replace(request, survivors=without(request.survivors, scene.others[0])))


def test_unmask_gives_one_share_per_neighbour_and_never_both() -> None:
    scene = Scene().at("unmask")
    state = scene.state()
    assert isinstance(state, Trained)
    gone = scene.others[1]
    shares = Unmask.decode(scene.answer(scene.but(survivors=without(scene.request.survivors, gone)))).shares
    assert [of for of, _ in shares] == [ShareOf.BOX_KEY if dealer == gone else ShareOf.SELF_SEED for dealer in scene.others]
    for (dealer, share_b, share_z), (_, share) in zip(state.held, shares, strict=True):
        assert share == (share_z if dealer == gone else share_b)
        assert share != (share_b if dealer == gone else share_z)


def test_two_shares_for_one_neighbour_cannot_be_written_down() -> None:
    """UNMASK has a kind and a share per neighbour; the server takes exactly as many as it has neighbours in U1."""
    share = some_share()
    both = Unmask(header=Header(7, 1, 1), shares=((ShareOf.SELF_SEED, share), (ShareOf.BOX_KEY, share)))
    assert len(both.encode()) - len(Unmask(header=Header(7, 1, 1), shares=()).encode()) == 2 * 33
    data = patched(both.encode(), bytes((ShareOf.BOX_KEY,)) + share, bytes((3,)) + share)
    with pytest.raises(DecodeError, match="a share of neither secret"):
        Unmask.decode(data)


@pytest.mark.parametrize("kind", [Kind.JOIN, Kind.PREPARE, Kind.TRAIN_REQUEST, Kind.MASKED, Kind.CONFIRM, Kind.UNMASK, Kind.COMPLAINT])
def test_what_is_no_light_step_of_the_coordinator_is_refused(kind: Kind) -> None:
    scene = Scene()
    data = bytearray(join_request())
    data[1] = kind
    with scene.refuses(WrongStepError, f"{kind.name} is not a light step"):
        scene.answer(bytes(data))
    scene.finishes()
