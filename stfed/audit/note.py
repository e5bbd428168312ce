"""Signed notes (c2sp.org/signed-note): a text, a blank line, and one line for each signature. Read and written here, not yet believed.

    <text, one or more lines>

    — <key name> <base64 of the 4-byte key id and the signature>

`Note.parse` accepts exactly what `str` of a note gives, so the text that is verified is the text that was sent. Whose signatures count is
the business of `stfed.audit.signatures`.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Self

from stfed.errors import LocalError, MalformedError, shown

KEY_ID_BYTES = 4
MAX_NOTE_BYTES = 1 << 20
MAX_SIGNATURES = 100
MAX_NAME_BYTES = 255

_DASH = "— "
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f]")
_DECIMAL = re.compile("0|[1-9][0-9]{0,18}")


def check_name(name: str, what: str) -> None:
    """Refuses, with LocalError, a name that no note can carry: empty, over 255 bytes, or with a space, a plus or a control character."""
    if not name or not name.isprintable() or any(letter == "+" or letter.isspace() for letter in name):
        raise LocalError(f"{what} {shown(name)} must be printable characters without spaces and plus signs")
    if len(name.encode()) > MAX_NAME_BYTES:
        raise LocalError(f"{what} {shown(name)} is longer than {MAX_NAME_BYTES} bytes")


def base64_text(data: bytes) -> str:
    """Standard base64 with padding (RFC 4648, section 4)."""
    return base64.b64encode(data).decode("ascii")


def base64_bytes(text: str, what: str) -> bytes:
    """Reads what `base64_text` wrote; MalformedError for anything else, loose padding bits among it."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        data = b""
    if base64_text(data) != text or not text:
        raise MalformedError(f"{what} is not base64")
    return data


def decimal(text: str, what: str) -> int:
    """Reads an ASCII decimal below 2^63 without leading zeros; MalformedError for anything else."""
    if not _DECIMAL.fullmatch(text) or int(text) >= 1 << 63:
        raise MalformedError(f"{what} {shown(text)} is not a plain decimal number below 2^63")
    return int(text)


def decoded(data: str | bytes, what: str) -> str:
    """`data` as text; MalformedError if it is too long, not UTF-8, or has control characters other than newlines."""
    try:
        size_bytes = len(data if isinstance(data, bytes) else data.encode())
        text = data.decode() if isinstance(data, bytes) else data
    except UnicodeError:
        raise MalformedError(f"{what} is not UTF-8") from None
    if size_bytes > MAX_NOTE_BYTES:
        raise MalformedError(f"{what} is longer than {MAX_NOTE_BYTES} bytes")
    if _CONTROL.search(text):
        raise MalformedError(f"{what} has control characters")
    return text


@dataclass(frozen=True)
class Signature:
    """One signature line. Attributes: the key's name, its 4-byte id, and the signature's own bytes."""

    name: str
    key_id: bytes
    body: bytes

    @classmethod
    def parse(cls, line: str) -> Self:
        """Reads one line, without its newline; MalformedError if it is none."""
        name, _, signature = line.removeprefix(_DASH).partition(" ")
        if not line.startswith(_DASH) or not name or "+" in name or any(letter.isspace() for letter in name):
            raise MalformedError(f"{shown(line)} is no signature line of a note")
        data = base64_bytes(signature, "a signature of the note")
        if len(data) <= KEY_ID_BYTES:
            raise MalformedError("a signature of the note is cut off")
        return cls(name, data[:KEY_ID_BYTES], data[KEY_ID_BYTES:])

    def __str__(self) -> str:
        return f"{_DASH}{self.name} {base64_text(self.key_id + self.body)}"


@dataclass(frozen=True)
class Note:
    """A text that ends in a newline, and who says so."""

    text: str
    signatures: tuple[Signature, ...]

    @classmethod
    def parse(cls, data: str | bytes) -> Self:
        """Reads a note; the last blank line ends the text.

        Raises:
            MalformedError: if it is no note, or has no signature, or more than 100.
        """
        text, blank, lines = decoded(data, "the note").rpartition("\n\n")
        if not text or not blank or not lines.endswith("\n"):
            raise MalformedError("this is no signed note: a text, a blank line, signature lines")
        signatures = tuple(map(Signature.parse, lines[:-1].split("\n")))
        if len(signatures) > MAX_SIGNATURES:
            raise MalformedError(f"the note has more than {MAX_SIGNATURES} signatures")
        return cls(text + "\n", signatures)

    def signed(self, *signatures: Signature) -> Self:
        """This note with more signatures, none of them twice."""
        return type(self)(self.text, tuple(dict.fromkeys((*self.signatures, *signatures))))

    def __str__(self) -> str:
        return self.text + "\n" + "".join(f"{signature}\n" for signature in self.signatures)
