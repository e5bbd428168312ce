"""Masks and encoding on a GPU, against the memory of that GPU and the host in the same run; and why it is AES there too.

    python -m benchmarks.gpu

Without a CUDA device nothing is measured that would need one, and the table says so. Then the kernel runs in Triton's interpreter, if
Triton is installed, to show that its results are right, and what it would cost is counted (`benchmarks.gpucode`).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from benchmarks import gpucode
from benchmarks.line import Line, Section
from benchmarks.progress import progress
from stfed.bench import limits
from stfed.bench.workload import CLIP, MAX_WEIGHT, Workload
from stfed.crypto import device
from stfed.crypto.keystream import SEGMENT_BYTES, accumulate
from stfed.encoding import EncodingPlan, Update, packed_bytes
from stfed.secagg.devicepayload import write_ring
from stfed.secagg.payload import masked_payload

if TYPE_CHECKING:
    import torch

MASKS = 20
BITS = (16, 32, 64)
_NO_GPU = "no CUDA device on this machine: run `python -m benchmarks.gpu` where there is one"
_TRIES = 5


def chacha20_ns() -> float:
    """Nanoseconds for a 32-bit word of ChaCha20 on one core, by the same library and at the same size as AES."""
    zeros, out = bytes(SEGMENT_BYTES), bytearray(SEGMENT_BYTES)
    stream = Cipher(ChaCha20(os.urandom(32), bytes(16)), None).encryptor()
    return 4e9 / SEGMENT_BYTES * _least(lambda: stream.update_into(zeros, out), tries=200)


def construction(wrong: list[str], *, quick: bool) -> tuple[list[Line], dict[str, Any]]:
    """What speaks for which cipher: measured on the host, counted for the GPU."""
    aes_ns, chacha_ns, counted = limits.measure().keystream_ns, chacha20_ns(), gpucode.operations()
    total = sum(counted.values())
    data: dict[str, Any] = {"aes256_ns": aes_ns, "chacha20_ns": chacha_ns, "operations_per_byte": counted, "estimates": {}}
    lines = [
        Line("host: AES-256 keystream, one core", 4 / aes_ns, "GB/s", better="more", note="as the masks use it"),
        Line("host: ChaCha20, one core", 4 / chacha_ns, "GB/s", better="more", note="the same library"),
        Line("host: ChaCha20 takes as long as AES-256", chacha_ns / aes_ns, "x"),
        Line("counted: bit-sliced AES-256, operations a byte", total, note=", ".join(f"{step} {n:.1f}" for step, n in counted.items())),
        Line("counted: ChaCha20, operations a byte", gpucode.CHACHA20, note="additions, XORs, rotations"),
    ]
    if quick or not device.has_triton():
        note = "not in a quick run" if quick else "needs Triton: pip install 'stfed[gpu]'"
        return [*lines, Line("compiled: instructions a byte", None, note=note)], data
    for gpu in gpucode.GPUS:
        progress(f"compiling for {gpu.name}")
        try:
            code = gpucode.compiled(gpu.capability)
        except Exception as error:  # another Triton than those it was written with is no wrong result
            lines.append(Line(f"compiled for {gpu.name}: instructions a byte", None, note=f"{type(error).__name__}: {error}"[:120]))
            continue
        bound = gpu.keystream_gb_s(code.arithmetic)
        data["estimates"][gpu.name] = {"arithmetic": code.arithmetic, "loads": code.loads, "registers": code.registers, "gb_s": bound}
        note = f"and {code.loads:.1f} loads of round keys; {code.registers} registers, {code.spills} spilled"
        lines += [
            Line(f"compiled for {gpu.name}: instructions a byte", code.arithmetic, note=note),
            Line(f"computed, not measured: keystream at most, {gpu.name}", bound, "GB/s", note="if its integer units never wait"),
        ]
        if code.spills:
            wrong.append(f"the kernel for {gpu.name} spills registers")
    return lines, data


def check(place: torch.device) -> list[str]:
    """A sentence for every result that is not, bit by bit, the host's."""
    import torch

    wrong, keys = [], [os.urandom(32) for _ in range(3)]
    for bits in BITS:
        words = np.frombuffer(os.urandom(1001 * bits // 8), f"u{bits // 8}").copy()
        expected = words.copy()
        accumulate(expected, keys[:1], keys[1:], first_segment=65535)
        total = torch.tensor(words.view(f"i{bits // 8}"), device=place)
        with device.DeviceStreams(keys[:1], keys[1:], device=place) as streams:
            streams.accumulate(total, first_segment=65535)
        if (total.cpu().numpy().view(words.dtype) != expected).any():
            wrong.append(f"masks of {bits}-bit words are not those of the host")
    for ring_bits in (20, 32):
        update, key = _update(ring_bits, 5000, place), os.urandom(32)
        found = np.empty(packed_bytes(update.plan.vector_length, ring_bits), np.uint8)
        write_ring(update, keys[:1], keys[1:], key, found, place)
        on_host = masked_payload(_update(ring_bits, 5000, None), keys[:1], keys[1:], key)
        if found.tobytes() != on_host[: found.size]:
            wrong.append(f"a payload at b = {ring_bits} is not that of the host")
    return wrong


def measure(place: torch.device, words: int, parameters: int, count: int = MASKS) -> tuple[list[Line], dict[str, Any]]:
    """So many masks, and encoding, on the GPU and on the host."""
    import torch

    keys = [os.urandom(32) for _ in range(count)]
    data: dict[str, Any] = {}
    source = torch.zeros(words, dtype=torch.int32, device=place)
    copy_ns = _on_device(place, lambda: source.clone()) / words / 2  # read and written
    data["memory_gb_s"] = 4 / copy_ns
    lines = [Line("memory of this GPU, copying", 4 / copy_ns, "GB/s", better="more", note="the limit of one pass over a vector")]
    for bits in BITS:
        total = torch.zeros(words, dtype=getattr(torch, f"int{bits}"), device=place)
        on_host = np.zeros(words, f"u{bits // 8}")
        with device.DeviceStreams(keys, device=place) as streams:
            device_ns = _on_device(place, lambda streams=streams, total=total: streams.accumulate(total)) / words / count
        host_ns = 1e9 * _least(lambda on_host=on_host: accumulate(on_host, keys, threads=1), tries=2) / words / count
        data[f"mask_{bits}_ns"], data[f"host_mask_{bits}_ns"] = device_ns, host_ns
        note = f"{bits / 8 / device_ns:.0f} GB/s of keystream; host, one core: {host_ns:.3f} ns"
        lines += [
            Line(f"one mask on one {bits}-bit word, {count} masks", device_ns, "ns", note=note),
            Line(f"masking {bits}-bit words, over the host's one core", host_ns / device_ns, "x", better="more"),
        ]
    for ring_bits in (16, 20, 32):
        update, host = _update(ring_bits, parameters, place), _update(ring_bits, parameters, None)
        out = np.empty(packed_bytes(update.plan.vector_length, ring_bits), np.uint8)
        for masks in (0, count):
            device_ns = _on_device(place, lambda u=update, m=masks, o=out: write_ring(u, keys[:m], [], keys[0], o, place)) / parameters
            host_ns = 1e9 * _least(lambda h=host, m=masks: masked_payload(h, keys[:m], [], keys[0]), tries=2) / parameters
            data[f"payload_{ring_bits}_{masks}_ns"], data[f"host_payload_{ring_bits}_{masks}_ns"] = device_ns, host_ns
            note = f"packed bytes on the host included; there, all cores: {host_ns:.2f} ns"
            lines.append(Line(f"encoding a parameter, b = {ring_bits}, {masks} masks", device_ns, "ns", note=note))
    return lines, data


def _update(ring_bits: int, parameters: int, place: torch.device | None) -> Update:
    """An update whose trained model is on the device; None for the host."""
    import torch

    work = Workload(MASKS + 1, parameters)
    trained: dict[str, Any] = dict(work.trained(0))
    if place is not None:
        trained = {name: torch.tensor(values, device=place) for name, values in trained.items()}
    plan = EncodingPlan.for_arrays(
        work.received, parties=work.parties, ring_bits=ring_bits, clip=CLIP, max_weight=MAX_WEIGHT, metric_slots=0
    )
    return Update(plan, work.received, trained, work.weight(0), {}, lambda out: out.fill(0))


def _on_device(place: torch.device, call: Callable[[], object]) -> float:
    """The least nanoseconds of several tries until the device is done; the first call, which compiles, is not among them."""
    import torch

    def wait() -> None:
        call()
        if place.type == "cuda":
            torch.cuda.synchronize(place)

    wait()
    return 1e9 * _least(wait, tries=_TRIES if place.type == "cuda" else 1)


def _least(call: Callable[[], object], *, tries: int) -> float:
    seconds = []
    for _ in range(tries):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _interpreted() -> list[str]:
    """What is wrong in Triton's interpreter, which only a process that has not imported Triton can turn on."""
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, "-m", "benchmarks.gpu", "--interpreter"], env=environment, stdout=subprocess.PIPE, text=True)
    found = [sentence for sentence in done.stdout.splitlines() if sentence]
    return found if done.returncode == 0 else [*found, f"the interpreter ended with code {done.returncode}"]


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, in seconds")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--interpreter", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.interpreter:
        import torch

        print(*check(torch.device("cpu")), sep="\n")
        return 0

    wrong: list[str] = []
    progress("gpu: what speaks for which cipher")
    lines, data = construction(wrong, quick=options.quick)
    title, place = _NO_GPU, _gpu()
    if place is not None:
        import torch

        title = f"{torch.cuda.get_device_name(place)}, {MASKS} masks"
        wrong += check(place)
        progress("gpu: masks and encoding")
        found, measured = measure(place, *((1 << 22, 1 << 20) if options.quick else (1 << 26, 1 << 25)))
        lines, data = [*found, *lines], {**measured, **data}
    else:
        name, found_wrong, note = (
            "results of the kernel in Triton's interpreter that are wrong",
            None,
            "needs Triton: pip install 'stfed[gpu]'",
        )
        if device.has_triton():
            progress("gpu: results in Triton's interpreter")
            found_wrong, note = _interpreted(), ""
            wrong += found_wrong
        count = None if found_wrong is None else len(found_wrong)
        lines = [Line("masks and encoding on a GPU", None, note=_NO_GPU), Line(name, count, target=0, note=note), *lines]
    return Section("gpu", title, lines, data, quick=options.quick, wrong=wrong).emit(options.json)


def _gpu() -> torch.device | None:
    try:
        import torch
    except ImportError:
        return None
    place = torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else None
    return place if place is not None and device.available(place) else None


if __name__ == "__main__":
    sys.exit(main())
