"""`python -m tests.attacks.secagg.page`: writes `docs/attacks.md` from the list of attacks, so that the page says what the tests do."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

from tests.attacks.secagg.gains import ExactAllTheSameError, NothingLearnedError
from tests.attacks.secagg.heard import ComplainedError
from tests.attacks.secagg.registry import ATTACKS, Attack
from tests.attacks.secagg.removal import Check, Instead, place
from tests.attacks.secagg.rules import MARKED, PUBLISHED, Rule

PAGE = Path(__file__).parents[3] / "docs" / "attacks.md"
_HERE = Path(__file__).parent
_WORDS = {"u1": "U1", "u2": "U2", "partys": "party's", "owners": "owner's", "victims": "victim's", "semi honest": "semi-honest"}
_ENDS = {NothingLearnedError: "nothing", ComplainedError: "a signed complaint", ExactAllTheSameError: "the exact sum all the same"}
_MACHINERY = {"coordinator", "gains", "heard", "loot", "page", "registry", "removal", "rules", "sybil", "training", "world"}
FAMILIES = sorted(path.stem for path in _HERE.glob("*.py") if not path.stem.startswith(("_", "test_")) and path.stem not in _MACHINERY)

INTRO = """# Attacks on secure aggregation, and what refuses them

This page is written by `python -m tests.attacks.secagg.page` from the attack suite in `tests/attacks/secagg`; a test compares the two.
`python -m tests.attacks` mounts everything below, and the attacks on sealed files as well, and prints how each one failed.

`stfed demo attack` shows eight of them, told so that they need no mathematics, in pictures: what a coordinator finds in plain updates, in
masked ones, and by lying in either mode, with the words in which each party refuses. One of them works in semi-honest mode, which assumes
that the coordinator does not do it: it puts keys of its own in the place of all parties but one. The roster of malicious mode refuses it.

**Who attacks.** The coordinator, as a rule: it sends any message to any party, in any order and different to each, it keeps everything it
hears, and it controls C of the parties: their keys, their memory, their signatures. C is what γ of the roster comes to. A few attacks are a
corrupt party's, somebody's on the line, a thief's with a party's disk, or those of no attacker at all, only of a crash.

**How it is tried.** Every attack is a script against the parties as they are deployed: the Flower mod with its policy, identity and roster
files, its database and its train function. It is mounted twice. The first time it must be refused, with the error below, or end with
nothing: that is checked in numbers, by reconstructing every secret, seed and sum that the coordinator can compute from all that it has
heard. The second time the defence in the last column is taken out of the party's code, that check and no other, and the attack must
succeed: as a rule the victim's update appears, digit by digit; where no more than a reply is at stake, the reply comes. So a test that
would also pass without the defence is a failing test. Where two defences stand behind each other, both are taken out, and both are listed.

The scripts are functions in the modules of the last column; `pytest tests/attacks/secagg -k "a cohort of one"` runs one.

{count} attacks, by what they are about. An attack that is about two things stands in both places.
"""

NOT_COVERED = """## What is not covered

- What the sum itself tells, and what the sums of many rounds tell together. The very same message twice is refused; a coordinator that
  changes one number of it gets two sums whose difference is the update of whoever is in one of them. Noise bounds that (docs/privacy.md).
- A party's own machine. Whoever has its memory has its data. The disk alone tells nothing, and a disk that is put back is noticed; a whole
  machine that is set back to an earlier moment, memory included, cannot notice it.
- The ClientApp's code. In Flower it may come from the SuperLink. A coordinator that can change what parties run needs no attack on what
  they run; install the app on the nodes, or check what arrives.
- Who keeps the roster. It is the root of everything in malicious mode: more corrupt members than γ allows for, and nothing here holds.
- A stopped run. A coordinator can always do that, and a corrupt party can cost a round, once, and be named or left out for it.
- Timing and traffic: when a party answers, and how long it takes, is visible to the coordinator and to the network.
- Poisoning: a party that computes another update than its data give, within the clip.
"""


def load() -> list[Attack]:
    """All attacks, in the order of their families."""
    for family in FAMILIES:
        importlib.import_module(f"{__package__}.{family}")
    return sorted(ATTACKS, key=lambda one: FAMILIES.index(one.family))


def name_of(attack: Attack) -> str:
    """Its name, as one writes it."""
    name = attack.name
    for plain, written in _WORDS.items():
        name = re.sub(rf"\b{plain}\b", written, name)
    return name if attack.malicious or "semi-honest" in name else f"{name}, in semi-honest mode"


def text() -> str:
    """The page."""
    attacks = load()
    parts = [INTRO.format(count=len(attacks))]
    parts.append("## Published attacks\n\n" + _sections(PUBLISHED, attacks))
    parts.append("## The protocol's own rules\n\n" + _sections(MARKED, attacks))
    parts.append(NOT_COVERED)
    return "\n".join(parts)


def _sections(rules: dict[str, Rule], attacks: list[Attack]) -> str:
    return "\n".join(_section(rule, [one for one in attacks if key in one.covers]) for key, rule in rules.items())


def _section(rule: Rule, attacks: list[Attack]) -> str:
    lines = [f"### {rule.title}", "", f"*{rule.source[0].upper()}{rule.source[1:]}.*" + (f" {rule.stands}" if rule.stands else ""), ""]
    if attacks:
        lines += ["| attack | who | ends with | without this it succeeds | script |", "|---|---|---|---|---|"]
        lines += [_row(one) for one in attacks]
        lines.append("")
    return "\n".join(lines)


def place_of(defence: Check | Instead) -> str:
    """Where a defence is, without what it is."""
    return place(defence.target)


def _row(attack: Attack) -> str:
    ends = _ENDS.get(attack.expect, f"`{attack.expect.__name__}`")
    defences = "; ".join(dict.fromkeys(map(str, attack.defences)))
    if attack.given:
        defences += f" (and in both runs without {'; '.join(map(place_of, attack.given))}, which would refuse it first)"
    return f"| {name_of(attack)} | {attack.who} | {ends} | {defences} | `{attack.family}.py` |"


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
