"""The memory that a party takes from models to payload beyond these three, at its peak: one fresh process for each answer.

    python -m benchmarks.partymemory float32 32 100000000 20

The model is a list of tensors like a small language model's: an embedding, then layers of attention, MLP and norms. Linux keeps the peak of
what a process had resident and lets it be reset, so only what happens from there on counts. A small update goes first, for what is imported
or started once.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peak import mark, peak_bytes
from stfed.encoding import Array, EncodingPlan, Update
from stfed.secagg.payload import masked_payload

ROOT = Path(__file__).parents[1]
_WIDTH, _VOCABULARY = 640, 50_257


@dataclass(frozen=True)
class Peak:
    """One answer.

    Attributes:
        dtype: of the tensors.
        ring_bits: b.
        tensors: how many.
        parameters: of all of them.
        extra_bytes: the peak beyond models and payload; None if it could not be measured.
        seconds: from models to payload, with as many threads as a party takes by itself.
        why: it could not be measured.
    """

    dtype: str
    ring_bits: int
    tensors: int = 0
    parameters: int = 0
    extra_bytes: int | None = None
    seconds: float = 0.0
    why: str = ""


def measure(dtype: str, ring_bits: int, parameters: int, masks: int) -> Peak:
    """What the command above prints, or why it printed nothing."""
    command = [sys.executable, "-m", "benchmarks.partymemory", dtype, str(ring_bits), str(parameters), str(masks)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        return Peak(dtype, ring_bits, why=(done.stderr.strip() or f"the process ended with {done.returncode}").splitlines()[-1])
    return Peak(dtype, ring_bits, **json.loads(done.stdout.splitlines()[-1]))


def shapes(parameters: int) -> dict[str, tuple[int, ...]]:
    """About as many parameters: the embedding takes a third, and what is left over is in the last tensor."""
    words = min(_VOCABULARY, parameters // 3 // _WIDTH)
    layer: dict[str, tuple[int, ...]] = {"attention.in": (3 * _WIDTH, _WIDTH), "attention.out": (_WIDTH, _WIDTH)}
    layer |= {"mlp.in": (4 * _WIDTH, _WIDTH), "mlp.out": (_WIDTH, 4 * _WIDTH), "norm.1": (_WIDTH,), "norm.2": (_WIDTH,)}
    found: dict[str, tuple[int, ...]] = {"embedding": (words, _WIDTH)}
    left, each = parameters - words * _WIDTH, sum(int(np.prod(shape)) for shape in layer.values())
    for number in range(left // each):
        found |= {f"layers.{number}.{name}": shape for name, shape in layer.items()}
    return found | {"head": (left % each,)}


def models(dtype: str, parameters: int) -> tuple[Mapping[str, Array], Mapping[str, Array]]:
    """Received and trained, every page of them written."""
    if dtype == "bfloat16":
        import torch

        received: dict[str, Any] = {name: torch.full(shape, 0.5, dtype=torch.bfloat16) for name, shape in shapes(parameters).items()}
        return received, {name: tensor + 2.0**-6 for name, tensor in received.items()}
    received = {name: np.full(shape, 0.5, dtype) for name, shape in shapes(parameters).items()}
    return received, {name: tensor + tensor.dtype.type(0.01) for name, tensor in received.items()}


def _send(pair: tuple[Mapping[str, Array], Mapping[str, Array]], ring_bits: int, masks: int, threads: int | None) -> bytes:
    plan = EncodingPlan.for_arrays(pair[0], parties=100, ring_bits=ring_bits, metric_slots=0)
    keys = [bytes([number]) * 32 for number in range(masks)]
    return masked_payload(Update(plan, *pair, 1, {}, lambda out: out.fill(0)), keys, [], bytes(32), threads=threads)


def main(dtype: str, ring_bits: str, parameters: str, masks: str) -> None:
    """Prints the answer as JSON."""
    _send(models(dtype, 500_000), int(ring_bits), 1, 2)
    pair = models(dtype, int(parameters))
    before, start = mark(), time.perf_counter()
    payload = _send(pair, int(ring_bits), int(masks), None)
    seconds = time.perf_counter() - start
    extra_bytes = max(0, peak_bytes() - before - len(payload))
    sizes = shapes(int(parameters))
    count = sum(int(np.prod(shape)) for shape in sizes.values())
    print(json.dumps({"tensors": len(sizes), "parameters": count, "extra_bytes": extra_bytes, "seconds": seconds}))


if __name__ == "__main__":
    main(*sys.argv[1:])
