"""The graphs: symmetric, regular, connected, the same everywhere, and the points of the shares on them."""

from __future__ import annotations

import hashlib
import json
import runpy
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stfed.errors import LocalError
from stfed.secagg.graph import CompleteGraph, HararyGraph, NeighbourGraph, make_graph

VECTORS = Path(__file__).parent.parent / "vectors"


@st.composite
def graphs(draw: st.DrawFn) -> NeighbourGraph:
    n = draw(st.integers(2, 60))
    k = draw(st.sampled_from([*range(2, n - 1, 2), n - 1]))
    return make_graph(n, k, draw(st.binary(max_size=40)))


def table(graph: NeighbourGraph) -> list[list[int]]:
    return [graph.neighbours(i).tolist() for i in range(graph.n)]


@given(graphs())
def test_everybody_has_k_neighbours_ascending_and_never_itself(graph: NeighbourGraph) -> None:
    for i, row in enumerate(table(graph)):
        assert len(row) == graph.k
        assert row == sorted(set(row))
        assert i not in row
        assert set(row) <= set(range(graph.n))


@given(graphs())
def test_the_table_has_everybodys_neighbours(graph: NeighbourGraph) -> None:
    assert graph.table().dtype == np.int32
    assert graph.table().tolist() == table(graph)


@given(graphs())
def test_neighbours_are_mutual(graph: NeighbourGraph) -> None:
    rows = table(graph)
    assert all(i in rows[j] for i, row in enumerate(rows) for j in row)


@given(graphs())
def test_the_graph_is_connected(graph: NeighbourGraph) -> None:
    rows, seen, front = table(graph), set[int](), {0}
    while front:
        seen |= front
        front = {j for i in front for j in rows[i]} - seen
    assert len(seen) == graph.n


@settings(max_examples=50)
@given(st.integers(6, 40), st.data())
def test_fewer_than_k_gone_never_cut_the_ring(n: int, data: st.DataObject) -> None:
    k = 2 * data.draw(st.integers(1, (n - 2) // 2))
    graph = HararyGraph(n, k, data.draw(st.binary(max_size=8)))
    left = set(range(n)) - set(data.draw(st.lists(st.integers(0, n - 1), max_size=k - 1)))
    seen, front = set[int](), {min(left)}
    while front:
        seen |= front
        front = {int(j) for i in front for j in graph.neighbours(i)} & left - seen
    assert seen == left


@given(graphs())
def test_a_dealers_points_are_1_to_k_one_a_holder(graph: NeighbourGraph) -> None:
    for dealer in range(graph.n):
        holders = graph.neighbours(dealer)
        assert [graph.point(dealer, int(holder)) for holder in holders] == graph.points(dealer).tolist() == list(range(1, graph.k + 1))


@given(graphs())
def test_nobody_else_has_a_point(graph: NeighbourGraph) -> None:
    for holder in set(range(graph.n)) - set(graph.neighbours(0).tolist()):
        with pytest.raises(LocalError, match=f"party {holder} holds no share of"):
            graph.point(0, holder)


def test_the_seed_alone_decides_the_ring_and_leaves_the_complete_graph_alone() -> None:
    assert table(make_graph(50, 6, b"a")) == table(make_graph(50, 6, b"a"))
    assert table(make_graph(50, 6, b"a")) != table(make_graph(50, 6, b"b"))
    assert table(make_graph(50, 49, b"a")) == table(make_graph(50, 49, b"b"))


def test_a_larger_k_keeps_the_order_and_adds_neighbours() -> None:
    narrow, wide = table(make_graph(50, 6, b"a")), table(make_graph(50, 8, b"a"))
    assert all(set(few) < set(more) for few, more in zip(narrow, wide, strict=True))


def test_every_pair_is_equally_likely() -> None:
    """4,000 rings of 6 with k = 2: each of the 15 pairs has probability 2/5; 5 standard deviations are 155. Fixed seeds, so no luck."""
    pairs: Counter[frozenset[int]] = Counter()
    for seed in range(4000):
        graph = HararyGraph(6, 2, seed.to_bytes(4, "big"))
        pairs.update({frozenset((i, int(j))) for i in range(6) for j in graph.neighbours(i)})
    assert len(pairs) == 15
    assert max(abs(count - 1600) for count in pairs.values()) < 155


def test_the_complete_graph_is_everybody_else() -> None:
    assert table(CompleteGraph(4)) == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]


@given(graphs())
def test_answers_are_fresh_arrays_of_int64(graph: NeighbourGraph) -> None:
    first = graph.neighbours(0)
    assert first.dtype == np.int64
    before = first.copy()
    first[:] = -1
    assert np.array_equal(graph.neighbours(0), before)


@pytest.mark.parametrize("graph", [CompleteGraph(5), HararyGraph(5, 2, b"")])
@pytest.mark.parametrize("stranger", [-1, 5])
def test_strangers_are_refused(graph: NeighbourGraph, stranger: int) -> None:
    with pytest.raises(LocalError, match=f"party {stranger} is not in a cohort of 5"):
        graph.neighbours(stranger)
    with pytest.raises(LocalError, match=f"party {stranger} is not in a cohort of 5"):
        graph.points(stranger)
    with pytest.raises(LocalError, match=f"party {stranger} is not in a cohort of 5"):
        graph.point(stranger, 0)
    with pytest.raises(LocalError, match=f"party {stranger} is not in a cohort of 5"):
        graph.point(0, stranger)


@pytest.mark.parametrize(
    ("n", "k", "message"),
    [
        (10, 3, "k = 3: a ring has as many"),
        (10, 10, "a ring of 10 parties gives 2 to 8"),
        (10, 12, "a ring of 10 parties gives 2 to 8"),
        (10, 0, "a ring of 10 parties gives 2 to 8"),
        (10, -2, "a ring of 10 parties gives 2 to 8"),
        (10, 11, "k = 11: a ring has as many"),
        (1, 0, "a graph of 1 parties"),
        (0, -1, "a graph of 0 parties"),
    ],
)
def test_impossible_graphs_are_refused(n: int, k: int, message: str) -> None:
    with pytest.raises(LocalError, match=message):
        make_graph(n, k, b"")


def test_a_ring_of_all_is_no_ring() -> None:
    with pytest.raises(LocalError, match="use k = n - 1"):
        HararyGraph(9, 8, b"")


def test_a_large_ring_is_built_once_and_asked_cheaply() -> None:
    graph = make_graph(200_000, 44, b"large")
    assert all(graph.neighbours(i).size == 44 for i in range(0, 200_000, 1000))


# --- vectors ---------------------------------------------------------------------------------------------------------------------


def test_the_vectors_are_what_their_generator_writes() -> None:
    expected: dict[str, bytes] = runpy.run_path(str(VECTORS / "gen_graph.py"))["generate"]()
    found = {path.relative_to(VECTORS).as_posix(): path.read_bytes() for path in (VECTORS / "graph").iterdir()}
    assert found
    assert found == expected


def test_the_graphs_are_those_of_the_vectors() -> None:
    files = sorted((VECTORS / "graph").glob("*.json"))
    assert files
    for file in files:
        vector = json.loads(file.read_text())
        graph = make_graph(vector["n"], vector["k"], bytes.fromhex(vector["seed"]))
        assert {i: graph.neighbours(int(i)).tolist() for i in vector["neighbours"]} == vector["neighbours"], file.name
        rows = np.concatenate([graph.neighbours(i) for i in range(graph.n)]).astype(">u4")
        assert hashlib.sha256(rows.tobytes()).hexdigest() == vector["table_sha256"], file.name
