"""What TRAIN takes up from a party: d b / 8 bytes, the exact numbers, and a frame of fixed size; nothing that grows with k or n."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from stfed.encoding import EncodingPlan, TensorSpec, Vector
from stfed.secagg.params import Mode, choose
from stfed.secagg.policy import Policy
from stfed.testing.protocol import LocalProtocol

D = 1003
COHORTS = [
    (4, {}),
    (12, {}),
    (24, {}),
    (40, {"graph": "sparse", "gamma": 0.0, "delta": 0.05}),
    (7, {"mode": Mode.MALICIOUS}),
]


def frames(n: int, ring: dict[str, int], settings: dict[str, Any]) -> tuple[set[int], EncodingPlan]:
    """How many bytes each party's TRAIN reply has beyond its packed coordinates and its exact numbers."""
    gamma, delta = settings.pop("gamma", 0.1), settings.pop("delta", 0.1)
    parameters = choose(n, gamma, delta, **settings)
    protocol = LocalProtocol(n, Policy(mode=parameters.mode, gamma=gamma, delta=delta), seed="upload")
    plan = EncodingPlan((TensorSpec("w", "float32", (D,)),), n, metric_slots=2, **ring)
    rng = np.random.default_rng(0)
    words = rng.integers(0, 1 << plan.ring_bits, (n, D), np.uint64).astype(plan.lane)
    protocol.sum_round(plan, parameters, lambda node: Vector(words[node], np.zeros(plan.wide_length, np.uint32)))
    sent = Counter[int]()  # the reply and the vector, by party
    for step, way, node, data in protocol.log:
        sent[node] += len(data) if (step, way) == ("train", "up") else 0
    assert len(sent) == n
    return {size - -(-D * plan.ring_bits // 8) - 4 * plan.wide_length for size in sent.values()}, plan


@pytest.mark.parametrize("ring", [{"value_bits": 8}, {"value_bits": 10}, {"ring_bits": 32}], ids=str)
def test_a_party_uploads_its_coordinates_and_nothing_that_grows(ring: dict[str, int]) -> None:
    by_mode: dict[Mode, set[int]] = {}
    for n, settings in COHORTS:
        found, plan = frames(n, ring, dict(settings))
        by_mode.setdefault(settings.get("mode", Mode.SEMI_HONEST), set()).update(found)
        assert plan.wide_length <= 4 + 2 * 5  # weight, two counts and two metrics, in limbs of 30 bits
    assert all(len(found) == 1 for found in by_mode.values())
    assert max(max(found) for found in by_mode.values()) < 256
