"""What a signed file may be used for, by whom it may be passed on, and when: stated by the sealer, checked by the library at every open.

Against somebody who holds a key and writes a reader of their own this is advice: no file can enforce what happens after decryption. The key
service (`stfed.keyserver`) can, because it does not hand out the key.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from stfed import canonical
from stfed.errors import LocalError, MalformedError, shown
from stfed.keys.keyfile import VerifierLike, read_verifiers
from stfed.keys.signing import VerifyingKey
from stfed.sealed import times
from stfed.sealed.bounds import OWNERS_MAX, PURPOSE_MAX_CHARACTERS, PURPOSES_MAX, READERS_MAX
from stfed.sealed.errors import AccessDeniedError
from stfed.sealed.fields import items, only_fields, text


@dataclass(frozen=True, init=False)
class Policy:
    """Conditions of use. The default one has none.

    Attributes:
        owners: who may grant access, beside the signers.
        readers: to whom a key service may release the key; if empty, to every recipient of its own roster.
        purposes: what the file may be opened for; if empty, anything.
        not_before: the first moment at which it may be opened.
        not_after: the last one.
    """

    owners: tuple[VerifyingKey, ...]
    readers: tuple[VerifyingKey, ...]
    purposes: tuple[str, ...]
    not_before: datetime | None
    not_after: datetime | None

    def __init__(
        self,
        *,
        owners: VerifierLike | Iterable[VerifierLike] = (),
        readers: VerifierLike | Iterable[VerifierLike] = (),
        purposes: str | Iterable[str] = (),
        not_before: datetime | None = None,
        not_after: datetime | None = None,
    ) -> None:
        """Takes keys as objects, text or KEY.pub paths, one or several.

        Raises:
            LocalError: for a time without a zone, a window that is empty, or too many of anything.
        """
        named = (purposes,) if isinstance(purposes, str) else tuple(purposes)
        object.__setattr__(self, "owners", tuple(read_verifiers(owners)))
        object.__setattr__(self, "readers", tuple(read_verifiers(readers)))
        object.__setattr__(self, "purposes", tuple(dict.fromkeys(named)))
        object.__setattr__(self, "not_before", _whole_second(not_before))
        object.__setattr__(self, "not_after", _whole_second(not_after))
        wrong = self._problem()
        if wrong:
            raise LocalError(wrong)

    def _problem(self) -> str | None:
        if len(self.owners) > OWNERS_MAX or len(self.readers) > READERS_MAX or len(self.purposes) > PURPOSES_MAX:
            return f"a policy names at most {OWNERS_MAX} owners, {READERS_MAX} readers and {PURPOSES_MAX} purposes"
        for purpose in self.purposes:
            if not isinstance(purpose, str) or not purpose.isprintable() or not 0 < len(purpose) <= PURPOSE_MAX_CHARACTERS:
                return f"a purpose is printable text of at most {PURPOSE_MAX_CHARACTERS} characters, not {shown(purpose)}"
        if self.not_before and self.not_after and self.not_after < self.not_before:
            return f"the policy ends ({times.written(self.not_after)}) before it begins ({times.written(self.not_before)})"
        return None

    def __bool__(self) -> bool:
        return self != Policy()

    def to_json(self) -> dict[str, Any]:
        """As it stands in the manifest."""
        return {
            "owners": [str(key) for key in self.owners],
            "readers": [str(key) for key in self.readers],
            "purposes": list(self.purposes),
            "not_before": times.written(self.not_before) if self.not_before else None,
            "not_after": times.written(self.not_after) if self.not_after else None,
        }

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Reads what `to_json` gave, or MalformedError, UnsupportedError."""
        parts = only_fields(value, "the policy", "owners", "readers", "purposes", "not_before", "not_after")
        try:
            policy = cls(
                owners=keys_from_json(parts["owners"], "the policy's owners", OWNERS_MAX),
                readers=keys_from_json(parts["readers"], "the policy's readers", READERS_MAX),
                purposes=[text(one, "a purpose") for one in items(parts["purposes"], "the policy's purposes", PURPOSES_MAX)],
                not_before=None if parts["not_before"] is None else times.read(parts["not_before"], "not_before"),
                not_after=None if parts["not_after"] is None else times.read(parts["not_after"], "not_after"),
            )
        except LocalError as error:
            raise MalformedError(error.message) from None
        return policy

    def encode(self) -> bytes:
        """Its canonical JSON."""
        return canonical.encode(self.to_json())

    def check(self, now: datetime, purpose: str | None) -> None:
        """Returns if the file may be opened now and for this.

        Raises:
            AccessDeniedError: if not; `rule` is "not-before", "not-after" or "purpose".
        """
        if self.not_before and now < self.not_before:
            raise AccessDeniedError(f"the file may not be opened before {times.written(self.not_before)}", rule="not-before")
        if self.not_after and now > self.not_after:
            raise AccessDeniedError(f"the file may not be opened after {times.written(self.not_after)}", rule="not-after")
        if self.purposes and purpose not in self.purposes:
            allowed = ", ".join(shown(one) for one in self.purposes)
            asked = "no purpose was given" if purpose is None else f"{shown(purpose)} is none of them"
            raise AccessDeniedError(f"the file may be opened for {allowed} only, {asked}", rule="purpose", hint="state it: purpose=...")


def keys_from_json(value: Any, what: str, at_most: int) -> tuple[VerifyingKey, ...]:
    """A list of different public signing keys as they are written, or MalformedError."""
    keys = tuple(VerifyingKey.from_string(text(one, what)) for one in items(value, what, at_most))
    if len(set(keys)) != len(keys) or [str(key) for key in keys] != value:
        raise MalformedError(f"{what} name a key twice, or not as keys are written")
    return keys


def _whole_second(moment: datetime | None) -> datetime | None:
    return None if moment is None else times.whole_seconds(moment)
