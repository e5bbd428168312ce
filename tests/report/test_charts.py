"""Charts: what is drawn is what was measured, and rounding is not drawn as learning."""

from __future__ import annotations

import re

from stfed.report.blocks import Chart
from stfed.report.charts import draw


def labels(values: list[float]) -> set[str]:
    """All that is written in it."""
    svg = draw(Chart("accuracy", "round", "accuracy", {"train": dict(enumerate(values, 1))}), "svg").decode()
    return set(re.findall(r"<text[^>]*>([^<]+)</text>", svg))


def test_what_differs_by_rounding_is_a_level_line() -> None:
    noise = [0.947826086951, 0.947826086957, 0.947826086962]
    assert not any("e-" in label for label in labels(noise))
    assert any(label.startswith("0.94782") for label in labels(noise))
    assert {"0.50", "0.90"} <= labels([0.5, 0.7, 0.9])
