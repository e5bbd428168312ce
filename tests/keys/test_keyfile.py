"""Key files: private, never overwritten, read strictly, and never quoted."""

import os
import stat
import traceback
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stfed.errors import LocalError, MalformedError
from stfed.keys import keyfile
from stfed.keys.keyfile import (
    read_identities,
    read_identity,
    read_public_keys,
    read_recipient,
    read_recipients,
    read_secret_keys,
    read_signer,
    read_verifier,
    read_verifiers,
    write_keypair,
)
from stfed.keys.keytext import SecretKeys
from stfed.keys.passphrase import Cost, PassphraseError
from tests.keys.material import keypair, signer, vectors


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
            ("", "no key in it"),
            ("# nothing\n\n", "no key in it"),
            (f"{secret}\n{secret}\n", "there are 2 keys for encryption"),
            (str(keypair()[1]), "this is no secret key"),
            (secret[:-3], "checksum"),
            ("hello", "cut off"),
            ("Schlüssel", "not ASCII text"),
            ("#" * 70_000, "is too long: 70000 bytes"),
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
    with pytest.raises(MalformedError, match="no file of public keys: there is no key in it"):
        read_recipient(write_secret(tmp_path / "empty", ""))


def test_one_or_several(tmp_path: Path) -> None:
    a, b = keypair("a"), keypair("b")
    write_keypair(tmp_path / "a", a[0])
    assert read_identities(a[0]) == read_identities([a[0]]) == read_identities(tmp_path / "a") == [a[0]]
    assert read_identities((tmp_path / "a", b[0])) == [a[0], b[0]]
    assert read_recipients(a[1]) == read_recipients(str(a[1])) == read_recipients(tmp_path / "a.pub") == [a[1]]
    assert read_recipients([a[1], str(b[1]), tmp_path / "a.pub"]) == [a[1], b[1]]


SIGNING = pytest.mark.parametrize("kind", ["ed25519", "ed25519-mldsa65"])


@SIGNING
def test_a_file_with_a_key_of_each_kind(kind: str, tmp_path: Path) -> None:
    identity, recipient, signing = *keypair(), signer(kind=kind)
    path = tmp_path / "me"
    public = write_keypair(path, identity, signing)
    assert read_secret_keys(path) == SecretKeys(identity, signing)
    assert read_public_keys(public) == SecretKeys(identity, signing).public
    assert (read_identity(path), read_recipient(public)) == (identity, recipient)
    assert read_signer(path) == read_signer(str(path)) == read_signer(signing) == signing
    assert read_verifier(public) == read_verifier(str(public)) == read_verifier(str(signing.public)) == signing.public
    assert read_verifier(signing.public) == signing.public
    assert public.read_text() == f"{recipient}\n{signing.public}\n"


def test_a_file_with_one_kind_says_so_when_the_other_is_asked_for(tmp_path: Path) -> None:
    write_keypair(tmp_path / "e", keypair()[0])
    write_keypair(tmp_path / "s", signing=signer())
    assert read_signer(tmp_path / "s") == signer()
    for read, name, says in (
        (read_identity, "s", "s holds no key to decrypt with, only one to sign with"),
        (read_signer, "e", "e holds no key to sign with, only one to decrypt with"),
        (read_recipient, "s.pub", "s.pub holds no key to encrypt to, only one to verify signatures with"),
        (read_verifier, "e.pub", "e.pub holds no key to verify signatures with, only one to encrypt to"),
    ):
        with pytest.raises(LocalError, match=says) as caught:
            read(tmp_path / name)
        assert "keygen" in str(caught.value.hint)


def test_a_key_of_the_other_kind_as_text() -> None:
    with pytest.raises(MalformedError, match="for signatures; one for encryption is needed"):
        read_recipient(str(signer().public))
    with pytest.raises(MalformedError, match="for encryption; one for signatures is needed"):
        read_verifier(str(keypair()[1]))
    for read in (read_signer, read_verifier, read_identity, read_recipient):
        secret = signer().secret_string()
        with pytest.raises(LocalError, match="a secret key was given") as caught:
            read(secret)
        assert secret[24:44] not in "".join(traceback.format_exception(caught.value))


def test_nothing_to_write(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="at least one key"):
        write_keypair(tmp_path / "me")
    assert not list(tmp_path.iterdir())


def test_under_a_passphrase(tmp_path: Path) -> None:
    path = tmp_path / "me"
    asked = []

    def ask() -> str:
        asked.append(1)
        return "correct horse"

    write_keypair(path, keypair()[0], signer(), passphrase="correct horse")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert keypair()[0].secret_string() not in path.read_text()
    assert read_identity(path, "correct horse") == keypair()[0]
    assert read_secret_keys(path, ask) == SecretKeys(keypair()[0], signer())
    assert asked == [1]
    assert read_identities([path, keypair("b")[0]], ask) == [keypair()[0], keypair("b")[0]]
    with pytest.raises(PassphraseError, match="me: its keys are under a passphrase, and none was given"):
        read_signer(path)
    with pytest.raises(PassphraseError, match="me: the passphrase does not fit"):
        read_signer(path, "wrong")
    assert read_recipient(tmp_path / "me.pub") == keypair()[1]


def test_a_passphrase_is_not_asked_for_where_none_is_needed(tmp_path: Path) -> None:
    def never() -> str:
        raise AssertionError("asked")

    write_keypair(tmp_path / "me", keypair()[0], signer())
    assert read_identity(tmp_path / "me", never) == keypair()[0]
    assert read_signer(signer(), never) == signer()
    path = write_secret(tmp_path / "open", vectors("key_files")[1]["text"], 0o644)
    with pytest.raises(LocalError, match="mode 0644"):
        read_identity(path, never)


@pytest.mark.parametrize(("passphrase", "cost"), [("words", Cost(8, 1, 1)), ("", Cost(1 << 16, 3, 4))])
def test_a_weak_file_is_not_written(passphrase: str, cost: Cost, tmp_path: Path) -> None:
    with pytest.raises(LocalError, match=r"too cheap|is empty"):
        write_keypair(tmp_path / "me", keypair()[0], passphrase=passphrase, cost=cost)
    assert not list(tmp_path.iterdir())


def test_a_cost_bomb_in_a_file_names_the_file(tmp_path: Path) -> None:
    bomb = next(case for case in vectors("key_files") if case["name"] == "16 GiB")
    with pytest.raises(MalformedError, match="bomb is no file of secret keys: a passphrase is not stretched with 16777216 KiB"):
        read_signer(write_secret(tmp_path / "bomb", bomb["text"]), "words")


def test_one_or_several_verifiers(tmp_path: Path) -> None:
    a, b = signer("a"), signer("b", "ed25519-mldsa65")
    write_keypair(tmp_path / "a", signing=a)
    assert read_verifiers(a.public) == read_verifiers(str(a.public)) == read_verifiers(tmp_path / "a.pub") == [a.public]
    assert read_verifiers([b.public, tmp_path / "a.pub", str(b.public)]) == [b.public, a.public]


def test_nothing_is_left_if_the_second_file_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_file = keyfile.create_file

    def full_disk(path: Path, data: bytes, mode: int) -> None:
        if path.name == "me":
            raise OSError("no space left")
        create_file(path, data, mode)

    monkeypatch.setattr(keyfile, "create_file", full_disk)
    with pytest.raises(OSError, match="no space"):
        write_keypair(tmp_path / "me", keypair()[0])
    assert not list(tmp_path.iterdir())
