"""What protected the parties: the protocol's numbers, the encoding's, and what was spent of privacy, in words."""

from __future__ import annotations

from stfed.report.blocks import Block, Chart, Section, Text
from stfed.report.eventlog import Event
from stfed.report.run import Run, Sum
from stfed.report.story import facts_of

_MODES = {
    "semi-honest": "the coordinator follows the protocol, and looks at all that it gets",
    "malicious": "the coordinator may do anything; parties check what it says by signatures, and refuse",
    "ckks": "a key holder decrypts sums of ciphertexts; coordinator and key holder follow the protocol, and do not work together",
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


def protocol(run: Run) -> Section:
    """The numbers of the weakest sum, the one over the fewest parties, and whether others had others."""
    done = [one for one in run.sums if one.failure is None and one.event["n"]]
    if not done:
        return Section("What protects the parties", [Text("No secure sum came to its end, so nothing was released.")])
    last = min(done, key=lambda one: one.event["n"]).event
    facts = {
        "mode": (last["mode"], _MODES.get(last["mode"], "")),
        "cohort": (f"{last['n']} parties", "what leaves a sum is about all of them together"),
        "smallest sum": (f"{min(one.summed for one in done)} parties", "the fewest that a released sum was over"),
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
            f"{last['corrupt']} parties",
            "so many may work with the coordinator, and still nobody learns the update of an honest one",
        ),
        "neighbours": (f"{last['k']}, {last['graph']} graph", "with so many others each party shares a mask that only the two know"),
        "threshold": (f"{last['t']} of {last['k'] + 1} shares", "so many must come together before anything of a mask is recovered"),
    }
    if last["quorum"] is not None:
        signed = "so many parties must have signed the same list of survivors before masks are removed"
        facts["quorum"] = (f"{last['quorum']} signatures", signed)
    return facts


def precision(run: Run) -> Section:
    """What the encoding cost in accuracy."""
    done = [one for one in run.of_phase("train") if one.failure is None]
    if not done:
        return Section("Precision", [Text("No sum of training came to its end.")])
    last = done[-1].event
    clipped, coordinates = (sum(values) for values in zip(*((one.event["clipped"], _coordinates(one)) for one in done), strict=True))
    facts = {"bits": (str(last["ring_bits"]), "of a masked parameter, which is what a party sends for it")} if last["ring_bits"] else {}
    facts |= {
        "clip": (f"{last['clip']:g}", "a change of a parameter that is larger counts as this much"),
        "clipped": (f"{clipped} of {coordinates:,}", "changes that were"),
        "rounding": (
            f"{max(one.event['error_bound'] for one in done):.1e}",
            "the most by which rounding can have moved a parameter of the mean",
        ),
    }
    return Section("Precision", [facts_of(facts)])


def privacy(run: Run) -> Section:
    """What the released models tell about a party."""
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
            "e to this power bounds how much likelier anything seen is because a party took part",
        ),
        "delta": (f"{last['delta']:g}", "but for so small a chance"),
        "unit": (last["unit"], "whose taking part is hidden: all that one party sent"),
        "clip": (f"{last['l2_clip']:g}", "no party's update was longer than this"),
        "noise": (
            f"{last['noise_multiplier']:.3g}",
            "deviation of the noise of the honest parties, in multiples of the clip as it was encoded",
        ),
        "honest": (f"{last['honest_survivors']} parties", "whose noise is counted on; the others' is extra"),
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


def _coordinates(one: Sum) -> int:
    return int(one.event["parameters"]) * one.summed
