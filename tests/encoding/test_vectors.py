"""The checked-in vectors: they are what the generator makes, and they replay from their own bytes alone."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stfed.encoding import EncodingPlan, MetricSchema, Vector, decode_sum, encode_update, pack_vector, payload_bytes, unpack_vector

VECTORS = Path(__file__).parents[1] / "vectors"
FILES = sorted(path for path in (VECTORS / "encoding").glob("*.json") if path.stem != "rotation")


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
    assert [list(group) for group in plan.wide_groups] == case["wide_groups"]
    received, total = arrays(case["received"]), Vector.zeros(plan)
    for party in case["parties"]:
        drawn = bytearray.fromhex(party["drawn"])

        def fill(buffer: NDArray[np.uint8], drawn: bytearray = drawn) -> None:
            buffer[:] = np.frombuffer(bytes(drawn[: buffer.size]), np.uint8)
            del drawn[: buffer.size]

        update = encode_update(plan, received, arrays(party["trained"]), party["weight"], party["metrics"], fill)
        assert not drawn
        assert (update.clipped, update.schema.encode().hex()) == (party["clipped"], party["schema"])
        assert pack_vector(update.vector, plan).hex() == party["vector"]
        assert payload_bytes(plan) == len(party["vector"]) // 2
        total.add(unpack_vector(bytes.fromhex(party["vector"]), plan), plan)
    total.reduce(plan)
    assert pack_vector(total, plan).hex() == case["sum"]
    schema = MetricSchema.decode(bytes.fromhex(case["parties"][0]["schema"]))
    result, expected = decode_sum(plan, total, len(case["parties"]), received, schema), case["decoded"]
    for field in ("metrics", "total_weight", "clipped", "saturated"):
        assert getattr(result, field) == expected[field]
    for name, mean in arrays(expected["arrays"]).items():
        np.testing.assert_array_equal(result.arrays[name], mean)
