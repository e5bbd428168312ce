"""Parties that lie, one kind of lie at a time, through the real strategy, grid and mod.

`trial` checks what holds for all of them: each round is the exact sum of whom it names or a clean failure, no honest party is blamed, and
no more honest parties lose their place than there are liars. Here stands what becomes of each liar.
"""

from __future__ import annotations

import hashlib
import tracemalloc
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict

from stfed.crypto import aead, shamir
from stfed.crypto.labels import Label
from stfed.encoding import MetricSchema
from stfed.flower import records
from stfed.secagg import keys
from stfed.secagg.messages import Complaint, Confirm, Grievance, Join, Masked, Prepare, ShareOf, TrainRequest, Unmask
from stfed.secagg.signing import round_context, sign_survivors, signed
from stfed.testing import InMemoryGrid
from stfed.testing.parcel import pack, unpack
from stfed.testing.protocol import signing_key
from tests.flower.parties import (
    BAD_SIGNATURE,
    DISPUTE,
    ERROR,
    EXCLUDED,
    MALFORMED,
    MISMATCH,
    OTHER_METRICS,
    WRONG_SHARE,
    Lie,
    Lies,
    Lying,
    bytewise,
    everybody_but,
    once,
    other_header,
    patched,
    refusing,
    saying,
    silent,
    telling,
    trial,
)


def identity(party: int) -> bytes:
    return signing_key(party).ed25519.public_bytes


N, STRANGER = 7, 99
ALL = everybody_but()
*_, VICTIM, LIAR = sorted(ALL, key=identity)  # steps go by identity: the liar is asked last, and has heard everybody
HONEST = everybody_but(LIAR)
# --- lies about any message --------------------------------------------------------------------------------------------------------------

KINDS: dict[str, Any] = {"prepare": Prepare, "train": Masked, "confirm": Confirm, "unmask": Unmask}


def replayed(lying: Lying) -> RecordDict:
    return lying.before()


def anothers(lying: Lying) -> RecordDict:
    """What its victim said in this step."""
    return lying.before(VICTIM)


def by_a_stranger(lying: Lying) -> RecordDict:
    message = lying.said(KINDS[lying.step])
    return saying(lying, signed(message, signing_key(STRANGER).ed25519, lying.context).encode())


def in_another_context(lying: Lying) -> RecordDict:
    """As if the model, the cohort or U1 had been others."""
    return saying(lying, lying.sign(lying.said(KINDS[lying.step]), bytes(32)).encode())


def of_another_round(lying: Lying) -> RecordDict:
    message = lying.said(KINDS[lying.step])
    return saying(lying, lying.sign(replace(message, header=other_header(message.header))).encode())


def of_another_kind(lying: Lying) -> RecordDict:
    lying.honest()
    return saying(
        lying, lying.sign(Unmask(header=lying.header, shares=()) if lying.step != "unmask" else Confirm(header=lying.header)).encode()
    )


def a_text(lying: Lying) -> RecordDict:
    return RecordDict({**lying.honest(), records.RECORD: ConfigRecord({"message": "patient Zwetschge-12345"})})


def nothing(lying: Lying) -> RecordDict:
    lying.honest()
    return RecordDict()


def in_clear(lying: Lying) -> RecordDict:
    """A plain reply of a train function, as if there were no mod."""
    lying.honest()
    return RecordDict({"arrays": ArrayRecord({"w": Array(np.ones(3))}), "metrics": MetricRecord({"num-examples": 1})})


def signature_first(data: bytes) -> int:
    """Where the signature's length stands."""
    return len(data) - 4 - 64


BROKEN = MALFORMED, ERROR
GARBLED: dict[str, tuple[Lie, tuple[str, ...]]] = {
    "unsigned": (bytewise(lambda data: data[: signature_first(data)] + bytes(4)), (BAD_SIGNATURE,)),
    "badly signed": (bytewise(lambda data: data[:-1] + bytes([data[-1] ^ 1])), (BAD_SIGNATURE,)),
    "another signature": (by_a_stranger, (BAD_SIGNATURE,)),
    "another context": (in_another_context, (BAD_SIGNATURE,)),
    "another round": (of_another_round, BROKEN),
    "another kind": (of_another_kind, BROKEN),
    "another version": (bytewise(lambda data: b"\x07" + data[1:]), BROKEN),
    "another run": (bytewise(lambda data: data[:4] + bytes(8) + data[12:]), BROKEN),
    "cut off": (bytewise(lambda data: data[:-1]), BROKEN),
    "one byte more": (bytewise(lambda data: data + b"\0"), BROKEN),
    "no bytes": (bytewise(lambda data: b""), BROKEN),
    "a signature of 4 GiB": (bytewise(lambda data: data[: signature_first(data)] + b"\xff" * 4), BROKEN),
    "megabytes behind it": (bytewise(lambda data: data + bytes(8 << 20)), BROKEN),
    "a text": (a_text, BROKEN),
    "nothing": (nothing, BROKEN),
    "a reply in clear": (in_clear, BROKEN),
    "an error": (silent, BROKEN),
    "a refusal": (refusing, BROKEN),
    "last round's": (replayed, BROKEN),
    "another party's": (anothers, (BAD_SIGNATURE,)),
}


@pytest.mark.parametrize("what", GARBLED)
def test_a_message_that_is_none_names_its_sender_and_costs_nobody_else_anything(what: str) -> None:
    """One lie in each step, a step a round. Until its vector is there the liar is out of the sum, then it is in: others hold shares."""
    lie, reasons = GARBLED[what]
    first = 2 if what == "last round's" else 1  # there has to be a round before
    found = trial({LIAR: {step: once(lie, first) for step in KINDS}}, rounds=first + 4)
    assert found.summed == [ALL] * (first - 1) + [HONEST, HONEST, ALL, ALL, ALL]
    assert found.lost[: first - 1] == [{}] * (first - 1)
    assert found.lost[-1] == {}
    for step, drops in zip(KINDS, found.lost[first - 1 :], strict=False):
        assert drops in [{LIAR: (step, reason)} for reason in reasons]
    assert "Zwetschge" not in repr([report.as_dict() for report in found.reports])


def test_one_that_never_says_anything_right_is_out_of_every_sum_and_nobody_else() -> None:
    found = trial({LIAR: {"train": GARBLED["badly signed"][0]}}, rounds=4)
    assert found.summed == [HONEST] * 4
    assert found.lost == [{LIAR: ("train", BAD_SIGNATURE)}] * 4


# --- JOIN --------------------------------------------------------------------------------------------------------------------------------


def joining(change: Callable[[Join], Join], signer: int | None = LIAR) -> Lie:
    def lie(lying: Lying) -> RecordDict:
        join = replace(change(lying.said(Join)), signature=b"")
        if signer is None:
            return saying(lying, join.encode())
        signature = signing_key(signer).ed25519.sign(Label.SIGN_MESSAGE, join.unsigned())
        return saying(lying, replace(join, signature=signature).encode())

    return lie


JOINS: dict[str, tuple[Lie, str]] = {
    "unsigned": (joining(lambda join: join, None), MALFORMED),
    "signed with another key": (joining(lambda join: join, VICTIM), MALFORMED),
    "an honest party's name": (joining(lambda join: replace(join, identity=identity(VICTIM))), MALFORMED),
    "nobody on the roster": (joining(lambda join: replace(join, identity=identity(STRANGER)), STRANGER), MALFORMED),
    "a key of low order": (joining(lambda join: replace(join, public_key=bytes(32))), MALFORMED),
    "another epoch": (joining(lambda join: replace(join, header=replace(join.header, epoch=9))), MALFORMED),
    "cut off": (bytewise(lambda data: data[:-1]), MALFORMED),
    "no bytes": (bytewise(lambda data: b""), MALFORMED),
    "a signature of 4 GiB": (bytewise(lambda data: data[: signature_first(data)] + b"\xff" * 4), MALFORMED),
    "nothing": (nothing, MALFORMED),
    "an error": (refusing, ERROR),
}


@pytest.mark.parametrize("what", JOINS)
def test_a_join_that_is_none_is_left_out_of_the_directory_that_the_others_take(what: str) -> None:
    lie, reason = JOINS[what]
    found = trial({LIAR: {"join": once(lie)}}, rounds=2)
    assert found.summed == [HONEST, ALL]
    assert found.lost == [{LIAR: ("join", reason)}, {}]
    assert [report.epoch for report in found.reports] == [1, 2]


def test_the_key_of_another_party_is_taken_by_nobody() -> None:
    """Whoever says it second is refused; who says it first is the only one that can have made it up."""

    def copied(lying: Lying) -> RecordDict:
        theirs = [
            Join.decode(records.message_of(said[-1])) for (party, step), said in lying.heard.items() if (party, step) == (victim, "join")
        ]
        own = lying.said(Join)
        return joining(lambda join: replace(join, public_key=(theirs or [own])[0].public_key))(lying)

    victim = min(HONEST, key=lambda party: trial({}, rounds=1).grid.node(party).node_id)
    found = trial({LIAR: {"join": once(copied)}}, rounds=2)
    assert found.summed == [HONEST, ALL]
    assert found.lost[0] == {LIAR: ("join", MALFORMED)}


# --- PREPARE: what is dealt --------------------------------------------------------------------------------------------------------------


def dealt(change: Callable[[Any], Any], victims: Iterable[int] = (VICTIM,)) -> Lie:
    """Changes what it deals to some."""

    def change_it(lying: Lying, prepare: Prepare) -> Prepare:
        slots = {lying.slot(victim) for victim in victims if victim != lying.party}
        return replace(prepare, dealt=tuple(change(share) if at in slots else share for at, share in enumerate(prepare.dealt)))

    return telling(Prepare, change_it)


def sealing(change: Callable[[bytes], bytes], victims: Iterable[int] = (VICTIM,)) -> Lie:
    """Seals other shares than it should, which the right holder can open."""
    seal = aead.seal_random

    def lie(lying: Lying) -> RecordDict:
        wronged = [party in victims for party in everybody_in_order(lying)]

        def seal_others(key: bytes, plain: bytes, associated: bytes, entropy: Any) -> bytes:
            # One call a holder, in order; what comes after them is the party's own store.
            return seal(key, change(plain) if wronged and wronged.pop(0) else plain, associated, entropy)

        return patched(aead, "seal_random", seal_others)(lying)

    return lie


def everybody_in_order(lying: Lying) -> list[int]:
    """The neighbours of a liar on the complete graph, as it deals to them: by identity."""
    return sorted((party for party in ALL if party != lying.party), key=identity)


UNREADABLE = dealt(lambda share: replace(share, sealed=bytes(len(share.sealed))))
BAD_SHARES: dict[str, Callable[[Iterable[int]], Lie]] = {
    "unreadable": lambda victims: dealt(lambda share: replace(share, sealed=bytes(len(share.sealed))), victims),
    "out of the field": lambda victims: sealing(lambda plain: b"\xff" * len(plain), victims),
    "not the ones hashed": lambda victims: sealing(lambda plain: bytes(len(plain)), victims),
    "one bit of a share of z": lambda victims: sealing(lambda plain: plain[:-2] + bytes([plain[-2] ^ 1]) + plain[-1:], victims),
}


@pytest.mark.parametrize("what", BAD_SHARES)
def test_bad_shares_for_one_party_put_both_out_from_the_next_round_on(what: str) -> None:
    """The holder complains and is out of this round; who of the two lies, nobody can tell, so both are out of the next."""
    found = trial({LIAR: {"prepare": BAD_SHARES[what]([VICTIM])}})
    assert found.summed == [everybody_but(VICTIM), *[everybody_but(VICTIM, LIAR)] * 2]
    assert found.lost[0] == {VICTIM: ("train", DISPUTE)}
    assert found.lost[1] == found.lost[2] == dict.fromkeys((VICTIM, LIAR), ("join", EXCLUDED))


@pytest.mark.parametrize("what", BAD_SHARES)
def test_bad_shares_for_everybody_cost_a_round_and_then_the_dealer_alone(what: str) -> None:
    found = trial({LIAR: {"prepare": BAD_SHARES[what](HONEST)}})
    assert found.summed == [None, HONEST, HONEST]
    assert found.lost[0] == dict.fromkeys(HONEST, ("train", DISPUTE))
    assert found.name(LIAR) in str(found.reports[0].failure)
    assert found.lost[1] == found.lost[2] == {LIAR: ("join", EXCLUDED)}


def test_bad_shares_for_more_than_can_lie_put_out_the_dealer_alone() -> None:
    """Two accusers and one possible liar: it is not both of them."""
    found = trial({LIAR: {"prepare": BAD_SHARES["unreadable"]([VICTIM, 6])}})
    assert found.summed == [everybody_but(VICTIM, 6), HONEST, HONEST]
    assert found.lost[1] == {LIAR: ("join", EXCLUDED)}


def other_hashes(lying: Lying, prepare: Prepare) -> Prepare:
    return replace(prepare, dealt=tuple(replace(share, self_seed_hash=bytes(16)) for share in prepare.dealt))


def test_wrong_hashes_are_unreadable_shares_because_they_are_bound_to_them() -> None:
    found = trial({LIAR: {"prepare": telling(Prepare, other_hashes)}})
    assert found.summed == [None, HONEST, HONEST]


SIZES: dict[str, Lie] = {
    "a neighbour less": telling(Prepare, lambda lying, prepare: replace(prepare, dealt=prepare.dealt[1:])),
    "a neighbour more": telling(Prepare, lambda lying, prepare: replace(prepare, dealt=(*prepare.dealt, prepare.dealt[0]))),
    "no neighbours": telling(Prepare, lambda lying, prepare: replace(prepare, dealt=())),
    "thousands of neighbours": telling(Prepare, lambda lying, prepare: replace(prepare, dealt=tuple(prepare.dealt) * 9000)),
    "a short box": telling(Prepare, lambda lying, prepare: replace(prepare, box=prepare.box[1:])),
    "a long box": telling(Prepare, lambda lying, prepare: replace(prepare, box=prepare.box + bytes(1 << 20))),
    "no box": telling(Prepare, lambda lying, prepare: replace(prepare, box=b"")),
}


@pytest.mark.parametrize("what", SIZES)
def test_a_prepare_of_the_wrong_size_is_out_before_anybody_gets_it(what: str) -> None:
    found = trial({LIAR: {"prepare": once(SIZES[what])}}, rounds=2)
    assert found.summed == [HONEST, ALL]
    assert found.lost[0] == {LIAR: ("prepare", MALFORMED)}


# --- PREPARE: what is committed to -------------------------------------------------------------------------------------------------------


def other_polynomial(secrets: Any, t: int, points: Iterable[int], entropy: Any) -> Any:
    """Shares that lie on no polynomial of degree t - 1."""
    rng = np.random.default_rng(1)
    like = shamir_share(secrets, t, points, entropy)
    return [rng.integers(0, shamir.PRIME, np.asarray(rows).shape).astype(np.asarray(rows).dtype) for rows in like]


shamir_share, seal_box = shamir.share, aead.seal


def sealing_boxes(change: Callable[[bytes, bytes], tuple[bytes, bytes]]) -> Lie:
    """Only boxes have a nonce of zeros: their key is used once."""

    def seal(key: bytes, nonce: bytes, plain: bytes, associated: bytes) -> bytes:
        key, plain = (key, plain) if any(nonce) else change(key, plain)
        return seal_box(key, nonce, plain, associated)

    return patched(aead, "seal", seal)


def box_of(change: Callable[[bytes], bytes]) -> Lie:
    return sealing_boxes(lambda key, plain: (key, change(plain)))


def box_under(key: bytes) -> Lie:
    return sealing_boxes(lambda _, plain: (key, plain))


FAULTS: dict[str, tuple[Lies, str]] = {
    "another b than committed to": ({"prepare": patched(keys, "commit_self_seed", lambda *_: bytes(32))}, "not the one it committed to"),
    "shares on no polynomial": ({"prepare": patched(shamir, "share", other_polynomial)}, "not the one it committed to"),
    "another z than committed to": (
        {"prepare": patched(keys, "commit_box_key", lambda *_: bytes(32)), "train": silent},
        "not the one it committed to",
    ),
    "a box with other seeds": (
        {"prepare": box_of(lambda seeds: bytes(len(seeds))), "train": silent},
        "another seed than the one it committed to",
    ),
    "a box with one other seed": (
        {"prepare": box_of(lambda seeds: seeds[:-1] + bytes([seeds[-1] ^ 1])), "train": silent},
        "another seed than the one it committed to",
    ),
    "a box that does not open": ({"prepare": box_under(bytes(32)), "train": silent}, "does not open"),
}


@pytest.mark.parametrize("what", FAULTS)
def test_a_secret_that_is_not_the_one_committed_to_costs_a_round_and_then_its_dealer_alone(what: str) -> None:
    lies, text = FAULTS[what]
    found = trial({LIAR: lies})
    assert found.summed == [None, HONEST, HONEST]
    failure = str(found.reports[0].failure)
    assert found.name(LIAR) in failure
    assert "is at fault" in failure
    assert text in failure
    assert found.lost[1] == found.lost[2] == {LIAR: ("join", EXCLUDED)}


def test_a_box_that_nobody_needs_is_never_opened() -> None:
    """The dealer is there to the end, so nobody asks for z: nothing is wrong with the sum."""
    found = trial({LIAR: {"prepare": box_under(bytes(32))}})
    assert found.summed == [ALL] * 3


def contradicting(*victims: int) -> Lie:
    """Commits to other seeds with these parties than they do."""
    commit = keys.commit_pairwise_seeds

    def lie(lying: Lying) -> RecordDict:
        order = everybody_in_order(lying)

        def others(*arguments: Any) -> list[bytes]:
            return [bytes(16) if party in victims else own for party, own in zip(order, commit(*arguments), strict=True)]

        return patched(keys, "commit_pairwise_seeds", others)(lying)

    return lie


def test_two_that_commit_to_different_seeds_are_both_out_of_that_round() -> None:
    found = trial({LIAR: {"prepare": once(contradicting(VICTIM))}}, rounds=2)
    assert found.summed == [everybody_but(LIAR, VICTIM), ALL]
    assert found.lost[0] == dict.fromkeys((LIAR, VICTIM), ("prepare", MISMATCH))


@pytest.mark.parametrize("victims", [HONEST, HONEST[:2]])
def test_one_that_contradicts_more_than_can_lie_is_out_alone(victims: list[int]) -> None:
    found = trial({LIAR: {"prepare": once(contradicting(*victims))}}, rounds=2)
    assert found.summed == [HONEST, ALL]
    assert found.lost[0] == {LIAR: ("prepare", MISMATCH)}


def test_a_liar_that_contradicts_another_one_every_round_never_takes_out_two() -> None:
    victims = iter(HONEST)

    def next_one(lying: Lying) -> RecordDict:
        return contradicting(next(victims))(lying)

    found = trial({LIAR: {"prepare": next_one}}, rounds=6)
    assert all(summed is not None and len(summed) >= N - 2 for summed in found.summed)


def test_the_content_of_another_partys_prepare_contradicts_everybody() -> None:
    def stolen(lying: Lying) -> RecordDict:
        theirs = Prepare.decode(records.message_of(anothers(lying)))
        lying.honest()
        return saying(lying, lying.sign(replace(theirs, header=lying.header)).encode())

    # The last one to answer has heard all the others.
    last = max(ALL, key=lambda party: identity(party))
    found = trial({last: {"prepare": stolen}}, rounds=2)
    assert found.summed[0] == everybody_but(last)


def test_what_was_dealt_in_an_older_round_opens_for_nobody() -> None:
    def old(lying: Lying) -> RecordDict:
        return saying(
            lying, lying.sign(replace(Prepare.decode(records.message_of(lying.before())), header=lying.said(Prepare).header)).encode()
        )

    found = trial({LIAR: {"prepare": once(old, 2)}}, rounds=3)
    assert found.summed == [ALL, HONEST, ALL]
    assert found.lost[1] == {LIAR: ("prepare", MISMATCH)}


# --- TRAIN -------------------------------------------------------------------------------------------------------------------------------


def sending(change: Callable[[bytes], bytes], **said: Any) -> Lie:
    """Another vector, with a message that fits it, but for what `said` says."""

    def lie(lying: Lying) -> RecordDict:
        masked = lying.said(Masked)
        _, payload = records.unmasked(lying.honest())
        payload = change(payload)
        fields = {"payload_bytes": len(payload), "payload_digest": hashlib.sha256(payload).digest(), **said}
        return records.masked(lying.sign(replace(masked, **fields)).encode(), payload)

    return lie


def same(payload: bytes) -> bytes:
    return payload


def schema(*names: str) -> bytes:
    return MetricSchema(names).encode()


def whole_payload_of(stype: str) -> Lie:
    def lie(lying: Lying) -> RecordDict:
        content = dict(lying.honest())
        _, payload = records.unmasked(lying.honest())
        content[records.VECTOR_RECORD] = ArrayRecord({"vector": Array(dtype="uint8", shape=(len(payload),), stype=stype, data=payload)})
        return RecordDict(content)

    return lie


VECTORS: dict[str, tuple[Lie, str, str]] = {
    "a byte less": (sending(lambda payload: payload[:-1]), MALFORMED, "bytes"),
    "a byte more": (sending(lambda payload: payload + b"\0"), MALFORMED, "bytes"),
    "no vector": (sending(lambda payload: b""), MALFORMED, "bytes"),
    "megabytes": (sending(lambda payload: bytes(8 << 20)), MALFORMED, "bytes"),
    "another length than it says": (sending(same, payload_bytes=7), MALFORMED, "bytes"),
    "a length of 2^64": (sending(same, payload_bytes=2**64 - 1), MALFORMED, "bytes"),
    "another vector than it signed": (sending(same, payload_digest=bytes(32)), MALFORMED, "does not fit its digest"),
    "no digest": (sending(same, payload_digest=b""), MALFORMED, "which vector it is signed for"),
    "half a digest": (sending(same, payload_digest=bytes(16)), MALFORMED, "does not fit its digest"),
    "words out of their range": (sending(lambda payload: b"\xff" * len(payload)), MALFORMED, "more than 30 bits"),
    "metrics of its own": (sending(same, schema=schema("patients")), OTHER_METRICS, "other names"),
    "one metric more": (sending(same, schema=schema("extra", "train_loss")), OTHER_METRICS, "other names"),
    "no metrics": (sending(same, schema=schema()), OTHER_METRICS, "other names"),
    "a schema that is none": (sending(same, schema=b"\xff\xff\xff\xff"), MALFORMED, "metric"),
    "more metrics than slots": (
        sending(same, schema=schema(*(f"m{number:03}" for number in range(40)))),
        MALFORMED,
        "more metrics than the 32",
    ),
    "an array of another kind": (whole_payload_of("numpy.ndarray"), ERROR, "no masked vector"),
    "no array": (lambda lying: records.light(records.message_of(lying.honest())), ERROR, "no masked vector"),
}


@pytest.mark.parametrize("what", VECTORS)
def test_a_vector_that_is_none_is_not_added(what: str) -> None:
    lie, reason, text = VECTORS[what]
    found = trial({LIAR: {"train": lie}}, rounds=2)
    assert found.summed == [HONEST] * 2
    assert found.lost == [{LIAR: ("train", reason)}] * 2
    assert text in found.reports[0].dropped[found.grid.node(LIAR).node_id]["detail"]


def test_padding_that_is_not_zero_is_not_added() -> None:
    """A ring of 17 bits ends in the middle of a byte."""
    found = trial({LIAR: {"train": sending(flipped_padding)}}, rounds=1, ring_bits=17)
    assert found.lost == [{LIAR: ("train", MALFORMED)}]


def flipped_padding(payload: bytes) -> bytes:
    packed = -(-12 * 17 // 8)
    return payload[: packed - 1] + bytes([payload[packed - 1] ^ 0x80]) + payload[packed:]


def test_a_vector_nobody_could_have_sent_spoils_the_sum_and_nobody_can_tell_whose_it_was() -> None:
    """What the protocol does not promise (a party may submit any vector): here the sum is out of range, which shows, without a name."""
    found = trial({LIAR: {"train": once(sending(lambda payload: bytes(len(payload))))}}, rounds=2)
    assert found.summed == [None, ALL]
    assert "cannot be that of 7 parties" in str(found.reports[0].failure)


# --- complaints --------------------------------------------------------------------------------------------------------------------------


def complaining(**changes: Any) -> Lie:
    """About shares of the victim's that are perfectly good."""

    def lie(lying: Lying) -> RecordDict:
        request = TrainRequest.decode(lying.request)
        state: Any = lying.state
        dealer = changes.get("dealer", lambda lying: lying.place(VICTIM))(lying)
        others = [index for index in request.alive if index != state.member.index]
        delivery = request.deliveries[others.index(dealer)].encode() if dealer in others else b""
        digest = changes.get("delivery", hashlib.sha256(delivery).digest())
        header = other_header(state.facts.header) if changes.get("late") else state.facts.header
        complaint = Complaint(header=header, dealer=dealer, grievance=Grievance.UNREADABLE, delivery=digest)
        if changes.get("sign", True):
            complaint = lying.sign(complaint, round_context(state.facts))
        return records.light(complaint.encode())

    return lie


def test_a_false_complaint_costs_the_liar_its_place_for_that_of_one_other() -> None:
    found = trial({LIAR: {"train": complaining()}})
    assert found.summed == [HONEST, *[everybody_but(LIAR, VICTIM)] * 2]
    assert found.lost[0] == {LIAR: ("train", DISPUTE)}
    assert found.lost[1] == dict.fromkeys((LIAR, VICTIM), ("join", EXCLUDED))


FALSE_COMPLAINTS: dict[str, tuple[Lie, str, str]] = {
    "about shares it was not sent": (complaining(delivery=bytes(32)), MALFORMED, "shares that it was not sent"),
    "about itself": (complaining(dealer=lambda lying: lying.place(LIAR)), MALFORMED, "dealt it nothing"),
    "about nobody": (complaining(dealer=lambda lying: 4711), MALFORMED, "dealt it nothing"),
    "about another round": (complaining(late=True), MALFORMED, "another round"),
    "unsigned": (complaining(sign=False), BAD_SIGNATURE, ""),
}


@pytest.mark.parametrize("what", FALSE_COMPLAINTS)
def test_a_complaint_about_what_was_never_delivered_accuses_nobody(what: str) -> None:
    lie, reason, text = FALSE_COMPLAINTS[what]
    found = trial({LIAR: {"train": lie}}, rounds=2)
    assert found.summed == [HONEST] * 2
    assert found.lost == [{LIAR: ("train", reason)}] * 2
    assert text in found.reports[0].dropped[found.grid.node(LIAR).node_id]["detail"]


def test_a_complaint_of_an_older_round_accuses_nobody_in_this_one() -> None:
    """The very bytes of another liar's complaint, which that one signed: they count for no other party."""
    *_, one, other = sorted(range(9), key=identity)
    found = trial({one: {"train": complaining()}, other: {"train": lambda lying: lying.before(one)}}, n=9, gamma=0.2, rounds=1)
    assert found.lost == [{one: ("train", DISPUTE), other: ("train", BAD_SIGNATURE)}]


# --- CONFIRM and UNMASK ------------------------------------------------------------------------------------------------------------------


def confirming(survivors: Callable[[tuple[int, ...]], tuple[int, ...]]) -> Lie:
    def lie(lying: Lying) -> RecordDict:
        lying.honest()
        state: Any = lying.state
        signature = sign_survivors(lying.identity, state.header, state.transcript, survivors(state.survivors))
        return saying(lying, replace(lying.said(Confirm), signature=signature).encode())

    return lie


def sharing(change: Callable[[Lying, int, tuple[ShareOf, bytes]], tuple[ShareOf, bytes]]) -> Lie:
    return telling(
        Unmask, lambda lying, unmask: replace(unmask, shares=tuple(change(lying, at, share) for at, share in enumerate(unmask.shares)))
    )


@pytest.mark.parametrize("survivors", [lambda u2: u2[1:], lambda u2: u2[:-1], lambda u2: (*u2, 99), lambda u2: ()])
def test_who_confirms_another_survivor_set_is_named_and_not_asked_for_shares(survivors: Any) -> None:
    found = trial({LIAR: {"confirm": confirming(survivors)}}, rounds=2)
    assert found.summed == [ALL] * 2
    assert found.lost == [{LIAR: ("confirm", BAD_SIGNATURE)}] * 2
    node = found.grid.node(LIAR).node_id
    assert all(node not in report.confirmed and len(report.confirmed) == N - 1 for report in found.reports)
    assert not [record for record in found.grid.dump if record.node_id == node and record.step == "unmask"]


def test_liars_that_refuse_to_confirm_cost_a_round_only_where_there_are_more_than_may_be() -> None:
    few = trial({party: {"confirm": refusing} for party in (1, 3)}, rounds=1)
    assert few.summed == [ALL]
    many = trial({party: {"confirm": refusing} for party in (1, 3, 6)}, rounds=1)
    assert many.summed == [None]
    failure = str(many.reports[0].failure)
    assert "4 of 7 parties confirmed the survivor set, 5 are needed" in failure
    assert all(many.name(party) in failure for party in (1, 3, 6))


def first_wrong(lying: Lying, at: int, share: tuple[ShareOf, bytes]) -> tuple[ShareOf, bytes]:
    return (share[0], bytes(len(share[1]))) if at == 0 else share


@pytest.mark.parametrize("which", [first_wrong, lambda lying, at, share: (share[0], bytes(len(share[1])))])
def test_a_wrong_share_names_its_holder_and_costs_it_the_next_rounds(which: Any) -> None:
    found = trial({LIAR: {"unmask": sharing(which)}})
    assert found.summed == [ALL, HONEST, HONEST]
    assert found.lost[0] == {LIAR: ("unmask", WRONG_SHARE)}
    assert found.lost[1] == {LIAR: ("join", EXCLUDED)}


SHARES: dict[str, Lie] = {
    "of the other secret": sharing(lambda lying, at, share: (ShareOf.BOX_KEY, share[1])),
    "one of the other secret": sharing(lambda lying, at, share: (ShareOf.BOX_KEY if at == 2 else share[0], share[1])),
    "out of the field": sharing(lambda lying, at, share: (share[0], b"\xff" * len(share[1]))),
    "one less": telling(Unmask, lambda lying, unmask: replace(unmask, shares=unmask.shares[1:])),
    "one more": telling(Unmask, lambda lying, unmask: replace(unmask, shares=(*unmask.shares, unmask.shares[0]))),
    "none": telling(Unmask, lambda lying, unmask: replace(unmask, shares=())),
    "thousands": telling(Unmask, lambda lying, unmask: replace(unmask, shares=unmask.shares * 10_000)),
}


@pytest.mark.parametrize("what", SHARES)
def test_shares_that_are_not_what_was_asked_for_name_their_holder(what: str) -> None:
    found = trial({LIAR: {"unmask": SHARES[what]}}, rounds=2)
    assert found.summed == [ALL] * 2
    assert found.lost == [{LIAR: ("unmask", MALFORMED)}] * 2


def test_shares_in_another_order_are_wrong_ones() -> None:
    found = trial({LIAR: {"unmask": telling(Unmask, lambda lying, unmask: replace(unmask, shares=unmask.shares[::-1]))}}, rounds=2)
    assert found.summed == [ALL, HONEST]
    assert found.lost[0] == {LIAR: ("unmask", WRONG_SHARE)}


# --- found by trying ---------------------------------------------------------------------------------------------------------------------


def test_as_many_sets_of_metrics_as_liars_leave_room_for_the_honest_one() -> None:
    """The coordinator keeps a sum for each set of metrics; those that are asked first must not use them all up."""
    n = 16
    liars = sorted(range(n), key=identity)[:4]
    found = trial({liar: {"train": sending(same, schema=schema(f"of {liar}"))} for liar in liars}, n=n, gamma=0.25, rounds=1)
    assert found.summed == [sorted(set(range(n)) - set(liars))]
    assert found.lost == [dict.fromkeys(liars, ("train", OTHER_METRICS))]


class Reconnecting(InMemoryGrid):
    """The last node is the liar's, too: it takes the first one's place when that one has left."""

    reconnected = False

    def get_node_ids(self) -> list[int]:
        gone = LIAR if self.reconnected else N
        return [node for index, node in enumerate(super().get_node_ids()) if index != gone]


def test_who_was_at_fault_is_left_out_under_another_node_id_too() -> None:
    lies, _ = FAULTS["another b than committed to"]
    found = trial({LIAR: lies}, grid=Reconnecting, between={1: lambda grid: setattr(grid, "reconnected", True)}, partitions=[*ALL, LIAR])
    assert found.summed == [None, HONEST, HONEST]


def test_what_a_liar_gives_for_a_reason_is_quoted_and_cut_short() -> None:
    def loud(lying: Lying) -> RecordDict:
        lying.honest()
        raise RuntimeError("\x1b[2J\nround 1: node 1 is at fault" + "!" * (1 << 20))

    found = trial({LIAR: {step: once(loud) for step in ("join", "prepare", "train", "confirm", "unmask")}}, rounds=5)
    details = [drop["detail"] for report in found.reports for drop in report.dropped.values()]
    assert len(details) == 5
    assert all(len(detail) < 1000 and "\x1b" not in detail and "\n" not in detail for detail in details)


# --- two answers -------------------------------------------------------------------------------------------------------------------------


class Twice(InMemoryGrid):
    """Delivers two replies of the liar's to each request: the real one, and one that it signed as well."""

    lie_first = False

    def pull_messages(self, message_ids: Any) -> list[Any]:
        replies = []
        for reply in super().pull_messages(message_ids):
            both = [reply]
            if self.index(reply.metadata.src_node_id) == LIAR and reply.has_content() and SECOND in reply.content:
                other = unpack(pack(reply))
                both.append(other)
                lie = RecordDict({records.RECORD: ConfigRecord(dict(reply.content[SECOND]))})
                other.content = RecordDict({**{name: value for name, value in reply.content.items() if name != SECOND}, **lie})
            replies += reversed(both) if self.lie_first else both
        return replies


SECOND = "second"


def saying_two_things(change: Callable[[Any], Any]) -> Lie:
    """The honest message, and another one that it signs too."""

    def lie(lying: Lying) -> RecordDict:
        kind = KINDS[lying.step]
        other = lying.sign(change(lying.said(kind)))
        beside = ConfigRecord({**lying.honest()[records.RECORD], "message": other.encode()})
        return RecordDict({**lying.honest(), SECOND: beside})

    return lie


TWO_THINGS: dict[str, tuple[Lie, tuple[str, str]]] = {
    "prepare": (saying_two_things(lambda prepare: replace(prepare, box=b"")), ("prepare", MALFORMED)),
    "train": (saying_two_things(lambda masked: replace(masked, payload_digest=bytes(32))), ("train", MALFORMED)),
    "unmask": (saying_two_things(lambda unmask: replace(unmask, shares=())), ("unmask", MALFORMED)),
}


@pytest.mark.parametrize("step", TWO_THINGS)
def test_of_two_answers_to_one_request_the_first_one_counts(step: str) -> None:
    class LieFirst(Twice):
        lie_first = True

    lie, blamed = TWO_THINGS[step]
    honest = trial({LIAR: {step: once(lie)}}, rounds=2, grid=Twice)
    assert (honest.summed, honest.lost) == ([ALL, ALL], [{}, {}])
    lied = trial({LIAR: {step: once(lie)}}, rounds=2, grid=LieFirst)
    assert lied.summed == [ALL if step == "unmask" else HONEST, ALL]
    assert lied.lost == [{LIAR: blamed}, {}]


# --- what a liar can make the coordinator hold -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("step", "at"), [("prepare", 20 + 64), ("train", 20), ("unmask", 20)])
def test_a_length_is_checked_before_room_is_made_for_it(step: str, at: int) -> None:
    """The box, the schema and the shares begin with a length; this one says 4 GiB."""
    lie = bytewise(lambda data: data[:at] + b"\xff\xff\xff\xff" + data[at + 4 :])
    tracemalloc.start()
    try:
        found = trial({LIAR: {step: lie}}, rounds=1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.lost == [{LIAR: (step, MALFORMED)}]
    assert peak < 64 << 20


# --- several liars -----------------------------------------------------------------------------------------------------------------------


def test_two_liars_that_do_different_things_at_once() -> None:
    lies = {1: {"prepare": BAD_SHARES["unreadable"]([4])}, 6: {"unmask": sharing(first_wrong)}}
    found = trial(lies, n=9, gamma=0.2, rounds=3)
    others = [party for party in range(9) if party not in (1, 4, 6)]
    assert found.summed[0] == [party for party in range(9) if party != 4]
    assert found.summed[1] == found.summed[2] == others
