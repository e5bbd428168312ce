"""`dumps` and `loads`: one message for one tensor, and nothing else is one."""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stfed.encrypted.decryption import decrypt
from stfed.encrypted.layout import Layout
from stfed.encrypted.messages import Description, dumps, loads
from stfed.encrypted.tensor import EncryptedTensor
from stfed.errors import DecodeError, LocalError, MalformedError
from stfed.wire import Writer
from tests.encrypted import keys
from tests.encrypted.made import made, nothing_loaded

SHAPE_AT = 18 + 1 + 32


def same(left: EncryptedTensor, right: EncryptedTensor) -> bool:
    names = ("context", "layout", "bound", "error", "clean", "left")
    return all(getattr(left, name) == getattr(right, name) for name in names) and dumps(left) == dumps(right)


@given(st.lists(st.integers(1, 7), max_size=4), st.integers(0, 2), st.integers(0, 4))
@settings(max_examples=15, deadline=None)
def test_a_tensor_comes_back_as_it_was(shape: list[int], left: int, wider: int) -> None:
    secret = keys.usual()
    values = np.arange(math.prod(shape), dtype=float).reshape(shape) / 2400
    tensor = made(secret.public, values, left=left)
    if not tensor.layout.uniform:
        tensor = made(secret.public, values, left=left, block=tensor.layout.block << wider)
    back = loads(secret.public, dumps(tensor))
    assert same(back, tensor)
    assert np.abs(keys.opened(secret, back) - values).max() < 1e-5


def test_what_a_tensor_says_of_itself_comes_back() -> None:
    context = keys.adding().public
    (ciphertext,) = made(context, 1.0).ciphertexts
    layout = Layout((3, 1, 2), context.parameters.slots, 1024)
    tensor = EncryptedTensor(context, layout, (ciphertext,), 0.1, 1e-300, clean=False)
    assert same(loads(context, dumps(tensor)), tensor)
    assert same(loads(context, bytearray(dumps(tensor))), tensor)
    negative = EncryptedTensor(context, layout, (ciphertext,), -0.0, -0.0)
    assert math.copysign(1, loads(context, dumps(negative)).bound) == 1
    unclean = EncryptedTensor(context, Layout.of((), context.parameters.slots), (ciphertext,), 1.0, 0.0, clean=False)
    assert loads(context, dumps(unclean)).clean  # a uniform tensor has no empty slots


def test_the_wrong_context_is_told_whose_is_needed() -> None:
    data = dumps(made(keys.usual().public, [1.0, 2.0]))
    stranger = keys.stranger().public
    with nothing_loaded(), pytest.raises(LocalError, match=keys.usual().public.fingerprint.hex()) as caught:
        loads(stranger, data)
    assert keys.stranger().public.fingerprint.hex() in caught.value.message


def test_every_truncation_is_refused() -> None:
    context = keys.adding().public
    data = dumps(made(context, [1.0, 2.0, 3.0]))
    head = len(data) - 55296
    with nothing_loaded():
        for length in (*range(head + 2), *range(head, len(data), 4999), len(data) - 1):
            with pytest.raises(DecodeError):
                loads(context, data[:length])
        for more in (b"\0", data, data[-55296:]):
            with pytest.raises(DecodeError):
                loads(context, data + more)


def message(**fields: Any) -> bytes:
    """A message of a tensor of shape (3, 2) with some fields exchanged."""
    context = keys.adding().public
    value: dict[str, Any] = {
        "magic": b"stfed-ckks-tensor\n",
        "version": 1,
        "fingerprint": context.fingerprint,
        "shape": (3, 2),
        "block": 4,
        "uniform": 0,
        "clean": 1,
        "bound": struct.pack(">d", 16.0),
        "error": struct.pack(">d", 1e-5),
        "left": 0,
        "words": dumps(made(context, np.ones((3, 2))))[-55296:],
    } | fields
    head = Writer().fixed(value["magic"], len(value["magic"])).u8(value["version"]).fixed(value["fingerprint"], 32)
    head.vector(value["shape"], Writer.u64).u32(value["block"]).u8(value["uniform"]).u8(value["clean"])
    return head.fixed(value["bound"], 8).fixed(value["error"], 8).u8(value["left"]).getvalue() + bytes(value["words"])


def test_the_message_is_what_the_format_says() -> None:
    context = keys.adding().public
    tensor = loads(context, message())
    assert (tensor.shape, tensor.layout.block, tensor.bound, tensor.error) == ((3, 2), 4, 16.0, 1e-5)
    assert dumps(tensor)[:-55296] == message()[:-55296]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"magic": b"stfed-ckks-public\n"}, "no encrypted tensor"),
        ({"version": 0}, "version 0"),
        ({"version": 2}, "version 2"),
        ({"shape": (0, 2)}, "no empty"),
        ({"shape": (3, 0)}, "no empty"),
        ({"shape": (1 << 48,)}, "boundless"),
        ({"shape": ((1 << 48) - 1,)}, "columns of 4 slots"),
        ({"shape": ((1 << 48) - 1,) * 32, "block": 2048}, "bytes of words"),
        ({"shape": (4, (1 << 48) - 1)}, "bytes of words"),
        ({"shape": (1,) * 33}, "at most 32"),
        ({"shape": (5, 2)}, "columns of 4 slots for 5 rows"),
        ({"shape": (3, 600)}, "bytes of words"),
        ({"block": 0}, "columns of 0"),
        ({"block": 2}, "columns of 2"),
        ({"block": 3}, "columns of 3"),
        ({"block": 4096}, "columns of 4096"),
        ({"block": 1 << 31}, "columns of"),
        ({"uniform": 1}, "no single number"),
        ({"uniform": 2}, "neither 0 nor 1"),
        ({"clean": 255}, "neither 0 nor 1"),
        ({"shape": (1,), "uniform": 1, "clean": 0}, "a uniform one is clean"),
        ({"bound": struct.pack(">d", math.nan)}, "not a finite number"),
        ({"bound": struct.pack(">d", math.inf)}, "not a finite number"),
        ({"bound": struct.pack(">d", -0.0)}, "not a finite number"),
        ({"bound": struct.pack(">d", -1.0)}, "no finite numbers"),
        ({"bound": struct.pack(">d", 1e9)}, "as large as"),
        ({"bound": struct.pack(">d", 1.7e308), "error": struct.pack(">d", 1.7e308)}, "as large as"),
        ({"error": struct.pack(">d", -1e-9)}, "no finite numbers"),
        ({"error": struct.pack(">d", math.inf)}, "not a finite number"),
        ({"error": struct.pack(">d", 1e9)}, "as large as"),
        ({"left": 1}, "1 multiplications left"),
        ({"left": 255}, "255 multiplications left"),
        ({"words": b""}, "bytes of words"),
        ({"words": bytes(55296)}, "hides nothing"),
        ({"words": b"\xff" * 55296}, "not below its modulus"),
    ],
)
def test_every_field_is_checked_before_anything_is_loaded(fields: dict[str, Any], says: str) -> None:
    with nothing_loaded(), pytest.raises(DecodeError, match=says):
        loads(keys.adding().public, message(**fields))


def test_a_count_over_the_message_is_refused_before_it_is_read() -> None:
    data = bytearray(message())
    for count in (33, 1 << 16, (1 << 32) - 1):
        data[SHAPE_AT : SHAPE_AT + 4] = count.to_bytes(4, "big")
        with nothing_loaded(), pytest.raises(DecodeError, match="field 'shape'"):
            loads(keys.adding().public, bytes(data))


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_changed_head_is_refused_or_says_another_thing(data: st.DataObject) -> None:
    """No byte of it is idle: what still loads has another head, and writes as it was read."""
    good = message()
    at = data.draw(st.integers(0, len(good) - 55296 - 1))
    changed = bytearray(good)
    changed[at] ^= data.draw(st.integers(1, 255))
    try:
        tensor = loads(keys.adding().public, bytes(changed))
    except (DecodeError, LocalError):
        return
    assert dumps(tensor) == bytes(changed)


def test_too_many_axes_are_not_written() -> None:
    context = keys.adding().public
    (ciphertext,) = made(context, 1.0).ciphertexts
    with pytest.raises(LocalError, match="33 axes"):
        dumps(EncryptedTensor(context, Layout((1,) * 33, context.parameters.slots, 1), (ciphertext,), 1.0, 0.0))


def test_a_description_in_json_has_these_fields_and_no_others() -> None:
    good = Description((3, 2), 4, False, True, 16.0, 1e-5, 0).to_json()
    assert Description.from_json(good) == Description((3, 2), 4, False, True, 16.0, 1e-5, 0)
    wrong = [None, [], {}, {**good, "more": 1}, {key: good[key] for key in good if key != "left"}]
    wrong += [{**good, "left": True}, {**good, "left": 1.0}, {**good, "bound": 16}, {**good, "clean": 1}, {**good, "shape": "32"}]
    wrong += [{**good, "shape": [3, True]}, {**good, "shape": [3.0]}, {**good, "shape": [-1]}, {**good, "bound": -1.0}]
    for value in wrong:
        with pytest.raises(MalformedError):
            Description.from_json(value)


def test_words_of_other_keys_of_the_same_parameters_show_when_they_are_decrypted() -> None:
    """Nobody can tell them apart without the secret key; whoever has it gets no number."""
    secret, values = keys.usual(), np.ones((3, 2))
    head = dumps(made(secret.public, values))[:-286720]
    foreign = dumps(made(keys.stranger().public, values))[-286720:]
    with pytest.raises(LocalError):
        decrypt(secret, loads(secret.public, head + foreign))
