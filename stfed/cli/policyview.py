"""What `stfed policy check` tells about a policy: its settings, and what follows from them, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil, floor, log2, prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stfed.secagg.policy import Policy

_MOST_TRIED = 1000
"""Without a roster, cohorts of so many parties more than the smallest that the policy names are looked at."""


def facts(policy: Policy, members: int | None) -> dict[str, Any]:
    """Settings and consequences, for scripts.

    Args:
        policy: the party's.
        members: parties on its roster; None if it has none.
    """
    from stfed.secagg.policy_settings import SECTIONS

    settings = {setting.name: _plain(getattr(policy, setting.name)) for group in SECTIONS.values() for setting in group}
    counted = members if members is not None else policy.roster
    return {"settings": settings, "roster": counted, **_smallest(policy, counted)}


def _plain(value: Any) -> Any:
    from stfed.encoding.tensors import TensorSpec
    from stfed.secagg.configlimit import ConfigLimit
    from stfed.secagg.params import Mode

    if isinstance(value, Mode):
        return value.value
    if isinstance(value, tuple) and value and isinstance(value[0], TensorSpec):
        return {spec.name: {"dtype": spec.dtype, "shape": list(spec.shape)} for spec in value}
    if isinstance(value, tuple) and value and isinstance(value[0], ConfigLimit):
        return {limit.name: {"min": limit.low, "max": limit.high, "one_of": limit.one_of} for limit in value}
    return list(value) if isinstance(value, tuple) else value


def _smallest(policy: Policy, roster: int | None) -> dict[str, Any]:
    """The smallest cohort that this party takes part in and that survives the drops: with who may be corrupt, and in how large a sum.

    Raises:
        LocalError: there is none.
    """
    from dataclasses import replace

    from stfed.errors import LocalError
    from stfed.secagg.params import choose, corrupt_parties
    from stfed.secagg.refusals import RefusedError

    rules = replace(policy, roster=roster)
    reason = f"the roster has {roster} parties"
    for n in range(policy.min_cohort, (roster or policy.min_cohort + _MOST_TRIED) + 1):
        try:
            rules.check_cohort(n)
            chosen = choose(n, policy.gamma, policy.delta, mode=policy.mode, roster=roster, sigma=policy.sigma, graph="complete")
            rules.check_parameters(n, chosen.k, chosen.t)
            rules.check_alive(chosen.min_survivors, n, chosen.k, "a sum")
        except (LocalError, RefusedError) as error:
            reason = error.message
            continue
        return {
            "smallest_cohort": n,
            "corrupt": corrupt_parties(n, policy.gamma, roster),
            "smallest_sum": rules.floor(n, n - 1),
            "dropouts": chosen.dropouts,
            "threshold": chosen.t,
            "signatures": chosen.quorum,
        }
    raise LocalError(f"no cohort meets this policy: {reason}", hint="more parties on the roster, or a smaller gamma or delta in the policy")


def lines(file: Path, found: dict[str, Any]) -> Iterator[str]:
    """The same for people."""
    settings = found["settings"]
    rows = list(_rows(settings, found))
    width = max(len(name) for name, _ in rows)
    yield f"{file}: {settings['mode']} mode"
    for name, text in rows:
        yield f"  {name:<{width}}  {text}"
    if "command" in found:
        yield "this party is ready; its node is started with its own ClientApp and where the SuperLink is:"
        yield f"  {found['command']} --app MODULE:APP -- --superlink HOST:PORT --root-certificates CA.crt"


def _rows(settings: dict[str, Any], found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    malicious = settings["mode"] == "malicious"
    trust = "may lie, replay, and choose the cohort and who drops" if malicious else "follows the protocol and looks at everything"
    whom = "roster" if found["roster"] else "cohort"
    yield "coordinator", f"{trust}; up to {_percent(settings['gamma'])} of the {whom} may work with it"
    if found["roster"]:
        yield "roster", f"{found['roster']} parties"
    drops = f"{found['dropouts']} of so few may drop ({_percent(settings['delta'])})"
    yield "cohort", f"{found['smallest_cohort']} parties or more; {drops}"
    honest = found["smallest_sum"] - found["corrupt"]
    yield "sum", f"over {found['smallest_sum']} parties or more in the smallest cohort: {found['corrupt']} corrupt and {honest} honest ones"
    signed = f", and a sum only after {found['signatures']} signatures under who is in it" if malicious else ""
    yield "shares", f"{found['threshold']} of {found['smallest_cohort'] - 1} rebuild a secret in the smallest cohort{signed}"
    clip, ring, weight = (" to ".join(map(_number, settings[name])) for name in ("clip", "ring_bits", "max_weight"))
    moves = f", but for the clip, which may be any of {_clips(settings['clip'])} powers of two" if settings["clip_moves"] else ""
    fixed = f", one choice for a whole run{moves}" if settings["fixed_encoding"] else ""
    yield "encoding", f"a clip of {clip}, {ring} bits a parameter{fixed}"
    noise = settings["noise_multiplier"]
    yield "noise", "none is asked for" if noise is None else f"a multiplier of {noise:g} or more in every sum: differential privacy"
    keys = " or ".join(settings["weight_keys"])
    yield "weight", f"{keys}, cut off at {weight}; or the same for everybody" if keys else "the same for everybody"
    yield "model", _model(settings["tensors"], settings["max_parameters"])
    config = settings["config"]
    yield "config", "anything" if config is None else f"{', '.join(config) or 'nothing'}, and no other value"
    repeats = "again and again" if settings["allow_repeats"] else "once"
    most = f"up to {settings['max_rounds']:,} sums a run" if settings["max_rounds"] else "any number of sums"
    yield "rounds", f"{most}; over the same model and config {repeats}"


def _clips(bounds: Sequence[float]) -> int:
    """How many powers of two are within these bounds."""
    low, high = bounds
    return max(0, floor(log2(high)) - ceil(log2(low)) + 1)


def _percent(share: float) -> str:
    return f"{100 * share:.4g} %"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) < 1 << 53 else f"{value:g}"


def _model(tensors: dict[str, Any] | None, most: int) -> str:
    if tensors is None:
        return f"any, of up to {most:,} parameters"
    return f"one only: {len(tensors)} tensors, {sum(prod(tensor['shape']) for tensor in tensors.values()):,} parameters"


def warnings(policy: Policy) -> Iterator[str]:
    """What somebody who signs this should have decided, not overlooked."""
    from stfed.secagg.params import Mode

    if policy.mode is Mode.SEMI_HONEST:
        yield 'a coordinator that lies can read this party\'s update; mode = "malicious" is against that'
    if policy.gamma == 0:
        yield "gamma is 0: one party that works with the coordinator is more than this policy reckons with"
    if policy.tensors is None:
        yield "any model is taken, also one that was made to remember single examples; [model.tensors] names the one you know"
    if policy.config is None:
        yield "the train function may be told anything; [model.config] bounds it"
    if policy.allow_repeats:
        yield "allow_repeats: the difference of two sums over the same model is the update of whoever is in one of them only"
    if policy.clip_moves:
        yield (
            f"clip_moves: one run can compare sums at {_clips(policy.clip)} clips, and what is over the smaller of two clips shows; narrow "
            f"[encoding] clip, whose smallest is {policy.clip[0]:g}"
        )
    if not policy.fixed_encoding:
        yield "fixed_encoding is off: the coordinator may vary the bounds, and each count of what is over them answers a question"
