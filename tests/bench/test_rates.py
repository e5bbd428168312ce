"""Rates of a machine: all of them are there, and a forecast adds up what a round consists of. How fast it is is nobody's test."""

from __future__ import annotations

from dataclasses import asdict, fields

import pytest

from stfed.bench.files import measure as measure_files
from stfed.bench.rates import Rates, measure
from stfed.secagg.params import Mode, choose


def test_everything_is_measured() -> None:
    found = asdict(measure())
    assert all(value >= 0 for value in found.values())
    assert all(found[name] > 0 for name in found if name.endswith("_ns"))
    assert found["agree_us"] > 1
    assert found["verify_us"] > 1


def rates(**given: float) -> Rates:
    return Rates(**{field.name: 0.0 for field in fields(Rates)} | given)


SEMI, MALICIOUS = choose(20, 0.1, 0.1), choose(20, 0.1, 0.1, mode=Mode.MALICIOUS)


def test_a_party_masks_encodes_and_hashes_its_vector() -> None:
    one = rates(mask_ns=1.0, encode_ns=10.0, hash_ns=100.0)
    assert one.party_s(SEMI, 1000, 5) == pytest.approx(1000 * (5 + 10 + 100) * 1e-9)
    assert one.party_s(MALICIOUS, 1000, 5) == pytest.approx(1000 * (5 + 10 + 200) * 1e-9)


def test_a_party_agrees_on_keys_in_the_first_round_only() -> None:
    one = rates(party_us=1000.0, member_us=30.0, agree_us=20.0, neighbour_us=1.0, verify_us=5.0)
    assert one.party_s(SEMI, 0, 0) == pytest.approx((1000 + 20 * 30 + SEMI.k) * 1e-6)
    assert one.party_s(SEMI, 0, 0, first=False) == pytest.approx((1000 + 20 * 10 + SEMI.k) * 1e-6)
    assert one.party_s(MALICIOUS, 0, 0) - one.party_s(MALICIOUS, 0, 0, first=False) == pytest.approx(20 * 25e-6)


def test_the_coordinator_takes_off_the_masks_of_those_that_stay_and_what_the_others_left() -> None:
    one = rates(sum_ns=1.0, mask_ns=10.0, decode_ns=100.0)
    assert one.coordinator_s(SEMI, 1000, 8) == pytest.approx(1000 * (20 + 200 + 100) * 1e-9)
    assert one.coordinator_s(SEMI, 1000, 8, dropped=5) == pytest.approx(1000 * (15 + 10 * (15 + 5 * 7 * 0.75) + 100) * 1e-9)
    assert rates(reply_us=7.0, pair_us=1.0).coordinator_s(SEMI, 0, 0) == pytest.approx(20 * (7 + SEMI.k) * 1e-6)


def test_a_file_is_sealed_opened_and_compared(tmp_path: pytest.TempPathFactory) -> None:
    found = measure_files(1000, tmp_path)  # type: ignore[arg-type]
    assert found.size_bytes == 4000
    assert found.sealed_bytes > 4000
    assert min(found.save_s, found.seal_s, found.load_s, found.open_s) > 0
