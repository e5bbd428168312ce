"""Key files: what they hold, whom they are believed, and what is refused before SEAL reads a key."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stfed.encrypted import keyfiles, keywords
from stfed.encrypted.context import EvaluationContext, SecretContext, fingerprint
from stfed.encrypted.keyfiles import load_public, load_secret, save_keypair, save_public, save_secret
from stfed.encrypted.keyinspect import inspect_key_file, is_key_file
from stfed.encrypted.parameters import Parameters
from stfed.encrypted.publichead import PublicHead
from stfed.encrypted.secretfile import SecretFile
from stfed.errors import LocalError, MalformedError, SealError
from stfed.files import Memory, create_file
from stfed.keys import Member, Role, Roster, SigningKey
from stfed.keys.passphrase import Cost, PassphraseError
from stfed.sealed.errors import TamperedError, UntrustedError
from tests.encrypted import keys
from tests.encrypted.made import nothing_loaded

ALICE, BOB, HYBRID = SigningKey.generate(), SigningKey.generate(), SigningKey.generate("ed25519-mldsa65")
CHEAP = Cost(64, 1, 1)


@pytest.fixture
def public_file(tmp_path: Path) -> Path:
    save_public(keys.adding().public, tmp_path / "k.pub", signer=ALICE)
    return tmp_path / "k.pub"


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """The floor of the cost is tested by itself; here it would take all the time."""
    monkeypatch.setattr(Cost, "check_floor", lambda _: None)


def works(secret: SecretContext, public: EvaluationContext) -> bool:
    return bool(np.abs(secret.slots(public.arithmetic.encrypt(2.5)) - 2.5).max() < 1e-3)


@pytest.mark.parametrize("made", [keys.adding, keys.usual, keys.stranger])
def test_both_files_come_back(made: Any, tmp_path: Path) -> None:
    secret, path = made(), tmp_path / "k"
    save_secret(secret, path, passphrase=None)
    save_public(secret.public, f"{path}.pub", signer=[ALICE, HYBRID])
    public = load_public(f"{path}.pub", trusted=HYBRID.public)
    assert (public.blobs, public.parameters, public.fingerprint) == (
        secret.public.blobs,
        secret.public.parameters,
        secret.public.fingerprint,
    )
    assert works(load_secret(path, public=public), public)
    if made is not keys.usual:  # whose 31 MB are read once here
        assert works(load_secret(path), public)
        assert works(load_secret(path, public=f"{path}.pub"), public)
    assert [stat.S_IMODE(Path(name).stat().st_mode) for name in (path, f"{path}.pub")] == [0o600, 0o644]


def test_keys_are_read_by_a_trusted_signature_or_a_known_fingerprint_and_in_no_other_way(public_file: Path, tmp_path: Path) -> None:
    own = keys.adding().public.fingerprint
    with nothing_loaded():
        with pytest.raises(LocalError, match="whosever keys are in it"):
            load_public(public_file)
        with pytest.raises(UntrustedError, match="not among the trusted keys"):
            load_public(public_file, trusted=BOB.public)
        with pytest.raises(UntrustedError, match="are asked for"):
            load_public(public_file, fingerprint=bytes(32))
        with pytest.raises(UntrustedError, match="are asked for"):
            load_public(public_file, trusted=ALICE.public, fingerprint="00" * 32)
        with pytest.raises(UntrustedError):
            load_public(public_file, trusted=BOB.public, fingerprint=own)
        for wrong in ("", "xyz", own.hex()[:16], own[:16]):
            with pytest.raises(LocalError, match="no fingerprint of an evaluation context"):
                load_public(public_file, fingerprint=wrong)
    for given in (own, own.hex()):
        assert load_public(public_file, fingerprint=given).fingerprint == own
    save_public(keys.adding().public, tmp_path / "unsigned.pub", signer=None)
    assert load_public(tmp_path / "unsigned.pub", fingerprint=own).fingerprint == own
    with nothing_loaded(), pytest.raises(UntrustedError, match="not signed"):
        load_public(tmp_path / "unsigned.pub", trusted=ALICE.public)


def test_a_roster_says_whose_signature_counts(public_file: Path) -> None:
    roster = Roster("Study", members=(Member("alice", frozenset({Role.OWNER}), signing=ALICE.public),))
    assert load_public(public_file, trusted=roster).fingerprint == keys.adding().public.fingerprint
    for member in (
        Member("bob", frozenset({Role.OWNER}), signing=BOB.public),
        Member("alice", frozenset({Role.PARTY}), signing=ALICE.public),
    ):
        with nothing_loaded(), pytest.raises(UntrustedError):
            load_public(public_file, trusted=Roster("Study", members=(member,)))


def head_bytes(path: Path) -> int:
    return PublicHead.read(Memory(memoryview(path.read_bytes())))[1]


def test_every_truncation_and_every_changed_byte_of_a_public_file_is_refused(public_file: Path) -> None:
    good, head = public_file.read_bytes(), head_bytes(public_file)
    own = keys.adding().public.fingerprint
    with nothing_loaded():
        for length in (*range(0, head + 2, 5), head, head + 110592, len(good) - 1):
            public_file.write_bytes(good[:length])
            with pytest.raises(MalformedError):
                load_public(public_file, trusted=ALICE.public)
        public_file.write_bytes(good + b"\0")
        with pytest.raises(MalformedError, match="these keys take"):
            load_public(public_file, trusted=ALICE.public)
        for at in (*range(0, head, 2), head, head + 110592, len(good) - 1):
            public_file.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
            with pytest.raises(SealError):
                load_public(public_file, trusted=ALICE.public, fingerprint=own)


def test_a_signature_covers_keys_time_and_the_other_signers(tmp_path: Path, public_file: Path) -> None:
    data, start = public_file.read_bytes(), head_bytes(public_file)
    head, _ = PublicHead.read(Memory(memoryview(data)))
    other = tmp_path / "other.pub"
    stranger = SecretContext.generate(keys.adding().public.parameters)
    blobs = b"".join(blob or b"" for blob in stranger.public.blobs)
    save_public(stranger.public, other, signer=BOB)
    with nothing_loaded():
        # somebody else's keys behind alice's head, with and without their own fingerprint in it
        public_file.write_bytes(data[:start] + blobs)
        with pytest.raises(TamperedError, match="not those of its fingerprint"):
            load_public(public_file, trusted=ALICE.public)
        public_file.write_bytes(data[:start].replace(head.fingerprint, stranger.public.fingerprint) + blobs)
        with pytest.raises(TamperedError, match="signature is not by the key"):
            load_public(public_file, trusted=ALICE.public)
        with pytest.raises(TamperedError):
            load_public(public_file, fingerprint=stranger.public.fingerprint)
        # alice's signature in a file that bob signs too
        both = PublicHead(head.parameters, head.relin, head.galois, head.fingerprint, head.time).signed([ALICE, BOB])
        alone = PublicHead(**{**vars(both), "signers": both.signers[:1], "signatures": both.signatures[:1]})
        public_file.write_bytes(alone.encode() + data[start:])
        with pytest.raises(TamperedError):
            load_public(public_file, trusted=ALICE.public)
        twice = PublicHead(**{**vars(head), "signers": head.signers * 2, "signatures": head.signatures * 2})
        public_file.write_bytes(twice.encode() + data[start:])
        with pytest.raises(MalformedError, match="a signer twice"):
            load_public(public_file, trusted=ALICE.public)


@pytest.mark.parametrize(
    ("at", "value", "says"),
    [
        (0, b"s" * 18, "these bytes are no public context"),
        (18, b"\2", "version 2"),
        (19, (2048).to_bytes(4, "big"), "polynomials of degree 2048"),
        (19, (1 << 31).to_bytes(4, "big"), "polynomials of degree"),
        (23, b"\xff", "a scale of 255 bits"),
        (24, (65).to_bytes(4, "big"), "at most 64"),
        (24, (1 << 31).to_bytes(4, "big"), "at most 64"),
        (28, b"\x3c\x3c", "less than 128 bits of security"),
        (28, b"\x01\x36", "a modulus of 1 bits"),
        (30, b"\2", "neither 0 nor 1"),
        (31, b"\0", "these keys take"),
        (30, b"\1", "these keys take"),
    ],
)
def test_every_field_is_checked_before_seal_reads_a_key(at: int, value: bytes, says: str, public_file: Path) -> None:
    data = public_file.read_bytes()
    public_file.write_bytes(data[:at] + value + data[at + len(value) :])
    with nothing_loaded(), pytest.raises(MalformedError, match=says):
        load_public(public_file, fingerprint=keys.adding().public.fingerprint)


def test_keys_that_are_signed_and_wrong_are_refused_too() -> None:
    """The signer may be the one who means ill: words are held against their moduli, and no key may be zero."""
    parameters, (public, _, galois) = keys.adding().public.parameters, keys.adding().public.blobs
    assert galois is not None
    half = len(public) // 4  # one polynomial modulo one modulus
    with nothing_loaded():
        for wrong, says in (
            (public[:-1], "these keys have"),
            (b"\xff" * len(public), "not below its modulus"),
            (public[:half] + bytes(half) + public[2 * half :], "hides nothing"),
        ):
            with pytest.raises(MalformedError, match=says):
                EvaluationContext(parameters, wrong)
    for relin, rotating, says in (
        (public[1:], None, "these keys have"),
        (None, galois[:-8], "these keys have"),
        (None, bytes(len(galois)), "hides"),
    ):
        with pytest.raises(MalformedError, match=says):
            EvaluationContext(parameters, public, relin, rotating)
    with pytest.raises(MalformedError, match="a secret key of these parameters has"):
        SecretContext(keys.adding().public, keys.adding().secret_bytes[1:])
    with pytest.raises(MalformedError, match="not below its modulus"):
        SecretContext(keys.adding().public, b"\xff" * len(keys.adding().secret_bytes))


def test_lengths_follow_from_the_parameters() -> None:
    for secret in (keys.adding(), keys.usual(), keys.deep()):
        parameters = secret.public.parameters
        sizes = [keywords.public_bytes(parameters), keywords.relin_bytes(parameters), keywords.galois_bytes(parameters)]
        assert all(blob is None or len(blob) == size for blob, size in zip(secret.public.blobs, sizes, strict=True))
        assert len(secret.secret_bytes) == keywords.secret_bytes(parameters)


def test_the_fingerprint_is_of_parameters_and_every_key() -> None:
    public, relin, galois = keys.usual().public.blobs
    cases = [(public, relin, galois), (public, relin, None), (public, None, galois), (relin, public, galois)]
    seen = {fingerprint(Parameters(), blobs) for blobs in cases}
    seen |= {fingerprint(Parameters(8192, sizes, scale), cases[0]) for sizes, scale in (((60, 40, 60), 40), ((60, 60), 40), ((60, 60), 41))}
    assert len(seen) == 7
    assert keys.usual().public.fingerprint in seen


@pytest.mark.usefixtures("cheap")
def test_a_protected_secret_opens_with_its_passphrase_only(tmp_path: Path, public_file: Path) -> None:
    path = public_file.with_suffix("")
    save_secret(keys.adding(), path, passphrase="correct horse", cost=CHEAP)
    assert works(load_secret(path, passphrase=lambda: "correct horse"), keys.adding().public)
    assert keys.adding().secret_bytes not in path.read_bytes()
    with nothing_loaded():
        for passphrase, says in ((None, "none was given"), ("Correct horse", "does not fit"), ("", "is empty")):
            with pytest.raises(PassphraseError, match=says) as caught:
                load_secret(path, passphrase=passphrase)
            assert str(path) in caught.value.message


def test_a_cheap_passphrase_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="too cheap"):
        save_secret(keys.adding(), tmp_path / "k", passphrase="correct horse", cost=CHEAP)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("cheap")
def test_every_changed_byte_and_truncation_of_a_secret_file_is_refused(public_file: Path) -> None:
    path = public_file.with_suffix("")
    save_secret(keys.adding(), path, passphrase="x", cost=CHEAP)
    good, body = path.read_bytes(), len(SecretFile.decode(path.read_bytes()).body)
    with nothing_loaded():
        for at in (*range(0, len(good) - body + 60, 2), len(good) // 2, len(good) - 1):
            path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
            with pytest.raises((SealError, PassphraseError)):
                load_secret(path, passphrase="x", public=keys.adding().public)
        for data in (b"", *(good[:length] for length in range(1, len(good) - body + 2, 5)), good[:-1], good + b"\0"):
            path.write_bytes(data)
            with pytest.raises(MalformedError):
                load_secret(path, passphrase="x", public=keys.adding().public)


def test_every_changed_byte_of_a_secret_file_without_a_passphrase_is_refused(public_file: Path) -> None:
    path = public_file.with_suffix("")
    save_secret(keys.adding(), path, passphrase=None)
    good = path.read_bytes()
    with nothing_loaded():
        for at in (*range(60), *range(60, len(good), 997), *range(len(good) - 33, len(good))):
            path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
            with pytest.raises(SealError):
                load_secret(path, passphrase=None, public=keys.adding().public)


def test_an_expensive_secret_file_is_refused_before_any_work(public_file: Path) -> None:
    path = public_file.with_suffix("")
    good = SecretFile(keys.adding().public.parameters, keys.adding().public.fingerprint, None, b"", b"").encode()
    for cost in ((1 << 21, 3, 4), (65536, 17, 4), (65536, 3, 17), (1, 1, 1)):
        path.unlink(missing_ok=True)
        path.write_bytes(good[:-1] + b"\1" + b"".join(number.to_bytes(4, "big") for number in cost) + bytes(16 + 55296 + 60))
        path.chmod(0o600)
        with nothing_loaded(), pytest.raises(MalformedError, match="is not stretched with"):
            load_secret(path, passphrase="x")


def test_secret_and_public_must_belong_together(tmp_path: Path) -> None:
    path, secret = tmp_path / "k", keys.adding()
    other = SecretContext.generate(secret.public.parameters)
    save_secret(secret, path, passphrase=None)
    with pytest.raises(LocalError, match=r"there is no file .*k\.pub"):
        load_secret(path)
    with pytest.raises(LocalError, match="belongs to the evaluation context"):
        load_secret(path, public=other.public)
    save_public(other.public, f"{path}.pub", signer=ALICE)
    with pytest.raises(UntrustedError, match="are asked for"):
        load_secret(path)
    # a file that names its own context and holds another secret
    path.write_bytes(SecretFile.plain(secret.public.parameters, secret.public.fingerprint, other.secret_bytes).encode())
    with pytest.raises(MalformedError, match="does not decrypt what its public key encrypts"):
        load_secret(path, public=secret.public)
    other_parameters = SecretFile.plain(Parameters(), secret.public.fingerprint, keys.usual().secret_bytes)
    path.write_bytes(other_parameters.encode())
    with pytest.raises(MalformedError, match="a secret key of these parameters has"):
        load_secret(path, public=secret.public)


def save_public_of(path: Path) -> None:
    save_public(keys.adding().public, path, signer=None)


def save_secret_of(path: Path) -> None:
    save_secret(keys.adding(), path, passphrase=None)


def test_others_may_not_read_a_secret(tmp_path: Path) -> None:
    path = tmp_path / "k"
    save_secret(keys.adding(), path, passphrase=None)
    path.chmod(0o640)
    with nothing_loaded(), pytest.raises(LocalError, match="others than its owner may use it"):
        load_secret(path, public=keys.adding().public)


def test_keys_are_never_overwritten(tmp_path: Path, public_file: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for target in (public_file, tmp_path / "link"):
        for write in (
            lambda path: save_public(keys.adding().public, path, signer=ALICE),
            lambda path: save_secret(keys.adding(), path, passphrase=None),
            lambda path: save_keypair(keys.adding, path, passphrase=None, signer=None),
        ):
            with pytest.raises(LocalError, match=r"never overwritten|a symbolic link"):
                write(target)
    with pytest.raises(LocalError, match="never overwritten"):
        save_keypair(keys.adding, public_file.with_suffix(""), passphrase=None, signer=None)
    with pytest.raises(PassphraseError):
        save_keypair(keys.adding, tmp_path / "two", passphrase="", signer=None)
    with pytest.raises(LocalError, match="there is no folder"):
        save_public(keys.adding().public, tmp_path / "none" / "k", signer=ALICE)
    assert {path.name for path in tmp_path.iterdir()} == {"k.pub", "link"}


@pytest.mark.parametrize("write", [save_public_of, save_secret_of], ids=["public", "secret"])
def test_keys_are_never_overwritten_by_whoever_is_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Any) -> None:
    def slowly(path: Path, data: bytes, mode: int) -> None:
        create_file(path, data, mode)
        (tmp_path / "k").write_bytes(b"another process was faster")

    monkeypatch.setattr(keyfiles, "create_file", slowly)
    with pytest.raises(LocalError, match="never overwritten"):
        write(tmp_path / "k")
    assert (tmp_path / "k").read_bytes() == b"another process was faster"
    assert [path.name for path in tmp_path.iterdir()] == ["k"]


def test_secrets_show_nowhere(tmp_path: Path) -> None:
    content = SecretFile.plain(Parameters(), bytes(32), b"\xab" * 100)
    assert repr(content) == "<SecretFile of 0000000000000000>"
    assert "secret" not in vars(inspect_of(keys.adding(), tmp_path))


def inspect_of(secret: SecretContext, folder: Path) -> Any:
    save_secret(secret, folder / "secret", passphrase=None)
    return inspect_key_file(folder / "secret")


def test_inspect_needs_no_key(tmp_path: Path, public_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cost, "check_floor", lambda _: None)
    own = keys.adding().public
    with nothing_loaded():
        info = inspect_key_file(public_file)
        assert (info.kind, info.fingerprint, info.parameters) == ("public", own.fingerprint.hex(), str(own.parameters))
        assert (info.products, info.rotations, info.signers, info.signature) == (False, True, (ALICE.public.fingerprint,), "valid")
        assert own.fingerprint.hex() in info.table()
        save_public(own, tmp_path / "unsigned", signer=None)
        assert inspect_key_file(tmp_path / "unsigned").signature == "none"
        data = public_file.read_bytes()
        public_file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        assert "not those of its fingerprint" in str(inspect_key_file(public_file).signature)
        for name, passphrase in (("plain", None), ("protected", "x")):
            save_secret(keys.adding(), tmp_path / name, passphrase=passphrase, cost=CHEAP)
            secret = inspect_key_file(tmp_path / name)
            assert (secret.kind, secret.fingerprint, secret.protected) == ("secret", own.fingerprint.hex(), passphrase is not None)
        for name, content in (("empty", b""), ("other", b"x" * 100), ("cut", data[:100])):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(MalformedError):
                inspect_key_file(tmp_path / name)
        assert [is_key_file(tmp_path / name) for name in ("plain", "unsigned", "empty", "other")] == [True, True, False, False]
