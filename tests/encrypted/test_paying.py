"""When workers are worth it: never for what is cheap to compute beside what is sent, always for much work on little data."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stfed.encrypted.paying import VARIABLE, Transfer, hopeless, pays, processes
from stfed.errors import LocalError
from tests.encrypted import keys

SEAL = Transfer(1.1e-3, 0.4e-3)
"""What a ciphertext of N = 8192 takes."""


def test_what_was_measured() -> None:
    assert pays(245 * 3.2e-3, 245, 0, 0, SEAL, 1)  # encryption
    assert not pays(245 * 0.05e-3, 245, 490, 0, SEAL, 7)  # additions
    assert not pays(245 * 2.4e-3, 245, 490, 0, SEAL, 7)  # products of ciphertexts, two of which have to be sent for one
    assert not pays(10 * 64 * 0.19e-3, 10, 0, 64, SEAL, 1)  # a product with plain numbers: as much to send as to compute
    assert pays(64 * 64 * 0.6e-3, 64, 0, 64, SEAL, 1)
    assert pays(245 * 30e-3, 245, 245, 0, SEAL, 1)  # a polynomial in one job
    assert not pays(245 * 2e-3, 245, 245, 0, SEAL, 1)  # a rotation: not for one worker, but for seven
    assert pays(245 * 2e-3, 245, 245, 0, SEAL, 7)


def test_starting_has_to_pay_too() -> None:
    assert not pays(0.4, 100, 0, 0, SEAL, 7, start_s=0.5)
    assert pays(4.0, 1000, 0, 0, SEAL, 7, start_s=0.5)


TIMES = st.floats(1e-6, 100)


@given(TIMES, st.integers(1, 1000), st.integers(0, 1000), st.integers(0, 1000), TIMES, TIMES, st.integers(1, 7), st.floats(0, 10))
def test_more_workers_and_cheaper_ciphertexts_never_turn_it_down(
    here: float, jobs: int, own: int, shared: int, dump: float, load: float, workers: int, start: float
) -> None:
    if pays(here, jobs, own, shared, Transfer(dump, load), workers, start):
        assert pays(here, jobs, own, shared, Transfer(dump, load), workers + 1, start)
        assert pays(here, jobs, own, shared, Transfer(dump / 2, load / 2), workers, start)
        assert own * dump + jobs * load < here
        assert not hopeless(here / jobs, Transfer(dump, load))


def test_additions_are_not_thought_about() -> None:
    assert hopeless(0.08e-3, SEAL)
    assert not hopeless(2e-3, SEAL)


def test_a_transfer_is_measured() -> None:
    context = keys.usual().public
    transfer = Transfer.measured(context.seal_context, context.arithmetic.encrypt(1.0))
    assert all(0 < seconds < math.inf for seconds in transfer)


def test_how_many_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert 1 <= processes() <= 8
    monkeypatch.setenv(VARIABLE, "12")
    assert processes() == 12
    for wrong in ("0", "65", "-1", "two", "1.5", "٣"):
        monkeypatch.setenv(VARIABLE, wrong)
        with pytest.raises(LocalError, match=r"STFED_ENCRYPTED_WORKERS is .*1 to 64"):
            processes()
