"""Opening: what a recipient can be sent, and what a failure leaves."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from stfed import sealed
from stfed.errors import DecodeError, LocalError, MalformedError, SealError, StfedError, about, shown
from stfed.sealed import torch
from stfed.sealed.errors import NotARecipientError, TamperedError, TensorError, UnsupportedError
from stfed.sealed.numpy import load, load_file, save
from stfed.sealed.reader import SealedReader

from .material import CHUNK_BYTES, SEGMENT_BYTES, keypair, seal_bytes

IDENTITY, RECIPIENT = keypair("reader")


def test_bytes_of_any_kind_are_read() -> None:
    data = save({"a": np.arange(4)}, recipients=RECIPIENT)
    for source in (data, bytearray(data), memoryview(data), np.frombuffer(data, np.uint8).data):
        with SealedReader(source, identity=IDENTITY) as reader:
            assert list(reader.header.tensors) == ["a"]


@pytest.mark.parametrize(
    ("plain", "says"),
    [
        (b"", "shorter than 8 bytes"),
        (b"no safetensors file at all", "over its end"),
        (b"\xff" * 100, "over its end"),
        ((2).to_bytes(8, "little") + b"{}trailing", "describes 0 bytes of data, the file has 8"),
        (safetensors.numpy.save({"a": np.zeros(3)})[:-1], "describes 24 bytes"),
        ((60_000).to_bytes(8, "little") + b"{" * 60_000, "not JSON|nested"),
    ],
)
def test_content_that_is_no_safetensors_file(plain: bytes, says: str, tmp_path: Path) -> None:
    """Anybody can seal anything to a public key: what is inside is checked like any foreign file."""
    (tmp_path / "sealed").write_bytes(seal_bytes(plain, RECIPIENT))
    with pytest.raises(MalformedError, match=says):
        load_file(tmp_path / "sealed", identity=IDENTITY)
    with pytest.raises(MalformedError, match=rf"^{tmp_path}/sealed: .*({says})"):
        sealed.open_file(tmp_path / "sealed", tmp_path / "out", identity=IDENTITY)
    assert [path.name for path in tmp_path.iterdir()] == ["sealed"]


def test_the_last_segment_is_proved_though_nobody_reads_it(tmp_path: Path) -> None:
    """The length is bound into the FLOE header: a file whose end is missing does not open, however little is read of it."""
    data = save({"a": np.zeros(1 << 20)}, recipients=RECIPIENT)
    for cut in (1, 1 << 20, len(data) - 140_000):
        with pytest.raises(MalformedError, match="cut off"):
            load(data[:-cut], identity=IDENTITY)


def test_damage_that_shows_late_leaves_nothing_behind(tmp_path: Path) -> None:
    plain = safetensors.numpy.save({"a": np.ones(100_000, np.float32)})
    data = bytearray(seal_bytes(plain, RECIPIENT))
    data[-1] ^= 1
    (tmp_path / "sealed").write_bytes(data)
    (tmp_path / "out").write_bytes(b"old")
    with pytest.raises(TamperedError, match=f"segment {len(plain) // CHUNK_BYTES} does not verify"):
        sealed.open_file(tmp_path / "sealed", tmp_path / "out", identity=IDENTITY)
    assert (tmp_path / "out").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "sealed"]


def test_a_file_cut_while_it_is_open(tmp_path: Path) -> None:
    path = tmp_path / "sealed"
    path.write_bytes(seal_bytes(safetensors.numpy.save({"a": np.ones(10_000, np.float32)}), RECIPIENT))
    with SealedReader(path, identity=IDENTITY) as reader:
        os.truncate(path, path.stat().st_size - SEGMENT_BYTES)
        with pytest.raises(MalformedError, match="sealed: the file became shorter"):
            reader.read(0, 40_000)


def test_a_file_replaced_while_it_is_open_is_still_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "sealed"
    sealed_numpy = {"a": np.ones(5)}
    path.write_bytes(save(sealed_numpy, recipients=RECIPIENT))
    with SealedReader(path, identity=IDENTITY) as reader:
        _written(tmp_path / "other", save({"a": np.zeros(5)}, recipients=RECIPIENT)).replace(path)
        assert np.frombuffer(reader.read(0, 40)).tolist() == [1] * 5


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_only_a_plain_file_is_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(LocalError, match="not a plain file"):
            load_file(path, identity=IDENTITY)


def test_families() -> None:
    for error in (MalformedError, UnsupportedError, TamperedError, NotARecipientError):
        assert issubclass(error, SealError)
    assert issubclass(MalformedError, DecodeError)
    assert issubclass(TensorError, LocalError)
    assert not issubclass(NotARecipientError, TamperedError | MalformedError | UnsupportedError)


def test_errors_name_the_file_once_and_quote_safely() -> None:
    with pytest.raises(TamperedError) as caught, about("a/b"), about(None):
        raise TamperedError("changed", hint="do this")
    assert str(caught.value) == "a/b: changed (do this)"
    with pytest.raises(StfedError, match=r"^mine$"), about("a/b"):
        raise LocalError("mine")
    assert len(shown("x" * 10_000)) < 100
    assert shown("\x1b[2J\n") == repr("\x1b[2J\n")
    assert len(shown([["x" * 1000] * 1000] * 1000)) < 200


@pytest.mark.parametrize("shape", [[0, (1 << 63) - 1], [0, (1 << 64) - 1], [1] * 70])
def test_shapes_that_safetensors_allows_and_no_framework_takes(shape: list[int]) -> None:
    size_bytes = 0 if 0 in shape else 4
    text = json.dumps({"a": {"dtype": "F32", "shape": shape, "data_offsets": [0, size_bytes]}}).encode()
    plain = len(text).to_bytes(8, "little") + text + bytes(size_bytes)
    for read in (load, torch.load):
        with pytest.raises(TensorError, match="shape that the framework does not take"):
            read(seal_bytes(plain, RECIPIENT), identity=IDENTITY)
