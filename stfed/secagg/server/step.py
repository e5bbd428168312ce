"""What the steps of a round have in common, and what they hand on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from stfed.crypto.identity import BadSignatureError
from stfed.errors import DecodeError, LocalError, StfedError
from stfed.secagg.conditions import quorum
from stfed.secagg.directory import Directory
from stfed.secagg.messages import Message
from stfed.secagg.params import Mode
from stfed.secagg.server.drops import Drop, DropReason
from stfed.secagg.server.links import Links
from stfed.secagg.signing import check_signed
from stfed.secagg.transcript import RoundFacts

_DESCRIBED = 5


class Step:
    """What closes once. Its successor works on the same sum, so a second close would take the masks off twice."""

    _closed = False

    def _close_once(self) -> None:
        if self._closed:
            raise LocalError(f"{type(self).__name__} is closed already")
        self._closed = True


@dataclass(slots=True)
class Round:
    """What the steps of one round hand on."""

    facts: RoundFacts
    names: Sequence[str]
    floor: int
    directory: Directory | None = None
    corrupt: int | None = None
    drops: dict[int, Drop] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.malicious:
            if self.directory is None or self.corrupt is None:
                raise LocalError("a round in malicious mode needs the directory, to check signatures, and C, for the quorum of CONFIRM")
            self.quorum = quorum(self.facts.n, self.corrupt)
            self.floor = max(self.floor, self.quorum)  # fewer could never confirm what they are in
        self.links = Links(self.facts)

    quorum: int = field(init=False, default=0)
    links: Links = field(init=False)

    @property
    def malicious(self) -> bool:
        """Whether parties sign what they say."""
        return self.facts.mode is Mode.MALICIOUS

    def identity(self, party: int) -> bytes:
        """The Ed25519 key that this party joined with."""
        assert self.directory is not None
        return self.directory.join(party).identity

    def check_signature(self, message: Message, party: int, context: bytes) -> None:
        """Refuses a message that is not signed as the mode demands.

        Raises:
            BadSignatureError: malicious mode, and the party did not sign this message in this context.
            DecodeError: semi-honest mode, and there is a signature.
        """
        if self.malicious:
            check_signed(message, self.identity(party), context)
        elif message.signature:
            raise DecodeError("it is signed, but the round is semi-honest")

    def drop_for(self, party: int, step: str, error: StfedError) -> None:
        """Takes a party out of the round for a message that was refused."""
        forged = isinstance(error, BadSignatureError)
        self.drop(party, step, DropReason.BAD_SIGNATURE if forged else DropReason.MALFORMED, "" if forged else error.message)

    def drop(self, party: int, step: str, reason: DropReason, detail: str = "") -> None:
        """Takes a party out of the round; the first reason stands."""
        self.drops.setdefault(party, Drop(step, reason, detail))

    def missing(self, parties: Iterable[int]) -> list[str]:
        """Their names, for a `QuorumError`."""
        return [self.names[party] for party in parties]

    def described(self, parties: Iterable[int]) -> str:
        """The drops of these parties in words, for an error: each reason once, and of many the first few, those of most parties first."""
        names: dict[str, list[str]] = {}
        for party in sorted(parties):
            if party in self.drops:
                names.setdefault(str(self.drops[party]), []).append(self.names[party])
        words = [f"{_few(gone)}: {reason}" for reason, gone in sorted(names.items(), key=lambda item: -len(item[1]))]
        return "; ".join(_shortened(words, "other reasons"))


def _few(names: Sequence[str]) -> str:
    return ", ".join(_shortened(names, "more"))


def _shortened(words: Sequence[str], what: str) -> list[str]:
    left = len(words) - _DESCRIBED
    return [*words[:_DESCRIBED], *([f"and {left} {what}"] if left > 0 else [])]


class RoundStep(Step):
    """A step of a round."""

    _round: Round

    @property
    def facts(self) -> RoundFacts:
        """What PREPARE fixed about the round."""
        return self._round.facts

    @property
    def drops(self) -> Mapping[int, Drop]:
        """Who left the round so far, by directory index."""
        return self._round.drops
