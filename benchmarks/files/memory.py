"""How much memory saving or loading takes beyond the tensors themselves, at its peak: one fresh process for each answer.

    python -m benchmarks.files.memory "stfed numpy" load 1073741824 200 FOLDER

Linux keeps the peak of what a process had resident and lets it be reset, so that only what happens from there on counts. The process saves
and loads a small set first, for what is imported or started once. A file that is mapped counts as far as it is resident, once.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import multiprocessing
import subprocess
import sys
from pathlib import Path

from benchmarks.files.contender import Contender
from benchmarks.files.contenders import CONTENDERS
from benchmarks.files.timing import LOAD, SAVE
from benchmarks.files.workload import large

ROOT = Path(__file__).parents[2]
_WARM_UP = (8 << 20, 8)


def peak_extra_bytes(name: str, what: str, size_bytes: int, count: int, folder: Path) -> int | str:
    """What the command above prints, or why it printed nothing."""
    command = [sys.executable, "-m", "benchmarks.files.memory", name, what, str(size_bytes), str(count), str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        return (done.stderr.strip() or f"the process ended with {done.returncode}").splitlines()[-1]
    return int(done.stdout.split()[-1])


def _save(contender: Contender, path: Path, size_bytes: int, count: int) -> None:
    contender.save(contender.prepare(large(size_bytes, count).tensors), path)


def _resident_bytes(which: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{which}:"))


def _reset_peak() -> int:
    """Forgets the peak; returns what is resident now."""
    gc.collect()
    with contextlib.suppress(AttributeError):  # other C libraries have none; what they keep would hide as much of what follows
        ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return _resident_bytes("VmRSS")


def main(name: str, what: str, size: str, count: str, folder: str) -> None:
    """Prints the bytes."""
    contender, path, small = CONTENDERS[name](), Path(folder, "memory.bin"), Path(folder, "warm-up.bin")
    size_bytes, tensors = int(size), int(count)
    try:
        if what == LOAD:  # by a copy of this process, which has the same keys and leaves nothing behind in this one's memory
            saver = multiprocessing.get_context("fork").Process(target=_save, args=(contender, path, size_bytes, tensors))
            saver.start()
            saver.join()
        _save(contender, small, *_WARM_UP)
        contender.load(small)
        if what == SAVE:
            workload = large(size_bytes, tensors)
            prepared = contender.prepare(workload.tensors)
            before = _reset_peak()
            contender.save(prepared, path)
            extra = _resident_bytes("VmHWM") - before
        else:
            before = _reset_peak()
            result = contender.load(path)
            extra = _resident_bytes("VmHWM") - before - size_bytes
            del result
    finally:
        path.unlink(missing_ok=True)
        small.unlink(missing_ok=True)
    print(max(0, extra))


if __name__ == "__main__":
    main(*sys.argv[1:])
