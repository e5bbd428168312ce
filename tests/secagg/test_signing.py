"""What parties sign in malicious mode: a reply counts if its sender signed it, for this round, cohort, model and U1, and for no other."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from stfed.crypto.identity import BadSignatureError
from stfed.crypto.labels import Label
from stfed.encoding import pack_vector
from stfed.errors import LocalError
from stfed.secagg.messages import Header, Masked, Message, Phase, Prepare, Unmask
from stfed.secagg.server import DropReason
from stfed.secagg.signing import check_signed, round_context, signed
from stfed.testing.protocol import signing_key
from tests.secagg.scene import MALICIOUS, NO_METRICS, VICTIM, Scene, assert_equal, sum_of
from tests.secagg.test_server import sent, vector_of

STEPS: dict[str, type[Message]] = {"prepare": Prepare, "train": Masked, "unmask": Unmask}
each_step = pytest.mark.parametrize("step", STEPS)


def reply_of(scene: Scene) -> tuple[Message, bytes, bytes]:
    """What the victim answers, the payload beside it, and the context that it is signed in."""
    if scene.step == "prepare":
        return Prepare.decode(scene.answer(scene.request)), b"", round_context(scene.preparing.facts)
    if scene.step == "train":
        ticket = scene.start()
        vector = vector_of(scene)(VICTIM)
        ticket.masks.apply(vector)
        payload = pack_vector(vector, scene.plan)
        masked = scene.party.finish_training(ticket, NO_METRICS, len(payload), hashlib.sha256(payload).digest())
        return Masked.decode(masked), payload, scene.collecting.transcript
    return Unmask.decode(scene.answer(scene.request)), b"", scene.collecting.transcript


def give(scene: Scene, message: Message, payload: bytes) -> None:
    if scene.step == "prepare":
        scene.preparing.add(scene.index, message.encode())
    elif scene.step == "train":
        scene.collecting.add(scene.index, message.encode(), payload)
    else:
        scene.unmasking.add(scene.index, message.encode())


def ends(scene: Scene, dropped: DropReason | None) -> None:
    """The round ends in the exact sum of everybody, or of everybody but the victim, who is named."""
    if scene.step == "prepare":
        collecting = scene.protocol.train(scene.preparing, vector_of(scene), scene.content, missing={VICTIM} if dropped else ())
        result = scene.protocol.unmask(collecting)
    elif scene.step == "train":
        result = scene.protocol.unmask(scene.collecting)
    else:
        result = scene.unmasking.close()
    summed = [node for node in range(scene.n) if node != VICTIM or not dropped or scene.step == "unmask"]
    assert_equal(result.total, sum_of(scene.plan, scene.vectors, summed))
    assert {index: drop.reason for index, drop in result.drops.items()} == ({scene.index: dropped} if dropped else {})


@each_step
def test_every_reply_is_signed_by_the_identity_of_its_sender_in_its_context(step: Any) -> None:
    scene = Scene(policy=MALICIOUS).at(step)
    message, payload, context = reply_of(scene)
    identity = scene.protocol.identities[VICTIM].public_bytes
    check_signed(message, identity, context)
    with pytest.raises(BadSignatureError):
        check_signed(message, identity, bytes(32))
    give(scene, message, payload)
    ends(scene, None)


FORGERIES: dict[str, Callable[[Message, bytes], Message]] = {
    "stripped": lambda message, _: replace(message, signature=b""),
    "zero": lambda message, _: replace(message, signature=bytes(64)),
    "by somebody else on the roster": lambda message, context: signed(message, signing_key(0).ed25519, context),
    "in another context": lambda message, _: signed(message, signing_key(VICTIM).ed25519, bytes(32)),
    "for another purpose": lambda message, context: replace(
        message, signature=signing_key(VICTIM).ed25519.sign(Label.SIGN_SURVIVORS, message.unsigned(), context)
    ),
    "of the message in another round": lambda message, context: replace(
        message, signature=signed(replace(message, header=Header(7, 1, 9)), signing_key(VICTIM).ed25519, context).signature
    ),
}


@pytest.mark.parametrize("forgery", FORGERIES)
@each_step
def test_a_reply_that_its_sender_did_not_sign_like_this_is_none(step: Any, forgery: str) -> None:
    scene = Scene(policy=MALICIOUS).at(step)
    message, payload, context = reply_of(scene)
    give(scene, FORGERIES[forgery](message, context), payload)
    ends(scene, DropReason.BAD_SIGNATURE)


def test_the_identity_is_in_no_state_and_no_message() -> None:
    """It is the owner's, and every process is handed it anew: what a party keeps of a run cannot sign for it."""
    scene = Scene(policy=MALICIOUS)
    secret = scene.protocol.identities[VICTIM].private_bytes()
    for step in ("prepare", "train", "confirm", "unmask", "idle"):
        assert secret not in scene.at(step).record()  # type: ignore[arg-type]
        assert secret not in repr(scene.party).encode()
    assert not any(secret in data for _, _, _, data in scene.protocol.log)


@each_step
def test_a_reply_that_was_changed_on_the_way_is_none(step: Any) -> None:
    scene = Scene(policy=MALICIOUS).at(step)
    message, payload, _ = reply_of(scene)
    changed: Any = {
        "prepare": lambda: replace(message, commit_self_seed=bytes(32)),  # type: ignore[call-arg]
        "train": lambda: replace(message, schema=NO_METRICS + b"\0"),  # type: ignore[call-arg]
        "unmask": lambda: replace(message, shares=message.shares[::-1]),  # type: ignore[attr-defined, call-arg]
    }[step]()
    give(scene, changed, payload)
    ends(scene, DropReason.BAD_SIGNATURE)


def test_a_vector_that_is_not_the_signed_one_is_none() -> None:
    scene = Scene(policy=MALICIOUS).at("train")
    message, payload, _ = reply_of(scene)
    other = bytes((payload[0] ^ 1,)) + payload[1:]
    give(scene, message, other)
    ends(scene, DropReason.MALFORMED)
    assert "does not fit its digest" in scene.collecting.drops[scene.index].detail


def test_a_signed_reply_that_names_no_vector_is_none() -> None:
    scene = Scene(policy=MALICIOUS).at("train")
    message, payload, context = reply_of(scene)
    bare = signed(replace(message, payload_digest=b""), scene.protocol.identities[VICTIM], context)  # type: ignore[call-arg]
    give(scene, bare, payload)
    ends(scene, DropReason.MALFORMED)


@pytest.mark.parametrize("digest", [b"", bytes(31), bytes(33)])
def test_a_party_does_not_sign_without_the_vectors_digest(digest: bytes) -> None:
    scene = Scene(policy=MALICIOUS).at("train")
    ticket = scene.start()
    with pytest.raises(LocalError, match="needs the SHA-256 of the payload"):
        scene.party.finish_training(ticket, NO_METRICS, 1, digest)
    scene.send_vector(ticket)


def test_a_model_that_was_changed_on_the_way_shows_before_anything_is_unmasked() -> None:
    scene = Scene(policy=MALICIOUS).at("train")
    ticket = scene.start(content=b"another model on the way to this".ljust(32))
    scene.send_vector(ticket)
    assert scene.collecting.drops[scene.index].reason is DropReason.BAD_SIGNATURE
    ends(scene, DropReason.BAD_SIGNATURE)


def test_the_round_context_stands_for_everything_that_prepare_fixed() -> None:
    facts = Scene(policy=MALICIOUS).at("prepare").preparing.facts
    others = [
        replace(facts, header=replace(facts.header, round=2)),
        replace(facts, phase=Phase.EVALUATE),
        replace(facts, k=4),
        replace(facts, t=5),
        replace(facts, plan=b"plan"),
        replace(facts, cohort=facts.cohort[1:]),
        replace(facts, cohort_digest=bytes(32)),
    ]
    assert len({round_context(one) for one in (facts, *others)}) == 1 + len(others)


def test_a_semi_honest_party_signs_nothing_and_its_coordinator_takes_no_signature() -> None:
    scene = Scene().at("train")
    masked, payload = sent(scene)
    assert masked.signature == b""
    scene.collecting.add(scene.index, signed(masked, signing_key(VICTIM).ed25519, scene.collecting.transcript).encode(), payload)
    assert "it is signed, but the round is semi-honest" in scene.collecting.drops[scene.index].detail
