"""Attacks on the file system around: where plaintext is written, and what is read. The attacker can put things into the folder."""

import os
from pathlib import Path

import numpy as np
import safetensors.numpy

from stfed.errors import LocalError
from stfed.sealed import TamperedError, open_file, seal_file
from stfed.sealed.numpy import load, save_file
from tests.attacks.parts import Parts
from tests.attacks.scene import PLAIN, Scene, attack
from tests.sealed.material import seal_bytes


def opens_to(scene: Scene, out: Path) -> None:
    scene.path.write_bytes(scene.sealed())
    open_file(scene.path, out, identity=scene.identity, trusted=scene.alice.public)


@attack(LocalError, "is a symbolic link and is not replaced")
def test_a_link_for_a_target(scene: Scene) -> None:
    """Puts a link to a file of the victim's where the plain file is to go, hoping that the other file is overwritten."""
    precious = scene.folder / "precious"
    precious.write_bytes(b"precious")
    scene.out.symlink_to(precious)
    try:
        opens_to(scene, scene.out)
    finally:
        assert precious.read_bytes() == b"precious"
        assert scene.out.is_symlink()


@attack(LocalError, "is a symbolic link and is not replaced")
def test_a_dangling_link_for_a_target(scene: Scene) -> None:
    """The same with a link to nothing, hoping that a file appears where it points: in a shared folder, say."""
    elsewhere = scene.folder / "elsewhere"
    scene.out.symlink_to(elsewhere)
    try:
        opens_to(scene, scene.out)
    finally:
        assert not elsewhere.exists()


@attack(LocalError, "is a folder and is not replaced")
def test_a_folder_for_a_target(scene: Scene) -> None:
    """Puts a folder where the plain file is to go, hoping for a mess."""
    scene.out.mkdir()
    try:
        opens_to(scene, scene.out)
    finally:
        assert list(scene.out.iterdir()) == []


@attack(LocalError, "is not a plain file and is not replaced")
def test_a_pipe_for_a_target(scene: Scene) -> None:
    """Puts a pipe where the plain file is to go, hoping to read the model from its other end."""
    os.mkfifo(scene.out)
    opens_to(scene, scene.out)


@attack(LocalError, "is a symbolic link and is not replaced")
def test_a_link_for_a_sealed_target(scene: Scene) -> None:
    """The same where a sealed file is to be written."""
    precious = scene.folder / "precious"
    precious.write_bytes(b"precious")
    scene.out.symlink_to(precious)
    try:
        save_file({"a": np.zeros(3)}, scene.out, recipients=scene.recipient)
    finally:
        assert precious.read_bytes() == b"precious"


@attack(LocalError, "is input and output at once")
def test_the_sealed_file_for_a_target(scene: Scene) -> None:
    """Makes the victim open a file onto itself under another name, hoping that the only sealed copy is lost."""
    data = scene.sealed()
    scene.path.write_bytes(data)
    scene.out.hardlink_to(scene.path)
    try:
        open_file(scene.path, scene.out, identity=scene.identity)
    finally:
        assert scene.path.read_bytes() == data


@attack(LocalError, "is not a plain file")
def test_a_pipe_for_a_sealed_file(scene: Scene) -> None:
    """Puts a pipe where the sealed file should be, hoping that the victim waits for ever, or maps a file that never ends."""
    os.mkfifo(scene.path)
    open_file(scene.path, scene.out, identity=scene.identity)


@attack(LocalError, "is not a plain file")
def test_an_endless_device_for_a_sealed_file(scene: Scene) -> None:
    """Links the sealed file to /dev/zero, hoping that it is read to its end."""
    scene.path.symlink_to("/dev/zero")
    open_file(scene.path, scene.out, identity=scene.identity)


@attack(None)
def test_tensor_names_that_are_paths(scene: Scene) -> None:
    """Seals tensors called like files elsewhere, hoping that opening writes there as unpacking an archive does."""
    inside = scene.folder / "inside"
    inside.mkdir()
    names = [f"{scene.folder}/owned", "../owned", "a/../../owned", "/etc/passwd\0.txt"]
    plain = safetensors.numpy.save({name: np.zeros(2, np.float32) for name in names})
    sealed_path = inside / "model.safetensors"
    sealed_path.write_bytes(seal_bytes(plain, scene.recipient))
    assert sorted(load(sealed_path.read_bytes(), identity=scene.identity)) == sorted(names)
    open_file(sealed_path, inside / "opened", identity=scene.identity)
    assert sorted(path.name for path in scene.folder.rglob("*")) == ["inside", "model.safetensors", "opened", "private"]


@attack(None)
def test_a_loose_umask_and_a_watcher(scene: Scene) -> None:
    """Watches the folder as another user, hoping that plaintext can be read by all while it is written or afterwards."""
    before = os.umask(0)
    modes: list[int] = []
    try:
        scene.path.write_bytes(scene.sealed())
        open_file(
            scene.path, scene.out, identity=scene.identity,
            progress=lambda _: modes.extend(path.stat().st_mode & 0o777 for path in scene.folder.glob(".*.tmp")),
        )  # fmt: skip
    finally:
        os.umask(before)
    assert set(modes) == {0o600} == {scene.out.stat().st_mode & 0o777}


@attack(TamperedError, "segment 3 does not verify")
def test_a_damaged_end_leaves_the_beginning_there(scene: Scene) -> None:
    """Damages the last segment, hoping that the victim's disk keeps the unverified rest of the plaintext."""
    parts = Parts.of(scene.unsigned())
    parts.segments[-1] = parts.segments[-1][:-1] + bytes([parts.segments[-1][-1] ^ 1])
    scene.opens(parts.file(), trusted=None)


@attack(LocalError, "changed while it was being sealed")
def test_the_plain_file_changed_while_it_is_sealed(scene: Scene) -> None:
    """Writes into the plain file while it is sealed, hoping for a signed file whose content nobody ever looked at as a whole."""
    plain = scene.folder / "plain"
    plain.write_bytes(PLAIN)

    def change(_done: int) -> None:
        with plain.open("r+b") as file:
            file.seek(-4, os.SEEK_END)
            file.write(b"evil")
        os.utime(plain, ns=(1, 1))

    try:
        seal_file(plain, scene.out, recipients=scene.recipient, signer=scene.alice, progress=change)
    finally:
        assert not scene.out.exists()
