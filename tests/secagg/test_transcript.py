"""The transcript binds everything that parties must agree on: whatever is shown to one of them differently gives noise, never its vector.

Pasquini, Francati and Ateniese (CCS 2022) is the attack: two parties are shown different models and the masks still cancel.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from stfed.encoding import Vector
from stfed.errors import DecodeError
from stfed.secagg import keys
from stfed.secagg.client import Prepared
from stfed.secagg.messages import Header, Phase, Prepare, TrainRequest
from stfed.secagg.params import Mode, choose
from stfed.secagg.party import Ticket
from stfed.secagg.policy import Policy
from stfed.secagg.refusals import ShareUnreadableError
from stfed.secagg.transcript import RoundFacts, mode_from
from stfed.testing.protocol import LocalProtocol
from tests.secagg.scene import VICTIM, Scene, plan_of, sum_of

FACTS = RoundFacts(Header(7, 1, 3), Phase.TRAIN, Mode.SEMI_HONEST, 5, 3, plan_of(6).encode(), (0, 1, 2, 3, 4, 5), bytes(32))
ALIVE, CONTENT = (0, 1, 2, 3, 4), bytes(range(32))


def other_facts() -> dict[str, RoundFacts]:
    header = FACTS.header
    return {
        "run": replace(FACTS, header=replace(header, run=8)),
        "epoch": replace(FACTS, header=replace(header, epoch=2)),
        "round": replace(FACTS, header=replace(header, round=4)),
        "phase": replace(FACTS, phase=Phase.EVALUATE),
        "mode": replace(FACTS, mode=Mode.MALICIOUS),
        "n": replace(FACTS, cohort=(0, 1, 2, 3, 4, 5, 6)),
        "k": replace(FACTS, k=4),
        "t": replace(FACTS, t=4),
        "plan": replace(FACTS, plan=plan_of(6, clip=4.0).encode()),
        "cohort digest": replace(FACTS, cohort_digest=bytes((1,)) * 32),
    }


def test_every_fact_u1_and_the_content_change_the_transcript() -> None:
    transcripts = [facts.transcript(ALIVE, CONTENT) for facts in (FACTS, *other_facts().values())]
    transcripts += [FACTS.transcript(alive, CONTENT) for alive in ((0, 1, 2, 3), (0, 1, 2, 3, 5), FACTS.cohort)]
    transcripts += [FACTS.transcript(ALIVE, content) for content in (bytes(32), CONTENT[::-1])]
    assert {len(transcript) for transcript in transcripts} == {32}
    assert all(one != other for one, other in combinations(transcripts, 2))
    assert FACTS.transcript(ALIVE, CONTENT) == transcripts[0]


def test_every_fact_crosses_as_bytes() -> None:
    for facts in (FACTS, *other_facts().values()):
        assert RoundFacts.decode(facts.encode()) == facts
        assert RoundFacts.of(facts.request(()), facts.cohort_digest) == facts


def test_a_mode_that_is_not_known_is_refused() -> None:
    with pytest.raises(DecodeError, match="security mode 0 is not known"):
        mode_from(0)


def test_the_mask_keys_hang_on_the_transcript_and_on_their_purpose() -> None:
    seed, transcripts = bytes(range(32)), (bytes(32), bytes((1,)) * 32)
    derived = [derive(seed, transcript) for derive in (keys.self_mask_key, keys.pairwise_mask_key) for transcript in transcripts]
    assert len(set(derived)) == 4


# --- the same randomness, one thing different --------------------------------------------------------------------------------------------


def masked(**different: Any) -> np.ndarray:
    """The victim's masked vector of zeros, that is its mask, with every random number the same each time."""
    n = 6
    # From seven parties on t would be larger and take more coefficients; the script of random numbers would come out of step.
    protocol = LocalProtocol(n, Policy(), seed="the same", run=different.get("run", 7))
    protocol.epoch, protocol.round = different.get("epoch", 0), different.get("base", 0)
    nodes = different.get("cohort", range(n))
    parameters = choose(len(nodes), 0.1, 0.1, t=3)
    plan = plan_of(len(nodes), clip=different.get("clip", 8.0))
    protocol.join()
    protocol.round = different.get("round", protocol.round)
    preparing = protocol.prepare(plan, parameters, nodes, phase=different.get("phase", Phase.TRAIN), missing=different.get("missing", ()))
    content = hashlib.sha256(different.get("content", b"model and config")).digest()
    protocol.train(preparing, lambda _: Vector.zeros(plan), content)
    (payload,) = [data for step, direction, node, data in protocol.log if (step, direction, node) == ("train", "up", VICTIM)][1:]
    return np.frombuffer(payload[: 4 * plan.vector_length], "<u4")


def is_noise(found: np.ndarray, vector: np.ndarray) -> bool:
    """Another vector, at the distance of uniform bits: within eight standard deviations of one half of them differ."""
    bits = np.unpackbits((found ^ vector).view(np.uint8))
    return not np.array_equal(found, vector) and abs(bits.mean() - 0.5) < 8 * 0.5 / np.sqrt(bits.size)


def test_the_masks_are_the_same_when_nothing_differs() -> None:
    np.testing.assert_array_equal(masked(), masked())


@pytest.mark.parametrize(
    "different",
    [
        {"content": b"another model"},
        {"cohort": range(5)},
        {"missing": [5]},
        {"clip": 4.0},
        {"phase": Phase.EVALUATE},
        {"round": 1},
        {"base": 1},
        {"epoch": 1},
        {"run": 8},
    ],
    ids=["model or config", "cohort", "U1", "plan", "phase", "round", "the epoch's base", "epoch", "run"],
)
def test_the_masks_differ_when_anything_differs(different: dict[str, Any]) -> None:
    assert is_noise(masked(**different), masked())


# --- a lie to one party ------------------------------------------------------------------------------------------------------------------


def recovered(scene: Scene, ticket: Ticket) -> np.ndarray:
    """What the coordinator computes for the victim: the sum, minus everybody else's vector."""
    scene.send_vector(ticket)
    scene.unmasking = scene.collecting.close()
    scene.request = scene.unmasking.request()
    scene._others_unmask()
    theirs = sum_of(scene.plan, scene.vectors, [node for node in range(scene.n) if node != VICTIM])
    ring: np.ndarray = scene.unmasking.close().total.ring - theirs.ring
    return ring


def test_the_truth_gives_the_vector() -> None:
    """What the tests below would see if a lie were not in the transcript."""
    scene = Scene().at("train")
    found = recovered(scene, scene.start())
    np.testing.assert_array_equal(found, scene.vectors[VICTIM].ring)
    assert not is_noise(found, scene.vectors[VICTIM].ring)


@pytest.mark.parametrize(
    "lie",
    [lambda s: (s.request, hashlib.sha256(b"another model").digest()), lambda s: (s.left(s.others[0]), s.content)],
    ids=["another model", "another U1"],
)
def test_a_lie_in_train_gives_noise(lie: Callable[[Scene], tuple[TrainRequest, bytes]]) -> None:
    scene = Scene().at("train")
    assert is_noise(recovered(scene, scene.start(*lie(scene))), scene.vectors[VICTIM].ring)


@pytest.mark.parametrize("lie", [{"plan": plan_of(6, clip=4.0).encode()}, {"phase": Phase.EVALUATE}], ids=["another plan", "another phase"])
def test_a_lie_in_prepare_gives_noise(lie: dict[str, Any]) -> None:
    scene = Scene().at("prepare")
    scene.request = scene.but(**lie)
    scene.at("train")
    ticket = scene.start(phase=lie.get("phase", Phase.TRAIN))
    assert is_noise(recovered(scene, ticket), scene.vectors[VICTIM].ring)


def test_another_cohort_for_one_party_opens_no_share() -> None:
    """The cohort decides the points, and its size decides k and t, all bound into what is dealt: nobody gets as far as a mask."""
    scene = Scene(7).at("prepare")
    gone = scene.others[0]
    cohort = tuple(party for party in range(7) if party != gone)
    reply = scene.answer(scene.but(cohort=cohort, k=5, t=3, plan=plan_of(6).encode()))
    assert len(Prepare.decode(reply).dealt) == 5
    scene.preparing.add(scene.index, reply)
    assert "deals shares to 5 neighbours" in str(scene.preparing.drops[scene.index])
    honest = scene.preparing.close(scene.content)
    deliveries = honest.request(scene.others[1]).deliveries
    state = scene.state()
    assert isinstance(state, Prepared)
    with scene.refuses(ShareUnreadableError):
        scene.start(TrainRequest(header=state.header, alive=cohort, deliveries=deliveries))


def test_another_threshold_for_one_party_opens_no_share() -> None:
    scene = Scene().at("prepare")
    scene.preparing.add(scene.index, scene.answer(scene.but(t=4)))
    collecting = scene.preparing.close(scene.content)
    with scene.refuses(ShareUnreadableError):
        scene.start(collecting.request(scene.index))
