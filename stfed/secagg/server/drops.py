"""Why a party is out of a round."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class DropReason(Enum):
    """Why a party is out of a round."""

    NO_REPLY = "no reply"
    ERROR_REPLY = "error reply"
    MALFORMED = "malformed message"
    COMMITMENT_MISMATCH = "commitments to pairwise seeds that its neighbours contradict"
    TOO_FEW_HOLDERS = "too few of its share-holders are left"
    WRONG_SHARE = "a share that is not the one dealt"
    BROKEN_COMMITMENT = "a secret that is not the one it committed to"
    BAD_SIGNATURE = "a message that it did not sign, or signed for another round, model or survivor set"
    DISPUTE = "a complaint about another party's shares"
    OTHER_METRICS = "metrics that the others do not have"
    EXCLUDED = "left out for what happened in an earlier round"


@dataclass(frozen=True, slots=True)
class Drop:
    """One party that left a round.

    Attributes:
        step: the step in which it left: "join", "prepare", "train", "confirm" or "unmask".
        detail: what was wrong, without values.
    """

    step: str
    reason: DropReason
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.reason.value} ({self.detail})" if self.detail else self.reason.value
