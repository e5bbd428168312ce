"""The formula: nothing leaks with all rules; without a rule the attack is found, or the rules that cover for it are named."""

import pytest

from stfed.errors import StfedError
from tests.formal.cases import ALONE, ATTACKS, COVERED, several_cohorts, small_settings
from tests.formal.checker import run
from tests.formal.model import Model
from tests.formal.real import policy_of
from tests.formal.rules import NOTHING, Rule, Setting, Without
from tests.formal.symbolic import find

NEVER_ALONE = [rule for rule in Rule if rule not in ALONE and any(rule in group for group in COVERED)]


def named(rules: Without) -> str:
    return " ".join(sorted(rule.name for rule in rules))


@pytest.mark.parametrize("setting", [*small_settings(5), Setting(6, 1, 4, 3), Setting(6, 2, 4, 3)], ids=str)
def test_nothing_leaks_with_all_rules(setting: Setting) -> None:
    assert find(setting).leak is None


@pytest.mark.parametrize("setting", [*several_cohorts(6)], ids=str)
def test_nothing_leaks_where_parties_are_shown_different_cohorts(setting: Setting) -> None:
    assert find(setting).leak is None


@pytest.mark.parametrize("without", ATTACKS, ids=named)
def test_the_attack_is_found_again_without_these_rules_and_with_any_of_them_back_there_is_none(without: Without) -> None:
    setting = ATTACKS[without]
    found, model = find(setting, without), Model(setting, without)
    assert found.leak is not None
    assert model.leak(run(model, found.trace)) == found.leak
    lines = [*map(model.describe, found.trace), model.describe_leak(found.leak)]
    assert "the coordinator knows" in lines[-1]
    for rule in without:
        assert find(setting, without - {rule}).leak is None


def test_every_rule_is_in_some_attack() -> None:
    assert set().union(*ATTACKS) == set(Rule) - {Rule.ORDER}


@pytest.mark.parametrize(
    "rule", [rule for rule in Rule if rule not in ALONE and any(rule in group for group in COVERED)], ids=lambda rule: rule.name
)
def test_a_covered_rule_alone_is_not_missed(rule: Rule) -> None:
    for setting in small_settings(4, frozenset({rule})):
        assert find(setting, frozenset({rule})).leak is None, setting


def test_settings_are_those_that_the_calculator_accepts() -> None:
    for n in range(3, 8):
        for corrupt in range(3):
            for honest_minimum in (2, 3, 4):
                for t in range(1, n):
                    setting = Setting(n, corrupt, t, honest_minimum)
                    policy = policy_of(setting)
                    try:
                        policy.check_cohort(n)
                        policy.check_parameters(n, n - 1, t)
                    except StfedError:
                        accepted = False
                    else:
                        accepted = True
                    assert accepted == setting.acceptable(NOTHING), setting
