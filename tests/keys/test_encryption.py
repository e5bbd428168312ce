"""Keys are written as age writes them, and secrets never show."""

import json
import pickle
import traceback
from typing import Any

import pytest

from stfed.errors import LocalError, MalformedError
from stfed.keys import bech32
from stfed.keys.encryption import HYBRID, KINDS, X25519, Identity, Recipient, generate_keypair, kind_named
from tests.keys.material import VECTORS, Script, keypair, signer, vectors

AGE: dict[str, Any] = json.loads((VECTORS / "sealed" / "age.json").read_bytes())
OURS: list[dict[str, Any]] = vectors("encryption")


def test_there_are_vectors() -> None:
    assert len(AGE["keys"]) == 2
    assert len(OURS) == 4


@pytest.mark.parametrize("entry", AGE["keys"] + OURS, ids=lambda entry: entry.get("source", entry.get("name")))
def test_published_keys(entry: dict[str, Any]) -> None:
    identity = Identity.from_string(entry["identity"])
    recipient = Recipient.from_string(entry["recipient"])
    assert identity.recipient == recipient
    assert str(recipient) == entry["recipient"]
    assert identity.secret_string() == entry["identity"]
    if "seed" in entry:
        assert Identity(KINDS[entry["kind"]], bytes.fromhex(entry["seed"])) == identity
        assert recipient.fingerprint == entry["fingerprint"]


@pytest.mark.parametrize(("kind", "start"), [("hybrid", "age1pq1"), ("x25519", "age1"), ("mlkem768x25519", "age1pq1")])
def test_a_new_pair(kind: str, start: str) -> None:
    identity, recipient = generate_keypair(kind)
    assert str(recipient).startswith(start)
    assert Recipient.from_string(str(recipient)) == recipient
    assert Identity.from_string(identity.secret_string()) == identity
    assert generate_keypair(kind)[1] != recipient
    assert generate_keypair(kind, entropy=Script("a")) == generate_keypair(kind, entropy=Script("a"))


def test_unknown_kind() -> None:
    with pytest.raises(LocalError, match="use hybrid or x25519"):
        kind_named("rsa")


def test_secrets_never_show() -> None:
    identity, _ = keypair(kind="hybrid")
    secret = identity.secret_string()
    for text in (repr(identity), str(identity), f"{identity}", repr([identity]), f"{identity!r}"):
        assert "secret hidden" in text
        assert secret[20:40] not in text
        assert identity._seed.hex() not in text
        assert repr(identity._seed) not in text


def test_an_identity_is_not_pickled_by_accident() -> None:
    """Kinds hold functions of `cryptography`'s, which refuse: a secret key does not travel with a task to another process."""
    with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
        pickle.dumps(keypair()[0])


@pytest.mark.parametrize("kind", ["hybrid", "x25519"])
def test_a_key_of_the_wrong_sort(kind: str) -> None:
    identity, recipient = keypair(kind=kind)
    secret = identity.secret_string()
    with pytest.raises(MalformedError, match="this is a secret key") as caught:
        Recipient.from_string(secret)
    assert secret[20:40] not in "".join(traceback.format_exception(caught.value))
    with pytest.raises(MalformedError, match="this is no secret key"):
        Identity.from_string(str(recipient))
    with pytest.raises(MalformedError, match="for signatures; one for encryption is needed"):
        Recipient.from_string(str(signer().public))
    with pytest.raises(MalformedError, match="for signatures; one for encryption is needed"):
        Identity.from_string(signer().secret_string())
    with pytest.raises(MalformedError, match="this is a secret key"):
        Recipient.from_string(signer().secret_string())
    with pytest.raises(MalformedError, match="checksum") as caught:
        Identity.from_string(secret[:-1] + ("Q" if secret[-1] != "Q" else "P"))
    assert secret[20:40] not in "".join(traceback.format_exception(caught.value))


def test_other_prefixes_and_lengths() -> None:
    for prefix, size_bytes in (("age", 31), ("age1pq", 32), ("age1tag", 33), ("bc", 32)):
        with pytest.raises(MalformedError, match="no key of ours"):
            Recipient.from_string(bech32.encode(prefix, bytes(size_bytes)))
    for prefix, size_bytes in (("age-secret-key-", 16), ("age-secret-key-pq-", 33), ("age-plugin-x-", 32)):
        with pytest.raises(MalformedError, match="no secret key"):
            Identity.from_string(bech32.encode(prefix, bytes(size_bytes)))


def test_sizes_are_those_of_the_mechanisms() -> None:
    assert (HYBRID.public_bytes, HYBRID.encapsulated_bytes, HYBRID.body_bytes) == (1216, 1120, 1168)
    assert (X25519.public_bytes, X25519.encapsulated_bytes, X25519.body_bytes) == (32, 32, 80)
