"""Vectors of the neighbour graph, from a second implementation: no numpy, no import of the package, only the definition.

`generate()` maps file names to contents; each file is one graph. Small graphs list every party's neighbours, large ones a few parties'
and the SHA-256 of the whole table (rows in order, entries as big-endian u32).
"""

from __future__ import annotations

import hashlib
import json

LABEL = b"stfed/secagg/graph/1"
GRAPHS = {
    "ring-4-2": (4, 2, b""),
    "ring-7-2": (7, 2, b"seed"),
    "ring-10-6": (10, 6, bytes(32)),
    "ring-10-8-all-but-one": (10, 8, bytes(range(32))),
    "ring-1000-34": (1000, 34, hashlib.sha256(b"run, round, joins").digest()),
    "ring-20000-40": (20_000, 40, b"\xff" * 32),
    "complete-2": (2, 1, b"ignored"),
    "complete-9": (9, 8, b"ignored"),
}
LARGEST_LISTED = 32


def opaque(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def neighbours(n: int, k: int, seed: bytes) -> list[list[int]]:
    if k == n - 1:
        return [[j for j in range(n) if j != i] for i in range(n)]
    stream = hashlib.shake_256(opaque(LABEL) + opaque(seed)).digest(8 * n)
    ring = sorted(range(n), key=lambda i: (int.from_bytes(stream[8 * i : 8 * i + 8], "little"), i))
    table: list[list[int]] = [[] for _ in range(n)]
    for place, party in enumerate(ring):
        table[party] = sorted(ring[(place + step) % n] for step in range(-(k // 2), k // 2 + 1) if step)
    return table


def generate() -> dict[str, bytes]:
    """File name relative to this folder -> content."""
    files = {}
    for name, (n, k, seed) in GRAPHS.items():
        table = neighbours(n, k, seed)
        listed = range(n) if n <= LARGEST_LISTED else (0, 1, n // 2, n - 1)
        content = {
            "n": n,
            "k": k,
            "seed": seed.hex(),
            "neighbours": {str(i): table[i] for i in listed},
            "table_sha256": hashlib.sha256(b"".join(j.to_bytes(4, "big") for row in table for j in row)).hexdigest(),
        }
        rows = ",\n".join(f" {json.dumps(key)}: {json.dumps(value)}" for key, value in content.items())
        files[f"graph/{name}.json"] = f"{{\n{rows}\n}}\n".encode()
    return files
