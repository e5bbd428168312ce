"""The memory that a process takes from making keys to the result of one operation, at its peak: a fresh process for each.

    python -m benchmarks.encrypted_memory add 1000000 ours

Keys, operands and result are in it; interpreter and imports are not. SEAL keeps what it frees and uses it again, so what an operation takes
beyond its operands cannot be told from what making keys left. One process, so no workers.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.encrypted_cases import SEED, Floats, peer_context, quietly
from benchmarks.line import Line
from benchmarks.peak import mark, peak_bytes
from stfed.encrypted.context import SecretContext
from stfed.encrypted.encryption import encrypt
from stfed.encrypted.parameters import Parameters
from stfed.encrypted.paying import VARIABLE
from stfed.encrypted.seal import seal

ROOT = Path(__file__).parents[1]
OPERATIONS = ("encrypt", "add", "times encrypted", "@ plain")
COLUMNS, OUTPUTS = 64, 10


def measured(operation: str, elements: int, who: str) -> int:
    """What the command above prints.

    Raises:
        RuntimeError: it failed; with its last line.
    """
    command = [sys.executable, "-m", "benchmarks.encrypted_memory", operation, str(elements), who]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, VARIABLE: "1"}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError((done.stderr.strip() or f"the process ended with {done.returncode}").splitlines()[-1])
    return int(json.loads(done.stdout.splitlines()[-1])["bytes"])


def lines(elements: int) -> Iterator[Line]:
    """For each operation the peak beside TenSEAL's."""
    for operation in OPERATIONS:
        size = elements if operation != "@ plain" else elements // 4 // COLUMNS * COLUMNS
        ours, theirs = (measured(operation, size, who) for who in ("ours", "TenSEAL"))
        of = f"{size:,} elements, {operation}"
        if operation == "@ plain":
            of = f"{size // COLUMNS} x {COLUMNS} encrypted @ {COLUMNS} x {OUTPUTS} plain"
        note = f"{theirs / 1e6:.0f} MB and {ours / 1e6:.0f} MB, keys and operands among them"
        yield Line(f"{of}: peak memory, stfed / TenSEAL", ours / theirs, "x", None, "less", note)


def _ours(operation: str, numbers: Floats) -> Any:
    public = SecretContext.generate().public
    if operation == "encrypt":
        return encrypt(public, numbers, bound=1.0)
    if operation == "@ plain":
        return encrypt(public, numbers.reshape(-1, COLUMNS), bound=1.0) @ np.ones((COLUMNS, OUTPUTS))
    a, b = (encrypt(public, one, bound=1.0) for one in (numbers, -numbers))
    return a + b if operation == "add" else a * b


def _theirs(operation: str, numbers: Floats) -> Any:
    import tenseal

    keys = peer_context(Parameters())
    if operation == "encrypt":
        return tenseal.ckks_vector(keys, numbers)
    if operation == "@ plain":
        rows = tenseal.plain_tensor(numbers.reshape(-1, 1, COLUMNS))
        return tenseal.ckks_tensor(keys, rows, batch=True).mm(tenseal.plain_tensor(np.ones((COLUMNS, OUTPUTS))))
    a, b = (tenseal.ckks_vector(keys, one) for one in (numbers, -numbers))
    return a + b if operation == "add" else a * b


def main(operation: str, elements: str, who: str) -> None:
    """Prints the bytes as JSON."""
    numbers, run = np.random.default_rng(SEED).uniform(-1, 1, int(elements)), {"ours": _ours, "TenSEAL": _theirs}[who]
    seal()  # imported, not yet used
    before = mark()
    result = quietly(lambda: run(operation, numbers))
    print(json.dumps({"bytes": peak_bytes() - before}))
    del result


if __name__ == "__main__":
    main(*sys.argv[1:])
