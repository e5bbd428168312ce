"""UNMASK and the PREPARE that rides on it: one transaction, nothing that two messages could not ask, and rules that hold again at TRAIN."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from stfed.errors import DecodeError
from stfed.secagg.client import Prepared, Ready, Trained, Training
from stfed.secagg.messages import Prepare, Unmask
from stfed.secagg.party import Party
from stfed.secagg.policy import Policy
from stfed.secagg.refusals import (
    CohortTooSmallError,
    NotAMemberError,
    ParametersError,
    PlanError,
    RefusedError,
    RevokedIdentityError,
    RoundOrderError,
    SurvivorsError,
    WrongRoundError,
    WrongStepError,
)
from stfed.secagg.server import Preparing
from tests.secagg.scene import MALICIOUS, Scene, without
from tests.secagg.test_party import BrokenStore, race

MODES = pytest.mark.parametrize("policy", [Policy(), MALICIOUS], ids=["semi-honest", "malicious"])


def following(scene: Scene, rounds: int = 1, **changes: Any) -> bytes:
    """The PREPARE of a later round with the same cohort."""
    facts = scene.preparing.facts
    request = replace(facts, header=replace(facts.header, round=facts.header.round + rounds)).request(())
    return replace(request, **changes).encode()


def both(scene: Scene, prepare: bytes, party: Party | None = None) -> tuple[bytes, Any]:
    return (party or scene.party).unmask_and_prepare(scene.request.encode(), prepare)


@MODES
def test_both_are_answered_as_they_would_be_one_after_the_other(policy: Policy) -> None:
    one, two = Scene(policy=policy, seed="ahead").at("unmask"), Scene(policy=policy, seed="ahead").at("unmask")
    released, prepared = both(one, following(one))
    assert released == two.answer(two.request)
    assert prepared == two.answer(following(two))
    assert one.state() == two.state()
    assert isinstance(one.state(), Prepared)


@MODES
def test_a_round_that_was_prepared_ahead_gives_an_exact_sum(policy: Policy) -> None:
    scene = Scene(policy=policy).at("unmask")
    protocol = scene.protocol
    scene.finishes()
    # All parties again, this time both in one message.
    scene.at("unmask")
    assert protocol.enrolment is not None
    facts = scene.preparing.facts
    ahead = replace(facts, header=replace(facts.header, round=facts.header.round + 1))
    floor = replace(protocol.policy, roster=scene.parameters.roster).floor(facts.n, facts.k)
    signers: dict[str, Any] = {"directory": protocol.enrolment.directory, "corrupt": scene.parameters.corrupt} if protocol.malicious else {}
    preparing = Preparing(ahead, protocol.enrolment.names(), floor, **signers)
    for index in scene.unmasking.survivors:
        # The others have answered UNMASK already: a resend of it, with something new on it.
        released, prepared = scene.party_at(index).unmask_and_prepare(scene.request.encode(), preparing.request().encode())
        scene.unmasking.add(index, released)
        assert isinstance(prepared, bytes)
        preparing.add(index, prepared)
    scene.unmasking.close()
    protocol.round += 1
    collecting = protocol.train(preparing, lambda node: scene.vectors[node], scene.content)
    assert protocol.unmask(collecting).drops == {}


def test_a_resend_gets_identical_bytes_from_another_process_too() -> None:
    scene = Scene().at("unmask")
    prepare = following(scene)
    first = both(scene, prepare)
    before = scene.snapshot()
    assert both(scene, prepare) == both(scene, prepare, scene.restart()) == first
    assert scene.answer(prepare) == first[1], "on its own, too: the coordinator asks again whom it has not heard"
    assert scene.answer(scene.request) == first[0]
    assert scene.snapshot() == before


def test_what_is_answered_is_stored_first() -> None:
    scene = Scene().at("unmask")
    before = scene.snapshot()
    with pytest.raises(OSError, match="disk full"):
        both(scene, following(scene), Party(BrokenStore(scene.store), scene.policy))
    assert scene.snapshot() == before
    scene.finishes()


def test_of_many_at_once_exactly_one_is_answered() -> None:
    scene = Scene().at("unmask")
    prepares = [following(scene, rounds) for rounds in (1, 2, 3)]
    results = race(*(lambda prepare=prepare: both(scene, prepare, scene.restart()) for prepare in (*prepares, *prepares)))
    assert len({released for released, _ in results}) == 1
    assert isinstance(scene.state(), Prepared)


# --- refusals ----------------------------------------------------------------------------------------------------------------------------


def test_an_unmask_that_is_refused_takes_the_prepare_with_it() -> None:
    scene = Scene().at("unmask")
    for wrong, error in (
        (scene.but(survivors=without(scene.request.survivors, scene.index)), NotAMemberError),
        (scene.but(survivors=(*scene.request.survivors, 99)), SurvivorsError),
        (scene.elsewhere(round=9), WrongRoundError),
    ):
        with scene.refuses(error):
            scene.party.unmask_and_prepare(wrong.encode(), following(scene))
    scene.finishes()


REFUSED = {
    "the same round": ({"rounds": 0}, RoundOrderError),
    "another epoch": ({"header": 9}, WrongRoundError),
    "without this party": ({"cohort": (0, 1)}, NotAMemberError),
    "a threshold that is too low": ({"t": 1}, ParametersError),
    "no plan": ({"plan": b""}, DecodeError),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_prepare_that_is_refused_leaves_the_unmask_as_it_is(what: str) -> None:
    changes, error = REFUSED[what]
    scene = Scene(n=8).at("unmask")
    changes = dict(changes)
    if "header" in changes:
        header = scene.preparing.facts.header
        changes["header"] = replace(header, epoch=changes["header"], round=header.round + 1)
    if "cohort" in changes:
        changes["cohort"] = without(tuple(range(8)), scene.index)
    released, refused = both(scene, following(scene, **changes))
    assert type(refused) is error
    assert isinstance(scene.state(), Ready)
    scene.unmasking.add(scene.index, released)
    assert scene.unmasking.close().drops == {}


def test_prepare_rides_on_unmask_only() -> None:
    scene = Scene().at("prepare")
    with scene.refuses(WrongStepError, "not on PREPARE_REQUEST"):
        scene.party.unmask_and_prepare(scene.request.encode(), scene.request.encode())
    scene.at("unmask")
    with scene.refuses(DecodeError):
        scene.party.unmask_and_prepare(b"", following(scene))
    released, refused = both(scene, scene.request.encode())
    assert isinstance(refused, DecodeError), "an UNMASK is no PREPARE"
    assert isinstance(scene.state(), Ready)
    assert Unmask.decode(released)


def test_after_both_the_round_is_over_for_good() -> None:
    scene = Scene().at("unmask")
    late = scene.but(survivors=without(scene.request.survivors, scene.others[0])).encode()
    both(scene, following(scene))
    with scene.refuses(WrongStepError):
        scene.answer(late)
    with scene.refuses(WrongStepError):
        scene.party.unmask_and_prepare(late, following(scene, 2))


def test_another_prepare_gives_the_round_ahead_up() -> None:
    scene = Scene().at("unmask")
    both(scene, following(scene))
    first = scene.state()
    assert Prepare.decode(scene.answer(following(scene, 2))).header.round == first.header.round + 1
    assert scene.state() != first


# --- rules that became stricter between PREPARE and TRAIN --------------------------------------------------------------------------------

STRICTER = {
    "cohort": ({"min_cohort": 7}, CohortTooSmallError),
    "threshold": ({"min_threshold": 6}, ParametersError),
    "ring": ({"ring_bits": (33, 64)}, PlanError),
    "rounds": ({"max_rounds": 1}, RoundOrderError),
}


@pytest.mark.parametrize("what", STRICTER)
def test_the_owners_rules_are_those_of_today(what: str) -> None:
    """PREPARE may have come with the round before, hours ago."""
    changes, error = STRICTER[what]
    scene = Scene()
    scene.finishes()
    scene.at("train")
    stricter = scene.restart(replace(Policy(), **changes))
    with scene.refuses(error):
        stricter.start_training(scene.request.encode(), scene.content)
    assert not isinstance(scene.state(), Training | Trained)
    scene.finishes()


def test_who_was_revoked_since_is_in_nobodys_sum() -> None:
    scene = Scene(policy=MALICIOUS).at("train")

    class Revoked:
        def __len__(self) -> int:
            return len(scene.protocol.roster)  # type: ignore[arg-type]

        def member(self, identity: bytes) -> str:
            if identity == scene.protocol.identities[0].public_bytes:
                raise RevokedIdentityError("it was revoked")
            assert scene.protocol.roster is not None
            return scene.protocol.roster.member(identity)

    party = Party(scene.store, scene.policy, identity=scene.protocol.identities[2], roster=Revoked())
    with scene.refuses(RevokedIdentityError):
        party.start_training(scene.request.encode(), scene.content)
    scene.finishes()


def test_every_refusal_here_is_one() -> None:
    assert all(issubclass(error, RefusedError | DecodeError) for _, error in (*REFUSED.values(), *STRICTER.values()))
