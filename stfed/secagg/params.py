"""The number of neighbours k and the threshold t: the smallest that are secure, or a refusal that says why there are none.

`choose` is what a coordinator calls, `accepts` what every party calls on the numbers that it is told; both run the same code over the
same conditions (`stfed.secagg.conditions`, where they are stated), so the two sides cannot disagree about what is secure.

In a cohort of n that the coordinator picks from a roster of N, the corrupt are C = min(n, ceil(gamma N)) and the dropped at most
D = floor(delta n), both in exact arithmetic on the decimals that were written down: ceil(0.1 * 30) is 3 and floor(0.29 * 100) is 29.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from functools import lru_cache
from math import ceil, floor
from typing import Literal

from stfed.errors import LocalError
from stfed.secagg.conditions import H_MIN, MAX_NEIGHBOURS, Conditions
from stfed.secagg.drawn import MAX_DRAWN_PARTIES
from stfed.secagg.tails import MAX_POPULATION

COMPLETE_UP_TO = 32
"""Cohorts up to this size always use the complete graph: it asks for nothing probabilistic and costs little."""
MALICIOUS_COMPLETE_UP_TO = 128
"""The same in malicious mode, where the complete graph has the simpler argument (ADR 0017, 0018), and parties accept nothing else."""
MAX_PREPARES = 1 << 24
"""Rounds that a run in malicious mode may have, the abandoned ones included; parties refuse a larger round number.

Where parties draw their share-holders, every PREPARE is one more draw that the coordinator sees and may throw away. The bounds of malicious
mode are therefore met with so many bits to spare that they hold for all draws of a run together (ADR 0018).
"""

Share = float | Fraction
"""A share of the parties in [0, 1). A float means the decimal that it prints as; `Fraction(1, 3)` is exact."""
GraphChoice = Literal["auto", "complete", "sparse"]
GraphKind = Literal["complete", "harary", "k-out"]


class Mode(Enum):
    """What the coordinator is trusted with."""

    SEMI_HONEST = "semi-honest"
    """It follows the protocol and looks at everything."""
    MALICIOUS = "malicious"
    """It may lie, equivocate, choose the cohort and who drops, and collude with a share gamma of the roster."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """Numbers of one cohort that meet every condition.

    Attributes:
        n: parties in the cohort.
        k: neighbours of each: its share-holders and mask partners.
        t: shares that reconstruct a secret.
        mode: the threat model.
        graph: "complete", or "harary" (a ring, sound only while drops are not chosen: semi-honest), or in malicious mode "k-out" (every
            party draws its share-holders from its own randomness, after the directory is fixed).
        gamma: share of the roster that may be corrupt.
        delta: share of the cohort that may vanish.
        roster: N, the parties that the cohort is picked from.
        corrupt: C = min(n, ceil(gamma N)).
        dropouts: D = floor(delta n).
        sigma: bits of security; in malicious mode of a whole run of up to `MAX_PREPARES` rounds, whose bounds are 24 bits stronger.
        eta: bits of correctness.
        log2_connectivity: log2 of the bound on the probability that the condition fails; -inf when it cannot, and in malicious mode, where
            `honest_floor` is asked for instead.
        log2_secrecy: likewise.
        log2_correctness: likewise.
        min_survivors: n - D.
        quorum: signatures that UNMASK needs; None in semi-honest mode.
        honest_floor: a revealed sum has more honest inputs than this (the alpha bound s*); None in semi-honest mode.
    """

    n: int
    k: int
    t: int
    mode: Mode
    graph: GraphKind
    gamma: float
    delta: float
    roster: int
    corrupt: int
    dropouts: int
    sigma: int
    eta: int
    log2_connectivity: float
    log2_secrecy: float
    log2_correctness: float
    min_survivors: int
    quorum: int | None
    honest_floor: int | None

    @property
    def bits(self) -> int:
        """Bits of security of one PREPARE: `sigma`, and in malicious mode as many more as a run may have PREPAREs."""
        return bits_of_a_prepare(self.sigma, self.mode)


def bits_of_a_prepare(sigma: int, mode: Mode) -> int:
    """What the bounds are computed for, so that a whole run has `sigma` bits."""
    return sigma + (MAX_PREPARES.bit_length() - 1 if mode is Mode.MALICIOUS else 0)


def choose(
    n: int,
    gamma: Share,
    delta: Share,
    *,
    mode: Mode = Mode.SEMI_HONEST,
    roster: int | None = None,
    sigma: int = 40,
    eta: int = 30,
    graph: GraphChoice = "auto",
    k: int | None = None,
    t: int | None = None,
    h_min: int = H_MIN,
) -> Parameters:
    """The parameters with the smallest k, and at that k the smallest t; on a complete graph t is raised to floor(k/2) + 1 if drops allow.

    Args:
        n: parties in the cohort, 2 to 2^24.
        gamma: share of the roster that may be corrupt, in [0, 1).
        delta: share of the cohort that may vanish at any step, in [0, 1).
        mode: the threat model.
        roster: N >= n, the parties that the coordinator picks the cohort from; the cohort itself if not given.
        sigma: bits of security, 1 to 256.
        eta: bits of correctness, 1 to 256.
        graph: "complete", "sparse", or "auto": complete up to `COMPLETE_UP_TO` parties (`MALICIOUS_COMPLETE_UP_TO` in malicious mode) and
            where no sparse graph is secure.
        k: neighbours, checked instead of chosen: n - 1, or below, and even then in semi-honest mode.
        t: threshold, checked instead of chosen.
        h_min: honest inputs that any sum must have, whoever drops; asked of sparse graphs in malicious mode.

    Raises:
        LocalError: no parameters meet the conditions, or the given ones do not; with the condition, its numbers and what to change.
    """
    return _choose(n, gamma, delta, mode, n if roster is None else roster, sigma, eta, graph, k, t, h_min)


def accepts(
    n: int,
    k: int,
    t: int,
    gamma: Share,
    delta: Share,
    mode: Mode = Mode.SEMI_HONEST,
    roster: int | None = None,
    sigma: int = 40,
    eta: int = 30,
    h_min: int = H_MIN,
) -> None:
    """A party's own check of what a coordinator proposes; the code that `choose` runs, and returns nothing.

    In malicious mode a sparse graph is accepted for cohorts above `MALICIOUS_COMPLETE_UP_TO` parties, because it is the party itself that
    draws its share-holders: nothing about the graph is the coordinator's.

    Raises:
        LocalError: the condition that fails, its numbers and what to change.
    """
    if mode is Mode.MALICIOUS and k != n - 1 and n <= MALICIOUS_COMPLETE_UP_TO:
        raise LocalError(
            f"k = {k} of {n - 1} neighbours in malicious mode: up to {MALICIOUS_COMPLETE_UP_TO} parties only the complete graph will do",
            hint="leave the number of neighbours out",
        )
    choose(n, gamma, delta, mode=mode, roster=roster, sigma=sigma, eta=eta, k=k, t=t, h_min=h_min)


def corrupt_parties(n: int, gamma: Share, roster: int | None = None) -> int:
    """C = min(n, ceil(gamma N)): a coordinator that picks the cohort puts every corrupt party of the roster into it."""
    return min(n, ceil(_share("gamma", gamma) * (n if roster is None else roster)))


def dropped_parties(n: int, delta: Share) -> int:
    """D = floor(delta n)."""
    return floor(_share("delta", delta) * n)


@lru_cache(maxsize=256)
def _choose(
    n: int,
    gamma: Share,
    delta: Share,
    mode: Mode,
    roster: int,
    sigma: int,
    eta: int,
    graph: GraphChoice,
    k: int | None,
    t: int | None,
    h_min: int,
) -> Parameters:
    malicious = mode is Mode.MALICIOUS
    _check_request(n, roster, sigma, eta, graph, k, malicious)
    bits = bits_of_a_prepare(sigma, mode)
    rules = Conditions(n, corrupt_parties(n, gamma, roster), dropped_parties(n, delta), malicious, bits, eta, h_min)
    rules.require_quorum()
    if k is None:
        k = _choose_degree(rules, graph, t)
    rules.require(k)
    if t is None:
        t = rules.best_threshold(k)
    rules.require(k, t)
    return Parameters(
        n=n,
        k=k,
        t=t,
        mode=mode,
        graph="complete" if k == n - 1 else "k-out" if malicious else "harary",
        gamma=float(gamma),
        delta=float(delta),
        roster=roster,
        corrupt=rules.corrupt,
        dropouts=rules.dropouts,
        sigma=sigma,
        eta=eta,
        log2_connectivity=rules.log2_connectivity(k),
        log2_secrecy=rules.log2_secrecy(k, t),
        log2_correctness=rules.log2_correctness(k, t),
        min_survivors=n - rules.dropouts,
        quorum=rules.quorum if malicious else None,
        honest_floor=rules.honest_floor(k, t) if malicious else None,
    )


def _choose_degree(rules: Conditions, graph: GraphChoice, t: int | None) -> int:
    """The smallest sparse degree where one is asked for and there is one, else the complete graph's."""
    if graph == "complete" or (graph == "auto" and rules.n <= (MALICIOUS_COMPLETE_UP_TO if rules.malicious else COMPLETE_UP_TO)):
        return rules.n - 1
    sparse = rules.smallest_degree(t)
    if sparse is None and (graph == "sparse" or rules.n - 1 > MAX_NEIGHBOURS):
        wanted = "" if t is None else f" with t = {t}"
        too_big = "" if rules.n - 1 <= MAX_NEIGHBOURS else f", and the complete graph ends at {MAX_NEIGHBOURS} neighbours"
        if rules.malicious and rules.n > MAX_DRAWN_PARTIES:
            too_big = f": in malicious mode a cohort has at most {MAX_DRAWN_PARTIES} parties"
        raise LocalError(f"no sparse graph of {rules} is secure and correct{wanted}{too_big}", hint="smaller gamma or delta")
    return rules.n - 1 if sparse is None else sparse


def _check_request(n: int, roster: int, sigma: int, eta: int, graph: GraphChoice, k: int | None, malicious: bool) -> None:
    if n < 2:
        raise LocalError(f"n = {n}: a cohort of one has nobody to hide among, its sum is its update", hint="use two parties or more")
    if n > MAX_POPULATION:
        raise LocalError(f"n = {n}: cohorts go up to {MAX_POPULATION} parties", hint="split the cohort")
    if roster < n:
        raise LocalError(f"a roster of {roster} parties cannot give a cohort of {n}", hint="give the number of parties on the roster")
    for name, bits in (("sigma", sigma), ("eta", eta)):
        if not 1 <= bits <= 256:
            raise LocalError(f"{name} = {bits} bits, it must be 1 to 256", hint="40 bits of security and 30 of correctness are usual")
    if graph not in ("auto", "complete", "sparse"):
        raise LocalError(f"graph is {graph!r}", hint='use "auto", "complete" or "sparse"')
    if k is None:
        return
    if not 1 <= k <= n - 1:
        raise LocalError(f"k = {k} neighbours in a cohort of {n}", hint=f"use 1 to {n - 1}")
    if k % 2 and k != n - 1 and not malicious:
        raise LocalError(f"k = {k} neighbours: a ring has as many to the left as to the right", hint=f"use an even number, or {n - 1}")
    if (graph == "complete" and k != n - 1) or (graph == "sparse" and k == n - 1):
        raise LocalError(f"k = {k} of {n - 1} neighbours is no {graph} graph", hint='leave k out, or use graph "auto"')


def _share(name: str, value: Share) -> Fraction:
    """The exact share that was written down."""
    try:
        exact = value if isinstance(value, Fraction) else Fraction(str(value))
    except ValueError:
        raise LocalError(f"{name} = {value!r} is not a number", hint="use a share such as 0.1") from None
    if not 0 <= exact < 1:
        raise LocalError(f"{name} = {value} is outside [0, 1)", hint="use a share such as 0.1")
    return exact
