"""One round, PREPARE to UNMASK, as terms: honest parties that check `Rule`s, and a coordinator that says anything to anybody in any order.

What an honest party has answered is all there is to a state: a `History` each. The coordinator and its C corrupt parties know every answer,
every share dealt to a corrupt party and every seed with a corrupt end; they sign whatever is useful. Cryptography is perfect:

- b_j, z_j: known with t shares, of different holders. A share opens at its holder if dealer and holder were told the same t and k and the
  same point x; a holder's one view says which U1 it holds shares of.
- s_ij, as i derives it: known with z_i, or with z_j if j was told the same cohort. A second PREPARE of a round has fresh b and z, but the
  same s_ij.
- y_i = x_i + PRG(b_i, T) + the masks PRG(s_ij, T). A linear combination of vectors is revealed if every unknown term cancels:
  `smallest_sum` looks for a kernel vector of the matrix of unknown terms, so what is revealed is computed, not assumed. (It is the
  incidence matrix of a directed graph with rows repeated, hence totally unimodular: its kernel is the same in the ring as over Q.)

Sets of parties are bit masks: honest parties first, then the corrupt ones, then strangers that exist as names only.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import combinations
from typing import NamedTuple

from tests.formal.rules import NOTHING, Rule, Setting, Without


class View(NamedTuple):
    """What TRAIN told a party.

    Attributes:
        alive: U1.
        content: the model, as a number.
        masked: whom it masks against and holds shares of: all of U1 but itself, by the rules.
        second: those of whom it holds the shares of their second PREPARE.
    """

    alive: int
    content: int
    masked: int
    second: int = 0


class Release(NamedTuple):
    """What UNMASK told a party."""

    survivors: int
    both: bool = False


class Life(NamedTuple):
    """What a party answered after one PREPARE."""

    cohort: int
    views: tuple[View, ...] = ()
    signed: tuple[int, ...] = ()
    released: tuple[Release, ...] = ()


History = tuple[Life, ...]
State = tuple[History, ...]


class Prepare(NamedTuple):
    party: int
    cohort: int


class Train(NamedTuple):
    party: int
    view: View


class Confirm(NamedTuple):
    party: int
    survivors: int


class Unmask(NamedTuple):
    party: int
    release: Release


Action = Prepare | Train | Confirm | Unmask
Vector = tuple[int, int, int]
"""Party, which of its PREPAREs, which of its TRAINs after that."""


class Leak(NamedTuple):
    """What the coordinator must not know: both secrets of a party, or a sum over few, as coefficients of vectors."""

    both: int = -1
    combination: tuple[tuple[Vector, int], ...] = ()

    @property
    def parties(self) -> tuple[int, ...]:
        """Whose secrets, or whose inputs."""
        return tuple(sorted({vector[0] for vector, _ in self.combination})) or (self.both,)


def members(mask: int) -> Iterator[int]:
    """The parties in a set, ascending."""
    at = 0
    while mask:
        if mask & 1:
            yield at
        mask, at = mask >> 1, at + 1


class Model:
    """The transition system for these numbers, without some of the rules."""

    def __init__(self, setting: Setting, without: Without = NOTHING) -> None:
        self.setting, self.without = setting, without
        self.h, self.everybody = setting.honest, (1 << setting.parties) - 1
        self.corrupt = self.everybody & -(1 << self.h)
        self.floor, self.quorum = setting.floor(without), setting.quorum(without)

    def start(self) -> State:
        """Nobody has said anything."""
        return ((),) * self.h

    # --- what an honest party does -------------------------------------------------------------------------------------------------------

    def refusal(self, state: State, action: Action) -> Rule | None:
        """The first rule that the party refuses by; None if it answers."""
        return self.refusal_alone(state[action.party], action) or self._refusal_among_others(state, action)

    def broken(self, state: State, action: Action) -> set[Rule]:
        """Every rule that stands against an answer, also those that are taken out."""
        found = set()
        for rule, holds in self._checks(state[action.party], action):
            if not holds:
                found.add(rule)
                if rule is Rule.ORDER:  # the rest looks at what is not there yet
                    return found
        among = self._refusal_among_others(state, action)
        return found | {among} if among else found

    def refusal_alone(self, history: History, action: Action) -> Rule | None:
        """The same, as far as the party's own history decides it."""
        return next((rule for rule, holds in self._checks(history, action) if not holds and rule not in self.without), None)

    def _refusal_among_others(self, state: State, action: Action) -> Rule | None:
        """What depends on what others have said: shares must exist and open, confirmations must exist."""
        match action:
            case Train(party, view):
                if not all(self.opens(state, party, dealer, view.second >> dealer & 1) for dealer in members(view.masked)):
                    return Rule.OPENS
            case Unmask(party, (survivors, _)):
                if self.confirmations(state, state[party][-1], survivors) < self.quorum:
                    return Rule.QUORUM
        return None

    def apply(self, state: State, action: Action) -> State:
        """The state after an answer."""
        history = state[action.party]
        if isinstance(action, Prepare):
            history = (*history, Life(action.cohort))
        else:
            *before, life = history
            match action:
                case Train(_, view):
                    life = life._replace(views=(*life.views, view))
                case Confirm(_, survivors):
                    life = life._replace(signed=(*life.signed, survivors))
                case Unmask(_, release):
                    life = life._replace(released=(*life.released, release))
            history = (*before, life)
        return (*state[: action.party], history, *state[action.party + 1 :])

    def _checks(self, history: History, action: Action) -> Iterator[tuple[Rule, bool]]:
        own = 1 << action.party
        if isinstance(action, Prepare):
            yield Rule.ONCE_PREPARE, not history
            yield Rule.ORDER, len(history) < 2 and bool(action.cohort & own)
            yield Rule.SECRECY, self.setting.acceptable(self.without | {Rule.T_MINIMUM})
            yield Rule.T_MINIMUM, self.setting.acceptable(self.without)
            return
        life = history[-1] if history else Life(0)
        match action:
            case Train(_, view):
                yield Rule.ONCE_TRAIN, not life.views
                yield Rule.ORDER, bool(history) and len(life.views) < 2 and not life.signed
                yield Rule.SELF_IN_U1, bool(view.alive & own)
                yield Rule.U1_IN_COHORT, not view.alive & ~life.cohort
                yield Rule.MIN_U1, view.alive.bit_count() >= self.floor
                yield Rule.HOLDERS, (view.alive & life.cohort & ~own).bit_count() >= self.setting.t
                yield Rule.OPENS, view.masked == view.alive & life.cohort & ~own
            case Confirm(party, survivors):
                yield Rule.ONCE_CONFIRM, not life.signed
                yield Rule.ORDER, bool(life.views) and len(life.signed) < 2 and not life.released
                yield from self._survivor_checks(party, life, survivors)
            case Unmask(party, (survivors, both)):
                yield Rule.ONCE_UNMASK, not life.released
                yield Rule.ORDER, bool(life.signed) and len(life.released) < 2
                yield from self._survivor_checks(party, life, survivors)
                yield Rule.EITHER_OR, not both
                yield Rule.SIGNED_U2, survivors == life.signed[-1]

    def _survivor_checks(self, party: int, life: Life, survivors: int) -> Iterator[tuple[Rule, bool]]:
        yield Rule.SELF_IN_U2, bool(survivors >> party & 1)
        strangers = survivors & ~life.views[-1].alive
        if Rule.STORED_U1 in self.without:  # the coordinator names U1 once more, and anything in the cohort will do
            strangers &= ~life.cohort
        yield Rule.U2_IN_U1, not strangers
        yield Rule.MIN_U2, survivors.bit_count() >= self.floor

    def confirmations(self, state: State, life: Life, survivors: int) -> int:
        """How many signatures under this U2 a party would count, if it is shown all there are."""
        signers = 0
        for party, history in enumerate(state):
            for other in history:
                if survivors in other.signed and (Rule.T_SIGNED in self.without or transcript(other) == transcript(life)):
                    signers |= 1 << party
        if Rule.SIGNERS_IN_U2 in self.without:
            return (signers | self.corrupt).bit_count()
        return ((signers | self.corrupt) & survivors).bit_count()

    def opens(self, state: State, holder: int, dealer: int, which: int = 0) -> bool:
        """Whether the shares that the dealer dealt to this holder open there. Those of the coordinator's own always do."""
        if dealer >= self.h:
            return not which
        if len(state[dealer]) <= which:
            return False
        told, dealt = state[holder][-1].cohort, state[dealer][which].cohort
        both, below = 1 << holder | 1 << dealer, (1 << holder) - 1 & ~(1 << dealer)
        return both & told == both & dealt == both and (told & below).bit_count() == (dealt & below).bit_count()

    # --- what the coordinator knows ------------------------------------------------------------------------------------------------------

    def known(self, state: State) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
        """The b and the z that can be reconstructed: (party, which PREPARE)."""
        holders: tuple[dict[tuple[int, int], int], dict[tuple[int, int], int]] = ({}, {})
        for party, history in enumerate(state):
            for life in history:
                for release in life.released:
                    for dealer in members(self._dealers(state, party, life) & (1 << self.h) - 1):
                        secret = dealer, life.views[-1].second >> dealer & 1
                        for kind in (0, 1):
                            if release.both or kind == (0 if release.survivors >> dealer & 1 else 1):
                                holders[kind][secret] = holders[kind].get(secret, 0) | 1 << party
        needed = self.setting.t - self.setting.corrupt
        if needed <= 0:
            dealt = {(party, which) for party, history in enumerate(state) for which in range(len(history))}
            return dealt, dealt
        b, z = ({secret for secret, by in kind.items() if by.bit_count() >= needed} for kind in holders)
        return b, z

    def _dealers(self, state: State, party: int, life: Life) -> int:
        """Of whom UNMASK releases shares."""
        if Rule.STORED_U1 not in self.without:
            return life.views[-1].masked
        others = life.cohort & ~(1 << party)
        return sum(1 << dealer for dealer in members(others) if self.opens(state, party, dealer))

    def leak(self, state: State) -> Leak | None:
        """What must not be known, if anything."""
        b, z = self.known(state)
        if both := b & z:
            return Leak(both=min(both)[0])
        combination = self.smallest_sum(state, b, z)
        return Leak(combination=combination) if combination else None

    def smallest_sum(self, state: State, b: set[tuple[int, int]], z: set[tuple[int, int]]) -> tuple[tuple[Vector, int], ...]:
        """A combination of the inputs of fewer than h_min honest parties that is revealed; the one over fewest; empty if there is none."""
        rows: dict[int, list[tuple[Vector, dict[object, int]]]] = {}
        for party, history in enumerate(state):
            for which, life in enumerate(history):
                if (party, which) in b or len(life.views) > 1:
                    for at, view in enumerate(life.views):
                        row = self._unknown_masks(state, party, life, view, z)
                        if (party, which) not in b:
                            row[party, which, view.alive, view.content] = 1
                        rows.setdefault(party, []).append(((party, which, at), row))
        for size in range(1, self.setting.honest_minimum):
            for chosen in combinations(sorted(rows), size):
                few = [row for party in chosen for row in rows[party]]
                coefficients = kernel([masks for _, masks in few])
                if coefficients:
                    return tuple((vector, factor) for (vector, _), factor in zip(few, coefficients, strict=True) if factor)
        return ()

    def _unknown_masks(self, state: State, party: int, life: Life, view: View, z: set[tuple[int, int]]) -> dict[object, int]:
        masks: dict[object, int] = {}
        for other in members(view.masked & (1 << self.h) - 1):
            lives = [(end, which) for end in (party, other) for which, told in enumerate(state[end]) if told.cohort == life.cohort]
            if not z.intersection(lives):
                masks[frozenset((party, other)), life.cohort, view.alive, view.content] = 1 if party < other else -1
        return masks

    # --- in words ------------------------------------------------------------------------------------------------------------------------

    def name(self, party: int) -> str:
        """A, B, ... are honest, X, Y, ... corrupt, ?1, ?2, ... do not exist."""
        if party >= self.setting.parties:
            return f"?{party - self.setting.parties + 1}"
        return "ABCDEFGHIJKL"[party] if party < self.h else "XYZ"[party - self.h]

    def names(self, mask: int) -> str:
        return "{" + " ".join(self.name(party) for party in members(mask)) + "}"

    def describe(self, action: Action) -> str:
        """One line of a trace."""
        name = self.name(action.party)
        match action:
            case Prepare(_, cohort):
                return f"PREPARE  {name}: the cohort is {self.names(cohort)}"
            case Train(party, view):
                left_out = view.alive & self.everybody & ~view.masked & ~(1 << party)
                more = f", no shares of {self.names(left_out)} come with it" if left_out else ""
                more += f", with second shares of {self.names(view.second)}" if view.second else ""
                return f"TRAIN    {name}: U1 is {self.names(view.alive)}, model {view.content}{more}"
            case Confirm(_, survivors):
                return f"CONFIRM  {name}: U2 is {self.names(survivors)}"
            case Unmask(_, release):
                return f"UNMASK   {name}: U2 is {self.names(release.survivors)}{', shares of both' if release.both else ''}"

    def describe_leak(self, leak: Leak) -> str:
        """The last line of a trace."""
        if leak.both >= 0:
            return f"the coordinator knows b and z of {self.name(leak.both)}"
        names = [self.name(party) for party in leak.parties]
        few = f"the input of {names[0]}" if len(names) == 1 else f"the sum of the inputs of {' '.join(names)}"
        if min(factor for _, factor in leak.combination) < 0 < max(factor for _, factor in leak.combination):
            few = f"a difference of inputs of {' '.join(names)}"
        return f"the coordinator knows {few}; a sum has to have {self.setting.honest_minimum} honest inputs"


def transcript(life: Life) -> tuple[int, int, int]:
    """T of the last vector."""
    view = life.views[-1]
    return life.cohort, view.alive, view.content


def kernel(rows: list[dict[object, int]]) -> tuple[int, ...]:
    """Integers, not all 0, with which the rows add up to 0; empty if there are none."""
    reduced: list[tuple[dict[object, Fraction], list[Fraction]]] = []
    for at, row in enumerate(rows):
        values = {column: Fraction(value) for column, value in row.items()}
        track = [Fraction(int(at == other)) for other in range(len(rows))]
        for pivot, used in reduced:
            column = next(iter(pivot))
            if factor := values.get(column, Fraction(0)) / pivot[column]:
                for key, value in pivot.items():
                    values[key] = values.get(key, Fraction(0)) - factor * value
                track = [own - factor * other for own, other in zip(track, used, strict=True)]
        values = {column: value for column, value in values.items() if value}
        if not values:
            scale = max(value.denominator for value in track)
            return tuple(int(value * scale) for value in track)
        reduced.append((values, track))
    return ()
