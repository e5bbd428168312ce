"""`stfed plan`: how many neighbours and shares a cohort needs, what that guarantees, and what it costs a party."""

from __future__ import annotations

import argparse
import json
import sys
from fractions import Fraction
from math import ceil, inf
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stfed.cli import Commands
    from stfed.secagg.params import Parameters

PREPARE_BYTES = 172
"""A neighbour's part of a PREPARE reply: share ciphertext, commitment to the pairwise seed, share hashes, its entry in the box."""
UNMASK_BYTES = 33
"""A neighbour's part of an UNMASK reply: which secret, and one share of 16 limbs of 16 bits."""


def register(commands: Commands) -> None:
    """Adds `plan`."""
    parser = commands.add_parser(
        "plan",
        help="choose the numbers of a secure round",
        description="The smallest number of neighbours and the threshold with which a secure round meets its security level, or why "
        "there are none.",
        allow_abbrev=False,
    )
    parser.add_argument("--parties", type=int, required=True, metavar="N", help="parties in the cohort of one round")
    parser.add_argument("--gamma", type=_share, default=Fraction(1, 10), metavar="SHARE", help="share that may be corrupt (default 0.1)")
    parser.add_argument("--delta", type=_share, default=Fraction(1, 10), metavar="SHARE", help="share that may drop (default 0.1)")
    parser.add_argument("--malicious", action="store_true", help="the coordinator may lie; needs a roster of identities")
    parser.add_argument("--roster", type=int, metavar="N", help="parties the coordinator can pick the cohort from (default: the cohort)")
    parser.add_argument("--graph", choices=("auto", "complete", "sparse"), default="auto", help="who is whose neighbour (default auto)")
    parser.add_argument("--params", type=int, metavar="D", help="model parameters, for the cost of a round")
    parser.add_argument("--ring-bits", type=int, default=32, metavar="B", help="bits of one masked parameter, 8 to 64 (default 32)")
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
    if not 8 <= arguments.ring_bits <= 64:
        raise LocalError(f"a ring of {arguments.ring_bits} bits", hint="use 8 to 64")
    parameters = choose(
        arguments.parties,
        arguments.gamma,
        arguments.delta,
        mode=Mode.MALICIOUS if arguments.malicious else Mode.SEMI_HONEST,
        roster=arguments.roster,
        graph=arguments.graph,
    )
    cost = {} if arguments.params is None else _cost(parameters, arguments.params, arguments.ring_bits)
    if arguments.json:
        json.dump(_facts(parameters) | cost, sys.stdout, indent=2, allow_nan=False)
        print()
    else:
        print(_table(parameters, cost))
    return 0


def _cost(parameters: Parameters, values: int, ring_bits: int) -> dict[str, int]:
    """What one party does in a round: what it sends with its masked vector, and how many masks it expands for it."""
    upload_bytes = ceil(Fraction(values * ring_bits, 8)) + parameters.k * (PREPARE_BYTES + UNMASK_BYTES)
    return {"params": values, "ring_bits": ring_bits, "upload_bytes": upload_bytes, "masks_per_party": parameters.k + 1}


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
    "k-out": "every party draws its share-holders itself (parties accept only --graph complete so far)",
}


def _table(parameters: Parameters, cost: dict[str, int]) -> str:
    p = parameters
    roster = "" if p.roster == p.n else f" of a roster of {p.roster}"
    rows: list[tuple[str, str, str]] = [
        ("parties", f"n = {p.n}", f"asked in one round{roster}"),
        ("graph", p.graph, _GRAPHS[p.graph]),
        ("neighbours", f"k = {p.k}", "hold a party's shares and share a mask with it"),
        ("threshold", f"t = {p.t}", "shares rebuild a secret; with fewer nothing about it is known"),
        ("corrupt", f"C = {p.corrupt}", f"of them may work with the coordinator (gamma = {p.gamma:g}, rounded up)"),
        ("dropouts", f"D = {p.dropouts}", f"of them may vanish at any step (delta = {p.delta:g}, rounded down)"),
        ("survivors", f"{p.min_survivors}", "are left at least, and the round still finishes"),
        ("secrecy fails", _chance(p.log2_secrecy), f"too many corrupt neighbours; allowed 2^-{p.sigma + 1}"),
        ("graph breaks", _chance(p.log2_connectivity), f"the sum falls into smaller ones; allowed 2^-{p.sigma + 1}"),
        ("round fails", _chance(p.log2_correctness), f"somebody keeps fewer than t neighbours; allowed 2^-{p.eta}"),
    ]
    if p.quorum is not None:
        rows.append(("signatures", f"{p.quorum}", "under one list of survivors before anybody unmasks"))
    if p.honest_floor is not None:
        rows.append(("honest inputs", f"> {p.honest_floor}", "in any sum that can be revealed, whoever drops"))
    if cost:
        share = cost["upload_bytes"] * 8 / cost["params"] if cost["params"] else 0.0
        rows.append(("upload", f"{cost['upload_bytes']:,} B", f"per party and round, {share:.2f} bits a parameter"))
        rows.append(("masks", f"{cost['masks_per_party']}", "that a party expands and adds: one a neighbour and its own"))
    names, values = (max(len(row[column]) for row in rows) for column in (0, 1))
    lines = (f"  {name:<{names}}  {value:>{values}}  {words}" for name, value, words in rows)
    return "\n".join([f"A {p.mode.value} coordinator and {p.n} parties", *lines])


def _chance(log2_probability: float) -> str:
    return "never" if log2_probability == -inf else f"2^{log2_probability:.1f}"
