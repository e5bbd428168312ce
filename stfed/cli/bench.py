"""`stfed bench`: how fast this machine is at everything that a secure round and a sealed file consist of."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from stfed.cli.codes import FAILED, OK
from stfed.cli.options import print_json

if TYPE_CHECKING:
    from stfed.bench.files import FileTimes
    from stfed.bench.rates import Rates
    from stfed.bench.round import Result
    from stfed.cli import Commands
    from stfed.cli.plancost import Step

_SIZES = {False: (100, 1_000_000), True: (10, 100_000)}
"""Parties and parameters by --quick."""
_WORD = 4
_BYTES_A_PARAMETER = 40
"""At the peak, however many parties: models, sums and the true mean, in single and double precision."""


def register(commands: Commands) -> None:
    """Adds `bench`."""
    parser = commands.add_parser(
        "bench",
        help="measure this machine: a secure round, sealed files",
        description="Measures what masking, encoding, summing, sealing and opening take on this machine, beside what it can do at best: "
        "AES-256 and additions in cache with nothing around them, and a copy of memory. Then it runs one whole round, with the real "
        "parties and the real coordinator in this process, and says what it takes each of them on one core. Training, the network and "
        "Flower's own transport are not in it.\n\n"
        "The exit code is 1 if the mean that the round gave is wrong.",
        reads="nothing",
        writes="two files of the model's size into the temporary folder, gone at the end",
        never="uses the network, a key of yours, or a GPU",
        examples=[
            ("stfed bench --quick", "10 parties and 100,000 parameters, in about three seconds"),
            ("stfed bench --parties 50 --params 5000000 --dropout 0.05", "your own numbers"),
            ("stfed bench --json", "for a script"),
        ],
    )
    parser.add_argument("--parties", type=int, metavar="N", help="in the round (default 100)")
    parser.add_argument("--params", type=int, metavar="D", help="parameters of the model, 32 bits each (default 1,000,000)")
    parser.add_argument("--dropout", type=float, default=0.1, metavar="SHARE", help="of the parties, vanish after PREPARE (default 0.1)")
    parser.add_argument("--quick", action="store_true", help="10 parties and 100,000 parameters, unless given")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(handler=_bench)


def _bench(arguments: argparse.Namespace) -> int:
    import tempfile
    from pathlib import Path

    from stfed.bench import files, rates
    from stfed.bench.round import run_round
    from stfed.bench.workload import Workload
    from stfed.cli.plancost import plan_of, steps
    from stfed.cli.progress import working
    from stfed.errors import LocalError
    from stfed.secagg.params import choose

    parties, params = _SIZES[arguments.quick]
    parties = parties if arguments.parties is None else arguments.parties
    params = params if arguments.params is None else arguments.params
    if params < 1:
        raise LocalError(f"a model has no {params} parameters", hint="give the number of values that are averaged")
    if not 0 <= arguments.dropout < 1:
        raise LocalError(f"a share of {arguments.dropout} of the parties cannot drop", hint="give a share of 0 or more and below 1")
    chosen = choose(parties, 0.1, max(arguments.dropout, 0.1))
    needed, there = _BYTES_A_PARAMETER * params, _memory_bytes()
    if needed > there:
        message = f"a round of {params:,} parameters needs {-(-needed // 10**9):,} GB of memory, there are {there // 10**9:,} GB"
        raise LocalError(message, hint=f"give --params {there // _BYTES_A_PARAMETER} or fewer")
    bytes_ = steps(chosen, plan_of(parties, params, 32))
    workload = Workload(parties, params, arguments.dropout)
    with working("measuring this machine"):
        measured = rates.measure()
    with working(f"sealing and opening {_WORD * params / 1e6:,.1f} MB"), tempfile.TemporaryDirectory(prefix="stfed-") as folder:
        times = files.measure(params, Path(folder))
    estimate_s = parties * measured.party_s(chosen, params, chosen.k + 1)
    with working(f"a round of {parties:,} parties x {params:,} parameters, about {max(estimate_s, 1):.0f} s"):
        result = run_round(workload, chosen)
    if arguments.json:
        print_json(_json(measured, times, result, bytes_))
    else:
        print("\n".join(_page(measured, times, result, bytes_)))
    if result.exact:
        return OK
    print(f"the mean is off by {result.error:.2e}, {result.error_bound:.2e} is promised", file=sys.stderr)
    return FAILED


def _memory_bytes() -> int:
    """What new processes can have without swapping, where the system says so; otherwise all of this machine's."""
    import os
    from pathlib import Path

    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _json(rates: Rates, files: FileTimes, result: Result, steps: list[Step]) -> dict[str, Any]:
    party_s, coordinator_s = _seconds(result)
    return {
        "rates": asdict(rates),
        "files": asdict(files),
        "party_s": party_s,
        "coordinator_s": coordinator_s,
        "bytes_up": sum(step.up_bytes for step in steps),
        "bytes_down": sum(step.down_bytes for step in steps) + _model_bytes(result),
        "round": result.as_json(),
    }


def _seconds(result: Result) -> tuple[float, float]:
    """Of one core: a party that stays, and the coordinator. Who drops after PREPARE has spent less, and counts as a share of a party."""
    from stfed.bench.stopwatch import COORDINATOR, PARTIES

    steps = {step: spent for (role, step), spent in result.times.steps.items() if role == PARTIES}
    stay = len(result.workload.survivors)
    party_s = sum(spent.process_s / (result.workload.parties if step in ("join", "prepare") else stay) for step, spent in steps.items())
    return party_s, result.times.of(COORDINATOR).process_s


def _model_bytes(result: Result) -> int:
    return _WORD * result.workload.parameters


def _page(rates: Rates, files: FileTimes, result: Result, steps: list[Step]) -> Iterator[str]:
    """The tables, then the sentence that most came for."""
    limit_ns = rates.keystream_ns + rates.add_ns
    yield "This machine, one core; a word has 32 bits"
    yield f"  {'':<30}  {'ns a word':>9}  {'GB/s':>6}  {'of limit':>8}  whose"
    yield _rate("AES-256 keystream, in cache", rates.keystream_ns, "limit: OpenSSL")
    yield _rate("addition, in cache", rates.add_ns, "limit: NumPy")
    yield _rate("copy of memory", rates.copy_ns, "limit")
    yield _rate("a mask: keystream and addition", rates.mask_ns, "party", limit_ns)
    yield _rate("encoding", rates.encode_ns, "party")
    yield _rate("SHA-256 of the model", rates.hash_ns, "party, coordinator")
    yield _rate("adding a party's vector", rates.sum_ns, "coordinator", rates.copy_ns)
    yield _rate("decoding the mean", rates.decode_ns, "coordinator")
    yield ""
    yield f"A file of {files.size_bytes // _WORD:,} parameters, {files.size_bytes / 1e6:,.1f} MB"
    yield f"  {'':<30}  {'ms':>9}  {'MB/s':>6}"
    yield _file("saving, safetensors", files.save_s, files)
    yield _file("sealing, waits for the disk", files.seal_s, files)
    yield _file("loading, safetensors", files.load_s, files)
    yield _file("opening, all of it checked", files.open_s, files)
    yield ""
    yield from _round(result, steps)


def _rate(name: str, own_ns: float, whose: str, limit_ns: float | None = None) -> str:
    share = "" if limit_ns is None else f"{limit_ns / own_ns:.0%}"
    return f"  {name:<30}  {own_ns:>9.3f}  {_WORD / own_ns:>6.1f}  {share:>8}  {whose}"


def _file(name: str, seconds: float, files: FileTimes) -> str:
    return f"  {name:<30}  {1e3 * seconds:>9,.2f}  {files.size_bytes / 1e6 / seconds:>6,.0f}"


def _round(result: Result, steps: list[Step]) -> Iterator[str]:
    from stfed.bench.stopwatch import COORDINATOR, PARTIES

    load, chosen = result.workload, result.parameters
    party_s, coordinator_s = _seconds(result)
    up, down = (sum(step.up_bytes for step in steps), sum(step.down_bytes for step in steps) + _model_bytes(result))
    yield f"A round of {load.parties:,} parties x {load.parameters:,} parameters in semi-honest mode, one core each"
    yield f"  k = {chosen.k}, t = {chosen.t}; {len(load.dropped):,} dropped after PREPARE"
    yield f"  {'':<30}  {'a party, ms':>12}  {'coordinator, ms':>15}"
    for step in dict.fromkeys(step for _, step in result.times.steps):
        party, ours = result.times.steps.get((PARTIES, step)), result.times.steps.get((COORDINATOR, step))
        party_ms = "" if party is None else f"{1e3 * party.process_s / party.calls:,.2f}"
        ours_ms = "" if ours is None else f"{1e3 * ours.process_s:,.2f}"
        yield f"  {_STEPS[step]:<30}  {party_ms:>12}  {ours_ms:>15}".rstrip()
    yield f"  {'all':<30}  {1e3 * party_s:>12,.2f}  {1e3 * coordinator_s:>15,.2f}"
    yield f"  {'bytes from a party, to a party':<30}  {up:>12,}  {down:>15,}"
    yield f"  {'error of the mean, promised':<30}  {result.error:>12.1e}  {result.error_bound:>15.1e}"
    yield ""
    yield (
        f"A round of {load.parties:,} parties x {load.parameters:,} parameters: "
        f"party {_duration(party_s)}, coordinator {_duration(coordinator_s)},\n"
        f"{up / 1e6:,.2f} MB up and {down / 1e6:,.2f} MB down for each party. Training and the network come on top."
    )


def _duration(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms" if seconds < 1 else f"{seconds:,.2f} s"


_STEPS = {
    "join": "JOIN",
    "prepare": "PREPARE",
    "hash": "hash of the model",
    "train": "TRAIN, its checks",
    "seal": "encoding and masks",
    "sum": "adding the vectors",
    "unmask": "UNMASK, its shares",
    "recover": "taking the masks off",
    "decode": "decoding the mean",
}
"""What the steps of a round are called here."""
