"""Any stretch of ring coordinates is found in the tensors, whole and in order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stfed.encoding import EncodingPlan, TensorSpec
from stfed.encoding.coordinates import Coordinates

KINDS = st.sampled_from(["float32", "bfloat16", "int64", "bool"])


@given(st.lists(st.tuples(KINDS, st.integers(0, 9)), max_size=8), st.data())
def test_pieces_are_the_concatenation_of_all_float_tensors(tensors: list[tuple[str, int]], data: st.DataObject) -> None:
    plan = EncodingPlan(tuple(TensorSpec(f"t{i}", dtype, (size,)) for i, (dtype, size) in enumerate(tensors)), parties=2)
    line = [(spec.name, element) for spec in plan.tensors if spec.is_float for element in range(spec.size)]
    coordinates = Coordinates(plan)
    assert coordinates.size == len(line) == plan.vector_length
    start = data.draw(st.integers(0, len(line)))
    stop = data.draw(st.integers(start, len(line)))
    found = []
    for spec, part, place in coordinates.pieces(start, stop):
        assert place.start == len(found), "one behind the other"
        found += [(spec.name, element) for element in range(part.start, part.stop)]
        assert place.stop == len(found)
    assert found == line[start:stop]
