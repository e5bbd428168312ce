"""What a strategy gets back: replies of nodes with means in them, never with one party's update."""

from __future__ import annotations

from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from numpy.typing import NDArray

from stfed.encoding import DecodedSum
from stfed.flower import votes
from stfed.flower.request import Request
from stfed.secagg.messages import Phase


class SharedArray(Array):
    """An Array that is decoded already. Every synthetic reply holds the same one, and a strategy reads it once per reply."""

    @classmethod
    def of(cls, values: NDArray[Any]) -> SharedArray:
        """The array of these values, which are made read-only."""
        array = cls(values)
        values.flags.writeable = False
        array.__dict__["_values"] = values
        return array

    def numpy(self) -> NDArray[Any]:
        """The values, not to be written to."""
        values: NDArray[Any] = self.__dict__["_values"]
        return values


def of_parties(request: Request, result: DecodedSum, nodes: tuple[int, ...], weight_key: str, *, uniform: bool) -> list[Message]:
    """One reply per party summed: the mean, and total/count as its weight. Of votes, as many replies have a 1 as parties did."""
    metrics: dict[str, Any] = {**result.metrics, weight_key: result.total_weight / len(nodes)}
    arrays = _arrays(request, result)
    ones = votes.ones(result.metrics, len(nodes)) if uniform and request.phase is Phase.TRAIN else None
    replies = []
    for at, node in enumerate(nodes):
        own = metrics if ones is None else {**metrics, votes.VOTE: int(at < ones)}
        replies.append(Message(RecordDict({**arrays, "metrics": MetricRecord(own)}), reply_to=request.messages[node]))
    return replies


def of_group(request: Request, result: DecodedSum, nodes: tuple[int, ...], weight_key: str) -> Message:
    """One reply for all of a group, in the name of its first party: the mean, and the total weight."""
    metrics: dict[str, Any] = {**result.metrics, weight_key: result.total_weight}
    return Message(RecordDict({**_arrays(request, result), "metrics": MetricRecord(metrics)}), reply_to=request.messages[nodes[0]])


def _arrays(request: Request, result: DecodedSum) -> dict[str, ArrayRecord]:
    """The mean of the models, under the key of the strategy's own; an evaluation has none."""
    if request.phase is not Phase.TRAIN:
        return {}
    record = ArrayRecord()
    for name, values in result.arrays.items():
        record[name] = SharedArray.of(np.asarray(values))  # the constructor would make plain ones of them
    return {next(iter(request.content.array_records)): record}
