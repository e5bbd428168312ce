"""`SafeTensorLibrary` with tensors that are encrypted for computing: who computes, who decrypts, and what others get."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stfed import SafeTensorLibrary
from stfed.encrypted.encryption import encrypt
from stfed.encrypted.keyfiles import load_public
from stfed.encrypted.parameters import Parameters
from stfed.encrypted.sharing import decrypt_to_share, flooding
from stfed.encrypted.tensor import EncryptedTensor
from stfed.errors import LocalError
from stfed.keys import PassphraseError
from stfed.keys.keyfile import read_public_keys
from stfed.library import decrypting
from stfed.sealed import NotARecipientError, TamperedError, UntrustedError
from stfed.sealed.inspect import inspect
from stfed.sealed.numpy import load_file
from tests.encrypted import keys
from tests.library.homes import key_file, library

RADIUS = np.array([[17.99, 20.57], [19.69, 11.42]])  # of breast cancer cell nuclei


@pytest.fixture
def hospital(tmp_path: Path) -> SafeTensorLibrary:
    made = library(tmp_path / "hospital-home", parameters=Parameters())
    made.public_key(tmp_path / "hospital.pub")
    return made


@pytest.fixture
def lab(tmp_path: Path) -> SafeTensorLibrary:
    made = library(tmp_path / "lab-home", keys.adding())
    made.public_key(tmp_path / "lab.pub")
    return made


def loaded(library: SafeTensorLibrary, path: Path, **options: Any) -> EncryptedTensor:
    tensor = library.load_tensor(path, **options)
    assert isinstance(tensor, EncryptedTensor)
    return tensor


def close(found: Any, tensor: EncryptedTensor, exact: Any) -> bool:
    return np.shape(found) == np.shape(exact) and bool(np.all(np.abs(found - exact) <= tensor.error + 1e-12))


@pytest.mark.parametrize("array", [RADIUS, RADIUS.astype(np.float32), torch.tensor(RADIUS), RADIUS.tolist(), 17.99])
def test_save_and_load(hospital: SafeTensorLibrary, tmp_path: Path, array: Any) -> None:
    hospital.save_tensor(array, tmp_path / "x")
    tensor = loaded(hospital, tmp_path / "x")
    assert close(hospital.decrypt_tensor(tensor), tensor, np.asarray(array, np.float64))


def test_computing_needs_no_secret_and_results_are_saved_encrypted(hospital: SafeTensorLibrary, tmp_path: Path) -> None:
    hospital.save_tensor(RADIUS, tmp_path / "x")
    before = len(hospital.audit_log())
    first, second = loaded(hospital, tmp_path / "x"), hospital.encrypt_tensor(RADIUS / 2)
    hospital.save_tensor(3 * (first * second) - 1, tmp_path / "y")
    assert "secret" not in vars(hospital._contexts)  # which it was not even loaded for
    result = loaded(hospital, tmp_path / "y")
    assert close(hospital.decrypt_tensor(result), result, 3 * (RADIUS * RADIUS / 2) - 1)
    assert [str(record.kind) for record in hospital.audit_log()[before:]] == ["open", "seal", "open", "decrypt"]


def test_the_file_shows_what_kind_it_is_and_no_number(hospital: SafeTensorLibrary, tmp_path: Path) -> None:
    hospital.save_tensor(RADIUS, tmp_path / "x")
    info = inspect(tmp_path / "x")
    assert (info.public["type"], info.signature, info.policy["owners"]) == ("ckks", "valid", [])
    assert info.public["ckks_context"] == hospital._contexts.own.fingerprint.hex()
    with pytest.raises(LocalError):
        load_file(tmp_path / "x", identity=hospital._keys.identity)  # words of ciphertexts are no numbers
    assert b"17.99" not in (tmp_path / "x").read_bytes()


@pytest.mark.parametrize("array", [[1, 2, 3], np.array([True]), torch.tensor([1]), np.array([1j]), ["a"], [[1.0], [1.0, 2.0]], None, {}])
def test_what_is_not_encrypted(hospital: SafeTensorLibrary, tmp_path: Path, array: Any) -> None:
    for act in (lambda: hospital.save_tensor(array, tmp_path / "x"), lambda: hospital.encrypt_tensor(array)):
        with pytest.raises(LocalError, match=r"plain=True|no array"):
            act()
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("array", [[np.inf], [np.nan], [1e300], np.empty(0)])
def test_numbers_that_do_not_fit(hospital: SafeTensorLibrary, tmp_path: Path, array: Any) -> None:
    with pytest.raises(LocalError, match="plain=True seals it as it is"):
        hospital.save_tensor(array, tmp_path / "x")
    hospital.save_tensor(array, tmp_path / "x", plain=True)
    np.testing.assert_array_equal(hospital.load_tensor(tmp_path / "x"), array)


def test_a_stated_bound_is_what_others_see(hospital: SafeTensorLibrary, tmp_path: Path) -> None:
    hospital.save_tensor(RADIUS, tmp_path / "x", bound=100.0)
    assert loaded(hospital, tmp_path / "x").bound == 100.0
    assert hospital.encrypt_tensor(RADIUS).bound == 32.0
    with pytest.raises(LocalError, match="bound"):
        hospital.save_tensor(RADIUS, tmp_path / "x", bound=1.0)


def test_things_that_are_mixed_up(hospital: SafeTensorLibrary, tmp_path: Path) -> None:
    tensor = hospital.encrypt_tensor(RADIUS)
    with pytest.raises(LocalError, match="decrypt it first"):
        hospital.save_tensor(tensor, tmp_path / "x", plain=True)
    with pytest.raises(LocalError, match="encrypted already"):
        hospital.encrypt_tensor(tensor)
    with pytest.raises(LocalError, match="'ndarray' is no encrypted tensor"):
        hospital.decrypt_tensor(RADIUS)  # type: ignore[arg-type]
    with pytest.raises(LocalError, match="share=True"):
        hospital.decrypt_tensor(tensor, precision=0.1)
    with pytest.raises(LocalError, match="shares"):
        SafeTensorLibrary(tmp_path / "hospital-home", shares=0)


def test_a_tensor_under_other_keys_is_not_decrypted(hospital: SafeTensorLibrary, lab: SafeTensorLibrary) -> None:
    tensor = encrypt(keys.adding(), RADIUS)
    with pytest.raises(LocalError, match="other keys"):
        hospital.decrypt_tensor(tensor)
    assert close(lab.decrypt_tensor(tensor), tensor, RADIUS)
    (record,) = hospital.audit_log()
    assert (str(record.kind), record.fields["error"]) == ("decrypt", "LocalError")


def test_a_changed_file(hospital: SafeTensorLibrary, tmp_path: Path) -> None:
    hospital.save_tensor(RADIUS, tmp_path / "x")
    data = bytearray((tmp_path / "x").read_bytes())
    data[-20_000] ^= 1
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(TamperedError):
        hospital.load_tensor(tmp_path / "x")
    assert str(hospital.audit_log()[-1].kind) == "open-failed"


def test_recipients_compute_and_cannot_decrypt(hospital: SafeTensorLibrary, lab: SafeTensorLibrary, tmp_path: Path) -> None:
    hospital.save_tensor(RADIUS, tmp_path / "x")
    hospital.public_context(tmp_path / "hospital.context")
    distributed = hospital.distribute_data(tmp_path / "x", recipients=[tmp_path / "lab.pub"])
    assert not distributed.readable
    hospital.save_tensor(distributed, tmp_path / "for-lab")
    with pytest.raises(LocalError, match="keys of somebody else"):
        lab.load_tensor(tmp_path / "for-lab", trusted=tmp_path / "hospital.pub")
    trusted = iter([tmp_path / "hospital.pub"])  # anything that can be gone through once
    theirs = loaded(lab, tmp_path / "for-lab", trusted=trusted, context=tmp_path / "hospital.context")
    with pytest.raises(LocalError, match="other keys"):
        lab.decrypt_tensor(theirs)
    lab.save_tensor(theirs * 2 + 1, tmp_path / "result", recipients=tmp_path / "hospital.pub")
    again = loaded(lab, tmp_path / "result")  # the context is remembered
    assert again.context.fingerprint == theirs.context.fingerprint
    back = loaded(hospital, tmp_path / "result", trusted=tmp_path / "lab.pub")
    assert close(hospital.decrypt_tensor(back), back, RADIUS * 2 + 1)
    assert [str(record.kind) for record in lab.audit_log()] == ["open", "decrypt", "seal", "open"]


def test_a_plain_file_under_the_name_of_an_encrypted_one_is_not_handed_on(
    hospital: SafeTensorLibrary, lab: SafeTensorLibrary, tmp_path: Path
) -> None:
    hospital.save_tensor(RADIUS, tmp_path / "mean")
    hospital.save_tensor([9, 8, 7], tmp_path / "diagnosis", plain=True, recipients=tmp_path / "lab.pub")
    (tmp_path / "diagnosis").replace(tmp_path / "mean")  # whoever can write the folder, and nothing else
    with pytest.raises(LocalError, match="recipients would read them"):
        hospital.distribute_data(tmp_path / "mean", tmp_path / "lab.pub")
    assert [record.fields.get("type") for record in hospital.audit_log()] == ["ckks", None, None]
    assert str(hospital.audit_log()[0]).split("  ")[2:5] == ["seal", "path=mean", "type=ckks"]


def test_a_context_needs_a_signature_that_is_trusted(hospital: SafeTensorLibrary, lab: SafeTensorLibrary, tmp_path: Path) -> None:
    hospital.save_tensor(RADIUS, tmp_path / "x", recipients=tmp_path / "lab.pub")
    lab.public_context(tmp_path / "lab.context")
    with pytest.raises(UntrustedError):
        lab.load_tensor(tmp_path / "x", trusted=tmp_path / "hospital.pub", context=tmp_path / "lab.context")
    loaded(
        lab, tmp_path / "x", trusted=tmp_path / "hospital.pub", context=keys.stranger().public
    )  # an object was loaded by somebody who asked
    assert load_public(tmp_path / "lab.context", trusted=tmp_path / "lab.pub").fingerprint == keys.adding().public.fingerprint


def test_a_context_that_somebody_swapped_in_is_refused(hospital: SafeTensorLibrary, lab: SafeTensorLibrary, tmp_path: Path) -> None:
    lab.public_context(tmp_path / "lab.context")
    (tmp_path / "lab.context").replace(hospital.home / "encrypted" / "tensors.key.pub")
    with pytest.raises(UntrustedError):  # else everything would be encrypted to the lab
        hospital.encrypt_tensor(RADIUS)


def test_a_secret_of_another_pair_is_refused(hospital: SafeTensorLibrary, lab: SafeTensorLibrary) -> None:
    (lab.home / "encrypted" / "tensors.key").replace(hospital.home / "encrypted" / "tensors.key")
    with pytest.raises(LocalError):
        hospital.decrypt_tensor(hospital.encrypt_tensor(RADIUS))


def test_keys_for_computing_are_made_once_when_they_are_needed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    few = Parameters(4096, (54, 54), 40)
    library = SafeTensorLibrary(tmp_path / "home", parameters=few, passphrase="correct horse")
    assert not (library.home / "encrypted").exists()
    tensor = library.encrypt_tensor(RADIUS)
    assert sum("for computing" in line for line in caplog.messages) == 1
    again = SafeTensorLibrary(tmp_path / "home", passphrase=lambda: "correct horse")
    assert close(again.decrypt_tensor(tensor), tensor, RADIUS)
    assert sum("for computing" in line for line in caplog.messages) == 1
    with pytest.raises(LocalError, match="parameters= out"):
        SafeTensorLibrary(tmp_path / "home", passphrase="correct horse", parameters=Parameters()).encrypt_tensor(RADIUS)
    with pytest.raises(PassphraseError):
        SafeTensorLibrary(tmp_path / "home")
    modes = {path.name: path.stat().st_mode & 0o777 for path in (library.home / "encrypted").iterdir()}
    assert modes == {"tensors.key": 0o600, "tensors.key.pub": 0o644}
    (library.home / "encrypted" / "tensors.key").unlink()
    with pytest.raises(LocalError, match=r"tensors.key is missing"):
        SafeTensorLibrary(tmp_path / "home", passphrase="correct horse").encrypt_tensor(RADIUS)


def test_numbers_for_others_are_noisy_and_counted(tmp_path: Path) -> None:
    hospital = library(tmp_path / "home", shares=2)
    number = 1000.3  # on no grid that noisy numbers are rounded to
    tensor = hospital.encrypt_tensor(number)
    for _ in range(2):
        shared = hospital.decrypt_tensor(tensor, share=True)
        assert 100 * tensor.error < abs(shared - number) <= flooding(tensor, decryptions=2).precision
    with pytest.raises(LocalError, match="2 tensors were decrypted for others"):
        hospital.decrypt_tensor(tensor, share=True)
    with pytest.raises(LocalError, match="2 tensors were decrypted for others"):  # whatever is promised now
        SafeTensorLibrary(tmp_path / "home", shares=10**6).decrypt_tensor(tensor, share=True)
    assert close(hospital.decrypt_tensor(tensor), tensor, number)  # for oneself as often as one likes
    assert [record.fields.get("shares") for record in hospital.audit_log()] == [2, 2, 2, 10**6, None]


def test_the_last_one_for_others_is_there_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slowly(*arguments: Any, **options: Any) -> Any:
        time.sleep(0.1)
        return decrypt_to_share(*arguments, **options)

    def attempt(one: SafeTensorLibrary) -> bool:
        try:
            one.decrypt_tensor(tensor, share=True)
        except LocalError:
            return False
        return True

    both = [library(tmp_path / "home", shares=1), SafeTensorLibrary(tmp_path / "home", shares=1)]
    tensor = both[0].encrypt_tensor(1000.0)
    monkeypatch.setattr(decrypting, "decrypt_to_share", slowly)
    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(attempt, both)) == [False, True]


def test_numbers_for_others_that_would_say_nothing(hospital: SafeTensorLibrary) -> None:
    tensor = hospital.encrypt_tensor(RADIUS)
    with pytest.raises(LocalError, match=r"Parameters\.for_depth"):
        hospital.decrypt_tensor(tensor, share=True)
    assert hospital.decrypt_tensor(tensor, share=True, precision=100.0).shape == RADIUS.shape
    assert [record.fields.get("error") for record in hospital.audit_log()] == ["LocalError", None]


def test_handing_on_the_numbers(hospital: SafeTensorLibrary, lab: SafeTensorLibrary, tmp_path: Path) -> None:
    hospital.save_tensor(RADIUS * 1000, tmp_path / "x.safetensors")
    path = tmp_path / "x.safetensors"
    recipients = [tmp_path / "lab.pub", key_file(tmp_path / "north.key", 0)]
    distributed = hospital.distribute_data(path, recipients, decrypted=True, separate=True, precision=100.0)
    assert distributed.readable
    hospital.save_tensor(distributed, tmp_path / "to-{recipient}")
    found = lab.load_tensor(tmp_path / "to-lab", trusted=tmp_path / "hospital.pub")
    assert isinstance(found, np.ndarray)
    assert np.abs(found - RADIUS * 1000).max() <= 100
    np.testing.assert_array_equal(load_file(tmp_path / "to-north", identity=tmp_path / "north.key")["tensor"], found)
    assert "type" not in inspect(tmp_path / "to-lab").public
    kinds = [str(record.kind) for record in hospital.audit_log()]
    assert kinds == ["seal", "open", "decrypt", "distribute", "distribute", "seal", "seal"]
    with pytest.raises(NotARecipientError):
        lab.load_tensor(tmp_path / "to-north", trusted=tmp_path / "hospital.pub")
    with pytest.raises(LocalError, match="exact to"):
        hospital.distribute_data(path, recipients, decrypted=True, precision=1e-6)


def test_results_of_others_are_handed_on_if_they_are_trusted(hospital: SafeTensorLibrary, lab: SafeTensorLibrary, tmp_path: Path) -> None:
    lab.save_tensor(hospital.encrypt_tensor(RADIUS), tmp_path / "result", recipients=tmp_path / "hospital.pub")
    with pytest.raises(UntrustedError):
        hospital.distribute_data(tmp_path / "result", tmp_path / "lab.pub")
    distributed = hospital.distribute_data(tmp_path / "result", tmp_path / "lab.pub", trusted=tmp_path / "lab.pub")
    hospital.save_tensor(distributed, tmp_path / "out")
    assert inspect(tmp_path / "out").signers == (read_public_keys(tmp_path / "hospital.pub").verifier.fingerprint,)  # type: ignore[union-attr]


def test_numbers_of_what_others_made_are_never_shared(hospital: SafeTensorLibrary, lab: SafeTensorLibrary, tmp_path: Path) -> None:
    """Whoever made a ciphertext may have the secret key as its numbers: no noise of any size hides that."""
    by_lab, own = tmp_path / "by-lab", hospital.encrypt_tensor(1000.0)
    lab.save_tensor(encrypt(keys.stranger(), 1000.0), by_lab, recipients=tmp_path / "hospital.pub")
    with pytest.raises(LocalError, match="could have made it so"):
        hospital.distribute_data(by_lab, tmp_path / "lab.pub", decrypted=True, trusted=tmp_path / "lab.pub", precision=1e6)
    theirs = loaded(hospital, by_lab, trusted=tmp_path / "lab.pub")
    hospital.save_tensor(own + theirs, tmp_path / "sum")
    again = loaded(hospital, tmp_path / "sum")
    made = [theirs, -theirs * 0.5, own + theirs, theirs * own, own - theirs, again]
    for tensor in made:
        with pytest.raises(LocalError, match="could have made it so"):
            hospital.decrypt_tensor(tensor, share=True, precision=1e6)
    with pytest.raises(LocalError, match="could have made it so"):
        hospital.distribute_data(tmp_path / "sum", tmp_path / "lab.pub", decrypted=True, precision=1e6)
    assert close(hospital.decrypt_tensor(again), again, 2000.0)  # for oneself
    hospital.save_tensor(own, tmp_path / "own")
    for options in ({}, {"trusted": tmp_path / "hospital.pub"}):
        mine = loaded(hospital, tmp_path / "own", **options)
        assert hospital.decrypt_tensor(mine * 2.0, share=True, precision=1e6) == pytest.approx(2000, abs=1e6)


def test_secrets_are_in_no_text(hospital: SafeTensorLibrary) -> None:
    hospital.decrypt_tensor(hospital.encrypt_tensor(RADIUS))
    secret = hospital._contexts.secret.secret_bytes
    text = "".join(map(repr, (hospital, hospital._contexts, hospital._contexts.secret, hospital._decryption, hospital.audit_log())))
    assert secret[:16].hex() not in text
    assert repr(secret)[2:20] not in text
    assert "17.99" not in str(hospital.audit_log())
