"""What every recipe reads from a run config (the keys of configs/*.toml)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from stfed.flower import AdaptiveClip

Config: TypeAlias = Mapping[str, bool | float | int | str]
"""A Flower run config."""


def secure(config: Config) -> dict[str, Any]:
    """The keyword arguments of `SecureAggregation` for this run config.

    Keys: gamma, delta, ring-bits (or value-bits, where that is not 0), clip, clip-target (0 for a clip that stays, or the share of
    coordinates that a clip may cut which follows the updates), max-weight, group-size (0 for one sum over all); run-dir (folder for events
    and models), recipient (a public key file; without one no model is sealed), signer (the coordinator's signing key
    file) and audit (an audit log), both of which may be left empty.
    """
    value_bits, clip, target = int(config.get("value-bits", 0)), float(config["clip"]), float(config.get("clip-target", 0.0))
    run_dir, recipient = Path(str(config["run-dir"]) or "runs/latest"), str(config["recipient"])
    return {
        "gamma": float(config["gamma"]),
        "delta": float(config["delta"]),
        **({"value_bits": value_bits} if value_bits else {"ring_bits": int(config["ring-bits"])}),
        "clip": AdaptiveClip(initial=clip, target=target) if target else clip,
        "max_weight": float(config["max-weight"]),
        "group_size": int(config.get("group-size", 0)) or None,
        "events": run_dir / "events.jsonl",
        "save": run_dir / "models" if recipient else None,
        "recipients": [recipient] if recipient else [],
        "signer": str(config["signer"]) or None,
        "audit": str(config["audit"]) or None,
    }
