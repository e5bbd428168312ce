"""Differential privacy of noised sums: what one gives away, what all of them do, how much noise that takes, and where a run has to stop.

The noise itself is added by the parties, in `stfed.encoding`; here nothing is random and nothing secret. `docs/privacy.md` has the claim
with every constant, and what it does not cover.
"""

from stfed.dp.accountant import Accountant, calibrate_noise, epsilon_of
from stfed.dp.budget import Budget, BudgetError
from stfed.dp.mechanism import Sum
from stfed.dp.release import DpRelease
from stfed.encoding.normbound import norm_bound_squared

__all__ = ["Accountant", "Budget", "BudgetError", "DpRelease", "Sum", "calibrate_noise", "epsilon_of", "norm_bound_squared"]
