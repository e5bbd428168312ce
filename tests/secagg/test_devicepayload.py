"""A payload made on a device is the host's, byte by byte: on a GPU if there is one, otherwise in Triton's interpreter."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from stfed.crypto import device
from stfed.encoding import EncodingPlan, Update, packed_bytes
from stfed.secagg import devicepayload, payload

torch = pytest.importorskip("torch", reason="torch is not installed")

KEYS = [hashlib.sha256(bytes([number])).digest() for number in range(3)]
GPU = torch.cuda.is_available()


def update(ring_bits: int, place: torch.device, size: int = 1000) -> Update:
    generator = np.random.default_rng(ring_bits)
    received = {"weight": generator.normal(size=size).astype(np.float32), "steps": np.arange(2), "bias": generator.normal(size=7)}
    trained = {name: torch.tensor(value + value.dtype.type(0.5), device=place) for name, value in received.items()}
    plan = EncodingPlan.for_arrays(received, parties=4, ring_bits=ring_bits, clip=0.5, max_weight=10)
    return Update(plan, received, trained, 7, {}, lambda out: out.fill(0))


@pytest.mark.skipif(not device.has_triton(), reason="Triton is not installed: pip install 'stfed[gpu]'")
@pytest.mark.parametrize("ring_bits", [16, 20, 40])
def test_the_ring_is_that_of_the_host(ring_bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    place = torch.device("cuda" if GPU else "cpu")
    if not GPU:
        monkeypatch.setenv("TRITON_INTERPRET", "1")
    mine, theirs = update(ring_bits, place), update(ring_bits, torch.device("cpu"))
    out = np.zeros(packed_bytes(mine.plan.vector_length, ring_bits), np.uint8)
    clipped = devicepayload.write_ring(mine, KEYS[:1], KEYS[1:2], KEYS[2], out, place)
    whole = payload.masked_payload(theirs, KEYS[:1], KEYS[1:2], KEYS[2])
    assert out.tobytes() == whole[: out.size]
    assert clipped > 0
    assert payload.masked_payload(mine, KEYS[:1], KEYS[1:2], KEYS[2]) == whole


def test_models_of_the_host_are_encoded_there() -> None:
    assert devicepayload.device_for(update(20, torch.device("cpu"))) is None


def test_a_model_on_a_device_that_has_no_keystreams_is_encoded_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devicepayload, "device_of", lambda update: torch.device("cuda"))
    monkeypatch.setattr(device, "has_triton", lambda: False)
    assert devicepayload.device_for(update(20, torch.device("cpu"))) is None


def test_a_kernel_that_is_not_believed_leaves_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devicepayload, "device_of", lambda update: torch.device("cuda"))
    monkeypatch.setattr(device, "available", lambda place: True)
    for believed in ({2, 4}, {4}, {2}):
        monkeypatch.setattr(device, "works", lambda place, size, believed=believed: size in believed)
        assert (devicepayload.device_for(update(16, torch.device("cpu"))) is None) == (believed != {2, 4})
