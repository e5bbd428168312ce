"""The story on one page, from the blocks that reports are made of: what was tried, what the clinics answered, what the coordinator saw."""

from __future__ import annotations

from collections.abc import Iterator

from stfed.demo.attack import Attack, Told
from stfed.demo.clinics import CLINICS, SIDE, Pixels, image
from stfed.demo.recovery import closeness, is_image, shown
from stfed.report.blocks import Block, Fact, Picture, Pictures, Report, Section, Table, Text, Warn
from stfed.secagg.params import Mode

MODES = {
    Mode.SEMI_HONEST: "The clinics have no identities. They check what a message can be checked for by itself, and trust the coordinator "
    "to follow the protocol for the rest. What that trust amounts to shows below.",
    Mode.MALICIOUS: "Every clinic has a roster with the keys of the others, which did not come from the coordinator, signs what it says, "
    "and unmasks nothing that a quorum of them has not signed. The coordinator may say what it likes.",
}
_WHO = (
    f"{CLINICS} clinics train one small network. Each has one image of {SIDE} by {SIDE} pixels that nobody else is to see, and sends the "
    "change of the network that a step of training on it makes. The coordinator, who averages the changes, tries to get the images. The "
    "clinics run the ClientApp and the mod that a deployment runs; nothing that they answer here is written by hand."
)
_HOW = (
    "A step on one image changes row k of the first layer by a multiple of the image, and number k of its bias by that multiple (Phong et "
    "al., IEEE TIFS 2018, section 3). The quotient is the image."
)
_LIMITS = (
    "The first layer of the network is no convolution, which makes the attack one division. Where it is one, an optimiser finds images "
    "as well (Zhu, Liu, Han, Deep Leakage from Gradients, NeurIPS 2019). The sum of all clinics is known to the coordinator in every mode, "
    "and what sums tell is bounded by noise, not by encryption. These are a few of the attacks that we know of: tests/attacks in the "
    "repository mounts all of them, each with and without the check that refuses it."
)


def page_of(attack: Attack) -> Report:
    """The page."""
    return Report(
        "What a coordinator learns of single clinics",
        [
            Fact("Plain averaging", _count(attack.plain), "found in the updates, by one division"),
            Fact("A secure round", _count(attack.secure), "found in the masked updates, by the same division"),
            Fact("Lies, semi-honest mode", _believed(attack, Mode.SEMI_HONEST), "this mode assumes a coordinator that does not lie"),
            Fact("Lies, malicious mode", _believed(attack, Mode.MALICIOUS), "this mode is for coordinators that do"),
        ],
        [
            Section("What this is", [Text(_WHO), _verdict(attack)]),
            Section("Plain averaging", list(_plain(attack))),
            Section("A secure round", list(_secure(attack))),
            *(Section(f"Lies in {mode.value} mode", [Text(MODES[mode]), *_lies(attack, mode)]) for mode in Mode),
            Section("Not shown", [Text(_LIMITS)]),
        ],
    )


def _verdict(attack: Attack) -> Block:
    if not attack.works_on_plain():
        return Warn("The attack did not work on plain updates, so it says nothing that it finds nothing elsewhere.")
    if leaks := attack.leaks():
        return Warn(f"This must not be: {'; '.join(leaks)}.")
    return Text("In the secure rounds it found nothing of a single clinic that the mode promises to keep from it.")


def _plain(attack: Attack) -> Iterator[Block]:
    yield Pictures("what the clinics have", [Picture(f"clinic {n + 1}", _rows(image(n)[0])) for n in range(CLINICS)])
    yield Pictures("what the coordinator finds in their updates", [_picture(one, clinic) for clinic, one in attack.plain.items()])
    yield Text(_HOW)


def _secure(attack: Attack) -> Iterator[Block]:
    yield Text("The coordinator follows the protocol, and keeps everything that it is sent.")
    yield Pictures("the same division on what the clinics sent", [_picture(one, clinic) for clinic, one in attack.secure.items()])
    yield Text("Every number has masks on it. They cancel in the sum of all clinics, which is what the coordinator may know:")
    yield Pictures("the same division on the sum", [Picture("all clinics together", _rows(attack.mean))])


def _lies(attack: Attack, mode: Mode) -> Iterator[Block]:
    told = list(enumerate((one for one in attack.told if one.mode is mode), 1))
    yield Pictures("what the coordinator has of clinic 1 at the end of each lie", [_lie(number, one) for number, one in told])
    rows = [(str(number), f"It {one.lie.tries}.", f"{'; '.join(one.said)}.", one.learned) for number, one in told]
    yield Table(("", "the lie", "what the clinics answer", "what it sees"), rows)


def _lie(number: int, told: Told) -> Picture:
    return Picture(f"{number}: {told.learned}", () if told.picture is None else _rows(told.picture), told.found)


def _picture(found: Pixels, clinic: int) -> Picture:
    correlation = closeness(found, clinic)
    return Picture(f"clinic {clinic + 1}: correlation {correlation:.2f}", _rows(found), is_image(correlation))


def _rows(found: Pixels) -> list[list[float]]:
    rows: list[list[float]] = shown(found).reshape(SIDE, SIDE).tolist()
    return rows


def _count(found: dict[int, Pixels]) -> str:
    return f"{sum(is_image(closeness(one, clinic)) for clinic, one in found.items())} of {CLINICS} images"


def _believed(attack: Attack, mode: Mode) -> str:
    lies = [told for told in attack.told if told.mode is mode]
    return f"{sum(told.found for told in lies)} of {len(lies)} believed"
