"""Breadth-first search over every reachable state of the model: a proof for these numbers, or a shortest attack.

Three things make it smaller, and none leaves anything out:

- A state is what the parties have said, not in which order.
- Honest parties are interchangeable while there is one cohort. Of all states that differ by who is who, one is visited.
- All PREPAREs before all TRAINs before all CONFIRMs before all UNMASKs. Whether a party answers depends on its own earlier answers and on
  what others said in earlier steps, so every schedule can be sorted by steps and reaches the same state. (With a once-only rule taken out
  a party may go back, and every interleaving is tried. `ordered=False` tries them always; a test finds the same states.)

The corrupt parties are in every cohort, U1 and U2: every rule is easier to meet with them, and their masks and shares are known anyway. A
test compares this with every choice of corrupt parties.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import permutations

from tests.formal.model import Action, Confirm, History, Leak, Life, Model, Prepare, Release, State, Train, Unmask, View
from tests.formal.rules import NOTHING, Rule, Setting, Without

STEPS: dict[type, int] = {Prepare: 0, Train: 1, Confirm: 2, Unmask: 3}
_BACK = {Rule.ONCE_PREPARE, Rule.ONCE_TRAIN, Rule.ONCE_CONFIRM}
_MODELS = 2


@dataclass(frozen=True)
class Verdict:
    """What a search found.

    Attributes:
        states: how many were visited, up to symmetry.
        complete: whether the search ended by itself; without a leak that is a proof for this setting.
        trace: a shortest way to the leak.
    """

    setting: Setting
    states: int
    seconds: float
    complete: bool
    trace: tuple[Action, ...] = ()
    leak: Leak | None = None


def search(
    setting: Setting, without: Without = NOTHING, *, ordered: bool = True, corrupt_anywhere: bool = False, limit: int = 10**7
) -> Verdict:
    """Visits every reachable state, or finds a shortest attack. The coordinator has two models to show.

    Args:
        setting: one cohort, so n is the roster.
        without: rules that are taken out.
        ordered: one order of steps instead of every interleaving.
        corrupt_anywhere: every choice of the corrupt parties in U1 and U2, not only all of them.
        limit: states after which the search gives up.
    """
    began = time.perf_counter()
    model = Model(setting, without)
    moves, names = Moves(model, ordered and not without & _BACK, corrupt_anywhere), _Names(model.h)
    came: dict[State, tuple[State, Action] | None] = {model.start(): None}
    level = [model.start()]
    while level and len(came) < limit:
        following: list[State] = []
        for state in level:
            for action in moves(state):
                reached = names.least(model.apply(state, action))
                if reached in came:
                    continue
                came[reached] = state, action
                following.append(reached)
                if model.leak(reached):
                    trace = _trace(model, names, came, reached)
                    return Verdict(setting, len(came), time.perf_counter() - began, True, trace, model.leak(run(model, trace)))
        level = following
    return Verdict(setting, len(came), time.perf_counter() - began, not level)


def run(model: Model, trace: tuple[Action, ...]) -> State:
    """The state that a trace leads to; every step has to be answered."""
    state = model.start()
    for action in trace:
        refused = model.refusal(state, action)
        assert refused is None, f"{model.describe(action)}: refused, {refused}"
        state = model.apply(state, action)
    return state


class Moves:
    """Whatever some honest party would answer."""

    def __init__(self, model: Model, ordered: bool = True, corrupt_anywhere: bool = False) -> None:
        self._model, self._ordered, self._anywhere = model, ordered, corrupt_anywhere
        self._alone = cache(self._answered_alone)

    def __call__(self, state: State) -> Iterator[Action]:
        step = max(map(_step, state)) if self._ordered else 0
        for party, history in enumerate(state):
            for action in self._alone(party, history):
                if STEPS[type(action)] >= step and self._model.refusal(state, action) is None:
                    yield action

    def _answered_alone(self, party: int, history: History) -> list[Action]:
        return [action for action in self._candidates(party, history) if self._model.refusal_alone(history, action) is None]

    def _candidates(self, party: int, history: History) -> Iterator[Action]:
        model, without = self._model, self._model.without
        yield Prepare(party, model.everybody)
        for alive in self._sets(Rule.U1_IN_COHORT in without):
            others = alive & model.everybody & ~(1 << party)
            for masked in _subsets(others) if Rule.OPENS in without else (others,):
                for second in _subsets(masked & ~model.corrupt) if Rule.ONCE_PREPARE in without else (0,):
                    for content in range(_MODELS):
                        yield Train(party, View(alive, content, masked, second))
        named = list(self._sets(Rule.U2_IN_U1 in without or Rule.U1_IN_COHORT in without))
        yield from (Confirm(party, survivors) for survivors in named)
        signed = history[-1].signed[-1:] if history else ()
        for survivors in named if Rule.SIGNED_U2 in without else signed:
            yield from (Unmask(party, Release(survivors, both)) for both in (False, True))

    def _sets(self, strangers: bool) -> Iterator[int]:
        """Sets of parties, with all the corrupt ones; with up to two strangers."""
        for chosen in _subsets(self._model.everybody):
            if self._anywhere or chosen & self._model.corrupt == self._model.corrupt:
                for invented in (0, 1, 3) if strangers else (0,):
                    yield chosen | invented << self._model.setting.parties


def _step(history: History) -> int:
    return max((3 if life.released else 2 if life.signed else 1 if life.views else 0 for life in history), default=0)


def _subsets(mask: int) -> Iterator[int]:
    subset = mask
    while subset:
        yield subset
        subset = (subset - 1) & mask
    yield 0


class _Names:
    """Who is called what: of all states that differ by that, the least."""

    def __init__(self, honest: int) -> None:
        self._orders = list(permutations(range(honest)))
        self._renamed: dict[tuple[int, ...], dict[History, History]] = {order: {} for order in self._orders}
        self._rank = cache(_without_names)

    def least(self, state: State) -> State:
        return self._least(state)[0]

    def order(self, state: State) -> tuple[int, ...]:
        """The party of `state` at each place of the least one."""
        return self._least(state)[1]

    def _least(self, state: State) -> tuple[State, tuple[int, ...]]:
        ranks = [self._rank(history) for history in state]
        wanted = sorted(ranks)
        # Only orders that are sorted by what does not depend on names come into question.
        return min(
            (tuple(self._rename(order, state[party]) for party in order), order)
            for order in self._orders
            if all(ranks[party] == rank for party, rank in zip(order, wanted, strict=True))
        )

    def _rename(self, order: tuple[int, ...], history: History) -> History:
        renamed = self._renamed[order]
        if (known := renamed.get(history)) is None:
            known = renamed[history] = tuple(_rename(life, order) for life in history)
        return known


def _rename(life: Life, order: tuple[int, ...]) -> Life:
    """A party's answers where party order[i] is called i."""

    def mask(old: int) -> int:
        return old >> len(order) << len(order) | sum(1 << new for new, party in enumerate(order) if old >> party & 1)

    return Life(
        mask(life.cohort),
        tuple(View(mask(view.alive), view.content, mask(view.masked), mask(view.second)) for view in life.views),
        tuple(mask(survivors) for survivors in life.signed),
        tuple(Release(mask(release.survivors), release.both) for release in life.released),
    )


def _without_names(history: History) -> tuple[tuple[int, ...], ...]:
    """What of a history does not depend on who is who."""
    return tuple(
        (
            *(number for view in life.views for number in (view.alive.bit_count(), view.content, view.masked.bit_count())),
            -1,
            *(survivors.bit_count() for survivors in life.signed),
            -1,
            *(release.survivors.bit_count() for release in life.released),
        )
        for life in history
    )


def _trace(model: Model, names: _Names, came: dict[State, tuple[State, Action] | None], last: State) -> tuple[Action, ...]:
    """The actions from the start, with everybody called the same throughout."""
    steps: list[tuple[State, Action]] = []
    while (back := came[last]) is not None:
        steps.append(back)
        last = back[0]
    called = tuple(range(model.h))  # of each place in the state, the name in the trace
    trace: list[Action] = []
    for state, action in reversed(steps):
        places = tuple(sorted(range(model.h), key=called.__getitem__))
        trace.append(_renamed_action(action, called, places))
        called = tuple(called[place] for place in names.order(model.apply(state, action)))
    return tuple(trace)


def _renamed_action(action: Action, called: tuple[int, ...], places: tuple[int, ...]) -> Action:
    party = called[action.party]
    match action:
        case Prepare(_, cohort):
            return Prepare(party, _rename(Life(cohort), places).cohort)
        case Train(_, view):
            return Train(party, _rename(Life(0, (view,)), places).views[0])
        case Confirm(_, survivors):
            return Confirm(party, _rename(Life(survivors), places).cohort)
        case Unmask(_, release):
            return Unmask(party, _rename(Life(0, (), (), (release,)), places).released[0])
