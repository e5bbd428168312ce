"""The rules of malicious mode that the model can do without, one by one: what an honest party checks before it answers.

Each is one refusal of the real client (`stfed.secagg.client`, `stfed.secagg.policy`); `docs/formal.md` says where. Whatever a party checks
beyond these (signatures on JOINs, the roster, the encoding, commitments) is taken for granted: those keep the terms of the model apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Rule(Enum):
    """A check of an honest party; the value says what it demands."""

    ORDER = "every step after the one before it"  # what a party has not got it cannot use: never taken out
    ONCE_PREPARE = "PREPARE once per round number"
    SECRECY = "2t > k + C, and a majority of the share-holders"
    T_MINIMUM = "t is at least C + h_min - 1"
    ROSTER = "C is counted on the roster, not on the cohort"
    ONCE_TRAIN = "TRAIN once per PREPARE"
    SELF_IN_U1 = "itself in U1"
    U1_IN_COHORT = "U1 is a part of the cohort"
    MIN_U1 = "U1 has C + h_min members"
    HOLDERS = "t of its share-holders are in U1"
    OPENS = "shares from every neighbour in U1, a mask against each of them"
    ONCE_CONFIRM = "CONFIRM once per TRAIN"
    SELF_IN_U2 = "itself in U2"
    U2_IN_U1 = "U2 is a part of U1"
    STORED_U1 = "U1 is the one stored at TRAIN, whatever is said later"
    MIN_U2 = "U2 has C + h_min members"
    ONCE_UNMASK = "UNMASK once per CONFIRM"
    SIGNED_U2 = "UNMASK only for the U2 that it signed"
    SIGNERS_IN_U2 = "confirmations count from members of U2 only"
    T_SIGNED = "a confirmation is under the transcript T as well"
    QUORUM = "floor((n+C)/2)+1 confirmations before a share"
    QUORUM_CORRUPT = "the C in the quorum: not just more than n/2"
    EITHER_OR = "of each neighbour a share of b or of z, never both"

    def __repr__(self) -> str:
        return self.name


Without = frozenset[Rule]
NOTHING: Without = frozenset()


@dataclass(frozen=True)
class Setting:
    """The numbers of one round.

    Attributes:
        n: parties in a cohort, corrupt ones included. The graph is complete: k = n - 1.
        corrupt: C, how many parties work for the coordinator. It has all of them in every cohort.
        t: shares that reconstruct a secret.
        honest_minimum: h_min, honest inputs that a sum must have.
        roster: N, the parties that cohorts are picked from; n if there is only one cohort.
        counted: what the parties take C for if they count it on the cohort; only `Rule.ROSTER` makes them take the right one.
    """

    n: int
    corrupt: int
    t: int
    honest_minimum: int = 3
    roster: int = 0
    counted: int = -1

    @property
    def parties(self) -> int:
        """N. The honest ones are 0..N-C-1, the corrupt ones the last C."""
        return self.roster or self.n

    @property
    def honest(self) -> int:
        """How many honest parties there are."""
        return self.parties - self.corrupt

    def assumed(self, without: Without) -> int:
        """C as the parties count it."""
        return self.counted if Rule.ROSTER in without and self.counted >= 0 else self.corrupt

    def floor(self, without: Without) -> int:
        """The fewest members of U1 and U2."""
        return self.assumed(without) + self.honest_minimum

    def quorum(self, without: Without) -> int:
        """Confirmations that UNMASK needs."""
        if Rule.QUORUM in without:
            return 0
        return (self.n + (0 if Rule.QUORUM_CORRUPT in without else self.assumed(without))) // 2 + 1

    def acceptable(self, without: Without) -> bool:
        """Whether a party takes part with these n and t."""
        k, corrupt = self.n - 1, self.assumed(without)
        if self.n < self.floor(without) or self.quorum(without) > self.n or not 1 <= self.t <= k:
            return False
        if Rule.T_MINIMUM not in without and self.t < min(k, corrupt + self.honest_minimum - 1):
            return False
        return Rule.SECRECY in without or (2 * self.t > k + corrupt and self.t >= max(2, k // 2 + 1))

    def __str__(self) -> str:
        picked = f" of N={self.roster}" if self.roster else ""
        counted = f" (counted as {self.counted})" if self.counted >= 0 else ""
        return f"n={self.n}{picked} C={self.corrupt}{counted} t={self.t} h_min={self.honest_minimum}"
