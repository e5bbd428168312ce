"""Models larger than memory: the content is what `save_file` seals, memory stays flat, and half a model is no file."""

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy
import torch
from hypothesis import given
from hypothesis import strategies as st

from stfed import sealed
from stfed.audit import AuditLog
from stfed.errors import LocalError
from stfed.files import Memory
from stfed.keys.signing import SigningKey
from stfed.sealed import inner
from stfed.sealed import torch as sealed_torch
from stfed.sealed.errors import TensorError
from stfed.sealed.intake import Intake
from stfed.sealed.numpy import load_file, safe_open, save_file
from stfed.sealed.parallel import buffer
from stfed.sealed.reader import SealedReader
from stfed.sealed.streaming import SealedWriter, save_iter, stream_order
from stfed.sealed.tensors import DTYPES, Spec

from .material import CHUNK_BYTES, Script, keypair, sealing_of

ROOT = Path(__file__).parent.parent.parent
IDENTITY, RECIPIENT = keypair("streaming")
SIGNER = SigningKey.generate(entropy=Script("signer"))
OPEN: dict[str, Any] = {"identity": IDENTITY}
SEAL: dict[str, Any] = {"recipients": RECIPIENT}

TENSORS: dict[str, np.ndarray[Any, Any]] = {
    "layer.10.weight": np.arange(600_000, dtype=np.float32).reshape(600, 1000),
    "layer.2.weight": np.arange(24, dtype=np.float64).reshape(2, 3, 4),
    "bias": np.arange(7, dtype=np.int8),
    "flag": np.array(True),
    "empty": np.zeros((0, 5), np.float32),
    "half": np.arange(3, dtype=np.float16),
}
SPECS = {name: (array.dtype, array.shape) for name, array in TENSORS.items()}


def plain_of(path: Path) -> bytes:
    out = path.with_suffix(".plain")
    sealed.open_file(path, out, identity=IDENTITY)
    return out.read_bytes()


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("signed", [False, True])
def test_the_content_is_what_save_file_seals(signed: bool, tmp_path: Path) -> None:
    more = {"signer": SIGNER} if signed else {}
    save_file(TENSORS, tmp_path / "whole", {"k": "v"}, **SEAL, **more)
    with SealedWriter(tmp_path / "stream", SPECS, {"k": "v"}, **SEAL, **more) as file:
        for name in file.order:
            file.write(name, TENSORS[name])
    assert plain_of(tmp_path / "stream") == plain_of(tmp_path / "whole")
    assert (tmp_path / "stream").stat().st_size == (tmp_path / "whole").stat().st_size
    loaded = load_file(tmp_path / "stream", **OPEN, **({"trusted": SIGNER.public} if signed else {}))
    assert loaded.keys() == TENSORS.keys()
    for name, array in TENSORS.items():
        assert loaded[name].dtype == array.dtype
        assert np.array_equal(loaded[name], array), name
    with safetensors.safe_open(tmp_path / "stream.plain", "np") as stock:
        assert stock.metadata() == {"k": "v"}
        assert np.array_equal(stock.get_slice("layer.10.weight")[5:7], TENSORS["layer.10.weight"][5:7])
    with SealedReader(tmp_path / "stream", **OPEN) as reader:
        assert reader.manifest == file.manifest


def test_torch_tensors_and_all_ways_to_announce(tmp_path: Path) -> None:
    tensors = {
        "bf16": torch.arange(6, dtype=torch.bfloat16).reshape(2, 3),
        "f8": torch.arange(4).to(torch.float8_e4m3fn),
        "f4": torch.arange(4, dtype=torch.uint8).view(torch.float4_e2m1fn_x2).reshape(2, 2),
        "conj": torch.tensor([1 + 2j, 3 - 1j]).conj(),
    }
    specs: dict[str, Any] = {
        "bf16": torch.empty(2, 3, dtype=torch.bfloat16, device="meta"),
        "f8": ("F8_E4M3", [4]),
        "f4": (torch.float4_e2m1fn_x2, (2, 2)),
        "conj": (np.complex64, (2,)),
    }
    save_iter(tensors.__getitem__, tmp_path / "stream", specs, **SEAL)
    loaded = sealed_torch.load_file(tmp_path / "stream", **OPEN)
    for name, tensor in tensors.items():
        assert loaded[name].dtype == tensor.dtype
        assert loaded[name].shape == tensor.shape
        assert torch.equal(loaded[name].view(torch.uint8), tensor.resolve_conj().view(torch.uint8)), name
    save_iter(tensors.__getitem__, tmp_path / "coded", {**specs, "f4": ("F4", [2, 4])}, **SEAL)
    assert plain_of(tmp_path / "coded") == plain_of(tmp_path / "stream")


def test_from_one_sealed_file_to_another_one_tensor_at_a_time(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "whole", **SEAL)
    with safe_open(tmp_path / "whole", **OPEN) as file:
        specs = {name: (file.get_slice(name).get_dtype(), file.get_slice(name).get_shape()) for name in file.offset_keys()}
        save_iter(file.get_tensor, tmp_path / "stream", specs, **SEAL, signer=SIGNER)
    assert plain_of(tmp_path / "stream") == plain_of(tmp_path / "whole")


@given(seed=st.binary(min_size=1, max_size=8), length=st.integers(0, 36 * CHUNK_BYTES), data=st.data())
def test_bytes_in_any_portions_are_the_same_file(seed: bytes, length: int, data: st.DataObject) -> None:
    content = hashlib.shake_256(seed).digest(length)
    header, _ = inner.build({"w": Spec(DTYPES["U8"], (length,), length)}, None)
    plain = header + content
    sealing = sealing_of(plain, RECIPIENT, signer=SIGNER)
    target = Memory(out := buffer(sealing.layout.file_bytes))
    done: list[int] = []
    intake, at = Intake(sealing.begin(target), len(plain), done.append), 0
    while at < len(plain):
        step = data.draw(st.sampled_from([0, 1, 31, CHUNK_BYTES - 1, CHUNK_BYTES, 17 * CHUNK_BYTES + 5, len(plain)]), "step")
        portion = bytearray(plain[at : at + max(step, len(plain) // 64)])
        intake.take(memoryview(portion))
        at += len(portion)
        portion[:] = bytes(len(portion))  # what was taken is sealed or the writer's own
    sealing.finish(target)
    assert sum(done) == len(plain)
    with SealedReader(bytes(out), **OPEN, trusted=SIGNER.public) as reader:
        assert reader.payload.read(0, reader.payload.size_bytes) == plain


@pytest.mark.parametrize("rows", [1, 7, 599, 600])
def test_chunks_of_rows(rows: int, tmp_path: Path) -> None:
    whole = TENSORS["layer.10.weight"]
    with SealedWriter(tmp_path / "stream", {"w": (np.float32, whole.shape), "e": ("F32", [0, 3])}, **SEAL) as file:
        file.write_chunk("e", np.zeros((0, 3), np.float32))
        for start in range(0, 600, rows):
            file.write_chunk("w", whole[start : start + rows])
    assert np.array_equal(load_file(tmp_path / "stream", **OPEN)["w"], whole)


def test_a_model_without_tensors(tmp_path: Path) -> None:
    save_iter([], tmp_path / "stream", {}, {"only": "text"}, **SEAL)
    with safe_open(tmp_path / "stream", **OPEN) as file:
        assert (file.keys(), file.metadata()) == ([], {"only": "text"})


def test_the_order_is_that_of_every_file(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "whole", **SEAL)
    with safe_open(tmp_path / "whole", **OPEN) as file:
        assert stream_order(SPECS) == file.offset_keys()
    save_iter(((name, TENSORS[name]) for name in stream_order(SPECS)), tmp_path / "stream", SPECS, **SEAL)
    assert plain_of(tmp_path / "stream") == plain_of(tmp_path / "whole")


W = np.ones((4, 2), np.float32)
ANNOUNCED = {"v": ("F32", [2]), "w": ("F32", [4, 2])}
V = ("v", np.ones(2, np.float32))


@pytest.mark.parametrize(
    ("calls", "says"),
    [
        ([], "2 of 2 announced tensors are missing, 'v' first"),
        ([("write", *V)], "1 of 2 announced tensors are missing, 'w' first"),
        ([("write", *V), ("write_chunk", "w", W[:3])], "1 of 2 announced tensors are missing"),
        ([("write", "w", W)], "out of order: 'v' is due"),
        ([("write", *V), ("write", *V)], "out of order: 'w' is due"),
        ([("write", *V), ("write", "w", W), ("write", "w", W)], "out of order: nothing more is due"),
        ([("write", "x", W)], "'x' was not announced"),
        ([("write", "v", np.ones(2, np.float64))], r"is F64 \[2\], announced was F32 \[2\]"),
        ([("write", "v", np.ones(3, np.float32))], r"is F32 \[3\], announced was F32 \[2\]"),
        ([("write", "v", np.ones((1, 2), np.float32))], "announced was"),
        ([("write", "v", [1.0, 1.0])], "expected np.ndarray"),
        ([("write", "v", torch.ones(2).to_sparse())], "sparse"),
        ([("write", *V), ("write_chunk", "w", W[:3]), ("write_chunk", "w", W[:2])], "has 4 rows, with this chunk it would have 5"),
        ([("write", *V), ("write_chunk", "w", W[:, :1])], r"rows of F32 \[4, 2\] are due"),
        ([("write", *V), ("write_chunk", "w", W[0])], "rows of"),
        ([("write", *V), ("write_chunk", "w", W.astype(np.float16))], "rows of"),
        ([("write", *V), ("write_chunk", "w", W[:3]), ("write", "w", W)], "go on with write_chunk"),
    ],
)
def test_what_is_not_as_announced_leaves_no_file(calls: list[tuple[Any, ...]], says: str, tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"old")

    def make() -> None:
        with SealedWriter(tmp_path / "old", ANNOUNCED, **SEAL) as file:
            for verb, *arguments in calls:
                getattr(file, verb)(*arguments)

    with pytest.raises(LocalError, match=says):
        make()
    assert names_in(tmp_path) == ["old"]
    assert (tmp_path / "old").read_bytes() == b"old"


def test_a_refused_call_can_be_made_again(tmp_path: Path) -> None:
    with SealedWriter(tmp_path / "stream", ANNOUNCED, **SEAL) as file:
        for wrong in (("w", W), ("v", W)):
            with pytest.raises(LocalError):
                file.write(*wrong)
        file.write(*V)
        with pytest.raises(LocalError):
            file.write_chunk("w", np.ones((5, 2), np.float32))
        file.write("w", W)
    assert np.array_equal(load_file(tmp_path / "stream", **OPEN)["w"], W)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (("F32", [-1]), "announced as"),
        (("F32", [True]), "announced as"),
        (("F32", [1.0]), "announced as"),
        (("F32", None), "announced as"),
        ("F32", "announced as"),
        (("F4", [3]), "whole byte"),
        (("complex128", [1]), "Unknown dtype"),
        ((torch.complex128, [1]), "Unknown dtype"),
        ((np.dtype("U3"), [1]), "Unknown dtype"),
        ((object(), [1]), "Unknown dtype"),
    ],
)
def test_what_cannot_be_announced(spec: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises((LocalError, TensorError), match=says):
        SealedWriter(tmp_path / "stream", {"w": spec}, **SEAL)
    assert names_in(tmp_path) == []


def test_outside_of_its_block_nothing_is_written(tmp_path: Path) -> None:
    file = SealedWriter(tmp_path / "stream", ANNOUNCED, **SEAL)
    with pytest.raises(LocalError, match="`with` block"):
        file.write(*V)
    with file:
        assert names_in(tmp_path) != []
        file.write(*V)
        file.write("w", W)
    with pytest.raises(LocalError, match="`with` block"):
        file.write(*V)
    before = (tmp_path / "stream").read_bytes()
    with pytest.raises(LocalError, match="writes one file"), file:
        raise AssertionError
    assert names_in(tmp_path) == ["stream"]
    assert (tmp_path / "stream").read_bytes() == before


def test_an_error_in_the_block_is_the_callers_and_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[tuple[str, Any]]:
        yield V
        raise ZeroDivisionError("in the middle")

    with pytest.raises(ZeroDivisionError, match="in the middle"):
        save_iter(broken(), tmp_path / "stream", ANNOUNCED, **SEAL)
    assert names_in(tmp_path) == []


def test_a_file_with_a_hole_is_never_finished(tmp_path: Path) -> None:
    """A write that failed half-way and whose error somebody swallowed must not count, however the story goes on."""

    def full(_done: int) -> None:
        raise OSError("disk full")

    def insist() -> None:
        big = np.ones(8 << 20, np.float32)
        with SealedWriter(tmp_path / "stream", {"w": (big.dtype, big.shape)}, progress=full, **SEAL) as file:
            with pytest.raises(OSError, match="disk full"):
                file.write("w", big)
            with pytest.raises(LocalError, match="earlier write failed"):
                file.write("w", big)

    with pytest.raises(LocalError, match="missing"):
        insist()
    assert names_in(tmp_path) == []


def test_the_log_knows_before_the_file_appears(tmp_path: Path) -> None:
    with AuditLog(tmp_path / "log") as log:
        with pytest.raises(LocalError), SealedWriter(tmp_path / "none", ANNOUNCED, audit=log, **SEAL):
            assert log.size == 0
        manifest = save_iter([V, ("w", W)], tmp_path / "stream", ANNOUNCED, audit=log, **SEAL)
        assert [(entry.event.kind, entry.event.fields["manifest_sha256"]) for entry in log.entries()] == [("seal", manifest.sha256.hex())]


def test_memory_stays_flat(tmp_path: Path) -> None:
    """256 MiB of tensors made on the fly, and one of 128 MiB in chunks, take what the batch takes."""
    script = (
        "import sys, resource, numpy as np\n"
        "from stfed.sealed.streaming import SealedWriter\n"
        "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "def seal(count, rows):\n"
        "    specs = {f't{i}': ('F32', [1 << 20]) for i in range(count)} | {'u': ('F32', [rows, 1 << 20])}\n"
        "    with SealedWriter(sys.argv[1], specs, recipients=sys.argv[2]) as file:\n"
        "        for name in file.order:\n"
        "            if name != 'u': file.write(name, np.full(1 << 20, 7, np.float32))\n"
        "            for row in range(rows if name == 'u' else 0): file.write_chunk('u', np.full((1, 1 << 20), row, np.float32))\n"
        "seal(1, 1)\n"
        "before = peak()\n"
        "seal(64, 32)\n"
        "print(peak() - before)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "sealed"), str(RECIPIENT)], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert (tmp_path / "sealed").stat().st_size > 384 << 20
    (tmp_path / "sealed").unlink()
    assert float(result.stdout) < 48
