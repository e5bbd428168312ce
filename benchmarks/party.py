"""What a party does between training and upload, against what its machine can do: masking, encoding, both on two cores, and their memory.

The limit of masking is keystream and addition alone, in cache (`stfed.bench.limits`); of two cores, what two separate processes reach,
which share nothing but the memory. Encoding is everything but the masks: delta, weight, clip, dither, rounding, packing, and the first
touch of the payload's memory. Figures of one core are process time; where threads are compared with one thread, both are time on the
clock, taken by turns. Each is the best of several tries.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import partymemory
from benchmarks.line import Line, Section
from benchmarks.progress import progress
from stfed.bench import limits
from stfed.bench.limits import Limits
from stfed.bench.workload import CLIP, MAX_WEIGHT, Workload
from stfed.crypto.keystream import Streams, keystream
from stfed.encoding import EncodingPlan, Update, encode_update, pack_vector
from stfed.encoding.rotation import Rotation
from stfed.secagg.masking import apply_masks
from stfed.secagg.payload import masked_payload

MASKS = 20
"""A party's own mask and those of 19 partners."""
PARTIES = 100
RING_BITS = (32, 24, 16, 12)
ROTATION = Rotation(bytes(range(16)))
_LIMIT_SHARE, _TWO_THREADS, _ENCODE_NS, _EXTRA_MIB = 0.8, 1.7, 3.0, 64.0


@dataclass(frozen=True)
class Masking:
    """Nanoseconds for one mask on one word.

    Attributes:
        bits: of a word.
        one_ns: one thread, process time.
        one_wall_ns: one thread, on the clock.
        two_wall_ns: two threads, on the clock.
    """

    bits: int
    one_ns: float
    one_wall_ns: float
    two_wall_ns: float


@dataclass(frozen=True)
class Encoding:
    """Nanoseconds for one parameter, without masks in the first two, with `MASKS` masks in the others."""

    ring_bits: int
    rotated: bool
    one_ns: float
    two_wall_ns: float
    masked_one_wall_ns: float
    masked_two_wall_ns: float


def masking(bits: int, words: int, tries: int) -> Masking:
    """Of a vector that does not fit the cache."""
    streams, total = Streams([os.urandom(32) for _ in range(MASKS)]), np.zeros(words, f"u{bits // 8}")
    (one_ns, one_wall_ns), (_, two_wall_ns) = _by_turns(lambda threads: streams.accumulate(total, threads=threads), tries, words * MASKS)
    return Masking(bits, one_ns, one_wall_ns, two_wall_ns)


def encoding(ring_bits: int, rotated: bool, parameters: int, tries: int) -> Encoding:
    """Of a float32 model."""
    update = _update(ring_bits, rotated, parameters)
    masks, key = [os.urandom(32) for _ in range(MASKS)], os.urandom(32)
    (one_ns, _), (_, two_wall_ns) = _by_turns(lambda threads: masked_payload(update, [], [], key, threads=threads), tries, parameters)
    (_, masked_ns), (_, masked_two_ns) = _by_turns(
        lambda threads: masked_payload(update, masks, [], key, threads=threads), tries, parameters
    )
    return Encoding(ring_bits, rotated, one_ns, two_wall_ns, masked_ns, masked_two_ns)


def processes_gain(words: int, tries: int) -> float:
    """How many times as fast two processes mask as one: what two cores are worth on this machine."""
    alone, together = (min(_masking_processes(count, words) for _ in range(tries)) for count in (1, 2))
    return 2 * alone / together


def wrong_bytes(ring_bits: int, rotated: bool, parameters: int) -> list[str]:
    """A sentence if the payload is not that of a whole vector, encoded, masked and packed one after the other."""
    update, key, masks = _update(ring_bits, rotated, parameters), bytes(range(32)), [hashlib.sha256(bytes([i])).digest() for i in range(3)]
    dither = keystream(key, 0, 4 * parameters)
    taken = 0

    def fill(out: Any) -> None:
        nonlocal taken
        out[:] = np.frombuffer(dither, np.uint8)[taken : taken + out.size]
        taken += out.size

    vector = encode_update(update.plan, update.received, update.trained, 50, {}, fill).vector
    apply_masks(vector, update.plan, masks[:2], masks[2:])
    if masked_payload(update, masks[:2], masks[2:], key, threads=2) == pack_vector(vector, update.plan):
        return []
    return [f"the payload at b = {ring_bits}, {'rotated' if rotated else 'not rotated'}, is not that of whole vectors"]


def lines(
    limit: Limits, gain: float, masked: Sequence[Masking], encoded: Sequence[Encoding], memory: Sequence[partymemory.Peak]
) -> list[Line]:
    """The table."""
    found = [Line("keystream and addition, one mask on one 32-bit word, in cache", limit.mask_ns, "ns", note="the limit")]
    for one in masked:
        scaled_ns = limit.mask_ns * one.bits / 32
        note = f"{one.one_ns:.3f} ns a mask, {MASKS} masks"
        found.append(
            Line(f"masking {one.bits}-bit words, one thread, share of the limit", scaled_ns / one.one_ns, "x", _LIMIT_SHARE, "more", note)
        )
        note = f"two processes reach {gain:.2f}" + ("" if one.bits == 32 else " with 32-bit words")
        speed_up = one.one_wall_ns / one.two_wall_ns
        found.append(Line(f"masking {one.bits}-bit words, two threads over one", speed_up, "x", _TWO_THREADS, "more", note))
    for each in encoded:
        how = f"b = {each.ring_bits}" + (", rotated" if each.rotated else "")
        target = None if each.rotated else _ENCODE_NS
        why = "; packing is on top, which lanes of 16 or 32 bits need none of" if each.ring_bits not in (16, 32) else ""
        found.append(Line(f"encoding a parameter, {how}", each.one_ns, "ns", target, note=f"two threads {each.two_wall_ns:.2f} ns{why}"))
    for each in encoded:
        if not each.rotated:
            note = f"{each.masked_two_wall_ns:.2f} ns a parameter"
            name = f"encoding and {MASKS} masks, b = {each.ring_bits}, two threads over one"
            found.append(Line(name, each.masked_one_wall_ns / each.masked_two_wall_ns, "x", note=note))
    for peak in memory:
        name = f"peak memory beyond models and payload, {peak.parameters / 1e6:.0f} M parameters of {peak.dtype}"
        if peak.extra_bytes is None:
            found.append(Line(name, None, "MiB", _EXTRA_MIB, note=peak.why))
        else:
            note = f"b = {peak.ring_bits}, {peak.tensors} tensors, {MASKS} masks in {peak.seconds:.1f} s"
            found.append(Line(name, peak.extra_bytes / 2**20, "MiB", _EXTRA_MIB, note=note))
    return found


def _update(ring_bits: int, rotated: bool, parameters: int) -> Update:
    work, rotation = Workload(PARTIES, parameters), ROTATION if rotated else None
    received = work.received
    plan = EncodingPlan.for_arrays(
        received, parties=PARTIES, ring_bits=ring_bits, clip=CLIP, max_weight=MAX_WEIGHT, metric_slots=0, rotation=rotation
    )
    return Update(plan, received, work.trained(0), work.weight(0), {}, lambda out: out.fill(0))


def _by_turns(call: Callable[[int], object], tries: int, divisor: int) -> list[tuple[float, float]]:
    """The least (process, wall) nanoseconds with one thread and with two."""
    best = [(float("inf"), float("inf"))] * 2
    for _ in range(tries):
        for index in range(2):
            wall, process = time.perf_counter(), time.process_time()
            call(index + 1)
            process, wall = time.process_time() - process, time.perf_counter() - wall
            best[index] = min(best[index][0], 1e9 * process / divisor), min(best[index][1], 1e9 * wall / divisor)
    return best


def _masking_processes(count: int, words: int) -> float:
    """Seconds until as many processes have each masked a vector, from when all of them are ready."""
    context = multiprocessing.get_context("spawn")
    ready, seconds = context.Barrier(count), context.SimpleQueue()
    processes = [context.Process(target=_mask_alone, args=(ready, seconds, words)) for _ in range(count)]
    for process in processes:
        process.start()
    slowest = max(seconds.get() for _ in processes)
    for process in processes:
        process.join()
    return slowest


def _mask_alone(ready: Any, seconds: Any, words: int) -> None:
    streams, total = Streams([os.urandom(32) for _ in range(MASKS)]), np.zeros(words, np.uint32)
    streams.accumulate(total, threads=1)
    ready.wait()
    start = time.perf_counter()
    streams.accumulate(total, threads=1)
    seconds.put(time.perf_counter() - start)


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.party", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, in seconds")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(argv)
    parameters, tries, large = (1 << 19, 2, 1 << 20) if options.quick else (1 << 23, 8, 100_000_000)

    wrong = [sentence for bits in RING_BITS for rotated in (False, True) for sentence in wrong_bytes(bits, rotated, 300_001)]
    progress("party: limits")
    limit, gain = limits.measure(), processes_gain(parameters, min(tries, 4))
    progress("party: masking")
    masked = [masking(bits, parameters, tries) for bits in (32, 16)]
    encoded = []
    for rotated in (False, True):
        for bits in RING_BITS:
            progress(f"party: encoding, b = {bits}{', rotated' if rotated else ''}")
            encoded.append(encoding(bits, rotated, parameters, tries))
    memory = []
    for dtype in ("float32", "bfloat16"):
        progress(f"party: memory, {dtype}")
        memory.append(partymemory.measure(dtype, 32 if dtype == "float32" else 24, large, MASKS))
    data = {
        "limit": asdict(limit),
        "processes_gain": gain,
        "masking": [asdict(one) for one in masked],
        "encoding": [asdict(one) for one in encoded],
        "memory": [asdict(peak) for peak in memory],
    }
    title = f"1 party, {parameters:,} parameters, {MASKS} masks"
    return Section("party", title, lines(limit, gain, masked, encoded, memory), data, options.quick, wrong).emit(options.json)


if __name__ == "__main__":
    raise SystemExit(main())
