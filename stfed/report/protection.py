"""What protected the parties: the protocol's numbers, the encoding's, and what was spent of privacy, in words."""

from __future__ import annotations

import math

from stfed.report.blocks import Block, Chart, Section, Text, Warn
from stfed.report.eventlog import Event
from stfed.report.run import Run, Sum
from stfed.report.story import facts_of

PLAIN = "plain"
"""The mode of a run without secure aggregation (`stfed.flower.plain`)."""
_UNPROTECTED = (
    "NOTHING PROTECTED THE PARTIES IN THIS RUN. It was an ordinary federated training, made to compare with: the coordinator received the "
    "update of every single party as it was, and could read it, keep it, and work out from it what the party's data are like."
)
_MODES = {
    "semi-honest": "what follows holds if the coordinator follows the protocol; it may look at all that it gets",
    "malicious": "what follows holds whatever the coordinator does: parties check by signatures what it says, and refuse",
    "ckks": "what follows holds if coordinator and key holder follow the protocol, and do not work together",
}
_MASKS = (
    "Each party adds masks to its update that cancel in the sum, so that the coordinator sees random numbers of each party and the "
    "sum of all. These are the numbers of the sum over the fewest parties."
)
_CIPHERTEXTS = (
    "Each party encrypts its update under the public key of a key holder. The coordinator adds ciphertexts, which it cannot read, and the "
    "key holder decrypts sums. These are the numbers of the sum over the fewest parties."
)
_NUMBERS = ("n", "k", "t", "mode")
_SMALLEST_WHOLE, _LARGEST_SHOWN = 3.0, 12.0
"""e to these is 20, and 160,000."""


def protocol(run: Run) -> Section:
    """The numbers of the weakest sum, the one over the fewest parties, and whether others had others."""
    if unprotected(run):
        return Section("What protects the parties", [Warn(_UNPROTECTED)])
    done = [one for one in run.sums if one.failure is None and one.event["n"]]
    if not done:
        return Section("What protects the parties", [Text("No secure sum came to its end, so nothing was released.")])
    last = min(done, key=lambda one: one.event["n"]).event
    facts = {
        "mode": (last["mode"], _MODES.get(last["mode"], "")),
        "cohort": (_parties(last["n"]), "what leaves a sum is about all of them together"),
        "smallest sum": (_parties(min(one.summed for one in done)), "the fewest that a released sum was over"),
    }
    masked = last["mode"] != "ckks"
    if masked:
        facts |= _masks(last)
    blocks: list[Block] = [Text(_MASKS if masked else _CIPHERTEXTS), facts_of(facts)]
    if len({tuple(one.event[number] for number in _NUMBERS) for one in done}) > 1:
        blocks.append(Text("Other sums of this run had other numbers of parties, neighbours or shares: the event log has them all."))
    return Section("What protects the parties", blocks)


def _masks(last: Event) -> dict[str, tuple[str, str]]:
    facts = {
        "corrupt": (
            _parties(last["corrupt"]),
            "so many may work with the coordinator, and still nobody learns the update of an honest one",
        ),
        "neighbours": (f"{last['k']}, {last['graph']} graph", "with so many others each party shares a mask that only the two know"),
        "threshold": (f"{last['t']} of {last['k'] + 1} shares", "so many must come together before anything of a mask is recovered"),
    }
    if last["quorum"] is not None:
        signed = "so many parties must have signed the same list of survivors before masks are removed"
        facts["quorum"] = (f"{last['quorum']} signatures", signed)
    return facts


def unprotected(run: Run) -> bool:
    """Whether it was a plain run."""
    return bool(run.start and run.start["settings"].get("mode") == PLAIN) or any(one.event["mode"] == PLAIN for one in run.sums)


def precision(run: Run) -> Section:
    """What the encoding cost in accuracy."""
    done = [one for one in run.of_phase("train") if one.failure is None]
    if not done:
        return Section("Precision", [Text("No sum of training came to its end.")])
    last = done[-1].event
    if unprotected(run):
        return Section("Precision", [Text("Updates were averaged as they are: nothing was clipped, rounded or masked.")])
    clipped, coordinates = (sum(values) for values in zip(*((one.event["clipped"], _coordinates(one)) for one in done), strict=True))
    facts = {"bits": (str(last["ring_bits"]), "of a masked parameter, which is what a party sends for it")} if last["ring_bits"] else {}
    facts |= {
        "clip": (f"{last['clip']:g}", "a change of a parameter that is larger counts as this much"),
        "clipped": (f"{clipped:,} of {coordinates:,}", "changes that were"),
        "rounding": (
            f"{max(one.event['error_bound'] for one in done):.1e}",
            "the most by which rounding can have moved a parameter of the mean",
        ),
    }
    return Section("Precision", [facts_of(facts)])


def privacy(run: Run) -> Section:
    """What the released models tell about a party."""
    if unprotected(run):
        text = "The coordinator saw every single update. What a sum of them tells is little beside that."
        return Section("What the results tell", [Text(text)])
    if not run.releases:
        text = (
            "The coordinator saw sums only, and no noise was added to them. A sum still tells something about those who are in it: "
            "the more, the fewer there are, and the more rounds they take part in. Differential privacy bounds that; this run did without."
        )
        return Section("What the results tell", [Text(text)])
    last = run.releases[-1]
    facts = {
        "epsilon": (
            f"{last['epsilon']:.4g}",
            "e to this power bounds how much likelier anything seen is because a party took part" + _times(last["epsilon"]),
        ),
        "delta": (f"{last['delta']:g}", "but for a chance as small as this"),
        "unit": (last["unit"], "whose taking part is hidden: all that one party sent"),
        "clip": (f"{last['l2_clip']:g}", "no party's update was longer than this"),
        "noise": (
            f"{last['noise_multiplier']:.3g}",
            "deviation of the noise of the honest parties, in multiples of the clip as it was encoded",
        ),
        "honest": (_parties(last["honest_survivors"]), "whose noise is counted on; the others' is extra"),
        "mechanism": (last["mechanism"], "every party adds its share of noise before anything leaves it"),
    }
    spent = {release["round_number"]: release["epsilon"] for release in run.releases}
    return Section(
        "What the results tell",
        [facts_of(facts), Chart("privacy spent", "round of the protocol", "epsilon", {"epsilon": spent}, limit=budget(run))],
    )


def budget(run: Run) -> float | None:
    """The epsilon that the run was not to exceed; None if there was none."""
    settings = (run.start or {}).get("settings")
    dp = settings.get("dp") if isinstance(settings, dict) else None
    value = dp.get("epsilon") if isinstance(dp, dict) else None
    return float(value) if isinstance(value, int | float) else None


def _parties(count: int) -> str:
    return f"{count} party" if count == 1 else f"{count} parties"


def _times(epsilon: float) -> str:
    """What that power is, where a person can still think of it."""
    if epsilon > _LARGEST_SHOWN:
        return ""
    return f": {math.exp(epsilon):,.0f} times" if epsilon > _SMALLEST_WHOLE else f": {math.exp(epsilon):.2f} times"


def _coordinates(one: Sum) -> int:
    return int(one.event["parameters"]) * one.summed
