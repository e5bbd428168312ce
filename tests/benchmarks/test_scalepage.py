"""docs/scale.md has the computed table of the reference run, and what it says in words is what the calculator says."""

from __future__ import annotations

import dataclasses

import pytest

from benchmarks.million import Constants
from benchmarks.readme import reference
from benchmarks.scalepage import PAGE, written
from stfed.crypto.keystream import SEGMENT_BYTES
from stfed.secagg.params import COMPLETE_UP_TO, MALICIOUS_COMPLETE_UP_TO, choose

TEXT = PAGE.read_text()


def test_the_page_has_the_table_of_the_reference_run() -> None:
    assert written(TEXT, reference()) == TEXT, "python -m benchmarks.scalepage"


def test_the_table_is_written_and_written_again() -> None:
    constants = dict.fromkeys((field.name for field in dataclasses.fields(Constants)), 1.0)
    once = written(TEXT, {"shards": {"data": {"constants": constants}}})
    assert "| 1,000,000 parties, k = 44, t = 24 |" in once
    assert written(once, {}) == written(TEXT, {})
    with pytest.raises(ValueError, match="0 places"):
        written("", {})


def test_what_it_says_of_sizes_is_so() -> None:
    assert f"| 2 to {COMPLETE_UP_TO} | complete |" in TEXT
    assert f"Malicious mode stays complete up to {MALICIOUS_COMPLETE_UP_TO}" in TEXT
    assert f"{choose(300, 0.1, 0.1).k} neighbours for 300 parties" in TEXT
    for parties, words in ((1_000, "{} for 1,000"), (10_000, "{} for 10,000"), (100_000, "{} for 100,000")):
        assert words.format(choose(parties, 0.05, 0.05).k) in TEXT
    assert f"| 1,000,000 | sparse: {choose(1_000_000, 0.05, 0.05).k} |" in TEXT
    assert f"segment ({SEGMENT_BYTES >> 10} KiB)" in TEXT
