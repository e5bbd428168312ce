"""Attacks on conditions of use, and on whoever types a passphrase."""

import time
from datetime import UTC, datetime, timedelta

from stfed.crypto.labels import Label
from stfed.sealed import AccessDeniedError, MalformedError, Policy, TamperedError, UntrustedError, WrongPassphraseError
from tests.attacks.parts import Parts
from tests.attacks.scene import PLAIN, Scene, attack
from tests.sealed.material import seal_bytes
from tests.vectors.sealed_format.container import NO_POLICY
from tests.vectors.sealed_format.encoding import canonical, from_base64, to_base64

PAST, FUTURE = datetime(2001, 1, 1, tzinfo=UTC), datetime(2901, 1, 1, tzinfo=UTC)


@attack(AccessDeniedError, "may not be opened after 2001-01-01T00:00:00Z")
def test_an_expired_file(scene: Scene) -> None:
    """Holds a file whose time is over, and opens it with the library all the same."""
    scene.opens(scene.sealed(policy=Policy(not_after=PAST)))


@attack(AccessDeniedError, "may not be opened before 2901-01-01T00:00:00Z")
def test_a_file_before_its_time(scene: Scene) -> None:
    """Holds a file whose time has not come."""
    scene.opens(scene.sealed(policy=Policy(not_before=FUTURE)))


@attack(AccessDeniedError, "'marketing' is none of them")
def test_another_purpose(scene: Scene) -> None:
    """Uses a model that was given for evaluation for something else, and says so."""
    scene.opens(scene.sealed(policy=Policy(purposes="evaluation")), purpose="marketing")


@attack(AccessDeniedError, "no purpose was given")
def test_no_purpose(scene: Scene) -> None:
    """The same without saying what for."""
    scene.opens(scene.sealed(policy=Policy(purposes="evaluation")))


@attack(TamperedError, "the signature of")
def test_the_policy_edited(scene: Scene) -> None:
    """Edits the end of the window in the envelope, which is plain text."""
    parts = Parts.of(scene.sealed(policy=Policy(not_after=PAST)))
    parts.manifest["policy"]["not_after"] = "2901-01-01T00:00:00Z"
    scene.opens(parts.file())


@attack(TamperedError, "the signature of")
def test_the_policy_edited_where_nobody_is_trusted(scene: Scene) -> None:
    """The same against a reader who asks for nobody's signature: one that is there is checked."""
    parts = Parts.of(scene.sealed(policy=Policy(not_after=PAST)))
    parts.manifest["policy"] = NO_POLICY
    scene.opens(parts.file(), trusted=None)


@attack(TamperedError, "does not open")
def test_a_stanza_under_a_laxer_policy(scene: Scene) -> None:
    """Signs the edited policy with a key of their own; nobody is trusted in particular, but the key was wrapped under the true policy."""
    parts = Parts.of(scene.sealed(policy=Policy(not_after=PAST)))
    parts.manifest.update(policy=NO_POLICY, signers=[str(scene.mallory_signer.public)])
    parts.envelope["signatures"] = [to_base64(scene.mallory_signer.sign(Label.SEALED_SIGNATURE, canonical(parts.manifest)))]
    scene.opens(parts.file(), trusted=None)


@attack(UntrustedError, "the file is not signed")
def test_the_policy_dropped_with_the_signature(scene: Scene) -> None:
    """A recipient seals the content again, without policy and signature, to others who expect both."""
    scene.opens(seal_bytes(PLAIN, scene.recipient))


@attack(MalformedError, "belong to a signed file")
def test_a_policy_that_nobody_signed(scene: Scene) -> None:
    """Writes a policy that makes them an owner into an unsigned file."""
    parts = Parts.of(scene.unsigned())
    parts.manifest["policy"]["owners"] = [str(scene.mallory_signer.public)]
    scene.opens(parts.file(), trusted=None)


def bomb(scene: Scene, field: int, value: int) -> None:
    """Opens a file under a passphrase whose cost was set to something; it must be refused at once."""
    parts = Parts.of(seal_bytes(PLAIN, passphrase="open sesame"))
    stanza = parts.envelope["recipients"][0]
    body = bytearray(from_base64(stanza["body"]))
    body[4 * field : 4 * field + 4] = value.to_bytes(4, "big")
    stanza["body"] = to_base64(bytes(body))
    start = time.monotonic()
    try:
        scene.opens(parts.rehash().file(), identity=None, trusted=None, passphrase="open sesame")
    finally:
        assert timedelta(seconds=time.monotonic() - start) < timedelta(seconds=2), "the cost was spent"


@attack(MalformedError, "a passphrase is not stretched with")
def test_argon2id_with_four_terabytes(scene: Scene) -> None:
    """Claims a memory cost of 4 TiB, hoping that the victim's machine tries."""
    bomb(scene, 0, (1 << 32) - 1)


@attack(MalformedError, "a passphrase is not stretched with")
def test_argon2id_with_four_billion_passes(scene: Scene) -> None:
    """Claims 2^32 - 1 passes, hoping for a process that never ends."""
    bomb(scene, 1, (1 << 32) - 1)


@attack(MalformedError, "a passphrase is not stretched with")
def test_argon2id_without_cost(scene: Scene) -> None:
    """Sets memory to nothing, hoping that the passphrase is used at a cost that makes guessing cheap."""
    bomb(scene, 0, 0)


@attack(WrongPassphraseError, "the passphrase does not open the file")
def test_a_guessed_passphrase(scene: Scene) -> None:
    """Guesses."""
    scene.opens(seal_bytes(PLAIN, passphrase="open sesame"), identity=None, trusted=None, passphrase="open barley")


@attack(MalformedError, "mixes kinds of recipients")
def test_a_passphrase_beside_a_key(scene: Scene) -> None:
    """Adds a weak passphrase to a file for keys, hoping to make it the way in."""
    parts = Parts.of(scene.unsigned())
    parts.envelope["recipients"] += Parts.of(seal_bytes(PLAIN, passphrase="open sesame")).envelope["recipients"]
    scene.opens(parts.rehash().file(), trusted=None)
