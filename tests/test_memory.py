"""Bytes that are written in place: the same memory before and after, and never given away while somebody can still write to it."""

from __future__ import annotations

import numpy as np
import pytest

from stfed.memory import Blank


@pytest.mark.parametrize("size", [0, 1, 1000, (1 << 22) - 1, (1 << 22) + 12_345])
def test_what_is_written_is_what_is_taken(size: int) -> None:
    blank = Blank(size)
    assert not blank.view.any()
    written = np.resize(np.arange(251, dtype=np.uint8), size)
    blank.view[:] = written
    taken = blank.taken()
    assert type(taken) is bytes
    assert taken == written.tobytes()


def test_nothing_is_copied() -> None:
    blank = Blank(10 << 20)
    address = blank.view.ctypes.data
    assert np.frombuffer(blank.taken(), np.uint8).ctypes.data == address


def test_a_view_that_is_left_is_refused() -> None:
    blank = Blank(100)
    left = blank.view[10:20]
    with pytest.raises(BufferError):
        blank.taken()
    assert left.size == 10
