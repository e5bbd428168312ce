"""Arguments of jobs arrive as they were sent, and a socket that has ended says so."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stfed.encrypted.parcels import Kind, ciphertext_of, ciphertexts_in, data_of, pack, receive, send, send_ciphertext, unpack
from stfed.encrypted.seal import seal
from tests.encrypted import keys

FOLDER = Path("/proc/self/fd")
CIPHERTEXTS = [seal().Ciphertext() for _ in range(3)]
LEAVES = st.one_of(
    st.floats(allow_nan=False),
    st.integers(-(2**63), 2**63 - 1),
    st.text(max_size=8),
    st.none(),
    arrays(np.float64, st.integers(0, 9), elements=st.floats(allow_nan=False)),
    st.sampled_from(CIPHERTEXTS),
)
ARGUMENTS = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4).map(tuple), max_leaves=12)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, tuple):
        return isinstance(b, tuple) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.tobytes() == b.tobytes()
    return a is b if isinstance(a, seal().Ciphertext) else type(a) is type(b) and a == b


@given(ARGUMENTS)
def test_arguments_come_back(argument: Any) -> None:
    packed = pack(argument, lambda ciphertext: next(at for at, one in enumerate(CIPHERTEXTS) if one is ciphertext))
    assert same(unpack(packed, dict(enumerate(CIPHERTEXTS))), argument)
    inside = list(ciphertexts_in(argument))
    assert all(any(one is known for known in CIPHERTEXTS) for one in inside)
    assert packed.count(b"c") >= len(inside)


def test_numbers_of_numpy_are_numbers_and_the_rest_is_refused() -> None:
    assert unpack(pack([np.float32(0.5), np.int64(3), True], lambda _: 0), {}) == (0.5, 3, 1)
    with pytest.raises(TypeError, match="type set"):
        pack([{1}], lambda _: 0)


def test_parcels_keep_their_order_and_leave_nothing_open() -> None:
    context = keys.usual().public
    ciphertext = context.arithmetic.encrypt(0.25)
    opened = len(list(FOLDER.iterdir()))
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with here, there:
        send(here, Kind.BATCH, 0, b"multiply")
        send_ciphertext(here, Kind.ONCE, 7, ciphertext)
        send(here, Kind.READY)
        first, second, third = (receive(there) for _ in range(3))
        assert first is not None and second is not None and third is not None  # noqa: PT018
        assert (first.kind, data_of(first)) == (Kind.BATCH, b"multiply")
        assert (second.kind, second.number) == (Kind.ONCE, 7)
        assert not os.get_inheritable(second.handle or 0)
        assert keys.usual().slots(ciphertext_of(second, context.seal_context)).real == pytest.approx(0.25, abs=1e-5)
        assert (third.kind, third.handle, data_of(third)) == (Kind.READY, None, b"")
        there.settimeout(0.01)
        with pytest.raises(TimeoutError):
            receive(there)
        here.close()
        assert receive(there) is None
    assert len(list(FOLDER.iterdir())) == opened
