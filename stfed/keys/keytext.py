"""The text of key files: at most one key for encryption and one for signatures, each on a line, `#` before comments.

A secret file that holds an encryption key only is an age identity file, and age reads it. With a signing key in it, it is ours alone.
No input or output here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from stfed.crypto.random import Entropy, system_entropy
from stfed.errors import LocalError, MalformedError
from stfed.keys.armor import BEGIN, END, Protected
from stfed.keys.encryption import Identity, Recipient
from stfed.keys.passphrase import Cost, Passphrase, PassphraseError
from stfed.keys.signing import SigningKey, VerifyingKey

_Key = TypeVar("_Key")


@dataclass(frozen=True)
class PublicKeys:
    """What a KEY.pub holds: one key of each kind, or one of them."""

    recipient: Recipient | None
    verifier: VerifyingKey | None

    def __str__(self) -> str:
        return "".join(f"{key}\n" for key in (self.recipient, self.verifier) if key)

    def comments(self, created: datetime | None) -> list[str]:
        """The lines that a secret key file opens with."""
        lines = [f"# created: {created.isoformat(timespec='seconds')}"] if created else []
        if self.recipient:
            lines += [f"# fingerprint: {self.recipient.fingerprint}", f"# public key: {self.recipient}"]
        if self.verifier:
            lines += [f"# signing fingerprint: {self.verifier.fingerprint}", f"# public signing key: {self.verifier}"]
        return lines


@dataclass(frozen=True)
class SecretKeys:
    """What a KEY holds: one key of each kind, or one of them."""

    identity: Identity | None
    signing: SigningKey | None

    def __post_init__(self) -> None:
        if not (self.identity or self.signing):
            raise LocalError("a key file holds at least one key")

    @property
    def public(self) -> PublicKeys:
        """The keys to give away."""
        return PublicKeys(self.identity.recipient if self.identity else None, self.signing.public if self.signing else None)

    def plain(self, created: datetime | None = None) -> str:
        """The text of the secret file, unprotected."""
        return "\n".join([*self.public.comments(created), self._secrets()])

    def protected(self, passphrase: Passphrase, cost: Cost, created: datetime | None = None, *, entropy: Entropy = system_entropy) -> str:
        """The text of the secret file, the secret part of it under a passphrase; LocalError for a cost below the floor."""
        cost.check_floor()
        comments = self.public.comments(created)
        return "\n".join([*comments, str(Protected.seal(self._secrets(), comments, passphrase, cost, entropy=entropy)), ""])

    def _secrets(self) -> str:
        return "".join(f"{key.secret_string()}\n" for key in (self.identity, self.signing) if key)


def parse_public(text: str) -> PublicKeys:
    """Reads a KEY.pub; MalformedError, without quoting a secret, if it is none."""
    lines, _ = _split(text)
    verifier = _only([VerifyingKey.from_string(line) for line in lines if _is(line, "stfedsig")], "signatures")
    recipient = _only([Recipient.from_string(line) for line in lines if not _is(line, "stfedsig")], "encryption")
    if not (recipient or verifier):
        raise MalformedError("there is no key in it")
    return PublicKeys(recipient, verifier)


def parse_secret(text: str, passphrase: Passphrase | None = None) -> SecretKeys:
    """Reads a KEY.

    Args:
        text: what the file holds.
        passphrase: used, or asked for, only if the keys are protected by one.

    Raises:
        PassphraseError: a passphrase is needed and none is given, or it is the wrong one.
        MalformedError: this is no text of a key file; the error does not quote it.
    """
    lines, comments = _split(text)
    if lines and lines[0] == BEGIN:
        if lines[-1] != END:
            raise MalformedError("the protected key is cut off, or something stands after it", hint="copy the file again, whole")
        protected = Protected.from_lines(lines)
        if passphrase is None:
            raise PassphraseError("its keys are under a passphrase, and none was given", hint="passphrase='...', or what asks for it")
        lines, _ = _split(protected.open(comments, passphrase))
    signing = _only([SigningKey.from_string(line) for line in lines if _is(line, "stfed-signing-key-")], "signatures")
    identity = _only([Identity.from_string(line) for line in lines if not _is(line, "stfed-signing-key-")], "encryption")
    if not (identity or signing):
        raise MalformedError("there is no key in it")
    return SecretKeys(identity, signing)


def holds_secrets(text: str) -> bool:
    """Whether there is a secret key in the text, or what looks like one, protected or not."""
    return any(line == BEGIN or _is(line, "age-secret-key-") or _is(line, "stfed-signing-key-") for line in _split(text)[0])


def _is(line: str, prefix: str) -> bool:
    return line.lower().startswith(prefix)


def _split(text: str) -> tuple[list[str], list[str]]:
    """The lines that are not comments, and those that are; blank ones are neither."""
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith("#")], [line for line in lines if line.startswith("#")]


def _only(keys: Sequence[_Key], purpose: str) -> _Key | None:
    if len(keys) > 1:
        raise MalformedError(
            f"there are {len(keys)} keys for {purpose} in it", hint="one of each kind is possible; put the others into files of their own"
        )
    return keys[0] if keys else None
