"""Key files: private, never overwritten, read strictly, and never quoted."""

import os
import stat
import traceback
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stfed.errors import LocalError
from stfed.sealed.errors import MalformedError
from stfed.sealed.keyring import read_identities, read_identity, read_recipient, read_recipients, write_keypair

from .material import keypair


def write_secret(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("kind", ["hybrid", "x25519"])
def test_what_is_written_is_read(kind: str, tmp_path: Path) -> None:
    identity, recipient = keypair(kind=kind)
    path = tmp_path / "me"
    assert write_keypair(path, identity, created=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) == tmp_path / "me.pub"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_identity(path) == read_identity(str(path)) == read_identity(identity) == identity
    assert read_recipient(tmp_path / "me.pub") == read_recipient(str(tmp_path / "me.pub")) == read_recipient(recipient) == recipient
    assert read_recipient(str(recipient)) == recipient
    lines = path.read_text().splitlines()
    assert lines[:3] == ["# created: 2026-01-02T03:04:05+00:00", f"# fingerprint: {recipient.fingerprint}", f"# public key: {recipient}"]
    assert lines[3:] == [identity.secret_string()]
    assert (tmp_path / "me.pub").read_text() == f"{recipient}\n"


def test_the_mode_does_not_depend_on_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_keypair(tmp_path / "me", keypair()[0])
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "me").stat().st_mode) == 0o600


@pytest.mark.parametrize("existing", ["me", "me.pub"])
def test_a_key_is_never_overwritten(existing: str, tmp_path: Path) -> None:
    (tmp_path / existing).write_text("mine")
    with pytest.raises(LocalError, match="never overwritten"):
        write_keypair(tmp_path / "me", keypair()[0])
    assert [path.name for path in tmp_path.iterdir()] == [existing]
    assert (tmp_path / existing).read_text() == "mine"


def test_a_dangling_link_is_no_free_name(tmp_path: Path) -> None:
    (tmp_path / "me").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LocalError, match="never overwritten"):
        write_keypair(tmp_path / "me", keypair()[0])
    assert not (tmp_path / "elsewhere").exists()


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="there is no folder"):
        write_keypair(tmp_path / "no" / "me", keypair()[0])


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o620, 0o606, 0o660])
def test_a_secret_that_others_can_read_is_refused(mode: int, tmp_path: Path) -> None:
    path = write_secret(tmp_path / "me", keypair()[0].secret_string(), mode)
    with pytest.raises(LocalError, match=f"mode {mode:04o}") as caught:
        read_identity(path)
    assert caught.value.hint == f"chmod 600 {path}"
    path.chmod(0o400)
    assert read_identity(path) == keypair()[0]


def test_files_that_hold_no_secret_key(tmp_path: Path) -> None:
    secret = keypair()[0].secret_string()
    for number, (text, says) in enumerate(
        [
            ("", "it holds 0 keys"),
            ("# nothing\n\n", "it holds 0 keys"),
            (f"{secret}\n{secret}\n", "it holds 2 keys"),
            (str(keypair()[1]), "this is no secret key"),
            (secret[:-3], "checksum"),
            ("hello", "cut off"),
            ("Schlüssel", "not short text"),
            ("#" * 70_000, "not short text"),
        ]
    ):
        path = write_secret(tmp_path / f"key{number}", text)
        with pytest.raises(MalformedError, match=says) as caught:
            read_identity(path)
        assert str(path) in str(caught.value)
        assert secret[20:40] not in "".join(traceback.format_exception(caught.value))


def test_comments_and_blank_lines_are_skipped(tmp_path: Path) -> None:
    identity, recipient = keypair()
    assert read_identity(write_secret(tmp_path / "me", f"\r\n# a\r\n  {identity.secret_string()}  \r\n\r\n")) == identity
    (tmp_path / "me.pub").write_text(f"# me\n{recipient}\n")
    assert read_recipient(tmp_path / "me.pub") == recipient


def test_a_secret_where_a_path_or_a_public_key_belongs_is_not_echoed(tmp_path: Path) -> None:
    secret = keypair()[0].secret_string()
    path = write_secret(tmp_path / "me", secret)
    for read, wrong in (
        (read_identity, secret), (read_identity, secret.lower()), (read_identity, Path(secret)),
        (read_recipient, secret), (read_recipient, Path(secret)), (read_recipient, path),
    ):  # fmt: skip
        with pytest.raises((LocalError, MalformedError), match="secret key") as caught:
            read(wrong)
        assert secret[20:40].lower() not in "".join(traceback.format_exception(caught.value)).lower()


def test_not_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(LocalError, match="is not a plain file"):
            read_identity(path)
    for read in (read_identity, read_recipient):
        with pytest.raises(LocalError, match="there is no key file"):
            read(tmp_path / "none")
    with pytest.raises(MalformedError, match="no public key file: it holds 0 keys"):
        read_recipient(write_secret(tmp_path / "empty", ""))


def test_one_or_several(tmp_path: Path) -> None:
    a, b = keypair("a"), keypair("b")
    write_keypair(tmp_path / "a", a[0])
    assert read_identities(a[0]) == read_identities([a[0]]) == read_identities(tmp_path / "a") == [a[0]]
    assert read_identities((tmp_path / "a", b[0])) == [a[0], b[0]]
    assert read_recipients(a[1]) == read_recipients(str(a[1])) == read_recipients(tmp_path / "a.pub") == [a[1]]
    assert read_recipients([a[1], str(b[1]), tmp_path / "a.pub"]) == [a[1], b[1]]
