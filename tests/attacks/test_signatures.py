"""Attacks on origin: the attacker wants the victim to take a file for alice's that is not, or not as she made it."""

from stfed.crypto.labels import Label
from stfed.keys.encryption import Recipient
from stfed.keys.signing import Kind, SigningKey
from stfed.sealed import MalformedError, TamperedError, UntrustedError, inspect, verify_file
from stfed.sealed.recipients import wrap
from tests.attacks.parts import Parts
from tests.attacks.scene import PLAIN, Scene, attack
from tests.sealed.material import Script, seal_bytes
from tests.vectors.sealed_format import encoding
from tests.vectors.sealed_format.container import NO_POLICY, context
from tests.vectors.sealed_format.encoding import canonical, to_base64

BROKEN = "does not verify: the manifest was changed"


def sign(parts: Parts, *keys: SigningKey) -> Parts:
    """Signatures under the manifest as it is."""
    parts.envelope["signatures"] = [to_base64(key.sign(Label.SEALED_SIGNATURE, canonical(parts.manifest))) for key in keys]
    return parts


def stripped(parts: Parts) -> Parts:
    parts.manifest.update(suite="floe-aes256gcm", signers=[], digests_sha256=None, policy=NO_POLICY)
    parts.envelope.update(signatures=[], grants=[])
    parts.digests = b""
    return parts


@attack(UntrustedError, "the file is not signed")
def test_an_unsigned_file_of_their_own(scene: Scene) -> None:
    """Seals other weights to the victim, whose public key is public."""
    scene.opens(scene.unsigned())


@attack(UntrustedError, "nobody trusted signed the file")
def test_a_file_signed_by_themselves(scene: Scene) -> None:
    """The same, signed, hoping that any signature will do."""
    scene.opens(scene.sealed(signer=scene.mallory_signer))


@attack(UntrustedError, "the file is not signed")
def test_the_signature_stripped(scene: Scene) -> None:
    """Makes alice's file an unsigned one, hoping that nothing is checked then."""
    scene.opens(stripped(Parts.of(scene.sealed())).file())


@attack(TamperedError, "does not open")
def test_the_signature_stripped_where_nobody_is_trusted(scene: Scene) -> None:
    """The same against a reader who asks for no signature: the key was wrapped for a signed file."""
    scene.opens(stripped(Parts.of(scene.sealed())).file(), trusted=None)


@attack(UntrustedError, "nobody trusted signed the file")
def test_the_signer_swapped(scene: Scene) -> None:
    """Puts their own name and signature in the place of alice's, hoping to pass for the author."""
    parts = Parts.of(scene.sealed())
    parts.manifest["signers"] = [str(scene.mallory_signer.public)]
    scene.opens(sign(parts, scene.mallory_signer).file())


@attack(TamperedError, "does not open")
def test_the_signer_swapped_where_nobody_is_trusted(scene: Scene) -> None:
    """The same against a reader who asks for no signature: the key was wrapped under alice's name."""
    parts = Parts.of(scene.sealed())
    parts.manifest["signers"] = [str(scene.mallory_signer.public)]
    scene.opens(sign(parts, scene.mallory_signer).file(), trusted=None)


@attack(TamperedError, BROKEN)
def test_alices_name_over_their_own_signature(scene: Scene) -> None:
    """Seals other weights in alice's name and signs with their own key."""
    parts = Parts.of(scene.sealed(signer=scene.mallory_signer))
    parts.manifest["signers"] = [str(scene.alice.public)]
    scene.opens(sign(parts, scene.mallory_signer).file())


@attack(TamperedError, BROKEN)
def test_alices_signature_of_another_file(scene: Scene) -> None:
    """Puts alice's true signature of one file under another."""
    parts = Parts.of(scene.sealed())
    parts.envelope["signatures"] = Parts.of(scene.sealed()).envelope["signatures"]
    scene.opens(parts.file())


@attack(TamperedError, BROKEN)
def test_a_second_signer_added(scene: Scene) -> None:
    """Adds their own name and signature to alice's, hoping to become an owner of her file."""
    parts = Parts.of(scene.sealed())
    (true,) = parts.envelope["signatures"]
    parts.manifest["signers"].append(str(scene.mallory_signer.public))
    sign(parts, scene.mallory_signer).envelope["signatures"].insert(0, true)
    scene.opens(parts.file())


@attack(TamperedError, BROKEN)
def test_a_signer_taken_away(scene: Scene) -> None:
    """Takes the second of two signers off the list, hoping that what needed both now needs one."""
    parts = Parts.of(scene.sealed(signer=[scene.alice, scene.mallory_signer]))
    parts.manifest["signers"].pop()
    parts.envelope["signatures"].pop()
    scene.opens(parts.file())


@attack(MalformedError, "2 signers, has 1 signatures")
def test_a_signature_left_out(scene: Scene) -> None:
    """Leaves out the second of two signatures, hoping that one is enough."""
    parts = Parts.of(scene.sealed(signer=[scene.alice, scene.mallory_signer]))
    parts.envelope["signatures"].pop()
    scene.opens(parts.file())


@attack(TamperedError, BROKEN)
def test_half_a_hybrid_signature(scene: Scene) -> None:
    """Has broken Ed25519 with a quantum computer and has alice's curve key; hopes that the ML-DSA half is not looked at."""
    hybrid = SigningKey.generate("ed25519-mldsa65", entropy=Script("alice, hybrid"))
    parts = Parts.of(scene.sealed(signer=hybrid))
    old = encoding.from_base64(parts.envelope["signatures"][0])
    parts.manifest["public"] = {"epsilon": 0.1}
    forged = hybrid.ed25519.sign(Label.SEALED_SIGNATURE, canonical(parts.manifest))
    parts.envelope["signatures"] = [to_base64(forged + old[64:])]
    scene.opens(parts.file(), trusted=hybrid.public)


@attack(UntrustedError, "nobody trusted signed the file")
def test_the_broken_half_of_a_hybrid_key_as_a_key_of_its_own(scene: Scene) -> None:
    """With the same curve key signs a file of their own as the plain Ed25519 key that it is, hoping that this passes for the hybrid one."""
    seed = Script("alice, hybrid")(64)
    hybrid, half = SigningKey(Kind.HYBRID, seed), SigningKey(Kind.ED25519, seed[:32])
    scene.opens(scene.sealed(signer=half), trusted=hybrid.public)


@attack(TamperedError, BROKEN)
def test_a_statement_changed(scene: Scene) -> None:
    """Writes a smaller privacy loss into the public statements."""
    parts = Parts.of(scene.sealed(public={"epsilon": 8.0}))
    parts.manifest["public"]["epsilon"] = 0.1
    scene.opens(parts.file())


@attack(TamperedError, "does not open")
def test_a_statement_changed_in_an_unsigned_file(scene: Scene) -> None:
    """The same where nothing is signed: the key was wrapped under the true statements."""
    parts = Parts.of(scene.unsigned(public={"epsilon": 8.0}))
    parts.manifest["public"]["epsilon"] = 0.1
    scene.opens(parts.file(), trusted=None)


@attack(UntrustedError, "the file is not signed")
def test_a_recipient_makes_an_unsigned_file_of_other_weights(scene: Scene) -> None:
    """A recipient opens alice's file, changes weights and seals the result to the victim under alice's statements."""
    honest = Parts.of(scene.sealed(shared=True, public={"model": "m"}))
    other = PLAIN[:-4] + b"\0\0\0\0"
    scene.opens(seal_bytes(other, scene.recipient, public=honest.manifest["public"]))


@attack(TamperedError, "the recipient list is not the one")
def test_a_recipient_added_without_a_grant(scene: Scene) -> None:
    """A recipient wraps the key for a friend and puts the entry beside the others, hoping that it passes for alice's choice."""
    parts = Parts.of(scene.sealed(shared=True))
    parts.envelope["recipients"].append(entry_for(scene.friend_recipient))
    scene.opens(parts.file())


@attack(TamperedError, BROKEN)
def test_a_recipient_added_and_its_hash(scene: Scene) -> None:
    """The same with the manifest's hash of the list."""
    parts = Parts.of(scene.sealed(shared=True))
    parts.envelope["recipients"].append(entry_for(scene.friend_recipient))
    scene.opens(parts.rehash().file())


def entry_for(recipient: Recipient) -> encoding.Json:
    """Some entry that is marked as this recipient's."""
    entry: encoding.Json = Parts.of(seal_bytes(PLAIN, recipient)).envelope["recipients"][0]
    return entry


@attack(TamperedError, "FLOE header does not verify")
def test_two_keys_for_one_file(scene: Scene) -> None:
    """A sealer gives two recipients two keys, hoping that one file is two models, one for the auditor and one for the hospital."""
    parts = Parts.of(scene.unsigned())
    parts.envelope["recipients"] = wrapped_anew(scene, parts, bytes(32))
    scene.opens(parts.rehash().file(), trusted=None)


def wrapped_anew(scene: Scene, parts: Parts, file_key: bytes) -> list[encoding.Json]:
    """An entry for the victim that holds another file key, under the context of this file."""
    info = encoding.framed(encoding.FILE_KEY, *context(parts.manifest))
    return [stanza.to_json() for stanza in wrap(file_key, [scene.recipient], info)]


@attack(TamperedError, BROKEN)
def test_an_auditor_without_a_key_is_shown_another_manifest(scene: Scene) -> None:
    """Shows a changed manifest to somebody who can verify and not open."""
    parts = Parts.of(scene.sealed(public={"rows": 100}))
    parts.manifest["public"]["rows"] = 1_000_000
    scene.path.write_bytes(parts.file())
    assert "does not verify" in inspect(scene.path).signature
    verify_file(scene.path, trusted=scene.alice.public)


@attack(TamperedError, "is not the one")
def test_an_auditor_without_a_key_is_shown_another_payload_header(scene: Scene) -> None:
    """Changes the payload's first bytes, which no segment digest covers, hoping that a file nobody can open verifies."""
    parts = Parts.of(scene.sealed())
    parts.floe_header = parts.floe_header[:-1] + bytes([parts.floe_header[-1] ^ 1])
    scene.path.write_bytes(parts.file())
    verify_file(scene.path, trusted=scene.alice.public)
