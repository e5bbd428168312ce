"""What a party's policy, and the key holder's, says to an encrypted sum; the same `Policy` as for masks, as far as it applies.

Whom a sum is of shows after a party has answered. So a party states the fewest that it is to be summed with (`Statement.least`, from
`min_survivors`, `honest_survivors` and `gamma`), and the key holder keeps to the most that any of them states. `allow_repeats` and
`fixed_encoding` need a memory of runs, which parties of one message each have not: the key holder's policy has the say there, and a party's
own is not asked. Nor are ring bits, thresholds and graphs, which encrypted sums have not. Refused outright: malicious mode, because nothing
here protects against who lies, and a policy that asks for noise.
"""

from __future__ import annotations

from stfed.flower.ckks.plan import SumPlan
from stfed.secagg.params import Mode
from stfed.secagg.policy import Policy
from stfed.secagg.refusals import ModeError, PlanError


def check_plan(policy: Policy, plan: SumPlan, round_: int) -> None:
    """Returns if this side agrees to the plan.

    Raises:
        ModeError: this side takes part in malicious mode only.
        CohortTooSmallError: too few parties are asked.
        RoundOrderError: too many rounds have been.
        PlanError: anything else that the policy does not allow.
    """
    if policy.mode is Mode.MALICIOUS:
        raise ModeError("encrypted sums hold against who is curious and not against who lies, and this policy asks for malicious mode")
    policy.check_cohort(plan.parties)
    policy.check_round(round_)
    if policy.noise_multiplier is not None:
        raise PlanError("the sum has no noise, this policy takes part in private ones only", hint="use masks with DistributedDp")
    for name, value, (low, high) in (("clip", plan.clip, policy.clip), ("largest weight", plan.max_weight, policy.max_weight)):
        if not low <= value <= high and not (plan.uniform and name == "largest weight"):
            raise PlanError(f"the {name} is {value:g}, this policy allows {low:g} to {high:g}")
    if not plan.uniform and plan.weight_key not in policy.weight_keys:
        raise PlanError(f"the weight is {plan.weight_key!r}, this policy allows {', '.join(map(repr, policy.weight_keys))}")
    if plan.elements > policy.max_parameters:
        raise PlanError(f"the model has {plan.elements} elements, this policy allows {policy.max_parameters}")
    if plan.tensors:
        policy.check_tensors(plan.tensors)
