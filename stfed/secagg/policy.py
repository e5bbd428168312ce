"""What a party decides alone, never on the coordinator's word.

A `Policy` is the party's own floor. A coordinator that asks for less is refused before anything is computed, with the number that was
asked and the number that is allowed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import frexp, inf

from stfed.encoding import EncodingPlan
from stfed.encoding.plan import CLIP_RANGE, MAX_RING_BITS, MAX_WEIGHT, MIN_RING_BITS, WEIGHT_FRACTION_BITS
from stfed.encoding.tensors import MAX_WORDS, TensorSpec
from stfed.errors import LocalError, shown
from stfed.secagg.conditions import quorum
from stfed.secagg.configlimit import ConfigLimit, check_config
from stfed.secagg.params import COMPLETE_UP_TO, MAX_PREPARES, Mode, accepts, corrupt_parties, dropped_parties
from stfed.secagg.policy_types import check_types
from stfed.secagg.refusals import CohortTooSmallError, ModeError, ParametersError, PlanError, RoundOrderError

_FINE_VARIANCE = 64.0
"""From this variance on, in ring units squared, Skellam noise costs at most 5 % more than normal noise of the same multiplier does at any
order: the second term of its bound (docs/privacy.md) by the first is at most (1 + 1.5) / mu. A coarser ring would weaken a multiplier."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A party's minimum.

    Attributes:
        mode: the security mode this party takes part in.
        gamma: share of parties, at most, that may be corrupt (colluding with the coordinator).
        delta: share of the cohort that may vanish at any step; needed for the connectivity of a sparse graph.
        min_cohort: fewest parties in a cohort.
        min_survivors: fewest parties in U1 and in U2.
        honest_survivors: fewest honest parties in a sum; a sum over fewer than corrupt + this many parties is refused. None: two, and
            three in malicious mode.
        min_threshold: smallest t.
        ring_bits: smallest and largest b, also where b follows from `EncodingPlan.value_bits` and the cohort.
        clip: smallest and largest clip of one coordinate, in units of the model. Where nearly everything is clipped, a sum shows signs: of
            the coordinates, or of the rotated ones, whose root mean square is the same. The rotation itself is no question of policy
            (`stfed.encoding.rotation` says why), but `fixed_encoding` holds it still.
        clip_moves: let the clip of a plan without noise move within a run, among the powers of two within `clip`. A clip that moves asks a
            question each time, and of these there are few (ADR 0029). With noise in the plan, `lets_clip_move` decides.
        max_weight: smallest and largest weight W that the coordinator may let one party have. Above the largest, a party with far more
            examples than the others is nearly alone in the mean. Below the smallest, the count of those that are over W, which is in the
            sum, asks one question about example counts a run. Not asked of uniform weights, where there is none.
        max_parameters: largest vector, in words.
        tensors: the model, where this party takes part with one only: names, dtypes and shapes, in any order; None: any. An evaluation
            sends none.
        weight_keys: metrics that may be the weight. The coordinator names one, and a number that is zero for most parties would single the
            others out.
        config: what the train and evaluate functions may be told, value by value, in a message or in the run's config; None: anything.
        max_rounds: largest round number of a run, and so the most sums in it: training and evaluation, failed ones and those prepared in
            vain, too. None: any; in malicious mode 2^24, which is what the parameters of a drawn graph are made for.
        max_skipped_rounds: how far a round number may jump (each skipped one costs a hash per pairwise key).
        eager_parties: directories up to this size have all pairwise keys agreed on at once, and the private key forgotten.
        noise_multiplier: smallest z of every sum, training and evaluation: the deviation of its noise by the largest norm of one party's
            vector, counting only the noise of as many parties as are certain to be honest and in the sum (`Noise.multiplier`). With
            `max_rounds` this bounds what a run can tell about this party, whatever the coordinator says. None: noise is not asked for.
        fixed_encoding: hold the coordinator to the encoding of a run's first round (clip, largest weight, bits, rotation, tensors).
        allow_repeats: whether this party works on the very same model and config a second time, within a run or in a later one. Where
            training is deterministic, the difference of two such sums is the update of whoever took part in only one of them.
        sigma: bits of statistical security.
        roster: N, the number of parties from which the coordinator can choose; None counts the cohort. A party that has a roster (malicious
            mode) counts that one instead.
    """

    mode: Mode = Mode.SEMI_HONEST
    gamma: float = 0.1
    delta: float = 0.1
    min_cohort: int = 3
    min_survivors: int = 2
    honest_survivors: int | None = None
    min_threshold: int = 2
    ring_bits: tuple[int, int] = (8, 64)
    clip: tuple[float, float] = (1e-3, 1e6)
    clip_moves: bool = False
    max_weight: tuple[float, float] = (1.0, 1e9)
    max_parameters: int = 1 << 32
    tensors: tuple[TensorSpec, ...] | None = None
    weight_keys: tuple[str, ...] = ("num-examples",)
    config: tuple[ConfigLimit, ...] | None = None
    max_rounds: int | None = None
    max_skipped_rounds: int = 1024
    eager_parties: int = 512
    noise_multiplier: float | None = None
    fixed_encoding: bool = True
    allow_repeats: bool = False
    sigma: int = 40
    roster: int | None = None

    def __post_init__(self) -> None:
        # Checked here, where the party's owner sees it, and not in the first PREPARE, where the coordinator would.
        check_types({name: getattr(self, name) for name in self.__dataclass_fields__})
        corrupt_parties(self.min_cohort, self.gamma, self.roster)
        dropped_parties(self.min_cohort, self.delta)
        if self.min_cohort < 2:
            raise LocalError(f"min_cohort is {self.min_cohort}; a cohort of one is never a sum", hint="use 2 or more")
        if self.min_survivors < 2:
            raise LocalError(f"min_survivors is {self.min_survivors}; a sum over one party is that party's update", hint="use 2 or more")
        if self.honest_survivors is not None and self.honest_survivors < 2:
            raise LocalError(
                f"honest_survivors is {self.honest_survivors}; one honest party has nobody to hide among", hint="use 2 or more"
            )
        _check_range("ring_bits", self.ring_bits, MIN_RING_BITS, MAX_RING_BITS)
        _check_range("clip", self.clip, *CLIP_RANGE)
        _check_range("max_weight", self.max_weight, 2.0**-WEIGHT_FRACTION_BITS, MAX_WEIGHT)
        for name, least, most in (
            ("min_threshold", 1, inf),
            ("sigma", 1, 256),
            ("max_parameters", 1, MAX_WORDS),
            ("max_rounds", 1, inf),
            ("max_skipped_rounds", 0, 1 << 32),
            ("eager_parties", 0, inf),
            ("roster", 1, inf),
            ("noise_multiplier", 1e-3, inf),
        ):
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise LocalError(f"{name} is {value}, it must be at least {least}" + (f" and at most {most}" if most < inf else ""))
        if self.tensors is not None and len({spec.name for spec in self.tensors}) < len(self.tensors):
            raise LocalError("two of the allowed tensors have the same name")
        if self.config is not None and len({limit.name for limit in self.config}) < len(self.config):
            raise LocalError("two of the allowed config values have the same name")

    @property
    def honest_floor(self) -> int:
        """`honest_survivors`, or what stands for None."""
        return self.honest_survivors or (3 if self.mode is Mode.MALICIOUS else 2)

    def floor(self, n: int, k: int) -> int:
        """The fewest members that U1 and U2 may have in a cohort of n with k neighbours each.

        On a sparse graph in semi-honest mode the sum stays one sum only while the graph of those left is connected, which the calculator
        promises for at most floor(delta n) drops: a coordinator that lets more drop could read the sums of the pieces. In malicious mode
        the pieces are bounded whoever drops (ADR 0018); the same floor makes sure that what the party is told of delta holds.
        """
        least = max(self.min_survivors, corrupt_parties(n, self.gamma, self.roster) + self.honest_floor)
        return least if k >= n - 1 else max(least, n - dropped_parties(n, self.delta))

    def check_mode(self, mode: Mode) -> None:
        """Refuses a round of another mode, also one that began before the policy changed."""
        if mode is not self.mode:
            raise ModeError(f"the round is not in this party's mode, {self.mode.value}")

    def check_cohort(self, n: int) -> None:
        """Refuses a cohort below the minimum.

        Raises:
            CohortTooSmallError: n is below `min_cohort` or below what the corrupt share leaves room for.
        """
        least = max(self.min_cohort, self.floor(n, n - 1))
        if n < least:
            raise CohortTooSmallError(
                f"the cohort has {n} parties, this party takes part in {least} or more",
                hint="sample more parties per round, or lower min_cohort in the party's policy",
            )

    def check_alive(self, alive: int, n: int, k: int, what: str, *, promised: int = 1) -> None:
        """Refuses a U1 or U2 below the floor, or below what the plan promises: a smaller sum would have too little noise."""
        least = max(self.floor(n, k), promised)
        if alive < least:
            raise CohortTooSmallError(f"{what} has {alive} of {n} parties, this party takes part with {least} or more")

    def quorum(self, n: int) -> int:
        """The confirmations that a survivor set needs in a cohort of n: two sets with so many share an honest signer, who signs one."""
        return quorum(n, corrupt_parties(n, self.gamma, self.roster))

    def check_parameters(self, n: int, k: int, t: int) -> None:
        """Refuses (k, t) that do not reach this party's security level.

        Raises:
            ParametersError: with the condition that fails.
        """
        least = self.min_threshold
        if k < n - 1 and n <= COMPLETE_UP_TO:
            raise ParametersError(
                f"k = {k} of {n - 1} neighbours: up to {COMPLETE_UP_TO} parties this party takes part in complete graphs only",
                hint="leave the number of neighbours out",
            )
        if k == n - 1:
            # A majority, where drops allow it: then a coordinator that tells half of the holders that a party is alive and the other half
            # that it is dead gets neither of its secrets.
            least = max(least, min(k // 2 + 1, n - 1 - dropped_parties(n, self.delta)))
            if self.mode is Mode.MALICIOUS:
                # The others release the shares of this party's seed under their own policies. What it holds them to is t alone: t - C of
                # its holders are honest and in the sum, and so is it (docs/security.md, Lemma 3).
                wanted = max(self.honest_floor, self.min_survivors)
                least = max(least, min(k, wanted + corrupt_parties(n, self.gamma, self.roster) - 1))
        if t < least:
            raise ParametersError(
                f"t = {t} shares reconstruct a secret, this party asks for {least} or more",
                hint="leave the threshold out: it is chosen well",
            )
        # On a complete graph drops decide whether the round ends, not what it reveals, and that is the coordinator's worry.
        delta = self.delta if k < n - 1 else 0.0
        try:
            accepts(n, k, t, self.gamma, delta, self.mode, self.roster, self.sigma, h_min=self.honest_floor)
        except LocalError as error:
            raise ParametersError(error.message, hint=error.hint) from None

    def check_plan(self, plan: EncodingPlan, n: int, k: int) -> None:
        """Refuses an encoding outside this party's bounds.

        Args:
            plan: the encoding.
            n: parties in the cohort.
            k: neighbours of each.

        Raises:
            PlanError: ring, clip or size are outside the bounds, or the ring is not sized for n parties.
        """
        low, high = self.ring_bits
        if not low <= plan.ring_bits <= high:
            raise PlanError(f"the ring has {plan.ring_bits} bits, this party allows {low} to {high}")
        if not self.clip[0] <= plan.clip <= self.clip[1]:
            raise PlanError(f"the clip is {plan.clip:g}, this party allows {self.clip[0]:g} to {self.clip[1]:g}")
        if not plan.uniform and not self.max_weight[0] <= plan.max_weight <= self.max_weight[1]:
            low_weight, high_weight = self.max_weight
            raise PlanError(f"the largest weight is {plan.max_weight:g}, this party allows {low_weight:g} to {high_weight:g}")
        if plan.vector_length + plan.wide_length > self.max_parameters:
            raise PlanError(f"the vector has {plan.vector_length + plan.wide_length} words, this party allows {self.max_parameters}")
        if not plan.uniform and plan.weight_key not in self.weight_keys:
            raise PlanError(
                f"the weight is {plan.weight_key!r}, this party allows {', '.join(map(repr, self.weight_keys))}",
                hint="name it in weight_keys of the party's policy, or use uniform weights",
            )
        if plan.parties != n:
            raise PlanError(f"the encoding is sized for {plan.parties} parties, the cohort has {n}")
        if plan.noise is not None and self.mode is Mode.MALICIOUS and k < n - 1:
            # What a lying coordinator can get there is a sum over a piece of U2 (docs/security.md, Large cohorts), whose noise is less.
            raise PlanError("in malicious mode sums with noise take a complete graph", hint='graph="complete", or smaller cohorts')
        if self.noise_multiplier is not None:
            self._check_noise(plan, self.noise_multiplier)
        if plan.tensors:
            self.check_tensors(plan.tensors)

    def _check_noise(self, plan: EncodingPlan, least: float) -> None:
        if plan.noise is None:
            raise PlanError("the sum has no noise, this party takes part in private ones only", hint="set dp=DistributedDp(...)")
        corrupt = corrupt_parties(plan.parties, self.gamma, self.roster)
        if (plan.noise.survivors - corrupt) * plan.noise.share_variance < _FINE_VARIANCE:
            raise PlanError(
                f"the noise of a sum has a variance of less than {_FINE_VARIANCE:g} units, which is too coarse to be like normal noise",
                hint="use more ring bits",
            )
        found = plan.noise.multiplier(corrupt)
        if found < least:
            raise PlanError(
                f"the noise multiplier is {found:.4g} with what this party assumes to be corrupt, it asks for {least:g} or more",
                hint="raise noise_multiplier, or compare gamma",
            )

    def lets_clip_move(self, plan: EncodingPlan) -> bool:
        """Whether the coordinator may change a plan's clip from round to round.

        What a clip cuts is counted and is no longer in the sum: one clip after another asks one question after another. Without noise the
        owner may allow it, among powers of two only: a run can ask no more questions than there are of these within the policy's bounds.
        With noise, where this party asks for it, questions have their price in what it has agreed to; elsewhere they need noise that hides
        a party in each count (`Noise.norm_bit`).
        """
        if plan.noise is None:
            return self.clip_moves and frexp(plan.clip)[0] == 0.5
        corrupt = corrupt_parties(plan.parties, self.gamma, self.roster)
        return self.noise_multiplier is not None or plan.noise.hidden_votes(corrupt) >= 1

    def check_round(self, round_: int) -> None:
        """Refuses a round over the limit.

        Raises:
            RoundOrderError: `max_rounds` sums of this run are behind us, or given up.
        """
        most = self.max_rounds
        if self.mode is Mode.MALICIOUS:
            most = min(most or MAX_PREPARES, MAX_PREPARES)
        if most is not None and round_ > most:
            raise RoundOrderError(f"round {round_} is over this party's limit of {most} sums per run")

    def check_config(self, values: Iterable[tuple[str, object]]) -> None:
        """Refuses a config that this party has not agreed to.

        Args:
            values: whatever the train or evaluate function can read, by name; a name may come twice.

        Raises:
            ConfigError: with the first value that is not named in the policy, or outside its limits.
        """
        if self.config is not None:
            check_config(self.config, values)

    def check_tensors(self, tensors: Iterable[TensorSpec]) -> None:
        """Refuses a model that is not the one this party takes part with.

        Raises:
            PlanError: with the first tensor that is unknown, changed or missing.
        """
        if self.tensors is None:
            return
        missing = {spec.name: spec for spec in self.tensors}
        for spec in tensors:
            allowed = missing.pop(spec.name, None)
            if allowed is None:
                raise PlanError(f"the model has a tensor {shown(spec.name)}, which this party does not allow")
            if allowed != spec:
                raise PlanError(f"the tensor {shown(spec.name)} is {_described(spec)}, this party allows {_described(allowed)}")
        if missing:
            raise PlanError(f"the model has no tensor {shown(min(missing))}, without which this party does not take part")


def _check_range(name: str, bounds: tuple[float, float], least: float, most: float) -> None:
    low, high = bounds
    if not least <= low <= high <= most:
        raise LocalError(f"{name} is {low:g} to {high:g}", hint=f"give the smallest and the largest, between {least:g} and {most:g}")


def _described(spec: TensorSpec) -> str:
    return f"{spec.dtype}[{', '.join(map(str, spec.shape))}]"
