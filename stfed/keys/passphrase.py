"""A key from a passphrase: Argon2id (RFC 9106, version 0x13), at a cost that is written beside the salt and bounded on both sides.

The cost is what stands between a stolen file and a list of common passphrases, so what is written anew costs at least `RECOMMENDED`. The
cost in a file that somebody else wrote is theirs to choose, so a `Cost` over the ceiling cannot even be made: no memory is spent on it.

A passphrase is prepared as RFC 8265 says for OpaqueString: every kind of space becomes the ASCII one, then NFC, then UTF-8. The same words
typed on two systems give the same key; upper and lower case, and spaces at the ends, count.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from stfed.errors import LocalError, MalformedError

KEY_BYTES = 32
SALT_BYTES = 16  # RFC 9106, section 3.1: "16 bytes is RECOMMENDED for password hashing"

MAX_MEMORY_KIB = 1 << 20  # 1 GiB; with 16 passes some ten seconds on one core, which is what a stranger's file may cost us at most
MAX_ITERATIONS = 16
MAX_LANES = 16
_MIN_MEMORY_PER_LANE_KIB = 8  # RFC 9106, section 3.1

_TEXT = re.compile(r"m=([1-9][0-9]{0,9}),t=([1-9][0-9]{0,9}),p=([1-9][0-9]{0,9})", re.ASCII)

Passphrase = str | Callable[[], str]
"""The passphrase, or what asks for it; it is only asked where one is needed."""


class PassphraseError(LocalError):
    """This passphrase does not open what it was given for, or is none."""


@dataclass(frozen=True)
class Cost:
    """What one guess costs. Written as the PHC string format writes it: `m=65536,t=3,p=4`.

    Attributes:
        memory_kib: memory, in units of 1024 bytes; at most 1 GiB.
        iterations: passes over that memory; at most 16.
        lanes: how many of them could be filled at the same time; at most 16.

    Raises:
        MalformedError: out of bounds, on being made.
    """

    memory_kib: int
    iterations: int
    lanes: int

    def __post_init__(self) -> None:
        for value, name, low, high in (
            (self.lanes, "lanes", 1, MAX_LANES),
            (self.iterations, "passes", 1, MAX_ITERATIONS),
            (self.memory_kib, "KiB of memory", _MIN_MEMORY_PER_LANE_KIB * self.lanes, MAX_MEMORY_KIB),
        ):
            if not low <= value <= high:
                raise MalformedError(f"a passphrase is not stretched with {value} {name}", hint=f"between {low} and {high} is possible")

    @classmethod
    def from_string(cls, text: str) -> Self:
        """Reads what `str` writes, and nothing else; MalformedError for a cost out of bounds, before any of it is spent."""
        match = _TEXT.fullmatch(text)
        if match is None:
            raise MalformedError("this is no Argon2id cost", hint=f"it reads like {RECOMMENDED}")
        memory_kib, iterations, lanes = map(int, match.groups())
        return cls(memory_kib, iterations, lanes)

    def check_floor(self) -> None:
        """For writers: LocalError if this is cheaper than `RECOMMENDED` in memory or in passes."""
        if self.memory_kib < RECOMMENDED.memory_kib or self.iterations < RECOMMENDED.iterations:
            raise LocalError(f"an Argon2id cost of {self} is too cheap to protect a passphrase", hint=f"use {RECOMMENDED} or more")

    def __str__(self) -> str:
        return f"m={self.memory_kib},t={self.iterations},p={self.lanes}"


RECOMMENDED = Cost(64 << 10, 3, 4)
"""RFC 9106, section 4, the second choice: 64 MiB, 3 passes, 4 lanes."""


def prepared(passphrase: str) -> bytes:
    """The passphrase as the bytes that are hashed (RFC 8265, section 4.2).

    Raises:
        PassphraseError: it is empty, or holds a control character, a lone surrogate or a code point that Unicode has not given out yet,
            whose normal form may change.
    """
    spaced = "".join(" " if unicodedata.category(letter) == "Zs" else letter for letter in passphrase)
    if not spaced:
        raise PassphraseError("the passphrase is empty")
    if any(unicodedata.category(letter) in ("Cc", "Cs", "Cn") for letter in spaced):
        raise PassphraseError("the passphrase has a character that is not text, such as a line break or a tab", hint="leave it out")
    return unicodedata.normalize("NFC", spaced).encode("utf-8")


def derive(passphrase: Passphrase, salt: bytes, cost: Cost) -> bytes:
    """The 32-byte key of a passphrase: Argon2id over the prepared text, without secret or associated data.

    Args:
        passphrase: the text, or what asks for it.
        salt: 16 random bytes, new for everything that is written.
        cost: within the ceilings; whoever writes calls `check_floor` first.

    Raises:
        PassphraseError: the passphrase is empty or not text.
        LocalError: the salt has another length, or the machine has not enough memory.
    """
    if len(salt) != SALT_BYTES:
        raise LocalError(f"a salt has {SALT_BYTES} bytes, not {len(salt)}")
    text = prepared(passphrase if isinstance(passphrase, str) else passphrase())
    try:
        return Argon2id(salt=salt, length=KEY_BYTES, iterations=cost.iterations, lanes=cost.lanes, memory_cost=cost.memory_kib).derive(text)
    except MemoryError:
        raise LocalError(f"there is not enough memory for the Argon2id cost {cost}", hint="try on a machine with more") from None
