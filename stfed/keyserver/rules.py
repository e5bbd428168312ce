"""The rules by which the key service refuses, one table for both sides: what is logged, what the caller hears, which HTTP status.

Whoever has not proved to be somebody the roster knows hears one and the same refusal, `unauthenticated`, whichever of the first four rules
it was: from outside nobody can find out who is in the roster, or whether it was the nonce or the signature that was wrong. The log has the
real rule. A refusal carries the rule's name and nothing else; the words are the client's own.
"""

from __future__ import annotations

from dataclasses import dataclass

from stfed.errors import StfedError


@dataclass(frozen=True)
class Rule:
    """One of them.

    Attributes:
        name: in the log and, unless it is told otherwise, in the reply.
        status: of the HTTP reply.
        says: why, to follow "the key service refuses: ".
        hint: what the caller can do about it.
        told: under which name the caller hears of it.
    """

    name: str
    status: int
    says: str
    hint: str | None = None
    told: str = ""

    @property
    def heard(self) -> Rule:
        """The rule as the caller hears of it."""
        return RULES[self.told or self.name]


_STRANGER = "unauthenticated"
_ASK_OWNER = "ask the file's owner, or whoever keeps the service's roster"

_TABLE = (
    # before the caller has proved anything
    Rule("rate", 429, "too many requests, or too much in them", "wait a minute"),
    Rule("size", 413, "the request is too long"),
    Rule("malformed", 400, "the request is not one that it understands", "compare the versions of stfed here and there"),
    Rule("nonce", 403, "the nonce is unknown, used or expired", told=_STRANGER),
    Rule("service", 403, "the request is for another service", told=_STRANGER),
    Rule("signature", 403, "the request is not signed by its caller", told=_STRANGER),
    Rule("unknown", 403, "the caller's key is in no entry of its roster", told=_STRANGER),
    Rule(
        _STRANGER,
        403,
        "it takes this for no request of somebody in its roster",
        "compare service_key with the service's own, and have your public signing key entered in its roster as a recipient",
    ),
    # about a caller who has
    Rule("revoked", 403, "your signing key is revoked"),
    Rule("role", 403, "your entry in its roster has not the role of a recipient", _ASK_OWNER),
    Rule("key-not-before", 403, "your signing key does not count yet", _ASK_OWNER),
    Rule("key-not-after", 403, "your signing key counts no longer", _ASK_OWNER),
    Rule("retired", 403, "your signing key was replaced by another", "use the new one"),
    Rule("clock", 403, "your clock and its own differ by minutes", "set the clock of this machine"),
    # about the file
    Rule("envelope", 422, "the file's envelope is not one that it understands", "compare the versions of stfed here and there"),
    Rule("tampered", 422, "the file's envelope was changed after sealing"),
    Rule("signers", 403, "the file is not signed by somebody whom it lets seal files", _ASK_OWNER),
    Rule("owners", 403, "a grant in the file was not made by an owner of it"),
    Rule("recipients", 403, "the file is not sealed to it", "give your own key, or have the file sealed or granted to the service"),
    Rule("not-before", 403, "the file may not be opened yet"),
    Rule("not-after", 403, "the file may not be opened any more"),
    Rule("purpose", 403, "the file may not be opened for this purpose", "state one that its policy names: purpose=..."),
    Rule("readers", 403, "the file's policy names its readers, and you are none of them", _ASK_OWNER),
    # about the service itself
    Rule("unavailable", 503, "it can't keep its records or read its roster, and releases nothing without", "tell whoever runs it"),
)
RULES = {rule.name: rule for rule in _TABLE}


class Refused(StfedError):
    """The service refuses. Inside the service only: what leaves it is the rule's name.

    Attributes:
        rule: which.
        silent: whether the log has one like it already, and only counts this.
    """

    def __init__(self, name: str, message: str = "", *, silent: bool = False) -> None:
        self.rule: Rule = RULES[name]
        self.silent = silent
        super().__init__(message or self.rule.says)
