"""The book's page on performance is what the reference run says."""

from __future__ import annotations

import re

import pytest

from benchmarks import book, chart
from benchmarks.line import number
from benchmarks.readme import reference

SECTIONS = reference()


def test_page_and_pictures_are_up_to_date() -> None:
    assert book.PAGE.read_text() == book.written(book.PAGE.read_text(), SECTIONS), "stale: python -m benchmarks.book"
    for name, text in book.pictures(SECTIONS).items():
        assert (book.PICTURES / name).read_text() == text, f"{name} is stale: python -m benchmarks.book"


def test_the_page_shows_every_picture() -> None:
    assert set(re.findall(r"\(pictures/([^)]+)\)", book.PAGE.read_text())) == set(book.pictures(SECTIONS))


def test_what_the_table_says_is_what_the_benchmark_said() -> None:
    """The ratio of two cells is the line of the section, which the benchmark computed from the same run."""
    point = book.points(SECTIONS, n=100, d=1_000_000, graph="complete", dropout=0.1)[0]
    ratio = book.spent(point["flower"]["steps"], "coordinator") / book.spent(point["stfed"]["steps"], "coordinator")
    said = book._line(SECTIONS, "peers", "n = 100, d = 1,000,000, complete, 10% drop: coordinator, Flower / stfed")
    assert ratio == pytest.approx(said, rel=0.01)


def test_what_the_page_says_in_words_is_so() -> None:
    """Limits are below what was measured; the malicious round is about twice a plain one; a simulated training takes 1.2 times as long."""
    for point in book.points(SECTIONS):
        for role in ("parties", "coordinator"):
            whole = book.spent(point["stfed"]["steps"], role) / (point["n"] if role == "parties" else 1)
            assert book.limit_of(SECTIONS, point, role) < whole
    rounds = book.deployed(SECTIONS)
    assert 1.8 < rounds["stfed, malicious"] / rounds["FedAvg"] < 2.4
    assert number(round(book._line(SECTIONS, "mnist", "training time, secure / plain"), 1)).startswith("1.2")


def test_times_are_written_as_people_do() -> None:
    assert [chart.seconds(value) for value in (83.174, 1.55, 0.0382, 2.5e-4)] == ["83.2 s", "1.55 s", "38.2 ms", "250 µs"]
