"""Why a party refuses: one error for each rule that `protocol.md` marks, so that each has its own text and its own test.

All of them are `PeerError`s: the coordinator asked for something that the protocol forbids, and the party answered with nothing.
What a refusal says is safe to send back: it names the rule, numbers and public names, never a key, share or value.
"""

from __future__ import annotations

from stfed.errors import PeerError


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


class RoundOrderError(RefusedError):
    """A round number that was used before, is older than one used before, or skips too far."""


class WrongStepError(RefusedError):
    """A message that does not belong to the state this party is in: PREPARE, TRAIN, CONFIRM and UNMASK happen once per round."""


class WrongRoundError(WrongStepError):
    """A message of another run, epoch, round or suite than the one in progress."""


class ContentReuseError(RefusedError):
    """The same model and config twice in one phase: the difference of two such sums is the input of whoever left between them."""


class ShareHoldersError(RefusedError):
    """Fewer than t of this party's share-holders are in U1."""


class ShareUnreadableError(RefusedError):
    """The shares of a neighbour in U1 do not open, so nothing proves that it takes part in this round."""


class ShareMismatchError(RefusedError):
    """A neighbour's share is not the one whose hash it published."""


class SurvivorsError(RefusedError):
    """U2 is no subset of the U1 that this party trained with, or this party is not in it."""


class StateLostError(RefusedError):
    """This party's secrets for the run are gone, unreadable or older than they should be; it has to join again in a new epoch."""
