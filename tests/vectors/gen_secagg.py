"""Vectors of `stfed.secagg`: whole rounds, every message as it crossed, with scripted randomness.

A party's randomness is the AES-256 counter keystream (`stfed.crypto.keystream`) under SHA-256 of "<seed>/<node>", taken from the front:
its X25519 private key, its identity, then what each PREPARE draws. Inputs are SHA-256 in counter mode, so that they have no pattern.

A file is JSON: what the round is, the inputs by node, the messages in the order in which they crossed ("down" is coordinator to party,
"up" the reply, "vector" the masked vector beside a reply to TRAIN), and what came out. The small rounds have the messages in hex; the
Harary graph has their length and SHA-256, because forty parties send half a megabyte.

In malicious mode a party's Ed25519 seed is the first 32 bytes of the same keystream under SHA-256 of "identity <node>", and its public key
stands in its JOIN in the place of random bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from copy import deepcopy
from typing import Any

import numpy as np

from stfed.encoding import EncodingPlan, TensorSpec, Vector, pack_vector
from stfed.encoding.wide import LIMB_BITS
from stfed.secagg.params import Mode, choose
from stfed.secagg.policy import Policy
from stfed.testing.protocol import LocalProtocol

RUN = 0x5354_4645_4400_0001
STEPS = ("join", "prepare", "train", "confirm", "unmask")
CONTENT = hashlib.sha256(b"model and config").digest()


def words(name: str, count: int, bits: int) -> np.ndarray:
    """That many words of this many bits, from a name."""
    stream = b"".join(hashlib.sha256(f"{name}/{block}".encode()).digest() for block in range(count // 4 + 1))
    return np.frombuffer(stream, "<u8")[:count] & np.uint64((1 << bits) - 1)


def inputs(plan: EncodingPlan, n: int) -> list[Vector]:
    return [
        Vector(
            words(f"ring of {node}", plan.vector_length, plan.ring_bits).astype(plan.lane),
            words(f"wide of {node}", plan.wide_length, LIMB_BITS).astype(np.uint32),
        )
        for node in range(n)
    ]


def round_of(
    n: int,
    seed: str,
    *,
    ring_bits: int = 20,
    shares: tuple[float, float] = (0.1, 0.1),
    drops: Mapping[str, Collection[int]] | None = None,
    mode: Mode = Mode.SEMI_HONEST,
    hashed: bool = False,
) -> dict[str, Any]:
    """One epoch and one round in it; `drops` as in `LocalProtocol.sum_round`."""
    drops = drops or {}
    cohort = n - len(drops.get("join", ()))
    parameters = choose(cohort, *shares, mode=mode, roster=n if mode is Mode.MALICIOUS else None)
    plan = EncodingPlan((TensorSpec("weight", "float32", (3, 2)), TensorSpec("steps", "int64", ())), cohort, ring_bits, metric_slots=1)
    vectors = inputs(plan, n)
    protocol = LocalProtocol(n, Policy(mode=mode, gamma=shares[0], delta=shares[1]), seed=seed, run=RUN)
    result = protocol.sum_round(plan, parameters, lambda node: deepcopy(vectors[node]), drops=drops, content=CONTENT)
    assert protocol.enrolment is not None
    return {
        "what": f"{n} parties, drops { ({step: list(nodes) for step, nodes in drops.items()} or 'none') }",
        "seed": seed,
        "run": RUN,
        "parties": n,
        "k": parameters.k,
        "t": parameters.t,
        "ring_bits": ring_bits,
        "ring_words": plan.vector_length,
        "wide_groups": [list(group) for group in plan.wide_groups],
        "plan": plan.encode().hex(),
        "content": CONTENT.hex(),
        "inputs": {str(node): pack_vector(vector, plan).hex() for node, vector in enumerate(vectors)},
        "messages": [recorded(*message, hashed=hashed) for message in labelled(protocol.log)],
        "directory": [int(node) for node in protocol.enrolment.nodes],
        "survivors": [protocol.enrolment.nodes[index] for index in result.survivors],
        "sum": pack_vector(result.total, plan).hex(),
    }


def labelled(log: list[tuple[str, str, int, bytes]]) -> list[tuple[str, str, int, bytes]]:
    """A reply to TRAIN is followed by its vector."""
    before, found = ("", "", -1), []
    for step, direction, node, data in log:
        found.append((step, "vector" if before == (step, direction, node) else direction, node, data))
        before = (step, direction, node)
    return found


def recorded(step: str, direction: str, node: int, data: bytes, *, hashed: bool) -> list[Any]:
    return [step, direction, node, *([len(data), hashlib.sha256(data).hexdigest()] if hashed else [data.hex()])]


ROUNDS: dict[str, dict[str, Any]] = {
    "five-parties": {"n": 5, "seed": "five"},
    **{
        f"six-parties-one-drops-at-{step}": {"n": 6, "seed": "six", "drops": {step: [4]}} for step in ("join", "prepare", "train", "unmask")
    },
    "six-parties-malicious": {"n": 6, "seed": "signed", "mode": Mode.MALICIOUS},
    **{
        f"six-parties-malicious-one-drops-at-{step}": {"n": 6, "seed": "signed", "mode": Mode.MALICIOUS, "drops": {step: [4]}}
        for step in ("train", "confirm")
    },
    "six-parties-wide-ring": {"n": 6, "seed": "wide", "ring_bits": 49, "drops": {"prepare": [0], "train": [5]}},
    "forty-parties-harary": {
        "n": 40,
        "seed": "forty",
        "shares": (0.05, 0.05),
        "drops": {"prepare": [7], "train": [11], "unmask": [13]},
        "hashed": True,
    },
}


def generate() -> dict[str, bytes]:
    """File name relative to this folder -> content."""
    files = {}
    for name, settings in ROUNDS.items():
        case = round_of(**settings)
        rows = ",\n".join(f" {json.dumps(key)}: {listed(value)}" for key, value in case.items())
        files[f"secagg/{name}.json"] = f"{{\n{rows}\n}}\n".encode()
    return files


def listed(value: Any) -> str:
    """One message a line."""
    if not isinstance(value, list) or not value or not isinstance(value[0], list) or len(value[0]) < 4:
        return json.dumps(value)
    return "[\n" + ",\n".join(f"  {json.dumps(item)}" for item in value) + "\n ]"
