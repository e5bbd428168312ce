"""What people read to each other over the telephone: 80 bits of a key, in four groups of four letters and digits."""

from __future__ import annotations

import base64
import hashlib

_BYTES = 10
_GROUP = 4


def fingerprint(text: str) -> str:
    """The start of SHA-256 over `text`, a key as it is written (or any other ASCII text), in base 32: `abcd-efgh-ijkl-mnop`.

    80 bits: nobody finds a second key for a given fingerprint, but whoever makes both keys finds two that share one after 2^40 tries.
    Compare it with what the owner of the key says, and never use it as the key's name in anything that is signed.
    """
    return grouped(hashlib.sha256(text.encode("ascii")).digest())


def grouped(digest: bytes) -> str:
    """The first 80 bits of a digest in the same form."""
    letters = base64.b32encode(digest[:_BYTES]).decode("ascii").lower()
    return "-".join(letters[at : at + _GROUP] for at in range(0, len(letters), _GROUP))
