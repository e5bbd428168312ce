"""CONFIRM and what it guards: one signature per round, and no share without a quorum under exactly the same survivor set.

As in `test_rules`, every violation is a real message to a real party, is refused with its own error, changes nothing, and the round then
ends in the exact sum with the victim in it. Six parties, C = 1: a survivor set has four or more, and four confirm it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from stfed.crypto.identity import verify
from stfed.crypto.labels import Label
from stfed.errors import DecodeError, LocalError, QuorumError
from stfed.secagg.client import Confirmed, Ready, Trained
from stfed.secagg.messages import Confirm, ConfirmRequest, Header, Kind, ShareOf, Unmask, UnmaskRequest, encode_parties
from stfed.secagg.params import Mode
from stfed.secagg.policy import Policy
from stfed.secagg.refusals import (
    CohortTooSmallError,
    ConfirmationError,
    ConfirmationQuorumError,
    DuplicateConfirmationError,
    ModeError,
    NotAMemberError,
    OtherSurvivorsError,
    StateLostError,
    SurvivorsError,
    WrongRoundError,
    WrongStepError,
)
from stfed.secagg.server import DropReason
from stfed.secagg.signing import sign_survivors
from tests.secagg.scene import (
    MALICIOUS,
    NO_METRICS,
    Rule,
    Scene,
    Violation,
    assert_equal,
    each,
    join_request,
    patched,
    sum_of,
    u32s,
    without,
)
from tests.secagg.test_party import BrokenStore, race


def scene_at(step: Any, **settings: Any) -> Scene:
    return Scene(policy=MALICIOUS, **settings).at(step)


# --- CONFIRM, on the party ---------------------------------------------------------------------------------------------------------------

CONFIRM_RULES: list[Rule] = [
    ("U2 without this party", NotAMemberError, "not in U2", lambda s: s.but(survivors=without(s.request.survivors, s.index))),
    ("U2 beyond U1", SurvivorsError, "U2 names party 6", lambda s: s.but(survivors=(*s.request.survivors, 6))),
    ("U2 below C + h_min", CohortTooSmallError, "U2 has 3 of 6 parties, this party takes part with 4", lambda s: s.but(survivors=three(s))),
    ("U2 of one", CohortTooSmallError, "U2 has 1 of 6", lambda s: s.but(survivors=(s.index,))),
    ("another round", WrongRoundError, "another round", lambda s: s.elsewhere(round=2)),
    ("another epoch", WrongRoundError, "of epoch 2", lambda s: s.elsewhere(epoch=2)),
    ("another run", StateLostError, "not joined", lambda s: s.elsewhere(run=8)),
    ("a signed request", ModeError, "a coordinator signs nothing", lambda s: s.but(signature=bytes(64))),
    ("UNMASK before CONFIRM", WrongStepError, "UNMASK does not belong to .* Trained, which waits for .*CONFIRM", lambda s: early_unmask(s)),
]


def three(scene: Scene) -> tuple[int, ...]:
    return tuple(sorted((scene.index, *scene.others[:2])))


def early_unmask(scene: Scene) -> UnmaskRequest:
    return UnmaskRequest(header=scene.request.header, survivors=scene.request.survivors)


@each(CONFIRM_RULES)
def test_confirm_refuses(error: type[Exception], match: str, violation: Violation) -> None:
    scene = scene_at("confirm")
    with scene.refuses(error, match):
        scene.answer(violation(scene))
    scene.finishes()


def test_a_party_named_twice_in_u2_cannot_be_written_down() -> None:
    scene = scene_at("confirm")
    with scene.refuses(DecodeError, "survivors.*named twice or out of order"):
        scene.answer(patched(scene.request.encode(), u32s(6, 0, 1, 2, 3, 4, 5), u32s(6, 0, 1, 2, 3, 4, 4)))
    scene.finishes()


def test_the_policys_own_minimum_counts_where_it_is_higher() -> None:
    scene = scene_at("confirm")
    scene.party.policy = replace(MALICIOUS, min_survivors=6)
    with scene.refuses(CohortTooSmallError, "takes part with 6 or more"):
        scene.answer(scene.but(survivors=without(scene.request.survivors, scene.others[0])))
    scene.finishes()


@pytest.mark.parametrize("h_min", [2, 3, 5])
def test_a_survivor_set_has_as_many_honest_parties_as_the_policy_says(h_min: int) -> None:
    scene = Scene(8, replace(MALICIOUS, honest_survivors=h_min)).at("confirm")
    for size, refused in ((h_min, True), (h_min + 1, False)):
        survivors = tuple(sorted((scene.index, *scene.others[: size - 1])))
        if refused:
            with scene.refuses(CohortTooSmallError, f"U2 has {size} of 8 parties, this party takes part with {size + 1} or more"):
                scene.answer(scene.but(survivors=survivors))
        else:
            scene.answer(scene.but(survivors=survivors))
    assert MALICIOUS.floor(8, 7) == 1 + 3
    assert Policy().floor(8, 7) == 1 + 2


def test_what_is_signed_is_header_transcript_and_u2() -> None:
    scene = scene_at("confirm")
    state = scene.state()
    assert isinstance(state, Trained)
    reply = Confirm.decode(scene.answer(scene.request))
    public = state.member.directory.join(scene.index).identity
    parts = state.header.encode(), state.transcript, encode_parties(scene.request.survivors)
    assert state.transcript == scene.collecting.transcript
    verify(public, reply.signature, Label.SIGN_SURVIVORS, *parts)


def test_a_second_survivor_set_is_never_signed_and_a_resend_of_the_first_gets_the_same_bytes() -> None:
    scene = scene_at("confirm")
    request = scene.request
    first = scene.answer(request)
    assert scene.answer(request) == scene.restart().answer(request.encode()) == first
    for other in scene.others:
        with scene.refuses(WrongStepError, "CONFIRM does not belong to the state this party is in, Confirmed"):
            scene.answer(replace(request, survivors=without(request.survivors, other)))
    scene.confirming.add(scene.index, first)
    scene._to_unmask(scene.confirming.close())
    scene.finishes()


def test_of_many_survivor_sets_at_once_exactly_one_is_signed() -> None:
    scene = scene_at("confirm")
    requests = [scene.but(survivors=without(scene.request.survivors, other)).encode() for other in scene.others]
    results = race(*(lambda request=request: scene.restart().answer(request) for request in (*requests, *requests)))
    assert len({result for result in results if isinstance(result, bytes)}) == 1
    assert {type(result) for result in results if not isinstance(result, bytes)} == {WrongStepError}
    assert isinstance(scene.state(), Confirmed)


def test_what_is_signed_is_stored_first() -> None:
    scene = scene_at("confirm")
    party, before = scene.restart(), scene.snapshot()
    party._store = BrokenStore(scene.store)
    with pytest.raises(OSError, match="disk full"):
        party.answer(scene.request.encode())
    assert scene.snapshot() == before
    scene.finishes()


def test_no_survivor_set_is_signed_before_the_own_vector_is_out() -> None:
    scene = scene_at("train")
    confirm = ConfirmRequest(header=scene.request.header, survivors=scene.request.alive)
    with scene.refuses(WrongStepError, "CONFIRM does not belong to the state this party is in, Prepared"):
        scene.answer(confirm)
    ticket = scene.start()
    with scene.refuses(WrongStepError, "CONFIRM does not belong to the state this party is in, Training"):
        scene.answer(confirm)
    scene.send_vector(ticket)
    assert Confirm.decode(scene.answer(confirm))


def test_a_semi_honest_round_has_no_confirm() -> None:
    scene = Scene().at("unmask")
    confirm = ConfirmRequest(header=scene.request.header, survivors=scene.request.survivors)
    with scene.refuses(WrongStepError, "CONFIRM does not belong to the state this party is in, Trained"):
        scene.answer(confirm)
    scene.finishes()


def test_a_round_of_another_mode_than_todays_policy_is_given_up() -> None:
    """Who edits the policy while a round is open does not turn its protection off."""
    for step in ("train", "confirm", "unmask"):
        scene = scene_at(step)
        usual, scene.party.policy = scene.party.policy, Policy()
        with scene.refuses(ModeError, "not in this party's mode, semi-honest"):
            scene.start() if step == "train" else scene.answer(scene.request)
        scene.party.policy = usual
        scene.finishes()


def test_a_party_signs_with_the_identity_that_it_joined_with_or_not_at_all() -> None:
    scene = scene_at("confirm")
    own, scene.party._identity = scene.party._identity, scene.protocol.identities[0]
    before = scene.snapshot()
    with pytest.raises(LocalError, match="joined the epoch with another identity"):
        scene.answer(scene.request)
    assert scene.snapshot() == before
    scene.party._identity = own
    scene.finishes()


# --- UNMASK, on the party ----------------------------------------------------------------------------------------------------------------


def confirmations(scene: Scene, *changes: tuple[int, bytes]) -> tuple[tuple[int, bytes], ...]:
    """Those of the request, with some replaced or added, in order."""
    return tuple(sorted((dict(scene.request.confirmations) | dict(changes)).items()))


def signature(scene: Scene, party: int, **changes: Any) -> bytes:
    """A real signature of a party under something else than this round's U2."""
    node = scene.protocol.enrolment.nodes[party]  # type: ignore[union-attr]
    parts = {"header": scene.request.header, "transcript": scene.collecting.transcript, "survivors": scene.request.survivors} | changes
    return sign_survivors(scene.protocol.identities[node], **parts)


def with_signature(**changes: Any) -> Violation:
    """One confirmation is its party's real signature, of something else."""
    return lambda s: s.but(confirmations=confirmations(s, (s.others[0], signature(s, s.others[0], **changes))))


def other_set(scene: Scene) -> UnmaskRequest:
    """A whole quorum under another survivor set, as good as the one that was signed."""
    survivors = without(scene.request.survivors, scene.others[0])
    request: UnmaskRequest = scene.but(
        survivors=survivors, confirmations=tuple((party, signature(scene, party, survivors=survivors)) for party in survivors)
    )
    return request


BAD = "is not its signature under this round, transcript and U2"
UNMASK_RULES: list[Rule] = [
    ("no confirmations", ConfirmationQuorumError, "0 of 6 parties in U2 confirm it, .* = 4 are needed", lambda s: s.but(confirmations=())),
    ("one below the quorum", ConfirmationQuorumError, "3 of 6", lambda s: s.but(confirmations=s.request.confirmations[:3])),
    ("a signer twice", DuplicateConfirmationError, "a party twice", lambda s: s.but(confirmations=4 * s.request.confirmations[:1])),
    ("signers out of order", DuplicateConfirmationError, "in order", lambda s: s.but(confirmations=s.request.confirmations[::-1])),
    ("a signature that is none", ConfirmationError, BAD, lambda s: s.but(confirmations=confirmations(s, (0, bytes(64))))),
    ("a signature of somebody else", ConfirmationError, BAD, lambda s: s.but(confirmations=confirmations(s, (0, signature(s, 1))))),
    ("of another round", ConfirmationError, BAD, with_signature(header=Header(7, 1, 2))),
    ("of another epoch", ConfirmationError, BAD, with_signature(header=Header(7, 2, 1))),
    ("of another run", ConfirmationError, BAD, with_signature(header=Header(8, 1, 1))),
    ("of another transcript", ConfirmationError, BAD, with_signature(transcript=bytes(32))),
    ("of another survivor set", ConfirmationError, BAD, with_signature(survivors=(0, 1, 2, 3))),
    ("another U2, with a quorum", OtherSurvivorsError, "another U2 than the one that this party signed", other_set),
    ("another round", WrongRoundError, "another round", lambda s: s.elsewhere(round=2)),
    ("another epoch", WrongRoundError, "of epoch 2", lambda s: s.elsewhere(epoch=2)),
    ("another run", StateLostError, "not joined", lambda s: s.elsewhere(run=8)),
    ("U2 without this party", NotAMemberError, "not in U2", lambda s: s.but(survivors=without(s.request.survivors, s.index))),
    ("a signed request", ModeError, "a coordinator signs nothing", lambda s: s.but(signature=bytes(64))),
]


@each(UNMASK_RULES)
def test_unmask_refuses(error: type[Exception], match: str, violation: Violation) -> None:
    scene = scene_at("unmask")
    with scene.refuses(error, match):
        scene.answer(violation(scene))
    scene.finishes()


def test_a_quorum_with_a_signer_outside_u2_is_refused() -> None:
    """Who is not in the sum has no say in it: otherwise corrupt parties that drop would help to make two quorums."""
    from stfed.secagg.refusals import StrangeConfirmationError

    scene = scene_at("confirm")
    gone = scene.others[0]
    survivors = without(scene.request.survivors, gone)
    request = replace(scene.request, survivors=survivors)
    scene.answer(request)
    scene.request = UnmaskRequest(header=request.header, survivors=survivors)
    signed = tuple((party, signature(scene, party)) for party in (*survivors, gone))
    with scene.refuses(StrangeConfirmationError, f"party {gone} confirms, which is not in U2"):
        scene.answer(scene.but(confirmations=tuple(sorted(signed))))
    assert scene.answer(scene.but(confirmations=signed[:5]))


def test_a_signature_of_the_same_party_under_a_message_does_not_count() -> None:
    """A signature is for one purpose: none that a party gives in another step is a confirmation."""
    scene = scene_at("unmask")
    party = scene.others[0]
    node = scene.protocol.enrolment.nodes[party]  # type: ignore[union-attr]
    parts = scene.request.header.encode(), scene.collecting.transcript, encode_parties(scene.request.survivors)
    other_purpose = scene.protocol.identities[node].sign(Label.SIGN_MESSAGE, *parts)
    with scene.refuses(ConfirmationError, BAD):
        scene.answer(scene.but(confirmations=confirmations(scene, (party, other_purpose))))
    scene.finishes()


def test_a_quorum_is_enough() -> None:
    scene = scene_at("unmask")
    assert len(Unmask.decode(scene.answer(scene.but(confirmations=scene.request.confirmations[2:]))).shares) == 5


def test_the_quorum_is_counted_with_the_corrupt_of_the_roster() -> None:
    scene = scene_at("unmask")
    scene.party.policy = replace(MALICIOUS, gamma=0.5)  # C = 3: floor(9/2) + 1 = 5; and the floor C + h_min is all six
    with scene.refuses(ConfirmationQuorumError, "4 of 6 parties in U2 confirm it, .* = 5 are needed"):
        scene.answer(scene.but(confirmations=scene.request.confirmations[:4]))
    scene.party.policy = MALICIOUS
    scene.finishes()


def test_after_unmask_nothing_more_is_released() -> None:
    scene = scene_at("unmask")
    request = scene.request
    first = scene.answer(request)
    assert scene.answer(request) == first
    assert isinstance(scene.state(), Ready)
    for again in (replace(request, confirmations=request.confirmations[:4]), other_set(scene)):
        with scene.refuses(WrongStepError, "UNMASK does not belong to the state this party is in, Ready"):
            scene.answer(again)


def test_each_neighbour_gets_the_share_that_u2_says() -> None:
    scene = scene_at("confirm")
    gone = scene.others[1]
    survivors = without(scene.request.survivors, gone)
    scene.answer(replace(scene.request, survivors=survivors))
    scene.request = UnmaskRequest(header=scene.request.header, survivors=survivors)
    signed = tuple((party, signature(scene, party)) for party in survivors)
    shares = Unmask.decode(scene.answer(scene.but(confirmations=signed))).shares
    assert [of for of, _ in shares] == [ShareOf.BOX_KEY if dealer == gone else ShareOf.SELF_SEED for dealer in scene.others]


# --- the coordinator's step --------------------------------------------------------------------------------------------------------------


def finishes_without_confirmation(scene: Scene, reason: DropReason, detail: str = "") -> None:
    """The victim is named, stays in the sum, and is not asked for shares."""
    unmasking = scene.confirming.close()
    assert scene.index in unmasking.survivors
    assert scene.index not in unmasking.asked
    drop = unmasking.drops[scene.index]
    assert (drop.step, drop.reason) == ("confirm", reason)
    assert detail in drop.detail
    request = unmasking.request().encode()
    for index in unmasking.asked:
        unmasking.add(index, scene.party_at(index).answer(request))
    result = unmasking.close()
    assert set(result.drops) == {scene.index}
    assert_equal(result.total, sum_of(scene.plan, scene.vectors, range(scene.n)))


def confirm_of(scene: Scene) -> Confirm:
    return Confirm.decode(scene.answer(scene.request))


CONFIRMS: list[tuple[str, Callable[[Scene], bytes], DropReason, str]] = [
    ("nothing", lambda s: b"", DropReason.MALFORMED, "version"),
    ("another kind", lambda s: join_request(), DropReason.MALFORMED, "expected CONFIRM"),
    ("another round", lambda s: replace(confirm_of(s), header=Header(7, 1, 2)).encode(), DropReason.MALFORMED, "another round"),
    ("no signature", lambda s: replace(confirm_of(s), signature=b"").encode(), DropReason.BAD_SIGNATURE, ""),
    ("somebody else's", lambda s: replace(confirm_of(s), signature=signature(s, s.others[0])).encode(), DropReason.BAD_SIGNATURE, ""),
    (
        "another survivor set",
        lambda s: replace(confirm_of(s), signature=signature(s, s.index, survivors=s.pair)).encode(),
        DropReason.BAD_SIGNATURE,
        "",
    ),
    (
        "another transcript",
        lambda s: replace(confirm_of(s), signature=signature(s, s.index, transcript=bytes(32))).encode(),
        DropReason.BAD_SIGNATURE,
        "",
    ),
]


@pytest.mark.parametrize(("reply", "reason", "detail"), [case[1:] for case in CONFIRMS], ids=[case[0] for case in CONFIRMS])
def test_a_bad_confirmation_names_its_sender_and_the_round_completes(
    reply: Callable[[Scene], bytes], reason: DropReason, detail: str
) -> None:
    scene = scene_at("confirm")
    scene.confirming.add(scene.index, reply(scene))
    finishes_without_confirmation(scene, reason, detail)


def test_who_does_not_confirm_is_missing_and_nothing_else() -> None:
    finishes_without_confirmation(scene_at("confirm"), DropReason.NO_REPLY)


def test_an_error_reply_is_no_confirmation() -> None:
    scene = scene_at("confirm")
    scene.confirming.fail(scene.index, "state lost")
    scene.confirming.add(scene.index, scene.answer(scene.request))
    finishes_without_confirmation(scene, DropReason.ERROR_REPLY, "state lost")


def test_the_first_confirmation_counts_and_strangers_do_not() -> None:
    scene = scene_at("confirm")
    reply = scene.answer(scene.request)
    scene.confirming.add(scene.index, reply)
    scene.confirming.add(scene.index, b"")
    scene.confirming.fail(scene.index, "late")
    for stranger in (6, 99, -1):
        scene.confirming.add(stranger, reply)
        scene.confirming.fail(stranger, "who")
    assert scene.confirming.drops == {}
    scene.finishes()


def test_shares_of_who_did_not_confirm_in_time_are_not_taken() -> None:
    scene = scene_at("confirm")
    scene.answer(scene.request)
    unmasking = scene.confirming.close()
    late = scene.answer(unmasking.request())
    unmasking.add(scene.index, late)
    assert not unmasking._counts.any()
    assert unmasking.drops[scene.index].step == "confirm"


def test_too_few_confirmations_name_who_is_missing_and_nothing_is_unmasked() -> None:
    scene = scene_at("train")
    scene.send_vector(scene.start())
    confirming = scene.collecting.confirm()
    silent = scene.others[:3]
    for index in without(confirming.survivors, *silent):
        confirming.add(index, scene.party_at(index).answer(confirming.request().encode()))
    with pytest.raises(QuorumError, match="3 of 6 parties confirmed the survivor set, 4 are needed") as caught:
        confirming.close()
    assert set(caught.value.missing) == {scene.protocol.enrolment.names()[index] for index in silent}  # type: ignore[union-attr]


def test_a_survivor_set_below_the_quorum_is_not_even_sent() -> None:
    """With C + h_min below the quorum, the quorum is what counts: fewer could never confirm the set that they are in."""
    scene = Scene(8, replace(MALICIOUS, honest_survivors=2)).at("train")
    assert (scene.party._rules.floor(8, 7), scene.parameters.quorum) == (3, 5)
    assert scene.collecting._round.floor == 5


def test_a_frozen_set_takes_nobody_in() -> None:
    scene = scene_at("train")
    ticket = scene.start()
    confirming = scene.collecting.confirm()
    late = scene.party.finish_training(ticket, NO_METRICS, 1, bytes(32))
    scene.collecting.add(scene.index, late, b"x")
    assert scene.index not in confirming.survivors
    assert confirming.request().survivors == scene.others


def test_a_malicious_round_needs_a_directory_and_a_quorum() -> None:
    from stfed.secagg.server import Preparing

    scene = scene_at("prepare")
    facts, directory = scene.preparing.facts, scene.protocol.enrolment.directory  # type: ignore[union-attr]
    for parts in ({}, {"directory": directory}, {"corrupt": 1}):
        with pytest.raises(LocalError, match="needs the directory, to check signatures, and C"):
            Preparing(facts, ["party"] * 6, 4, **parts)  # type: ignore[arg-type]
    assert facts.mode is Mode.MALICIOUS
    assert Kind.CONFIRM_REQUEST == ConfirmRequest.KIND
