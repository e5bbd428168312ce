"""Every attack, refused with its own error; and every attack again with its defence taken out, when it succeeds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from stfed.secagg.client import Prepared
from stfed.secagg.refusals import ModeError, ParametersError
from tests.attacks.secagg import page
from tests.attacks.secagg.coordinator import Coordinator
from tests.attacks.secagg.gains import NothingLearnedError, check_nothing, least_sum, reads
from tests.attacks.secagg.registry import Attack
from tests.attacks.secagg.removal import Check, Instead
from tests.attacks.secagg.rules import RULES

ATTACKS = page.load()
each = pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: f"{attack.family}: {attack.name}")


@each
def test_refused(attack: Attack) -> None:
    attack.refused()


@each
def test_succeeds_without_its_defence(attack: Attack) -> None:
    attack.succeeds()


def test_every_rule_has_an_attack_or_says_why_not() -> None:
    covered = frozenset[str]().union(*(attack.covers for attack in ATTACKS))
    assert covered <= RULES.keys(), f"unknown: {covered - RULES.keys()}"
    for key in RULES.keys() - covered:
        assert "**Not covered**" in RULES[key].stands, f"{key}, {RULES[key].title}: no attack, and not a word about it"
    assert {key for key in RULES if key[0] == "R"} <= covered
    assert len(ATTACKS) > 80


def test_the_page_says_what_the_suite_does() -> None:
    assert page.PAGE.read_text(encoding="utf-8") == page.text(), "run `python -m tests.attacks.secagg.page`"


# --- the suite itself --------------------------------------------------------------------------------------------------------------------


def test_an_attack_that_is_not_refused_or_otherwise_than_it_must_be_is_seen() -> None:
    real = next(attack for attack in ATTACKS if attack.name == "threshold one in a large cohort")
    for wrong, complaint in (
        (replace(real, mount=lambda world: None), "the attack succeeded"),
        (replace(real, expect=ModeError), "ended with ParametersError"),
        (replace(real, says="something else"), "t = 1 shares"),
    ):
        with pytest.raises(AssertionError, match=complaint):
            wrong.refused()


def test_an_attack_that_the_named_defence_does_not_stop_is_seen() -> None:
    real = next(attack for attack in ATTACKS if attack.name == "threshold one in a large cohort")
    idle = Instead("stfed.secagg.policy:Policy.check_mode", lambda *_: None, "nothing to do with it")
    with pytest.raises(ParametersError):
        replace(real, defences=(idle,)).succeeds()


def test_a_refusal_after_which_too_much_is_known_is_seen() -> None:
    real = next(attack for attack in ATTACKS if attack.name == "threshold one in a large cohort")

    def late(world: Coordinator) -> None:
        real.mount(world)
        raise ParametersError("t = 1 shares, said too late")

    with pytest.raises(AssertionError, match="both secrets of a party are known"):
        replace(real, mount=late, given=real.defences).refused()


def test_a_check_that_is_not_there_is_an_error_and_one_that_was_removed_comes_back() -> None:
    before = vars(Prepared)["_check_holders"]
    with Check("stfed.secagg.client.prepared:Prepared._check_holders", "ShareHoldersError").removed():
        assert vars(Prepared)["_check_holders"] is not before
    assert vars(Prepared)["_check_holders"] is before
    with (
        pytest.raises(AssertionError, match="raises ModeError '' 0 times"),
        Check("stfed.secagg.client.prepared:Prepared._check_holders", "ModeError").removed(),
    ):
        pytest.fail("not reached")


def test_what_an_honest_round_gives_is_the_sum_over_all_honest_parties_and_no_more(tmp_path: Path) -> None:
    world = Coordinator(tmp_path).join()
    world.whole_round()
    best = least_sum(world)
    assert best is not None
    assert best[0] == world.honest
    check_nothing(world, 3)
    with pytest.raises(NothingLearnedError):
        reads(world, 0)
