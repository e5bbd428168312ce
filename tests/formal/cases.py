"""Which rules are taken out where, so that the model leaks: each rule alone, or with the others that cover for it.

`ALONE`: without this one rule there is an attack. `COVERED`: without this rule alone there is none in any setting of `small_settings`; the
group leaks at the setting given, and with any one of its rules back it does not.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.formal.rules import NOTHING, Rule, Setting, Without

ALONE: dict[Rule, Setting] = {
    Rule.ONCE_PREPARE: Setting(3, 0, 2, 2),
    Rule.SECRECY: Setting(8, 1, 3, 3),
    Rule.ROSTER: Setting(5, 2, 3, 3, counted=1),
    Rule.ONCE_TRAIN: Setting(3, 0, 2, 2),
    Rule.HOLDERS: Setting(8, 1, 5, 3),
    Rule.OPENS: Setting(4, 1, 3, 3),
    Rule.ONCE_CONFIRM: Setting(5, 1, 3, 3),
    Rule.QUORUM: Setting(5, 1, 3, 3),
    Rule.QUORUM_CORRUPT: Setting(5, 1, 3, 3),
    Rule.EITHER_OR: Setting(4, 1, 3, 3),
}
COVERED: dict[Without, Setting] = {
    frozenset({Rule.T_MINIMUM, Rule.MIN_U2}): Setting(4, 0, 2, 4),
    frozenset({Rule.T_MINIMUM, Rule.U2_IN_U1}): Setting(4, 0, 2, 4),
    frozenset({Rule.T_MINIMUM, Rule.U1_IN_COHORT}): Setting(4, 0, 2, 4),
    frozenset({Rule.SELF_IN_U1, Rule.U2_IN_U1}): Setting(4, 0, 2, 3),
    frozenset({Rule.SELF_IN_U1, Rule.STORED_U1}): Setting(4, 0, 2, 3),
    frozenset({Rule.MIN_U1, Rule.HOLDERS}): Setting(3, 0, 2, 2),
    frozenset({Rule.STORED_U1, Rule.T_SIGNED}): Setting(4, 0, 2, 3),
    frozenset({Rule.T_SIGNED, Rule.U2_IN_U1}): Setting(4, 0, 2, 3),
    frozenset({Rule.SELF_IN_U2, Rule.MIN_U2}): Setting(3, 0, 2, 3),
    frozenset({Rule.SELF_IN_U2, Rule.SIGNERS_IN_U2}): Setting(4, 0, 2, 2),
    frozenset({Rule.ONCE_UNMASK, Rule.SIGNED_U2, Rule.ONCE_CONFIRM}): Setting(3, 0, 2, 2),
}

ATTACKS: dict[Without, Setting] = {**{frozenset({rule}): setting for rule, setting in ALONE.items()}, **COVERED}


def small_settings(most: int, without: Without = NOTHING) -> Iterator[Setting]:
    """All numbers that a party accepts, up to so many parties, with at least two honest ones."""
    for n in range(3, most + 1):
        for corrupt in range(3):
            for honest_minimum in (2, 3, 4):
                for t in range(1, n):
                    setting = Setting(n, corrupt, t, honest_minimum)
                    if n - corrupt >= 2 and setting.acceptable(without):
                        yield setting


def several_cohorts(most: int) -> Iterator[Setting]:
    """A coordinator that shows cohorts of n out of N to whom it likes."""
    for roster in range(4, most + 1):
        for n in range(3, roster):
            for corrupt in range(3):
                for honest_minimum in (2, 3):
                    for t in range(1, n):
                        setting = Setting(n, corrupt, t, honest_minimum, roster=roster)
                        if n - corrupt >= 2 and setting.acceptable(NOTHING):
                            yield setting
