"""Every strategy of `flwr.serverapp.strategy` and what becomes of it over secure sums: data of docs/strategies.md and test_matrix.py.

    python -m tests.flower.matrix        # writes the table into docs/strategies.md

How far a secure run may be from the same run in the clear, on Flower's own averaging, with the same parties. Let e_t be the error of the
secure mean of round t: the report's `error_bound`, plus the float32 roundings of Flower's averaging, once in each of the two runs. A party
here adds a fixed change to whatever model it gets, so an error of the model passes through it unchanged and cancels in the difference
d_t = mean - model that server optimisers look at: d_t is off by e_t and nothing else. With |d_t| <= D:

- FedAvg, FedProx: the model is the mean, its error the sum of the e_t. So it is for a median, a trimmed mean and the mean of selected
  updates: none of them moves further than the updates do, while the same are selected, and no two here are so close that they swap.
- FedAvgM: v_t = beta v_(t-1) - d_t is off by E_t = beta E_(t-1) + e_t, the model by lr times the sum of the E_t.
- FedAdam, FedAdagrad, FedYogi: the model moves by eta_t m_t / (s_t + tau). m_t is a sum of the d_t with weights that add up to
  c = 1 - beta_1^t, off by c M with M = max e_t, and at most c D. s_t is the root of a weighted sum of squares of the d_t, for Adam and
  Adagrad a Euclidean norm with weights that add up to q (1 - beta_2^t, or t) and so off by S_t = sqrt(q) M. FedYogi's sum has signs, the
  same ones in both runs; it is off by at most 2 D M (1 - beta_2) t, and its root by S_t, the root of that. The quotient is then off by
  c M / tau + c D S_t / tau^2.
- Clipping wrappers: a clipped change is scaled by its norm, which an error of the model moves in proportion: a factor of 3 in two rounds.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from flwr.clientapp.mod import adaptiveclipping_mod, fixedclipping_mod
from flwr.serverapp import strategy as flower
from flwr.serverapp.strategy import FedAvg, Strategy

from stfed.errors import LocalError
from stfed.flower import SecureAggregation
from tests.flower import apps

PAGE = Path(__file__).parents[2] / "docs" / "strategies.md"
_SPOT = re.compile(r"(<!-- computed -->\n).*?(<!-- end -->)", re.DOTALL)

LARGEST_DIFFERENCE = 0.25
"""D. The changes are normal with deviation 0.1, their means over five parties stay below this; checked."""
ETA, TAU, BETA_2 = 0.1, 0.1, 0.99
NORM = 0.6
"""The changes have a norm of about 0.1 * sqrt(41) = 0.64: this one clips some parties and not others."""

How = Literal["unchanged", "with groups", "refused"]
Tolerance = Callable[[Sequence[float]], float]


def added(errors: Sequence[float]) -> float:
    return sum(errors)


def scaled(errors: Sequence[float]) -> float:
    return 3 * sum(errors)


def with_momentum(rate: float, beta: float) -> Tolerance:
    def tolerance(errors: Sequence[float]) -> float:
        total = velocity = 0.0
        for error in errors:
            velocity = beta * velocity + error
            total += rate * velocity
        return total

    return tolerance


def adaptive(rate: Callable[[int], float], beta_1: float, root_error: Callable[[int, float], float]) -> Tolerance:
    def tolerance(errors: Sequence[float]) -> float:
        worst = max(errors)
        return sum(
            rate(t) * (1 - beta_1**t) * (worst / TAU + LARGEST_DIFFERENCE * root_error(t, worst) / TAU**2)
            for t in range(1, len(errors) + 1)
        )

    return tolerance


def adam_rate(t: int) -> float:
    return ETA * math.sqrt(1 - BETA_2 ** (t + 1)) / (1 - 0.9 ** (t + 1))


def alike(partition: int, arrays: apps.Arrays, server_round: int) -> apps.Trained:
    """Every party has as many examples as the others, so that a plain run weights them as uniform weights do."""
    return apps.update(partition, arrays, server_round), {"num-examples": 10, "train_loss": apps.loss_of(partition, server_round)}


def evaluate_alike(partition: int, arrays: apps.Arrays, server_round: int) -> dict[str, Any]:
    return {**apps.evaluate(partition, arrays, server_round), "num-examples": 10}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One strategy.

    Attributes:
        how: it runs unchanged, with groups, or is refused.
        build: makes one.
        note: what to set or to know, for the docs; of a refused one the refusal itself is shown.
        settings: of `SecureAggregation`.
        tolerance: how far the model may be off after rounds with these errors.
        parties: how many.
        train, evaluate: what they do.
        train_mods: what they train behind.
    """

    how: How
    build: Callable[[], Strategy]
    note: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    tolerance: Tolerance = added
    parties: int = 5
    train: Callable[..., apps.Trained] = apps.train
    evaluate: Callable[..., dict[str, Any]] = apps.evaluate
    train_mods: tuple[Any, ...] = ()


def refused(build: Callable[[], Strategy]) -> Row:
    return Row(how="refused", build=build)


def with_groups(build: Callable[[], Strategy], groups: int, note: str) -> Row:
    return Row(how="with groups", build=build, note=note, settings={"group_size": 3, "max_weight": 256}, parties=3 * groups)


ROWS: dict[str, Row] = {
    "FedAvg": Row(how="unchanged", build=FedAvg, note="The place to start."),
    "FedAvgM": Row(
        how="unchanged",
        build=lambda: flower.FedAvgM(server_learning_rate=0.7, server_momentum=0.9),
        tolerance=with_momentum(0.7, 0.9),
        note="Its momentum is of mean updates.",
    ),
    "FedAdam": Row(
        how="unchanged",
        build=lambda: flower.FedAdam(eta=ETA, tau=TAU, beta_2=BETA_2),
        tolerance=adaptive(adam_rate, 0.9, lambda t, e: math.sqrt(1 - BETA_2**t) * e),
        note="Set `tau` well above the precision of the mean: it divides by it.",
    ),
    "FedAdagrad": Row(
        how="unchanged",
        build=lambda: flower.FedAdagrad(eta=ETA, tau=TAU),
        tolerance=adaptive(lambda t: ETA, 0.0, lambda t, e: math.sqrt(t) * e),
        note="As FedAdam.",
    ),
    "FedYogi": Row(
        how="unchanged",
        build=lambda: flower.FedYogi(eta=ETA, tau=TAU, beta_1=0.9, beta_2=BETA_2),
        tolerance=adaptive(lambda t: ETA, 0.9, lambda t, e: math.sqrt(2 * LARGEST_DIFFERENCE * e * (1 - BETA_2) * t)),
        note="As FedAdam.",
    ),
    "FedProx": Row(
        how="unchanged",
        build=lambda: flower.FedProx(proximal_mu=0.1),
        note="The proximal term is the train function's; `proximal-mu` reaches it in the config, as always.",
    ),
    "DifferentialPrivacyClientSideFixedClipping": Row(
        how="unchanged",
        build=lambda: flower.DifferentialPrivacyClientSideFixedClipping(
            FedAvg(), noise_multiplier=0.05, clipping_norm=NORM, num_sampled_clients=5
        ),
        tolerance=scaled,
        train_mods=(fixedclipping_mod,),
        note="The clipping mod goes to the train function, behind `secagg_mod`. The coordinator adds the noise and sees the sum "
        "without it; `dp=DistributedDp(...)` has the parties add it. An accountant needs `uniform=True`.",
    ),
    "DifferentialPrivacyClientSideAdaptiveClipping": Row(
        how="unchanged",
        build=lambda: flower.DifferentialPrivacyClientSideAdaptiveClipping(
            FedAvg(), noise_multiplier=0.5, num_sampled_clients=5, initial_clipping_norm=NORM, clip_norm_lr=0.2, clipped_count_stddev=0.3
        ),
        settings={"uniform": True},
        tolerance=scaled,
        train=alike,
        evaluate=evaluate_alike,
        train_mods=(adaptiveclipping_mod,),
        note="As above, with `uniform=True`: it counts the parties that had to clip.",
    ),
    "FedMedian": with_groups(flower.FedMedian, 3, "3 groups or more."),
    "FedTrimmedAvg": with_groups(lambda: flower.FedTrimmedAvg(beta=0.2), 5, "As many groups as make `int(beta * groups)` 1 or more."),
    "Krum": with_groups(
        lambda: flower.Krum(num_malicious_nodes=1),
        5,
        "2 f + 3 groups or more; f, `num_malicious_nodes`, counts groups with somebody malicious in them.",
    ),
    "MultiKrum": with_groups(
        lambda: flower.MultiKrum(num_malicious_nodes=1, num_nodes_to_select=3), 5, "As Krum; `num_nodes_to_select` counts groups, too."
    ),
    "Bulyan": with_groups(lambda: flower.Bulyan(num_malicious_nodes=1), 7, "4 f + 3 groups or more; f counts groups."),
    "QFedAvg": refused(lambda: flower.QFedAvg(client_learning_rate=0.1)),
    "FedXgbBagging": refused(flower.FedXgbBagging),
    "FedXgbCyclic": refused(flower.FedXgbCyclic),
    "DifferentialPrivacyServerSideFixedClipping": refused(
        lambda: flower.DifferentialPrivacyServerSideFixedClipping(FedAvg(), noise_multiplier=1, clipping_norm=1, num_sampled_clients=5)
    ),
    "DifferentialPrivacyServerSideAdaptiveClipping": refused(
        lambda: flower.DifferentialPrivacyServerSideAdaptiveClipping(FedAvg(), noise_multiplier=0.1, num_sampled_clients=5)
    ),
}


def refusal(row: Row) -> LocalError:
    """What a user is told who wraps the strategy and sets nothing."""
    try:
        SecureAggregation(row.build())
    except LocalError as error:
        return error
    raise AssertionError("it is not refused")


def table() -> list[str]:
    """The rows as the docs have them; the words of a refusal are those of the error."""
    lines = ["| strategy | runs | what to know |", "|---|---|---|"]
    for name, row in ROWS.items():
        if row.how == "refused":
            error = refusal(row)
            note = f"{error.message.partition(': ')[2]}. Instead: {error.hint}."
        else:
            note = row.note
        lines.append(f"| {name} | {'with `group_size`' if row.how == 'with groups' else row.how} | {note} |")
    return lines


def written(text: str) -> str:
    """The page with the table."""
    text, places = _SPOT.subn(lambda match: match[1] + "\n".join(["", *table(), "", ""]) + match[2], text)
    if places != 1:
        raise ValueError(f"{PAGE.name} has {places} places for the table")
    return text


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
    sys.exit(0)
