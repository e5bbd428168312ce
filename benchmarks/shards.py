"""Unmasking split over workers on Ray: what two of them gain here, and what that would mean for a million parties.

    python -m benchmarks.shards

Measured is the real thing, against one thread and two threads of one process, in turns. The constants of a round are measured too, each
with the code that a round runs, and `benchmarks.million` computes from them; that table is marked as computed.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.costs import constants, core_seconds
from benchmarks.line import Line, Section
from benchmarks.million import GBIT_S, MILLION, SIZES, WORKERS, Constants, round_of, table
from benchmarks.progress import progress
from stfed.crypto import keystream
from stfed.crypto.keystream import KEY_BYTES, Words
from stfed.flower.sharded import RayWorkers


def speeds(words: int, masks: int, repeats: int) -> tuple[dict[str, float], bool]:
    """Seconds of one thread, two threads and two Ray workers, the least of some tries in turns, on the clock and of this process' processor
    time; and whether all give the same bytes."""
    generator = random.Random(1)
    add, subtract = ([generator.randbytes(KEY_BYTES) for _ in range(count)] for count in (masks // 2, masks - masks // 2))
    results: dict[str, bytes] = {}
    times: dict[str, float] = {}
    with RayWorkers(2) as workers:
        ways: dict[str, Callable[[Words], None]] = {
            "one thread": lambda total: keystream.accumulate(total, add, subtract, threads=1),
            "two threads": lambda total: keystream.accumulate(total, add, subtract, threads=2),
            "two workers on Ray": lambda total: workers(total, add, subtract),
        }
        workers(np.zeros(words, np.uint32), add[:2], [])
        for attempt in range(repeats):
            progress(f"{masks:,} masks on {words:,} words, try {attempt + 1} of {repeats}")
            for name, way in ways.items():
                total: NDArray[np.uint32] = np.arange(words, dtype=np.uint32)
                start = time.perf_counter()
                core_s = core_seconds(lambda way=way, total=total: way(total))
                for key, took_s in ((name, time.perf_counter() - start), (f"{name}, processor time", core_s)):
                    times[key] = min(times.get(key, float("inf")), took_s)
                results[name] = total.tobytes()
    return times, len(set(results.values())) == 1


def lines(times: Mapping[str, float], found: Constants, words: int, masks: int) -> list[Line]:
    """The table of what was measured."""
    one = times["one thread"]
    size = f"{masks:,} masks on {words:,} words"
    return [
        Line("one thread", one, "s", note=size),
        Line("two threads of one process, speed-up", one / times["two threads"], "x"),
        Line("two workers on Ray, speed-up", one / times["two workers on Ray"], "x", note="keys sealed to them, sums sealed back"),
        Line("two workers on Ray / two threads", times["two threads"] / times["two workers on Ray"], "x"),
        Line("constant: keystream and addition, a word and mask", found.mask_ns, "ns"),
        Line("constant: a mask's cipher made ready", found.key_ns / 1e3, "us"),
        Line("constant: running sum, a word of a reply", found.sum_ns, "ns"),
        Line("constant: a party, all else", found.party_ms, "ms", note="PREPARE, UNMASK, recovery of its keys, at the k and t of 10^6"),
        Line("  of it: a secret put together", found.reconstruct_us, "us", note="Shamir, from t shares"),
        Line("  of it: a pair's key derived and checked", found.derive_us, "us"),
        Line("constant: a word of a worker's sum, at the coordinator", found.carry_ns, "ns"),
        Line("constant: from a party, beside its vector", found.up_bytes / 1e3, "kB", note="a whole round"),
        Line("constant: to a party, beside the model", found.down_bytes / 1e3, "kB", note="a whole round"),
        Line(
            "constant: to a party, for each other one",
            found.down_bytes_each,
            "bytes",
            note="who is in the cohort, who is left, who survived",
        ),
        Line("constant: to a party, for each other one, joining", found.join_bytes_each, "bytes", note="the directory, once an epoch"),
        Line("constant: kept of a party until UNMASK", found.held_bytes / 1e3, "kB"),
        *computed_lines(found),
    ]


def computed_lines(found: Constants) -> list[Line]:
    """Of the table of a million parties, the column of a million parameters."""
    item, computed = round_of(found, MILLION, MILLION), f"computed, {MILLION:,} parties x {MILLION:,} parameters:"
    arrival_min = 8e-9 * item.up_bytes / GBIT_S / 60
    return [
        Line(f"{computed} all but the network", item.core_hours, "core h", note=f"{item.masks:,} masks"),
        *(Line(f"{computed} masks, {count} worker(s)", item.masks_wall_s(count) / 60, "min") for count in (1, 64)),
        Line(f"{computed} from the parties", item.up_bytes / 1e12, "TB", note=f"{arrival_min:.1f} min at {GBIT_S:g} Gbit/s"),
        Line(f"{computed} to the parties", item.down_bytes / 1e12, "TB", note=f"{item.down_all_bytes / 1e12:.1f} TB: who else takes part"),
    ]


def plots(found: Constants) -> list[dict[str, Any]]:
    """Workers against the time to take off the masks, for several cohorts and a million parameters."""
    counts, series = [2**power for power in range(11)], []
    for parties in (10_000, 100_000, MILLION):
        item = round_of(found, parties, MILLION)
        series.append({"name": f"{parties:,} parties", "x": counts, "y": [item.masks_wall_s(count) for count in counts], "line": True})
    arrival_s = [8e-9 * round_of(found, MILLION, MILLION).up_bytes / GBIT_S] * 2
    name = f"the vectors of {MILLION:,} arrive at {GBIT_S:g} Gbit/s"
    series.append({"name": name, "x": [counts[0], counts[-1]], "y": arrival_s, "line": True})
    title = f"Taking the masks off {MILLION:,} parameters, computed from measured constants"
    return [{"name": "workers", "title": title, "x": "workers", "y": "seconds", "log": "xy", "series": series}]


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Ends with 1 if two ways give different bytes, and never because of a time."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shards", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--words", type=int, default=4_000_000, help="length of the vector whose masks are taken off")
    parser.add_argument("--masks", type=int, default=2000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--parties", type=int, default=300, help="in the round that the constants are taken from")
    parser.add_argument("--quick", action="store_true", help="a small vector and a small cohort, in seconds")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(argv)
    if options.quick:
        options.words, options.masks, options.repeat, options.parties = 200_000, 200, 1, 60
    times, same = speeds(options.words, options.masks, options.repeat)
    found = constants(options.parties, 200_000 if options.quick else 1_000_000, times, options.words, options.masks)
    computed = table(found, MILLION, SIZES, WORKERS, GBIT_S)
    wrong = [] if same else ["threads and workers do not give the same bytes"]
    data = {"seconds": times, "words": options.words, "masks": options.masks, "constants": asdict(found), "computed": computed}
    measured = lines(times, found, options.words, options.masks)
    title = "unmasking split over workers"
    section = Section("shards", title, measured, {**data, "plots": plots(found)}, options.quick, wrong)
    code = section.emit(options.json)
    print("\nComputed from the measured constants, not measured:\n", *computed, sep="\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
