"""The benchmark of sealed files runs, checks what it gets back, and says what is missing or missed. Times are never asserted."""

from __future__ import annotations

import importlib
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import sealed
from benchmarks.files import machine, memory, ours, timing, workload
from benchmarks.files.contender import Contender, Kind, UnavailableError, as_octets
from benchmarks.files.contenders import CONTENDERS
from benchmarks.files.limits import Transfer
from benchmarks.files.ours import BLAKE3, SHA256, TORCH, UNSIGNED, Reach
from benchmarks.files.plain import SafetensorsNumpy
from benchmarks.files.timing import LOAD, LOAD_SMALL, ROW_OF, SAVE, SAVE_SMALL, TENSOR, Measured, WrongError
from benchmarks.files.verdicts import Verdict, verdicts

LARGE, SMALL = workload.large(3 << 20, 6), workload.small(40)
OPERATIONS = {SAVE, LOAD, TENSOR, ROW_OF, SAVE_SMALL, LOAD_SMALL}
TINY = ["--gib", "0.003", "--tensors", "6", "--small", "40", "--repeat", "2"]


def made(name: str) -> Contender:
    """A contender, or a skipped test that says why there is none."""
    try:
        return CONTENDERS[name]()
    except UnavailableError as error:
        pytest.skip(f"{name}: {error}")


def one_turn(contender: Contender, folder: Path) -> Measured:
    return timing.measure([contender], LARGE, SMALL, folder, repeat=1)[contender.name]


@pytest.mark.parametrize("name", CONTENDERS)
def test_every_contender_gives_back_what_it_was_given(name: str, tmp_path: Path) -> None:
    contender = made(name)
    measured = one_turn(contender, tmp_path)
    assert measured.problems == {}
    assert set(measured.seconds) == ({SAVE, LOAD} if contender.kind is Kind.LIMIT else OPERATIONS)
    assert all(seconds > 0 for times in measured.seconds.values() for seconds in times)
    assert list(tmp_path.iterdir()) == []


def encrypted() -> list[str]:
    return [name for name, one in CONTENDERS.items() if one.kind in (Kind.PEER, Kind.OURS)]


@pytest.mark.parametrize("name", encrypted())
def test_what_is_called_encrypted_hides_the_tensors(name: str, tmp_path: Path) -> None:
    contender, path = made(name), tmp_path / "file.bin"
    contender.save(contender.prepare(LARGE.tensors), path)
    written = path.read_bytes()
    assert len(written) >= LARGE.size_bytes
    assert not any(as_octets(array)[:64].tobytes() in written for array in LARGE.tensors.values())


def test_the_signed_contenders_are_signed_and_the_unsigned_one_is_not(tmp_path: Path) -> None:
    suites = {}
    for name in (UNSIGNED, BLAKE3, SHA256):
        path = tmp_path / name
        CONTENDERS[name]().save(SMALL.tensors, path)
        header = path.read_bytes()[8:4096]
        suites[name] = json.loads(header)["__metadata__"]["suite"]
    assert suites == {UNSIGNED: "floe-aes256gcm", BLAKE3: "floe-aes256gcm-blake3", SHA256: "floe-aes256gcm-sha256"}


def test_the_command_prints_a_table_and_writes_json_and_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    file, image = tmp_path / "result.json", tmp_path / "result.png"
    only = ["--only", Transfer.name, SafetensorsNumpy.name, UNSIGNED, BLAKE3]
    files = ["--folder", str(tmp_path), "--json", str(file), "--picture", str(image)]
    assert sealed.main([*TINY, "--no-memory", *only, *files]) == 0

    printed = capsys.readouterr().out
    assert f"({machine.file_system(tmp_path)})" in printed
    rows = {line[:24].strip(): line[24:].split() for line in printed.splitlines()}
    assert [rows[Transfer.name].count("-"), rows[SafetensorsNumpy.name].count("-"), rows[UNSIGNED].count("-")] == [6, 2, 2]
    assert "seal / safetensors numpy save" in printed
    assert "this is less" in printed
    assert printed.count(" met") + printed.count(" missed") == len(json.loads(file.read_text())["verdicts"]) == 8
    assert image.read_bytes().startswith(b"\x89PNG")

    result = json.loads(file.read_text())
    assert {name: len(one["seconds"][SAVE]) for name, one in result["measured"].items()} == dict.fromkeys(only[1:], 2)
    assert result["versions"]["safetensors"]


def test_who_is_not_installed_is_named_with_the_reason(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    real = importlib.import_module

    def without(name: str) -> Any:
        if name.partition(".")[0] == "pyrage":
            raise ImportError(f"No module named {name!r}")
        return real(name)

    monkeypatch.setattr(importlib, "import_module", without)
    assert sealed.main([*TINY, "--no-memory", "--only", "pyrage", SafetensorsNumpy.name]) == 0
    assert "pyrage did not take part: No module named 'pyrage'; it comes with the extra 'bench'" in capsys.readouterr().out


class Liar(SafetensorsNumpy):
    """Gives back one tensor with one bit changed."""

    name = "liar"

    def load(self, path: Path) -> Mapping[str, Any]:
        tensors = dict(super().load(path))
        next(iter(tensors.values())).view(np.uint8).flat[0] ^= 1
        return tensors


class Refuser(SafetensorsNumpy):
    """A peer that cannot save small tensors."""

    name, kind = "refuser", Kind.PEER

    def save(self, prepared: Any, path: Path) -> None:
        if len(prepared) == len(SMALL.tensors):
            raise ValueError("too many tensors\nand more")
        super().save(prepared, path)


def test_wrong_bytes_are_noticed_and_fail_the_command(tmp_path: Path) -> None:
    measured = one_turn(Liar(), tmp_path)
    assert set(measured.seconds) == {SAVE, TENSOR, ROW_OF, SAVE_SMALL}
    assert measured.wrong
    assert timing.failures([measured]) == [
        f"liar, {LOAD}: WrongError: it gave back other bytes for embedding",
        f"liar, {LOAD_SMALL}: WrongError: it gave back other bytes for layers.00000.bias",
    ]


def test_what_a_peer_cannot_do_is_a_dash_and_what_ours_cannot_is_a_failure(tmp_path: Path) -> None:
    measured = one_turn(Refuser(), tmp_path)
    assert measured.problems == {SAVE_SMALL: "ValueError: too many tensors"}
    assert timing.failures([measured]) == []
    measured.kind = Kind.OURS
    assert timing.failures([measured]) == [f"refuser, {SAVE_SMALL}: ValueError: too many tensors"]


def test_names_count_as_well_as_bytes() -> None:
    with pytest.raises(WrongError, match="names"):
        timing.check({"a": np.zeros(1)}, {"b": np.zeros(1)})
    with pytest.raises(WrongError, match="names"):
        timing.check({}, {"b": np.zeros(1)})
    timing.check({"b": np.array([np.nan])}, {"b": np.array([np.nan])})


def test_one_tensor_and_one_row_cost_their_segments_and_the_header(tmp_path: Path) -> None:
    # 40 MiB: 640 rows of 4 KiB, of which one lies in the header's segment, and a last tensor of 160 KiB in the last two or three.
    reaches = ours.reach(workload.large(40 << 20, 20), tmp_path / "file.bin")
    assert reaches["row"] == Reach(1, 1)
    assert reaches["tensor"].opened == reaches["tensor"].needed in (2, 3)


@pytest.mark.parametrize("what", [SAVE, LOAD])
def test_peaks_of_memory_are_those_of_the_operation(what: str, tmp_path: Path) -> None:
    ours = memory.peak_extra_bytes(UNSIGNED, what, 64 << 20, 8, tmp_path)
    assert isinstance(ours, int), ours
    assert ours < 32 << 20
    if what == LOAD:  # it holds the file beside the tensors
        plain = memory.peak_extra_bytes(SafetensorsNumpy.name, what, 64 << 20, 8, tmp_path)
        assert isinstance(plain, int), plain
        assert plain > 32 << 20
    assert list(tmp_path.iterdir()) == []


def test_a_failing_measurement_of_memory_says_why(tmp_path: Path) -> None:
    assert "there is no folder" in str(memory.peak_extra_bytes(UNSIGNED, SAVE, 1 << 20, 4, tmp_path / "absent"))


def measured(name: str, kind: Kind, save: float, load: float) -> Measured:
    seconds = {SAVE: [2 * save, save], LOAD: [load, 3 * load], SAVE_SMALL: [save], LOAD_SMALL: [load]}
    return Measured(name, kind, seconds, {SAVE: 3 << 20, LOAD: 65 << 20})


def test_verdicts_are_ratios_of_the_best_times() -> None:
    everybody = [
        measured(SafetensorsNumpy.name, Kind.PLAIN, 0.9, 2.0),
        measured("slow", Kind.PEER, 9.0, 1.6),
        measured("fast", Kind.PEER, 1.9, 9.0),
        measured(UNSIGNED, Kind.OURS, 1.0, 1.0),
        measured(BLAKE3, Kind.OURS, 1.25, 2.0),
        measured(TORCH, Kind.OURS, 1.0, 1.0),
    ]
    found = verdicts({one.name: one for one in everybody}, {"tensor": Reach(4, 4), "row": Reach(3, 2)})
    assert [(round(one.value, 3), one.target, one.met) for one in found] == [
        (0.9, 0.9, True), (2.0, 2.2, False),
        (1.9, 2.0, False), (1.6, 1.5, True),
        (0.8, 0.8, True), (0.5, 0.8, False),
        (0.9, 1.0, False), (2.0, 1.0, True),
        (4, 4, True), (3, 2, False),
        (3, 64, True), (65, 64, False),
    ]  # fmt: skip
    assert "fast" in found[2].what
    assert "slow" in found[3].what
    assert str(Verdict("seal", 0.5, 0.9)).endswith(">= 0.9   missed")
    assert str(Verdict("seal", 3, 64, at_least=False)).endswith("<= 64    met")
    assert verdicts({}, {}) == []


def test_the_large_set_has_the_size_and_the_shapes_it_should() -> None:
    made = workload.large(1 << 26, 20)
    assert len(made.tensors) == 20
    assert (1 << 26) - 20 * 64 <= made.size_bytes <= 1 << 26
    assert made.tensors[workload.EMBEDDING].nbytes == 1 << 22
    assert made.tensors[workload.PROBE].nbytes == 1 << 18
    assert b"".join(array.tobytes() for array in made.tensors.values()) == made.buffer.tobytes()
    assert all(array.ctypes.data % 4 == 0 for array in made.tensors.values())
    assert all(array.nbytes == 1024 for array in SMALL.tensors.values())


def test_folders_and_file_systems_are_found(tmp_path: Path) -> None:
    assert machine.folder_for(1 << 60) == Path(tempfile.gettempdir())
    assert machine.folder_for(1).is_dir()
    assert machine.file_system(Path("/proc")) == "proc"
    machine.claim(1 << 20)


def test_sizes_that_make_no_sense_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        sealed.main(["--tensors", "2"])
    assert "--tensors is at least 3" in capsys.readouterr().err
