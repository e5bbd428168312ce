"""Rounds on a graph that the parties drew: exact sums whoever drops, and a clean failure exactly where the graph leaves no other way."""

from __future__ import annotations

from collections import Counter
from copy import deepcopy
from dataclasses import replace
from itertools import combinations
from tempfile import TemporaryFile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stfed.errors import QuorumError
from stfed.secagg import client, keys
from stfed.secagg.client import Prepared, Ready, pairwise
from stfed.secagg.messages import DrawnPrepare, DrawnTrainRequest, Prepare, TrainRequest, Unmask
from stfed.secagg.params import Mode, Parameters, choose
from stfed.secagg.policy import Policy
from stfed.secagg.record import Record
from stfed.secagg.server import DropReason, Preparing
from stfed.secagg.server.published import Published, publish
from stfed.secagg.signing import round_context, signed
from stfed.testing.protocol import LocalProtocol
from tests.secagg.scene import assert_equal, plan_of, sum_of, vectors_of
from tests.secagg.sparse import any_graph, drawn_by, drawn_parameters

STEPS = ("prepare", "train", "confirm", "unmask")


@pytest.mark.parametrize(("n", "gamma", "delta", "rounds"), [(140, 0.05, 0.05, 2), (200, 0.1, 0.1, 1)])
def test_rounds_with_the_calculators_numbers_and_drops_at_every_step(n: int, gamma: float, delta: float, rounds: int) -> None:
    parameters = choose(n, gamma, delta, mode=Mode.MALICIOUS)
    assert parameters.graph == "k-out"
    protocol = LocalProtocol(n, Policy(mode=Mode.MALICIOUS, gamma=gamma, delta=delta), keep_log=False)
    plan = plan_of(n, 12)
    for seed, drops in enumerate(({"prepare": [1, 9], "train": [2, 3], "confirm": [4], "unmask": [5]}, {})[:rounds]):
        vectors = vectors_of(plan, n, seed)
        result = protocol.sum_round(plan, parameters, lambda node, vectors=vectors: deepcopy(vectors[node]), drops=drops)
        summed = set(range(n)) - {*drops.get("prepare", ()), *drops.get("train", ())}
        assert_equal(result.total, sum_of(plan, vectors, summed))
        assert len(result.survivors) == len(summed)


@pytest.mark.parametrize("cohorts", [0, 4])
def test_a_larger_directory_than_the_cohort_and_keys_agreed_on_round_by_round_or_at_once(monkeypatch, cohorts: int) -> None:  # type: ignore
    n, nodes = 14, [0, 2, 3, 5, 6, 8, 9, 11, 13]
    monkeypatch.setattr(pairwise, "_COHORTS", cohorts)
    protocol = LocalProtocol(n, any_graph(eager_parties=3))
    protocol.join()
    plan, vectors = plan_of(len(nodes), 7), vectors_of(plan_of(9, 7), n)
    for _ in range(2):
        parameters = replace(drawn_parameters(len(nodes), 6, 4), roster=n, corrupt=2)
        result = protocol.sum_round(plan, parameters, lambda node: deepcopy(vectors[node]), nodes=nodes, drops={"train": [5]})
        assert_equal(result.total, sum_of(plan, vectors, set(nodes) - {5}))
    state = Record.decode(protocol.stores[0]._runs[protocol.run].record).state  # type: ignore[attr-defined]
    assert isinstance(state, Ready)
    assert bool(state.keys.private_key) is (not cohorts)


# --- small graphs, every case ------------------------------------------------------------------------------------------------------------


class Expected:
    """What must come of a round: the rules of the coordinator, from the graph alone."""

    def __init__(self, holders: dict[int, set[int]], parameters: Parameters, floor: int, drops: dict[str, set[int]]) -> None:
        t, everybody = parameters.t, set(range(parameters.n))
        alive = everybody - drops["prepare"]
        while short := {party for party in alive if len(holders[party] & alive) < t}:
            alive -= short
        summed = alive - drops["train"]
        confirmed = summed - drops["confirm"]
        answering = confirmed - drops["unmask"]
        enough = len(alive) >= floor and len(summed) >= floor and len(confirmed) >= parameters.quorum
        self.sum = summed if enough and all(len(holders[party] & answering) >= t for party in alive) else None


def run(protocol: LocalProtocol, parameters: Parameters, drops: dict[str, set[int]], seed: int = 0) -> bool:
    """A round with these drops, held against what the drawn graph says must come of it; whether there was a sum."""
    n = parameters.n
    plan = plan_of(n, 5)
    vectors = vectors_of(plan, n, seed)
    found: dict[str, Preparing] = {}
    prepare = protocol.prepare

    def spy(*arguments, **settings):  # type: ignore[no-untyped-def]
        found["step"] = prepare(*arguments, **settings)
        return found["step"]

    protocol.prepare = spy  # type: ignore[method-assign]
    protocol.enrolment or protocol.join()
    assert protocol.enrolment is not None
    nodes = protocol.enrolment.nodes
    try:
        result = protocol.sum_round(plan, parameters, lambda node: deepcopy(vectors[node]), drops=drops)
    except QuorumError:
        result = None
    finally:
        protocol.prepare = prepare  # type: ignore[method-assign]
    by_index = drawn_by(found["step"]._prepares)
    holders = {nodes[party]: {nodes[holder] for holder in drawn} for party, drawn in by_index.items()}
    expected = Expected(holders, parameters, found["step"]._round.floor, drops)
    assert (None if result is None else {nodes[index] for index in result.survivors}) == expected.sum
    if result is not None:
        assert_equal(result.total, sum_of(plan, vectors, expected.sum or ()))
    return result is not None


def everywhere(**drops: set[int]) -> dict[str, set[int]]:
    return {step: drops.get(step, set()) for step in STEPS}


@pytest.mark.parametrize("k", range(4, 8))
def test_every_one_or_two_drops_on_small_graphs(k: int) -> None:
    n, t = 9, k // 2 + 1
    protocol, parameters = LocalProtocol(n, any_graph(), seed=f"small {k}", keep_log=False), drawn_parameters(n, k, t)
    outcomes = Counter({run(protocol, parameters, everywhere()): 1})
    for one, other in combinations(range(n), 2):
        first, second = STEPS[one % 4], STEPS[(one + other) % 4]
        drops = everywhere()
        drops[first] |= {one}
        drops[second] |= {other}
        outcomes[run(protocol, parameters, drops, one)] += 1
    assert outcomes[True] > 0
    assert (outcomes[False] > 0) == (k == 4)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_random_drops_on_random_graphs(data: st.DataObject) -> None:
    n = data.draw(st.integers(5, 10))
    k = data.draw(st.integers(3, n - 2))
    t = data.draw(st.integers(min(k, (k + 1) // 2 + 1), k))
    steps = data.draw(st.lists(st.sampled_from([*STEPS, *12 * ["never"]]), min_size=n, max_size=n))
    drops = {step: {node for node in range(n) if steps[node] == step} for step in STEPS}
    run(LocalProtocol(n, any_graph(), keep_log=False), drawn_parameters(n, k, t), drops)


# --- the messages and the masks ----------------------------------------------------------------------------------------------------------


def tables(protocol: LocalProtocol) -> tuple[dict[int, DrawnPrepare], dict[int, DrawnTrainRequest], dict[int, Unmask]]:
    """What crossed in the last round, by directory index."""
    assert protocol.enrolment is not None
    index_of = protocol.enrolment.index_of()
    sent = {(step, direction): {} for step in ("prepare", "train", "unmask") for direction in ("up", "down")}
    for step, direction, node, data in protocol.log:
        if step in ("prepare", "train", "unmask"):
            sent[step, direction].setdefault(index_of[node], data)
    prepares = {index: DrawnPrepare.decode(data) for index, data in sent["prepare", "up"].items()}
    trains = {index: DrawnTrainRequest.decode(data) for index, data in sent["train", "down"].items()}
    return prepares, trains, {index: Unmask.decode(data) for index, data in sent["unmask", "up"].items()}


def test_what_crosses_a_drawn_round() -> None:
    n, k, t = 9, 5, 4
    protocol, plan = LocalProtocol(n, any_graph()), plan_of(9, 7)
    vectors = vectors_of(plan, n)
    protocol.sum_round(plan, drawn_parameters(n, k, t), lambda node: deepcopy(vectors[node]))
    prepares, trains, unmasks = tables(protocol)
    for index, prepare in prepares.items():
        assert len(prepare.holders) == len(prepare.dealt) == k
        assert index not in prepare.holders
        assert len(prepare.box) == 32 * (n - 1) + 16
        assert len(prepare.others) == 16 * (n - 1 - k)
    for index, train in trains.items():
        assert train.dealers == tuple(sorted(dealer for dealer, prepare in prepares.items() if index in prepare.holders))
        assert isinstance(TrainRequest.decode(train.encode()), DrawnTrainRequest)
        assert len(unmasks[index].shares) == len(train.dealers)


def test_the_complete_graph_of_malicious_mode_has_the_messages_it_had() -> None:
    n = 6
    protocol, plan = LocalProtocol(n, Policy(mode=Mode.MALICIOUS)), plan_of(6, 7)
    vectors = vectors_of(plan, n)
    protocol.sum_round(plan, choose(n, 0.1, 0.1, mode=Mode.MALICIOUS), lambda node: deepcopy(vectors[node]))
    ups = [data for step, direction, _, data in protocol.log if (step, direction) == ("prepare", "up")]
    assert all(type(Prepare.decode(data)) is Prepare for data in ups)
    downs = [data for step, direction, _, data in protocol.log if (step, direction) == ("train", "down")]
    assert all(type(TrainRequest.decode(data)) is TrainRequest for data in downs)


def test_an_edge_is_masked_once_though_both_ends_drew_each_other() -> None:
    """Each party's masks are its own, and one for everybody whom it drew or who drew it, added by the smaller index."""
    n = 9
    protocol, plan, parameters = LocalProtocol(n, any_graph()), plan_of(9, 7), drawn_parameters(9, 6, 4)
    protocol.join()
    preparing = protocol.prepare(plan, parameters, range(n))
    drawn = drawn_by(preparing._prepares)
    assert any(other in drawn[party] and party in drawn[other] for party in drawn for other in drawn)
    assert any((other in drawn[party]) != (party in drawn[other]) for party in drawn for other in drawn if other != party)
    states = {}
    for index in range(n):
        record = protocol.stores[protocol.enrolment.nodes[index]]._runs[protocol.run].record  # type: ignore
        states[index] = record_state(record)
    collecting = preparing.close(bytes(32))
    for index, state in states.items():
        training, masks = state.train(collecting.request(index), bytes(32), protocol.policy)
        edges = {other for other in range(n) if other != index and (other in drawn[index] or index in drawn[other])}
        seeds = dict(zip(state.neighbours, state.seeds, strict=True))
        wanted = {other: keys.pairwise_mask_key(seeds[other], training.transcript) for other in edges}
        assert sorted(masks.add[1:]) == sorted(wanted[other] for other in edges if other > index)
        assert sorted(masks.subtract) == sorted(wanted[other] for other in edges if other < index)
        assert [dealer for dealer, _, _ in training.held] == sorted(other for other in drawn if index in drawn[other])


def record_state(record: bytes) -> Prepared:
    state = Record.decode(record).state
    assert isinstance(state, Prepared)
    return state


def test_a_prepared_party_comes_back_from_its_store_with_its_holders() -> None:
    n = 9
    protocol = LocalProtocol(n, any_graph())
    protocol.join()
    preparing = protocol.prepare(plan_of(n, 7), drawn_parameters(n, 5, 4), range(n))
    drawn = drawn_by(preparing._prepares)
    for index in range(n):
        state = record_state(protocol.stores[protocol.enrolment.nodes[index]]._runs[protocol.run].record)  # type: ignore
        assert set(state.holders) == drawn[index]
        assert state.neighbours == tuple(other for other in range(n) if other != index)
        thawed = client.thaw(state.freeze())
        assert thawed == state
        assert thawed.freeze() == state.freeze()
        request = preparing_request(preparing, index)
        assert thawed.train(request, bytes(32), protocol.policy) == state.train(request, bytes(32), protocol.policy)  # type: ignore


def preparing_request(preparing: Preparing, index: int) -> TrainRequest:
    copy = deepcopy(preparing)
    return copy.close(bytes(32)).request(index)


# --- parties that lie ---------------------------------------------------------------------------------------------------------------------


def lying(change) -> tuple[Preparing, int]:  # type: ignore[no-untyped-def]
    """A round in which one party's signed PREPARE says something else."""
    n = 9
    protocol = LocalProtocol(n, any_graph())
    protocol.join()
    preparing = protocol.prepare(plan_of(n, 7), drawn_parameters(n, 5, 4), range(n))
    index = 3
    node = protocol.enrolment.nodes[index]  # type: ignore[union-attr]
    prepare = preparing._prepares[index]
    fresh = Preparing(preparing.facts, preparing._round.names, 6, directory=protocol.enrolment.directory, corrupt=1)  # type: ignore
    changed = signed(change(prepare, n, index), protocol.identities[node], round_context(preparing.facts))
    fresh.add(index, changed.encode())
    return fresh, index


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        (lambda p, n, i: replace(p, holders=tuple(sorted((*p.holders[1:], i)))), "to itself"),
        (lambda p, n, i: replace(p, holders=(*p.holders[:-1], n)), "not in the cohort"),
        (lambda p, n, i: replace(p, holders=p.holders[1:]), "names 4 share-holders, k = 5"),
        (lambda p, n, i: replace(p, holders=p.holders[1:], dealt=p.dealt[1:]), "deals shares to 4 neighbours, k = 5"),
        (lambda p, n, i: replace(p, holders=()), "names 0 share-holders"),
        (lambda p, n, i: replace(p, others=p.others[16:]), "commitments to pairwise seeds have the wrong size"),
        (lambda p, n, i: replace(p, others=p.others + bytes(16)), "commitments to pairwise seeds have the wrong size"),
        (lambda p, n, i: replace(p, box=p.box[32:]), "box has the wrong size"),
        (
            lambda p, n, i: Prepare(
                header=p.header, commit_self_seed=p.commit_self_seed, commit_box_key=p.commit_box_key, box=p.box, dealt=p.dealt
            ),
            "expected DRAWN_PREPARE, got PREPARE",
        ),
    ],
)
def test_a_prepare_of_another_form_costs_its_sender_the_round(change, detail: str) -> None:  # type: ignore[no-untyped-def]
    preparing, index = lying(change)
    drop = preparing.drops[index]
    assert (drop.step, drop.reason) == ("prepare", DropReason.MALFORMED)
    assert detail in drop.detail
    assert not preparing._round.links.holders(index)


def test_two_ends_of_an_edge_that_commit_to_different_seeds() -> None:
    """Only on edges: what two parties say about a seed that no mask comes from is not compared."""
    n, liar = 9, 4
    protocol, plan = LocalProtocol(n, any_graph(), seed="edges"), plan_of(9, 7)
    protocol.join()
    preparing = protocol.prepare(plan, drawn_parameters(n, 3, 1), range(n))
    links, said = preparing._round.links, preparing._prepares[liar]
    assert isinstance(said, DrawnPrepare)
    strangers = [party for party in range(n) if party not in (liar, *said.holders)]
    apart = next(party for party in strangers if party not in links.neighbours(liar))
    dealer = next(party for party in strangers if party in links.neighbours(liar))
    for other in (apart, dealer):
        again = deepcopy(preparing)
        others = bytearray(said.others)
        others[16 * strangers.index(other)] ^= 1
        again._prepares.put(liar, replace(said, others=bytes(others)))
        again.close(bytes(32))
        assert {party for party, drop in again.drops.items() if drop.reason is DropReason.COMMITMENT_MISMATCH} == (
            {liar, other} if other is dealer else set()
        )
    again = deepcopy(preparing)
    dealt = [replace(item, seed_commitment=bytes(16)) if at == 1 else item for at, item in enumerate(said.dealt)]
    again._prepares.put(liar, replace(said, dealt=tuple(dealt)))
    again.close(bytes(32))
    assert again.drops.keys() == {liar, said.holders[1]}


def test_what_is_kept_of_a_drawn_prepare_is_what_it_says_about_its_neighbours() -> None:
    """In the order of the cohort, whoever was drawn: both ends of every edge say the same, and the box gives the seeds."""
    n = 9
    protocol = LocalProtocol(n, any_graph())
    protocol.join()
    preparing = protocol.prepare(plan_of(n, 7), drawn_parameters(n, 3, 1), range(n))
    links, header = preparing._round.links, preparing.facts.header
    kept = {party: publish(party, prepare, links) for party, prepare in preparing._prepares.items()}
    said = {
        (party, other): commitment
        for party, one in kept.items()
        for other, commitment in zip(one.neighbours.tolist(), commitments_of(one), strict=True)
    }
    for party, one in kept.items():
        assert tuple(one.neighbours) == links.neighbours(party)
        assert one.commitments == keys.published_by(preparing._prepares[party], party)
        state = record_state(protocol.stores[protocol.enrolment.nodes[party]]._runs[protocol.run].record)  # type: ignore
        seeds = dict(zip(state.neighbours, state.seeds, strict=True))
        for other in one.neighbours.tolist():
            assert said[party, other] == said[other, party] == keys.commit_pairwise_seed(seeds[other], header, party, other)
    assert any(len(one.neighbours) < n - 1 for one in kept.values())


def commitments_of(kept: Published) -> list[bytes]:
    return [kept.seed_commitments()[at : at + 16] for at in range(0, len(kept.seed_commitments()), 16)]


def test_prepares_in_a_file_are_the_prepares() -> None:
    """The sum, who drops, and the evidence of a dispute are what they are without one; in memory there is only what the round needs."""
    n = 9
    protocol, plan = LocalProtocol(n, any_graph(), seed="file"), plan_of(9, 7)
    protocol.join()
    kept = protocol.prepare(plan, drawn_parameters(n, 3, 1), range(n))
    with TemporaryFile() as file:
        filed = Preparing(
            kept.facts,
            kept._round.names,
            kept._round.floor,
            directory=protocol.enrolment.directory,
            corrupt=1,
            file=file,  # type: ignore
        )
        for party in reversed(range(n)):
            filed.add(party, kept._prepares[party].encode())
        assert not filed._prepares._kept
        assert dict(filed._prepares) == dict(kept._prepares)
        assert len(filed._prepares) == n
        one, other = deepcopy(kept).close(bytes(32)), filed.close(bytes(32))
        assert [one.request(party) for party in range(n)] == [other.request(party) for party in range(n)]
        assert other._evidence[2] == kept._prepares[2]
