"""`hold_mod`: stops a party at a protocol step, for scripts that kill it there.

A script writes an empty file with the name of a step into the folder that the node config calls `hold`. The party does that step whole,
with everything that is to be durable, and does not send its reply: the file becomes STEP.held, and the party waits to be killed. That is
the worst moment to die at: what the party has promised itself stands, and nobody else knows.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from flwr.app import Context, Message

from stfed.flower import records

HELD = ".held"
_LONGEST_S = 600.0


def hold_mod(message: Message, context: Context, call_next: Callable[[Message, Context], Message]) -> Message:
    """Put it in front of `secagg_mod`: what it holds back is the finished reply."""
    described, folder = records.describe(message), context.node_config.get("hold")
    reply = call_next(message, context)
    if described is None or not isinstance(folder, str):
        return reply
    order = Path(folder) / described[0]
    if order.exists():
        order.rename(order.with_name(order.name + HELD))
        time.sleep(_LONGEST_S)
    return reply
