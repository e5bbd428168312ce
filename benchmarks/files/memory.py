"""How much memory saving or loading takes beyond the tensors themselves, at its peak: one fresh process for each answer.

    python -m benchmarks.files.memory "stfed numpy" load 1073741824 200 FOLDER

Linux keeps the peak of what a process had resident and lets it be reset, so that only what happens from there on counts. The process saves
and loads a small set first, for what is imported or started once. A file that is mapped counts as far as it is resident, once.
"""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from pathlib import Path

from benchmarks.files.contender import Contender
from benchmarks.files.contenders import CONTENDERS
from benchmarks.files.timing import LOAD, SAVE
from benchmarks.files.workload import large
from benchmarks.peak import mark, peak_bytes

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
            before = mark()
            contender.save(prepared, path)
            extra = peak_bytes() - before
        else:
            before = mark()
            result = contender.load(path)
            extra = peak_bytes() - before - size_bytes
            del result
    finally:
        path.unlink(missing_ok=True)
        small.unlink(missing_ok=True)
    print(max(0, extra))


if __name__ == "__main__":
    main(*sys.argv[1:])
