"""Who is whose neighbour: the complete graph, or a k-regular ring on a permutation that nobody chose.

Neighbours share masks and hold each other's secret shares, so the relation is symmetric and everybody has exactly k of them. The sparse
graph is the Harary graph of Bell, Bonawitz, Gascón, Lepoint, Raykova (CCS 2020): the parties stand on a ring in the order of a hash of
public values, and everybody is joined to the k/2 on either side. That is sound while the coordinator follows the protocol (the order is
random to whoever is corrupt or drops); a coordinator that picks who drops can cut a ring in two places, and one that can retry the hash
can choose the order. In malicious mode the sparse graph is therefore none of these: the parties draw it (`stfed.secagg.drawn`).

Parties are numbers 0..n-1, their places in the sorted cohort. A holder's share of a dealer's secret is the polynomial at
x = 1 + (index of the holder among the dealer's neighbours, ascending): computed by both ends, never read from the wire.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stfed.crypto.kdf import framed
from stfed.crypto.labels import Label
from stfed.errors import LocalError

_WORD_BYTES = 8


class NeighbourGraph(Protocol):
    """A symmetric k-regular graph on the parties 0..n-1, without loops.

    Attributes:
        n: number of parties.
        k: neighbours of each.
    """

    n: int
    k: int

    @abstractmethod
    def neighbours(self, i: int) -> NDArray[np.int64]:
        """The k neighbours of i in ascending order: shape (k,), a fresh array.

        Raises:
            LocalError: there is no party i.
        """

    @abstractmethod
    def table(self) -> NDArray[np.int32]:
        """`neighbours` of everybody: shape (n, k), for who deals with all parties."""

    def points(self, dealer: int) -> NDArray[np.int64]:
        """Where the holders of a dealer's shares evaluate, in the order of `neighbours(dealer)`: 1..k, shape (k,)."""
        self._require_party(dealer)
        return np.arange(1, self.k + 1, dtype=np.int64)

    def point(self, dealer: int, holder: int) -> int:
        """The x of one holder's share of one dealer's secrets, 1..k.

        Raises:
            LocalError: the two are no neighbours, or there is no such party.
        """
        self._require_party(holder)
        neighbours = self.neighbours(dealer)
        index = int(np.searchsorted(neighbours, holder))
        if index == self.k or neighbours[index] != holder:
            raise LocalError(f"party {holder} holds no share of party {dealer}: they are no neighbours")
        return index + 1

    def _require_party(self, i: int) -> None:
        if not 0 <= i < self.n:
            raise LocalError(f"party {i} is not in a cohort of {self.n}")


class CompleteGraph(NeighbourGraph):
    """Everybody is everybody's neighbour: k = n - 1."""

    def __init__(self, n: int) -> None:
        if n < 2:
            raise LocalError(f"a graph of {n} parties has no neighbours in it", hint="use two parties or more")
        self.n: int = n
        self.k: int = n - 1

    def neighbours(self, i: int) -> NDArray[np.int64]:
        """Everybody but i, ascending."""
        self._require_party(i)
        others = np.arange(self.k, dtype=np.int64)
        others[i:] += 1
        return others

    def table(self) -> NDArray[np.int32]:
        """See `NeighbourGraph`."""
        others = np.arange(self.k, dtype=np.int32)[None, :]
        return others + (others >= np.arange(self.n, dtype=np.int32)[:, None])

    def point(self, dealer: int, holder: int) -> int:
        """The x of one holder's share of one dealer's secrets, in constant time: numbers above the dealer's move down by one."""
        self._require_party(dealer)
        self._require_party(holder)
        if holder == dealer:
            raise LocalError(f"party {holder} holds no share of its own secrets")
        return holder + 1 if holder < dealer else holder


class HararyGraph(NeighbourGraph):
    """The ring: neighbours are at distance 1..k/2 on it, in the order that a seed gives.

    The order is the stable argsort of n little-endian 64-bit words of SHAKE256(framed(Label.GRAPH, seed)). Only where two words are equal
    would it favour the smaller number, and that has a probability below n^2 / 2^65.

    Args:
        n: number of parties.
        k: neighbours of each, even, 2 to n - 2.
        seed: public; a hash that binds whatever must not be reused with the same order (run, round, members).
    """

    def __init__(self, n: int, k: int, seed: bytes) -> None:
        if k % 2:
            raise LocalError(f"k = {k}: a ring has as many neighbours to the left as to the right", hint="use an even k, or n - 1")
        if not 2 <= k <= n - 2:
            raise LocalError(f"k = {k}: a ring of {n} parties gives 2 to {n - 2} neighbours", hint="use k = n - 1 for the complete graph")
        self.n: int = n
        self.k: int = k
        words = np.frombuffer(hashlib.shake_256(framed(Label.GRAPH, seed)).digest(_WORD_BYTES * n), dtype="<u8")
        self._party_at = np.argsort(words, kind="stable").astype(np.int64, copy=False)
        self._place_of = np.empty(n, dtype=np.int64)
        self._place_of[self._party_at] = np.arange(n, dtype=np.int64)
        reach = np.arange(1, k // 2 + 1, dtype=np.int64)
        self._distances = np.concatenate((-reach, reach))

    def neighbours(self, i: int) -> NDArray[np.int64]:
        """The k/2 on either side of i on the ring, ascending."""
        self._require_party(i)
        return np.sort(self._party_at[(self._place_of[i] + self._distances) % self.n])

    def table(self) -> NDArray[np.int32]:
        """See `NeighbourGraph`."""
        ring = self._party_at.astype(np.int32)
        table = np.empty((self.n, self.k), np.int32)
        for column, distance in enumerate(self._distances.tolist()):
            table[self._party_at, column] = np.roll(ring, -distance)
        table.sort(axis=1)
        return table


def make_graph(n: int, k: int, seed: bytes) -> NeighbourGraph:
    """The graph of these numbers: complete for k = n - 1 (the seed has no effect then), else the ring.

    Raises:
        LocalError: n < 2, k is odd and below n - 1, or k is outside 2..n - 1 (1 for two parties).
    """
    return CompleteGraph(n) if k == n - 1 else HararyGraph(n, k, seed)
