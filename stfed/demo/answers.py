"""What a clinic answered: that it did as asked, or the error with which it refused, as Flower passes it on."""

from __future__ import annotations

import re
from dataclasses import dataclass

_REASON = re.compile(r"<class '[\w.]*?(\w+)'>:<'(.*)'>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Answer:
    """Of one clinic, to one message.

    Attributes:
        clinic: which, from 0.
        rule: the name of the error with which it refused; "" if it did what it was asked.
        reason: what it said then, in a sentence.
    """

    clinic: int
    rule: str = ""
    reason: str = ""


def answer_of(clinic: int, text: str) -> Answer:
    """A refusal as Flower passes it on: the error's name, and its message without what to do about it."""
    found = _REASON.fullmatch(text)
    if found is None:
        return Answer(clinic, "error", text)
    rule, reason = found.groups()
    depth = 0
    for at in range(len(reason) - 1, -1, -1) if reason.endswith(")") else ():
        depth += (reason[at] == ")") - (reason[at] == "(")
        if not depth:
            return Answer(clinic, rule, reason[:at].rstrip())
    return Answer(clinic, rule, reason)
