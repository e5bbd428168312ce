"""Sealing: plain files byte for byte, tensors without a copy of them, and nothing left behind when it fails."""

import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from stfed import sealed
from stfed.errors import LocalError, MalformedError
from stfed.files import Memory
from stfed.sealed.bounds import HEADER_BYTES
from stfed.sealed.numpy import load, save_file
from stfed.sealed.recipients import wrap
from stfed.sealed.stanza import Stanza
from stfed.sealed.writer import seal_file

from .material import Plain, Script, keypair, seal_bytes, sealing_of

IDENTITY, RECIPIENT = keypair("writer")


def a_plain_file(path: Path, size: int = 1000) -> Path:
    safetensors.numpy.save_file({"a": np.arange(size, dtype=np.float32), "b": np.zeros((), np.int64)}, path, {"k": "v"})
    return path


@pytest.mark.parametrize("size", [0, 1, 250_000, 3_000_000])
@pytest.mark.parametrize("kind", ["hybrid", "x25519"])
def test_a_plain_file_comes_back_byte_for_byte(size: int, kind: str, tmp_path: Path) -> None:
    identity, recipient = keypair("file", kind)
    plain = a_plain_file(tmp_path / "plain", size)
    done: list[int] = []
    seal_file(plain, tmp_path / "sealed", recipients=[recipient], progress=done.append, provenance={"x": 1})
    assert sum(done) == plain.stat().st_size
    done.clear()
    sealed.open_file(tmp_path / "sealed", tmp_path / "back", identity=identity, progress=done.append)
    assert sum(done) == plain.stat().st_size
    assert (tmp_path / "back").read_bytes() == plain.read_bytes()
    assert (tmp_path / "back").stat().st_mode & 0o777 == 0o600


def test_randomness_is_an_argument_and_never_used_twice() -> None:
    stanzas: list[tuple[Stanza, ...]] = []

    def wrap_once(*arguments: Any) -> tuple[Stanza, ...]:
        if not stanzas:
            stanzas.append(wrap(*arguments))
        return stanzas[0]

    def seal(name: str) -> bytes:
        return seal_bytes(b"12345678" * 2000, RECIPIENT, entropy=Script(name), wrap=wrap_once)

    one, other = seal("one"), seal("other")
    assert one == seal("one")
    assert one[HEADER_BYTES + (128 << 10) :][:100] != other[HEADER_BYTES + (128 << 10) :][:100]
    script = Script("draws")
    seal_bytes(bytes(10_000), RECIPIENT, entropy=script)
    assert script.calls == 3 + 3  # file key, file id, FLOE's iv, and one iv a segment


def test_a_sealing_writes_once() -> None:
    source = Plain(b"content")
    sealing = sealing_of(b"content", RECIPIENT)
    out = bytearray(sealing.layout.file_bytes)
    sealing.write(source, Memory(memoryview(out)))
    with pytest.raises(LocalError, match="writes one file"):
        sealing.write(source, Memory(memoryview(out)))


@pytest.mark.parametrize("size_bytes", [1, 32, 4095, (64 << 20) + 1])
def test_segment_lengths_out_of_bounds(size_bytes: int) -> None:
    with pytest.raises(LocalError, match="segment length"):
        seal_bytes(b"", RECIPIENT, segment_bytes=size_bytes)


def test_sealed_and_broken_files_are_not_sealed(tmp_path: Path) -> None:
    plain = a_plain_file(tmp_path / "plain")
    seal_file(plain, tmp_path / "sealed", recipients=RECIPIENT)
    (tmp_path / "cut").write_bytes(plain.read_bytes()[:-1])
    (tmp_path / "text").write_text("hello, world")
    for name, says in (("sealed", "sealed already"), ("cut", "describes"), ("text", "over its end")):
        with pytest.raises(MalformedError, match=rf"{name}: .*{says}"):
            seal_file(tmp_path / name, tmp_path / "out", recipients=RECIPIENT)
    assert not (tmp_path / "out").exists()


def test_targets(tmp_path: Path) -> None:
    plain = a_plain_file(tmp_path / "plain")
    before = plain.read_bytes()
    (tmp_path / "link").symlink_to("plain")
    for out, says in (
        ("plain", "input and output at once"),
        ("link", "symbolic link"),
        (".", "a folder"),
        ("no/where", "there is no folder"),
    ):
        with pytest.raises(LocalError, match=says):
            seal_file(plain, tmp_path / out, recipients=RECIPIENT)
    seal_file(plain, tmp_path / "sealed", recipients=RECIPIENT)
    with pytest.raises(LocalError, match="input and output at once"):
        sealed.open_file(tmp_path / "sealed", tmp_path / "sealed", identity=IDENTITY)
    with pytest.raises(FileNotFoundError):
        seal_file(tmp_path / "none", tmp_path / "out", recipients=RECIPIENT)
    assert plain.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "plain", "sealed"]


def test_a_file_that_changes_meanwhile_is_not_sealed(tmp_path: Path) -> None:
    plain = a_plain_file(tmp_path / "plain")

    def meddle(_done: int) -> None:
        os.utime(plain, ns=(1, 1))

    with pytest.raises(LocalError, match="changed while it was being sealed"):
        seal_file(plain, tmp_path / "sealed", recipients=RECIPIENT, progress=meddle)
    assert [path.name for path in tmp_path.iterdir()] == ["plain"]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "sealed"
    target.write_bytes(b"old")
    script = (
        "import sys, numpy as np, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from stfed.sealed.numpy import save_file\n"
        "save_file({'a': np.zeros(1 << 20)}, sys.argv[1], recipients=sys.argv[2])\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, str(target), str(RECIPIENT)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20)),
        capture_output=True, text=True, check=False, cwd=Path(__file__).parent.parent.parent,
    )  # fmt: skip
    assert "OSError: [Errno 27]" in result.stderr
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_killed_writer_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "sealed"
    target.write_bytes(b"old")
    script = (
        "import sys, os, signal, numpy as np\n"
        "from stfed.sealed.numpy import plaintext\n"
        "from stfed.sealed.writer import seal_to_path\n"
        "source = plaintext({'a': np.zeros(1 << 20)}, None)\n"
        "seal_to_path(source, sys.argv[1], recipients=sys.argv[2], progress=lambda _: os.kill(os.getpid(), signal.SIGKILL))\n"
    )
    subprocess.run([sys.executable, "-c", script, str(target), str(RECIPIENT)], check=False, cwd=Path(__file__).parent.parent.parent)
    assert target.read_bytes() == b"old"
    for path in tmp_path.iterdir():
        assert path == target or (path.name.endswith(".tmp") and path.stat().st_mode & 0o777 == 0o600)


def test_memory_stays_flat(tmp_path: Path) -> None:
    """Sealing 200 MiB of tensors, opening the file and sealing that file again take a few MiB beside the tensors themselves."""
    script = (
        "import sys, resource, numpy as np\n"
        "from stfed.sealed import Identity, open_file, seal_file\n"
        "from stfed.sealed.numpy import save_file\n"
        "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "save_file({'a': np.ones(1)}, sys.argv[1], recipients=sys.argv[2])\n"
        "tensors = {f't{i}': np.ones(1 << 20, np.float32) for i in range(50)}\n"
        "before = peak()\n"
        "save_file(tensors, sys.argv[1], recipients=sys.argv[2])\n"
        "open_file(sys.argv[1], sys.argv[1] + '.plain', identity=Identity.from_string(sys.stdin.read()))\n"
        "seal_file(sys.argv[1] + '.plain', sys.argv[1], recipients=sys.argv[2])\n"
        "print(peak() - before)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "sealed"), str(RECIPIENT)],
        capture_output=True, text=True, check=True, input=IDENTITY.secret_string(), cwd=Path(__file__).parent.parent.parent,
    )  # fmt: skip
    assert (tmp_path / "sealed.plain").stat().st_size > 200 << 20
    (tmp_path / "sealed.plain").unlink()
    (tmp_path / "sealed").unlink()
    assert float(result.stdout) < 32


def test_files_for_many(tmp_path: Path) -> None:
    pairs = [keypair(f"many {index}") for index in range(1024)]
    save_file({"a": np.arange(5)}, tmp_path / "sealed", recipients=[recipient for _, recipient in pairs])
    info = sealed.inspect(tmp_path / "sealed")
    assert (info.recipients, info.slots_bytes) == ({"x25519": 1024}, 2 * (512 << 10))
    for index in (0, 511, 1023):
        assert load((tmp_path / "sealed").read_bytes(), identity=pairs[index][0])["a"].tolist() == [0, 1, 2, 3, 4]
