"""Why a sealed file was refused, told apart as far as a caller can act on it; with `stfed.errors.MalformedError` these are all the ways.

All are `SealError` but the last, which is the caller's own mistake. Only `NotARecipientError` may be answered by trying another key: age's
rule, so that no other failure can be used to probe which key somebody holds.
"""

from __future__ import annotations

from safetensors import SafetensorError

from stfed.errors import LocalError, SealError


class UnsupportedError(SealError):
    """Well-formed, but made with a version, suite or field that this release does not know and must not skip."""


class TamperedError(SealError):
    """Something authenticated does not verify: the bytes changed after sealing. Nothing of them was released."""


class NotARecipientError(SealError):
    """The file is sealed to others: none of the identities given is among its recipients."""


class WrongPassphraseError(NotARecipientError):
    """The passphrase is another one than the file was sealed under, as the commitment beside it tells."""


class UntrustedError(SealError):
    """Nobody whom the reader trusts signed the file: it is unsigned, or signed by others only."""


class RollbackError(SealError):
    """The file is older than what the reader has seen, or asks for, or contradicts it."""


class AccessDeniedError(SealError):
    """A rule about who may do what, when and for what, was not met.

    Attributes:
        rule: which one: "owners", "not-before", "not-after", "purpose", "file-id", "model"; a key service adds its own.
    """

    def __init__(self, message: str, *, rule: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.rule = rule


class TensorError(LocalError, SafetensorError):
    """The tensor asked for or handed in does not suit, in the cases where safetensors raises `SafetensorError`."""
