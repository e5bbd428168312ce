"""`stfed plan`: how many neighbours and shares a cohort needs, what that guarantees, how likely a round fails, and what it costs."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from dataclasses import asdict
from fractions import Fraction
from itertools import product
from math import inf
from typing import TYPE_CHECKING, Any, TypeAlias

from stfed.cli.options import print_json
from stfed.errors import LocalError, shown

if TYPE_CHECKING:
    from stfed.bench.rates import Rates
    from stfed.cli import Commands
    from stfed.encoding import EncodingPlan
    from stfed.secagg.params import Parameters

Wanted: TypeAlias = tuple[int, Fraction, Fraction, int | None]
"""n, gamma, delta and the number of parameters."""

MODES = ("semi-honest", "malicious")
_RANGE = re.compile(r"(\d{1,9})-(\d{1,9})(?::(\d{1,9}))?")
_MOST_PLANS = 1000
_SHARE_CHARACTERS = 40
_EXPONENTS = range(-99, 10)
"""A share is kept as it is written, in as many digits as its exponent says."""
_COUNT_DIGITS = 9
_COUNTS_CHARACTERS = 40


def register(commands: Commands) -> None:
    """Adds `plan`."""
    parser = commands.add_parser(
        "plan",
        help="choose the numbers of a secure round",
        description="The smallest number of neighbours and the threshold with which a secure round meets its security level, or why "
        "there are none; what that guarantees; how likely a round fails; and what it costs in bytes and in seconds of this machine.\n\n"
        "Several values, 10,50,100 or 10-100:10, are compared in a table, a row each.",
        reads="the roster, if --roster names a file",
        never="writes, or sends, anything",
        examples=[
            ("stfed plan --parties 20 --params 1000000", "what 20 parties and a million parameters take"),
            ("stfed plan --parties 10,50,100,1000 --params 1000000", "cohorts beside each other"),
            ("stfed plan --parties 20 --mode malicious --roster roster.toml", "when the coordinator may lie"),
            ("stfed plan --parties 100 --drop-rate 0.02 --no-measure --json", "for a script"),
        ],
    )
    parser.add_argument(
        "--parties", type=_counts, required=True, metavar="N", help="parties in the cohort of one round; several: 10,50,100"
    )
    parser.add_argument(
        "--gamma", type=_shares, default=[Fraction(1, 10)], metavar="SHARE", help="share that may be corrupt (default 0.1); several"
    )
    parser.add_argument(
        "--delta", type=_shares, default=[Fraction(1, 10)], metavar="SHARE", help="share that may drop (default 0.1); several"
    )
    parser.add_argument(
        "--drop-rate",
        type=_share,
        metavar="SHARE",
        help="how often a party really drops, for the probability that a round fails (default: half of delta)",
    )
    parser.add_argument("--mode", choices=MODES, default=MODES[0], help="malicious: the coordinator may lie (default semi-honest)")
    parser.add_argument(
        "--roster",
        metavar="N",
        help="parties that the coordinator can pick the cohort from: how many, or a roster file (default: the cohort)",
    )
    parser.add_argument("--graph", choices=("auto", "complete", "sparse"), default="auto", help="who is whose neighbour (default auto)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    cost = parser.add_argument_group("what a round costs")
    cost.add_argument("--params", type=_counts, default=[None], metavar="D", help="model parameters, for the cost of a round; several")
    bits = cost.add_mutually_exclusive_group()
    bits.add_argument("--ring-bits", type=int, metavar="B", help="bits of one masked parameter, 8 to 64 (default 32)")
    bits.add_argument(
        "--value-bits", type=int, metavar="V", help="bits of precision of one party's parameter, 2 to 62, in the smallest ring"
    )
    cost.add_argument("--no-measure", action="store_true", help="leave out the seconds, for which this machine is measured for a second")
    parser.set_defaults(handler=_plan)


def _share(text: str) -> Fraction:
    """A decimal or a ratio, exactly as written."""
    try:
        if len(text) <= _SHARE_CHARACTERS and int(text.lower().partition("e")[2] or 0) in _EXPONENTS:
            return Fraction(text)
    except (ValueError, ZeroDivisionError):
        pass
    raise argparse.ArgumentTypeError(f"{shown(text)} is no share; write 0.05 or 1/20")


def _shares(text: str) -> list[Fraction]:
    return [_share(part) for part in text.split(",")]


def _counts(text: str) -> list[int]:
    """20, or 10,50,100, or 10-100:10."""
    found: list[int] = []
    for part in text.split(","):
        several = _RANGE.fullmatch(part)
        try:
            if len(part) > _COUNTS_CHARACTERS:
                raise ValueError
            more = range(int(several[1]), int(several[2]) + 1, int(several[3] or 1)) if several else [int(part)]
        except ValueError:
            reason = f"{shown(part)} is no whole number and no range; write 20, or 10,50,100, or 10-100:10"
            raise argparse.ArgumentTypeError(reason) from None
        if not 1 <= len(found) + len(more) <= _MOST_PLANS:
            raise argparse.ArgumentTypeError(f"{shown(text)} are {len(found) + len(more):,} numbers; give 1 to {_MOST_PLANS}")
        found += more
    return found


def _plan(arguments: argparse.Namespace) -> int:
    from stfed.cli.planview import comparison, table

    for count in arguments.params:
        if count is not None and count < 0:
            raise LocalError(f"a model has no {count} parameters", hint="give the number of values that are averaged")
    if arguments.ring_bits is not None and not 8 <= arguments.ring_bits <= 64:
        raise LocalError(f"a ring of {arguments.ring_bits} bits", hint="use 8 to 64")
    wanted = list(product(arguments.parties, arguments.gamma, arguments.delta, arguments.params))
    if len(wanted) > _MOST_PLANS:
        raise LocalError(f"{len(wanted)} plans", hint=f"ask for at most {_MOST_PLANS} at a time")
    roster, rates = _roster(arguments.roster), _measured(arguments)
    if len(wanted) == 1:
        parameters, facts = _one(arguments, wanted[0], roster, rates)
        if arguments.json:
            print_json(facts)
        else:
            print(table(parameters, facts))
        return 0
    plans = [_or_refused(arguments, one, roster, rates) for one in wanted]
    if arguments.json:
        print_json({"plans": plans})
    else:
        print(comparison(plans, arguments.mode))
    return 0 if any("k" in facts for facts in plans) else 1


def _roster(given: str | None) -> int | None:
    """How many parties it is, or the roster file has."""
    from stfed.keys import Roster
    from stfed.secagg.roster import PartyRoster

    if given is None:
        return None
    if not (given.isascii() and given.isdigit()):
        return len(PartyRoster(Roster.read(given)))
    if len(given) > _COUNT_DIGITS:
        raise LocalError(f"a roster of {shown(given)} parties", hint=f"give a number of at most {_COUNT_DIGITS} digits, or a roster file")
    return int(given)


def _measured(arguments: argparse.Namespace) -> Callable[[], Rates | None]:
    """This machine's rates, measured when they are first asked for: what is refused is refused at once."""
    known: list[Rates] = []

    def rates() -> Rates | None:
        if arguments.no_measure:
            return None
        if not known:
            from stfed.bench.rates import measure
            from stfed.cli.progress import working

            with working("measuring this machine"):
                known.append(measure())
        return known[0]

    return rates


def _or_refused(arguments: argparse.Namespace, wanted: Wanted, roster: int | None, rates: Callable[[], Rates | None]) -> dict[str, Any]:
    """As `_one`; in a comparison, a cohort without a plan says why and the others are shown."""
    try:
        return _one(arguments, wanted, roster, rates)[1]
    except LocalError as error:
        n, gamma, delta, values = wanted
        asked = {"n": n, "gamma": float(gamma), "delta": float(delta)} | ({} if values is None else {"params": values})
        return {**asked, "refused": error.message}


def _one(
    arguments: argparse.Namespace, wanted: Wanted, roster: int | None, rates: Callable[[], Rates | None]
) -> tuple[Parameters, dict[str, Any]]:
    """A plan, as JSON has it."""
    from stfed.cli.plancost import plan_of, rates_for, seconds
    from stfed.secagg.dropping import default_floor, log2_failure
    from stfed.secagg.params import Mode, choose

    n, gamma, delta, values = wanted
    parameters = choose(n, gamma, delta, mode=Mode(arguments.mode), roster=roster, graph=arguments.graph)
    plan = plan_of(n, values or 0, 32 if arguments.ring_bits is None else arguments.ring_bits, arguments.value_bits)
    rate = delta / 2 if arguments.drop_rate is None else arguments.drop_rate
    floor = max(default_floor(parameters), parameters.quorum or 0)
    facts = _facts(parameters) | {
        "floor": floor,
        "drop_rate": float(rate),
        "log2_failure": _finite(log2_failure(parameters, rate, floor)),
        **_cost(parameters, plan, values),
        "seconds": None if (known := rates()) is None else seconds(parameters, plan, rates_for(plan, known)),
    }
    return parameters, facts


def _cost(parameters: Parameters, plan: EncodingPlan, values: int | None) -> dict[str, Any]:
    """What a round costs one party, and with a model what a whole round moves."""
    from stfed.cli.plancost import directory_bytes, masks, steps
    from stfed.encoding.vector import payload_bytes

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
