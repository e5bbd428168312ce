"""`CkksSum`: what the coordinator says to have sums under a key holder's key instead of masks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stfed.encrypted.context import EvaluationContext
from stfed.errors import LocalError
from stfed.flower.ckks.holder import KeyHolder
from stfed.flower.settings import Settings
from stfed.keys.keyfile import VerifierLike, read_verifier
from stfed.keys.roster import Roster
from stfed.secagg.params import Mode

if TYPE_CHECKING:
    from stfed.flower.grid import SecureGrid


@dataclass(frozen=True)
class CkksSum:
    """Sums of encrypted updates, one trip to the parties each.

    Attributes:
        context: the key holder's public context, the one that the parties have from it.
        key_holder: its node id; None asks all nodes which of them it is. Anybody can say so who has the public context: then sums go to
            that node, or vectors, which it cannot read, and the mean is what it says. If two say so, neither is taken. A `KeyHolder` in
            this process is for simulations: a coordinator that has the key reads everybody.
        metric_bound: largest |metric|; parties refuse to send a larger one. Metrics are off by up to this times the relative error.
        roster: who may contribute, where the key holder wants signatures: contributions that it would refuse are left out here.
        trusted: the key holder's public signing key, as it gave it to whoever runs the coordinator: a key, its text, or its file. Then
            nobody is the key holder who does not sign with it, and no mean is taken without its signature. None takes anybody's word.
    """

    context: EvaluationContext
    key_holder: KeyHolder | int | None = None
    metric_bound: float = 10_000.0
    roster: Roster | None = field(default=None, repr=False)
    trusted: VerifierLike | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.context, EvaluationContext):
            raise LocalError(
                f"the coordinator of encrypted sums has a public context, not a {type(self.context).__name__}",
                hint="CkksSum(secret.public), and keep the secret context away from the coordinator",
            )
        if isinstance(self.key_holder, KeyHolder):
            if self.key_holder.fingerprint != self.context.fingerprint:
                raise LocalError("the key holder has another key than that of this context")
            if self.trusted is not None and self.key_holder.signs_as != read_verifier(self.trusted):
                raise LocalError(
                    "the key holder does not sign with the key that is trusted", hint="KeyHolder(..., identity=KEY), or leave trusted out"
                )

    def check(self, settings: Settings) -> None:
        """Refuses settings that encrypted sums cannot meet.

        Raises:
            LocalError: with what to use instead.
        """
        if settings.mode is Mode.MALICIOUS:
            raise LocalError(
                "encrypted sums hold against who is curious, not against who lies: there is no malicious mode",
                hint="leave ckks out: masks have one",
            )
        for name, used in (("dp", settings.dp is not None), ("group_size", settings.group_size is not None)):
            if used:
                raise LocalError(f"{name} is for sums under masks", hint=f"leave ckks or {name} out")
        if not isinstance(settings.clip, int | float):
            raise LocalError(
                "an adaptive clip is for masks: here a generous one costs no precision", hint="give clip a number, or leave it out"
            )
        if settings.value_bits is not None or settings.rotation:
            raise LocalError("encrypted sums are of real numbers: there are no bits to choose", hint="leave value_bits and rotation out")

    def over(self, *args: Any, **options: Any) -> SecureGrid:
        """A grid whose sums are under this key; arguments as `SecureGrid`'s."""
        from stfed.flower.ckks.grid import CkksGrid

        return CkksGrid(*args, ckks=self, **options)
