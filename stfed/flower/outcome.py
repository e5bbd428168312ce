"""What a party's train or evaluate function returned, taken apart for a sum: the same for masks and for encrypted sums.

What cannot be summed is refused in one and the same words, whatever the reason: which bound a party's numbers break would tell the
coordinator, who chooses the bounds, about the numbers. The reason is in the party's own log.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from flwr.app import RecordDict

from stfed.encoding import Array
from stfed.errors import LocalError
from stfed.flower.views import views
from stfed.secagg.messages import Phase

log: logging.Logger = logging.getLogger("stfed")


class TrainFunctionError(LocalError):
    """The party's own function failed, or returned what secure aggregation cannot carry."""


class Weighing(Protocol):
    """Of a plan, how parties weigh."""

    @property
    def weight_key(self) -> str:
        """The metric that is the weight."""
        ...

    @property
    def uniform(self) -> bool:
        """Whether everybody weighs 1."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is to be summed.

    Attributes:
        trained: the model, by tensor; empty for an evaluation.
        weight: as the function returned it, unchecked.
        metrics: all others.
    """

    trained: Mapping[str, Array]
    weight: object
    metrics: dict[str, Any]


@contextmanager
def taken_apart(reply: RecordDict, phase: Phase, plan: Weighing) -> Iterator[Outcome]:
    """The reply's parts; inside, whatever they break is refused without saying what.

    Raises:
        TrainFunctionError: the reply has other records, or the block raised a `LocalError`.
    """
    train = phase is Phase.TRAIN
    arrays, metrics = list(reply.array_records.values()), list(reply.metric_records.values())
    expected = "one ArrayRecord and one MetricRecord" if train else "one MetricRecord"
    if len(arrays) != train or len(metrics) != 1 or reply.config_records:
        raise TrainFunctionError(
            f"the reply must be {expected} and nothing else: everything in it is summed, nothing leaves in clear; "
            f"it has {len(arrays)} ArrayRecords, {len(metrics)} MetricRecords and {len(reply.config_records)} ConfigRecords"
        )
    try:
        values: dict[str, Any] = dict(metrics[0])
        weight = values.pop(plan.weight_key, 1 if plan.uniform else None)
        if weight is None:
            raise LocalError(f"the MetricRecord has no {plan.weight_key!r}, which is the weight")
        yield Outcome(views(arrays[0]) if train else {}, weight, values)
    except LocalError as error:
        log.error("the reply of the %s function cannot be summed: %s", phase.name.lower(), error)
        raise TrainFunctionError(
            f"the reply of the {phase.name.lower()} function cannot be summed", hint="details are in this party's own log"
        ) from None
