"""The same round as one formula: who is told what, as unknowns, and z3 (de Moura and Bjørner, TACAS 2008) looks for a leak.

A party answers each step a bounded number of times, and what has been said never becomes unsaid, so a whole run is one choice of answers,
whatever their order: an unsatisfiable formula is a proof for this setting over all schedules, like the end of the search in `checker`,
for settings that are too large to visit. A solution is not trusted: `find` plays it in `model`, step by step, which has to accept every
step and to compute the leak by itself. (Where a party may PREPARE twice, the formula has everybody's first time before anybody's second:
enough to find the attack, and nothing is proven without that rule.)
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import z3  # type: ignore[import-untyped]

from tests.formal.checker import STEPS
from tests.formal.model import Action, Confirm, Leak, Model, Prepare, Release, State, Train, Unmask, View
from tests.formal.rules import NOTHING, Rule, Setting, Without

Bool = Any  # z3 has no types


@dataclass(frozen=True)
class Finding:
    """What the solver says: a trace with its leak, or neither, which is a proof for this setting."""

    setting: Setting
    seconds: float
    trace: tuple[Action, ...] = ()
    leak: Leak | None = None


@dataclass(frozen=True)
class _Set:
    """Honest members, one unknown each, and how many invented ones; the corrupt are in every set."""

    honest: list[Bool]
    invented: list[Bool]  # the first so many: unary

    def equals(self, other: _Set) -> Bool:
        return z3.And(*(a == b for a, b in zip([*self.honest, *self.invented], [*other.honest, *other.invented], strict=True)))

    def at_least(self, size: int, but: int | None = None, strangers: bool = True) -> Bool:
        """Whether it has so many members besides the corrupt ones, not counting one party."""
        chosen = [member for at, member in enumerate(self.honest) if at != but] + (self.invented if strangers else [])
        return _at_least(chosen, size)

    def within(self, other: _Set) -> Bool:
        return z3.And(*(z3.Implies(a, b) for a, b in zip([*self.honest, *self.invented], [*other.honest, *other.invented], strict=True)))


@dataclass(frozen=True)
class _View:
    taken: Bool
    alive: _Set
    content: Any
    masked: list[Bool]
    second: list[Bool]


@dataclass(frozen=True)
class _Word:
    """A CONFIRM or an UNMASK."""

    given: Bool
    survivors: _Set
    both: Bool


@dataclass(frozen=True)
class _Life:
    cohort: list[Bool]
    views: list[_View]
    signed: list[_Word]
    released: list[_Word]


class Symbolic:
    """The formula."""

    def __init__(self, setting: Setting, without: Without = NOTHING) -> None:
        self.setting, self.without, self.model = setting, without, Model(setting, without)
        self.h, self.c = setting.honest, setting.corrupt
        self.solver = z3.SolverFor("QF_FD")
        self._count = 0
        strangers = without & {Rule.U1_IN_COHORT, Rule.U2_IN_U1}
        self._invented = self.model.floor if strangers else 0
        self.lives = [[self._life(party) for _ in range(1 + (Rule.ONCE_PREPARE in without))] for party in range(self.h)]
        self.all = [(party, which, life) for party, lives in enumerate(self.lives) for which, life in enumerate(lives)]
        for party, which, life in self.all:
            self._checks(party, which, life)
        self._knowledge()
        self.solver.add(z3.Or(*self._both(), self._sum()))

    def _bool(self) -> Bool:
        self._count += 1
        return z3.Bool(f"v{self._count}")

    def _set(self) -> _Set:
        invented = [self._bool() for _ in range(self._invented)]
        self.solver.add(*(z3.Implies(after, before) for before, after in itertools.pairwise(invented)))
        return _Set([self._bool() for _ in range(self.h)], invented)

    def _life(self, party: int) -> _Life:
        def several(rule: Rule) -> range:
            return range(1 + (rule in self.without))

        bits = self.h.bit_length()
        cohort = [z3.BoolVal(True)] * self.h
        if self.setting.roster:
            cohort = [self._bool() for _ in range(self.h)]
            self.solver.add(cohort[party], _exactly(cohort, self.setting.n - self.c))
        views = []
        for at in several(Rule.ONCE_TRAIN):
            masked, second = [self._bool() for _ in range(self.h)], [self._bool() for _ in range(self.h)]
            self._count += 1
            views.append(_View(self._bool(), self._set(), z3.BitVec(f"content{self._count}", bits), masked, second))
            self.solver.add(*(z3.Implies(views[at].taken, views[at - 1].taken) for _ in range(at)))
        no = z3.BoolVal(False)
        signed = [_Word(self._bool(), self._set(), no) for _ in several(Rule.ONCE_CONFIRM)]
        both = Rule.EITHER_OR in self.without
        released = [_Word(self._bool(), self._set(), self._bool() if both else no) for _ in several(Rule.ONCE_UNMASK)]
        for words in (signed, released):
            self.solver.add(*(z3.Implies(after.given, before.given) for before, after in itertools.pairwise(words)))
        self.solver.add(z3.Implies(signed[0].given, views[0].taken), z3.Implies(released[0].given, signed[0].given))
        return _Life(cohort, views, signed, released)

    # --- what an honest party checks, as in Model._checks --------------------------------------------------------------------------------

    def _require(self, rule: Rule, given: Bool, holds: Bool) -> None:
        if rule not in self.without:
            self.solver.add(z3.Implies(given, holds))

    def _checks(self, party: int, which: int, life: _Life) -> None:
        floor = self.model.floor - self.c
        self.solver.add(z3.BoolVal(self.setting.acceptable(self.without)))
        for view in life.views:
            in_cohort = _Set([z3.And(a, b) for a, b in zip(view.alive.honest, life.cohort, strict=True)], [])
            self._require(Rule.SELF_IN_U1, view.taken, view.alive.honest[party])
            self._require(Rule.U1_IN_COHORT, view.taken, view.alive.within(_Set(life.cohort, [z3.BoolVal(False)] * self._invented)))
            self._require(Rule.MIN_U1, view.taken, view.alive.at_least(floor))
            self._require(Rule.HOLDERS, view.taken, in_cohort.at_least(self.setting.t - self.c, but=party))
            for other in range(self.h):
                masked = view.masked[other]
                if other == party:
                    self.solver.add(z3.Not(masked), z3.Not(view.second[other]))
                    continue
                self._require(Rule.OPENS, view.taken, masked == in_cohort.honest[other])
                opens = [self._opens(party, life, other, dealt) for dealt in self.lives[other]]
                self.solver.add(z3.Implies(masked, z3.And(in_cohort.honest[other], z3.If(view.second[other], opens[-1], opens[0]))))
                if len(opens) == 1 or not which:
                    self.solver.add(z3.Not(view.second[other]))
        for word in (*life.signed, *life.released):
            last = life.views[-1]
            alive = last.alive if len(life.views) == 1 else self._last_alive(life)
            if Rule.STORED_U1 in self.without:
                alive = _Set([z3.Or(a, b) for a, b in zip(alive.honest, life.cohort, strict=True)], alive.invented)
            self._require(Rule.SELF_IN_U2, word.given, word.survivors.honest[party])
            self._require(Rule.U2_IN_U1, word.given, word.survivors.within(alive))
            self._require(Rule.MIN_U2, word.given, word.survivors.at_least(floor))
        for word in life.released:
            for at, signed in enumerate(life.signed):
                last = z3.And(word.given, signed.given, *(z3.Not(later.given) for later in life.signed[at + 1 :]))
                self._require(Rule.SIGNED_U2, last, word.survivors.equals(signed.survivors))
            self.solver.add(z3.Implies(word.given, _at_least(self._signers(which, life, word.survivors), self.model.quorum - self.c)))

    def _last_alive(self, life: _Life) -> _Set:
        first, last = life.views
        pick = [z3.If(last.taken, b, a) for a, b in zip(first.alive.honest, last.alive.honest, strict=True)]
        invented = [z3.If(last.taken, b, a) for a, b in zip(first.alive.invented, last.alive.invented, strict=True)]
        return _Set(pick, invented)

    def _last_content(self, life: _Life) -> Any:
        return life.views[0].content if len(life.views) == 1 else z3.If(life.views[1].taken, life.views[1].content, life.views[0].content)

    def _same_cohort(self, one: _Life, other: _Life) -> Bool:
        return z3.And(*(a == b for a, b in zip(one.cohort, other.cohort, strict=True)))

    def _signers(self, which: int, life: _Life, survivors: _Set) -> list[Bool]:
        signers = []
        for party, lives in enumerate(self.lives):
            ways = []
            for other in lives[: which + 1]:
                same: Bool = True
                if Rule.T_SIGNED not in self.without:
                    same = z3.And(
                        self._same_cohort(life, other),
                        self._last_alive_of(life).equals(self._last_alive_of(other)),
                        self._last_content(life) == self._last_content(other),
                    )
                ways += [z3.And(word.given, word.survivors.equals(survivors), same) for word in other.signed]
            counted = True if Rule.SIGNERS_IN_U2 in self.without else survivors.honest[party]
            signers.append(z3.And(z3.Or(*ways), counted))
        return signers

    def _last_alive_of(self, life: _Life) -> _Set:
        return life.views[0].alive if len(life.views) == 1 else self._last_alive(life)

    def _opens(self, holder: int, told: _Life, dealer: int, dealt: _Life) -> Bool:
        if not self.setting.roster:
            return z3.BoolVal(True)
        below = [at for at in range(holder) if at != dealer]
        a, b = [told.cohort[at] for at in below], [dealt.cohort[at] for at in below]
        same = z3.Or(*(z3.And(_exactly(a, size), _exactly(b, size)) for size in range(len(below) + 1)))
        return z3.And(told.cohort[dealer], dealt.cohort[holder], same)

    # --- what the coordinator knows, as in Model.known and Model.smallest_sum ------------------------------------------------------------

    def _knowledge(self) -> None:
        needed = self.setting.t - self.c
        self.b: dict[tuple[int, int], Bool] = {}
        self.z: dict[tuple[int, int], Bool] = {}
        for dealer, which, dealt in self.all:
            for inside, table in ((True, self.b), (False, self.z)):
                holders = []
                for holder in range(self.h):
                    ways = []
                    for life in self.lives[holder] if holder != dealer else []:
                        held = self._held(holder, life, dealer, which, dealt)
                        for word in life.released:
                            kind = word.survivors.honest[dealer] if inside else z3.Not(word.survivors.honest[dealer])
                            ways.append(z3.And(word.given, held, z3.Or(kind, word.both)))
                    holders.append(z3.Or(*ways))
                table[dealer, which] = self._bool()
                self.solver.add(table[dealer, which] == (_at_least(holders, needed) if needed > 0 else z3.BoolVal(True)))

    def _held(self, holder: int, life: _Life, dealer: int, which: int, dealt: _Life) -> Bool:
        if Rule.STORED_U1 in self.without:
            return self._opens(holder, life, dealer, dealt) if not which else z3.BoolVal(False)
        ways = []
        for at, view in enumerate(life.views):
            later = [other.taken for other in life.views[at + 1 :]]
            ways.append(z3.And(view.taken, *(z3.Not(taken) for taken in later), view.masked[dealer], view.second[dealer] == bool(which)))
        return z3.Or(*ways)

    def _both(self) -> list[Bool]:
        return [z3.And(self.b[secret], self.z[secret]) for secret in self.b]

    def _sum(self) -> Bool:
        """A combination with coefficients in {-1, 0, 1}: enough, since the matrix of masks is totally unimodular."""
        vectors = [(party, which, life, view) for party, which, life in self.all for view in life.views]
        single = len(vectors) == self.h
        plus, minus = [self._bool() for _ in vectors], [z3.BoolVal(False) if single else self._bool() for _ in vectors]
        demands: list[Bool] = [z3.Or(*plus)]
        for at, (party, which, life, view) in enumerate(vectors):
            used = z3.Or(plus[at], minus[at])
            demands.append(z3.Implies(used, view.taken))
            twice = []  # b is one term in all vectors of one PREPARE under one transcript
            for beside, (end, its_which, _, its_view) in enumerate(vectors):
                if (end, its_which) == (party, which):
                    same = z3.And(view.alive.equals(its_view.alive), view.content == its_view.content)
                    twice += [(z3.And(plus[beside], same), 1), (z3.And(minus[beside], same), -1)]
            demands.append(z3.Implies(z3.And(used, z3.Not(self.b[party, which])), z3.PbEq(twice, 0)))
            demands.append(z3.Not(z3.And(plus[at], minus[at])))
            for other in range(self.h):
                if other == party:
                    continue
                terms: list[tuple[Bool, int]] = []
                for beside, (end, _, its_life, its_view) in enumerate(vectors):
                    if end in (party, other):
                        same = z3.And(
                            self._same_cohort(life, its_life),
                            view.alive.equals(its_view.alive),
                            view.content == its_view.content,
                            its_view.masked[other if end == party else party],
                        )
                        sign = 1 if end == party else -1
                        terms += [(z3.And(plus[beside], same), sign), (z3.And(minus[beside], same), -sign)]
                demands.append(z3.Implies(z3.And(used, view.masked[other], z3.Not(self._seed(life, party, other))), z3.PbEq(terms, 0)))
        used_by: list[list[Bool]] = [[] for _ in range(self.h)]
        for at, (party, *_) in enumerate(vectors):
            used_by[party] += [plus[at], minus[at]]
        parties = [z3.Or(*used) for used in used_by]
        demands.append(z3.Not(_at_least(parties, self.setting.honest_minimum)))
        return z3.And(*demands)

    def _seed(self, life: _Life, party: int, other: int) -> Bool:
        ends = [(end, which, its) for end, which, its in self.all if end in (party, other)]
        return z3.Or(*(z3.And(self.z[end, which], self._same_cohort(life, its)) for end, which, its in ends))

    # --- a solution as a trace -----------------------------------------------------------------------------------------------------------

    def words(self) -> list[Bool]:
        """Every answer there may be."""
        taken = [view.taken for _, _, life in self.all for view in life.views]
        return taken + [word.given for _, _, life in self.all for word in (*life.signed, *life.released)]

    def actions(self, solution: Any) -> list[list[Action]]:
        """Each party's answers, in its order."""

        def true(unknown: Bool) -> bool:
            return bool(z3.is_true(solution.eval(unknown, model_completion=True)))

        def mask(members: Iterable[Bool]) -> int:
            return sum(1 << at for at, member in enumerate(members) if true(member))

        def whole(chosen: _Set) -> int:
            return mask(chosen.honest) | self.model.corrupt | mask(chosen.invented) << self.setting.parties

        told: list[list[Action]] = [[] for _ in range(self.h)]
        for party, _, life in self.all:
            told[party].append(Prepare(party, mask(life.cohort) | self.model.corrupt))
            for view in life.views:
                if true(view.taken):
                    content = solution.eval(view.content, model_completion=True).as_long()
                    masked = mask(view.masked) | self.model.corrupt
                    told[party].append(Train(party, View(whole(view.alive), content, masked, mask(view.second) & masked)))
            told[party] += [Confirm(party, whole(word.survivors)) for word in life.signed if true(word.given)]
            told[party] += [Unmask(party, Release(whole(word.survivors), true(word.both))) for word in life.released if true(word.given)]
        return told


def find(setting: Setting, without: Without = NOTHING, *, shortest: bool = True) -> Finding:
    """A trace that leaks, as short as it gets; or the proof that there is none."""
    began = time.perf_counter()
    formula = Symbolic(setting, without)
    best: tuple[tuple[Action, ...], Leak] | None = None
    while formula.solver.check() == z3.sat:
        solution = formula.solver.model()
        played = _play(formula, formula.actions(solution))
        assert played is not None, f"the model does not answer what the formula says for {setting}"
        best = played
        if not shortest:
            break
        said = sum(z3.is_true(solution.eval(word, model_completion=True)) for word in formula.words())
        formula.solver.add(z3.Not(_at_least(formula.words(), said)))
    return Finding(setting, time.perf_counter() - began, *(best or ()))


def _play(formula: Symbolic, told: list[list[Action]]) -> tuple[tuple[Action, ...], Leak] | None:
    """The answers in an order in which the explicit model gives them, and the leak that it finds; None if there is no such order.

    Answers that the leak does not need are left out.
    """
    model = formula.model
    state: State = model.start()
    trace: list[Action] = []
    waiting = [list(actions) for actions in told]
    second = {id(action) for actions in told for at, action in enumerate(actions) if Prepare in map(type, actions[1 : at + 1])}

    def rounds(action: Action) -> int:
        return id(action) in second

    while any(waiting):
        ready = [actions for actions in waiting if actions and model.refusal(state, actions[0]) is None]
        if not ready:
            return None
        actions = min(ready, key=lambda queue: (rounds(queue[0]), STEPS[type(queue[0])], queue[0].party))
        state = model.apply(state, actions[0])
        trace.append(actions.pop(0))
        if model.leak(state):
            return shortened(model, trace)
    raise AssertionError(f"the formula has a leak for {formula.setting} that the model does not have")


def shortened(model: Model, trace: list[Action]) -> tuple[tuple[Action, ...], Leak]:
    """The trace without what it does not need, and with the models numbered from 0."""
    for action in reversed(trace):
        fewer = [other for other in trace if other is not action]
        if answered(model, fewer) is not None:
            trace = fewer
    shown = [action.view.content for action in trace if isinstance(action, Train)]
    number = {content: at for at, content in enumerate(dict.fromkeys(shown))}
    renamed = [Train(a.party, a.view._replace(content=number[a.view.content])) if isinstance(a, Train) else a for a in trace]
    leak = answered(model, renamed)
    assert leak is not None
    return tuple(renamed), leak


def answered(model: Model, trace: list[Action]) -> Leak | None:
    """What leaks if every step is answered."""
    state = model.start()
    for action in trace:
        if model.refusal(state, action) is not None:
            return None
        state = model.apply(state, action)
    return model.leak(state)


def _at_least(terms: list[Bool], least: int) -> Bool:
    if least <= 0:
        return z3.BoolVal(True)
    return z3.AtLeast(*terms, least) if least <= len(terms) else z3.BoolVal(False)


def _exactly(terms: list[Bool], size: int) -> Bool:
    return z3.PbEq([(term, 1) for term in terms], size) if terms else z3.BoolVal(size == 0)
