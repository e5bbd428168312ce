"""What the figures about growth rest on: fits that find what was put in, and a coordinator apart that does what one in the process does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import scale
from benchmarks.apart import round_apart
from stfed.bench.limits import Limits
from stfed.bench.round import Result, run_round
from stfed.bench.sharing import Common
from stfed.bench.stopwatch import COORDINATOR, PARTIES, Spent, Stopwatch
from stfed.bench.workload import Workload


def result_of(n: int, k: int, **times_s: float) -> Result:
    times = Stopwatch()
    for step, process_s in times_s.items():
        times.add(COORDINATOR, step, Spent(9.0, process_s, 1))
    parameters = replace(scale.parameters_of(40), n=n, k=k)
    return Result(Workload(n, 10), parameters, 1, 1000, 50, 4040, times, 0.0, 1.0, 0.0)


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_the_exponent_of_a_power_law(power: float) -> None:
    sizes = [1.0, 3.0, 10.0, 30.0]
    assert scale.exponent(sizes, [7 * size**power for size in sizes]) == pytest.approx(power)


def test_the_two_parts_of_the_time_on_messages() -> None:
    results = [result_of(n, k, prepare=1e-6 * (50 * n), unmask=1e-6 * 3 * n * k) for n, k in ((250, 26), (1000, 34), (500, 240))]
    assert scale.two_parts(results) == pytest.approx((50, 3, 0))


def test_the_unmask_is_held_against_all_masks_and_has_the_decoding_in_it() -> None:
    result = result_of(40, 10, recover=2e-5, decode=1e-5)
    assert scale.unmask_ratio(result, Limits(keystream_ns=0.2, add_ns=0.1)) == pytest.approx(3e-5 / (0.3e-9 * 1000 * 50))


@given(
    st.lists(st.binary(min_size=65, max_size=90), min_size=1, max_size=3), st.lists(st.integers(0, 4), max_size=8), st.binary(max_size=99)
)
def test_a_record_without_what_all_have_in_common_is_the_record(parts: Sequence[bytes], order: Sequence[int], own: bytes) -> None:
    common = Common()
    common.parts += parts
    record = b"".join(parts[at] if at < len(parts) else own for at in order)
    pieces = common.cut(record)
    assert common.whole(pieces) == record
    assert not any(part in piece for piece in pieces if isinstance(piece, bytes) for part in parts)


def test_a_coordinator_apart_does_what_one_in_the_process_does() -> None:
    workload = Workload(40, 3000, 0.05)
    parameters = scale.parameters_of(40, 12)
    apart, together = round_apart(workload, parameters), run_round(workload, parameters, sharing=True)
    assert apart.result.exact
    assert together.exact
    assert apart.result.upload_bytes == together.upload_bytes
    steps = [{key: spent.calls for key, spent in result.times.steps.items()} for result in (apart.result, together)]
    assert steps[0] == steps[1]
    assert steps[0][PARTIES, "seal"] == 38
    # The model that it sent and the running sum at least; far below what 40 parties and their models take.
    assert 2 * 4 * 3000 < apart.peak_bytes < 8 << 20
