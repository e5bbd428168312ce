"""How many bits a value takes: the error of the mean against bits and clip, with and without rotation, and the accuracy that it costs.

The updates are those of real training, 20 parties and the digits CNN of examples/hospitals, and as a control some whose coordinates are
independent with heavy tails. Everything goes through the real encoding and decoding; sums are taken without masks, which change nothing
about them.

A value of v bits has at least 2^(v-1) - 1 steps to either side; 20 parties add theirs up in a ring of v + 5 bits (8 at least), in which up
to 1.6 times as many fit, and as many are used.

*NMSE* is the squared error of the mean update over its squared length. A clip is given in multiples of the root mean square change of a
coordinate, over all parties: that is what a coordinator has to guess (docs/precision.md). Each number of bits has the clip that is best for
it, with and without rotation, so neither is blamed for a clip that suits the other one.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

from benchmarks.line import Line, Section
from benchmarks.progress import progress
from benchmarks.updates import Federation, Model, Updates, flat, moved, student_t3
from stfed.crypto.keystream import random_filler
from stfed.crypto.random import system_entropy
from stfed.encoding import DecodedSum, EncodingPlan, Vector, decode_sum, encode_update, payload_bytes
from stfed.encoding.quantize import TILE
from stfed.encoding.rotation import Rotation

PARTIES = 20
ROTATION = Rotation(bytes(range(16)))
CLIPS = (3.0, 4.0, 6.0, 8.0, 11.0, 16.0, 22.0, 32.0, 45.0, 64.0, 90.0, 128.0)
GOOD_CLIP, GOOD_CLIP_UNROTATED = 8.0, 16.0
"""Of the root mean square change: what the first table finds to be good at 8 to 10 bits, for the accuracies."""
ROTATION_NS = 3.5


@dataclass(frozen=True)
class Found:
    """How far one decoded mean is from the true one."""

    value_bits: int
    rotated: bool
    clip: float
    nmse: float
    largest: float
    clipped: float


@dataclass(frozen=True)
class Variant:
    """One way to send updates: the fields of `EncodingPlan`, and the clip in multiples of the root mean square change."""

    name: str
    plan: dict[str, Any]
    clip: float | None


PLAIN = "plain FedAvg"
VARIANTS = (
    Variant("8 bits, rotated", {"value_bits": 8, "rotation": ROTATION}, GOOD_CLIP),
    Variant("10 bits, rotated", {"value_bits": 10, "rotation": ROTATION}, GOOD_CLIP),
    Variant("12 bits, rotated", {"value_bits": 12, "rotation": ROTATION}, GOOD_CLIP),
    Variant("8 bits, not rotated", {"value_bits": 8}, GOOD_CLIP_UNROTATED),
    Variant("ring of 32 bits, clip 8", {"ring_bits": 32}, None),
)


def through(updates: Updates, clip: float, **plan_fields: Any) -> DecodedSum:
    """The mean as the coordinator decodes it."""
    received, fill = updates.received, random_filler(system_entropy)
    plan = EncodingPlan.for_arrays(
        received, parties=len(updates.trained), clip=clip, max_weight=float(max(updates.weights)), metric_slots=0, **plan_fields
    )
    total = Vector.zeros(plan)
    for trained, weight in zip(updates.trained, updates.weights, strict=True):
        update = encode_update(plan, received, trained, weight, {}, fill)
        total.add(update.vector, plan)
    total.reduce(plan)
    return decode_sum(plan, total, len(updates.trained), received, update.schema)


def model_of(decoded: DecodedSum) -> Model:
    """Its arrays, which are NumPy's here."""
    return {name: np.asarray(array, np.float32) for name, array in decoded.arrays.items()}


def error(updates: Updates, value_bits: int, rotated: bool, clip: float) -> tuple[Found, bool]:
    """What one encoding does to the mean, and whether that is within what it promises."""
    decoded = through(updates, clip * updates.rms, value_bits=value_bits, rotation=ROTATION if rotated else None)
    off = flat(model_of(decoded)) - flat(updates.received) - updates.mean
    largest, clipped = float(np.abs(off).max()), decoded.clipped / updates.size / len(updates.trained)
    # what comes back is float32: half an ulp of the model, which is under 1 here
    right = bool(decoded.clipped) or largest <= decoded.error_bound + 2.0**-24
    return Found(value_bits, rotated, clip, float(off @ off / (updates.mean @ updates.mean)), largest, clipped), right


def sweep(name: str, updates: Updates, bits: Iterable[int], clips: Sequence[float]) -> tuple[list[Found], list[str]]:
    """All of these bits and clips, with and without rotation; and what was wrong."""
    found, wrong = [], []
    for value_bits in bits:
        progress(f"bits: {name}, {value_bits} bits")
        for rotated in (False, True):
            for clip in clips:
                one, right = error(updates, value_bits, rotated, clip)
                found.append(one)
                if not right:
                    wrong.append(f"{name}: {one} is over the error bound of its plan")
    return found, wrong


def best(found: Iterable[Found], value_bits: int, rotated: bool) -> Found:
    """With the clip of the least error."""
    return min((one for one in found if (one.value_bits, one.rotated) == (value_bits, rotated)), key=lambda one: one.nmse)


def accuracies(dataset: str, seeds: Sequence[int], rounds: int) -> dict[str, list[float]]:
    """The accuracy after the last round, by variant and seed. One clip for a whole run, from a run with a seed that is not among them."""
    guess = max(updates.rms for _, updates in _plain(Federation(dataset, min(seeds) - 1, PARTIES), rounds))
    found: dict[str, list[float]] = {PLAIN: [], **{variant.name: [] for variant in VARIANTS}}
    for seed in seeds:
        progress(f"bits: {rounds} rounds of training, seed {seed}, plain")
        federation = Federation(dataset, seed, PARTIES)
        *_, (model, _) = _plain(federation, rounds)
        found[PLAIN].append(federation.accuracy(model))
        for variant in VARIANTS:
            progress(f"bits: {rounds} rounds of training, seed {seed}, {variant.name}")
            model = federation.initial
            for server_round in range(1, rounds + 1):
                clip = 8.0 if variant.clip is None else variant.clip * guess
                decoded = through(federation.train(model, server_round), clip, **variant.plan)
                model = model_of(decoded)
            found[variant.name].append(federation.accuracy(model))
    return found


def _plain(federation: Federation, rounds: int) -> Iterable[tuple[Model, Updates]]:
    """Rounds in double precision: the model after each, and the updates that made it."""
    model = federation.initial
    for server_round in range(1, rounds + 1):
        updates = federation.train(model, server_round)
        model = moved(model, updates.mean)
        yield model, updates


def rotation_ns(size: int, repeat: int) -> float:
    """Process time of rotating a coordinate of a vector of this size, the best of many tries."""
    values, least_ns = np.random.default_rng(0).standard_normal(size), float("inf")
    for _ in range(repeat):
        start = time.process_time_ns()
        ROTATION.forward(values, 0)
        least_ns = min(least_ns, time.process_time_ns() - start)
    return least_ns / size


def lines(tables: dict[str, list[Found]], trained: dict[str, list[float]], speed_ns: float) -> list[Line]:
    """The figures and what was aimed at."""
    found = []
    for name, table in tables.items():
        for value_bits in sorted({one.value_bits for one in table} & {8, 10}):
            rotated, plain = best(table, value_bits, True), best(table, value_bits, False)
            note = f"{rotated.nmse:.1e} with a clip of {rotated.clip:g} rms, {plain.nmse:.1e} with {plain.clip:g}"
            found.append(Line(f"NMSE rotated / not, {name}, {value_bits} bits", rotated.nmse / plain.nmse, "x", 1.0, note=note))
    noise, plain_mean = stdev(trained[PLAIN]), mean(trained[PLAIN])
    found.append(Line("accuracy of plain FedAvg, deviation between seeds", 100 * noise, "points", note=f"mean {100 * plain_mean:.1f} %"))
    for name, values in trained.items():
        if name == PLAIN:
            continue
        lost = plain_mean - mean(values)
        target = None if "not" in name else 1.0
        note = f"mean {100 * mean(values):.1f} %, lost {100 * lost:.2f} points"
        found.append(Line(f"accuracy lost: {name}", max(lost, 0.0) / noise if noise else 0.0, "deviations", target, note=note))
    for value_bits in (8, 10):
        plan = EncodingPlan.for_arrays({"w": np.broadcast_to(np.float32(0), 10**6)}, parties=PARTIES, value_bits=value_bits)
        note = f"{PARTIES} parties: b = {plan.ring_bits}, of {plan.lane.itemsize * 8}-bit words"
        found.append(Line(f"upload at {value_bits} bits of value", 8e-6 * payload_bytes(plan), "bits a parameter", note=note))
    return [*found, Line("rotating a coordinate", speed_ns, "ns", ROTATION_NS, note="process time")]


def plots(tables: dict[str, list[Found]]) -> list[dict[str, Any]]:
    """NMSE against bits, each with its best clip, and against the clip."""
    against_bits, against_clip = [], []
    for name, table in tables.items():
        for rotated in (False, True):
            label = f"{name}, {'rotated' if rotated else 'as it is'}"
            bits = sorted({one.value_bits for one in table})
            chosen = [best(table, value_bits, rotated).nmse for value_bits in bits]
            against_bits.append({"name": label, "x": bits, "y": chosen, "line": True})
            eight = [one for one in table if (one.value_bits, one.rotated) == (8, rotated)]
            against_clip.append({"name": label, "x": [one.clip for one in eight], "y": [one.nmse for one in eight], "line": True})
    y = "NMSE of the mean"
    bits_title, clip_title = f"{PARTIES} parties, best clip for each number of bits", f"{PARTIES} parties, 8 bits"
    return [
        {"name": "bits", "title": bits_title, "x": "bits of a value", "y": y, "log": "y", "series": against_bits},
        {"name": "clip", "title": clip_title, "x": "clip / root mean square change", "y": y, "log": "xy", "series": against_clip},
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bits", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a few sizes of each, in seconds")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--dataset", choices=("mnist", "digits"), help="digits of 28 x 28 or of 8 x 8 (default mnist; quick: digits)")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each kind (default 3)")
    parser.add_argument("--rounds", type=int, default=8, help="of each training (default 8)")
    options = parser.parse_args(argv)
    dataset = options.dataset or ("digits" if options.quick else "mnist")
    bits, clips = ((8,), (6.0, 16.0)) if options.quick else (range(2, 17), CLIPS)
    seeds, rounds = (2, 1) if options.quick else (options.seeds, options.rounds)

    progress(f"bits: training {PARTIES} parties on {dataset}")
    measured = (1,) if options.quick else (1, 4)
    real = {f"CNN, round {n}": one for n, (_, one) in enumerate(_plain(Federation(dataset, 7, PARTIES), max(measured)), 1) if n in measured}
    tables, wrong = {}, []
    for name, updates in (real | {"Student t3": student_t3(PARTIES, 1 << 14 if options.quick else 1 << 16)}).items():
        tables[name], complaints = sweep(name, updates, bits, clips)
        wrong += complaints
    trained = accuracies(dataset, range(1, seeds + 1), rounds)
    speed_ns = rotation_ns(TILE, 20 if options.quick else 300)
    title = f"{PARTIES} parties; error of the mean by bits of a value, and accuracy of {dataset} after {rounds} rounds, {seeds} seeds"
    data = {
        "errors": {name: [asdict(one) for one in table] for name, table in tables.items()},
        "accuracies": trained,
        "plots": plots(tables),
    }
    return Section("bits", title, lines(tables, trained, speed_ns), data, options.quick, wrong).emit(options.json)


if __name__ == "__main__":
    raise SystemExit(main())
