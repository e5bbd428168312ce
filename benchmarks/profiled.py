"""Where the time of a round goes: 100 parties x 1,000,000 parameters on the complete graph, 10 % dropping, under cProfile, by part.

    python -m benchmarks.profiled

Two profiles of one round, one of the coordinator's code and one of all parties'. A function's own time belongs to the part that its file
or name says; what C code took belongs to the part of the Python function that called it. The profiler makes Python slower and leaves C
as it is, so the parts in Python look larger than they are: the same round without it runs first, and the ratio is in the table.
"""

from __future__ import annotations

import argparse
import pstats
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from cProfile import Profile
from pathlib import Path
from typing import Any

import stfed
from benchmarks.line import Line, Section
from benchmarks.progress import progress
from stfed.bench import round as stfed_round
from stfed.bench.stopwatch import COORDINATOR, PARTIES, Stopwatch
from stfed.bench.workload import Workload
from stfed.secagg.params import choose

Function = tuple[str, int, str]
"""File, line and name, as pstats has them; the file of C code is "~"."""

AROUND = "Python around them"
_BY_C_NAME = {
    "exchange": "X25519",
    "X25519": "X25519",
    "AESGCM": "AES-GCM of shares",
    "openssl_sha256": "SHA-256 of models, messages, lists",
}
_BY_FILE = {
    "crypto/keystream.py": "adding masks",
    "crypto/agreement.py": "X25519",
    "crypto/kdf.py": "HMAC and HKDF",
    "crypto/shamir.py": "Shamir",
    "crypto/aead.py": "AES-GCM of shares",
    "encoding/pack.py": "packing",
    "encoding/vector.py": "running sum, packing of the rest",
    "encoding/": "encoding, decoding",
}
"""The first that the file begins with; files of `stfed` only."""
_STREAMS = "keystreams"
PARTS = (_STREAMS, *dict.fromkeys(_BY_FILE.values()), _BY_C_NAME["openssl_sha256"], AROUND)
_ROOT = str(Path(stfed.__file__).parent) + "/"
_TOP = 8


class ProfilingStopwatch(Stopwatch):
    """A stopwatch that profiles what it times, a profile for each role."""

    def __init__(self) -> None:
        super().__init__()
        self.profiles = {role: Profile() for role in (PARTIES, COORDINATOR)}

    @contextmanager
    def timing(self, role: str, step: str) -> Iterator[None]:
        """Counts and profiles the block for this role."""
        with super().timing(role, step):
            self.profiles[role].enable()
            try:
                yield
            finally:
                self.profiles[role].disable()


def part(function: Function, caller: Function | None = None) -> str:
    """What a function's own time is spent on."""
    file, _, name = function
    if file != "~":
        inside = file.removeprefix(_ROOT)
        return next((what for begin, what in _BY_FILE.items() if inside.startswith(begin)), AROUND) if inside != file else AROUND
    by_caller = part(caller) if caller is not None and caller[0] != "~" else AROUND
    if by_caller == "adding masks" and "encrypt_into" in name:
        return _STREAMS
    by_name = next((what for word, what in _BY_C_NAME.items() if word in name), AROUND)
    return by_name if by_caller == AROUND else by_caller


def parts_s(profile: Profile) -> dict[str, float]:
    """Seconds by part; their sum is all time in the profile."""
    found = Counter[str]()
    for function, (_, _, own_s, _, callers) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        by_caller_s = {caller: spent[2] for caller, spent in callers.items()} if function[0] == "~" else {}
        for caller, spent_s in by_caller_s.items():
            found[part(function, caller)] += spent_s
        found[part(function)] += own_s - sum(by_caller_s.values())
    return {what: found[what] for what in PARTS if found[what] > 0}


def top(profile: Profile) -> list[tuple[str, float, int]]:
    """The functions with the most time of their own: (name, seconds, calls)."""
    stats = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    ranked = sorted(stats.items(), key=lambda item: -item[1][2])[:_TOP]
    return [(_readable(function), own_s, calls) for function, (_, calls, own_s, _, _) in ranked]


def _readable(function: Function) -> str:
    file, _, name = function
    if file != "~":
        return f"{Path(file).name}: {name}"
    words = name.strip("{}<>").split("'")  # "{method 'exchange' of 'a.b.X25519PrivateKey' objects}", "{built-in method builtins.len}"
    return f"{words[3].rsplit('.', 1)[-1]}.{words[1]}" if len(words) > 3 else words[0].split()[-1]


def run(parties: int, parameters: int, *, quick: bool = False) -> Section:
    """The section."""
    workload, chosen = Workload(parties, parameters, 0.1), choose(parties, 0.1, 0.1, graph="complete")
    plain, times = stfed_round.run_round(workload, chosen, tell=progress), ProfilingStopwatch()
    result = stfed_round.run_round(workload, chosen, times=times, tell=progress)
    lines, split, tops = list[Line](), dict[str, dict[str, float]](), dict[str, Any]()
    for role, count in ((PARTIES, parties), (COORDINATOR, 1)):
        who = "a party" if role == PARTIES else "coordinator"
        each_ms = 1e3 / count
        split[who] = {what: each_ms * spent_s for what, spent_s in parts_s(times.profiles[role]).items()}
        all_ms, plain_ms = sum(split[who].values()), each_ms * plain.times.of(role).wall_s
        lines.append(Line(f"{who}, without the profiler", plain_ms, "ms"))
        lines.append(Line(f"{who}, under the profiler", all_ms, "ms", note=f"{all_ms / plain_ms:.2f} times as much"))
        lines += [Line(f"{who}: {what}", ms, "ms", note=f"{ms / all_ms:.1%}") for what, ms in split[who].items()]
        tops[who] = top(times.profiles[role])
        for name, own_s, calls in tops[who]:
            lines.append(Line(f"{who}, own time of {name}", each_ms * own_s, "ms", note=f"{calls / count:,.0f} calls"))
    shares = {who: {what: 100 * ms / sum(parts.values()) for what, ms in parts.items()} for who, parts in split.items()}
    series = [{"name": what, "stack": True, "x": list(shares), "y": [parts.get(what, 0.0) for parts in shares.values()]} for what in PARTS]
    title = f"a round of {parties} parties x {parameters:,} parameters, complete graph, t = {chosen.t}, 10% drop, by part"
    plot = {"name": "parts", "title": title, "x": "", "y": "% of the time", "series": series}
    wrong = [] if plain.exact and result.exact else [f"the mean is off by {max(plain.error, result.error):.2e}"]
    return Section("profile", title, lines, {"parts_ms": split, "top": tops, "plots": [plot]}, quick, wrong)


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Ends with 1 if the mean is wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profiled", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--parties", type=int, default=100)
    parser.add_argument("--parameters", type=int, default=1_000_000)
    parser.add_argument("--quick", action="store_true", help="10 parties x 20,000 parameters: a second")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(argv)
    size = (10, 20_000) if options.quick else (options.parties, options.parameters)
    return run(*size, quick=options.quick).emit(options.json)


if __name__ == "__main__":
    sys.exit(main())
