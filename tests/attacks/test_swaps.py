"""True files in the wrong place, and true signatures under the wrong thing: what storage can do to those who grant, revoke and pin."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

from stfed.errors import LocalError
from stfed.files import File, opened
from stfed.keys.member import Member
from stfed.keys.roster import Roster
from stfed.keys.signing import SigningKey
from stfed.sealed import (
    AccessDeniedError,
    NotARecipientError,
    Policy,
    RollbackError,
    TamperedError,
    UntrustedError,
    grant,
    granting,
    reseal,
    resealing,
    revoke,
    verify_file,
)
from stfed.sealed.numpy import load_file
from stfed.sealed.outside import read_outside
from stfed.sealed.recipients import wrap
from stfed.sealed.unwrapping import obtain
from tests.attacks.parts import Parts
from tests.attacks.scene import Scene, attack
from tests.attacks.test_grants import forged_grant


def put(scene: Scene, data: bytes) -> Path:
    scene.path.write_bytes(data)
    return scene.path


def owner(scene: Scene) -> dict[str, Any]:
    return {"signer": scene.alice, "identity": scene.identity}


@attack(UntrustedError, "not signed")
def test_a_strangers_file_is_there_when_alice_revokes(scene: Scene) -> None:
    """Mallory, who knows public keys only, puts a file of their own in the place of alice's; her next revoke would sign it for her."""
    before = put(scene, scene.unsigned()).read_bytes()
    try:
        revoke(scene.path, revoked=scene.recipient, known=[], **owner(scene))
    finally:
        assert scene.path.read_bytes() == before


@attack(UntrustedError, "is not among the trusted keys")
def test_a_file_signed_by_mallory_is_there_when_alice_reseals(scene: Scene) -> None:
    """The same with mallory's own signature."""
    put(scene, scene.sealed(signer=scene.mallory_signer))
    reseal(scene.path, recipients=scene.recipient, **owner(scene))


@attack(AccessDeniedError, "another one is meant")
def test_another_file_of_alices_is_there_when_she_grants(scene: Scene) -> None:
    """Mallory is to be given file F, and puts G, which nobody gave them, under F's name."""
    wanted = Parts.of(scene.sealed()).manifest["file_id"]
    before = put(scene, scene.sealed()).read_bytes()
    try:
        grant(scene.path, recipients=scene.mallory_recipient, file_id=wanted, **owner(scene))
    finally:
        assert scene.path.read_bytes() == before


@attack(AccessDeniedError, "is of the model 'other'")
def test_another_model_of_alices_is_there_when_she_grants(scene: Scene) -> None:
    """The same, told by the model; stated for recipients only."""
    put(scene, scene.sealed(provenance={"model": "other", "sequence": 1}))
    grant(scene.path, recipients=scene.mallory_recipient, model_id="heart", **owner(scene))


@attack(RollbackError, "is older than")
def test_an_older_round_is_there_when_alice_grants(scene: Scene) -> None:
    """Granting looks at the pins that opening looks at."""
    old = scene.sealed(provenance={"model": "m", "sequence": 1})
    scene.uses(scene.sealed(provenance={"model": "m", "sequence": 2}), pins=scene.pins)
    put(scene, old)
    grant(scene.path, recipients=scene.mallory_recipient, pins=scene.pins, trusted=scene.alice.public, **owner(scene))


@attack(AccessDeniedError, "is of the model 'toy'")
def test_another_model_of_the_same_signer(scene: Scene) -> None:
    """Offers a toy that alice signed in the place of the model; its round is a new one to the pins."""
    scene.uses(scene.sealed(provenance={"model": "m", "sequence": 4}), pins=scene.pins, model_id="m")
    scene.opens(scene.sealed(provenance={"model": "toy", "sequence": 9}), pins=scene.pins, model_id="m")


@attack(RollbackError, "is older than")
def test_an_older_round_with_its_signatures_in_another_order(scene: Scene) -> None:
    """Both of two trusted people signed each round; the order in the file is the file's."""
    bob, stated = scene.mallory_signer, {"model": "m"}
    trusted = [scene.alice.public, bob.public]
    old = scene.sealed(provenance={**stated, "sequence": 1}, signer=[bob, scene.alice])
    scene.uses(scene.sealed(provenance={**stated, "sequence": 2}, signer=[scene.alice, bob]), pins=scene.pins, trusted=trusted)
    scene.opens(old, pins=scene.pins, trusted=trusted)


@attack(RollbackError, "is older than")
def test_the_file_from_before_a_colleague_revoked(scene: Scene) -> None:
    """A colleague, trusted too, seals the model anew without mallory; storage puts the old file back."""
    bob = SigningKey.generate()
    trusted = [scene.alice.public, bob.public]
    old = scene.sealed(provenance={"model": "m", "sequence": 1})
    put(scene, old)
    reseal(scene.path, recipients=scene.recipient, signer=bob, identity=scene.identity, trusted=trusted)
    scene.uses(scene.path.read_bytes(), pins=scene.pins, trusted=trusted)
    scene.opens(old, pins=scene.pins, trusted=trusted)


def lying_grant(scene: Scene, named: Any, holds: Any, *, tag: Any = None) -> bytes:
    """By bob, an owner: the chain says `named`, the stanza is for `holds` and marked for `tag`."""
    bob = scene.mallory_signer
    parts = Parts.of(scene.sealed(policy=Policy(owners=bob.public)))
    path = put(scene, parts.file())
    key = granting_key(scene, path)
    (stanza,) = wrap(key, [holds], parts_context(path))
    entry = stanza.to_json()
    if tag is not None:
        entry["tag"] = wrap(key, [tag], parts_context(path))[0].to_json()["tag"]
    return forged_grant(parts, entry, named, bob, bob).file()


def granting_key(scene: Scene, path: Path) -> bytes:
    """The file key, which an owner who can open the file knows."""
    with opened(path) as descriptor:
        return obtain(read_outside(File(descriptor)).envelope, [scene.identity], None, None, None)[0]


def parts_context(path: Path) -> bytes:
    with opened(path) as descriptor:
        return read_outside(File(descriptor)).envelope.manifest.context.key_info


@attack(NotARecipientError, "not to")
def test_a_grant_that_names_somebody_else(scene: Scene) -> None:
    """An owner gives mallory the stanza and writes a friend's name into the signed grant, so that the log names the friend."""
    put(scene, lying_grant(scene, scene.friend_recipient, scene.mallory_recipient))
    load_file(scene.path, identity=scene.mallory, trusted=scene.alice.public)


@attack(TamperedError, "hold nothing for it")
def test_a_grant_that_holds_nothing_for_whom_it_names(scene: Scene) -> None:
    """An owner lets a grant name the friend and holds mallory's stanza under the friend's mark."""
    put(scene, lying_grant(scene, scene.friend_recipient, scene.mallory_recipient, tag=scene.friend_recipient))
    try:
        load_file(scene.path, identity=scene.friend, trusted=scene.alice.public)
    finally:  # and alice's own grant still helps
        assert grant(scene.path, recipients=scene.friend_recipient, **owner(scene)) == (scene.friend_recipient,)
        load_file(scene.path, identity=scene.friend, trusted=scene.alice.public)


@attack(UntrustedError, "it was replaced on")
def test_a_retired_owner_dates_a_grant_back(scene: Scene) -> None:
    """Bob's key was rotated out of the roster long ago; he grants today and writes a date from before."""
    bob = scene.mallory_signer
    path = put(scene, scene.sealed(policy=Policy(owners=bob.public)))
    long_ago = datetime.now(UTC) - timedelta(days=200)
    grant(path, recipients=scene.mallory_recipient, signer=bob, identity=scene.identity, clock=lambda: long_ago)
    roster = Roster("study", ()).add(Member("bob", roles=frozenset({"owner"}), signing=bob.public))
    roster = roster.add(Member("alice", roles=frozenset({"owner"}), signing=scene.alice.public))
    roster = roster.rotate("bob", signing=SigningKey.generate().public, at=datetime.now(UTC) - timedelta(days=100))
    load_file(path, identity=scene.mallory, trusted=roster)


@attack(LocalError, "was replaced by another file")
def test_a_file_is_renamed_over_while_alice_grants(scene: Scene) -> None:
    """Her grant would go to a file that has no name any more, and she would be told that it was given."""
    path, other = put(scene, scene.sealed()), scene.folder / "private" / "other"
    other.write_bytes(scene.sealed())
    write = granting._write

    def then_renamed(*arguments: Any) -> None:
        write(*arguments)
        other.replace(path)

    with mock.patch.object(granting, "_write", then_renamed):
        grant(path, recipients=scene.mallory_recipient, **owner(scene))


@attack(LocalError, "was replaced by another file")
def test_a_grant_waits_for_a_reseal_in_place_and_then_sees_the_new_file(scene: Scene) -> None:
    """Two owners at once: the grant that waited must not go to the old file."""
    path = put(scene, scene.sealed())
    started, seen = threading.Event(), []
    anew = resealing._anew

    def slowly(*arguments: Any) -> Any:
        waiting.start()
        started.wait(10)
        waiting.join(0.2)
        assert waiting.is_alive(), "the grant did not wait"
        return anew(*arguments)

    def granter() -> None:
        started.set()
        try:
            grant(path, recipients=scene.friend_recipient, **owner(scene))
        except LocalError as error:
            seen.append(error)

    waiting = threading.Thread(target=granter)
    with mock.patch.object(resealing, "_anew", slowly):
        reseal(path, recipients=scene.recipient, **owner(scene))
    waiting.join(10)
    assert verify_file(path, trusted=scene.alice.public).generation == 1
    raise seen[0]
