"""Batches on several processes: the same results in the same order, and no way to lose, hang on or leave behind a worker."""

from __future__ import annotations

import ast
import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stfed.encrypted import crew
from stfed.encrypted.arithmetic import left_of
from stfed.encrypted.context import EvaluationContext
from stfed.encrypted.crew import Crew
from stfed.encrypted.decryption import decrypt
from stfed.encrypted.encryption import encrypt
from stfed.encrypted.paying import VARIABLE
from stfed.encrypted.progress import showing
from stfed.errors import LocalError
from tests.encrypted import keys

TOLERANCE = 1e-5


def fresh() -> EvaluationContext:
    """A context that has no workers yet."""
    public = keys.usual().public
    return EvaluationContext(public.parameters, *public.blobs)


def workers(context: EvaluationContext) -> list[Any]:
    return context._crew._workers


def rows(count: int, context: EvaluationContext) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Each begins with its number."""
    values = np.random.default_rng(7).uniform(-1, 1, (count, context.parameters.slots))
    values[:, 0] = np.arange(count)
    return values


def at_work(context: EvaluationContext, operation: str, *job: Any) -> None:
    """Gives jobs until every worker has its keys."""
    until = time.monotonic() + 60
    context.each(operation, [job] * 4)
    while not all(worker.ready for worker in workers(context)):
        context.each(operation, [job] * 4)
        assert time.monotonic() < until


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Two workers that are used for every batch; the numbers of the jobs that came back from them, and -1 for each that failed there."""
    monkeypatch.setenv(VARIABLE, "3")
    monkeypatch.setattr(crew, "pays", lambda *_: True)
    monkeypatch.setattr(crew, "hopeless", lambda *_: False)
    monkeypatch.setattr(crew, "_SHORT_S", 0.0)
    came = list[int]()
    received = Crew._received

    def watched(self: Crew, worker: Any, parcel: Any, results: list[Any]) -> int | None:
        at = received(self, worker, parcel, results)
        if at is not None:
            came.append(-1 if results[at] is None else at)
        return at

    monkeypatch.setattr(Crew, "_received", watched)
    return came


@pytest.fixture(scope="module")
def shared() -> Iterator[list[EvaluationContext]]:
    """One context for the module: its workers take half a second to start."""
    made = [fresh()]
    yield made
    made.clear()
    gc.collect()


@pytest.fixture
def context(eager: list[int], shared: list[EvaluationContext]) -> EvaluationContext:
    """With workers that wait for jobs, whatever became of those of the test before."""
    one = shared[0].arithmetic.encrypt(1.0)
    at_work(shared[0], "multiply", one, one)
    eager.clear()
    return shared[0]


def opened(ciphertext: Any) -> Any:
    return keys.usual().slots(ciphertext).real


def test_results_are_those_of_one_process_in_their_order(context: EvaluationContext, eager: list[int]) -> None:
    values = rows(24, context)
    fresh_ones = context.each("encrypt", [(row,) for row in values])
    assert len(eager) >= 4  # the first that are given out, two to each
    for row, ciphertext in zip(values, fresh_ones, strict=True):
        assert np.abs(opened(ciphertext) - row).max() < TOLERANCE

    # One operand is everybody's, one is a job's own, one is there twice in a job; arrays and numbers come with them.
    eager.clear()
    a, *others = fresh_ones[1:8]
    products = context.each("products", [([(a, b), (b, b)],) for b in others])
    sums = context.each("combine", [([(a, 0.5), (b, values[0]), (b, np.float64(2.0))],) for b in others])
    assert len(eager) >= 4
    for at, (product, total) in enumerate(zip(products, sums, strict=True)):
        b = values[2 + at]
        assert np.abs(opened(product) - (values[1] * b + b * b)).max() < TOLERANCE * 10
        assert np.abs(opened(total) - (0.5 * values[1] + b * values[0] + 2 * b)).max() < TOLERANCE * 10
    assert {ciphertext.scale for ciphertext in products} == {context.scales[1]}
    assert -1 not in eager
    assert not any(worker.kept for worker in workers(context))


def test_tensors_are_computed_by_workers(context: EvaluationContext, eager: list[int]) -> None:
    values = rows(8, context)[:, ::-1].T / 8
    x = encrypt(context, values, bound=1.0)
    for result, exact in (
        (x.polyval([0.5, 0.25, 0.125, -0.0625]), 0.5 + 0.25 * values + 0.125 * values**2 - 0.0625 * values**3),
        (x @ np.eye(8)[:, ::-1], values[:, ::-1]),
        (x * values - x, values**2 - values),
    ):
        assert np.abs(decrypt(keys.usual(), result) - exact).max() <= result.error
    assert len(eager) >= 12
    assert -1 not in eager


def test_a_batch_remembers_no_ciphertext_of_another(context: EvaluationContext, eager: list[int]) -> None:
    values = rows(8, context)
    x, z, *others = (context.arithmetic.encrypt(row) for row in values)
    context.each("multiply", [(one, one) for one in [x, x, *others]])  # the numbers that these have, others have next
    for first, second, at in ((x, z, 0), (z, x, 1)):
        products = context.each("products", [([(first, one), (second, second)],) for one in others])
        for other, product in zip(values[2:], products, strict=True):
            assert np.abs(opened(product) - (values[at] * other + values[1 - at] ** 2)).max() < TOLERANCE * 10
    assert -1 not in eager


def test_keys_that_an_operation_needs_are_brought_later(eager: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "2")
    secret = keys.adding()  # without relinearisation keys, so that the others have to stay in their places
    context = EvaluationContext(secret.public.parameters, *secret.public.blobs)
    values = rows(1, context)[0]
    ciphertext = context.arithmetic.encrypt(values)
    at_work(context, "zero", 0)
    before = [worker.process.pid for worker in workers(context)]
    assert context._crew._keys == 1
    at_work(context, "rotate", ciphertext, 1)
    assert context._crew._keys == 3
    assert not set(before) & {worker.process.pid for worker in workers(context)}
    eager.clear()
    for steps, rotated in enumerate(context.each("rotate", [(ciphertext, steps) for steps in range(12)])):
        assert np.abs(secret.slots(rotated).real - np.roll(values, -steps)).max() < TOLERANCE
    assert eager
    assert -1 not in eager


def test_a_killed_worker_is_an_error_and_the_next_call_works(context: EvaluationContext) -> None:
    values = rows(12, context)
    one, other = workers(context)
    os.kill(one.process.pid, signal.SIGSTOP)  # so that it does not finish anything
    killed = False

    def kill(_: str, done: int, __: int) -> None:
        nonlocal killed
        if not killed and one.under_way:
            killed = True
            os.kill(one.process.pid, signal.SIGKILL)

    with pytest.raises(LocalError, match=r"killed by signal 9.*no result.*STFED_ENCRYPTED_WORKERS=1"), showing(kill):
        context.each("encrypt", [(row,) for row in values])
    assert workers(context) == []
    assert [one.process.returncode, other.process.returncode] == [-9, -9]

    results = context.each("encrypt", [(row,) for row in values])
    assert [round(opened(ciphertext)[0]) for ciphertext in results] == list(range(12))
    # One that dies between two calls is replaced, and nobody hears of it.
    assert workers(context)
    os.kill(workers(context)[0].process.pid, signal.SIGKILL)
    workers(context)[0].process.wait()
    assert len(context.each("zero", [(0,)] * 8)) == 8


def test_what_a_worker_cannot_do_raises_as_it_does_here(context: EvaluationContext, eager: list[int]) -> None:
    left = [context.arithmetic.encrypt(1.0), context.arithmetic.zero(0)]
    jobs = [(left[0], left[0])] + [(left[0], left[1])] * 4 + [(left[0], left[0])] * 8
    with pytest.raises(ValueError, match="mismatch") as here:
        context.arithmetic.multiply(*jobs[1])
    with pytest.raises(type(here.value), match=str(here.value)):
        context.each("multiply", jobs)
    assert eager[-1] == -1
    assert workers(context) == []


def test_an_interruption_ends_the_workers(context: EvaluationContext) -> None:
    def interrupt(_: str, done: int, __: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    processes = [worker.process for worker in workers(context)]
    with pytest.raises(KeyboardInterrupt), showing(interrupt):
        context.each("zero", [(0,)] * 20)
    assert all(process.returncode is not None for process in processes)
    assert len(context.each("zero", [(0,)] * 5)) == 5


def test_no_process_is_left_when_the_context_is_gone(eager: list[int]) -> None:
    context = fresh()
    context.each("zero", [(0,)] * 3)
    processes = [worker.process for worker in workers(context)]
    assert all(process.poll() is None for process in processes)
    del context
    gc.collect()
    assert all(process.returncode is not None for process in processes)


SCRIPT = """
import os, sys
from stfed.encrypted import crew
crew.pays, crew._SHORT_S = (lambda *_: True), 0.0
from stfed.encrypted.context import SecretContext
from stfed.encrypted.parameters import Parameters
context = SecretContext.generate(Parameters.for_depth(0)).public
while not context._crew._workers or not all(worker.ready for worker in context._crew._workers):
    context.each("zero", [(0,)] * 4)
print(*(worker.process.pid for worker in context._crew._workers), flush=True)
{end}
"""


def gone(pid: int) -> bool:
    """Within some seconds."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":  # whoever adopted it has not looked yet
            return True
        time.sleep(0.02)
    return False


KILLED = "os.kill(os.getpid(), 9)"
FORKED = """
import time
child = os.fork()
if not child:
    os.close(1), os.close(2)
    time.sleep(30)
    os._exit(0)
print(child, flush=True)
os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("end", ["", KILLED, FORKED], ids=["exit", "killed", "killed, and a fork has its sockets"])
def test_workers_end_with_their_parent(end: str, tmp_path: Path) -> None:
    environment, errors = {**os.environ, VARIABLE: "2"}, tmp_path / "stderr"
    with errors.open("wb") as stderr:  # no pipe: its end would be that of the worker
        command = [sys.executable, "-c", SCRIPT.format(end=end)]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=stderr, timeout=60, check=False)
    assert errors.read_text() == ""
    assert done.returncode == (-9 if end else 0)
    pid, *children = map(int, done.stdout.split())
    assert gone(pid)
    for child in children:
        os.kill(child, signal.SIGKILL)  # it lived longer


def test_a_worker_knows_no_secret(eager: list[int], context: EvaluationContext) -> None:
    secret = keys.usual().secret_bytes
    for worker in workers(context):
        folder = Path(f"/proc/{worker.process.pid}")
        command = (folder / "cmdline").read_bytes().split(b"\0")
        assert command[1:-1] == [b"-P", b"-m", b"stfed.encrypted.worker"]
        for piece in (secret[40:80], secret[-40:]):
            assert piece not in (folder / "environ").read_bytes()
            assert piece.hex().encode() not in (folder / "environ").read_bytes()
    assert not any(secret in blob for blob in context._crew._blobs if blob is not None)


@pytest.mark.parametrize("found_here", [False, True])
def test_a_worker_runs_no_code_from_the_folder_that_somebody_stands_in(tmp_path: Path, found_here: bool) -> None:
    """As in notebooks and at the prompt, where sys.path begins with the empty name."""
    own = str(Path(crew.__file__).parents[2])
    monkey = [folder for folder in sys.path if folder != own] if found_here else [own, *sys.path]
    code = f"import sys\nsys.path[:] = {['', *monkey]!r}\nfrom stfed.encrypted.process import _module_folders as found\nimport os\n"
    code += f"os.chdir({str(tmp_path)!r})\nprint(found())"
    done = subprocess.run([sys.executable, "-c", code], cwd=own, capture_output=True, text=True, timeout=60, check=True)
    folders = ast.literal_eval(done.stdout)
    assert own in folders
    assert not {"", ".", str(tmp_path)} & set(folders)


def test_a_fork_leaves_the_workers_to_its_parent(context: EvaluationContext) -> None:
    pids = {worker.process.pid for worker in workers(context)}
    child = os.fork()
    if not child:
        code = 1
        try:
            made = context.each("zero", [(0,)] * 6)
            code = 0 if len(made) == 6 and not pids & {worker.process.pid for worker in workers(context)} else 2
            crew._end(workers(context))  # as when the interpreter ends
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert len(context.each("zero", [(0,)] * 12)) == 12
    assert pids == {worker.process.pid for worker in workers(context)}


def test_one_process_starts_none(eager: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "1")
    context = fresh()
    assert len(context.each("zero", [(0,)] * 4)) == 4
    assert workers(context) == []
    assert context.each("zero", []) == []


@pytest.mark.parametrize("bound", [1e-3, 1.0, 511.0, 1e6, 2.0**28])
def test_decrypting_without_the_moduli_that_a_bound_does_not_need_is_exact(bound: float) -> None:
    secret = keys.usual()
    values = np.random.default_rng(7).uniform(-bound, bound, secret.public.parameters.slots)
    values[:2] = bound, -bound
    whole = [secret.public.arithmetic.encrypt(row) for row in (values, np.full_like(values, bound))]
    for numbers in (bound, bound / 1000):  # the bound, and one that is a thousand times too small
        assert np.abs(secret.slots_of(whole, numbers) - secret.slots_of(whole)).max() <= bound * 1e-9
    assert left_of(secret.public.arithmetic.lowered(whole[0], bound)) == (0 if bound < 2.0**19 else 1)
    assert secret.slots_of([], bound).shape == (0, secret.public.parameters.slots)
