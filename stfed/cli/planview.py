"""How `stfed plan` shows a plan: one with the meaning of each number, several beside each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import inf
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stfed.secagg.params import Parameters

_GRAPHS = {
    "complete": "everybody is everybody's neighbour",
    "harary": "a ring in random order, k/2 neighbours to either side",
    "k-out": "every party draws its share-holders itself, and nobody can predict whom",
}


_TIMES = "party, coordinator: estimates for one core of this machine, without network, training and Flower's part"


def table(parameters: Parameters, facts: dict[str, Any]) -> str:
    """One plan, a line for each number."""
    p, cost = parameters, facts
    roster = "" if p.roster == p.n else f" of a roster of {p.roster}"
    each = "" if p.quorum is None else f" a PREPARE, which 2^{p.bits - p.sigma} of a run add up to 2^-{p.sigma}"
    rows: list[tuple[str, str, str]] = [
        ("parties", f"n = {p.n}", f"asked in one round{roster}"),
        ("graph", p.graph, _GRAPHS[p.graph]),
        ("neighbours", f"k = {p.k}", "hold a party's shares and share a mask with it"),
        ("threshold", f"t = {p.t}", "shares rebuild a secret; with fewer nothing about it is known"),
        ("corrupt", f"C = {p.corrupt}", f"of them may work with the coordinator (gamma = {p.gamma:g}, rounded up)"),
        ("dropouts", f"D = {p.dropouts}", f"of them may vanish at any step (delta = {p.delta:g}, rounded down)"),
        ("survivors", f"{p.min_survivors}", "are left at least, and the round still finishes"),
        ("smallest sum", f"{facts['floor']}", "parties; no party with the default policy unmasks a smaller one"),
        ("secrecy fails", _chance(p.log2_secrecy), f"too many corrupt neighbours; allowed 2^-{p.bits + 1}{each}"),
        ("round fails", _chance(p.log2_correctness), f"with D drops: somebody keeps fewer than t neighbours; allowed 2^-{p.eta}"),
    ]
    if p.quorum is None:
        allowed = f"allowed 2^-{p.bits + 1}"
        rows.insert(-1, ("graph breaks", _chance(p.log2_connectivity), f"the sum falls into smaller ones; {allowed}"))
    else:
        rows.append(("signatures", f"{p.quorum}", "under one list of survivors before anybody unmasks"))
    if p.honest_floor is not None:
        chance = "" if p.graph == "complete" else f", but for 2^-{p.bits + 1}"
        rows.append(("honest inputs", f"> {p.honest_floor}", f"s*: in any sum that can be revealed, whoever drops{chance}"))
    exact = "" if p.graph == "complete" else ", at most"
    often = f"if each party drops with probability {facts['drop_rate']:g}, independently{exact}"
    rows.append(("rounds lost", odds(facts["log2_failure"]), often))
    rows.append(("masks", f"{cost['masks_per_party']}", "that a party expands and adds: one a partner and its own"))
    if "upload_bytes" in cost:
        share = cost["upload_bytes"] * 8 / cost["params"] if cost["params"] else 0.0
        rows.append(("upload", f"{cost['upload_bytes']:,} B", f"per party and round, {share:.2f} bits a parameter"))
    rows += _times(facts["seconds"])
    names, values = (max(len(row[column]) for row in rows) for column in (0, 1))
    lines = (f"  {name:<{names}}  {value:>{values}}  {words}" for name, value, words in rows)
    times = [] if facts["seconds"] is None else ["", _TIMES]
    return "\n".join([f"A {p.mode.value} coordinator and {p.n} parties", *lines, "", *_steps(cost), *times])


def _times(seconds: dict[str, float] | None) -> Iterator[tuple[str, str, str]]:
    if seconds is None:
        return
    yield "party", duration(seconds["party"]), f"of work in a round; {duration(seconds['party_first'])} in an epoch's first"
    yield "coordinator", duration(seconds["coordinator"]), f"of work in a round; {duration(seconds['coordinator_drops'])} if D drop"


def comparison(plans: Sequence[dict[str, Any]], mode: str) -> str:
    """Several plans, a row each. What is the same in all of them is said once."""
    columns: list[tuple[str, Callable[[dict[str, Any]], str]]] = [
        ("n", lambda facts: str(facts["n"])),
        ("gamma", lambda facts: f"{facts['gamma']:g}"),
        ("delta", lambda facts: f"{facts['delta']:g}"),
        ("params", lambda facts: f"{facts['params']:,}"),
        ("graph", lambda facts: str(facts["graph"])),
        ("k", lambda facts: str(facts["k"])),
        ("t", lambda facts: str(facts["t"])),
        ("C", lambda facts: str(facts["corrupt"])),
        ("D", lambda facts: str(facts["dropouts"])),
        ("survivors", lambda facts: str(facts["min_survivors"])),
        ("smallest sum", lambda facts: str(facts["floor"])),
        ("rounds lost", lambda facts: odds(facts["log2_failure"])),
        ("upload", lambda facts: _bytes(facts["upload_bytes"])),
        ("party", lambda facts: duration(facts["seconds"]["party"])),
        ("coordinator", lambda facts: duration(facts["seconds"]["coordinator"])),
    ]
    given = ("n", "gamma", "delta", "params")
    varied = [name for name in given if len({facts.get(name) for facts in plans}) > 1]
    fitting = [facts for facts in plans if "refused" not in facts]
    timed, sized = all(facts["seconds"] for facts in fitting), all("params" in facts for facts in fitting)
    left_out = {*given} - {*varied} | (set() if timed else {"party", "coordinator"}) | (set() if sized else {"upload"})
    shown = [(name, cell) for name, cell in columns if name not in left_out]
    rows = [[name for name, _ in shown]]
    rows += [[cell(facts) if "refused" not in facts or name in given else "-" for name, cell in shown] for facts in plans]
    widths = [max(len(row[at]) for row in rows) for at in range(len(shown))]
    lines = ["  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    same = [f"{name} = {facts[name]:,}" for name in given[1:] if name not in varied and (facts := plans[0]).get(name) is not None]
    rates = sorted({facts["drop_rate"] for facts in fitting})
    notes = [f"A {mode} coordinator" + "".join(f", {text}" for text in same)]
    refused = [f"n = {facts['n']}: {facts['refused']}" for facts in plans if "refused" in facts]
    lost = f"rounds lost: at most, if each party drops with probability {' or '.join(f'{rate:g}' for rate in rates)}, independently"
    remarks = [*([lost] if fitting else ()), *([_TIMES] if fitting and timed else ())]
    return "\n".join([*notes, "", *lines, "", *remarks, *refused]).rstrip()


def odds(log2_probability: float | None) -> str:
    """A probability for people: never, 1 in 4,200, 12 %; what is rarer than once in a million million as a power of two."""
    if log2_probability is None:
        return "never"
    if log2_probability > -4:
        return f"{100 * 2.0**log2_probability:.3g} %"
    if log2_probability > -40:
        return f"1 in {float(f'{2.0**-log2_probability:.2g}'):,.0f}"
    return f"2^{log2_probability:.1f}"


def duration(seconds: float) -> str:
    """Two digits and a unit."""
    for unit, size_s in (("h", 3600.0), ("min", 60.0), ("s", 1.0), ("ms", 1e-3)):
        if seconds >= size_s:
            return f"{seconds / size_s:.2g} {unit}" if seconds < 100 * size_s else f"{seconds / size_s:.0f} {unit}"
    return f"{seconds * 1e6:.2g} us"


def _bytes(size_bytes: int) -> str:
    from stfed.report.story import size

    return size(size_bytes)


def _steps(cost: dict[str, Any]) -> Iterator[str]:
    """The bytes of each step."""
    remarks = {
        "JOIN": "once per epoch",
        "PREPARE": f"in an epoch's first round {cost['directory_bytes']:,} B more to it, everybody's JOIN",
        "TRAIN": "and the model to it" if "params" in cost else "and the model to it, the masked vector from it",
    }
    yield f"  {'step':<8}  {'to a party':>15}  {'from a party':>15}"
    for step in cost["steps"]:
        line = f"  {step['name']:<8}  {step['down_bytes']:>13,} B  {step['up_bytes']:>13,} B  {remarks.get(step['name'], '')}"
        yield line.rstrip()


def _chance(log2_probability: float) -> str:
    return "never" if log2_probability == -inf else f"2^{log2_probability:.1f}"
