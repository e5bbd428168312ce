"""The benchmark of bits: its figures on a small case, and what it would call wrong."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import bits
from benchmarks.updates import flat, moved, student_t3


@pytest.fixture(scope="module")
def table() -> list[bits.Found]:
    found, wrong = bits.sweep("t3", student_t3(5, 2048), (6, 8), (4.0, 8.0, 64.0))
    assert wrong == []
    return found


def test_rotation_helps_heavy_tails_and_bits_help_everybody(table: list[bits.Found]) -> None:
    assert len(table) == 2 * 2 * 3
    assert bits.best(table, 8, True).nmse < bits.best(table, 8, False).nmse / 5
    assert bits.best(table, 8, True).nmse < bits.best(table, 6, True).nmse


def test_lines_and_plots_are_made_of_it(table: list[bits.Found]) -> None:
    trained = {bits.PLAIN: [0.90, 0.92], **{variant.name: [0.91, 0.90] for variant in bits.VARIANTS}}
    by_name = {line.name: line for line in bits.lines({"t3": table}, trained, 3.0)}
    ratio = by_name["NMSE rotated / not, t3, 8 bits"]
    assert ratio.met
    assert ratio.measured == pytest.approx(bits.best(table, 8, True).nmse / bits.best(table, 8, False).nmse)
    assert by_name["accuracy lost: 8 bits, rotated"].measured == pytest.approx(0.005 / np.std([0.90, 0.92], ddof=1))
    assert by_name["upload at 8 bits of value"].measured == pytest.approx(13, abs=0.01)
    assert [plot["name"] for plot in bits.plots({"t3": table})] == ["bits", "clip"]


def test_an_encoding_that_misses_its_bound_is_wrong(table: list[bits.Found], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bits.EncodingPlan, "error_bound", lambda *_: 1e-9)
    _, wrong = bits.sweep("t3", student_t3(5, 2048), (8,), (64.0,))
    assert len(wrong) == 2


def test_a_model_moves_by_the_change_of_its_line() -> None:
    model = {"a": np.zeros((2, 3), np.float32), "b": np.ones(2, np.float32)}
    change = np.arange(8.0)
    assert flat(moved(model, change)).tolist() == (flat(model) + change).tolist()
