"""In which order the versions of a model come, and when one may follow another: rules alone, no files.

A version is (sequence, revision): a new round raises the first, sealing the same content anew, to other recipients say, the second.
Whoever has seen one accepts only the same file or a later one. Rounds may be skipped. `previous`, the hash of the version before, is held
against what was seen where that is known to be the version before; elsewhere nothing follows from it. In a new round it names the last
round as first sealed: the coordinator who seals the next one need not know that somebody sealed this one anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from stfed.errors import MalformedError, shown
from stfed.sealed.bounds import INTEGER_MAX
from stfed.sealed.errors import RollbackError
from stfed.sealed.fields import hexadecimal, whole
from stfed.sealed.statements import Statements

_HASH_BYTES = 32
_HINT = "have its sealer state the model, the sequence number and the hash before it, or open it without pins"


@dataclass(frozen=True)
class Version:
    """What a signed file says about its place among the versions of its model.

    Attributes:
        model: the model's name, as its signer gives it.
        sequence: number of the round.
        revision: how often this round's content was sealed anew.
        manifest_sha256: the file's own hash; of a sharded model, that of its index.
        previous: hash of the version before; None if it is not stated.
    """

    model: str
    sequence: int
    revision: int
    manifest_sha256: bytes
    previous: bytes | None

    @classmethod
    def stated(cls, stated: Statements, manifest_sha256: bytes) -> Self:
        """Reads the statements `model`, `sequence`, `revision` (0 if absent) and `previous`.

        Raises:
            RollbackError: if `model` or `sequence` is missing, or one of the four is not what it should be: a file without a place in the
                order cannot be told from an old one.
        """
        model = stated.get("model")
        missing = [name for name in ("model", "sequence") if stated.get(name) is None]
        if missing:
            raise RollbackError(f"the file does not state its {' and '.join(missing)}: whether it is an old one cannot be told", hint=_HINT)
        if not isinstance(model, str) or not model:
            raise RollbackError(f"the file's model is stated as {shown(model)}, which is no name", hint=_HINT)
        previous: Any = stated.get("previous")
        try:
            sequence = whole(stated["sequence"], "the stated sequence", INTEGER_MAX)
            revision = whole(stated.get("revision", 0), "the stated revision", INTEGER_MAX)
            before = None if previous is None else hexadecimal(previous, _HASH_BYTES, "the stated hash of the version before")
        except MalformedError as error:
            raise RollbackError(error.message, hint=_HINT) from None
        return cls(model, sequence, revision, manifest_sha256, before)

    @property
    def place(self) -> tuple[int, int]:
        """What orders versions."""
        return self.sequence, self.revision

    def check_follows(self, seen: Version) -> None:
        """Returns if this one may be used by somebody who has seen `seen`, a version of the same model by the same signer.

        Raises:
            RollbackError: if it is older, another one in the same place, or the next one but not made after the one seen.
        """
        if self.place < seen.place:
            raise RollbackError(
                f"{self._name} is older than {seen._place}, which was seen before", hint="ask its signer for the newest one"
            )
        if self.place == seen.place and self.manifest_sha256 != seen.manifest_sha256:
            own, other = self.manifest_sha256.hex()[:16], seen.manifest_sha256.hex()[:16]
            raise RollbackError(
                f"{self._name} is not the one seen before: its manifest is {own}..., that one's was {other}...",
                hint="its signer signed two files as the same version: ask which one is meant",
            )
        if self._is_next_to(seen) and self.previous not in (None, seen.manifest_sha256):
            raise RollbackError(
                f"{self._name} was not made after {seen._place} as it was seen: it names another one as the version before",
                hint="ask its signer what became of the version that was seen",
            )

    def _is_next_to(self, seen: Version) -> bool:
        """Whether `previous` can only name `seen`: the next revision of it, or the round after it if it is as first sealed."""
        return self.place == (seen.sequence, seen.revision + 1) or (self.place == (seen.sequence + 1, 0) and not seen.revision)

    @property
    def _name(self) -> str:
        return f"model {shown(self.model)}, {self._place},"

    @property
    def _place(self) -> str:
        return f"sequence {self.sequence}" + (f" revision {self.revision}" if self.revision else "")
