"""What can go wrong between a reader and a key service. Refusals by a rule are `stfed.sealed.AccessDeniedError`, with the rule's name."""

from __future__ import annotations

from stfed.errors import SealError


class KeyServiceError(SealError):
    """The key service cannot be reached, is not the one that was asked for, or answers what no service of ours answers."""
