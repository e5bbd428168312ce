"""A coordinator's attacks in malicious mode, each mounted whole on real parties: what it asks for, who refuses, and that it has nothing.

The numbers are those of the list of attacks in the notes of the project. Attacks of one message are in `test_roster` (2, 16),
`test_confirm` (1, 3) and `test_signing`; those on what both modes share in `test_rules`, `test_transcript` and `test_party`. Whatever can
be combined from all of them is the business of `test_lying_coordinator`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from stfed.crypto.identity import BadSignatureError
from stfed.errors import DecodeError, PeerError
from stfed.secagg import client, keys
from stfed.secagg.client import Trained
from stfed.secagg.messages import (
    Complaint,
    Confirm,
    ConfirmRequest,
    Delivery,
    Header,
    Join,
    JoinRequest,
    ShareOf,
    TrainRequest,
    Unmask,
    UnmaskRequest,
)
from stfed.secagg.refusals import (
    CohortTooSmallError,
    ConfirmationError,
    ModeError,
    NotAMemberError,
    ParametersError,
    RoundOrderError,
    ShareHoldersError,
    ShareUnreadableError,
    UnknownIdentityError,
    UnknownPartyError,
    UnsignedJoinError,
)
from stfed.secagg.server import DropReason, Preparing
from stfed.secagg.signing import check_signed, round_context, signed
from stfed.testing.protocol import LocalProtocol, scripted_entropy, signing_key
from tests.secagg.adversary import Adversary, all_but, content_of, trained
from tests.secagg.scene import MALICIOUS, VICTIM, N, Scene, assert_equal, join_request, plan_of, sum_of, without

Violation = Callable[[Scene], Any]
Rule = tuple[str, type[Exception], str, Violation]

# --- 1, 9, 21: what a weakened PREPARE or TRAIN asks for ---------------------------------------------------------------------------------

PREPARE_ATTACKS: list[Rule] = [
    ("one-party cohort, threshold 1", CohortTooSmallError, "has 1 parties", lambda s: s.but(cohort=(s.index,), k=0, t=1)),
    ("two parties, threshold 1", CohortTooSmallError, "has 2 parties", lambda s: s.but(cohort=s.pair, k=1, t=1)),
    (
        "fewer than C + h_min",
        CohortTooSmallError,
        "takes part in 4 or more",
        lambda s: s.but(cohort=three(s)),
    ),
    ("threshold 1", ParametersError, "t = 1 shares", lambda s: s.but(t=1)),
    ("2t = k + C", ParametersError, "secrecy: t = 3 of k = 5 for 6 parties with 1 corrupt", lambda s: s.but(t=3)),
    ("t above k", ParametersError, "t = 6 of k = 5", lambda s: s.but(t=6)),
    ("a graph that the coordinator can predict", ParametersError, "complete graphs only", lambda s: s.but(k=4, t=4)),
    ("no neighbours", ParametersError, "complete graphs only", lambda s: s.but(k=0)),
    ("semi-honest mode", ModeError, "not in this party's mode, malicious", lambda s: s.but(mode=1)),
    ("a cohort without the victim", NotAMemberError, "not in the cohort", lambda s: s.but(cohort=s.others)),
    ("a cohort with a party nobody joined as", UnknownPartyError, "names party 6", lambda s: s.but(cohort=(*s.request.cohort, 6))),
    ("a round number again", RoundOrderError, "was used before", lambda s: s.elsewhere(round=1)),
    ("a signature, as if it meant something", ModeError, "a coordinator signs nothing", lambda s: s.but(signature=bytes(64))),
]
TRAIN_ATTACKS: list[Rule] = [
    ("a U1 of the victim and few others", CohortTooSmallError, "U1 has 3 of 6", lambda s: s.left(*s.others[:3])),
    ("a U1 without t of its holders", ShareHoldersError, "3 of this party's", lambda s: s.left(*s.others[:2])),
    ("a U1 without the victim", NotAMemberError, "not in U1", lambda s: s.but(alive=s.others)),
    ("an edge left out", ShareHoldersError, "shares of 4", lambda s: s.but(deliveries=s.request.deliveries[1:])),
]


def three(scene: Scene) -> tuple[int, ...]:
    return tuple(sorted((scene.index, *scene.others[:2])))


def each(rules: list[Rule]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("error", "match", "violation"), [rule[1:] for rule in rules], ids=[rule[0] for rule in rules])


@each(PREPARE_ATTACKS)
def test_a_prepare_that_asks_for_less_is_refused_before_anything_is_dealt(error: type[Exception], match: str, violation: Violation) -> None:
    scene = Scene(policy=MALICIOUS)
    scene.finishes()
    scene.at("prepare")
    with scene.refuses(error, match):
        scene.answer(violation(scene))
    scene.finishes()


@each(TRAIN_ATTACKS)
def test_a_train_that_isolates_the_victim_is_refused_before_anything_is_computed(
    error: type[Exception], match: str, violation: Violation
) -> None:
    scene = Scene(policy=MALICIOUS).at("train")
    with scene.refuses(error, match):
        scene.start(violation(scene))
    scene.finishes()


def test_a_party_of_malicious_mode_joins_no_semi_honest_run() -> None:
    party = LocalProtocol(3, MALICIOUS).parties[0]
    with pytest.raises(ModeError, match="the coordinator runs in semi-honest mode, this party's policy is malicious"):
        party.answer(join_request(mode=1))


# --- 2: invented peers -------------------------------------------------------------------------------------------------------------------


def test_a_victim_among_invented_peers_deals_nothing() -> None:
    """The attack on a system without a roster: everybody but the victim is the coordinator, and the sum minus its own is the victim's."""
    header = Header(7, 1, 0)
    victim = LocalProtocol(N, MALICIOUS).parties[VICTIM]
    request = JoinRequest(header=header, mode=2)
    joins = [victim.answer(request.encode())]
    for sybil in range(100, 105):
        _, join = client.join(request, MALICIOUS, signing_key(sybil).ed25519, scripted_entropy(str(sybil)))
        joins.append(join.encode())
    directory = tuple(sorted(joins, key=lambda join: Join.decode(join).identity))
    prepare = Scene(policy=MALICIOUS).at("prepare").request
    with pytest.raises(UnknownIdentityError, match="no member has it"):
        victim.answer(replace(prepare, directory=directory).encode())


def test_roster_members_that_did_not_join_cannot_be_played_by_the_coordinator() -> None:
    """Their identities are public, their signatures are not to be had."""
    scene = Scene(policy=MALICIOUS).at("prepare")
    entries = list(scene.request.directory)
    at = scene.others[0]
    entries[at] = replace(Join.decode(entries[at]), public_key=bytes((9, *bytes(31)))).encode()
    with scene.refuses(UnsignedJoinError, "is not signed by its identity"):
        scene.answer(scene.but(directory=tuple(entries)))
    scene.finishes()


# --- 1, 3: a party both alive and dead, two survivor sets --------------------------------------------------------------------------------


def test_a_victim_named_alive_to_one_half_and_dead_to_the_other_loses_neither_secret() -> None:
    adversary = trained()
    victim, *others = adversary.honest
    for index in others:
        adversary.confirm(index, all_but(victim) if index in others[:1] else all_but())
    adversary.confirm(victim, all_but())
    for index in adversary.honest:
        for survivors in (all_but(victim), all_but()):
            adversary.unmask(index, survivors)
    # With the corrupt party's own, four signed that the victim is alive, so it is; who signed the other set releases nothing.
    assert adversary.knows(1, victim, ShareOf.SELF_SEED)
    assert adversary.rounds[1].released[victim, ShareOf.BOX_KEY] == set()
    assert adversary.both() == []


def test_an_even_split_gives_nothing_at_all() -> None:
    adversary = trained()
    a, b, c, d = adversary.honest
    for index, survivors in ((a, all_but()), (b, all_but()), (c, all_but(a)), (d, all_but(a))):
        adversary.confirm(index, survivors)
    for index in adversary.honest:
        for survivors in (all_but(), all_but(a)):
            adversary.unmask(index, survivors)
    assert not any(adversary.rounds[1].released.values())


# --- 3, 5: other models, other U1, other directories -------------------------------------------------------------------------------------


def nothing_is_released(adversary: Adversary) -> None:
    """Whatever survivor sets are confirmed and asked for."""
    for index in adversary.honest:
        adversary.confirm(index, all_but())
    for index in adversary.honest:
        adversary.unmask(index, all_but())
    assert not any(adversary.rounds[1].released.values())
    adversary.check()


def test_two_models_to_two_halves_end_at_confirm() -> None:
    adversary = Adversary()
    adversary.everybody_prepares(1)
    for index in adversary.honest:
        adversary.train(index, all_but(), content_of(1, index % 2))
    assert len({view.transcript for view in adversary.rounds[1].views.values()}) == 2
    nothing_is_released(adversary)


def test_another_u1_for_the_victim_ends_at_confirm_for_it() -> None:
    adversary = Adversary()
    adversary.everybody_prepares(1)
    victim, *others = adversary.honest
    adversary.train(victim, all_but(others[0]), content_of(1, 0))
    for index in others:
        adversary.train(index, all_but(), content_of(1, 0))
    for index in adversary.honest:
        adversary.confirm(index, all_but())
    adversary.confirm(victim, all_but(others[0]))
    for index in adversary.honest:
        adversary.unmask(index, all_but())
        adversary.unmask(index, all_but(others[0]))
    # The three others and the corrupt party are a quorum among themselves. The victim's vector is under another transcript: it has
    # pairwise masks that cancel against nobody's, so no sum has it in it, and without it there is none of the others.
    assert adversary.smallest_sum() is None
    adversary.check()


def test_the_victim_refuses_confirmations_under_another_transcript() -> None:
    scene = Scene(policy=MALICIOUS).at("train")
    scene.send_vector(scene.start(content=bytes(range(32))))
    assert scene.collecting.drops[scene.index].reason is DropReason.BAD_SIGNATURE
    state = scene.state()
    assert isinstance(state, Trained)
    survivors = tuple(range(N))
    scene.answer(ConfirmRequest(header=state.header, survivors=survivors))
    theirs = {}
    for index in scene.others:
        confirm = scene.party_at(index).answer(ConfirmRequest(header=state.header, survivors=survivors).encode())
        theirs[index] = Confirm.decode(confirm).signature
    unmask = UnmaskRequest(header=state.header, survivors=survivors, confirmations=tuple(sorted(theirs.items())))
    with scene.refuses(ConfirmationError, "is not its signature under this round, transcript and U2"):
        scene.answer(unmask)
    # Among themselves the others have a quorum.
    assert Unmask.decode(scene.party_at(scene.others[0]).answer(unmask.encode()))


def test_another_directory_for_the_victim_gives_it_shares_that_do_not_open_and_a_complaint_that_accuses_nobody() -> None:
    """One party fewer in the victim's directory moves every index behind it; what it signs is bound to what it was shown."""
    scene = Scene(policy=MALICIOUS).at("prepare")
    gone = scene.others[0] if scene.others[0] < scene.index else scene.others[-1]
    directory = without(scene.request.directory, scene.request.directory[gone])
    parameters = {"cohort": tuple(range(N - 1)), "k": 4, "t": 4}
    reply = scene.answer(scene.but(directory=directory, plan=plan_of(N - 1).encode(), **parameters))
    scene.preparing.add(scene.index, reply)
    assert scene.preparing.drops[scene.index].reason in (DropReason.BAD_SIGNATURE, DropReason.MALFORMED)
    honest = scene.preparing._prepares
    victim: Any = scene.state()
    deliveries = []
    for dealer in (index for index in range(N) if index not in (gone, scene.index)):
        prepare = honest[dealer]
        at = [other for other in range(N) if other != dealer].index(scene.index)
        commitments = keys.commitments_digest(
            prepare.header, dealer, prepare.commit_self_seed, prepare.commit_box_key, prepare.box, keys.published(prepare.dealt)
        )
        dealt = prepare.dealt[at]
        deliveries.append(Delivery(dealt.sealed, commitments, dealt.self_seed_hash, dealt.box_key_hash))
    train = TrainRequest(header=victim.header, alive=tuple(range(N - 1)), deliveries=tuple(deliveries))
    with pytest.raises(ShareUnreadableError) as caught:
        scene.start(train)
    assert caught.value.complaint is not None
    complaint = Complaint.decode(caught.value.complaint)
    identity = scene.protocol.identities[VICTIM].public_bytes
    check_signed(complaint, identity, round_context(victim.facts))
    with pytest.raises(BadSignatureError):
        check_signed(complaint, identity, round_context(scene.preparing.facts))


# --- 6: again, and again after a restart -------------------------------------------------------------------------------------------------


def test_no_step_of_a_round_can_be_had_twice_even_from_another_process() -> None:
    scene = Scene(policy=MALICIOUS).at("confirm")
    confirm = scene.request
    scene.at("unmask")
    unmask = scene.request
    scene.finishes()
    for attempt in (replace(confirm, survivors=confirm.survivors[1:]), replace(unmask, confirmations=unmask.confirmations[:4])):
        before = scene.snapshot()
        with pytest.raises(PeerError):
            scene.restart().answer(attempt.encode())
        assert scene.snapshot() == before
    prepare = scene.preparing.request()
    with scene.refuses(RoundOrderError, "was used before"):
        scene.answer(replace(prepare, t=5))


def test_confirmations_of_the_last_round_are_none_in_this_one() -> None:
    scene = Scene(policy=MALICIOUS).at("unmask")
    old = scene.request.confirmations
    scene.finishes()
    scene.at("unmask")
    with scene.refuses(ConfirmationError, "is not its signature"):
        scene.answer(scene.but(confirmations=old))
    scene.finishes()


def test_confirmations_of_another_epoch_or_run_are_none_in_this_one() -> None:
    scene = Scene(policy=MALICIOUS).at("unmask")
    other = Scene(policy=MALICIOUS)
    other.protocol.run, other.protocol.epoch = 8, 0
    other.protocol.join()
    other.at("unmask")
    assert other.request.header == replace(scene.request.header, run=8)
    with scene.refuses(ConfirmationError, "is not its signature"):
        scene.answer(scene.but(confirmations=other.request.confirmations))
    old = scene.request.confirmations
    scene.finishes()
    scene.protocol.join()
    scene.at("unmask")
    assert scene.request.header.epoch == 2
    with scene.refuses(ConfirmationError, "is not its signature"):
        scene.answer(scene.but(confirmations=old))
    scene.finishes()


# --- 15: parties that lie, too -----------------------------------------------------------------------------------------------------------


def test_a_wrong_share_is_signed_evidence_against_its_holder_and_the_round_completes() -> None:
    scene = Scene(policy=MALICIOUS).at("unmask")
    honest = scene.party._signed
    scene.party._signed = lambda state, message, context: honest(state, spoilt(message), context)
    reply = Unmask.decode(scene.answer(scene.request))
    scene.unmasking.add(scene.index, reply.encode())
    result = scene.unmasking.close()
    assert result.drops[scene.index].reason is DropReason.WRONG_SHARE
    assert_equal(result.total, sum_of(scene.plan, scene.vectors, range(N)))
    check_signed(reply, scene.protocol.identities[VICTIM].public_bytes, scene.collecting.transcript)


def spoilt(message: Unmask) -> Unmask:
    (of, _), *rest = message.shares
    return replace(message, shares=((of, bytes(32)), *rest))


def test_nobody_can_be_dropped_alone_by_two_liars_that_contradict_it() -> None:
    """Commitments to pairwise seeds: with C = 2 the two who contradict one party may be the liars, so one of them goes with it."""
    scene = Scene(8, replace(MALICIOUS, gamma=0.25)).at("prepare")
    facts, context = scene.preparing.facts, round_context(scene.preparing.facts)
    enrolment = scene.protocol.enrolment
    assert enrolment is not None
    step = Preparing(facts, enrolment.names(), 2, directory=enrolment.directory, corrupt=2)
    scene.preparing.add(scene.index, scene.answer(scene.request))
    liars = scene.others[:2]
    for party, prepare in scene.preparing._prepares.items():
        if party in liars:
            at = [other for other in range(8) if other != party].index(scene.index)
            dealt = list(prepare.dealt)
            dealt[at] = replace(dealt[at], seed_commitment=bytes((party,)) * 16)
            prepare = signed(replace(prepare, dealt=tuple(dealt)), scene.protocol.identities[enrolment.nodes[party]], context)
        step.add(party, prepare.encode())
    step.close(scene.content)
    dropped = {party for party, drop in step.drops.items() if drop.reason is DropReason.COMMITMENT_MISMATCH}
    assert scene.index in dropped
    assert len(dropped & set(liars)) == 1
    assert len(dropped) == 2


# --- 18, 19 ------------------------------------------------------------------------------------------------------------------------------


def test_a_late_vector_stays_under_its_self_mask() -> None:
    """The victim is declared out before its vector arrives: its pairwise seeds become known, its b does not, whoever is asked how often."""
    adversary = Adversary()
    adversary.everybody_prepares(1)
    victim, *others = adversary.honest
    for index in others:
        adversary.train(index, all_but(), content_of(1, 0))
    for index in others:
        adversary.confirm(index, all_but(victim))
    for index in others:
        adversary.unmask(index, all_but(victim))
    assert adversary.knows(1, victim, ShareOf.BOX_KEY)
    adversary.train(victim, all_but(), content_of(1, 0))
    for survivors in (all_but(), all_but(victim)):
        for index in adversary.honest:
            adversary.confirm(index, survivors)
            adversary.unmask(index, survivors)
    assert not adversary.knows(1, victim, ShareOf.SELF_SEED)
    assert adversary.smallest_sum() == (1, tuple(others))
    adversary.check()


def test_a_confirmation_list_of_any_announced_length_is_refused_before_it_is_allocated() -> None:
    scene = Scene(policy=MALICIOUS).at("unmask")
    data = scene.request.encode()
    at = data.index((6).to_bytes(4, "big") + (0).to_bytes(4, "big") + scene.request.confirmations[0][1])
    with scene.refuses(DecodeError, "confirmations.*items"):
        scene.answer(data[:at] + b"\x7f\xff\xff\xff" + data[at + 4 :])
    scene.finishes()
