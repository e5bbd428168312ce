"""A clip that moves within a run: what a party's owner may allow, what is refused all the same, and what the sums of two clips tell."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stfed.encoding import EncodingPlan, Vector, decode_sum, encode_update
from stfed.encoding.rotation import Rotation
from stfed.errors import DecodeError
from stfed.secagg.messages import Phase
from stfed.secagg.params import Mode
from stfed.secagg.policy import Policy
from stfed.secagg.refusals import PlanError
from tests.encoding.helpers import seeded
from tests.secagg.scene import Scene, plan_of

MOVES = Policy(clip_moves=True, clip=(0.25, 16.0))
PINNED = "another one than in the first round of this run"


def scene_with(clip: float, policy: Policy = MOVES) -> Scene:
    """A run whose first round had this clip, and whose next PREPARE is to come."""
    scene = Scene(policy=policy)
    scene.plan = plan_of(6, clip=clip)
    scene.finishes()
    return scene.at("prepare")


def asking(scene: Scene, **changed: Any) -> bytes:
    encoded: bytes = scene.but(plan=replace(scene.plan, **changed).encode()).encode()
    return encoded


@pytest.mark.parametrize("mode", Mode)
def test_it_moves_among_the_powers_of_two_that_the_owner_allows(mode: Mode) -> None:
    scene = scene_with(8.0, replace(MOVES, mode=mode))
    for clip in (0.25, 1.0, 16.0, 8.0):
        before = scene.snapshot()
        assert scene.answer(asking(scene, clip=clip))
        scene.restore(before)
    scene.plan = plan_of(6, clip=0.25)
    scene.finishes()
    scene.plan = plan_of(6, clip=16.0)
    scene.finishes()


@given(clip=st.floats(0.25, 16.0).filter(lambda clip: np.frexp(clip)[0] != 0.5))
def test_between_powers_of_two_there_is_no_question_to_ask(clip: float) -> None:
    with SCENES[True].refuses(PlanError, PINNED):
        SCENES[True].answer(asking(SCENES[True], clip=clip))


@given(clip=st.floats(0.25, 16.0).filter(lambda clip: clip != 8.0))
def test_without_the_owners_word_it_does_not_move_at_all(clip: float) -> None:
    with SCENES[False].refuses(PlanError, PINNED):
        SCENES[False].answer(asking(SCENES[False], clip=clip))


SCENES = {moves: scene_with(8.0, replace(MOVES, clip_moves=moves)) for moves in (True, False)}


@pytest.mark.parametrize("clip", [0.125, 32.0, 2.0**-90, 2.0**90])
def test_outside_of_the_owners_bounds_it_never_is(clip: float) -> None:
    scene = scene_with(8.0)
    with scene.refuses(PlanError, "this party allows 0.25 to 16"):
        scene.answer(asking(scene, clip=clip))
    scene.finishes()


@pytest.mark.parametrize(
    "changed",
    [{"max_weight": 5.0}, {"ring_bits": 31}, {"value_bits": 9}, {"uniform": True, "max_weight": 1}, {"rotation": Rotation(bytes(16))}],
    ids=lambda changed: next(iter(changed)),
)
def test_nothing_else_moves_with_it(changed: dict[str, Any]) -> None:
    scene = scene_with(8.0)
    with scene.refuses(PlanError, PINNED):
        scene.answer(asking(scene, clip=4.0, **changed))
    scene.finishes()


@pytest.mark.parametrize("first", [0.3, 3.0])
def test_a_run_that_began_between_powers_of_two_stays_there(first: float) -> None:
    scene = scene_with(first)
    for clip in (0.25, 1.0, 4.0):
        with scene.refuses(PlanError, PINNED):
            scene.answer(asking(scene, clip=clip))
    scene.finishes()


def test_nor_does_another_epoch_or_a_prepare_that_rides_make_it_move() -> None:
    scene = scene_with(8.0, replace(MOVES, clip_moves=False))
    scene.protocol.join()
    scene.step = "idle"
    scene.at("prepare")
    with scene.refuses(PlanError, PINNED):
        scene.answer(asking(scene, clip=4.0))
    scene.finishes()
    scene.at("unmask")
    header = replace(scene.request.header, round=scene.request.header.round + 1)
    riding = replace(scene.preparing.request(), header=header, plan=plan_of(6, clip=4.0).encode(), phase=Phase.TRAIN).encode()
    _, refused = scene.party.unmask_and_prepare(scene.request.encode(), riding)
    assert isinstance(refused, PlanError)
    assert not isinstance(refused, DecodeError)


def test_what_is_over_the_smaller_of_two_clips_shows() -> None:
    """Why it takes the owner's word (ADR 0029): an update that is sent at two clips, and the value of a party that is alone beyond one."""
    values = [np.full(64, 0.05), np.full(64, 0.06), np.full(64, 0.04)]
    values[1][7] = secret = 0.817
    received = {"w": np.zeros(64)}

    def total(clip: float) -> np.ndarray:
        plan = EncodingPlan.for_arrays(received, parties=3, clip=clip, max_weight=1, uniform=True, metric_slots=0)
        vector = Vector.zeros(plan)
        for party, update in enumerate(values):
            encoded = encode_update(plan, received, {"w": update}, 1, {}, seeded(party))
            vector.add(encoded.vector, plan)
        vector.reduce(plan)
        return 3 * np.asarray(decode_sum(plan, vector, 3, received, encoded.schema).arrays["w"])

    difference = total(1.0) - total(0.125)
    assert difference[7] + 0.125 == pytest.approx(secret, abs=1e-6)
    assert np.abs(np.delete(difference, 7)).max() < 1e-6, "of what was cut at neither of the two, nothing"
