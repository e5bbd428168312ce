"""A coordinator that sees the whole graph and chooses who drops, against graphs that are drawn and against a ring.

To read the sum over a set S of honest parties alone it needs two things (ADR 0018): every honest holder of somebody in S that is not in S
itself has to drop, or a mask stays on; and everybody in S needs t of its holders in S or among the corrupt, or its own mask stays on. The
adversary here grows S greedily, by whoever is a holder of most of its members, and looks after every step whether S is such a set.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from stfed.secagg.drawn import draw_holders
from stfed.secagg.graph import HararyGraph
from stfed.secagg.params import Mode, choose
from stfed.secagg.tails import honest_floor
from stfed.testing.protocol import scripted_entropy

NOBODY = 1 << 30


def drawn_graphs(count: int, n: int, k: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """`count` graphs: [g, i, j] says whether i drew j."""
    score = rng.random((count, n, n), np.float32)
    score[:, np.arange(n), np.arange(n)] = 2
    graphs = np.zeros((count, n, n), bool)
    np.put_along_axis(graphs, np.argpartition(score, k, axis=2)[:, :, :k], True, axis=2)
    return graphs


def smallest_isolated(graphs: NDArray[np.bool_], corrupt: int, t: int, drops: int, start: NDArray[np.int64]) -> NDArray[np.int64]:
    """The fewest honest parties whose sum the greedy adversary can read in each graph, `NOBODY` where it finds none but all of them.

    Args:
        graphs: (g, n, n).
        corrupt: the first so many parties are; who they are is fixed before the graph.
        t: shares that reconstruct.
        drops: how many honest parties may be made to drop.
        start: (g,), the first member of each set.
    """
    count, n, _ = graphs.shape
    each = np.arange(count)
    inside = np.zeros((count, n), bool)
    answering = graphs[:, :, :corrupt].sum(axis=2, dtype=np.int16)  # holders of i that are in S or corrupt
    wanted = np.zeros((count, n), np.int16)  # members of S that j holds shares of
    drew = np.ascontiguousarray(graphs.transpose(0, 2, 1))
    found, new = np.full(count, NOBODY), start
    for size in range(1, n - corrupt):
        inside[each, new] = True
        answering += drew[each, new]
        wanted += graphs[each, new]
        outside = wanted * ~inside
        outside[:, :corrupt] = 0
        reconstructs = (inside & (answering < t)).sum(axis=1) == 0
        isolated = reconstructs & ((outside > 0).sum(axis=1) <= drops)
        found[isolated & (found == NOBODY)] = size
        outside[inside] = -1
        outside[:, :corrupt] = -1
        new = outside.argmax(axis=1)
    return found


def test_the_fast_draw_and_the_protocols_are_the_same_distribution() -> None:
    n, k, own = 12, 4, 5
    rng, entropy = np.random.default_rng(1), scripted_entropy("same")
    fast = drawn_graphs(4000, n, k, rng)[:, own].mean(axis=0)
    slow = np.zeros(n)
    for _ in range(4000):
        slow[list(draw_holders(n, own, k, entropy))] += 1 / 4000
    assert fast[own] == slow[own] == 0
    assert np.abs(fast - slow).max() < 0.06


def test_the_adversary_finds_a_set_that_was_put_there() -> None:
    n, k, t, corrupt = 60, 8, 6, 3
    graphs = drawn_graphs(5, n, k, np.random.default_rng(4))
    graphs[:, 10:20] = False
    graphs[:, 10:20, 10:20] = drawn_graphs(5, 10, k, np.random.default_rng(5))
    assert smallest_isolated(graphs, corrupt, t, 0, np.full(5, 13)).tolist() == [10] * 5
    assert smallest_isolated(graphs, corrupt, t, 0, np.full(5, 40)).min() > 20


def test_ten_thousand_attempts_and_never_a_sum_over_fewer_than_promised() -> None:
    """Whoever drops, and however many: the promise does not rest on delta."""
    n, gamma, delta = 140, 0.05, 0.05
    numbers = choose(n, gamma, delta, mode=Mode.MALICIOUS)
    assert (numbers.graph, numbers.honest_floor) == ("k-out", 71)
    rng, smallest = np.random.default_rng(2026), NOBODY
    for _ in range(40):
        graphs = drawn_graphs(25, n, numbers.k, rng)
        # It begins with the ten parties that have most corrupt holders, one after the other.
        corrupt_holders = graphs[:, numbers.corrupt :, : numbers.corrupt].sum(axis=2)
        starts = numbers.corrupt + np.argsort(corrupt_holders, axis=1)[:, -10:]
        found = smallest_isolated(np.repeat(graphs, 10, axis=0), numbers.corrupt, numbers.t, n, starts.ravel())
        smallest = min(smallest, int(found.min()))
    assert smallest > numbers.honest_floor
    assert smallest < n - numbers.corrupt  # it does find sets: with any number of drops a large one can be had


def ring(n: int, k: int, seed: bytes, shift: int) -> NDArray[np.bool_]:
    """A Harary graph, its parties renamed so that other ones are corrupt."""
    graph, table = HararyGraph(n, k, seed), np.zeros((n, n), bool)
    for party in range(n):
        table[(party + shift) % n, (graph.neighbours(party) + shift) % n] = True
    return table


@pytest.mark.parametrize("seed", [b"a", b"b", b"c"])
def test_on_a_ring_the_same_adversary_reads_the_sum_of_a_few(seed: bytes) -> None:
    """With the ring's own numbers, which are sound while nobody chooses the drops, and no more drops than delta allows."""
    n, gamma, delta = 400, 0.05, 0.15
    numbers = choose(n, gamma, delta)
    assert numbers.graph == "harary"
    graph = ring(n, numbers.k, seed, 0)
    starts = np.arange(numbers.corrupt, n)
    found = smallest_isolated(np.broadcast_to(graph, (len(starts), n, n)), numbers.corrupt, numbers.t, numbers.dropouts, starts)
    assert found.min() < 2 * numbers.k
    assert np.mean(found < n // 4) > 0.1

    # The numbers alone do not do it: drawn with the same ones, no graph falls apart like this.
    drawn = drawn_graphs(1, n, numbers.k, np.random.default_rng(seed[0]))
    found = smallest_isolated(np.broadcast_to(drawn[0], (len(starts), n, n)), numbers.corrupt, numbers.t, numbers.dropouts, starts)
    assert found.min() > honest_floor(n, numbers.corrupt, numbers.k, numbers.t, 40)
    assert found.min() > n // 2


def test_whoever_cuts_off_all_holders_of_a_victim_has_no_t_shares_of_its_mask() -> None:
    """The mask b of a victim needs t holders that answer; those that are not corrupt keep a mask on if they stay, and are silent if not."""
    numbers = choose(1000, 0.05, 0.05, mode=Mode.MALICIOUS)
    rng = np.random.default_rng(3)
    for _ in range(10):
        graphs = drawn_graphs(1, 1000, numbers.k, rng)[0]
        corrupt_holders = graphs[numbers.corrupt :, : numbers.corrupt].sum(axis=1)
        assert corrupt_holders.max() < 2 * numbers.t - numbers.k <= numbers.t
