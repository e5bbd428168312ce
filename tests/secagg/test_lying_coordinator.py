"""Real parties against a coordinator that says anything to anybody in any order: it never gets what it must not, and without one of the
rules it does.

A rule-based state machine (Hypothesis) plays the coordinator of `tests.secagg.adversary`. With the defences on, its invariants hold; with
one of them patched out, the quorum of CONFIRM or another, the same machine finds the attack again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from stfed.secagg.client import Confirmed, Prepared
from stfed.secagg.policy import Policy
from tests.secagg.adversary import HONEST_FLOOR, Adversary, N, all_but, content_of, trained

whom = st.integers(0, N - 1)
rounds = st.integers(1, 3)
most = st.builds(all_but, whom)
parties = st.one_of(
    st.just(tuple(range(N))),
    most,
    st.sets(whom, min_size=1).map(lambda chosen: tuple(sorted(chosen))),
)


BEGINNINGS = {False: Adversary().marked(), True: trained().marked()}


class LyingCoordinator(RuleBasedStateMachine):
    """Every rule may be refused, which is no failure; what it learns is what counts."""

    adversary: Adversary

    @initialize(begun=st.booleans())
    def start(self, begun: bool) -> None:
        self.adversary = BEGINNINGS[begun]
        self.adversary.rewind()

    @rule(index=whom, round_=rounds, cohort=parties, t=st.integers(1, 4))
    def prepare(self, index: int, round_: int, cohort: tuple[int, ...], t: int) -> None:
        self.adversary.prepare(index, round_, cohort, t)

    @rule(round_=rounds, t=st.integers(1, 4))
    def everybody_prepares(self, round_: int, t: int) -> None:
        self.adversary.everybody_prepares(round_, t=t)

    @rule(index=whom, alive=parties, round_=rounds, variant=st.integers(0, 1), send=st.booleans())
    def train(self, index: int, alive: tuple[int, ...], round_: int, variant: int, send: bool) -> None:
        self.adversary.train(index, alive, content_of(round_, variant), send=send)

    @rule(alive=parties)
    def everybody_trains(self, alive: tuple[int, ...]) -> None:
        self.adversary.everybody_trains(alive)

    @rule(index=whom, survivors=parties)
    def confirm(self, index: int, survivors: tuple[int, ...]) -> None:
        self.adversary.confirm(index, survivors)

    @rule(one=most, other=most, halves=st.lists(st.booleans(), min_size=N, max_size=N))
    def everybody_confirms_one_set_or_another(self, one: tuple[int, ...], other: tuple[int, ...], halves: list[bool]) -> None:
        for index, half in enumerate(halves):
            self.adversary.confirm(index, one if half else other)

    @rule(index=whom, survivors=parties)
    def unmask(self, index: int, survivors: tuple[int, ...]) -> None:
        self.adversary.unmask(index, survivors)

    @rule()
    def everybody_unmasks_what_it_signed(self) -> None:
        for index in self.adversary.honest:
            state = self.adversary.state(index)
            if isinstance(state, Confirmed):
                self.adversary.unmask(index, state.survivors)

    @rule(index=whom, which=st.integers(0, 99), flip=st.none() | st.integers(0, 5000))
    def replay(self, index: int, which: int, flip: int | None) -> None:
        self.adversary.replay(index, which, flip)

    @invariant()
    def nothing_is_known_that_must_not_be(self) -> None:
        if hasattr(self, "adversary"):
            self.adversary.check()


QUIET: dict[str, Any] = {
    "deadline": None,
    "database": None,
    "suppress_health_check": list(HealthCheck),
    "print_blob": False,
}


def play(examples: int, *, shrink: bool = True) -> None:
    """A search for an attack that is there is always the same search, and is over when it is found."""
    how: dict[str, Any] = {} if shrink else {"phases": (Phase.generate,), "derandomize": True}
    run_state_machine_as_test(LyingCoordinator, settings=settings(max_examples=examples, stateful_step_count=20, **QUIET, **how))


def test_no_coordinator_learns_both_secrets_of_a_party_or_a_sum_over_too_few() -> None:
    play(100)


def no_check(*_: Any) -> None:
    """Instead of a rule."""


RULES: list[tuple[str, type, str, Callable[..., Any], str]] = [
    ("the quorum of CONFIRM", Confirmed, "_check_confirmations", no_check, "a sum over"),
    ("the corrupt in the quorum", Policy, "quorum", lambda _, n: n // 2 + 1, "a sum over"),
    ("the size of t", Policy, "check_parameters", no_check, "both secrets|a sum over"),
]


@pytest.mark.parametrize(("owner", "name", "instead", "found"), [case[1:] for case in RULES], ids=[case[0] for case in RULES])
def test_without_a_rule_the_same_machine_finds_the_attack(
    monkeypatch: pytest.MonkeyPatch, owner: type, name: str, instead: Callable[..., Any], found: str
) -> None:
    monkeypatch.setattr(owner, name, instead)
    with pytest.raises(AssertionError, match=found):
        play(2000, shrink=False)


# --- by hand -----------------------------------------------------------------------------------------------------------------------------


def split_survivors(adversary: Adversary) -> None:
    """Two of the four honest parties hear that a is out, two that b is: enough for the seeds of both, and c and d are left alone."""
    a, b, c, d = adversary.honest
    for told, gone in (((b, c), a), ((a, d), b)):
        for index in told:
            adversary.confirm(index, all_but(gone))
        for index in told:
            adversary.unmask(index, all_but(gone))


def test_two_survivor_sets_to_two_halves_give_nothing() -> None:
    adversary = trained()
    split_survivors(adversary)
    assert not any(adversary.rounds[1].released.values())
    adversary.check()


def test_two_survivor_sets_to_two_halves_give_a_sum_over_two_where_nobody_counts_signatures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Confirmed, "_check_confirmations", no_check)
    adversary = trained()
    split_survivors(adversary)
    found = adversary.smallest_sum()
    assert found == (1, adversary.honest[2:])
    assert len(found[1]) < HONEST_FLOOR
    assert adversary.both() == [], "2t > k + C holds that even without CONFIRM"


def own_u1_for_a_few(adversary: Adversary) -> tuple[int, ...]:
    """Nine parties, t = 5, a quorum of 6. Three of them get a U1 with nobody else in it, and the other five confirm that one of the three
    is alive and the two others are not. The U1 of the three has C + h_min members, so its size alone is no reason to refuse it.
    """
    adversary.everybody_prepares(1, t=5)
    few, others = adversary.honest[:3], adversary.honest[3:]
    small = tuple(sorted((*few, adversary.corrupt)))
    for index in few:
        adversary.train(index, small, content_of(1, 0))
    for index in others:
        adversary.train(index, all_but(n=9), content_of(1, 0))
    survivors = all_but(*few[1:], n=9)
    for index in others:
        adversary.confirm(index, survivors)
    for index in others:
        adversary.unmask(index, survivors)
    return few


def test_a_u1_of_their_own_for_a_few_is_refused() -> None:
    adversary = Adversary(9)
    few = own_u1_for_a_few(adversary)
    assert not set(few) & set(adversary.rounds[1].views)
    adversary.check()


def test_a_u1_of_their_own_for_a_few_gives_one_partys_update_where_nobody_counts_share_holders(monkeypatch: pytest.MonkeyPatch) -> None:
    """CONFIRM does not help: everybody who confirmed confirmed the same."""
    monkeypatch.setattr(Prepared, "_check_holders", no_check)
    adversary = Adversary(9)
    few = own_u1_for_a_few(adversary)
    assert adversary.smallest_sum() == (1, few[:1])
    assert adversary.both() == []


def test_one_survivor_set_gives_the_sum_it_is_for() -> None:
    """The knowledge of the model is real: with the truth told to everybody, the sum over the honest ones in U2 is known."""
    for gone in ((), (trained().honest[0],)):
        adversary = trained()
        survivors = all_but(*gone)
        for index in survivors:
            adversary.confirm(index, survivors)
        for index in survivors:
            adversary.unmask(index, survivors)
        assert adversary.smallest_sum() == (1, tuple(index for index in adversary.honest if index not in gone))
        adversary.check()
