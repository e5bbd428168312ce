"""Sums of encrypted updates under the key of a key holder: the alternative for parties that cannot take part in unmasking.

    secret = SecretContext.generate(SUMS, rotations=False)               # the key holder; everybody else gets secret.public from it
    app = key_holder_app(secret, roster=None, state_dir=...)             # its node, which is no party
    app = ClientApp(mods=[CkksMod(public)])                              # each party
    strategy = SecureAggregation(FedAvg(...), ckks=CkksSum(public))      # the coordinator

One trip to the parties a sum. docs/ckks.md says what it protects against, which is less than masking does, and when to choose it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stfed.flower.ckks.holder import KeyHolder, key_holder_app
    from stfed.flower.ckks.mod import CkksMod, ckks_mod
    from stfed.flower.ckks.scale import SUMS
    from stfed.flower.ckks.settings import CkksSum

_WHERE = {"SUMS": "scale", "CkksMod": "mod", "CkksSum": "settings", "KeyHolder": "holder", "ckks_mod": "mod", "key_holder_app": "holder"}

__all__ = ["SUMS", "CkksMod", "CkksSum", "KeyHolder", "ckks_mod", "key_holder_app"]


if not TYPE_CHECKING:  # type checkers would take it for a promise that every name is there

    def __getattr__(name: str) -> object:
        if name not in _WHERE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
