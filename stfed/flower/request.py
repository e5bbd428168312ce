"""What a strategy asks for in one round, checked: one kind of message, one content for every node."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from flwr.app import Message, RecordDict
from numpy.typing import NDArray

from stfed.errors import LocalError
from stfed.flower import records
from stfed.secagg.messages import Phase


@dataclass(frozen=True, slots=True)
class Request:
    """What the strategy asks for: the same content for every node, as the transcript demands.

    Attributes:
        digest: of the content, `records.content_digest`.
    """

    phase: Phase
    message_type: str
    group_id: str
    content: RecordDict
    digest: bytes
    messages: Mapping[int, Message]

    @classmethod
    def of(cls, messages: Iterable[Message]) -> Request:
        """Checks the strategy's messages.

        Raises:
            LocalError: two messages for one node, mixed types, or content that differs between nodes.
        """
        by_node: dict[int, Message] = {}
        first: Message | None = None
        digest = b""
        for message in messages:
            node, message_type, group = message.metadata.dst_node_id, message.metadata.message_type, message.metadata.group_id
            if node in by_node:
                raise LocalError(f"the strategy sends two messages to node {node} in one round; a party has one vote in a sum")
            by_node[node] = message
            if first is None:
                first, digest = message, records.content_digest(message.content)
            elif (message_type, group) != (first.metadata.message_type, first.metadata.group_id):
                raise LocalError("the strategy mixes message types or group ids in one round; one sum is over one kind of reply")
            elif not _same_records(message.content, first.content) and records.content_digest(message.content) != digest:
                raise LocalError(
                    f"the strategy sends node {node} another model or config than node {first.metadata.dst_node_id}: everything a train "
                    "function receives must be the same for all parties, or their masks do not cancel",
                    hint="move what differs between parties into the nodes' own config",
                )
        assert first is not None, "the grid answers an empty request itself"
        message_type = first.metadata.message_type
        group_id = first.metadata.group_id
        return cls(records.phase_of(message_type), message_type, group_id, first.content, digest, by_node)

    def bound(self, run_config: bytes) -> bytes:
        """What the transcript has of this request, for parties with a run config of this digest."""
        return records.bound_digest(self.message_type, self.group_id, self.digest, run_config)

    def model(self) -> dict[str, NDArray[Any]]:
        """The model of a train request; an evaluation sums metrics only."""
        if self.phase is not Phase.TRAIN:
            return {}
        arrays = list(self.content.array_records.values())
        if len(arrays) != 1:
            raise LocalError(f"the strategy's train messages must have exactly one ArrayRecord, they have {len(arrays)}")
        return {name: array.numpy() for name, array in arrays[0].items()}

    def server_round(self) -> int | None:
        """Flower's round number, which its strategies put into the config."""
        rounds = [record.get("server-round") for record in self.content.config_records.values()]
        return next((value for value in rounds if isinstance(value, int)), None)


def _same_records(one: RecordDict, other: RecordDict) -> bool:
    """Whether two contents are made of the very same record objects, as FedAvg's are: nothing to hash again."""
    return one is other or (list(one) == list(other) and all(one[key] is other[key] for key in one))
