"""Pieces are done once each, scratch is a thread's own, and the first error stops the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from stfed.threads import processors, share


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_every_piece_is_done_once(threads: int) -> None:
    made: list[int] = []

    def worker() -> Callable[[int], int]:
        made.append(1)
        return lambda piece: piece * piece

    assert Counter(share(range(500), threads, worker)) == Counter(piece * piece for piece in range(500))
    assert 1 <= len(made) <= threads


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_the_first_error_stops_the_rest(threads: int) -> None:
    done: list[int] = []

    def worker() -> Callable[[int], None]:
        def work(piece: int) -> None:
            if piece == 10:
                raise ValueError("piece 10")
            done.append(piece)

        return work

    with pytest.raises(ValueError, match="piece 10"):
        share(range(100_000), threads, worker)
    assert len(done) < 99_000


@pytest.mark.parametrize("threads", [1, 3])
def test_scratch_that_cannot_be_made_is_an_error(threads: int) -> None:
    def worker() -> Callable[[int], int]:
        raise MemoryError("no room")

    with pytest.raises(MemoryError, match="no room"):
        share(range(10), threads, worker)


def test_no_pieces_give_nothing() -> None:
    assert share(list[int](), 3, lambda: lambda piece: piece) == []
    assert processors() >= 1
