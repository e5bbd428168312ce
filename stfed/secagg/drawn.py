"""Who holds whose shares where nobody may predict it: every party draws k of the others from its own randomness.

This is the malicious graph of Bell, Bonawitz, Gascón, Lepoint, Raykova (CCS 2020), in the form that ADR 0018 argues for. The draw happens
in PREPARE, after the directory and the cohort are fixed, so a coordinator can neither choose it nor repeat it; it sees the result, but
whatever it does then, a sum that comes out has more honest inputs than `stfed.secagg.tails.honest_floor` says.

Party i's share of any secret is the polynomial at x = 1 + (i's place in the sorted cohort): a holder computes its own, whoever the
dealer is, though it knows nobody else's holders. Places are below 65520, so such a cohort has at most `MAX_DRAWN_PARTIES` parties.
"""

from __future__ import annotations

import numpy as np

from stfed.crypto.random import Entropy
from stfed.crypto.shamir import PRIME
from stfed.errors import LocalError

MAX_DRAWN_PARTIES = PRIME - 1
"""Every place in the cohort is a nonzero point of GF(65521)."""

_WORD = np.dtype("<u4")


def draw_holders(n: int, own: int, k: int, entropy: Entropy) -> tuple[int, ...]:
    """k different places in a cohort of n without `own`, ascending: every such set with the same probability, independent of all else.

    Words of as many bits as n - 2 has are drawn; those that are no place, or a place that was drawn before, are drawn again.

    Args:
        n: parties in the cohort, at most `MAX_DRAWN_PARTIES`.
        own: this party's place.
        k: how many, 1 to n - 1.
        entropy: this party's own randomness, and nobody else's: whoever could predict the draw could cut the graph.
    """
    if not (1 <= k < n <= MAX_DRAWN_PARTIES and 0 <= own < n):
        raise LocalError(f"party {own} cannot draw k = {k} holders in a cohort of {n}")
    others = n - 1
    mask = (1 << (others - 1).bit_length()) - 1
    drawn: set[int] = set()
    while missing := k - len(drawn):
        words = np.frombuffer(entropy(_WORD.itemsize * 2 * missing), _WORD) & mask
        for place in words[words < others].tolist():
            if len(drawn) == k:
                break  # the set would no longer be uniform if what came after were used in any way
            drawn.add(place)
    return tuple(place + (place >= own) for place in sorted(drawn))


def drawn_point(place: int) -> int:
    """The x of the party at this place in the cohort, for every dealer."""
    return 1 + place
