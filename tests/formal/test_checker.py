"""Every reachable state, for few parties; and the formula, which says the same."""

from dataclasses import replace

import pytest

from tests.formal.checker import run, search
from tests.formal.model import Action, Confirm, Model, Prepare, Release, Train, Unmask, View, kernel
from tests.formal.rules import Rule, Setting
from tests.formal.symbolic import find

SMALL = [Setting(3, 0, 2, 2), Setting(4, 1, 3, 2), Setting(4, 1, 3, 3), Setting(5, 2, 4, 2)]


@pytest.mark.parametrize("setting", SMALL, ids=str)
def test_no_reachable_state_leaks(setting: Setting) -> None:
    verdict = search(setting)
    assert verdict.complete
    assert verdict.leak is None
    assert find(setting).leak is None


@pytest.mark.parametrize("setting", SMALL[:2], ids=str)
def test_every_interleaving_reaches_the_states_that_one_order_of_steps_reaches(setting: Setting) -> None:
    assert search(setting, ordered=False).states == search(setting).states


def test_every_choice_of_corrupt_parties_gives_the_same_verdict() -> None:
    setting = Setting(4, 1, 3, 2)
    anywhere = search(setting, corrupt_anywhere=True)
    assert anywhere.complete
    assert anywhere.leak is None
    assert anywhere.states > search(setting).states


@pytest.mark.parametrize("rule", [Rule.EITHER_OR, Rule.ONCE_TRAIN, Rule.OPENS], ids=lambda rule: rule.name)
def test_the_search_and_the_formula_find_attacks_of_the_same_length(rule: Rule) -> None:
    setting, without = Setting(3, 0, 2, 2), frozenset({rule})
    visited, solved = search(setting, without), find(setting, without)
    assert visited.leak is not None
    assert Model(setting, without).leak(run(Model(setting, without), visited.trace)) == visited.leak
    lengths = [sum(not isinstance(action, Prepare) for action in found.trace) for found in (visited, solved)]
    assert lengths[0] == lengths[1]


def test_the_truth_told_to_everybody_gives_the_sum_of_all_of_them() -> None:
    """What is known is no less than it is: `search` goes on past the honest sum only because that is what was promised."""
    setting = Setting(4, 1, 3, 3)
    model = Model(setting)
    everybody = model.everybody
    trace: list[Action] = [
        *(Prepare(party, everybody) for party in range(3)),
        *(Train(party, View(everybody, 0, everybody & ~(1 << party))) for party in range(3)),
        *(Confirm(party, everybody) for party in range(3)),
        *(Unmask(party, Release(everybody)) for party in range(3)),
    ]
    state = run(model, tuple(trace))
    b, z = model.known(state)
    assert (b, z) == ({(0, 0), (1, 0), (2, 0)}, set())
    assert model.smallest_sum(state, b, z) == ()
    greedy = Model(replace(setting, honest_minimum=4))
    assert [vector[0] for vector, factor in greedy.smallest_sum(state, b, z) if factor == 1] == [0, 1, 2]


def test_the_kernel_adds_up_to_nothing() -> None:
    assert kernel([{"a": 1}, {"a": -1, "b": 1}, {"b": -1}]) == (1, 1, 1)
    assert kernel([{"a": 1}, {"a": 1}]) == (-1, 1)
    assert kernel([{"a": 1}, {"b": 1}]) == ()
    assert kernel([{}]) == (1,)
