"""An empirical audit of the privacy claim: what an adversary that knows everything but one party's vector can tell from a sum.

Two worlds (docs/privacy.md): in one, a party's change is a *canary* in a known direction, which has norm C once it is clipped; in the
other it is zero. All else is the same and known: the others send zeros, the corrupt parties send what the adversary likes, as many parties
drop as a run survives. So what is summed is what the guarantee counts on and nothing more: the vectors of h honest parties, out of the real
encoder with the real noise. The adversary sees the sum in the ring, before it is decoded, and calls it a canary if its inner product with
the canary is over a threshold.

From its errors follow two lower bounds on epsilon, each with 95 % confidence. The threshold is chosen on one half of the trials, the errors
are counted on the other.

- *Clopper-Pearson*: any (epsilon, delta)-private mechanism has TPR <= e^epsilon FPR + delta, and likewise with the worlds exchanged
  (Kairouz, Oh, Viswanath, *The Composition Theorem for Differential Privacy*, ICML 2015). Both rates get an exact binomial bound. It
  assumes nothing, and however many trials N there are, it cannot exceed about ln(N / 8).
- *Gaussian*: the largest mu for which the errors fit a Gaussian trade-off curve, and the epsilon of that (Nasr, Hayes, Steinke, Balle,
  Tramèr, Jagielski, Carlini, Terzis, *Tight Auditing of Differentially Private Machine Learning*, USENIX Security 2023). It is tight where
  the noise is close to Gaussian, which Skellam noise of this size is.

A lower bound over the claim would refute it. That the audit can find something is shown by breaking things: without noise, and with all
honest parties but one forgetting theirs, it has to exceed the claim.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.line import Line, Section
from benchmarks.progress import progress
from stfed.crypto.keystream import random_filler
from stfed.dp import calibrate_noise, epsilon_of, norm_bound_squared
from stfed.encoding import EncodingPlan, Vector, decode_sum, encode_update
from stfed.encoding.metrics import MetricSchema
from stfed.encoding.tensors import TensorSpec
from stfed.flower.dp import DistributedDp, sum_of
from stfed.flower.settings import Settings

PARTIES, SIZE, CLIP, DELTA = 20, 16, 1.0, 1e-5
EPSILONS = (0.5, 1.0, 2.0, 4.0)
CONFIDENCE = 0.95
_AT_ONCE = 256
"""Trials whose zeros are encoded as one long vector of zeros: that is what they are."""
_SIGMAS = 5.0
_TOO_LONG = 3.0
"""Times the clip that the canary is long before the encoder cuts it: an encoder that forgets to would be found."""

Floats = NDArray[np.float64]
NOISY, FORGOTTEN, OFF = "with noise", "all honest parties but one forget their noise", "noise turned off"


@dataclass(frozen=True)
class Bounds:
    """What an audit found.

    Attributes:
        variant: what was done to the noise.
        claimed: epsilon as the accountant has it.
        exact: the least epsilon that a test with these errors allows, by Clopper-Pearson.
        gaussian: by the Gaussian trade-off curve.
        fpr: false positive rate of the threshold test, on the half that counts.
        fnr: false negative rate.
    """

    variant: str
    claimed: float
    exact: float
    gaussian: float
    fpr: float
    fnr: float


@dataclass(frozen=True)
class Case:
    """One plan as a run has it, and who of its parties the guarantee counts on.

    Attributes:
        plan: with noise.
        honest: h.
        claimed: the epsilon of one sum.
    """

    plan: EncodingPlan
    honest: int
    claimed: float

    @classmethod
    def of(cls, epsilon: float, size: int = SIZE) -> Case:
        """What a run of one round and of this epsilon does, with a tenth of all parties corrupt and a tenth dropped."""
        settings = Settings(dp=DistributedDp(l2_clip=CLIP, noise_multiplier=1.0, delta=DELTA), uniform=True, gamma=0.1, delta=0.1)
        corrupt = settings.corrupt(PARTIES)

        def made(multiplier: float) -> EncodingPlan:
            dp = DistributedDp(l2_clip=CLIP, noise_multiplier=multiplier, delta=DELTA)
            return replace(settings, dp=dp).plan({"w": np.zeros(size)}, PARTIES)

        plan = made(calibrate_noise(epsilon, DELTA, 1, lambda multiplier: sum_of(made(multiplier), corrupt)))
        assert plan.noise is not None
        return cls(plan, plan.noise.survivors - corrupt, epsilon_of([sum_of(plan, corrupt)], DELTA, 1))

    @property
    def variance(self) -> float:
        """V, of one party's share."""
        assert self.plan.noise is not None
        return self.plan.noise.share_variance

    def quiet(self) -> Case:
        """The same with next to no noise: a variance that rounds to none."""
        assert self.plan.noise is not None
        return replace(self, plan=replace(self.plan, noise=replace(self.plan.noise, share_variance=2.0**-40)))

    def zeros(self, trials: int, fill: Callable[[NDArray[np.uint8]], None]) -> NDArray[np.int64]:
        """What a party without a canary sends: shape (trials, d), in ring units."""
        found = []
        for start in range(0, trials, _AT_ONCE):
            count, noise = min(_AT_ONCE, trials - start), self.plan.noise
            assert noise is not None
            size = count * self.plan.vector_length
            noise = replace(noise, norm_bound_squared=norm_bound_squared(noise.clip, self.plan.scale, size))  # zeros are short
            long = replace(self.plan, tensors=(TensorSpec("w", "float64", (size,)),), noise=noise)
            nothing = {"w": np.zeros(long.vector_length)}
            vector = encode_update(long, nothing, nothing, 1, {}, fill).vector
            found.append(centred(vector.ring, long.ring_bits).reshape(count, -1))
        return np.concatenate(found)

    def canaries(self, canary: Floats, trials: int, fill: Callable[[NDArray[np.uint8]], None]) -> NDArray[np.int64]:
        """What the party with the canary sends: shape (trials, d)."""
        received, trained = {"w": np.zeros_like(canary)}, {"w": canary}
        vectors = (encode_update(self.plan, received, trained, 1, {}, fill).vector for _ in range(trials))
        return np.stack([centred(vector.ring, self.plan.ring_bits) for vector in vectors])


def centred(words: NDArray[Any], bits: int) -> NDArray[np.int64]:
    """The representatives of ring words between -2^(b-1) and 2^(b-1)."""
    numbers = words.astype(np.int64) & ((1 << bits) - 1)
    return np.where(numbers >> (bits - 1), numbers - (1 << bits), numbers)


def audit(case: Case, variant: str, trials: int, seed: int) -> Bounds:
    """Plays both worlds so many times each and tests."""
    rng = np.random.default_rng([seed, int(1000 * case.claimed)])
    fill = random_filler(rng.bytes)
    direction = rng.standard_normal(case.plan.vector_length)
    canary = _TOO_LONG * CLIP * direction / np.linalg.norm(direction)
    mine = case.quiet() if variant == OFF else case
    others = case.quiet() if variant in (OFF, FORGOTTEN) else case
    turned = canary.copy()
    if case.plan.rotation is not None:
        case.plan.rotation.forward(turned, 0)

    def scores(own: NDArray[np.int64]) -> Floats:
        total = own
        for _ in range(case.honest - 1):
            total = total + others.zeros(trials, fill)
        return np.asarray(centred(total, case.plan.ring_bits) @ turned)

    absent, present = scores(mine.zeros(trials, fill)), scores(mine.canaries(canary, trials, fill))
    return bounds(variant, case.claimed, absent, present)


def bounds(variant: str, claimed: float, absent: Floats, present: Floats) -> Bounds:
    """The lower bounds from the scores of both worlds."""
    half = len(absent) // 2
    best = {"exact": (-1.0, 0.0), "gaussian": (-1.0, 0.0)}
    for threshold in np.quantile(np.concatenate([absent[:half], present[:half]]), np.linspace(0.002, 0.998, 250)):
        rates = _errors(absent[:half], present[:half], threshold)
        for name, value in (("exact", exact_bound(*rates, half)), ("gaussian", gaussian_bound(*rates, half))):
            best[name] = max(best[name], (value, float(threshold)))
    left = len(absent) - half
    chosen = {name: _errors(absent[half:], present[half:], threshold) for name, (_, threshold) in best.items()}
    fpr, fnr = (count / left for count in chosen["exact"])
    return Bounds(variant, claimed, exact_bound(*chosen["exact"], left), gaussian_bound(*chosen["gaussian"], left), fpr, fnr)


def _errors(absent: Floats, present: Floats, threshold: float) -> tuple[int, int]:
    """False positives and false negatives."""
    return int(np.count_nonzero(absent > threshold)), int(np.count_nonzero(present <= threshold))


def at_most(count: int, trials: int) -> float:
    """The largest rate that fits so many of so many (Clopper and Pearson). Two rates are bounded, so each with half the error."""
    from scipy.stats import beta

    return 1.0 if count == trials else float(beta.ppf(1 - (1 - CONFIDENCE) / 2, count + 1, trials - count))


def exact_bound(false_positives: int, false_negatives: int, trials: int) -> float:
    """The least epsilon that these errors allow at `DELTA`."""
    fpr, fnr = at_most(false_positives, trials), at_most(false_negatives, trials)
    found = (math.log((1 - one - DELTA) / other) for one, other in ((fnr, fpr), (fpr, fnr)) if one + DELTA < 1)
    return max(0.0, *found)


def gaussian_bound(false_positives: int, false_negatives: int, trials: int) -> float:
    """The epsilon at `DELTA` of the least mu-GDP curve that these errors allow."""
    from scipy.stats import norm

    mu = float(-norm.ppf(at_most(false_positives, trials)) - norm.ppf(at_most(false_negatives, trials)))
    return gaussian_epsilon(mu)


def gaussian_epsilon(mu: float) -> float:
    """The epsilon at `DELTA` of Gaussian noise with sensitivity / deviation mu (Balle and Wang, ICML 2018, Theorem 8)."""
    from scipy.optimize import brentq
    from scipy.stats import norm

    def over(epsilon: float) -> float:
        far = math.exp(min(epsilon + float(norm.logcdf(-epsilon / mu - mu / 2)), 700.0))
        return float(norm.cdf(-epsilon / mu + mu / 2)) - far - DELTA

    if mu <= 0 or over(0.0) <= 0:
        return 0.0
    return float(brentq(over, 0.0, mu * mu / 2 + 10 * mu + 1))


@dataclass(frozen=True)
class Spread:
    """The noise of decoded sums, as a share of what it should be, and by how many standard errors it is off."""

    parties: int
    ratio: float
    sigmas: float


def spread(case: Case, parties: int, seed: int) -> Spread:
    """The variance of the noise in the decoded sum of so many parties, by (number of parties) V."""
    fill = random_filler(np.random.default_rng([seed, parties]).bytes)
    nothing = {"w": np.zeros(case.plan.vector_length)}
    total = Vector.zeros(case.plan)
    for _ in range(parties):
        total.add(encode_update(case.plan, nothing, nothing, 1, {}, fill).vector, case.plan)
    total.reduce(case.plan)
    mean = decode_sum(case.plan, total, parties, nothing, MetricSchema.of({})).arrays["w"]
    units = np.asarray(mean) * parties * case.plan.scale
    ratio = float(np.mean(units**2) / (parties * case.variance))
    return Spread(parties, ratio, (ratio - 1) / math.sqrt(2 / len(units)))


def lines(found: Sequence[Bounds], spreads: Sequence[Spread]) -> list[Line]:
    """The bounds against the claims; then the noise."""
    table = []
    for one in found:
        which = f"Gaussian; Clopper-Pearson {one.exact:.2f}" if one.variant == NOISY else f"Clopper-Pearson; Gaussian {one.gaussian:.2f}"
        note = f"{which}; FPR {one.fpr:.3f}, FNR {one.fnr:.3f}"
        better = "less" if one.variant == NOISY else "more"
        name = f"claimed epsilon {one.claimed:.2f}, {one.variant}: measured lower bound"
        table.append(Line(name, one.gaussian if one.variant == NOISY else one.exact, "", one.claimed, better, note))
    spread_over = "noise in the decoded sum of {} parties: variance / ({} V)"
    return [
        *table,
        *(Line(spread_over.format(n.parties, n.parties), n.ratio, "x", note=f"{n.sigmas:+.1f} standard errors") for n in spreads),
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.privacy_audit", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one epsilon and few trials, in seconds")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--trials", type=int, default=20_000, help="of each world (default 20000)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)
    epsilons, trials, size = ((1.0,), 1000, 1024) if options.quick else (EPSILONS, options.trials, 1 << 15)
    found = []
    for epsilon in epsilons:
        case = Case.of(epsilon)
        for variant in (NOISY, FORGOTTEN, OFF):
            progress(f"audit: epsilon {epsilon:g}, {variant}")
            found.append(audit(case, variant, trials, options.seed))
    case = Case.of(1.0, size)
    survivors = case.plan.promised_survivors
    spreads = [spread(case, parties, options.seed) for parties in (case.honest, survivors, PARTIES)]
    title = f"{PARTIES} parties, h = {case.honest}, d = {SIZE}, delta = {DELTA:g}, {trials} trials of each world"
    data = {"bounds": [asdict(one) for one in found], "spreads": [asdict(one) for one in spreads], "plots": [plot(found)]}
    return Section("audit", title, lines(found, spreads), data, options.quick, wrong(found, spreads)).emit(options.json)


def wrong(found: Sequence[Bounds], spreads: Sequence[Spread]) -> list[str]:
    """What must not be: a bound over the claim, an audit that finds nothing where there is something, another variance."""
    complaints = []
    for one in found:
        low, high = sorted((one.exact, one.gaussian))
        if one.variant == NOISY and high > one.claimed:
            complaints.append(f"epsilon is {high:.2f} at least, {one.claimed:.2f} is claimed")
        if one.variant != NOISY and low <= one.claimed:
            complaints.append(f"{one.variant}: the audit finds {low:.2f}, though nobody could claim {one.claimed:.2f}")
    complaints += [
        f"the noise of {one.parties} parties has {one.ratio:.3f} times its variance" for one in spreads if abs(one.sigmas) > _SIGMAS
    ]
    return complaints


def plot(found: Sequence[Bounds]) -> dict[str, Any]:
    """Measured against claimed."""
    claimed = sorted({one.claimed for one in found})
    series = [{"name": "the claim", "x": claimed, "y": claimed, "line": True, "style": "--"}]
    for variant in dict.fromkeys(one.variant for one in found):
        mine = [one for one in found if one.variant == variant]
        x = [one.claimed for one in mine]
        if variant == NOISY:
            series.append({"name": f"{variant}, Gaussian", "x": x, "y": [one.gaussian for one in mine], "line": True, "style": "o-"})
        series.append({"name": f"{variant}, Clopper-Pearson", "x": x, "y": [one.exact for one in mine], "line": True, "style": "s-"})
    title = f"lower bounds on epsilon, {CONFIDENCE:.0%} confidence"
    return {"name": "epsilon", "title": title, "x": "claimed epsilon", "y": "measured lower bound", "series": series}


if __name__ == "__main__":
    raise SystemExit(main())
