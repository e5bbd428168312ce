"""Arithmetic on encrypted tensors beside the bare library and beside numpy: time, error, and size.

    python -m benchmarks.encrypted

The bare library is TenSEAL's own tensors on the same SEAL, with the same parameters, in the same run. Times on one core are processor time,
the least of several turns that take turns with each other; times on all cores are wall time, with the workers already there. The error is
the largest distance of a decrypted number from numpy's, and stands beside the bound that came with the result: above it, it is wrong.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import encrypted_cases as cases
from benchmarks.encrypted_cases import Case, Model
from benchmarks.encrypted_memory import lines as memory
from benchmarks.line import Line, Section
from benchmarks.progress import progress
from stfed.encrypted.context import SecretContext
from stfed.encrypted.decryption import decrypt
from stfed.encrypted.encryption import encrypt
from stfed.encrypted.files import save
from stfed.encrypted.layout import Layout
from stfed.encrypted.parameters import Parameters
from stfed.encrypted.paying import VARIABLE, processes
from stfed.encrypted.tensor import EncryptedTensor
from stfed.errors import LocalError
from stfed.keys.encryption import generate_keypair

TARGET = 1.10
"""Of TenSEAL's time."""
_FLOAT32_BYTES, _WORD_BYTES = 4, 8


@dataclass(frozen=True)
class Measured:
    """One case; its name and so on as there.

    Attributes:
        theirs_s: the peer's processor time; None if it was not run.
        ours_s: ours, on one core.
        one_s: wall time of ours on one core.
        all_s: wall time of ours on all cores.
        share_s: processor time of this process then; the rest is the workers'.
        plain_s: numpy's.
        error: of ours.
        bound: what `EncryptedTensor.error` said.
        their_error: of the peer's.
    """

    name: str
    short: str
    peer: str
    why: str
    theirs_s: float | None
    ours_s: float
    one_s: float
    all_s: float
    share_s: float
    plain_s: float
    error: float
    bound: float
    their_error: float | None


@contextmanager
def _processes(count: int | None) -> Iterator[None]:
    """How many may compute; None for all."""
    before = os.environ.pop(VARIABLE, None)
    if count is not None:
        os.environ[VARIABLE] = str(count)
    try:
        yield
    finally:
        os.environ.pop(VARIABLE, None)
        if before is not None:
            os.environ[VARIABLE] = before


def _timed(call: Callable[[], Any]) -> tuple[float, float, Any]:
    """Processor and wall seconds, and the result."""
    wall, processor = time.perf_counter(), time.process_time()
    result = cases.quietly(call)
    return time.process_time() - processor, time.perf_counter() - wall, result


def measure(case: Case, repeat: int) -> Measured:
    """All contenders in turn, so many times at most."""
    progress(f"encrypted: {case.name}")
    found: dict[str, list[float]] = {"theirs": [], "ours": [], "one": [], "all": [], "share": [], "plain": []}
    exact, their_error, repeat = case.plain(), None, min(repeat, case.repeat)
    for _ in range(repeat):
        found["plain"].append(_timed(case.plain)[1])
        if case.theirs is not None:
            processor, _, result = _timed(case.theirs)
            found["theirs"].append(processor)
            their_error = float(np.abs(case.read(result) - exact).max())
        with _processes(1):
            processor, wall, result = _timed(case.ours)
        found["ours"].append(processor)
        found["one"].append(wall)
    with _processes(None):
        for _ in range(repeat + 1):  # the first one may have to start them
            processor, wall, _ = _timed(case.ours)
            found["all"].append(wall)
            found["share"].append(processor)
    decrypted = decrypt(case.secret, result) if isinstance(result, EncryptedTensor) else result
    error = float(np.abs(decrypted - exact).max())
    bound = result.error if isinstance(result, EncryptedTensor) else case.secret.public.noise.fresh(1.0, case.secret.public.scales[-1])
    least = {name: min(times, default=None) for name, times in found.items()}
    return Measured(
        case.name, case.short, case.peer, case.why,
        least["theirs"], least["ours"], least["one"], least["all"], least["share"], least["plain"], error, bound, their_error,
    )  # fmt: skip


def lines_of(one: Measured) -> list[Line]:
    """Ours over TenSEAL's, all cores over one, and the error over its bound."""
    if one.theirs_s is None:
        why = "TenSEAL has a ciphertext for each element there, and would take minutes"
        first = Line(f"{one.name}: stfed", one.ours_s, "s", None, "less", f"numpy {_seconds(one.plain_s)}; {why}")
    else:
        note = f"{_seconds(one.theirs_s)} and {_seconds(one.ours_s)}; numpy {_seconds(one.plain_s)}" + (f"; {one.why}" if one.why else "")
        first = Line(f"{one.name}: stfed / {one.peer}", one.ours_s / one.theirs_s, "x", TARGET, "less", note)
    if not one.short:
        return [first]
    cores = f"{_seconds(one.one_s)} and {_seconds(one.all_s)} on {processes()}, of which this process computes {_seconds(one.share_s)}"
    errors = f"{one.error:.2g} and {one.bound:.2g}" + ("" if one.their_error is None else f"; TenSEAL's error {one.their_error:.2g}")
    return [
        first,
        Line(f"{one.name}: one core / all cores", one.one_s / one.all_s, "x", None, "more", cores),
        Line(f"{one.name}: error / bound", one.error / one.bound, "x", 1.0, "less", errors),
    ]


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 1 else f"{value * 1e3:.3g} ms"


def sizes(secret: SecretContext, size: int) -> Iterator[Line]:
    """What a number takes, beside the four bytes of a float32."""
    _, recipient = generate_keypair()
    adding = SecretContext.generate(Parameters.for_depth(0), rotations=False)
    for what, keys in ((f"{secret.public.parameters.depth} multiplications", secret), ("additions alone", adding)):
        parameters = keys.public.parameters
        tensor = encrypt(keys.public, np.zeros(size), bound=1.0)
        memory = len(tensor.ciphertexts) * 2 * (tensor.left + 1) * parameters.degree * _WORD_BYTES
        file = len(save({"x": tensor}, recipients=recipient))
        note = f"{size:,} elements in {len(tensor.ciphertexts)} ciphertexts: {parameters}"
        for where, taken in (("in memory", memory), ("in a sealed file", file)):
            yield Line(f"{what}: bytes {where} / float32", taken / (_FLOAT32_BYTES * size), "x", None, "less", note)


def refusal(secret: SecretContext, size: int) -> Line:
    """A product that would take hours says so at once, and how long it would take."""
    public = secret.public
    layout = Layout.of((size, size), public.parameters.slots)
    a = EncryptedTensor(public, layout, (public.arithmetic.encrypt(0.0),) * layout.ciphertexts, 1.0, 1.0, clean=False)
    began = time.perf_counter()
    try:
        a @ a
    except LocalError as error:
        note = str(error)
    else:
        note = "it was not refused"
    return Line(f"{size} x {size} encrypted @ encrypted: refused after", (time.perf_counter() - began) * 1e3, "ms", None, "less", note)


def plot(found: Sequence[Measured]) -> dict[str, Any]:
    """Processor seconds of each contender."""
    shown = [one for one in found if one.theirs_s is not None and one.short]
    names = [one.short for one in shown]
    series = [
        {"name": name, "bars": True, "x": names, "y": [getattr(one, field) for one in shown]}
        for name, field in (("TenSEAL", "theirs_s"), ("stfed", "ours_s"))
    ]
    return {"name": "seconds", "title": "arithmetic on encrypted tensors, one core", "x": "", "y": "seconds", "log": "y", "series": series}


def wrong(found: Sequence[Measured]) -> list[str]:
    """What is further off than it said."""
    return [f"{one.name}: it is off by {one.error:.2e}, and its bound is {one.bound:.2e}" for one in found if not one.error <= one.bound]


def _cases(usual: SecretContext, deep: SecretContext, *, quick: bool) -> Iterator[Case]:
    yield from cases.vectors(usual, 20_000 if quick else 1_000_000)
    yield cases.rows_times_plain(usual, *((256, 8, 3) if quick else (4096, 64, 10)))
    yield cases.square_product(usual, 4 if quick else 16, with_peer=True)
    if not quick:
        yield cases.square_product(usual, 64, with_peer=False)
    yield cases.scoring(deep, Model.invented(64, 30) if quick else Model.trained())


def run(*, quick: bool = False) -> Section:
    """The section."""
    title = f"encrypted tensors beside TenSEAL's own and numpy, {processes()} processes"
    try:
        import tenseal  # noqa: F401
    except ImportError:
        absent = Line(
            "every operation: stfed / TenSEAL", None, "x", TARGET, "less", "TenSEAL is not installed; it comes with the extra 'encrypted'"
        )
        return Section("encrypted", title, [absent], quick=quick)
    # To make keys takes most of the time of a quick run, so it has one pair.
    deep = SecretContext.generate(Parameters.for_depth(3, scale_bits=30 if quick else 40))
    usual = deep if quick else SecretContext.generate()
    found = [measure(case, 1 if quick else 5) for case in _cases(usual, deep, quick=quick)]
    lines = [line for one in found for line in lines_of(one)]
    size = 20_000 if quick else 1_000_000
    lines += [*sizes(usual, size), *(() if quick else memory(size)), refusal(usual, 256 if quick else 1024)]
    return Section("encrypted", title, lines, {"cases": [asdict(one) for one in found], "plots": [plot(found)]}, quick, wrong(found))


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Ends with 1 if a result is further off than its bound, and never because of a time."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.encrypted", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small tensors: two seconds")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(argv)
    return run(quick=options.quick).emit(options.json)


if __name__ == "__main__":
    sys.exit(main())
