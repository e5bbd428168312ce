"""`python -m tests.formal [MOST]`: what the model proves, and without which rules it finds which attack; 1 if one of these fails.

MOST is the largest number of parties, 7 if not given. The tests go up to 5 and 6.
"""

import sys
import time

from tests.formal.cases import ALONE, ATTACKS, several_cohorts, small_settings
from tests.formal.checker import search
from tests.formal.lemmas import LEMMAS
from tests.formal.model import Model, Prepare
from tests.formal.real import TAKE_OUT, Real, taken_out
from tests.formal.rules import Rule, Setting
from tests.formal.symbolic import find

VISITED = [Setting(3, 0, 2, 2), Setting(4, 1, 3, 2), Setting(4, 1, 3, 3), Setting(5, 2, 4, 2), Setting(5, 1, 3, 3), Setting(6, 2, 4, 3)]


def visited() -> bool:
    print("Every reachable state, with all rules:")
    good = True
    for setting in VISITED:
        verdict = search(setting)
        good &= verdict.complete and verdict.leak is None
        print(f"  {setting!s:<28} {verdict.states:>7,} states  {verdict.seconds:6.1f} s  {'leaks' if verdict.leak else 'no leak'}")
    return good


def solved(most: int) -> bool:
    good = True
    for text, settings in (("one cohort", small_settings(most)), ("cohorts of n out of N", several_cohorts(most))):
        began, leaks, count = time.perf_counter(), 0, 0
        for setting in settings:
            count += 1
            leaks += find(setting).leak is not None
        good &= not leaks
        print(f"The formula, {text}, up to {most} parties: {count} settings, {leaks} leak, {time.perf_counter() - began:.0f} s")
    return good


def attacked() -> bool:
    print("\nAn attack without each of these rules, or without several, where any one of them would prevent it:")
    good = True
    for without, setting in ATTACKS.items():
        found, model = find(setting, without), Model(setting, without)
        print(f"\n{' + '.join(rule.value for rule in sorted(without, key=list(Rule).index))}\n  {setting}")
        if found.leak is None:
            good = False
            print("  no attack found")
            continue
        if all(isinstance(action, Prepare) for action in found.trace[: model.h]):
            print("  PREPARE  everybody")
        for at, action in enumerate(found.trace):
            if at >= model.h or not isinstance(action, Prepare):
                print(f"  {model.describe(action)}")
        print(f"  => {model.describe_leak(found.leak)}")
        if without <= set(TAKE_OUT):
            with taken_out(without):
                real = Real(setting, without)
                for action in found.trace:
                    real.does(action)
                learnt = real.learns(found.leak)
            good &= learnt
            print(f"  => {'so it does' if learnt else 'it does not'} with real parties, from the bytes they sent")
    return good


def counted() -> bool:
    print("\nFor all n, C, k, t:")
    good = True
    for lemma in LEMMAS:
        holds = lemma.counterexample() is None
        good &= holds
        print(f"  {'proven' if holds else 'FALSE '}  {lemma.text}")
        for rule in lemma.rules:
            numbers = lemma.counterexample(without=rule) or {}
            print(f"          without '{rule.value}': {', '.join(f'{name} = {value}' for name, value in sorted(numbers.items()))}")
    return good


def main(most: str = "7") -> int:
    good = [visited(), solved(int(most)), attacked(), counted()]
    print(f"\n{len(ALONE)} rules are missed alone, {len(ATTACKS) - len(ALONE)} groups cover for each other")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
