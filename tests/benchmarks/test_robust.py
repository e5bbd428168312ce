"""The benchmark of attacks: attackers do what they say, votes are Flower's, and secure groups give the model of their means."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import robust
from benchmarks.attacks_fl import ATTACKS, LABEL_FLIP, SCALING, SIGN_FLIP
from benchmarks.robust import MEDIAN, PLAIN, VOTES, Scene, Table, grouped
from benchmarks.softmax import Crowd, quiet


@pytest.fixture(scope="module")
def crowd() -> Crowd:
    return Crowd("digits", 12, 1, alpha=5.0, lr=0.5)


def test_a_crowd_learns_and_learns_the_same_again(crowd: Crowd) -> None:
    model = crowd.initial
    for server_round in range(1, 4):
        model = crowd.train(model, server_round).mean(0)
    assert crowd.accuracy(model) > 0.7
    assert (crowd.train(model, 4) == crowd.train(model, 4)).all()


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_only_malicious_parties_send_something_else(crowd: Crowd, attack: robust.Attack) -> None:
    scene = Scene.of(crowd, attack, 0.25, 1)
    assert len(scene.malicious) == 3
    honest, sent = crowd.train(crowd.initial, 1), scene.train(crowd.initial, 1)
    changed = [party for party in range(12) if (honest[party] != sent[party]).any()]
    assert changed == sorted(scene.malicious)
    sizes = np.linalg.norm(sent - crowd.initial, axis=(1, 2)) / np.linalg.norm(honest - crowd.initial, axis=(1, 2))
    times = {SIGN_FLIP.name: 5, LABEL_FLIP.name: 1}.get(attack.name, 10)
    assert np.allclose(sizes[list(scene.malicious)], times, rtol=0.5)


def test_votes_hold_where_a_mean_does_not(crowd: Crowd) -> None:
    scene = Scene.of(crowd, SIGN_FLIP, 0.25, 1)
    with quiet():
        found = [scene.run(one, 3) for one in (PLAIN, MEDIAN)]
    assert found[0].accuracy < 0.5 < 0.7 < found[1].accuracy


def test_bulyan_is_not_asked_for_what_it_cannot_do() -> None:
    (bulyan,) = (one for one in VOTES if one.name == "Bulyan")
    assert bulyan.strategy(60, 14) is not None
    assert bulyan.strategy(60, 15) is None
    assert grouped(bulyan, 3).strategy(60, 5) is None


def test_secure_groups_come_to_the_model_of_their_means(crowd: Crowd) -> None:
    scene = Scene.of(crowd, SCALING, 0.1, 1)
    with quiet():
        accuracy, apart = scene.run_secure(grouped(MEDIAN, 3), 2)
    assert 0 < accuracy < 1
    assert 0 < apart < 1e-5


def test_limits() -> None:
    assert robust.certain(0.16, 3)
    assert not robust.certain(1 / 6, 3)
    assert (1 - robust.mean_limit(3) / 100) ** 3 == pytest.approx(0.5)


def test_lines_and_plots_are_made_of_what_was_found() -> None:
    shares = (0.0, 0.1, 0.2)
    everything = (PLAIN, *VOTES, *(grouped(one, size) for one in VOTES for size in robust.GROUP_SIZES))
    table = Table(
        [
            robust.Found(attack.name, share, one.name, one.size, seed, None if one.name == "Bulyan" else 0.9 - share * one.size / 12)
            for attack in ATTACKS
            for share in shares
            for one in everything
            for seed in (1, 2)
        ]
    )
    lines = {line.name: line for line in robust.lines(table, table, {"groups": (0.9, 1e-7)}, shares)}
    lost = lines["scaling by 10 %: lost by FedMedian, groups of 3"]
    assert lost.measured == pytest.approx(2.5)
    assert lost.met
    assert lines["scaling by 20 %: lost by FedMedian, groups of 3"].target is None
    assert lines["largest share at which FedMedian, groups of 5, loses 5 points at most"].measured == 10
    assert lines["largest share at which FedMedian, groups of 10, loses 5 points at most"].measured == 0
    assert lines["groups: largest difference of the models, secure - floating point"].met
    attacks, sizes = robust.plots(table, table, shares)
    assert [panel["title"] for panel in attacks["panels"]] == [attack.name for attack in ATTACKS]
    assert len(sizes["panels"][0]["series"]) == 2 * len(robust.GROUP_SIZES)
