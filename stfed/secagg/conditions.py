"""The conditions on k and t for one cohort, each as a log2 probability of failure and as the refusal that names its numbers.

Bell, Bonawitz, Gascón, Lepoint, Raykova (CCS 2020), with a union bound over the n parties:

- connectivity (semi-honest): the parties that are neither corrupt nor dropped stay one connected graph, or the sum falls into parts;
- isolation (malicious, sparse), in its place, because a coordinator that chooses who drops does not leave the graph to chance: a sum that
  it can get at, whatever it does, has `h_min` honest inputs or more (the alpha bound, `stfed.secagg.tails.honest_floor`);
- secrecy: nobody's corrupt share-holders reach the threshold. Semi-honest: fewer than t of them. Malicious: fewer than 2t - k, because
  the coordinator may ask some honest holders for the shares of b and others for those of z, and the corrupt ones give both: with
  2t > k + c there are not enough shares for two secrets. Secrecy and connectivity or isolation may each fail with 2^-(sigma+1);
- correctness: everybody keeps t share-holders through the drops, but for 2^-eta;
- quorum (malicious): two survivor sets cannot both collect floor((n+C)/2) + 1 signatures, and n - D parties can give that many.

On the complete graph every count is certain and the tails are exactly 0 or 1, so these are plain inequalities there: t > C or
2t > k + C, and t <= n-1-D.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log2

from stfed.errors import LocalError
from stfed.secagg.drawn import MAX_DRAWN_PARTIES
from stfed.secagg.tails import ERROR_BITS, honest_floor, log2_disconnection, log2_lower_tail, log2_upper_tail

MAX_NEIGHBOURS = 65520
"""Share-holders sit at the nonzero points of GF(65521)."""
H_MIN = 3
"""Honest inputs in a sum, at least: of two, each one knows the other's."""
_HINT = "more parties, or smaller gamma or delta"


@dataclass(frozen=True, slots=True)
class Conditions:
    """What k and t have to meet in one cohort.

    Attributes:
        n: parties in the cohort.
        corrupt: C, how many of them may be corrupt, 0..n.
        dropouts: D, how many of them may drop, 0..n-1.
        malicious: whether the coordinator may lie.
        sigma: bits of security.
        eta: bits of correctness.
        h_min: honest inputs that any sum must have; asked of sparse graphs in malicious mode, on others the survivors are counted.
    """

    n: int
    corrupt: int
    dropouts: int
    malicious: bool
    sigma: int
    eta: int
    h_min: int = H_MIN

    def __str__(self) -> str:
        mode = "malicious" if self.malicious else "semi-honest"
        return f"{self.n} parties with {self.corrupt} corrupt and {self.dropouts} dropping ({mode})"

    @property
    def quorum(self) -> int:
        """Signatures under one survivor set."""
        return quorum(self.n, self.corrupt)

    def log2_connectivity(self, k: int) -> float:
        """log2 of the probability that the honest survivors are not connected, at most; -inf in malicious mode: isolation is asked for."""
        if self.malicious:
            return -inf
        return log2_disconnection(self.n, k, min(self.n, self.corrupt + self.dropouts))

    def log2_secrecy(self, k: int, t: int) -> float:
        """log2 of the probability that somebody has too many corrupt share-holders, at most."""
        return self._log2_anybody(self.corrupt, k, 2 * t - k if self.malicious else t)

    def log2_correctness(self, k: int, t: int) -> float:
        """log2 of the probability that somebody is left with fewer than t share-holders, at most."""
        others = self.n - 1
        return min(0.0, log2(self.n) + log2_lower_tail(others, others - self.dropouts, k, t - 1))

    def honest_floor(self, k: int, t: int) -> int:
        """s*: a sum that a malicious coordinator can get at has more honest inputs than this, but for 2^-(sigma+1)."""
        return honest_floor(self.n, self.corrupt, k, t, self.sigma)

    def isolates(self, k: int, t: int) -> bool:
        """Whether a malicious coordinator may get at a sum of fewer than `h_min` honest inputs by choosing who drops."""
        return self.malicious and k < self.n - 1 and self.honest_floor(k, t) + 1 < self.h_min

    def _log2_anybody(self, marked: int, k: int, least: int) -> float:
        others = self.n - 1
        return min(0.0, log2(self.n) + log2_upper_tail(others, min(marked, others), k, least))

    def _least_unlikely(self, marked: int, k: int, bits: int) -> int:
        """The smallest number of marked neighbours that nobody has, but for 2^-bits: at least 1, at most min(k, marked) + 1."""
        low, high = 1, min(k, marked, self.n - 1) + 1
        while low < high:
            middle = (low + high) // 2
            if _holds(self._log2_anybody(marked, k, middle), bits):
                high = middle
            else:
                low = middle + 1
        return low

    def smallest_secret(self, k: int) -> int:
        """The smallest t that keeps secrecy at k, never 1 where there are two holders: a share of 1-of-k is the secret itself."""
        leaks = self._least_unlikely(self.corrupt, k, self.sigma + 1)
        return max(min(2, k), (k + leaks + 1) // 2 if self.malicious else leaks)

    def largest_correct(self, k: int) -> int:
        """The largest t that survives the drops at k."""
        return k + 1 - self._least_unlikely(self.dropouts, k, self.eta)

    def best_threshold(self, k: int) -> int:
        """The smallest secret t; on the complete graph raised to floor(k/2) + 1 where the drops allow it.

        The raise costs nothing, and 2t > k means that the shares of b and of z which honest holders release, one of the two each, can
        never reconstruct both, whatever survivor set each was told.
        """
        smallest, majority = self.smallest_secret(k), k // 2 + 1
        return majority if k == self.n - 1 and smallest < majority <= self.largest_correct(k) else smallest

    def smallest_degree(self, t: int | None) -> int | None:
        """The smallest even k < n - 1 that meets all conditions for this t, or for some t; None where there is none.

        The scan jumps. The marked neighbours to be reckoned with, x(k) corrupt and z(k) dropped, both grow with k, and the conditions
        read k >= f(k) with f = x + z (semi-honest), x + 2z (malicious) or t + z (given t). So if f(k) > k, every k' below f(k) fails too.
        Isolation is looked at where these hold.
        """
        if self.malicious and self.n > MAX_DRAWN_PARTIES:
            return None
        k = self._smallest_connected()
        while k <= min(self.n - 2, MAX_NEIGHBOURS):
            missing = (self.smallest_secret(k) if t is None else t) - self.largest_correct(k)
            if missing <= 0:
                if t is not None and t < self.smallest_secret(k):
                    return None
                if not self.isolates(k, self.best_threshold(k) if t is None else t):
                    return k
                missing = 2
            elif t is None and self.malicious:
                missing *= 2
            k += missing + missing % 2
        return None

    def _smallest_connected(self) -> int:
        low, high = 1, (self.n + 1) // 2  # in pairs of neighbours; the upper end is the complete graph or beyond
        while low < high:
            middle = (low + high) // 2
            if _holds(self.log2_connectivity(2 * middle), self.sigma + 1):
                high = middle
            else:
                low = middle + 1
        return 2 * low

    def require_quorum(self) -> None:
        """Raises a `LocalError` if, in malicious mode, the survivors cannot give enough signatures."""
        survivors = self.n - self.dropouts
        if self.malicious and self.quorum > survivors:
            needed = f"one survivor set needs floor((n+C)/2)+1 = {self.quorum} signatures"
            raise LocalError(f"quorum: {needed}, but of {self} only n-D = {survivors} are sure to be left", hint=_HINT)

    def require(self, k: int, t: int | None = None) -> None:
        """Raises a `LocalError` for the first condition that k, or (k, t), does not meet."""
        if k > MAX_NEIGHBOURS:
            raise LocalError(f"k = {k}: a secret has at most {MAX_NEIGHBOURS} share-holders", hint="use a sparse graph, or fewer parties")
        if self.malicious and k < self.n - 1 and self.n > MAX_DRAWN_PARTIES:
            hint = "split the cohort, or take part in semi-honest mode"
            raise LocalError(f"n = {self.n}: a cohort that draws its share-holders has at most {MAX_DRAWN_PARTIES} parties", hint=hint)
        if not _holds(self.log2_connectivity(k), self.sigma + 1):
            reached = f"fall apart with probability up to {_power(self.log2_connectivity(k))}, allowed is 2^-{self.sigma + 1}"
            raise LocalError(f"connectivity: with k = {k} neighbours, {self} {reached}", hint="more neighbours, or smaller gamma or delta")
        smallest, largest = self.smallest_secret(k), self.largest_correct(k)
        if smallest > largest:
            raise LocalError(f"no threshold fits k = {k} of {self}: {self._bounds(k, smallest, largest)}", hint=_HINT)
        if t is None:
            return
        usable = f"use t = {smallest}" if smallest == largest else f"use t = {smallest} to {largest}"
        if not min(2, k) <= t <= k:
            raise LocalError(f"t = {t} of k = {k} shares: t is at most k, and a share of 1-of-k is the secret itself", hint=usable)
        if t < smallest:
            reached = f"fails with probability up to {_power(self.log2_secrecy(k, t))}, allowed is 2^-{self.sigma + 1}"
            raise LocalError(f"secrecy: t = {t} of k = {k} for {self} {reached}", hint=f"{usable}, or smaller gamma")
        if t > largest:
            reached = f"fails with probability up to {_power(self.log2_correctness(k, t))}, allowed is 2^-{self.eta}"
            raise LocalError(f"correctness: t = {t} of k = {k} for {self} {reached}", hint=f"{usable}, or smaller delta")
        if self.isolates(k, t):
            reached = f"can be made to reveal a sum of {self.honest_floor(k, t) + 1} honest inputs, {self.h_min} are needed"
            raise LocalError(f"isolation: t = {t} of k = {k} for {self} {reached}", hint="more neighbours, or smaller gamma")

    def _bounds(self, k: int, smallest: int, largest: int) -> str:
        if k < self.n - 1:
            return f"secrecy needs t >= {smallest} (2^-{self.sigma + 1}), correctness t <= {largest} (2^-{self.eta})"
        secret = f"2t > k + C = {k + self.corrupt}" if self.malicious else f"t > C = {self.corrupt}"
        least = f" and t >= {min(2, k)}" if smallest == min(2, k) else ""
        return f"secrecy needs {secret}{least}, correctness t <= n-1-D = {largest}"


def quorum(n: int, corrupt: int) -> int:
    """floor((n+C)/2) + 1: any two sets of so many signers share more than C, so an honest one, and it signs once."""
    return (n + corrupt) // 2 + 1


def _holds(log2_probability: float, bits: int) -> bool:
    """Whether the exact probability is at most 2^-bits for certain, given the error of the tails."""
    return log2_probability + ERROR_BITS <= -bits


def _power(log2_probability: float) -> str:
    return "0" if log2_probability == -inf else f"2^{log2_probability:.1f}"
