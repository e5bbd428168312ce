"""The GPU kernel against the keystream of the host: on a GPU if there is one, otherwise in Triton's interpreter."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import pytest

from stfed.crypto import device
from stfed.crypto import keystream as ks
from stfed.errors import LocalError
from tests.crypto.material import vectors

torch = pytest.importorskip("torch", reason="torch is not installed")
if not device.has_triton():
    pytest.skip("Triton is not installed: pip install 'stfed[gpu]'", allow_module_level=True)

KEYS = [hashlib.sha256(bytes([number])).digest() for number in range(4)]


@pytest.fixture(scope="module")
def place() -> Iterator[torch.device]:
    if torch.cuda.is_available():
        yield torch.device("cuda")
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")  # read when the kernel's module is imported
        import stfed.crypto.triton_aes  # noqa: F401

        yield torch.device("cpu")


def numbers(size: int, lane: torch.dtype) -> np.ndarray:
    return np.random.default_rng(size).integers(-(2**15), 2**15, size).astype(str(lane).removeprefix("torch."))


def summed(start: np.ndarray, add: list[bytes], subtract: list[bytes], first_segment: int) -> np.ndarray:
    total = start.view(f"u{start.itemsize}").copy()
    ks.accumulate(total, add, subtract, first_segment=first_segment)
    return total.view(start.dtype)


def test_vectors_of_sums(place: torch.device) -> None:
    for case in vectors("keystream")["sums"]:
        modulus, dtype = 2 ** case["word_bits"], np.dtype(f"u{case['word_bits'] // 8}")
        start = np.array([j * 0x9E3779B97F4A7C15 % modulus for j in range(case["words"])], dtype)
        total = torch.from_numpy(start).to(place)
        add, subtract = ([bytes.fromhex(key) for key in case[kind]] for kind in ("add", "subtract"))
        with device.DeviceStreams(add, subtract, device=place) as streams:
            assert len(streams) == len(add) + len(subtract)
            streams.accumulate(total, first_segment=case["first_segment"])
        found = total.cpu().numpy().astype(dtype.newbyteorder("<")).tobytes()
        assert hashlib.sha256(found).hexdigest() == case["sha256_of_little_endian_words"]


@pytest.mark.parametrize(("lane", "first_segment"), [(torch.int16, 0), (torch.int32, 65535), (torch.int64, ks.STREAM_SEGMENTS - 2)])
def test_whole_programs_a_rest_and_the_next_segment(place: torch.device, lane: torch.dtype, first_segment: int) -> None:
    start = numbers(ks.SEGMENT_BYTES // lane.itemsize + 1001, lane)
    total = torch.tensor(start, device=place)
    with device.DeviceStreams(KEYS[:1], KEYS[1:2], device=place) as streams:
        streams.accumulate(total, first_segment=first_segment)
    assert (total.cpu().numpy() == summed(start, KEYS[:1], KEYS[1:2], first_segment)).all()


@pytest.mark.parametrize(("add", "subtract"), [(KEYS[:3], []), ([], KEYS[:2]), ([], [])])
def test_keys_of_one_kind_or_none(place: torch.device, add: list[bytes], subtract: list[bytes]) -> None:
    start = numbers(77, torch.int16)
    total = torch.tensor(start, device=place)
    with device.DeviceStreams(add, subtract, device=place) as streams:
        streams.accumulate(total)
        streams.accumulate(total[:0])
    assert (total.cpu().numpy() == summed(start, add, subtract, 0)).all()


@pytest.mark.parametrize("words", [994, ks.SEGMENT_BYTES // 4 + 994])  # the longer one has whole programs
def test_a_slice_that_is_not_aligned_and_nothing_around_it(place: torch.device, words: int) -> None:
    around = torch.zeros(words + 6, dtype=torch.int16, device=place)
    with device.DeviceStreams(KEYS[:1], device=place) as streams:
        streams.accumulate(around[3:-3])
    found = around.cpu().numpy()
    assert not found[:3].any()
    assert not found[-3:].any()
    assert found[3:-3].tobytes() == ks.keystream(KEYS[0], 0, 2 * words)


def test_schedules_are_wiped(place: torch.device) -> None:
    with device.DeviceStreams(KEYS, device=place) as streams:
        assert streams._schedules.any()
    assert not streams._schedules.any()
    assert not any(key.hex()[:8] in repr(streams) for key in KEYS)


def test_words_of_the_host_by_way_of_the_device(place: torch.device) -> None:
    words = np.arange(500, dtype=np.uint32)
    expected = words.copy()
    ks.accumulate(expected, KEYS[:2], KEYS[2:])
    device.accumulator(place)(words, KEYS[:2], KEYS[2:])
    assert (words == expected).all()


def test_what_cannot_be_done_is_refused_before_anything_is(place: torch.device) -> None:
    good = torch.zeros(8, dtype=torch.int32, device=place)
    with device.DeviceStreams(KEYS[:1], device=place) as streams:
        for bad in (good.float(), good.to(torch.uint8), good.view(2, 4), good[::2]):
            with pytest.raises(LocalError, match="expected a"):
                streams.accumulate(bad)
        for first_segment in (-1, ks.STREAM_SEGMENTS):
            with pytest.raises(LocalError, match="one key may give out"):
                streams.accumulate(good, first_segment=first_segment)
        elsewhere = good.to("meta")
        with pytest.raises(LocalError, match="the tensor is on meta"):
            streams.accumulate(elsewhere)
    assert not good.any()
    with pytest.raises(LocalError, match="32 bytes"):
        device.DeviceStreams([bytes(16)], device=place)


def test_a_host_without_the_interpreter_is_no_place_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert not device.available(torch.device("cpu"))
    with pytest.raises(LocalError, match="cannot be made on cpu"):
        device.DeviceStreams(KEYS, device=torch.device("cpu"))


@pytest.mark.parametrize("word_bytes", [2, 4, 8])
def test_the_kernel_is_believed_after_a_known_answer(place: torch.device, word_bytes: int) -> None:
    assert device.works.__wrapped__(place, word_bytes)


def test_a_kernel_that_counts_wrong_or_fails_is_not_used(
    place: torch.device, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    right = device.schedules
    monkeypatch.setattr(device, "schedules", lambda keys: right(keys) ^ np.uint32(1))
    assert not device.works.__wrapped__(place, 4)
    assert "wrong keystreams" in caplog.text
    monkeypatch.setattr(device.DeviceStreams, "_launch", lambda *_: 1 / 0)
    assert not device.works.__wrapped__(place, 4)
    assert "cannot run (ZeroDivisionError" in caplog.text
