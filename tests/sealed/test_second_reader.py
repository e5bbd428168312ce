"""Files that we write, read by the second implementation, which is strict about all that docs/format.md says."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from stfed import sealed
from stfed.keys.encryption import Recipient
from stfed.sealed.policy import Policy
from stfed.sealed.shards import save_sharded
from tests.vectors.sealed_format.encoding import INDEX, framed
from tests.vectors.sealed_format.reading import check_signature, read

from .material import SEALED, file_of, identity_of, scenarios, seal_bytes, signing_key_of, verifying_key_of, whole

PLAIN = (SEALED / "plain.safetensors").read_bytes()
WORDS = "correct horse battery staple"


def recipient(name: str) -> Recipient:
    return identity_of(name).recipient


@pytest.mark.parametrize("key", ["x25519", "hybrid"])
@pytest.mark.parametrize("signers", [(), ("alice",), ("carol",), ("alice", "carol", "bob")])
@pytest.mark.parametrize("digest", ["blake3", "sha256"])
def test_what_we_write_is_what_the_page_says(key: str, signers: tuple[str, ...], digest: str) -> None:
    policy = Policy(
        owners=verifying_key_of("dora"), readers=[verifying_key_of("bob")], purposes=["a", "ü"], not_after=datetime(2901, 1, 1, tzinfo=UTC)
    )
    more: dict[str, Any] = {"signer": [signing_key_of(name) for name in signers], "policy": policy} if signers else {}
    data = seal_bytes(PLAIN, recipient(key), digest=digest, public={"a": 1.5, "ä": None}, provenance={"round": 7, "x": "\u2028"}, **more)
    found = read(data, key)
    assert (found.plain, found.sealed, found.generation, found.both_slots) == (PLAIN, {"round": 7, "x": "\u2028"}, 1, False)
    assert found.envelope["manifest"]["public"] == {"a": 1.5, "ä": None}
    assert found.envelope["manifest"]["signers"] == [str(verifying_key_of(name)) for name in signers]
    assert found.envelope["manifest"]["policy"]["purposes"] == (["a", "ü"] if signers else [])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 3 * 4096), st.sampled_from([4096, 5000, 8192]), st.booleans())
def test_any_length_in_any_segments(size_bytes: int, segment_bytes: int, signed: bool) -> None:
    plain = np.arange(size_bytes, dtype=np.uint8).tobytes()
    more = {"signer": signing_key_of("alice")} if signed else {}
    assert read(seal_bytes(plain, recipient("x25519"), segment_bytes=segment_bytes, **more), "x25519").plain == plain


def test_a_passphrase() -> None:
    assert read(seal_bytes(PLAIN, passphrase=WORDS), passphrase=WORDS).plain == PLAIN


@pytest.mark.parametrize("count", [1, 19, 20, 100])
def test_slots_grow_with_the_recipients(count: int) -> None:
    """The reader checks the size; 19 hybrid recipients are as many as the smallest slot takes."""
    data = seal_bytes(PLAIN, *[recipient("hybrid")], *[many(number) for number in range(count - 1)])
    assert (read(data, "hybrid").envelope["manifest"]["slot_bytes"] == 65536) == (count <= 19)


def many(number: int) -> Recipient:
    return sealed.generate_keypair("hybrid", entropy=lambda size: number.to_bytes(size, "big"))[1]


def test_grants_by_signer_and_owner(tmp_path: Path) -> None:
    path = tmp_path / "f"
    policy = Policy(owners=verifying_key_of("carol"))
    path.write_bytes(seal_bytes(PLAIN, recipient("x25519"), signer=signing_key_of("alice"), policy=policy))
    for generation, (name, granter) in enumerate((("colleague", "alice"), ("second colleague", "carol"), ("third colleague", "alice")), 2):
        sealed.grant(path, recipients=recipient(name), signer=signing_key_of(granter), identity=identity_of("x25519"))
        found = read(path.read_bytes(), name)
        assert (found.plain, found.generation, found.both_slots) == (PLAIN, generation, True)
    assert read(path.read_bytes(), "x25519").plain == PLAIN


def test_a_file_sealed_anew_and_a_set(tmp_path: Path) -> None:
    alice, identity = signing_key_of("alice"), identity_of("x25519")
    (tmp_path / "f").write_bytes(seal_bytes(PLAIN, recipient("x25519"), recipient("stranger"), signer=alice))
    sealed.revoke(
        tmp_path / "f", revoked=recipient("stranger"), known=[recipient(name) for name in ("x25519", "stranger")],
        signer=alice, identity=identity,
    )  # fmt: skip
    assert read((tmp_path / "f").read_bytes(), "x25519").plain == PLAIN
    tensors = {name: np.arange(100, dtype=np.float32) for name in ("a", "b", "c")}
    index = save_sharded(tensors, tmp_path / "set", recipients=identity.recipient, signer=alice, max_shard_size=400)
    check_signature(str(alice.public), index.signatures[0], framed(INDEX, index.content))
    for number, shard in enumerate(index.shards):
        found = read((tmp_path / "set" / shard.file).read_bytes(), "x25519")
        assert list(safetensors.numpy.load(found.plain)) == [sorted(tensors)[number]]
        assert found.envelope["manifest"]["public"]["shard"] == f"{number + 1}/3"


@pytest.mark.parametrize("name", sorted(name for name, one in scenarios().items() if name.startswith("whole ")))
def test_it_reads_its_own(name: str) -> None:
    how = scenarios()[name]["open"]
    assert read(file_of(name), how.get("identity", [None])[0], how.get("passphrase", "")).plain == read_plain(scenarios()[name]["file"])


def read_plain(name: str) -> bytes:
    return safetensors.numpy.save({}) if name == "no-tensors" else PLAIN


def test_it_refuses_a_changed_one() -> None:
    """Or what it says about ours would be worth nothing: any byte that is not in an unused slot."""
    data = whole("granted-thrice")
    for at in (9, 5000, 4096 + 65536 + 2000, 4096 + 2 * 65536 + 5, 4096 + 2 * 65536 + 5000, len(data) - 1):
        changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with pytest.raises(Exception):  # noqa: B017, PT011 - it has no errors of its own
            read(changed, "x25519")
