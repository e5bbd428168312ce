"""Why a party refuses: one error for each rule that `docs/protocol.md` marks, so that each has its own text and its own test.

All of them are `PeerError`s: the coordinator asked for something that the protocol forbids, and the party answered with nothing.
What a refusal says is safe to send back: it names the rule, numbers and public names, never a key, share or value.
"""

from __future__ import annotations

from typing import ClassVar

from stfed.errors import PeerError
from stfed.secagg.messages import Delivery, Grievance


class RefusedError(PeerError):
    """The base of all refusals of a party."""


class ModeError(RefusedError):
    """The coordinator runs another security mode than this party's policy."""


class EpochError(RefusedError):
    """A JOIN for a run and epoch that this party has joined already, or an older one."""


class DirectoryError(RefusedError):
    """The directory of JOINs is not one: unsorted, doubled, of another run, or without this party's own JOIN."""


class DuplicateKeyError(DirectoryError):
    """Two entries of the directory have the same public key."""


class WeakKeyError(DirectoryError):
    """An entry of the directory has a low-order public key (RFC 7748, section 6.1)."""


class UnsignedJoinError(DirectoryError):
    """A JOIN is not signed by the identity it names."""


class UnknownIdentityError(DirectoryError):
    """An identity is not on this party's roster, or is there in another role."""


class ExpiredIdentityError(DirectoryError):
    """An identity is on the roster, but not at this time: not yet, no longer, or replaced by another key."""


class RevokedIdentityError(DirectoryError):
    """An identity is revoked on this party's roster."""


class DuplicateMemberError(DirectoryError):
    """Two identities of the directory belong to one member of the roster."""


class UnknownPartyError(RefusedError):
    """A set of parties has a member that it must not have."""


class NotAMemberError(RefusedError):
    """This party is not in the set it is asked to work with."""


class CohortTooSmallError(RefusedError):
    """The cohort, U1 or U2 is smaller than this party's minimum."""


class ParametersError(RefusedError):
    """(n, k, t) do not meet this party's security level."""


class PlanError(RefusedError):
    """The encoding plan asks for what this party's policy does not allow."""


class ConfigError(RefusedError):
    """The train or evaluate function would be told something that this party's policy does not allow."""


class RoundOrderError(RefusedError):
    """A round number that was used before, is older than one used before, skips too far, or is over this party's limit."""


class WrongStepError(RefusedError):
    """A message that does not belong to the state this party is in: PREPARE, TRAIN, CONFIRM and UNMASK happen once per round."""


class WrongRoundError(WrongStepError):
    """A message of another run, epoch, round or suite than the one in progress."""


class ContentReuseError(RefusedError):
    """The same model and config twice in one phase: the difference of two such sums is the input of whoever left between them."""


class ShareHoldersError(RefusedError):
    """Fewer than t of this party's share-holders are in U1."""


class DealerError(RefusedError):
    """A dealer named in TRAIN is not in U1 or is this party itself, or dealers are named where the graph says who they are."""


class ShareError(RefusedError):
    """What came as a neighbour's shares is none.

    Attributes:
        dealer: the neighbour's directory index.
        complaint: in malicious mode the signed `Complaint` as bytes, for the coordinator; set by `Party`.
    """

    grievance: ClassVar[Grievance]

    def __init__(self, message: str, *, dealer: int, delivery: Delivery, party: str) -> None:
        super().__init__(message, party=party)
        self.dealer: int = dealer
        self.delivery: Delivery = delivery
        self.complaint: bytes | None = None


class ShareUnreadableError(ShareError):
    """The shares of a neighbour in U1 do not open, so nothing proves that it takes part in this round."""

    grievance = Grievance.UNREADABLE


class ShareFieldError(ShareError):
    """A neighbour's share is not in the field."""

    grievance = Grievance.OUT_OF_FIELD


class ShareMismatchError(ShareError):
    """A neighbour's share is not the one whose hash it published."""

    grievance = Grievance.MISMATCH


class SurvivorsError(RefusedError):
    """U2 is no subset of the U1 that this party trained with, or this party is not in it."""


class OtherSurvivorsError(SurvivorsError):
    """UNMASK is for another U2 than the one that this party signed."""


class ConfirmationError(RefusedError):
    """A confirmation in UNMASK is no signature of its member over this round, this transcript and this U2."""


class DuplicateConfirmationError(ConfirmationError):
    """A member of U2 is named twice among the confirmations, or they are out of order."""


class StrangeConfirmationError(ConfirmationError):
    """Somebody confirms who is not in U2."""


class ConfirmationQuorumError(ConfirmationError):
    """Too few members of U2 confirm: another set could have as many signatures."""


class StateLostError(RefusedError):
    """This party's secrets for the run are gone, unreadable or older than they should be; it has to join again in a new epoch."""
