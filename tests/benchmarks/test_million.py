"""What is computed for very many parties agrees with what rounds of few count. Times are never asserted."""

from __future__ import annotations

import dataclasses

import pytest

from benchmarks import shards
from benchmarks.costs import constants
from benchmarks.million import DELTA, Constants, Round, round_of, table
from stfed.bench.round import run_round
from stfed.bench.workload import Workload
from stfed.secagg.params import choose

ONES = Constants(**{field.name: 1.0 for field in dataclasses.fields(Constants)})


def test_as_many_masks_as_a_round_takes_off() -> None:
    parameters = choose(60, DELTA, DELTA, graph="sparse", k=44, t=24)
    counted = run_round(Workload(60, 16, dropout=DELTA), parameters)
    assert Round(parameters, ONES, 16).masks == pytest.approx(counted.masks_removed, rel=0.03)


def test_a_round_is_what_its_parts_are() -> None:
    item = round_of(ONES, 1_000_000, 1000)
    assert (item.parameters.k, item.survivors) == (44, 950_000)
    assert item.masks == 950_000 + 50_000 * 44 * 95 // 100
    assert item.masks_s == pytest.approx(1e-9 * item.masks * 1001)
    assert item.up_bytes == 950_000 * 4000 + 1_000_000
    assert item.down_bytes == 1_000_000 * 4001 + 10**12
    assert item.core_hours == pytest.approx((item.masks_s + 1e-9 * 950_000 * 1000 + 1000) / 3600)


def test_more_workers_take_less_time_and_more_bytes() -> None:
    item = round_of(ONES, 10_000, 1_000_000)
    counts = (1, 4, 16, 64)
    times, sizes = [item.masks_wall_s(count) for count in counts], [item.shard_bytes(count) for count in counts]
    assert times == sorted(times, reverse=True)
    assert sizes == sorted(sizes)
    assert times[0] / times[-1] == pytest.approx(64, rel=0.1)


def test_the_table_has_a_column_for_each_size() -> None:
    rows = table(ONES, 10_000, (1000, 10_000), (1, 4), 100)
    assert {row.count("|") for row in rows} == {4}
    assert "10,000 parties" in rows[0]


def test_the_constants_are_measured_and_every_line_has_a_figure() -> None:
    times = {"one thread": 1.0, "one thread, processor time": 1.0, "two threads": 0.6, "two workers on Ray": 0.6}
    found = constants(60, 10_000, times, words=1_000_000, masks=1000)
    assert all(value > 0 for value in dataclasses.asdict(found).values())
    assert found.efficiency == pytest.approx(1 / 1.2)
    assert found.down_bytes_each >= 8, "the cohort and who survived, four bytes each"
    measured = shards.lines(times, found, 1_000_000, 1000)
    assert all(line.measured is not None and line.measured > 0 for line in measured)
    (plot,) = shards.plots(found)
    assert len(plot["series"]) == 4
