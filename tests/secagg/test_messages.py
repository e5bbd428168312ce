"""The message codec: one encoding each, nothing left over, caps before allocation, and `DecodeError` for everything else."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stfed.errors import DecodeError, LocalError
from stfed.secagg import messages
from stfed.secagg.messages import (
    MAX_BOX_BYTES,
    MAX_NEIGHBOURS,
    MAX_PARTIES,
    MAX_PLAN_BYTES,
    MAX_SCHEMA_BYTES,
    SEALED_SHARES_BYTES,
    Complaint,
    Confirm,
    ConfirmRequest,
    DealtShares,
    Delivery,
    DrawnPrepare,
    DrawnTrainRequest,
    Grievance,
    Header,
    Join,
    JoinRequest,
    Kind,
    Masked,
    Message,
    Phase,
    Prepare,
    PrepareRequest,
    ShareOf,
    TrainRequest,
    Unmask,
    UnmaskRequest,
    encode_parties,
    peek,
)
from tests.secagg.scene import patched, u32s

TYPES: tuple[type[Message], ...] = (
    *(JoinRequest, Join, PrepareRequest, Prepare, DrawnPrepare, TrainRequest, DrawnTrainRequest, Masked, Complaint),
    *(ConfirmRequest, Confirm, UnmaskRequest, Unmask),
)
HEADER = Header(0x0102030405060708, 0x11121314, 0x21222324)
HEADER_BYTES = 1 + 1 + 2 + 8 + 4 + 4
U32 = 0xFFFFFFFF


def exactly(size_bytes: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=size_bytes, max_size=size_bytes)


u8, u32, u64 = st.integers(0, 255), st.integers(0, U32), st.integers(0, (1 << 64) - 1)
headers = st.builds(Header, u64, u32, u32)
signatures = st.binary(max_size=64)
parties = st.sets(u32, max_size=8).map(lambda members: tuple(sorted(members)))
dealt = st.builds(DealtShares, exactly(SEALED_SHARES_BYTES), exactly(16), exactly(16), exactly(16))
deliveries = st.builds(Delivery, exactly(SEALED_SHARES_BYTES), exactly(32), exactly(16), exactly(16))


def tuples(items: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(items, max_size=4).map(tuple)


def built(kind: type[Message], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Message]:
    return st.builds(kind, header=headers, signature=signatures, **fields)


MESSAGES: dict[type[Message], st.SearchStrategy[Message]] = {
    JoinRequest: built(JoinRequest, mode=u8),
    Join: built(Join, identity=exactly(32), public_key=exactly(32)),
    PrepareRequest: built(
        PrepareRequest,
        phase=st.sampled_from(Phase),
        mode=u8,
        directory=tuples(st.binary(max_size=256)),
        cohort=parties,
        k=u32,
        t=u32,
        plan=st.binary(max_size=40),
    ),
    Prepare: built(Prepare, commit_self_seed=exactly(32), commit_box_key=exactly(32), box=st.binary(max_size=100), dealt=tuples(dealt)),
    DrawnPrepare: built(
        DrawnPrepare,
        commit_self_seed=exactly(32),
        commit_box_key=exactly(32),
        box=st.binary(max_size=100),
        dealt=tuples(dealt),
        holders=parties,
        others=st.binary(max_size=100),
    ),
    DrawnTrainRequest: built(DrawnTrainRequest, alive=parties, deliveries=tuples(deliveries), dealers=parties),
    TrainRequest: built(TrainRequest, alive=parties, deliveries=tuples(deliveries)),
    Masked: built(Masked, schema=st.binary(max_size=40), payload_bytes=u64, payload_digest=st.binary(max_size=32)),
    Complaint: built(Complaint, dealer=u32, grievance=st.sampled_from(Grievance), delivery=exactly(32)),
    ConfirmRequest: built(ConfirmRequest, survivors=parties),
    Confirm: built(Confirm),
    UnmaskRequest: built(UnmaskRequest, survivors=parties, confirmations=tuples(st.tuples(u32, exactly(64)))),
    Unmask: built(Unmask, shares=tuples(st.tuples(st.sampled_from(ShareOf), exactly(32)))),
}
any_message = st.one_of(*MESSAGES.values())


def share(of: int = 1) -> bytes:
    return bytes((of,)) * 32


SMALL: dict[type[Message], Message] = {
    JoinRequest: JoinRequest(header=HEADER, mode=1),
    Join: Join(header=HEADER, identity=share(2), public_key=share(3), signature=bytes(63)),
    PrepareRequest: PrepareRequest(
        header=HEADER, phase=Phase.TRAIN, mode=1, directory=(b"one", b"another"), cohort=(0, 5, 9), k=2, t=2, plan=b"plan"
    ),
    Prepare: Prepare(
        header=HEADER,
        commit_self_seed=share(1),
        commit_box_key=share(2),
        box=b"box",
        dealt=(DealtShares(bytes(SEALED_SHARES_BYTES), bytes(16), bytes(16), bytes(16)),) * 2,
    ),
    TrainRequest: TrainRequest(
        header=HEADER, alive=(0, 5), deliveries=(Delivery(bytes(SEALED_SHARES_BYTES), bytes(32), bytes(16), bytes(16)),)
    ),
    DrawnPrepare: DrawnPrepare(
        header=HEADER,
        commit_self_seed=share(1),
        commit_box_key=share(2),
        box=b"box",
        dealt=(DealtShares(bytes(SEALED_SHARES_BYTES), bytes(16), bytes(16), bytes(16)),) * 2,
        holders=(3, 8),
        others=bytes(32),
    ),
    DrawnTrainRequest: DrawnTrainRequest(
        header=HEADER, alive=(0, 5), deliveries=(Delivery(bytes(SEALED_SHARES_BYTES), bytes(32), bytes(16), bytes(16)),), dealers=(5,)
    ),
    Masked: Masked(header=HEADER, schema=b"schema", payload_bytes=1 << 40, payload_digest=bytes(20)),
    Complaint: Complaint(header=HEADER, dealer=5, grievance=Grievance.MISMATCH, delivery=share(4)),
    ConfirmRequest: ConfirmRequest(header=HEADER, survivors=(0, 5)),
    Confirm: Confirm(header=HEADER, signature=bytes(64)),
    UnmaskRequest: UnmaskRequest(header=HEADER, survivors=(0, 5), confirmations=((0, bytes(64)),)),
    Unmask: Unmask(header=HEADER, shares=((ShareOf.SELF_SEED, share(1)), (ShareOf.BOX_KEY, share(2)))),
}


# --- one encoding ------------------------------------------------------------------------------------------------------------------------


@given(any_message)
def test_a_message_comes_back_as_it_was(message: Message) -> None:
    data = message.encode()
    decoded = type(message).decode(data)
    assert decoded == message
    assert decoded.encode() == data
    assert peek(data) == (message.KIND, message.header)


def test_every_type_has_its_own_kind_and_is_tested_here() -> None:
    written = {kind for kind in vars(messages).values() if isinstance(kind, type) and issubclass(kind, Message) and kind is not Message}
    assert written == set(TYPES) == set(MESSAGES) == set(SMALL)
    kinds = {message.KIND for message in SMALL.values()}
    assert kinds == set(Kind)


def test_the_header_stands_in_front_of_everything() -> None:
    for message in SMALL.values():
        start = bytes((1, message.KIND, 0, 1)) + bytes(range(1, 9)) + bytes(range(0x11, 0x15)) + bytes(range(0x21, 0x25))
        assert message.encode()[:HEADER_BYTES] == start


def test_what_is_hashed_has_the_header_without_the_kind() -> None:
    assert HEADER.encode() == bytes((1, 0, 1)) + bytes(range(1, 9)) + bytes(range(0x11, 0x15)) + bytes(range(0x21, 0x25))


@given(st.lists(headers, min_size=2, max_size=2, unique=True))
def test_headers_that_differ_have_encodings_that_differ(pair: list[Header]) -> None:
    assert pair[0].encode() != pair[1].encode()


@given(any_message, st.data())
def test_what_decodes_at_all_encodes_to_the_same_bytes(message: Message, data: st.DataObject) -> None:
    """Any change of one byte is refused, or is another message with its own encoding."""
    encoded = bytearray(message.encode())
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at] ^= data.draw(st.integers(1, 255))
    try:
        decoded = type(message).decode(bytes(encoded))
    except DecodeError:
        return
    assert decoded != message
    assert decoded.encode() == bytes(encoded)


@given(any_message)
def test_the_signature_covers_everything_before_it(message: Message) -> None:
    unsigned = message.unsigned()
    assert message.encode() == unsigned + len(message.signature).to_bytes(4, "big") + message.signature
    assert replace(message, signature=b"another").unsigned() == unsigned


# --- what is refused ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TYPES)
def test_a_truncated_message_is_refused_at_every_byte(kind: type[Message]) -> None:
    data = SMALL[kind].encode()
    for end in range(len(data)):
        with pytest.raises(DecodeError):
            kind.decode(data[:end])


@pytest.mark.parametrize("kind", TYPES)
def test_left_over_bytes_are_refused(kind: type[Message]) -> None:
    data = SMALL[kind].encode()
    for more in (b"\0", b"\0\0\0\0", data):
        with pytest.raises(DecodeError):
            kind.decode(data + more)


@pytest.mark.parametrize("kind", TYPES)
def test_another_version_or_suite_or_an_unknown_kind_is_refused(kind: type[Message]) -> None:
    data = SMALL[kind].encode()
    for at, values, match in ((0, (0, 2, 255), "version"), (1, (0, 14, 255), "kind"), (2, (1, 255), "suite"), (3, (0, 2, 255), "suite")):
        for value in values:
            changed = data[:at] + bytes((value,)) + data[at + 1 :]
            for decode in (kind.decode, peek):
                with pytest.raises(DecodeError, match=match):
                    decode(changed)


def test_a_message_is_never_taken_for_one_of_another_kind() -> None:
    for kind in TYPES:
        for message in SMALL.values():
            if type(message) is not kind and (kind, type(message)) != (TrainRequest, DrawnTrainRequest):
                with pytest.raises(DecodeError, match=f"expected {kind.KIND.name}, got {message.KIND.name}"):
                    kind.decode(message.encode())


@settings(max_examples=200)
@given(st.binary(max_size=300), st.sampled_from(TYPES), st.booleans())
def test_random_bytes_are_refused_as_such(data: bytes, kind: type[Message], with_header: bool) -> None:
    if with_header:
        data = SMALL[kind].encode()[:HEADER_BYTES] + data
    try:
        decoded = kind.decode(data)
    except DecodeError:
        return
    assert decoded.encode() == data


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (PrepareRequest, "cohort"),
        (DrawnPrepare, "holders"),
        (TrainRequest, "alive"),
        (DrawnTrainRequest, "alive"),
        (DrawnTrainRequest, "dealers"),
        (ConfirmRequest, "survivors"),
        (UnmaskRequest, "survivors"),
    ],
)
def test_a_set_of_parties_has_one_encoding(kind: type[Message], name: str) -> None:
    """Sorted and without repeats: a party that is named twice cannot be written down, nor read."""
    message = replace(SMALL[kind], **{name: (1, 2, 3)})
    for bad in ((1, 2, 2), (2, 1, 3), (1, 3, 2), (3, 2, 1)):
        with pytest.raises(LocalError, match=f"{name} must be strictly increasing"):
            replace(SMALL[kind], **{name: bad}).encode()
        with pytest.raises(DecodeError, match=f"{name}.*not strictly increasing"):
            kind.decode(patched(message.encode(), u32s(3, 1, 2, 3), u32s(3, *bad)))


def test_a_set_of_parties_is_hashed_with_its_count() -> None:
    assert encode_parties((1, 2)) == u32s(2, 1, 2)
    with pytest.raises(LocalError, match="strictly increasing"):
        encode_parties((2, 1))


@pytest.mark.parametrize(
    "message",
    [
        replace(SMALL[Join], identity=bytes(31)),
        replace(SMALL[Join], public_key=bytes(33)),
        replace(SMALL[Prepare], commit_self_seed=bytes(31)),
        replace(SMALL[Prepare], dealt=(DealtShares(bytes(SEALED_SHARES_BYTES), bytes(16), bytes(16), bytes(15)),)),
        replace(SMALL[TrainRequest], deliveries=(Delivery(b"", bytes(32), bytes(16), bytes(16)),)),
        replace(SMALL[Complaint], delivery=bytes(31)),
        replace(SMALL[UnmaskRequest], confirmations=((0, bytes(63)),)),
        replace(SMALL[Unmask], shares=((ShareOf.BOX_KEY, bytes(31)),)),
        replace(SMALL[JoinRequest], mode=256),
        replace(SMALL[JoinRequest], header=replace(HEADER, run=1 << 64)),
        replace(SMALL[PrepareRequest], k=-1),
    ],
)
def test_what_does_not_fit_its_field_cannot_be_written(message: Message) -> None:
    with pytest.raises(LocalError):
        message.encode()


def test_a_share_of_neither_secret_a_grievance_and_a_phase_that_are_none_are_refused() -> None:
    data = SMALL[Unmask].encode()
    for of in (0, 3, 255):
        with pytest.raises(DecodeError, match="a share of neither secret"):
            Unmask.decode(patched(data, b"\x02" + share(2), bytes((of,)) + share(2)))
    data = SMALL[Complaint].encode()
    for grievance in (0, 4, 255):
        with pytest.raises(DecodeError, match="grievance"):
            Complaint.decode(data[: HEADER_BYTES + 4] + bytes((grievance,)) + data[HEADER_BYTES + 5 :])
    data = SMALL[PrepareRequest].encode()
    for phase in (0, 3, 255):
        with pytest.raises(DecodeError, match="phase"):
            PrepareRequest.decode(data[:HEADER_BYTES] + bytes((phase,)) + data[HEADER_BYTES + 1 :])


# --- caps --------------------------------------------------------------------------------------------------------------------------------


def peak_bytes(attempt: Callable[[], object]) -> int:
    """What the attempt allocates at most, all at once; it is refused."""
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError):
            attempt()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("value", [U32, 1 << 31, 1 << 24])
def test_no_number_in_a_message_makes_the_decoder_allocate(kind: type[Message], value: int) -> None:
    """Every four bytes are taken for a length once."""
    data = SMALL[kind].encode()
    for at in range(HEADER_BYTES, len(data) - 3):
        changed = data[:at] + value.to_bytes(4, "big") + data[at + 4 :]
        try:
            kind.decode(changed)
        except DecodeError:
            assert peak_bytes(lambda changed=changed: kind.decode(changed)) < 50_000


@pytest.mark.parametrize(
    ("kind", "field", "before", "there", "cap"),
    [
        (PrepareRequest, "directory", b"\x01\x01", u32s(2), MAX_PARTIES),
        (PrepareRequest, "directory entry", b"\x01\x01" + u32s(2), u32s(3), 256),
        (PrepareRequest, "cohort", b"another", u32s(3), MAX_PARTIES),
        (PrepareRequest, "plan", u32s(2, 2), u32s(4), MAX_PLAN_BYTES),
        (Prepare, "box", share(2), u32s(3), MAX_BOX_BYTES),
        (Prepare, "dealt", b"box", u32s(2), MAX_NEIGHBOURS),
        (TrainRequest, "alive", b"\x24", u32s(2), MAX_PARTIES),
        (TrainRequest, "deliveries", u32s(0, 5), u32s(1), MAX_NEIGHBOURS),
        (Masked, "schema", b"\x24", u32s(6), MAX_SCHEMA_BYTES),
        (Masked, "payload_digest", (1 << 40).to_bytes(8, "big"), u32s(20), 32),
        (ConfirmRequest, "survivors", b"\x24", u32s(2), MAX_PARTIES),
        (UnmaskRequest, "survivors", b"\x24", u32s(2), MAX_PARTIES),
        (UnmaskRequest, "confirmations", u32s(0, 5), u32s(1), MAX_PARTIES),
        (Unmask, "shares", b"\x24", u32s(2), MAX_NEIGHBOURS),
        (Join, "signature", share(3), u32s(63), 64),
    ],
)
def test_every_length_is_capped_before_anything_is_read(kind: type[Message], field: str, before: bytes, there: bytes, cap: int) -> None:
    """One above the cap is too much, whatever there is to read; the cap itself is refused only because so much is not there."""
    data = SMALL[kind].encode()
    for length, why in ((cap + 1, "at most"), (U32, "at most"), (cap, "left")):
        changed = patched(data, before + there, before + u32s(length))
        with pytest.raises(DecodeError, match=f"'{field}' at byte .*{why}"):
            kind.decode(changed)


# --- what shows --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Prepare, TrainRequest, Unmask, Join])
def test_a_repr_has_neither_shares_nor_ciphertexts_nor_signatures(kind: type[Message]) -> None:
    shown = repr(SMALL[kind])
    assert kind.__name__ in shown
    for name in ("box=", "dealt", "deliveries", "shares", "sealed", "signature"):
        assert name not in shown
    assert len(shown) < 500
