"""Sums of updates encrypted with CKKS through TenSEAL, in the way of NVFlare's homomorphic-encryption filters, beside ours: masks and CKKS.

    python -m benchmarks.ckks

As NVFlare's documentation and source describe it: one symmetric CKKS context (polynomials of degree 8192, moduli of 60, 40 and 40 bits,
scale 2^40) whose secret key all clients have and the server has not. A client weighs its update, encrypts and serialises it. The server
reads every ciphertext, adds it to the sum, divides the sum by the total weight and serialises it; every client reads and decrypts it.

The promises differ. With CKKS the server sees neither updates nor their sum; but one client that works with the server decrypts
everybody's update, because all have the same key, and every client gets every sum. With `stfed` the coordinator learns the sum, as it
does in plain federated averaging, and updates stay hidden from it together with a stated share of the parties. Nobody recovers a drop in
CKKS, because nothing has to be recovered: so nobody drops here.

The CKKS mode of `stfed` (`benchmarks.ckks_mode`) is a third way: parties have a public key only, one key holder has the secret one and gets
the sum. docs/ckks.md has who can read what in each.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import ckks_mode
from benchmarks.line import Line, Section
from benchmarks.progress import progress
from stfed.bench import round as stfed_round
from stfed.bench.stopwatch import COORDINATOR, PARTIES, Spent, Stopwatch
from stfed.bench.workload import NAME, SPREAD, Workload
from stfed.secagg.params import choose

DEGREE, MODULI_BITS, SCALE = 8192, (60, 40, 40), 2.0**40
ENCODING = {"ring_bits": 16, "clip": 0.0625, "max_weight": 150.0}
"""Of ours: as tight as these updates, whose spread is 0.01, and weights, up to 150, allow."""
TARGET = 20.0
_ERROR_BOUND = 1e-5
"""Of a coordinate of the mean; CKKS is approximate and promises none itself."""
_WORD_BYTES = 4
_SIZES = ((10, 1_000_000), (100, 1_000_000))
_QUICK = ((3, 20_000),)


@dataclass(frozen=True)
class Result:
    """One CKKS round.

    Attributes:
        up_bytes: one client's ciphertext.
        down_bytes: the encrypted mean.
        error: largest absolute error of a coordinate of the mean update.
    """

    times: Stopwatch
    up_bytes: int
    down_bytes: int
    error: float


def run_round(workload: Workload) -> Result:
    """Every client encrypts, the server adds, every client decrypts.

    Raises:
        ImportError: TenSEAL is not installed.
    """
    import tenseal

    times = Stopwatch()
    ours, theirs = partial(times.timing, COORDINATOR), partial(times.timing, PARTIES)
    client = tenseal.context(
        tenseal.SCHEME_TYPE.CKKS, DEGREE, coeff_mod_bit_sizes=list(MODULI_BITS), encryption_type=tenseal.ENCRYPTION_TYPE.SYMMETRIC
    )
    client.global_scale = SCALE
    server = tenseal.context_from(client.serialize(save_public_key=False, save_secret_key=False, save_relin_keys=True))

    total: Any = None
    total_weight, up_bytes = 0, 0
    progress(f"CKKS: {workload.parties} clients encrypt, the server adds")
    for party in range(workload.parties):
        update, weight = workload.trained(party)[NAME] - workload.received[NAME], workload.weight(party)
        with theirs("encrypt"), redirect_stdout(sys.stderr):  # it warns of vectors longer than a ciphertext
            encrypted = tenseal.ckks_vector(client, update * np.float64(weight))
        with theirs("serialise"):
            sent = encrypted.serialize()
        up_bytes, total_weight = len(sent), total_weight + weight
        with ours("read"):
            received = tenseal.ckks_vector_from(server, sent)
        with ours("add"):
            total = received if total is None else total + received
    with ours("divide"):
        total = total * (1.0 / total_weight)
    with ours("serialise"):
        sent = total.serialize()
    progress(f"CKKS: {workload.parties} clients decrypt")
    for _ in range(workload.parties):
        with theirs("read"):
            received = tenseal.ckks_vector_from(client, sent)
        with theirs("decrypt"):
            mean = received.decrypt()
    error = workload.error(np.asarray(mean) + workload.received[NAME])
    return Result(times, up_bytes, len(sent), error)


def lines(workload: Workload, theirs: Result, ours: stfed_round.Result) -> list[Line]:
    """Time and traffic as ratios, theirs over ours."""
    size = f"n = {workload.parties}, d = {workload.parameters:,}"
    time_, other = (_whole(times) for times in (theirs.times, ours.times))
    down_bytes = _WORD_BYTES * workload.parameters  # the mean in clear, to be trained on
    traffic = (theirs.up_bytes + theirs.down_bytes) / (ours.upload_bytes + down_bytes)
    each = [times.of(COORDINATOR).process_s for times in (theirs.times, ours.times)]
    return [
        Line(
            f"{size}: time of all parties and the coordinator, CKKS / stfed",
            min(time_.wall_s / other.wall_s, time_.process_s / other.process_s), "x", TARGET, "more",
            f"{time_.process_s:.2f} s and {other.process_s:.3f} s of processor time, coordinator {each[0]:.2f} and {each[1]:.3f}",
        ),
        Line(
            f"{size}: bytes up, CKKS / stfed", theirs.up_bytes / ours.upload_bytes, "x", TARGET, "more",
            f"{theirs.up_bytes / workload.parameters:.1f} and {ours.upload_bytes / workload.parameters:.2f} bytes a parameter",
        ),
        Line(
            f"{size}: bytes up and down, CKKS / stfed", traffic, "x", TARGET, "more",
            f"down {theirs.down_bytes / workload.parameters:.1f} and {down_bytes / workload.parameters:.0f} bytes a parameter: ours is the "
            "float32 model itself, which leaves "
            f"{(theirs.up_bytes + theirs.down_bytes) / down_bytes:.1f} x even if nothing went up",
        ),
        Line(f"{size}: largest error of the mean, CKKS", theirs.error, note=f"updates have a spread of {SPREAD}"),
        Line(f"{size}: largest error of the mean, stfed", ours.error, note="set by ring_bits and clip: benchmarks.bits"),
    ]  # fmt: skip


def _whole(times: Stopwatch) -> Spent:
    return times.of(COORDINATOR) + times.of(PARTIES)


def _plot(size: dict[str, Any]) -> dict[str, Any]:
    """Bytes a parameter, up and down."""
    each = {"CKKS": (size["up_bytes"], size["down_bytes"]), "stfed": (size["stfed"]["upload_bytes"], _WORD_BYTES * size["d"])}
    series = [{"name": name, "bars": True, "x": ["up", "down"], "y": [one / size["d"] for one in both]} for name, both in each.items()]
    title = f"traffic of a party, n = {size['n']}, d = {size['d']:,}"
    return {"name": "bytes", "title": title, "x": "", "y": "bytes a parameter", "series": series}


def run(sizes: Sequence[tuple[int, int]], *, quick: bool = False) -> Section:
    """The section."""
    title = f"stfed ({ENCODING['ring_bits']} bits a parameter) beside CKKS through TenSEAL, in the way of NVFlare"
    try:
        import tenseal  # noqa: F401
    except ImportError:
        why = "TenSEAL is not installed; it comes with the extra 'bench'"
        absent = [Line(f"{what}, CKKS / stfed", None, "x", TARGET, "more", why) for what in ("time", "bytes up", "bytes up and down")]
        return Section("ckks", title, absent, quick=quick)
    found, data, wrong = list[Line](), list[dict[str, Any]](), list[str]()
    for parties, parameters in sizes:
        workload = Workload(parties, parameters)
        theirs = run_round(workload)
        ours = stfed_round.run_round(workload, choose(parties, 0.1, 0.1), tell=progress, **ENCODING)
        held = ckks_mode.run_round(workload, clip=ENCODING["clip"], max_weight=ENCODING["max_weight"])
        found += lines(workload, theirs, ours) + ckks_mode.lines(workload, held, theirs.times, ours.times)
        data.append(
            {
                "n": parties, "d": parameters, "up_bytes": theirs.up_bytes, "down_bytes": theirs.down_bytes,
                "max_error": theirs.error, "steps": theirs.times.as_json(), "stfed": ours.as_json(),
                "mode": {"steps": held.times.as_json(), "up_bytes": held.up_bytes, "mean_bytes": held.mean_bytes, "max_error": held.error},
            }
        )  # fmt: skip
        sides = (
            ("CKKS", theirs.error <= _ERROR_BOUND, theirs.error),
            ("stfed", ours.exact, ours.error),
            ("the CKKS mode", held.right, held.error),
        )
        wrong += [f"n = {parties}: the mean of {name} is off by {error:.2e}" for name, right, error in sides if not right]
    return Section("ckks", title, found, {"sizes": data, "plots": [_plot(data[-1])]}, quick, wrong)


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Ends with 1 if a mean is wrong, and never because of a time."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ckks", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="3 parties x 20,000 parameters: a second")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(argv)
    return run(_QUICK if options.quick else _SIZES, quick=options.quick).emit(options.json)


if __name__ == "__main__":
    sys.exit(main())
