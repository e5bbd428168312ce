"""Why a party or a key holder refuses, beyond the refusals of `stfed.secagg.refusals`. What they say is safe to send back."""

from __future__ import annotations

from stfed.secagg.refusals import RefusedError


class WrongKeyError(RefusedError):
    """The coordinator names another key pair than the one that this side was given by its owner."""


class StatementError(RefusedError):
    """The statements do not belong to one sum, or not to the vectors beside them."""


class SpentError(RefusedError):
    """The key pair has decrypted as many sums as its noise is made for."""
