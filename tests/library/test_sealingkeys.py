"""A library's keys and log: made once, found again, and missed when a part is gone."""

from __future__ import annotations

import logging
import multiprocessing
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest

from stfed.audit import AuditLog, Event, Kind
from stfed.encrypted.parameters import Parameters
from stfed.errors import LocalError, MalformedError
from stfed.keys import PassphraseError, SigningKey, generate_keypair, write_keypair
from stfed.library.contexts import Contexts
from stfed.library.home import Home
from stfed.library.sealingkeys import SealingKeys, find_or_make


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def same(first: SealingKeys, second: SealingKeys) -> bool:
    return first.public == second.public and first.log == second.log


def test_keys_are_made_once_and_a_line_says_where(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    made = find_or_make(home, None)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]  # which Python shows on stderr, unless told otherwise
    (line,) = caplog.messages
    assert str(home.path) in line
    assert "WITHOUT a passphrase" in line
    assert "backup" in line
    assert "SECRET" not in line
    assert made.identity.secret_string() not in line
    assert same(find_or_make(home, None), made)
    assert len(caplog.messages) == 1


def test_secrets_are_for_their_owner_alone(home: Home) -> None:
    find_or_make(home, None)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in home.path.rglob("*")}
    assert modes == {"keys": 0o700, "lock": 0o600, "audit.db": 0o600, "library.key": 0o600, "library.key.pub": 0o644}
    (home.path / "keys" / "library.key").chmod(0o640)
    with pytest.raises(LocalError, match="others than its owner may use it"):
        find_or_make(home, None)


def test_a_passphrase_protects_them(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    made = find_or_make(home, lambda: "correct horse")
    assert "under a passphrase" in caplog.text
    assert "correct horse" not in caplog.text
    assert "SECRET-KEY" not in (home.path / "keys" / "library.key").read_text()
    assert same(find_or_make(home, "correct horse"), made)
    for wrong in (None, "battery staple"):
        with pytest.raises(PassphraseError):
            find_or_make(home, wrong)


def test_a_passphrase_for_keys_that_have_none_is_refused(home: Home) -> None:
    find_or_make(home, None)
    with pytest.raises(LocalError, match="are not under any"):
        find_or_make(home, "correct horse")


@pytest.mark.parametrize("lost", ["library.key", "library.key.pub"])
def test_half_of_the_keys(home: Home, lost: str) -> None:
    find_or_make(home, None)
    (home.path / "keys" / lost).unlink()
    with pytest.raises(LocalError, match=f"incomplete: {lost} is missing"):
        find_or_make(home, None)


def test_a_public_half_of_other_keys(home: Home) -> None:
    find_or_make(home, None)
    other = write_keypair(home.path / "other", generate_keypair()[0], SigningKey.generate())
    other.rename(home.path / "keys" / "library.key.pub")
    with pytest.raises(LocalError, match="is not the public half of"):
        find_or_make(home, None)


def test_a_key_file_of_another_sort(home: Home) -> None:
    find_or_make(home, None)
    shutil.rmtree(home.path / "keys")
    (home.path / "keys").mkdir(0o700)
    write_keypair(home.path / "keys" / "library.key", generate_keypair("x25519")[0])
    with pytest.raises(LocalError, match="it holds one key, not two"):
        find_or_make(home, None)
    (home.path / "keys" / "library.key").write_text("rubbish")
    with pytest.raises(MalformedError):
        find_or_make(home, None)


def test_a_log_that_is_gone_is_missed(home: Home) -> None:
    keys = find_or_make(home, None)
    keys.log.unlink()
    with pytest.raises(LocalError, match=r"audit log .* is missing"):
        find_or_make(home, None)
    AuditLog(keys.log).close()  # as the hint says
    assert same(find_or_make(home, None), keys)


def test_keys_that_are_gone_are_missed_where_they_were_used(home: Home) -> None:
    keys = find_or_make(home, None)
    shutil.rmtree(home.path / "keys")
    find_or_make(home, None)  # never used: new ones, as if a process had died between log and keys
    with AuditLog(keys.log) as log:
        log.append(Event(Kind.SEAL, {}))
    shutil.rmtree(home.path / "keys")
    with pytest.raises(LocalError, match="audit log of 1 entries and the keys are missing"):
        find_or_make(home, None)
    assert not (home.path / "keys").exists()


def _start(path: Path, barrier: Any, results: Any) -> None:
    barrier.wait(20)
    keys = find_or_make(Home(path), None)
    barrier.wait(20)
    results.put((str(keys.public), Contexts(Home(path), keys, None, Parameters.for_depth(0)).own.fingerprint))


def test_processes_that_start_at_once_agree(tmp_path: Path) -> None:
    processes = multiprocessing.get_context("fork")
    barrier, results = processes.Barrier(4), processes.Queue()
    started = [processes.Process(target=_start, args=(tmp_path / "new" / "home", barrier, results), daemon=True) for _ in range(4)]
    for process in started:
        process.start()
    found = {results.get(timeout=30) for _ in started}
    for process in started:
        process.join(60)
    home = Home(tmp_path / "new" / "home")
    keys = find_or_make(home, None)
    assert found == {(str(keys.public), Contexts(home, keys, None, None).own.fingerprint)}
    assert sorted(path.name for path in home.path.iterdir() if path.is_dir()) == ["encrypted", "keys"]
