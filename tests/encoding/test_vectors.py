"""The checked-in vectors: they are what the generator makes, and they replay from their own bytes alone."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stfed.encoding import EncodingPlan, MetricSchema, decode_sum, encode_update, pack, unpack

VECTORS = Path(__file__).parents[1] / "vectors"
FILES = sorted((VECTORS / "encoding").glob("*.json"))


def test_the_folder_is_what_the_generator_makes() -> None:
    generated = runpy.run_path(str(VECTORS / "gen_encoding.py"))["generate"]()
    assert generated
    assert {f"encoding/{path.name}" for path in (VECTORS / "encoding").iterdir()} == set(generated)
    for name, content in generated.items():
        assert (VECTORS / name).read_bytes() == content, name


def array(tensor: dict[str, Any]) -> NDArray[Any]:
    return np.frombuffer(bytes.fromhex(tensor["hex"]), np.dtype(tensor["dtype"]).newbyteorder("<")).reshape(tensor["shape"])


def arrays(tensors: dict[str, Any]) -> dict[str, NDArray[Any]]:
    return {name: array(tensor) for name, tensor in tensors.items()}


@pytest.mark.parametrize("path", FILES or [None], ids=lambda path: path.stem if path else "none")
def test_replay(path: Path | None) -> None:
    assert path is not None, "the folder of vectors is empty"
    case = json.loads(path.read_bytes())
    plan = EncodingPlan.decode(bytes.fromhex(case["plan"]))
    assert plan.encode().hex() == case["plan"]
    assert plan.vector_length == case["vector_length"]
    received, mask = arrays(case["received"]), (1 << plan.ring_bits) - 1
    total = np.zeros(plan.vector_length, object)
    for party in case["parties"]:
        dither = bytearray.fromhex(party["dither"])

        def fill(buffer: NDArray[np.uint8], dither: bytearray = dither) -> None:
            buffer[:] = np.frombuffer(bytes(dither[: buffer.size]), np.uint8)
            del dither[: buffer.size]

        update = encode_update(plan, received, arrays(party["trained"]), party["weight"], party["metrics"], fill)
        assert not dither
        assert (update.clipped, update.schema.encode().hex()) == (party["clipped"], party["schema"])
        assert pack(update.vector, plan.ring_bits).hex() == party["vector"]
        total = (total + unpack(bytes.fromhex(party["vector"]), plan.vector_length, plan.ring_bits)) & mask
    total = total.astype(plan.lane)
    assert pack(total, plan.ring_bits).hex() == case["sum"]
    schema = MetricSchema.decode(bytes.fromhex(case["parties"][0]["schema"]))
    result, expected = decode_sum(plan, total, len(case["parties"]), received, schema), case["decoded"]
    assert (result.metrics, result.total_weight, result.clipped) == (expected["metrics"], expected["total_weight"], expected["clipped"])
    for name, mean in arrays(expected["arrays"]).items():
        np.testing.assert_array_equal(result.arrays[name], mean)
