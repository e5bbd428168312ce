"""Geometry is exact, threads change nothing, random access touches its own segments only, failure leaves zeros."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stfed.errors import MalformedError
from stfed.files import Memory
from stfed.sealed import parallel, stream
from stfed.sealed.errors import TamperedError
from stfed.sealed.floe import HEADER_BYTES, OVERHEAD_BYTES, Floe, Parameters
from stfed.sealed.geometry import Geometry
from stfed.sealed.stream import Payload, SegmentSealer

from .material import Plain, Script

KEY, DATA = bytes(32), b"data"


def seal(plain: bytes, segment_bytes: int, parts: int = 1) -> bytes:
    entropy = Script("stream")
    floe = Floe.start_encryption(KEY, DATA, Parameters(segment_bytes), entropy)
    out = bytearray(Geometry(len(plain), segment_bytes).payload_bytes)
    sealer = SegmentSealer(floe, len(plain), Memory(memoryview(out)), 0, entropy=entropy)
    for part in range(1, parts + 1):
        assert not sealer.complete
        sealer.seal(sealer.geometry.count * part // parts, Plain(plain).piece)
    assert sealer.complete
    return bytes(out)


def open_payload(sealed: bytes, segment_bytes: int) -> Payload:
    floe = Floe.start_decryption(KEY, DATA, Parameters(segment_bytes), sealed[:HEADER_BYTES])
    return Payload(Memory(memoryview(sealed)), 0, Geometry.of_payload(len(sealed), segment_bytes), floe)


@given(st.integers(0, 5000), st.integers(33, 200))
def test_geometry_round_trips_and_is_canonical(plain_bytes: int, segment_bytes: int) -> None:
    geometry = Geometry(plain_bytes, segment_bytes)
    assert Geometry.of_payload(geometry.payload_bytes, segment_bytes) == geometry
    spans = [geometry.span(position) for position in range(geometry.count)]
    assert [start for start, _ in spans] == [0, *(stop for _, stop in spans[:-1])]
    assert spans[-1][1] == plain_bytes
    assert all(stop - start == geometry.chunk_bytes for start, stop in spans[:-1])
    assert plain_bytes == 0 or spans[-1][1] > spans[-1][0]
    assert [geometry.is_last(position) for position in range(geometry.count)] == [False] * (geometry.count - 1) + [True]


@given(st.integers(0, 2000), st.integers(33, 100))
def test_every_length_is_a_payloads_or_refused(payload_bytes: int, segment_bytes: int) -> None:
    reachable = {Geometry(plain, segment_bytes).payload_bytes for plain in range(2000)}
    if payload_bytes in reachable:
        assert Geometry.of_payload(payload_bytes, segment_bytes).payload_bytes == payload_bytes
    else:
        with pytest.raises(MalformedError, match="no payload is"):
            Geometry.of_payload(payload_bytes, segment_bytes)


@given(st.binary(max_size=2000), st.integers(40, 200), st.integers(1, 9))
def test_sealing_in_several_calls_changes_nothing(plain: bytes, segment_bytes: int, parts: int) -> None:
    sealed = seal(plain, segment_bytes, parts)
    assert sealed == seal(plain, segment_bytes)
    assert open_payload(sealed, segment_bytes).read(0, len(plain)) == plain


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_any_range_and_only_its_segments(start: int, stop: int) -> None:
    plain = bytes(byte % 251 for byte in range(1000))
    payload = open_payload(seal(plain, 64), 64)
    if start > stop:
        with pytest.raises(MalformedError, match="outside"):
            payload.read(0, 1001)
        return
    assert payload.read(start, stop) == plain[start:stop]
    touched = 0 if start == stop else (stop - 1) // 32 - start // 32 + 1
    assert payload.segments_opened == touched


def test_neighbours_share_a_decryption() -> None:
    plain = bytes(range(256)) * 4
    payload = open_payload(seal(plain, 288), 288)
    for at in range(0, 256, 16):
        assert payload.read(at, at + 16) == plain[at : at + 16]
    assert payload.segments_opened == 1
    kept = payload._kept
    assert kept is not None
    payload.close()
    assert bytes(kept[1]) == bytes(256)
    assert payload._kept is None


def test_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = bytes(byte % 253 for byte in range(100_000))
    monkeypatch.setattr(stream, "thread_count", lambda _segments: 1)
    alone = seal(plain, 1024)
    monkeypatch.setattr(stream, "thread_count", lambda _segments: 4)
    assert seal(plain, 1024) == alone
    payload = open_payload(alone, 1024)
    assert payload.read(5, 99_000) == plain[5:99_000]
    out = bytearray(len(plain))
    done: list[int] = []
    payload.copy_to(Memory(memoryview(out)), done.append)
    assert bytes(out) == plain
    assert sum(done) == len(plain)


def test_memory_is_a_few_segments_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []

    def counting(size_bytes: int) -> memoryview:
        taken.append(size_bytes)
        return memoryview(bytearray(size_bytes))

    monkeypatch.setattr(stream, "buffer", counting)
    monkeypatch.setattr(stream, "thread_count", lambda _segments: 3)
    sealed = seal(bytes(500_000), 1024)
    payload = open_payload(sealed, 1024)
    payload.copy_to(Memory(memoryview(bytearray(500_000))))
    assert len(taken) <= 2 * 2 * 3
    assert sum(taken) <= 2 * 2 * 3 * 1024


@pytest.mark.parametrize("threads", [1, 3])
def test_failure_zeroes_everything_and_stops(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "thread_count", lambda _segments: threads)
    sealed = bytearray(seal(b"secret! " * 4000, 1024))
    sealed[HEADER_BYTES + 20 * 1024 + 500] ^= 1
    payload = open_payload(bytes(sealed), 1024)
    out = memoryview(bytearray(b"\xaa" * 32_000))
    with pytest.raises(TamperedError, match="segment 20 does not verify"):
        payload.read_into(0, out)
    assert bytes(out) == bytes(32_000)
    with pytest.raises(TamperedError, match="segment 20 does not verify"):
        payload.read_into(20 * 992 + 1, out[:5])  # a part of it: by way of the kept segment
    assert payload._kept is None or payload._kept[0] != 20
    assert payload.read(0, 8) == b"secret! "
    before = threading.active_count()
    with pytest.raises(TamperedError):
        payload.copy_to(Memory(memoryview(bytearray(32_000))))
    assert threading.active_count() == before


def test_the_first_error_stops_the_other_threads() -> None:
    """Also while the caller still waits for a thread that had no error."""
    threads, seen = itertools.count(), []

    def worker() -> Callable[[int], None]:
        number = next(threads)

        def work(task: int) -> None:
            if number:
                raise TamperedError(f"task {task}")
            seen.append(task)
            time.sleep(0.001)

        return work

    with pytest.raises(TamperedError, match="task"):
        parallel.each(iter(range(1000)), worker, 4)
    assert len(seen) < 900


class Broken(Exception):
    pass


@pytest.mark.parametrize("where", ["drawing", "making", "putting"])
def test_an_error_anywhere_in_the_pipe_is_raised_and_ends_both_threads(where: str) -> None:
    def tasks() -> Iterator[int]:
        for number in range(100):
            if (where, number) == ("drawing", 20):
                raise Broken(where)
            yield number

    def make(task: int, room: memoryview) -> memoryview:
        if (where, task) == ("making", 20):
            raise Broken(where)
        room[:1] = bytes([task])
        return room[:1]

    def put(task: int, made: memoryview) -> None:
        if (where, task) == ("putting", 20):
            raise Broken(where)
        assert bytes(made) == bytes([task])
        seen.append(task)

    seen: list[int] = []
    before = threading.active_count()
    with pytest.raises(Broken, match=where):
        parallel.pipe(tasks(), make, put, 8)
    assert seen == list(range(20))
    assert threading.active_count() == before


def test_the_pipe_keeps_order_and_reuses_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[memoryview] = []
    monkeypatch.setattr(parallel, "buffer", lambda size: taken.append(memoryview(bytearray(size))) or taken[-1])
    seen: list[tuple[int, bytes]] = []

    def make(task: int, room: memoryview) -> memoryview:
        room[:] = bytes([task]) * 3
        return room

    parallel.pipe(iter(range(200)), make, lambda task, made: seen.append((task, bytes(made))), 3)
    assert seen == [(number, bytes([number]) * 3) for number in range(200)]
    assert len(taken) == 4


def test_few_segments_take_one_thread() -> None:
    assert parallel.thread_count(1) == parallel.thread_count(3) == 1
    assert 1 <= parallel.thread_count(1000) <= 4


def test_overhead_is_74_bytes_and_32_a_segment() -> None:
    assert Geometry(1 << 30, 1 << 20).payload_bytes == (1 << 30) + HEADER_BYTES + 1025 * OVERHEAD_BYTES
