"""The streaming party sends the bytes that the plain one would, whatever the threads, or nothing at all; and in constant memory."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stfed.crypto.keystream import keystream
from stfed.encoding import EncodingPlan, Update, encode_update, pack_vector, payload_bytes
from stfed.encoding.rotation import BLOCK, Rotation
from stfed.errors import LocalError
from stfed.secagg.client.masks import MaskKeys
from stfed.secagg.masking import apply_masks
from stfed.secagg.messages import Header
from stfed.secagg.payload import PIECE, masked_payload

Model = dict[str, NDArray[Any]]
DITHER_KEY = hashlib.sha256(b"dither").digest()
KEYS = [hashlib.sha256(bytes([number])).digest() for number in range(5)]
ROTATION = Rotation(bytes(range(16)))


def model(sizes: tuple[int, ...], seed: int) -> Model:
    """Tensors of these sizes, of all float dtypes by turns, with a counter among them."""
    generator = np.random.default_rng(seed)
    floats = [generator.normal(size=size).astype(("float32", "float64", "float16")[index % 3]) for index, size in enumerate(sizes)]
    tensors: list[NDArray[Any]] = [*floats[:1], generator.integers(0, 100, 3), *floats[1:]]
    return {f"t{index}": tensor for index, tensor in enumerate(tensors)}


def no_noise(out: NDArray[np.uint8]) -> None:
    out.fill(0)


def plainly(plan: EncodingPlan, received: Model, trained: Model, weight: float, add: list[bytes], subtract: list[bytes]) -> bytes:
    """The payload by way of whole vectors, with the dither taken from the readable definition of the keystream."""
    drawn = iter([b"\0" * 8, keystream(DITHER_KEY, 0, 4 * plan.vector_length)])
    stream = bytearray()

    def fill(out: NDArray[np.uint8]) -> None:
        while len(stream) < out.size:
            stream.extend(next(drawn))
        out[:] = np.frombuffer(bytes(stream[: out.size]), np.uint8)
        del stream[: out.size]

    vector = encode_update(plan, received, trained, weight, {"loss": 0.25}, fill).vector
    apply_masks(vector, plan, add, subtract)
    return pack_vector(vector, plan)


def check(plan: EncodingPlan, received: Model, trained: Model, add: list[bytes], subtract: list[bytes], threads: int | None) -> None:
    update = Update(plan, received, trained, 3, {"loss": 0.25}, no_noise)
    assert masked_payload(update, add, subtract, DITHER_KEY, threads=threads) == plainly(plan, received, trained, 3, add, subtract)


SIZES = [
    (),
    (0,),
    (1,),
    (70, 0, 5),
    (BLOCK, BLOCK - 1),
    (PIECE // 2 + BLOCK - 1,),
    (PIECE // 2, BLOCK),
    (3, PIECE, 40_000, BLOCK - 4),
    (100_000, PIECE // 2, 2 * PIECE, 77),
]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("rotation", [None, ROTATION], ids=["plain", "rotated"])
@pytest.mark.parametrize("ring_bits", [11, 16, 24, 32, 40])
def test_the_bytes_are_those_of_whole_vectors(sizes: tuple[int, ...], rotation: Rotation | None, ring_bits: int) -> None:
    received, trained = model(sizes, 1), model(sizes, 2)
    plan = EncodingPlan.for_arrays(received, parties=3, ring_bits=ring_bits, clip=3.0, max_weight=5, metric_slots=1, rotation=rotation)
    check(plan, received, trained, KEYS[:3], KEYS[3:], threads=2)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.integers(0, 300), max_size=5).map(tuple),
    st.integers(8, 64),
    st.booleans(),
    st.sampled_from([0.1, 3.0, 50.0]),
    st.integers(0, 5),
    st.sampled_from([None, 1, 2, 5]),
)
def test_any_small_model_in_any_ring(
    sizes: tuple[int, ...], ring_bits: int, rotated: bool, clip: float, adds: int, threads: int | None
) -> None:
    received, trained = model(sizes, 1), model(sizes, 2)
    rotation = ROTATION if rotated else None
    plan = EncodingPlan.for_arrays(received, parties=2, ring_bits=ring_bits, clip=clip, max_weight=5, metric_slots=1, rotation=rotation)
    check(plan, received, trained, KEYS[:adds], KEYS[adds:], threads)


def test_the_number_of_threads_changes_nothing() -> None:
    sizes = (5 * PIECE, 12_345)
    received, trained = model(sizes, 1), model(sizes, 2)
    plan = EncodingPlan.for_arrays(received, parties=3, ring_bits=20, metric_slots=1)
    sent = set()
    for threads in (1, 2, 3, 7, 50, None):
        update = Update(plan, received, trained, 3, {}, no_noise)
        sent.add(masked_payload(update, KEYS[:1], KEYS[1:2], DITHER_KEY, threads=threads))
    assert len(sent) == 1
    assert len(sent.pop()) == payload_bytes(plan)


def test_arrays_that_are_not_contiguous_and_torch_tensors_are_read_as_they_are_meant() -> None:
    torch = pytest.importorskip("torch")
    base, other = model((600, 600), 1), model((600, 600), 2)
    plan = EncodingPlan.for_arrays(
        {"a": base["t0"].reshape(20, 30), "b": torch.zeros(600, dtype=torch.bfloat16)}, parties=2, metric_slots=1
    )
    straight = [{"a": tensors["t0"].reshape(20, 30), "b": torch.tensor(tensors["t2"]).to(torch.bfloat16)} for tensors in (base, other)]
    plan = EncodingPlan.for_arrays(straight[0], parties=2, metric_slots=1)
    crooked = [{"a": np.asfortranarray(tensors["a"]), "b": torch.stack([tensors["b"]] * 2, dim=1)[:, 1]} for tensors in straight]
    sent = {masked_payload(Update(plan, *models, 1, {}, no_noise), KEYS[:1], [], DITHER_KEY) for models in (straight, crooked)}
    assert len(sent) == 1


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("rotation", [None, ROTATION], ids=["plain", "rotated"])
def test_a_model_that_is_not_finite_is_refused_whichever_thread_finds_it(bad: float, threads: int, rotation: Rotation | None) -> None:
    received = {"early": np.zeros(PIECE, np.float32), "late": np.zeros(3 * PIECE, np.float32)}
    plan = EncodingPlan.for_arrays(received, parties=2, rotation=rotation)
    trained = {"early": received["early"], "late": received["late"].copy()}
    trained["late"][-1] = bad
    for models, whose in (((received, trained), "trained"), ((trained, received), "received")):
        with pytest.raises(LocalError, match=f"tensor 'late' of the {whose} model has NaN or infinity"):
            masked_payload(Update(plan, *models, 1, {}, no_noise), KEYS[:1], [], DITHER_KEY, threads=threads)


def test_a_rotated_difference_that_overflows_is_clipped_not_refused() -> None:
    received = {"w": np.full(BLOCK, -1.7e308)}
    plan = EncodingPlan.for_arrays(received, parties=2, rotation=ROTATION, metric_slots=0)
    update = Update(plan, received, {"w": np.full(BLOCK, 1.7e308)}, 1, {}, no_noise)
    limbs = np.frombuffer(masked_payload(update, [], [], DITHER_KEY), "<u4")[BLOCK:]
    assert plan.clipped_format.join(limbs[plan.layout().clipped].tolist()) == BLOCK


def test_masks_seal_with_their_own_keys_and_a_fresh_dither() -> None:
    received, trained = model((50_000,), 1), model((50_000,), 2)
    plan = EncodingPlan.for_arrays(received, parties=3, metric_slots=0)
    masks = MaskKeys(Header(1, 1, 1), plan, tuple(KEYS[:2]), tuple(KEYS[2:3]))
    asked: list[int] = []

    def entropy(size_bytes: int) -> bytes:
        asked.append(size_bytes)
        return hashlib.sha256(bytes(asked)).digest()[:size_bytes]

    update = Update(plan, received, trained, 1, {}, no_noise)
    first, second = masks.seal(update, entropy), masks.seal(update, entropy)
    assert asked == [32, 32]
    assert first == masked_payload(update, KEYS[:2], KEYS[2:3], hashlib.sha256(bytes([32])).digest())
    assert first != second, "rounded by another key"
    other = EncodingPlan.for_arrays(received, parties=4, metric_slots=0)
    with pytest.raises(LocalError, match="another plan"):
        masks.seal(Update(other, received, trained, 1, {}, no_noise), entropy)


@pytest.mark.parametrize("threads", [0, -1])
def test_no_threads_are_refused(threads: int) -> None:
    received = model((10,), 1)
    update = Update(EncodingPlan.for_arrays(received, parties=2), received, received, 1, {}, no_noise)
    with pytest.raises(LocalError, match="threads"):
        masked_payload(update, [], [], DITHER_KEY, threads=threads)


PEAK = """
import re, sys
from pathlib import Path
import numpy as np
from stfed.encoding import EncodingPlan, Update
from stfed.secagg.payload import masked_payload

def resident(field):
    return 1024 * int(re.search(field + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

def sent(tensors, ring_bits):
    plan = EncodingPlan.for_arrays(tensors[0], parties=3, ring_bits=ring_bits)
    return masked_payload(Update(plan, *tensors, 1, {}, lambda out: None), [bytes(32)] * 3, [], bytes(32), threads=2)

ring_bits, *sizes = map(int, sys.argv[1:])
received = {f"t{i}": np.full(size, 0.5, np.float32) for i, size in enumerate(sizes)}
trained = {name: tensor + np.float32(0.01) for name, tensor in received.items()}
small = {"t": received["t0"][:200_000]}
sent((small, small), ring_bits)
Path("/proc/self/clear_refs").write_text("5")
before = resident("VmRSS")
payload = sent((received, trained), ring_bits)
print(resident("VmHWM") - before - len(payload))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the peak of what was resident")
@pytest.mark.parametrize("ring_bits", [16, 24, 32])
def test_memory_beyond_the_models_and_the_payload_is_constant(ring_bits: int) -> None:
    """8 million parameters: one vector more would be 16 or 32 MB, one copy of a model 32 MB."""
    command = [sys.executable, "-c", PEAK, str(ring_bits), "3000000", "1000", "4000000", "999000"]
    extra_bytes = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert extra_bytes < 12 << 20
