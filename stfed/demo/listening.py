"""The coordinator that follows every step as it should, and keeps what it is sent: with plain averaging, and with secure sums."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, Message
from flwr.serverapp.strategy import FedAvg

from stfed.demo.clinics import CLINICS, Pixels, app, arrays_of, model, record
from stfed.demo.recovery import change_of, from_words, quotient
from stfed.flower import SecAggMod, SecureAggregation, records
from stfed.testing import InMemoryGrid


class Listening(InMemoryGrid):
    """Keeps each clinic's reply that holds arrays: an update in clear, or a masked one."""

    def __init__(self, *mods: Any) -> None:
        self.replies: dict[int, Message] = {}
        super().__init__(app(*mods), CLINICS, describe=records.describe)

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Notes what comes."""
        replies = super().pull_messages(message_ids)
        for reply in replies:
            if reply.has_content() and reply.content.array_records:
                self.replies[self.index(reply.metadata.src_node_id)] = reply
        return replies


def plain() -> dict[int, Pixels]:
    """What one round of plain FedAvg gives away, by clinic."""
    grid = Listening()
    FedAvg(fraction_evaluate=0.0).start(grid, record(model()), num_rounds=1)
    return {clinic: quotient(_change(reply.content.array_records["arrays"])) for clinic, reply in sorted(grid.replies.items())}


def secure(state: Path) -> tuple[dict[int, Pixels], Pixels]:
    """What one secure round gives away, by clinic, and what the sum does, which the coordinator may know.

    Args:
        state: an empty folder for the clinics' state.
    """
    grid = Listening(SecAggMod(state_dir=state))
    result = SecureAggregation(FedAvg(fraction_evaluate=0.0), uniform=True).start(grid, record(model()), num_rounds=1)
    found = {}
    for clinic, reply in sorted(grid.replies.items()):
        payload = records.unmasked(reply.content)[1]
        found[clinic] = from_words(np.frombuffer(payload[: len(payload) // 4 * 4], "<u4"))
    return found, quotient(_change(result.arrays))


def _change(arrays: ArrayRecord) -> dict[str, Pixels]:
    return change_of(model(), arrays_of(arrays))
