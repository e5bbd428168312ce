"""The counting behind the rules, for every n, C, k and t at once: integers that contradict each other, which z3 shows.

How they make the theorem is told in `docs/formal.md`. Each lemma says which rule it needs; without that hypothesis z3 has numbers for which
it is false.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import z3  # type: ignore[import-untyped]

from tests.formal.rules import Rule

n, c, k, t, h_min, q = z3.Ints("n C k t h_min q")
CONTEXT = [n >= 2, c >= 0, c < n, k == n - 1, t >= 1, t <= k, h_min >= 2]
SECRECY = 2 * t > k + c
QUORUM = q == (n + c) / 2 + 1  # z3 divides integers down
QUORUM_WITHOUT_C = q == n / 2 + 1


@dataclass(frozen=True)
class Lemma:
    """From CONTEXT, `given` and the rules follows `claim`.

    Attributes:
        rules: what the rules contribute.
        weaker: what is left of a rule that is taken out, if not nothing.
    """

    text: str
    given: list[Any]
    rules: dict[Rule, Any]
    claim: Any
    weaker: dict[Rule, Any] = field(default_factory=dict)

    def counterexample(self, without: Rule | None = None) -> dict[str, int] | None:
        """Numbers for which it is false; None if there are none."""
        solver = z3.Solver()
        kept = [fact for rule, fact in self.rules.items() if rule is not without]
        kept += [fact for rule, fact in self.weaker.items() if rule is without]
        solver.add(*CONTEXT, *self.given, *kept, z3.Not(self.claim))
        answer = solver.check()
        if answer == z3.sat:
            model = solver.model()
            return {str(name): model[name].as_long() for name in model.decls()}
        assert answer == z3.unsat
        return None


def _counts(names: str) -> list[Any]:
    return list(z3.Ints(names))


one, other, both, neither = _counts("signed_one signed_other signed_both signed_neither")
gave_b, gave_z = _counts("gave_b gave_z")
in_u2 = z3.Int("honest_in_u2")
alone, signers, inside, outside, named = _counts("S signers other_in_u2 not_in_u2 named_not_in_u2")

LEMMAS = [
    Lemma(
        "two sets with a quorum each have an honest signer in common",
        [one >= 0, other >= 0, both >= 0, neither >= 0, one + other + both + neither == n - c, one + both + c >= q, other + both + c >= q],
        {Rule.QUORUM: QUORUM},
        both >= 1,
    ),
    Lemma(
        "two sets with a quorum each have an honest signer in common (the C in it)",
        [one >= 0, other >= 0, both >= 0, neither >= 0, one + other + both + neither == n - c, one + both + c >= q, other + both + c >= q],
        {Rule.QUORUM_CORRUPT: QUORUM},
        both >= 1,
        {Rule.QUORUM_CORRUPT: QUORUM_WITHOUT_C},
    ),
    Lemma(
        "b and z of one party are not both known: each of the k - C honest holders gives one share",
        [gave_b >= 0, gave_z >= 0, c <= k],
        {Rule.SECRECY: SECRECY, Rule.EITHER_OR: gave_b + gave_z <= k - c},
        z3.Not(z3.And(gave_b + c >= t, gave_z + c >= t)),
        {Rule.EITHER_OR: z3.And(gave_b <= k - c, gave_z <= k - c)},
    ),
    Lemma("the corrupt alone know no secret", [c <= k], {Rule.SECRECY: SECRECY}, t > c),
    Lemma(
        "a sum under the confirmed transcript has h_min honest inputs: all of U2",
        [in_u2 >= 0],
        {Rule.MIN_U2: in_u2 + c >= c + h_min},
        in_u2 >= h_min,
    ),
    Lemma(
        "a sum under the confirmed transcript has h_min honest inputs: the t - C that gave shares of a b in it, and its owner",
        [in_u2 >= 0, gave_b + c >= t, in_u2 >= gave_b + 1],
        {Rule.T_MINIMUM: t >= c + h_min - 1},
        in_u2 >= h_min,
    ),
    Lemma(
        "no sum is under another transcript: its S would name t holders, in S or not in U2, beside the signers of U2",
        [
            alone >= 1,
            signers >= 0,
            inside >= 0,
            outside >= 0,
            named >= 0,
            named <= outside,
            alone + signers + inside + outside == n - c,
            signers + c >= q,
            QUORUM,
        ],
        {Rule.HOLDERS: alone + named + c - 1 >= t, Rule.SECRECY: SECRECY},
        z3.BoolVal(False),
        {Rule.HOLDERS: alone + named >= h_min},
    ),
]
