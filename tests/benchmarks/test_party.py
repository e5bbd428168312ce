"""The party's benchmark checks its payloads, sizes its models as it says, and holds its figures against the issue's targets."""

from __future__ import annotations

import pytest

from benchmarks import party, partymemory
from stfed.bench.limits import Limits


@pytest.mark.parametrize("rotated", [False, True])
def test_a_wrong_payload_is_noticed(rotated: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    assert party.wrong_bytes(20, rotated, 3001) == []
    monkeypatch.setattr(party, "masked_payload", lambda *_, **__: b"")
    assert len(party.wrong_bytes(20, rotated, 3001)) == 1


@pytest.mark.parametrize("parameters", [100_000, 1_000_000, 100_000_000])
def test_the_model_has_the_parameters_it_says(parameters: int) -> None:
    sizes = partymemory.shapes(parameters)
    assert sum(rows[0] * (rows[1] if len(rows) > 1 else 1) for rows in sizes.values()) == parameters


def test_targets_are_met_and_missed() -> None:
    masked = [party.Masking(32, 0.4, 0.4, 0.2), party.Masking(16, 0.3, 0.3, 0.2)]
    encoded = [
        party.Encoding(32, False, 2.5, 1.5, 9.0, 5.0),
        party.Encoding(24, False, 3.5, 2.0, 9.0, 5.0),
        party.Encoding(24, True, 6.0, 3.5, 12.0, 7.0),
    ]
    memory = [partymemory.Peak("float32", 32, 10, 1000, 1 << 20, 0.5), partymemory.Peak("bfloat16", 24, why="no torch")]
    lines = party.lines(Limits(0.3, 0.06), 2.0, masked, encoded, memory)
    assert [line.met for line in lines] == [None, True, True, False, False, True, False, None, None, None, True, None]
    assert lines[-1].note == "no torch"


def test_memory_is_measured_in_a_process_of_its_own() -> None:
    peak = partymemory.measure("float32", 16, 400_000, 2)
    assert peak.why == ""
    assert peak.parameters == 400_000
    assert peak.extra_bytes is not None
