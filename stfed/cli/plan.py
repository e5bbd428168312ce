"""`stfed plan`: how many neighbours and shares a cohort needs, what that guarantees, and what it costs a party."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from fractions import Fraction
from math import inf
from typing import TYPE_CHECKING, Any

from stfed.cli.options import print_json

if TYPE_CHECKING:
    from stfed.cli import Commands
    from stfed.secagg.params import Parameters

MODES = ("semi-honest", "malicious")


def register(commands: Commands) -> None:
    """Adds `plan`."""
    parser = commands.add_parser(
        "plan",
        help="choose the numbers of a secure round",
        description="The smallest number of neighbours and the threshold with which a secure round meets its security level, or why "
        "there are none; and what it costs one party.",
        epilog="example: stfed plan --parties 20 --mode malicious --roster roster.toml --params 1000000",
        allow_abbrev=False,
    )
    parser.add_argument("--parties", type=int, required=True, metavar="N", help="parties in the cohort of one round")
    parser.add_argument("--gamma", type=_share, default=Fraction(1, 10), metavar="SHARE", help="share that may be corrupt (default 0.1)")
    parser.add_argument("--delta", type=_share, default=Fraction(1, 10), metavar="SHARE", help="share that may drop (default 0.1)")
    parser.add_argument("--mode", choices=MODES, default=MODES[0], help="malicious: the coordinator may lie (default semi-honest)")
    parser.add_argument(
        "--roster",
        metavar="N",
        help="parties that the coordinator can pick the cohort from: how many, or a roster file (default: the cohort)",
    )
    parser.add_argument("--graph", choices=("auto", "complete", "sparse"), default="auto", help="who is whose neighbour (default auto)")
    parser.add_argument("--params", type=int, metavar="D", help="model parameters, for the cost of a round")
    bits = parser.add_mutually_exclusive_group()
    bits.add_argument("--ring-bits", type=int, metavar="B", help="bits of one masked parameter, 8 to 64 (default 32)")
    bits.add_argument(
        "--value-bits", type=int, metavar="V", help="bits of precision of one party's parameter, 2 to 62, in the smallest ring"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(handler=_plan)


def _share(text: str) -> Fraction:
    """A decimal or a ratio, exactly as written."""
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(f"{text!r} is no share; write 0.05 or 1/20") from None


def _plan(arguments: argparse.Namespace) -> int:
    from stfed.errors import LocalError
    from stfed.secagg.params import Mode, choose

    if arguments.params is not None and arguments.params < 0:
        raise LocalError(f"a model has no {arguments.params} parameters", hint="give the number of values that are averaged")
    if arguments.ring_bits is not None and not 8 <= arguments.ring_bits <= 64:
        raise LocalError(f"a ring of {arguments.ring_bits} bits", hint="use 8 to 64")
    parameters = choose(
        arguments.parties,
        arguments.gamma,
        arguments.delta,
        mode=Mode(arguments.mode),
        roster=_roster(arguments.roster),
        graph=arguments.graph,
    )
    cost = _cost(parameters, arguments.params, arguments.ring_bits, arguments.value_bits)
    if arguments.json:
        print_json(_facts(parameters) | cost)
    else:
        print(_table(parameters, cost))
    return 0


def _roster(given: str | None) -> int | None:
    """How many parties it is, or the roster file has."""
    from stfed.keys import Roster
    from stfed.secagg.roster import PartyRoster

    if given is None:
        return None
    return int(given) if given.isascii() and given.isdigit() else len(PartyRoster(Roster.read(given)))


def _cost(parameters: Parameters, values: int | None, ring_bits: int | None, value_bits: int | None) -> dict[str, Any]:
    """What a round costs one party, and with a model what a whole round moves."""
    from stfed.cli.plancost import directory_bytes, masks, plan_of, steps
    from stfed.encoding.vector import payload_bytes

    plan = plan_of(parameters.n, values or 0, 32 if ring_bits is None else ring_bits, value_bits)
    found = steps(parameters, plan)
    cost: dict[str, Any] = {
        "steps": [asdict(step) for step in found],
        "directory_bytes": directory_bytes(parameters, found[0].up_bytes),
        "masks_per_party": masks(parameters),
    }
    if values is None:
        return cost
    return cost | {
        "params": values,
        "ring_bits": plan.ring_bits,
        "vector_bytes": payload_bytes(plan),
        "upload_bytes": sum(step.up_bytes for step in found[1:]),
    }


def _facts(parameters: Parameters) -> dict[str, Any]:
    return {
        "n": parameters.n,
        "k": parameters.k,
        "t": parameters.t,
        "mode": parameters.mode.value,
        "graph": parameters.graph,
        "gamma": parameters.gamma,
        "delta": parameters.delta,
        "roster": parameters.roster,
        "corrupt": parameters.corrupt,
        "dropouts": parameters.dropouts,
        "sigma": parameters.sigma,
        "eta": parameters.eta,
        "log2_secrecy": _finite(parameters.log2_secrecy),
        "log2_connectivity": _finite(parameters.log2_connectivity),
        "log2_correctness": _finite(parameters.log2_correctness),
        "min_survivors": parameters.min_survivors,
        "quorum": parameters.quorum,
        "honest_floor": parameters.honest_floor,
    }


def _finite(log2_probability: float) -> float | None:
    """JSON has no infinity: null is a probability of exactly 0."""
    return None if log2_probability == -inf else log2_probability


_GRAPHS = {
    "complete": "everybody is everybody's neighbour",
    "harary": "a ring in random order, k/2 neighbours to either side",
    "k-out": "every party draws its share-holders itself, and nobody can predict whom",
}


def _table(parameters: Parameters, cost: dict[str, Any]) -> str:
    p = parameters
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
        ("secrecy fails", _chance(p.log2_secrecy), f"too many corrupt neighbours; allowed 2^-{p.bits + 1}{each}"),
        ("round fails", _chance(p.log2_correctness), f"somebody keeps fewer than t neighbours; allowed 2^-{p.eta}"),
    ]
    if p.quorum is None:
        allowed = f"allowed 2^-{p.bits + 1}"
        rows.insert(-1, ("graph breaks", _chance(p.log2_connectivity), f"the sum falls into smaller ones; {allowed}"))
    else:
        rows.append(("signatures", f"{p.quorum}", "under one list of survivors before anybody unmasks"))
    if p.honest_floor is not None:
        chance = "" if p.graph == "complete" else f", but for 2^-{p.bits + 1}"
        rows.append(("honest inputs", f"> {p.honest_floor}", f"s*: in any sum that can be revealed, whoever drops{chance}"))
    rows.append(("masks", f"{cost['masks_per_party']}", "that a party expands and adds: one a partner and its own"))
    if "upload_bytes" in cost:
        share = cost["upload_bytes"] * 8 / cost["params"] if cost["params"] else 0.0
        rows.append(("upload", f"{cost['upload_bytes']:,} B", f"per party and round, {share:.2f} bits a parameter"))
    names, values = (max(len(row[column]) for row in rows) for column in (0, 1))
    lines = (f"  {name:<{names}}  {value:>{values}}  {words}" for name, value, words in rows)
    return "\n".join([f"A {p.mode.value} coordinator and {p.n} parties", *lines, "", *_steps(cost)])


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
