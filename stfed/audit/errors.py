"""What can be wrong with a log that somebody else keeps. Local trouble (a locked file, a full disk) is a `LocalError`."""

from __future__ import annotations

from stfed.errors import PeerError


class ProofError(PeerError):
    """A proof does not lead from what it starts with to the root that the checkpoint names."""


class UntrustedError(PeerError):
    """A note carries no signature, or too few cosignatures, by the keys that the caller trusts."""


class ForkError(PeerError):
    """One log has signed two histories. The two checkpoints are the evidence: anybody with the log's key can check them.

    Attributes:
        first: the text of one signed checkpoint.
        second: the text of the other, of the same log and size with another root.
    """

    def __init__(self, message: str, *, first: str, second: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.first: str = first
        self.second: str = second


class TamperedLogError(PeerError):
    """A log is not what was appended to it.

    Attributes:
        index: the first entry that is known to be wrong, or the first of those among which the wrong one is; None if no entry is.
    """

    def __init__(self, message: str, *, index: int | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.index = index
