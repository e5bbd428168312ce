"""One record for the accountant, the logs and a file's provenance: the same facts everywhere, and none that contradict each other."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stfed import canonical
from stfed.audit.events import Entry, Kind
from stfed.dp import Budget, DpRelease, Sum
from stfed.errors import LocalError
from stfed.sealed import statements


@st.composite
def releases(draw: st.DrawFn) -> DpRelease:
    honest = draw(st.integers(1, 1000))
    share = draw(st.floats(1e-2, 1e12))
    released = Sum(draw(st.integers(1, 1 << 100)), draw(st.integers(1, 1 << 40)), honest * share)
    return DpRelease(
        round_number=draw(st.integers(1, 1 << 32)),
        what="update",
        coordinates=released.coordinates,
        l2_clip=draw(st.floats(1e-6, 1e6)),
        scale=draw(st.floats(1e-6, 1e12)),
        norm_bound_squared=released.norm_bound_squared,
        share_variance=share,
        honest_survivors=honest,
        survivors=honest + draw(st.integers(0, 1000)),
        noise_multiplier=released.noise_multiplier,
        epsilon=draw(st.floats(0, 1e6)),
        delta=draw(st.floats(1e-12, 0.1)),
    )


ONE = Budget(None, 1e-5).spend(
    Sum(1_003_550, 10_000, 800_000.0), round_number=4, l2_clip=1.0, scale=1000.0, share_variance=1e5, honest_survivors=8, survivors=10
)


@given(releases())
def test_there_and_back_through_json_an_audit_entry_and_provenance(release: DpRelease) -> None:
    facts = release.as_dict()
    assert DpRelease.parse(canonical.decode(canonical.encode(facts), "a release")) == release
    entry = Entry.make(7, datetime(2026, 11, 23, tzinfo=UTC), release.event())
    found = Entry.parse(7, entry.data)
    assert found.event.kind is Kind.DP_RELEASE
    assert DpRelease.parse(found.event.fields) == release
    assert statements.problem(facts) is None
    assert DpRelease.parse({**facts, "model": "tumours", "sequence": 3}) == release


def test_the_facts_by_name() -> None:
    assert ONE.as_dict() == {
        "round_number": 4,
        "what": "update",
        "coordinates": 10_000,
        "l2_clip": 1.0,
        "scale": 1000.0,
        "norm_bound_squared": "1003550",
        "share_variance": 1e5,
        "honest_survivors": 8,
        "survivors": 10,
        "noise_multiplier": math.sqrt(800_000 / 1_003_550),
        "epsilon": ONE.epsilon,
        "delta": 1e-5,
        "mechanism": "skellam",
        "neighbours": "zero-out",
        "unit": "party",
    }
    assert ONE.sum == Sum(1_003_550, 10_000, 800_000.0)


@pytest.mark.parametrize(
    "facts",
    [
        {"epsilon": None},
        {"epsilon": "6.0"},
        {"epsilon": -1.0},
        {"delta": 0.0},
        {"coordinates": True},
        {"coordinates": 10.0},
        {"norm_bound_squared": 1_003_551},
        {"norm_bound_squared": "1003551"},
        {"norm_bound_squared": "²"},
        {"norm_bound_squared": "-5"},
        {"share_variance": 2e5},
        {"honest_survivors": 11, "survivors": 10},
        {"honest_survivors": 0},
        {"mechanism": "gaussian"},
        {"neighbours": "replace"},
        {"unit": "example"},
    ],
)
def test_facts_that_are_none(facts: dict[str, Any]) -> None:
    with pytest.raises(LocalError):
        DpRelease.parse({**ONE.as_dict(), **facts})


@pytest.mark.parametrize("name", ONE.as_dict())
def test_no_fact_may_be_missing(name: str) -> None:
    with pytest.raises(LocalError, match=name):
        DpRelease.parse({key: value for key, value in ONE.as_dict().items() if key != name})
