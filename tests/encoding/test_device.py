"""Encoding by torch operations writes the host's bits. On CPU tensors, and on a GPU too where there is one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stfed.encoding import EncodingPlan, Update
from stfed.encoding import pack as pack_on_host
from stfed.encoding.device import DeviceEncoder, device_of, pack
from stfed.encoding.quantize import TILE, Tile
from stfed.encoding.rotation import Rotation
from stfed.encoding.rotation import tiles as rotation_tiles
from stfed.errors import LocalError

torch = pytest.importorskip("torch", reason="torch is not installed")

PLACES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
ROTATION = Rotation(bytes(range(16)))
Model = dict[str, NDArray[Any]]


def models(size: int, seed: int, tail: float = 30.0) -> tuple[Model, Model]:
    """Two models of `size` coordinates in all float dtypes, some changes far larger than the others, and a counter among them."""
    generator = np.random.default_rng(seed)
    received: Model = {}
    for name, dtype, count in (("a", "float32", size // 2), ("b", "float64", size // 3), ("c", "float16", size - size // 2 - size // 3)):
        received[name] = generator.normal(size=count).astype(dtype)
    trained = {}
    for name, before in received.items():
        change = generator.normal(size=before.size) * np.where(generator.random(before.size) < 0.01, tail, 0.1)
        trained[name] = (before + change).astype(before.dtype)
    received["steps"], trained["steps"] = np.arange(3), np.arange(3) + 1
    return received, trained


def no_noise(out: NDArray[np.uint8]) -> None:
    out.fill(0)


def on_host(update: Update, dither: NDArray[np.uint32]) -> tuple[NDArray[Any], int]:
    out, clipped, tile = np.empty(dither.size, update.plan.lane), 0, Tile()
    for part in rotation_tiles(dither.size, TILE // 2):

        def draw(room: NDArray[np.uint8], part: slice = part) -> None:
            room.view(np.uint32)[:] = dither[part]

        clipped += update.encode(part.start, out[part], tile, draw, draw)
    return out, clipped


def both(plan: EncodingPlan, received: Model, trained: Model, place: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """(host's words, device's words); the clipped counts are compared here."""
    dither = np.random.default_rng(1).integers(0, 2**32, plan.vector_length, np.uint32)
    expected, clipped = on_host(Update(plan, received, trained, 7.5, {}, no_noise), dither)
    tensors = {name: torch.from_numpy(value).to(place) for name, value in trained.items()}
    encoder = DeviceEncoder(Update(plan, received, tensors, 7.5, {}, no_noise), torch.device(place))
    words, found = encoder.encode(0, torch.from_numpy(dither.view(np.int32)).to(place))
    assert found == clipped
    assert words.dtype == encoder.lane
    return expected, words.cpu().numpy().view(plan.lane)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("ring_bits", [11, 16, 20, 32, 33, 48, 64])
@pytest.mark.parametrize("size", [0, 1, 300, 40_000])
def test_words_are_those_of_the_host(place: str, ring_bits: int, size: int) -> None:
    received, trained = models(size, seed=ring_bits)
    plan = EncodingPlan.for_arrays(received, parties=4, ring_bits=ring_bits, clip=1.0, max_weight=10)
    expected, words = both(plan, received, trained, place)
    assert (expected == words).all()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("ring_bits", [11, 20, 40])
@pytest.mark.parametrize("size", [7, 255, 300, 16_384, 16_384 + 255, 3 * 16_384 + 256, 50_000])
def test_rotated_words_are_at_most_one_away(place: str, ring_bits: int, size: int) -> None:
    received, trained = models(size, seed=size)
    plan = EncodingPlan.for_arrays(received, parties=4, ring_bits=ring_bits, clip=4.0, max_weight=10, rotation=ROTATION)
    expected, words = both(plan, received, trained, place)
    away = (words - expected + plan.lane.type(1)) & plan.lane.type((1 << ring_bits) - 1)
    assert away.max() <= 2
    assert (away != 1).mean() <= 0.01


@pytest.mark.parametrize("ring_bits", [16, 40])
def test_values_at_the_ends_and_small_differences(ring_bits: int) -> None:
    edges = np.array([0.0, -0.0, 1.0, -1.0, np.nextafter(1, 2), -np.nextafter(1, 2), 5e-324, 1e300, -1e308, 2.0**-40, -(2.0**-40)])
    received = {"a": np.zeros(edges.size)}
    plan = EncodingPlan.for_arrays(received, parties=2, ring_bits=ring_bits, clip=1.0, max_weight=10)
    expected, words = both(plan, received, {"a": edges}, "cpu")
    assert (expected == words).all()


@settings(max_examples=60)
@given(st.integers(8, 64), st.integers(0, 70), st.integers(0, 2**32))
def test_packed_bytes_are_those_of_the_host(ring_bits: int, size: int, seed: int) -> None:
    lane = np.dtype(np.uint16 if ring_bits <= 16 else np.uint32 if ring_bits <= 32 else np.uint64)
    words = np.random.default_rng(seed).integers(0, 2**64, size, np.uint64).astype(lane)
    reduced = words & lane.type((1 << ring_bits) - 1)
    signed = torch.from_numpy(words.view(f"i{lane.itemsize}"))
    assert pack(signed, ring_bits).numpy().tobytes() == pack_on_host(reduced, ring_bits)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("rotation", [None, ROTATION])
@pytest.mark.parametrize("whose", ["trained", "received"])
def test_what_is_not_finite_is_refused_by_name_and_without_its_value(value: float, rotation: Rotation | None, whose: str) -> None:
    received, trained = models(1000, seed=3)
    plan = EncodingPlan.for_arrays(received, parties=4, clip=1.0, max_weight=10, rotation=rotation)
    (trained if whose == "trained" else received)["b"][5] = value
    tensors = {name: torch.from_numpy(each) for name, each in trained.items()}
    encoder = DeviceEncoder(Update(plan, received, tensors, 1, {}, no_noise), torch.device("cpu"))
    with pytest.raises(LocalError, match=f"tensor 'b' of the {whose} model has NaN or infinity"):
        encoder.encode(0, torch.zeros(plan.vector_length, dtype=torch.int32))


def test_differences_that_overflow_in_a_rotated_block_are_clipped_and_no_refusal() -> None:
    received = {"a": np.full(256, -1e308)}
    plan = EncodingPlan.for_arrays(received, parties=4, clip=1.0, max_weight=10, rotation=ROTATION)
    tensors = {"a": torch.full((256,), 1e308, dtype=torch.float64)}
    encoder = DeviceEncoder(Update(plan, received, tensors, 1, {}, no_noise), torch.device("cpu"))
    _, clipped = encoder.encode(0, torch.zeros(256, dtype=torch.int32))
    assert clipped == 256


def test_models_of_the_host_stay_there() -> None:
    received, trained = models(100, seed=4)
    plan = EncodingPlan.for_arrays(received, parties=4)
    for model in (trained, {name: torch.from_numpy(value) for name, value in trained.items()}):
        assert device_of(Update(plan, received, model, 1, {}, no_noise)) is None


def test_bfloat16_and_tensors_with_strides() -> None:
    before, after = torch.randn(40, 30).to(torch.bfloat16), torch.randn(30, 40).to(torch.bfloat16).T
    plan = EncodingPlan.for_arrays({"a": before}, parties=4, clip=1.0)
    dither = np.random.default_rng(1).integers(0, 2**32, 1200, np.uint32)
    update = Update(plan, {"a": before}, {"a": after}, 3, {}, no_noise)
    expected, clipped = on_host(update, dither)
    words, found = DeviceEncoder(update, torch.device("cpu")).encode(0, torch.from_numpy(dither.view(np.int32)))
    assert found == clipped
    assert (words.numpy().view(np.uint32) == expected).all()
