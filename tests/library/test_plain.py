"""`SafeTensorLibrary` with tensors that are sealed at rest: saving, loading, handing on, and what is written down about it."""

from __future__ import annotations

import pickle
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis.extra import numpy as arrays

import stfed
from stfed import SafeTensorLibrary
from stfed.audit import ForkError, TamperedLogError
from stfed.encrypted import seal
from stfed.errors import LocalError, MalformedError
from stfed.keys import Member, Role, Roster, RosterError
from stfed.keys.keyfile import read_public_keys, read_recipient, read_verifier
from stfed.sealed import NotARecipientError, Policy, TamperedError, UntrustedError
from stfed.sealed.inspect import inspect
from stfed.sealed.numpy import load_file, save_file
from stfed.sealed.reader import SealedReader
from tests.library.homes import key_file

SCAN = np.arange(12, dtype=np.int16).reshape(3, 4)


@pytest.fixture
def library(tmp_path: Path) -> SafeTensorLibrary:
    return SafeTensorLibrary(tmp_path / "hospital")


@pytest.fixture
def lab(tmp_path: Path, library: SafeTensorLibrary) -> SafeTensorLibrary:
    """Another user; they have each other's public keys."""
    other = SafeTensorLibrary(tmp_path / "lab-home")
    other.public_key(tmp_path / "lab.key.pub")
    library.public_key(tmp_path / "hospital.key.pub")
    return other


def kinds(library: SafeTensorLibrary) -> list[str]:
    return [str(record.kind) for record in library.audit_log()]


def test_importing_the_package_loads_nothing_of_it() -> None:
    code = "import stfed, sys; sys.exit('numpy' in sys.modules or 'stfed.library' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert stfed.SafeTensorLibrary is SafeTensorLibrary
    with pytest.raises(AttributeError, match="no attribute 'SafeTensorLibary'"):
        _ = stfed.SafeTensorLibary  # type: ignore[attr-defined]


def test_the_default_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    first = SafeTensorLibrary()
    assert first.home == tmp_path / "data" / "stfed"
    first.save_tensor(SCAN, tmp_path / "scan.safetensors", plain=True)
    np.testing.assert_array_equal(SafeTensorLibrary().load_tensor(tmp_path / "scan.safetensors"), SCAN)


@settings(max_examples=12)
@given(arrays.arrays(arrays.scalar_dtypes().filter(lambda dtype: dtype.kind in "biuf" and dtype.itemsize < 16), arrays.array_shapes()))
def test_what_is_sealed_comes_back_bit_for_bit(tmp_path_factory: pytest.TempPathFactory, array: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    library = _shared(tmp_path_factory.getbasetemp() / "shared-home")
    library.save_tensor(array, path, plain=True)
    loaded = library.load_tensor(path)
    assert isinstance(loaded, np.ndarray)
    assert loaded.dtype == array.dtype.newbyteorder("=")
    assert loaded.tobytes() == np.ascontiguousarray(array, loaded.dtype).tobytes()


def _shared(path: Path) -> SafeTensorLibrary:
    return SafeTensorLibrary(path)


@pytest.mark.parametrize("tensor", [torch.arange(6).reshape(2, 3), [[0, 1, 2], [3, 4, 5]], np.arange(6).reshape(2, 3)])
def test_torch_lists_and_numpy(library: SafeTensorLibrary, tmp_path: Path, tensor: Any) -> None:
    library.save_tensor(tensor, tmp_path / "t", plain=True)
    np.testing.assert_array_equal(library.load_tensor(tmp_path / "t"), np.arange(6).reshape(2, 3))


def test_the_file_is_signed_and_for_this_library_alone(library: SafeTensorLibrary, lab: SafeTensorLibrary, tmp_path: Path) -> None:
    library.save_tensor(SCAN, tmp_path / "scan", plain=True)
    assert (tmp_path / "scan").stat().st_mode & 0o777 == 0o600
    info = inspect(tmp_path / "scan", known={"me": read_recipient(tmp_path / "hospital.key.pub")})
    assert (info.signers, info.signature) == ((read_verifier(tmp_path / "hospital.key.pub").fingerprint,), "valid")
    assert (list(info.known), sum(info.recipients.values())) == (["me"], 1)
    with pytest.raises(NotARecipientError):
        lab.load_tensor(tmp_path / "scan", trusted=tmp_path / "hospital.key.pub")
    assert kinds(lab) == ["open-failed"]


def test_further_recipients(library: SafeTensorLibrary, lab: SafeTensorLibrary, tmp_path: Path) -> None:
    library.save_tensor(SCAN, tmp_path / "scan", plain=True, recipients=[tmp_path / "lab.key.pub"])
    for one in (library, lab):
        np.testing.assert_array_equal(one.load_tensor(tmp_path / "scan", trusted=tmp_path / "hospital.key.pub"), SCAN)
    x25519 = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
    with pytest.raises(LocalError, match="hybrid and x25519"):
        library.save_tensor(SCAN, tmp_path / "scan", plain=True, recipients=x25519)


def test_nobody_is_believed_unasked(library: SafeTensorLibrary, lab: SafeTensorLibrary, tmp_path: Path) -> None:
    library.save_tensor(SCAN, tmp_path / "scan", plain=True, recipients=tmp_path / "lab.key.pub")
    with pytest.raises(UntrustedError, match=r"trusted=KEY.pub"):
        lab.load_tensor(tmp_path / "scan")
    own = inspect(tmp_path / "scan").signers
    with pytest.raises(UntrustedError):
        lab.distribute_data(tmp_path / "scan", [tmp_path / "hospital.key.pub"])
    save_file({"tensor": SCAN}, tmp_path / "scan", recipients=tmp_path / "hospital.key.pub")  # anybody can
    with pytest.raises(UntrustedError):
        library.load_tensor(tmp_path / "scan")
    assert own != inspect(tmp_path / "scan").signers


def test_a_changed_file(library: SafeTensorLibrary, tmp_path: Path) -> None:
    library.save_tensor(SCAN, tmp_path / "scan", plain=True)
    data = bytearray((tmp_path / "scan").read_bytes())
    data[-100] ^= 1
    (tmp_path / "scan").write_bytes(data)
    with pytest.raises(TamperedError):
        library.load_tensor(tmp_path / "scan")
    (tmp_path / "scan").write_bytes(b"rubbish")
    with pytest.raises(MalformedError):
        library.load_tensor(tmp_path / "scan")
    assert kinds(library) == ["seal", "open-failed", "open-failed"]
    with pytest.raises(FileNotFoundError):
        library.load_tensor(tmp_path / "none")


def test_several_tensors_in_a_file(library: SafeTensorLibrary, tmp_path: Path) -> None:
    keys = library._keys
    save_file({"a": SCAN, "b": SCAN}, tmp_path / "two", recipients=keys.identity.recipient, signer=keys.signer)
    with pytest.raises(LocalError, match="holds 2 tensors"):
        library.load_tensor(tmp_path / "two")
    copies = library.distribute_data(tmp_path / "two", keys.identity.recipient, decrypted=True)
    library.save_tensor(copies, tmp_path / "again")
    assert set(load_file(tmp_path / "again", identity=keys.identity)) == {"a", "b"}


def test_one_file_for_all(library: SafeTensorLibrary, lab: SafeTensorLibrary, tmp_path: Path) -> None:
    library.save_tensor(SCAN, tmp_path / "scan", plain=True)
    distributed = library.distribute_data(
        tmp_path / "scan", recipients=[tmp_path / "lab.key.pub", key_file(tmp_path / "north.key", 0)], decrypted=True
    )
    assert distributed.readable
    assert distributed.recipients == ("lab", "north")
    assert not (tmp_path / "out").exists()
    library.save_tensor(distributed, tmp_path / "out")
    np.testing.assert_array_equal(lab.load_tensor(tmp_path / "out", trusted=tmp_path / "hospital.key.pub"), SCAN)
    np.testing.assert_array_equal(load_file(tmp_path / "out", identity=tmp_path / "north.key")["tensor"], SCAN)
    with pytest.raises(NotARecipientError):  # the original is enough for whoever hands it on
        library.load_tensor(tmp_path / "out")
    assert inspect(tmp_path / "out").file_id != inspect(tmp_path / "scan").file_id
    library.save_tensor(library.distribute_data(tmp_path / "scan", tmp_path / "lab.key.pub", decrypted=True), tmp_path / "same")
    np.testing.assert_array_equal(lab.load_tensor(tmp_path / "same", trusted=tmp_path / "hospital.key.pub"), SCAN)  # nothing to decrypt


def test_nobody_gets_numbers_unless_somebody_says_so(library: SafeTensorLibrary, lab: SafeTensorLibrary, tmp_path: Path) -> None:
    library.save_tensor(SCAN, tmp_path / "scan", plain=True)
    with pytest.raises(LocalError, match="recipients would read them") as caught:
        library.distribute_data(tmp_path / "scan", tmp_path / "lab.key.pub")
    assert "decrypted=True" in str(caught.value.hint)
    assert kinds(library) == ["seal", "open"]


def test_a_file_for_each(library: SafeTensorLibrary, lab: SafeTensorLibrary, tmp_path: Path) -> None:
    library.save_tensor(SCAN, tmp_path / "scan.safetensors", plain=True)
    recipients = [tmp_path / "lab.key.pub", key_file(tmp_path / "north.key", 0)]
    distributed = library.distribute_data(tmp_path / "scan.safetensors", recipients, separate=True, decrypted=True)
    (tmp_path / "out").mkdir()
    library.save_tensor(distributed, tmp_path / "out")
    first, second = (tmp_path / "out" / f"scan-{name}.safetensors" for name in ("lab", "north"))
    trusted = tmp_path / "hospital.key.pub"
    np.testing.assert_array_equal(lab.load_tensor(first, trusted=trusted), SCAN)
    np.testing.assert_array_equal(load_file(second, identity=tmp_path / "north.key", trusted=trusted)["tensor"], SCAN)
    with pytest.raises(NotARecipientError):
        lab.load_tensor(second, trusted=trusted)
    assert inspect(first).file_id != inspect(second).file_id
    library.save_tensor(distributed, tmp_path / "out" / "for-{recipient}")
    assert (tmp_path / "out" / "for-north").read_bytes() == second.read_bytes()


def test_conditions_of_use_and_statements_go_along(library: SafeTensorLibrary, tmp_path: Path) -> None:
    keys, path, policy = library._keys, tmp_path / "scan", Policy(not_after=datetime(2100, 1, 1, tzinfo=UTC))
    save_file(
        {"tensor": SCAN}, path, recipients=keys.identity.recipient, signer=keys.signer, policy=policy,
        public={"study": "hearts"}, provenance={"site": "north"},
    )  # fmt: skip
    library.save_tensor(library.distribute_data(path, keys.identity.recipient, decrypted=True), tmp_path / "out")
    with SealedReader(tmp_path / "out", identity=keys.identity) as reader:
        assert reader.manifest.context.policy == policy
        assert reader.statements == {"study": "hearts", "site": "north", "previous": inspect(path).manifest_sha256}


def test_nothing_happens_for_recipients_that_will_not_do(library: SafeTensorLibrary, tmp_path: Path) -> None:
    library.save_tensor(SCAN, tmp_path / "scan", plain=True)
    before = kinds(library)
    for bad in ([], [tmp_path / "nobody.key.pub"], [key_file(tmp_path / "north.key", 0), "age1wrong"]):
        with pytest.raises((LocalError, MalformedError)):
            library.distribute_data(tmp_path / "scan", bad, separate=True, decrypted=True)
    assert kinds(library) == before
    x25519 = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
    with pytest.raises(LocalError, match="hybrid and x25519"):
        library.distribute_data(tmp_path / "scan", [tmp_path / "north.key.pub", x25519], decrypted=True)
    assert kinds(library) == [*before, "open"]
    given = library.distribute_data(tmp_path / "scan", [tmp_path / "north.key.pub", x25519], separate=True, decrypted=True)
    assert len(given.copies) == 2


def test_copies_take_no_options(library: SafeTensorLibrary, tmp_path: Path) -> None:
    library.save_tensor(SCAN, tmp_path / "scan", plain=True)
    distributed = library.distribute_data(tmp_path / "scan", key_file(tmp_path / "north.key", 0), decrypted=True)
    for options in ({"plain": True}, {"recipients": tmp_path / "north.key.pub"}, {"bound": 1.0}):
        with pytest.raises(LocalError, match="written as they are"):
            library.save_tensor(distributed, tmp_path / "out", **options)


def test_names_on_a_roster_and_who_left_it(tmp_path: Path) -> None:
    boss = SafeTensorLibrary(tmp_path / "boss", roster=tmp_path / "team.toml")
    bob = SafeTensorLibrary(tmp_path / "bob", roster=tmp_path / "team.toml")
    files = {name: one.public_key(tmp_path / f"{name}.pub") for name, one in (("boss", boss), ("bob", bob))}
    found = {name: read_public_keys(file) for name, file in files.items()}
    roster = Roster("Team", tuple(
        Member(name, frozenset([Role.RECIPIENT, *([Role.OWNER] if name == "boss" else [])]), keys.recipient, keys.verifier)
        for name, keys in found.items()
    ))  # fmt: skip
    roster.write(tmp_path / "team.toml")
    boss.save_tensor(SCAN, tmp_path / "scan", plain=True, recipients="bob")
    np.testing.assert_array_equal(bob.load_tensor(tmp_path / "scan"), SCAN)  # the roster says who is an owner
    bob.save_tensor(SCAN, tmp_path / "own", plain=True)
    np.testing.assert_array_equal(bob.load_tensor(tmp_path / "own"), SCAN)  # one's own files are one's own, owner or not
    assert boss.distribute_data(tmp_path / "scan", ["bob"], decrypted=True).recipients == ("bob",)
    roster.revoke("bob", datetime.now(UTC)).write(tmp_path / "team.toml")
    with pytest.raises(RosterError, match="revoked"):
        boss.distribute_data(tmp_path / "scan", ["bob"], decrypted=True)


def test_everything_is_on_record(library: SafeTensorLibrary, tmp_path: Path) -> None:
    assert (len(library.audit_log()), library.audit_log().checkpoint) == (0, None)
    library.save_tensor(SCAN, tmp_path / "scan", plain=True)
    library.load_tensor(tmp_path / "scan")
    early = library.audit_log().checkpoint
    north = read_recipient(key_file(tmp_path / "north.key", 0)).fingerprint
    library.save_tensor(library.distribute_data(tmp_path / "scan", tmp_path / "north.key.pub", decrypted=True), tmp_path / "out")
    history = library.audit_log(known=early or "")
    assert [str(record.kind) for record in history] == ["seal", "open", "open", "distribute", "seal"]
    assert history.report.signed
    assert history.report.covered == history.report.size == 5
    given, written = history[3].fields, history[4].fields
    assert (given["path"], given["names"], given["recipients"], given["readable"]) == ("scan", "north", north, True)
    assert (written["path"], written["file_id"]) == ("out", inspect(tmp_path / "out").file_id)
    assert given["source"] == written["source"] == inspect(tmp_path / "scan").file_id
    assert [str(line) for line in history] == str(history).splitlines()
    assert "distribute  path=scan  names=north" in str(history)
    assert str(tmp_path) not in str(history)
    assert history[:2] == tuple(history)[:2]


def test_a_record_that_was_changed_shows(library: SafeTensorLibrary, tmp_path: Path) -> None:
    library.save_tensor(SCAN, tmp_path / "scan", plain=True)
    kept = (library.home / "audit.db").read_bytes()
    library.load_tensor(tmp_path / "scan")
    known = library.audit_log().checkpoint or ""
    data = (library.home / "audit.db").read_bytes()
    (library.home / "audit.db").write_bytes(data.replace(b'"kind":"open"', b'"kind":"seal"'))
    with pytest.raises(TamperedLogError):
        library.audit_log()
    (library.home / "audit.db").write_bytes(kept)  # an older copy: only what is kept elsewhere shows that
    assert len(library.audit_log()) == 1
    with pytest.raises((TamperedLogError, ForkError)):
        library.audit_log(known=known)


def test_without_a_log_nothing_is_done(library: SafeTensorLibrary, tmp_path: Path) -> None:
    library.save_tensor(SCAN, tmp_path / "scan", plain=True)
    (library.home / "audit.db").unlink()
    for act in (lambda: library.save_tensor(SCAN, tmp_path / "new", plain=True), lambda: library.load_tensor(tmp_path / "scan")):
        with pytest.raises(LocalError):
            act()
    assert not (tmp_path / "new").exists()


def test_secrets_are_in_no_text(library: SafeTensorLibrary, tmp_path: Path) -> None:
    library.save_tensor(SCAN, tmp_path / "scan", plain=True)
    keys = library._keys
    texts = [repr(library), str(library), repr(keys), repr(library._contexts), repr(library._decryption), str(library.audit_log())]
    texts.append((tmp_path / "hospital.pub").read_text() if library.public_key(tmp_path / "hospital.pub") else "")
    for text in texts:
        for secret in (keys.identity.secret_string(), keys.signer.secret_string()):
            assert secret not in text
            assert secret[-20:] not in text
    with pytest.raises(TypeError, match="holds secret keys"):
        pickle.dumps(library)
    with pytest.raises(LocalError, match="exists"):
        library.public_key(tmp_path / "hospital.pub")


def test_what_works_without_the_extra(library: SafeTensorLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tenseal", None)  # importing it fails from here on
    monkeypatch.setitem(sys.modules, "tenseal.sealapi", None)
    seal.seal.cache_clear()
    try:
        library.save_tensor(SCAN, tmp_path / "scan", plain=True)
        np.testing.assert_array_equal(library.load_tensor(tmp_path / "scan"), SCAN)
        library.save_tensor(
            library.distribute_data(tmp_path / "scan", key_file(tmp_path / "north.key", 0), decrypted=True), tmp_path / "out"
        )
        for act in (
            lambda: library.save_tensor([1.0], tmp_path / "x"),
            lambda: library.encrypt_tensor([1.0]),
            lambda: library.public_context(tmp_path / "context"),
        ):
            with pytest.raises(LocalError, match=r"pip install 'stfed\[encrypted\]'"):
                act()
    finally:
        seal.seal.cache_clear()
    assert [path.name for path in library.home.iterdir() if path.is_dir()] == ["keys"]
