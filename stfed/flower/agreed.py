"""Whether this party has agreed to what its train or evaluate function is about to be given; asked before the function runs.

PREPARE has checked the encoding already, but the model and the config come with TRAIN, and an evaluation's encoding says nothing about the
model at all. What counts is what the function would see: the arrays as they are read, not as their records describe them, and every value
of the message's other records and of the run's config.
"""

from __future__ import annotations

from collections.abc import Iterator

from flwr.app import ArrayRecord, Context, RecordDict

from stfed.encoding.arrays import describe
from stfed.encoding.tensors import TensorSpec
from stfed.secagg.policy import Policy


def check_agreed(policy: Policy, content: RecordDict, context: Context) -> None:
    """Returns if the policy allows every model and every config value.

    Args:
        policy: this party's.
        content: the message's records, without ours.
        context: for the run config.

    Raises:
        PlanError: a model is not the one that the policy names.
        ConfigError: a value is not named in the policy, or outside its limits.
    """
    if policy.tensors is not None:
        for record in content.array_records.values():
            policy.check_tensors(_specs(record))
    if policy.config is not None:
        policy.check_config(_values(content, context))


def _values(content: RecordDict, context: Context) -> Iterator[tuple[str, object]]:
    for config in content.config_records.values():
        yield from config.items()
    for metrics in content.metric_records.values():
        yield from metrics.items()
    yield from context.run_config.items()


def _specs(record: ArrayRecord) -> Iterator[TensorSpec]:
    for name, array in record.items():
        yield TensorSpec(name, *describe(name, array.numpy()))
