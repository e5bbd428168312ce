"""Pins: the order of versions against a model of it, and a file that processes share."""

import os
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stfed.errors import LocalError
from stfed.keys.signing import SigningKey, VerifyingKey
from stfed.sealed.errors import RollbackError
from stfed.sealed.pins import Pins
from stfed.sealed.versions import Version
from tests.strangers import give_away, stolen_journal

from .material import Script

ROOT = Path(__file__).parent.parent.parent
ANN, BOB = (SigningKey.generate(entropy=Script(name)).public for name in ("ann", "bob"))


def hash_of(number: int) -> bytes:
    return number.to_bytes(32, "big")


def stated(sequence: Any = 0, revision: Any = None, previous: int | None = None, model: Any = "m") -> dict[str, Any]:
    """Statements, without those that are None."""
    all_of_them = {
        "model": model,
        "sequence": sequence,
        "revision": revision,
        "previous": None if previous is None else hash_of(previous).hex(),
    }
    return {name: value for name, value in all_of_them.items() if value is not None}


def refused_by_the_rules(seen: dict[str, Any] | None, offered: dict[str, Any]) -> bool:
    """The rules once more, written as the cases that are refused."""
    if seen is None:
        return False
    before, now = (seen["sequence"], seen["revision"]), (offered["sequence"], offered["revision"])
    older = now < before
    fork = now == before and offered["manifest"] != seen["manifest"]
    next_revision = now[0] == before[0] and now[1] == before[1] + 1
    next_round = before[1] == 0 and now == (before[0] + 1, 0)
    broken = (next_revision or next_round) and offered["previous"] not in (None, seen["manifest"])
    return older or fork or broken


VERSIONS = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["m", "n"]),
        "signer": st.sampled_from([ANN, BOB]),
        "sequence": st.integers(0, 3),
        "revision": st.integers(0, 2),
        "manifest": st.integers(0, 3),
        "previous": st.none() | st.integers(0, 3),
    }
)


@given(st.lists(VERSIONS, max_size=12))
def test_a_history_is_accepted_as_the_rules_say(tmp_path_factory: pytest.TempPathFactory, history: list[dict[str, Any]]) -> None:
    path = tmp_path_factory.mktemp("pins") / "pins"
    newest: dict[tuple[str, VerifyingKey], dict[str, Any]] = {}
    for offered in history:
        pins, key = Pins(path), (offered["model"], offered["signer"])
        statements = stated(offered["sequence"], offered["revision"], offered["previous"], offered["model"])
        if refused_by_the_rules(newest.get(key), offered):
            with pytest.raises(RollbackError):
                pins.check(offered["signer"], hash_of(offered["manifest"]), statements)
        else:
            pins.check(offered["signer"], hash_of(offered["manifest"]), statements)
            newest[key] = offered
        seen = {(pin.version.model, pin.signer): (*pin.version.place, pin.version.manifest_sha256) for pin in pins.seen()}
        assert seen == {key: (one["sequence"], one["revision"], hash_of(one["manifest"])) for key, one in newest.items()}


@pytest.mark.parametrize(
    ("seen", "offered", "says"),
    [
        (stated(5), stated(4), "sequence 4, is older than sequence 5,"),
        (stated(5, 1), stated(5, 0), "sequence 5, is older than sequence 5 revision 1"),
        (stated(5), stated(5), "is not the one seen before"),
        (stated(5), stated(6, previous=9), "was not made after sequence 5"),
        (stated(5), stated(5, 1, previous=9), "was not made after sequence 5"),
        (stated(5, 1), stated(5, 2, previous=9), "was not made after sequence 5 revision 1"),
    ],
)
def test_refusals_and_what_they_say(seen: dict[str, Any], offered: dict[str, Any], says: str, tmp_path: Path) -> None:
    pins = Pins(tmp_path / "pins")
    pins.check(ANN, hash_of(1), seen)
    before = pins.seen()
    with pytest.raises(RollbackError, match=says):
        pins.check(ANN, hash_of(2), offered)
    assert pins.seen() == before
    pins.check(BOB, hash_of(2), offered)  # another signer's word about a model of the same name


@pytest.mark.parametrize(
    ("seen", "offered"),
    [
        (stated(5), stated(6)),
        (stated(5), stated(6, previous=1)),
        (stated(5), stated(5, 1, previous=1)),
        (stated(5), stated(7, previous=9)),  # a round was skipped: 9 may well be its hash
        (stated(5), stated(6, 1, previous=9)),
        (stated(5, 1), stated(6, previous=9)),  # 9 may be what was sealed before revision 1
        (stated(5, 1), stated(6, previous=1)),
    ],
)
def test_what_may_follow(seen: dict[str, Any], offered: dict[str, Any], tmp_path: Path) -> None:
    pins = Pins(tmp_path / "pins")
    pins.check(ANN, hash_of(1), seen)
    pins.check(ANN, hash_of(2), offered)
    pins.check(ANN, hash_of(2), offered)  # the same file may be opened again
    assert [pin.version.manifest_sha256 for pin in pins.seen()] == [hash_of(2)]


@pytest.mark.parametrize(
    ("statements", "says"),
    [
        ({}, "does not state its model and sequence"),
        ({"model": "m"}, "does not state its sequence"),
        ({"sequence": 1}, "does not state its model"),
        ({"model": "m", "sequence": None}, "does not state its sequence"),
        ({"model": "", "sequence": 1}, "no name"),
        ({"model": 3, "sequence": 1}, "no name"),
        ({"model": True, "sequence": 1}, "no name"),
        ({"model": "m", "sequence": True}, "stated sequence"),
        ({"model": "m", "sequence": 1.0}, "stated sequence"),
        ({"model": "m", "sequence": "1"}, "stated sequence"),
        ({"model": "m", "sequence": -1}, "stated sequence"),
        ({"model": "m", "sequence": 1 << 53}, "stated sequence"),
        ({"model": "m", "sequence": 1, "revision": True}, "stated revision"),
        ({"model": "m", "sequence": 1, "revision": None}, "stated revision"),
        ({"model": "m", "sequence": 1, "revision": -1}, "stated revision"),
        ({"model": "m", "sequence": 1, "previous": "ab"}, "version before"),
        ({"model": "m", "sequence": 1, "previous": hash_of(171).hex().upper()}, "version before"),
        ({"model": "m", "sequence": 1, "previous": 7}, "version before"),
    ],
)
def test_a_file_without_a_place_in_the_order_never_passes(statements: dict[str, Any], says: str, tmp_path: Path) -> None:
    pins = Pins(tmp_path / "pins")
    with pytest.raises(RollbackError, match=says):
        pins.check(ANN, hash_of(1), statements)
    assert pins.seen() == []


def test_one_shard_is_no_version(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="whole set"):
        Pins(tmp_path / "pins").check(ANN, hash_of(1), {**stated(1), "shard_set": "00", "shard": "1/2"})


def test_signers_are_told_apart_by_the_whole_key(tmp_path: Path) -> None:
    """A hybrid key has an Ed25519 half: that half alone is another signer."""
    hybrid = SigningKey.generate("ed25519-mldsa65", entropy=Script("hybrid")).public
    half = VerifyingKey.from_string(str(SigningKey.generate(entropy=Script("hybrid")).public))
    pins = Pins(tmp_path / "pins")
    pins.check(hybrid, hash_of(1), stated(5))
    pins.check(half, hash_of(2), stated(1))
    assert {pin.signer for pin in pins.seen()} == {hybrid, half}


def test_the_file_is_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        Pins(tmp_path / "pins").check(ANN, hash_of(1), stated(1))
    finally:
        os.umask(before)
    assert [(path.name, path.stat().st_mode & 0o777) for path in tmp_path.iterdir()] == [("pins", 0o600)]


def test_other_files_are_no_pins(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a database at all, but a text of more than a hundred bytes" * 3)
    with sqlite3.connect(tmp_path / "database") as database:
        database.execute("CREATE TABLE pins (model)")
    with sqlite3.connect(tmp_path / "newer") as database:
        database.execute("PRAGMA application_id = 1937008240")
        database.execute("PRAGMA user_version = 2")
    (tmp_path / "nowhere").symlink_to("missing")
    for path in tmp_path.iterdir():
        path.chmod(0o600) if path.exists() else None
    for name, says in (
        ("text", "damaged or no pins file"),
        ("database", "no pins file of version 1"),
        ("newer", "no pins file of version 1"),
        ("nowhere", "exists"),
        (".", "not a plain file"),
        ("no/where", "no folder"),
    ):
        with pytest.raises(LocalError, match=says):
            Pins(tmp_path / name)
    (tmp_path / "damaged").write_bytes(b"")
    pins = Pins(tmp_path / "damaged")
    pins.check(ANN, hash_of(1), stated(1))
    data = bytearray((tmp_path / "damaged").read_bytes())
    data[100:] = b"\xff" * (len(data) - 100)
    (tmp_path / "damaged").write_bytes(data)
    with pytest.raises(LocalError, match="damaged"):
        pins.check(ANN, hash_of(0), stated(0))


RACE = (
    "import sys\n"
    "from stfed.keys.signing import VerifyingKey\n"
    "from stfed.sealed.errors import RollbackError\n"
    "from stfed.sealed.pins import Pins\n"
    "path, key, start = sys.argv[1:]\n"
    "sys.stdin.readline()\n"  # all start at once
    "taken = []\n"
    "for sequence in range(int(start), 40, 2):\n"
    "    try:\n"
    "        Pins(path).check(VerifyingKey.from_string(key), bytes(31) + start.encode(), {'model': 'm', 'sequence': sequence // 4})\n"
    "        taken.append(sequence // 4)\n"
    "    except RollbackError:\n"
    "        continue\n"
    "print(*taken)\n"
)


def test_processes_that_race_agree_on_one_history(tmp_path: Path) -> None:
    """Two offer each sequence number with a hash of their own; whoever is first wins it, and the other must not get through as well."""
    running = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, str(tmp_path / "pins"), str(ANN), str(number)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        )
        for number in (0, 1)
    ]  # fmt: skip
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    results = [process.communicate(timeout=60) for process in running]
    assert [process.returncode for process in running] == [0, 0], results
    first, second = ([int(number) for number in out.split()] for out, _ in results)
    assert not set(first) & set(second)
    assert set(first) | set(second) >= {9}
    assert [pin.version.sequence for pin in Pins(tmp_path / "pins").seen()] == [9]


def test_threads_share_one(tmp_path: Path) -> None:
    pins = Pins(tmp_path / "pins")

    def offer(number: int) -> bool:
        try:
            Pins(tmp_path / "pins") if number % 2 else None
            pins.check(ANN, hash_of(number), stated(1))
        except RollbackError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(offer, range(24))) == 1


def test_a_check_waits_for_the_one_that_came_before(tmp_path: Path) -> None:
    pins, begun = Pins(tmp_path / "pins"), threading.Event()

    def slow() -> None:
        with pins._transaction() as database:
            begun.set()
            time.sleep(0.3)
            database.execute("INSERT INTO pins VALUES ('m', ?, 9, 0, ?, NULL)", (str(ANN), hash_of(9)))

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(slow)
        begun.wait()
        with pytest.raises(RollbackError, match="older than sequence 9"):
            Pins(tmp_path / "pins").check(ANN, hash_of(1), stated(1))
        first.result()


def test_a_killed_process_leaves_the_old_pin(tmp_path: Path) -> None:
    pins = Pins(tmp_path / "pins")
    pins.check(ANN, hash_of(1), stated(1))
    script = (
        "import os, signal, sys\n"
        "from stfed.sealed.pins import Pins\n"
        "with Pins(sys.argv[1])._transaction() as database:\n"
        "    database.execute('PRAGMA cache_spill = 1')\n"
        "    database.execute('UPDATE pins SET sequence = 9')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(tmp_path / "pins")], check=False, cwd=ROOT, capture_output=True)
    assert killed.returncode == -9
    assert [pin.version for pin in pins.seen()] == [Version("m", 1, 0, hash_of(1), None)]


# Other hands


def test_a_strangers_journal_takes_no_pin_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In /tmp anybody may make files beside ours, and SQLite takes a `-journal` there for what a killed process of its own left to undo."""
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o1777)
    path, beside = folder / "pins", folder / "pins-journal"
    pins = Pins(path)
    pins.check(ANN, hash_of(1), stated(1))
    journal = stolen_journal(path, tmp_path)
    pins.check(ANN, hash_of(2), stated(2))
    now = path.read_bytes()
    beside.write_bytes(journal)
    assert [pin.version.sequence for pin in pins.seen()] == [1], "a journal that takes nothing back tests nothing"
    path.write_bytes(now)
    beside.write_bytes(journal)
    give_away(beside, monkeypatch)
    for use in (lambda: Pins(path), lambda: pins.check(ANN, hash_of(1), stated(1)), pins.seen):
        with pytest.raises(LocalError, match="pins-journal belongs to another user"):
            use()
    assert path.read_bytes() == now
    beside.unlink()
    with pytest.raises(RollbackError, match="older than sequence 2"):
        pins.check(ANN, hash_of(1), stated(1))


def test_pins_that_others_could_take_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "folder" / "pins"
    path.parent.mkdir(mode=0o755)
    path.parent.chmod(0o755)
    pins = Pins(path)

    def refused(says: str) -> None:
        for use in (lambda: Pins(path), lambda: pins.check(ANN, hash_of(1), stated(1))):
            with pytest.raises(LocalError, match=says):
                use()

    path.chmod(0o620)
    refused("others than its owner may change it .mode 0620")
    path.chmod(0o600)
    path.parent.chmod(0o775)
    refused("may write to its folder .mode 0775")
    path.unlink()
    refused("may write to its folder .mode 0775")
    assert list(path.parent.iterdir()) == []  # none are made there either
    path.parent.chmod(0o755)
    pins.check(ANN, hash_of(1), stated(1))
    give_away(path, monkeypatch)
    refused("belongs to another user")
