from __future__ import annotations

import base64
import random
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stfed.crypto import keystream
from stfed.crypto.keystream import SEGMENT_BYTES, Words
from stfed.encoding import EncodingPlan, Vector
from stfed.errors import LocalError, PeerError
from stfed.flower.sharded import RayWorkers, WorkersLostError, accumulate
from stfed.flower.shards import MAX_SHARD_KEYS, MAX_SHARD_SEGMENTS, Channel, Worker, split
from stfed.secagg.masking import apply_masks
from tests.flower import apps

Sent = tuple[int, bytes, bytes]

DROPS = {"action": "drop-reply", "node": 1, "step": "train", "round": 1}


class InProcess:
    """Real workers in this process. Replies come in any order; `dies` says which requests their worker does not survive."""

    def __init__(self, workers: int, *, seed: int = 0, dies: Callable[[int], bool] = lambda request: False) -> None:
        self.workers = {number: Worker() for number in range(workers)}
        self.crossed: list[bytes] = []
        self.held: Counter[int] = Counter()
        self._random, self._dies, self._requests = random.Random(seed), dies, 0
        self._waiting: dict[int, Sent] = {}

    def begin(self) -> Mapping[int, bytes]:
        return {number: worker.begin() for number, worker in self.workers.items()}

    def send(self, worker: int, sender: bytes, request: bytes) -> object:
        self._requests += 1
        self._waiting[self._requests] = worker, sender, request
        self.crossed += [sender, request]
        self.held[worker] += 1
        assert self.held[worker] <= 2
        return self._requests

    def receive(self) -> tuple[object, bytes | str]:
        token = self._random.choice(list(self._waiting))
        worker, sender, request = self._waiting.pop(token)
        self.held[worker] -= 1
        if self._dies(token):
            self.workers.pop(worker, None)
        if worker not in self.workers:
            return token, "ActorDiedError"
        reply = self.workers[worker].work(sender, request)
        self.crossed.append(reply)
        return token, reply

    def end(self) -> None:
        for worker in self.workers.values():
            worker.end()


def keys_of(count: int, seed: int = 1) -> list[bytes]:
    generator = random.Random(seed)
    return [generator.randbytes(32) for _ in range(count)]


def words_of(size: int, bits: int = 32, seed: int = 2) -> Words:
    words: Words = np.frombuffer(random.Random(seed).randbytes(size * bits // 8), f"u{bits // 8}").copy()
    return words


def spellings(secret: bytes) -> list[bytes]:
    return [secret, secret.hex().encode(), base64.b64encode(secret)[:-4], repr(secret).encode()[2:-1]]


@given(keys=st.integers(0, 3 * MAX_SHARD_KEYS), segments=st.integers(0, 3 * MAX_SHARD_SEGMENTS), workers=st.integers(1, 300))
def test_the_shards_are_as_many_as_are_wanted_and_small_enough(keys: int, segments: int, workers: int) -> None:
    shards = split(keys, segments, workers)
    assert len(shards) >= min(keys * segments, 2 * workers)
    assert sum(len(shard.keys) * len(shard.segments) for shard in shards) == keys * segments
    assert all(0 < len(shard.keys) <= MAX_SHARD_KEYS and 0 < len(shard.segments) <= MAX_SHARD_SEGMENTS for shard in shards)


@given(keys=st.integers(0, 40), segments=st.integers(0, 40), workers=st.integers(1, 30))
def test_every_piece_of_every_stream_is_in_one_shard(keys: int, segments: int, workers: int) -> None:
    cells = Counter(cell for shard in split(keys, segments, workers) for cell in product(shard.keys, shard.segments))
    assert cells == Counter(product(range(keys), range(segments)))


def test_the_cut_is_the_one_with_the_fewest_bytes_on_the_way() -> None:
    # Few keys and a long vector: the vector is cut. Many keys and a short vector: the keys are.
    assert {len(shard.keys) for shard in split(100, 400, 8)} == {100}
    assert {len(shard.segments) for shard in split(1_000_000, 4, 8)} == {4}


@settings(max_examples=40, deadline=None)
@given(
    bits=st.sampled_from([16, 32, 64]),
    size=st.integers(0, 5 * SEGMENT_BYTES // 8),
    adds=st.integers(0, 7),
    subtracts=st.integers(0, 7),
    workers=st.integers(1, 5),
    seed=st.integers(0, 2**16),
)
def test_sharded_is_the_same_bytes(bits: int, size: int, adds: int, subtracts: int, workers: int, seed: int) -> None:
    add, subtract = keys_of(adds, seed), keys_of(subtracts, seed + 1)
    ours, theirs = words_of(size, bits), words_of(size, bits)
    accumulate(InProcess(workers, seed=seed), ours, add, subtract)
    keystream.accumulate(theirs, add, subtract)
    assert ours.tobytes() == theirs.tobytes()


@settings(max_examples=40, deadline=None)
@given(workers=st.integers(1, 5), dying=st.sets(st.integers(1, 12), max_size=4), seed=st.integers(0, 2**16))
def test_workers_that_die_change_nothing_or_fail_the_round(workers: int, dying: set[int], seed: int) -> None:
    add, subtract = keys_of(4), keys_of(5, 3)
    ours, theirs = words_of(200_000), words_of(200_000)
    keystream.accumulate(theirs, add, subtract)
    carrier = InProcess(workers, seed=seed, dies=dying.__contains__)
    try:
        accumulate(carrier, ours, add, subtract)
    except WorkersLostError:
        assert len(dying) >= min(workers, 3)
    else:
        assert ours.tobytes() == theirs.tobytes()


def test_a_round_without_workers_fails_and_says_so() -> None:
    with pytest.raises(WorkersLostError, match="the sum cannot be unmasked: no worker has started"):
        accumulate(InProcess(0), words_of(10), keys_of(1), [])
    with pytest.raises(WorkersLostError, match="no worker is left"):
        accumulate(InProcess(1, dies=lambda request: True), words_of(10), keys_of(1), [])
    with pytest.raises(LocalError, match="0 unmask workers"):
        RayWorkers(0)


def test_a_part_that_kills_every_worker_is_not_tried_for_ever() -> None:
    carrier = InProcess(100, dies=lambda request: True)
    with pytest.raises(WorkersLostError, match="3 workers failed at the same part of it, the last one with ActorDiedError"):
        accumulate(carrier, words_of(10), keys_of(1), [])
    assert len(carrier.workers) == 97


def test_nothing_that_crosses_shows_a_key_or_a_sum() -> None:
    add, subtract = keys_of(30), keys_of(30, 3)
    masks, before = np.zeros(100_000, np.uint32), words_of(100_000)
    keystream.accumulate(masks, add, subtract)
    carrier, after = InProcess(3), before.copy()
    accumulate(carrier, after, add, subtract)
    crossed = b"".join(carrier.crossed)
    assert len(crossed) > masks.nbytes
    for secret in [
        *add,
        *subtract,
        *(vector[at : at + 4].tobytes() for vector in (masks, before, after) for at in range(0, 100_000, 9_999)),
    ]:
        assert secret not in crossed


def test_a_worker_has_no_key_outside_of_a_call_and_another_one_in_each() -> None:
    carrier = InProcess(1)
    for _ in range(2):
        accumulate(carrier, words_of(1000), keys_of(3), [])
    (first, *_), (second, *_) = carrier.crossed[:3], carrier.crossed[-3:]
    assert first != second
    with pytest.raises(LocalError, match="no key"):
        carrier.workers[0].work(*carrier.crossed[:2])
    assert carrier.begin() != carrier.begin()
    with pytest.raises(PeerError):
        carrier.workers[0].work(*carrier.crossed[:2])
    dying = InProcess(2, dies=lambda request: request == 1)
    accumulate(dying, words_of(1000), keys_of(9), [])
    assert "_private=b''" not in repr(dying.workers)
    assert not any(worker._private for worker in dying.workers.values())


class Wrong(InProcess):
    """Replies go through a hand that should not be there."""

    def __init__(self, hand: Callable[[bytes, deque[bytes]], bytes]) -> None:
        super().__init__(1)
        self._hand, self._seen = hand, deque[bytes]()

    def receive(self) -> tuple[object, bytes | str]:
        token, reply = super().receive()
        assert isinstance(reply, bytes)
        self._seen.append(reply)
        return token, self._hand(reply, self._seen)


@pytest.mark.parametrize(
    "hand",
    [
        lambda reply, seen: reply[:-1],
        lambda reply, seen: b"",
        lambda reply, seen: reply[:100] + bytes([reply[100] ^ 1]) + reply[101:],
        lambda reply, seen: seen[0],
    ],
    ids=["cut off", "empty", "changed", "another request's"],
)
def test_a_reply_that_is_not_the_answer_is_an_error(hand: Callable[[bytes, deque[bytes]], bytes]) -> None:
    with pytest.raises(PeerError, match="unmask worker 0 answered with something else"):
        accumulate(Wrong(hand), words_of(500_000), keys_of(4), [])


def test_a_channel_shows_no_key() -> None:
    worker, private = Worker(), keys_of(1)[0]
    shown = repr(Channel(private, worker.begin(), coordinator=True))
    assert not any(spelling in shown.encode() for spelling in spellings(private))
    assert "_key" not in shown


def test_it_takes_the_masks_of_a_round_off() -> None:
    plan = EncodingPlan.for_arrays({"model": np.zeros(100_000, np.float32)}, parties=5, metric_slots=3)
    add, subtract = keys_of(5), keys_of(6, 9)
    plain, sharded = Vector.zeros(plan), Vector.zeros(plan)
    apply_masks(plain, plan, add, subtract)
    apply_masks(sharded, plan, add, subtract, accumulate=partial(accumulate, InProcess(2)))
    assert sharded.ring.tobytes() == plain.ring.tobytes()
    assert sharded.wide.tobytes() == plain.wide.tobytes()


def test_a_worker_with_other_streams_cannot_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    carrier, real = InProcess(1), keystream.keystream
    work = carrier.workers[0].work

    def other_work(sender: bytes, request: bytes) -> bytes:
        with monkeypatch.context() as patch:
            patch.setattr(keystream, "keystream", lambda key, offset, size: real(key, offset + 16, size))
            return work(sender, request)

    monkeypatch.setattr(carrier.workers[0], "work", other_work)
    with pytest.raises(PeerError):
        accumulate(carrier, words_of(10), keys_of(1), [])


def test_through_flower_the_mean_is_that_of_an_unsharded_run() -> None:
    runs = []
    for options in ({}, {"accumulate": partial(accumulate, InProcess(2))}):
        grid, strategy = apps.secure_grid(5, DROPS), apps.secure(**options)
        result = strategy.start(grid, apps.model(), num_rounds=2)
        assert [len(report.summed) for report in strategy.reports] == [4, 5]
        runs.append((result.arrays, sum(report.error_bound for report in strategy.reports)))
    (plain, bound), (sharded, _) = runs
    assert apps.distance(sharded, apps.numpy_of(plain)) <= 2 * (bound + 2 * apps.rounding(4, plain))


def test_through_flower_a_round_without_workers_fails_and_releases_nothing() -> None:
    with pytest.raises(WorkersLostError):
        apps.secure(accumulate=partial(accumulate, InProcess(0))).start(apps.secure_grid(5), apps.model(), num_rounds=1)
    skipping = apps.secure(accumulate=partial(accumulate, InProcess(0)), on_failure="skip")
    skipping.start(apps.secure_grid(5), apps.model(), num_rounds=1)
    (report,) = skipping.reports
    assert "the sum cannot be unmasked" in str(report.failure)
    assert report.summed == ()


@pytest.fixture(scope="module")
def ray_workers() -> Iterator[RayWorkers]:
    pytest.importorskip("ray")
    with RayWorkers(2, timeout_s=180) as workers:
        yield workers


@pytest.mark.e2e
def test_on_ray_the_bytes_are_the_same_and_what_it_keeps_has_no_key(ray_workers: RayWorkers) -> None:
    add, subtract = keys_of(20_000), keys_of(20, 3)
    ours, theirs = words_of(70_000), words_of(70_000)
    sent: list[bytes] = []
    send = ray_workers.send
    ray_workers.send = lambda worker, sender, request: (sent.append(request), send(worker, sender, request))[1]  # type: ignore[method-assign]
    ray_workers(ours, add, subtract)
    ray_workers.send = send  # type: ignore[method-assign]
    keystream.accumulate(theirs, add, subtract)
    assert ours.tobytes() == theirs.tobytes()

    assert ray_workers._folder is not None
    kept = b"".join([*object_store(), *(path.read_bytes() for path in Path(ray_workers._folder.name).rglob("*") if path.is_file())])
    assert any(request[1000:1064] in kept for request in sent), "the search sees what Ray keeps: the sealed requests"
    secrets = [*add[::4000], *subtract[::5]]
    assert not any(spelling in kept for secret in secrets for spelling in spellings(secret))


def object_store() -> Iterator[bytes]:
    """The start of the shared memory of the Ray processes that run here."""
    seen = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if not (process / "cmdline").read_bytes().split(b"\0")[0].endswith(b"raylet"):
                continue
            for descriptor in (process / "fd").iterdir():
                if "plasma" in str(descriptor.readlink()) and descriptor.stat().st_ino not in seen:
                    seen.add(descriptor.stat().st_ino)
                    with descriptor.open("rb") as file:
                        yield file.read(8 << 20)
        except OSError:
            continue


@pytest.mark.e2e
def test_on_ray_a_killed_worker_is_replaced(ray_workers: RayWorkers) -> None:
    ray = pytest.importorskip("ray")
    add, ours, theirs = keys_of(50), words_of(200_000), words_of(200_000)
    keystream.accumulate(theirs, add)
    send, killed = ray_workers.send, False

    def send_and_kill(worker: int, sender: bytes, request: bytes) -> object:
        nonlocal killed
        if not killed:
            ray.kill(ray_workers._actors[worker])
            killed = True
        return send(worker, sender, request)

    ray_workers.send = send_and_kill  # type: ignore[method-assign]
    ray_workers(ours, add, [])
    ray_workers.send = send  # type: ignore[method-assign]
    assert ours.tobytes() == theirs.tobytes()
    assert len(ray_workers._actors) == 1
    ray_workers(ours, [], add)
    assert ours.tobytes() == words_of(200_000).tobytes()
    assert len(ray_workers._actors) == 2
