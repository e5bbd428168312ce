"""Who is left out of a run's next rounds in malicious mode, and why.

Most of what goes wrong in a round is nobody's proven fault: a message may have been lost or spoilt on the way, and its sender is asked
again in the next round. Three things are different, because what was signed proves them and the next round would be lost to them too:

- a secret that is not the one its owner committed to, though every share of it fits its hash (`DealerFaultError`): the dealer's doing;
- a share that is not the one its holder took at TRAIN, where it was checked: the holder's doing;
- a complaint about shares: one of two is at fault and nobody can tell which, so `excluded` decides about both.

Identities are what counts: whoever is left out stays out under another node id. In semi-honest mode nobody has one and nothing is proven.
"""

from __future__ import annotations

from collections.abc import Mapping

from stfed.secagg.server import Dispute, Drop, DropReason, excluded


class Blame:
    """What a run has learned about its parties.

    Attributes:
        disputes: all complaints so far, with what both ends signed.
    """

    def __init__(self) -> None:
        self.disputes: list[Dispute] = []
        self._faults: dict[bytes, str] = {}

    def accuse(self, identity: bytes, why: str) -> None:
        """Whoever signs with this Ed25519 identity is at fault; the first reason stands."""
        self._faults.setdefault(identity, why)

    def left_out(self, node_of: Mapping[bytes, int], liars: int) -> dict[int, Drop]:
        """The nodes to leave out from now on.

        Args:
            node_of: node by identity, of the epoch's directory.
            liars: how many parties may be corrupt.
        """
        reasons = dict.fromkeys(sorted(excluded(self.disputes, liars)), "it is one of the two ends of a dispute about shares")
        reasons |= self._faults
        return {node_of[identity]: Drop("join", DropReason.EXCLUDED, why) for identity, why in reasons.items() if identity in node_of}
