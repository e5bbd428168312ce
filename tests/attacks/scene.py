"""Who there is, and what happens when the victim opens what the attacker made.

alice      signs; the victim trusts her key
victim     opens, in every way that the library has, into a place where something is already
mallory    one of the recipients in some attacks, a stranger in others; has a signing key of their own
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from stfed.errors import SealError, StfedError
from stfed.keys.signing import SigningKey
from stfed.sealed import inspect, open_file
from stfed.sealed.numpy import load, safe_open
from tests.sealed.material import Script, keypair, seal_bytes

BEFORE = b"what was there before"
TENSORS: dict[str, np.ndarray[Any, Any]] = {
    "embedding": np.arange(3000, dtype=np.float32).reshape(60, 50),
    "head": np.linspace(-1, 1, 512, dtype=np.float32),
    "steps": np.array(7, dtype=np.int64),
}
PLAIN = safetensors.numpy.save(TENSORS)


class Scene:
    """A folder with nothing in it but what the attack puts there.

    Args:
        folder: empty.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path, self.out, self.pins = folder / "model.safetensors", folder / "opened", folder / "private" / "pins"
        self.pins.parent.mkdir(exist_ok=True)
        self.identity, self.recipient = keypair("victim")
        self.mallory, self.mallory_recipient = keypair("mallory")
        self.friend, self.friend_recipient = keypair("mallory's friend")
        self.alice, self.mallory_signer = (SigningKey.generate(entropy=Script(name)) for name in ("alice", "mallory signs"))

    def sealed(self, plain: bytes = PLAIN, *, shared: bool = False, **options: Any) -> bytes:
        """An honest file by alice for the victim, and if `shared` for mallory as well."""
        to = [self.recipient, *([self.mallory_recipient] if shared else [])]
        return seal_bytes(plain, *to, **{"signer": self.alice, **options})

    def unsigned(self, plain: bytes = PLAIN, **options: Any) -> bytes:
        """An honest file for the victim by nobody in particular."""
        return seal_bytes(plain, self.recipient, **options)

    def opens(self, data: bytes | None = None, **options: Any) -> None:
        """The victim opens the file in every way. Raises what they see if they are refused; nothing of theirs may have changed then.

        Args:
            data: the file; None if it lies there already.
            options: beyond their key and `trusted=alice`; a None takes that away.
        """
        given = {"identity": self.identity, "trusted": self.alice.public, **options}
        options = {name: value for name, value in given.items() if value is not None}
        if data is not None:
            self.path.write_bytes(data)
        self.out.write_bytes(BEFORE)
        there = set(self.folder.iterdir())
        self._lazily(options)
        seen = [refusal(lambda: open_file(self.path, self.out, **options)), refusal(lambda: load(self.path.read_bytes(), **options))]
        assert set(self.folder.iterdir()) == there, "something was written beside the target"
        if seen[0] is None:
            assert seen[1] is None
            assert self.out.read_bytes() == PLAIN, "another content was released"
            return
        assert type(seen[1]) is type(seen[0]), "two ways to open disagree"
        assert self.out.read_bytes() == BEFORE, "the target was touched"
        raise seen[0]

    def uses(self, data: bytes | None = None, **options: Any) -> None:
        """As `opens`, where there is nothing to refuse."""
        error = refusal(lambda: self.opens(data, **options))
        assert error is None, f"an honest file was refused: {error}"

    def _lazily(self, options: dict[str, Any]) -> None:
        """Tensor by tensor: a true one or none."""
        try:
            file = safe_open(self.path, **options)
        except StfedError:
            return
        with file:
            for name in file.offset_keys():
                try:
                    tensor = file.get_tensor(name)
                except SealError:
                    continue
                np.testing.assert_array_equal(tensor, TENSORS[name], "a wrong tensor was released")

    def looks(self, data: bytes) -> str:
        """What the victim sees of a file before opening it."""
        self.path.write_bytes(data)
        return inspect(self.path).table()


def refusal(act: Callable[[], object]) -> StfedError | None:
    """The error of ours that it ends with. Any other is a bug, and goes through."""
    try:
        act()
    except StfedError as error:
        return error
    return None


@dataclass(frozen=True)
class Attack:
    """One of them.

    Attributes:
        name: what is tried.
        act: the script; ends with the victim's refusal, or having shown that nothing came of it.
        expect: class of the refusal; None where there is nothing to refuse and nothing must come of it.
        says: part of its text.
    """

    name: str
    act: Callable[[Scene], None]
    expect: type[StfedError] | None
    says: str

    def run(self, folder: Path) -> str:
        """How it failed; AssertionError if it did not."""
        error = refusal(lambda: self.act(Scene(folder)))
        if self.expect is None:
            assert error is None, f"refused with {error}"
            return "nothing comes of it"
        assert error is not None, "not refused"
        assert type(error) is self.expect, f"refused with {type(error).__name__}: {error}"
        assert self.says in str(error), str(error)
        return f"{type(error).__name__}: {error.message.removeprefix(f'{folder}/model.safetensors: ').replace(f'{folder}/', '')}"


ATTACKS: list[Attack] = []


def attack(expect: type[StfedError] | None, says: str = "") -> Callable[[Callable[[Scene], None]], Callable[[Path], None]]:
    """Makes a test, and an entry of `ATTACKS`, of a script."""

    def register(act: Callable[[Scene], None]) -> Callable[[Path], None]:
        assert act.__doc__, f"{act.__name__} does not say who wants what"
        entry = Attack(act.__name__.removeprefix("test_").replace("_", " "), act, expect, says)
        ATTACKS.append(entry)

        def test(tmp_path: Path) -> None:
            entry.run(tmp_path)

        test.__name__, test.__doc__, test.__module__ = act.__name__, act.__doc__, act.__module__
        return test

    return register
