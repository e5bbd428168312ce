"""The round that everybody must agree on, and its hash T, which every mask is derived with.

A party derives its masks from T. If the coordinator shows two parties a different model, config, cohort, U1, encoding or parameter,
their pairwise masks do not cancel and the coordinator gets noise, not a gradient (Pasquini, Francati and Ateniese, CCS 2022).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from stfed.crypto.kdf import digest
from stfed.crypto.labels import Label
from stfed.errors import DecodeError, LocalError
from stfed.secagg.graph import NeighbourGraph, make_graph
from stfed.secagg.messages import Header, Phase, PrepareRequest, encode_parties
from stfed.secagg.params import Mode
from stfed.wire import Writer

MODE_CODES = {Mode.SEMI_HONEST: 1, Mode.MALICIOUS: 2}


def mode_from(code: int) -> Mode:
    """The mode of this code in a message."""
    for mode, known in MODE_CODES.items():
        if known == code:
            return mode
    raise DecodeError(f"security mode {code} is not known")


@dataclass(frozen=True, slots=True)
class RoundFacts:
    """What PREPARE fixed about a round: public, equal on all parties.

    Attributes:
        plan: the encoded `EncodingPlan`.
        cohort: directory indices, strictly increasing.
        cohort_digest: 32 bytes for exactly these parties with exactly these JOINs.
    """

    header: Header
    phase: Phase
    mode: Mode
    k: int
    t: int
    plan: bytes
    cohort: tuple[int, ...]
    cohort_digest: bytes

    @property
    def n(self) -> int:
        """Parties in the cohort."""
        return len(self.cohort)

    def place(self, party: int) -> int:
        """Where a member of the cohort stands in it."""
        return bisect_left(self.cohort, party)

    @property
    def drawn(self) -> bool:
        """Whether every party draws its share-holders itself (`stfed.secagg.drawn`), so that there is no graph to compute."""
        return self.mode is Mode.MALICIOUS and self.k < self.n - 1

    @property
    def share_binding(self) -> bytes:
        """What shares are bound to besides the dealer's commitments: see `keys.share_associated_data`."""
        return self.cohort_digest if self.drawn else b""

    def graph(self) -> NeighbourGraph:
        """The neighbour graph over positions in the cohort; its seed is a hash of run, round and JOINs, so all compute the same.

        Raises:
            LocalError: the parties draw their neighbours; a graph that anybody can compute is one that a coordinator can cut.
        """
        if self.drawn:
            raise LocalError("in malicious mode a sparse graph is drawn by the parties, it cannot be computed")
        return make_graph(self.n, self.k, digest(Label.GRAPH, self.header.encode(), self.cohort_digest))

    def request(self, directory: Sequence[bytes]) -> PrepareRequest:
        """The PREPARE message for these facts."""
        return PrepareRequest(
            header=self.header,
            phase=self.phase,
            mode=MODE_CODES[self.mode],
            directory=directory,
            cohort=self.cohort,
            k=self.k,
            t=self.t,
            plan=self.plan,
        )

    def transcript(self, alive: tuple[int, ...], content: bytes) -> bytes:
        """T: 32 bytes over everything the parties must agree on.

        Args:
            alive: U1.
            content: 32-byte hash of the model and config that the train function receives.
        """
        facts = Writer().u8(self.phase).u8(MODE_CODES[self.mode]).u32(self.n).u32(self.k).u32(self.t).getvalue()
        return digest(Label.TRANSCRIPT, self.header.encode(), facts, self.plan, self.cohort_digest, encode_parties(alive), content)

    def encode(self) -> bytes:
        """As bytes, for a party's store."""
        return self.request(()).encode() + self.cohort_digest

    @classmethod
    def decode(cls, data: bytes) -> RoundFacts:
        """The inverse of `encode`."""
        request, cohort_digest = PrepareRequest.decode(data[:-32]), data[-32:]
        return cls.of(request, cohort_digest)

    @classmethod
    def of(cls, request: PrepareRequest, cohort_digest: bytes) -> RoundFacts:
        """The facts that a PREPARE message states."""
        return cls(
            request.header, request.phase, mode_from(request.mode), request.k, request.t, request.plan, request.cohort, cohort_digest
        )
