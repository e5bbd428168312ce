"""Vectors of `stfed.encoding`: one scenario a file, with everything that a second implementation needs to replay it.

A file holds the encoded plan, the model that all parties received, and for each party its model, weight, metrics, the random bytes it
drew (noise of the metrics, then dither) and the packed vector that must come out; then the packed sum and what it decodes to. Tensors
are dtype, shape and little-endian bytes in hex. `wide_groups` is (limbs, count) of the wide numbers, in order.

The sum is made here in Python integers, word by word and number by number.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stfed.encoding import DecodedSum, EncodingPlan, Vector, decode_sum, encode_update, pack_vector
from stfed.encoding.noise import Bounded, Noise
from stfed.encoding.rotation import CHUNK, Rotation

Model = dict[str, NDArray[Any]]
Sender = tuple[Model, float, dict[str, Any]]


class Script:
    """A stream of bytes from a name: SHA-256 in counter mode. `drawn` is what has been taken."""

    def __init__(self, name: str) -> None:
        self._name, self._block, self.drawn = name.encode(), 0, b""

    def __call__(self, buffer: NDArray[np.uint8]) -> None:
        taken = b""
        while len(taken) < buffer.size:
            taken += hashlib.sha256(self._name + self._block.to_bytes(8, "big")).digest()
            self._block += 1
        buffer[:] = np.frombuffer(taken[: buffer.size], np.uint8)
        self.drawn += taken[: buffer.size]


def tensors(model: Model) -> dict[str, dict[str, Any]]:
    return {
        name: {"dtype": array.dtype.name, "shape": list(array.shape), "hex": array.astype(array.dtype.newbyteorder("<")).tobytes().hex()}
        for name, array in model.items()
    }


def ramp(dtype: str, shape: tuple[int, ...], start: float, step: float) -> NDArray[Any]:
    return (start + step * np.arange(int(np.prod(shape)))).reshape(shape).astype(dtype)


def mixed(shift: float) -> Model:
    return {
        "conv.weight": ramp("float32", (2, 3), -1 + shift, 0.37 + shift / 8),
        "half": ramp("float16", (5,), shift, 0.125),
        "double": ramp("float64", (), 0.1 + shift, 0),
        "empty": ramp("float32", (0, 4), 0, 0),
        "num_batches_tracked": ramp("int64", (), 1000 + 8 * shift, 0),
        "levels": ramp("uint8", (3,), 100 + 16 * shift, 50),
        "mask": ramp("float32", (4,), shift, -0.5) > 0,
    }


def floats(shift: float) -> Model:
    return {"w": ramp("float32", (13,), -3 + shift, 0.5 + shift / 16)}


def ids(shift: float) -> Model:
    return floats(shift) | {"id": np.array([2**40 + int(shift * 2**32), 7], np.int64)}


def layers(shift: float) -> Model:
    """One block of 256 and 25 more, with some large changes side by side."""
    kernel = ramp("float32", (16, 17), -0.5, 0.0041 + shift / 512)
    kernel[3] += 4 * shift
    return {"kernel": kernel, "seen": ramp("int64", (), 100 + 8 * shift, 0), "bias": ramp("float32", (9,), shift, 0.3)}


def scenario(received: Model, senders: list[Sender], **settings: Any) -> str:
    plan = EncodingPlan.for_arrays(received, **settings)
    vectors, sent = [], []
    for index, (trained, weight, metrics) in enumerate(senders):
        script = Script(f"party {index}")
        update = encode_update(plan, received, trained, weight, metrics, script)
        vectors.append(update.vector)
        sent.append(
            {
                "trained": tensors(trained),
                "weight": weight,
                "metrics": metrics,
                "drawn": script.drawn.hex(),
                "schema": update.schema.encode().hex(),
                "clipped": update.clipped,
                "vector": pack_vector(update.vector, plan).hex(),
            }
        )
    total = summed(plan, vectors)
    result = decode_sum(plan, total, len(senders), received, update.schema)
    content = {
        "plan": plan.encode().hex(),
        "vector_length": plan.vector_length,
        "wide_groups": plan.wide_groups,
        "received": tensors(received),
        "parties": sent,
        "sum": pack_vector(total, plan).hex(),
        "decoded": decoded(result),
    }
    return json.dumps(content, indent=1) + "\n"


def rotations() -> str:
    """Whole numbers in blocks of 1, 4, 16, 64 and 256: no sum is rounded on the way, so every machine has these results to the last bit."""
    cases = []
    for start, size in ((0, 0), (0, 5), (0, 85), (0, 256), (0, 281), (0, 512), (CHUNK, 300), (3 * CHUNK, 1025)):
        values = np.array([index * index % 97 - 40 for index in range(size)], np.float64)
        case = {"seed": bytes(range(size % 7, size % 7 + 16)).hex(), "start": start, "values": values.tolist()}
        Rotation(bytes.fromhex(str(case["seed"]))).forward(values, start)
        cases.append(case | {"rotated": values.tolist()})
    return "[\n" + ",\n".join(map(json.dumps, cases)) + "\n]\n"


def summed(plan: EncodingPlan, vectors: list[Vector]) -> Vector:
    ring = [sum(column) % 2**plan.ring_bits for column in zip(*(vector.ring.tolist() for vector in vectors), strict=True)]
    words, at = list[int](), 0
    for limbs, count in plan.wide_groups:
        columns = [vector.wide[at : at + limbs * count].reshape(limbs, count).T.tolist() for vector in vectors]
        numbers = [
            sum(limb * 2 ** (30 * place) for number in column for place, limb in enumerate(number)) for column in zip(*columns, strict=True)
        ]
        words += [number // 2 ** (30 * place) % 2**30 for place in range(limbs) for number in numbers]
        at += limbs * count
    return Vector(np.array(ring, plan.lane), np.array(words, np.uint32))


def decoded(result: DecodedSum) -> dict[str, Any]:
    return {
        "arrays": tensors({name: np.asarray(array) for name, array in result.arrays.items()}),
        "metrics": result.metrics,
        "total_weight": result.total_weight,
        "clipped": result.clipped,
        "saturated": result.saturated,
    }


NOISE = Noise(
    l2_clip=1.0,
    scalar_clip=0.5,
    scalars=(Bounded("loss", -1.0, 1.0),),
    norm_bit=True,
    share_variance=900.25,
    norm_bound_squared=700_000_000,
    headroom=1000,
    survivors=3,
)


def generate() -> dict[str, bytes]:
    """File name, relative to this folder, to content."""
    mixed_senders: list[Sender] = [
        (mixed(0.25), 40, {"loss": 0.3, "acc": 1}),
        (mixed(-0.5), 2.5, {"loss": 1.75, "acc": 0.25}),
    ]
    even_senders: list[Sender] = [(floats(shift), 100, {"n": 3}) for shift in (0.125, -0.25, 0.5)]
    idle_sender: list[Sender] = [(floats(1), 7, {}), (floats(-1), 0, {})]
    far_senders: list[Sender] = [(ids(20), 5000, {}), (ids(0.01), 3, {}), (ids(-9), -1, {})]
    equal_senders: list[Sender] = [(mixed(0.25), 40, {"loss": 0.5}), (mixed(-0.5), 9000, {"loss": 1.75})]
    layer_senders: list[Sender] = [(layers(shift), weight, {"loss": shift}) for shift, weight in ((0.7, 90), (-0.3, 40), (0.1, 100))]
    evaluators: list[Sender] = [({}, 12, {"loss": 2.25, "correct": 9}), ({}, 30, {"loss": -1, "correct": 2**53})]
    tight = {"clip": 0.25, "max_weight": 50}
    scenarios = {
        "every-dtype": scenario(mixed(0), mixed_senders, parties=3),
        "packed-ring-11": scenario(floats(0), even_senders, parties=5, ring_bits=11, clip=1.0, max_weight=100, metric_slots=1),
        "whole-ring-64": scenario(floats(0), idle_sender, parties=1000, ring_bits=64, metric_slots=0),
        "clipped-and-saturated": scenario(ids(0), far_senders, parties=3, ring_bits=24, metric_slots=2, **tight),
        "uniform": scenario(mixed(0), equal_senders, parties=2, ring_bits=20, max_weight=1, uniform=True, metric_slots=2),
        "rotated-8-bit-values": scenario(
            layers(0), layer_senders, parties=5, value_bits=8, rotation=Rotation(bytes(range(16))), clip=1.5, max_weight=100, metric_slots=1
        ),
        "evaluation": scenario({}, evaluators, parties=4),
        "noised": scenario(
            layers(0),
            layer_senders,
            parties=5,
            ring_bits=18,
            rotation=Rotation(bytes(range(16))),
            clip=1.125,
            max_weight=1,
            uniform=True,
            metric_slots=0,
            noise=NOISE,
        ),
    }
    scenarios["rotation"] = rotations()
    return {f"encoding/{name}.json": content.encode() for name, content in scenarios.items()}
