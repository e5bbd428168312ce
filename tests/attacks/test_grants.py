"""Attacks on access: giving it without being an owner, moving it, and taking it back."""

from pathlib import Path

from stfed.crypto.labels import Label
from stfed.keys.encryption import Recipient
from stfed.keys.signing import SigningKey
from stfed.sealed import AccessDeniedError, MalformedError, NotARecipientError, Policy, RollbackError, TamperedError, grant, revoke
from stfed.sealed.recipients import wrap
from tests.attacks.parts import Parts
from tests.attacks.scene import PLAIN, Scene, attack
from tests.sealed.material import keypair, seal_bytes
from tests.vectors.sealed_format import encoding
from tests.vectors.sealed_format.container import SLOT_BYTES, chain_after, slot
from tests.vectors.sealed_format.encoding import Json, canonical, sha256, to_base64, u64


def granted_file(scene: Scene, *recipients: Recipient, data: bytes | None = None) -> bytes:
    """Alice's file after she gave these people access, one after the other."""
    path = scene.folder / "granting"
    path.write_bytes(data or scene.sealed())
    for recipient in recipients:
        grant(path, recipients=recipient, signer=scene.alice, identity=scene.identity)
    data = path.read_bytes()
    path.unlink()
    return data


def forged_grant(parts: Parts, stanza: Json, recipient: Recipient, claims: SigningKey, signs: SigningKey) -> Parts:
    """One more grant, in the name of one key and signed by another, everything else as it must be."""
    before, time = canonical(parts.envelope), parts.manifest["time"]
    parts.older = slot(before, parts.generation)
    parts.generation += 1
    manifest_hash = encoding.digest(encoding.MANIFEST, canonical(parts.manifest))
    previous = chain_after(parts.envelope["grants"], manifest_hash)
    key_hashes = [sha256(str(key).encode()) for key in (claims.public, recipient)]
    signature = signs.sign(
        Label.SEALED_GRANT, bytes.fromhex(parts.manifest["file_id"]), manifest_hash, u64(parts.generation), previous, key_hashes[1],
        sha256(canonical(stanza)), str(claims.public).encode(), time.encode(),
    )  # fmt: skip
    entry = {"granter": key_hashes[0].hex(), "recipient": key_hashes[1].hex(), "stanza": stanza, "time": time}
    parts.envelope["grants"].append({**entry, "previous": previous.hex(), "signature": to_base64(signature)})
    return parts


def stanza_for(recipient: Recipient) -> Json:
    return wrap(bytes(32), [recipient], b"whatever")[0].to_json()


@attack(AccessDeniedError, "is no owner of the file and cannot grant")
def test_a_recipient_grants_with_the_library(scene: Scene) -> None:
    """A recipient who is no owner gives a friend access with `grant`."""
    scene.path.write_bytes(scene.sealed(shared=True))
    before = scene.path.read_bytes()
    try:
        grant(scene.path, recipients=scene.friend_recipient, signer=scene.mallory_signer, identity=scene.mallory)
    finally:
        assert scene.path.read_bytes() == before


@attack(AccessDeniedError, "grant 1 was not made by an owner")
def test_a_recipient_grants_by_hand(scene: Scene) -> None:
    """The same with a tool of their own, signed with their own key; the whole envelope is refused, to the victim too."""
    parts = Parts.of(scene.sealed(shared=True))
    forged_grant(parts, stanza_for(scene.friend_recipient), scene.friend_recipient, scene.mallory_signer, scene.mallory_signer)
    scene.opens(parts.file())


@attack(TamperedError, "the signature of grant 1 does not verify")
def test_a_recipient_grants_in_alices_name(scene: Scene) -> None:
    """The same in alice's name."""
    parts = Parts.of(scene.sealed(shared=True))
    scene.opens(forged_grant(parts, stanza_for(scene.friend_recipient), scene.friend_recipient, scene.alice, scene.mallory_signer).file())


@attack(AccessDeniedError, "grant 1 was not made by an owner")
def test_a_reader_of_the_policy_grants(scene: Scene) -> None:
    """One whom the policy lets ask the key service for the key takes that for ownership."""
    data = scene.sealed(shared=True, policy=Policy(readers=scene.mallory_signer.public))
    stanza = stanza_for(scene.friend_recipient)
    scene.opens(forged_grant(Parts.of(data), stanza, scene.friend_recipient, scene.mallory_signer, scene.mallory_signer).file())


@attack(TamperedError, "does not follow what was before it")
def test_a_grant_replayed_from_another_file(scene: Scene) -> None:
    """Was given access to one file of alice's, and moves the grant to another."""
    other = Parts.of(granted_file(scene, scene.mallory_recipient))
    parts = Parts.of(scene.sealed())
    parts.older, parts.generation = slot(canonical(parts.envelope), 1), 2
    parts.envelope["grants"] = other.envelope["grants"]
    scene.opens(parts.file())


@attack(TamperedError, "does not follow what was before it")
def test_an_earlier_grant_dropped(scene: Scene) -> None:
    """Drops the first of two grants, hoping to hide that somebody was given access, or to lock them out."""
    parts = Parts.of(granted_file(scene, scene.friend_recipient, scene.mallory_recipient))
    del parts.envelope["grants"][0]
    parts.generation, parts.older = 2, bytes(SLOT_BYTES)
    scene.opens(parts.file())


@attack(TamperedError, "does not follow what was before it")
def test_grants_in_another_order(scene: Scene) -> None:
    """Changes the order of grants, hoping to change who was first."""
    parts = Parts.of(granted_file(scene, scene.friend_recipient, scene.mallory_recipient))
    parts.envelope["grants"].reverse()
    scene.opens(parts.file())


@attack(TamperedError, "the signature of grant 1 does not verify")
def test_the_recipient_of_a_grant_renamed(scene: Scene) -> None:
    """Was given access, and makes the envelope say that somebody else was."""
    parts = Parts.of(granted_file(scene, scene.mallory_recipient))
    parts.envelope["grants"][0]["recipient"] = sha256(str(scene.friend_recipient).encode()).hex()
    scene.opens(parts.file())


@attack(MalformedError, "generation 9 has 1 grants")
def test_a_generation_out_of_turn(scene: Scene) -> None:
    """Numbers an old envelope so high that it counts as the newest for ever."""
    parts = Parts.of(granted_file(scene, scene.friend_recipient))
    parts.generation = 9
    scene.opens(parts.file())


@attack(MalformedError, "same generation")
def test_two_envelopes_of_one_generation(scene: Scene) -> None:
    """Puts another envelope of the same number into the other slot, hoping that readers choose differently."""
    data = granted_file(scene, scene.friend_recipient)
    slot_b = data[4096 + SLOT_BYTES :][:SLOT_BYTES]
    scene.opens(data[:4096] + slot_b + data[4096 + SLOT_BYTES :])


@attack(RollbackError, "at least 2 is asked for")
def test_a_grant_undone(scene: Scene) -> None:
    """Puts the file as it was before the grant back, hoping that a reader who knows of the grant does not notice."""
    before = scene.sealed()
    scene.uses(granted_file(scene, scene.friend_recipient, data=before), generation=2)
    scene.opens(before, generation=2)


@attack(NotARecipientError, "not to")
def test_a_revoked_recipient_opens_the_new_file(scene: Scene) -> None:
    """Could open the file before it was sealed anew without them, and tries the same key on the new one."""
    scene.uses(scene.sealed(shared=True), identity=scene.mallory)
    known = [scene.recipient, scene.mallory_recipient]
    revoke(scene.path, revoked=scene.mallory_recipient, known=known, signer=scene.alice, identity=scene.identity)
    scene.uses()
    scene.opens(identity=scene.mallory)


@attack(TamperedError, "does not open")
def test_a_stanza_of_another_file(scene: Scene) -> None:
    """Puts the victim's entry of one file into another, hoping that the victim decrypts with a key that others know."""
    parts = Parts.of(scene.unsigned())
    parts.envelope["recipients"] = Parts.of(seal_bytes(PLAIN, scene.recipient)).envelope["recipients"]
    scene.opens(parts.rehash().file(), trusted=None)


@attack(MalformedError, "mixes kinds of recipients")
def test_a_weaker_kind_of_key_granted(scene: Scene) -> None:
    """Grants an X25519 key access to a file for hybrid ones, so that a quantum computer opens it for all; alice's own key signs."""
    identity, recipient = keypair("post-quantum victim", "hybrid")
    parts = Parts.of(seal_bytes(PLAIN, recipient, signer=scene.alice))
    parts = forged_grant(parts, stanza_for(scene.friend_recipient), scene.friend_recipient, scene.alice, scene.alice)
    scene.opens(parts.file(), identity=identity)


def test_the_attackers_tool_makes_a_grant_that_holds_if_an_owner_signs(tmp_path: Path) -> None:
    """So the refusals above are about who signed, and not about a mistake in the tool."""
    scene = Scene(tmp_path)
    scene.opens(
        forged_grant(Parts.of(scene.sealed()), stanza_for(scene.friend_recipient), scene.friend_recipient, scene.alice, scene.alice).file()
    )
