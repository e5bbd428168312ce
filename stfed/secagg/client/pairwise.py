"""The pairwise keys K_ij, ratcheted from round to round."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Self

from stfed.crypto.kdf import KEY_BYTES
from stfed.secagg import keys
from stfed.secagg.client.membership import Membership
from stfed.secagg.directory import Directory
from stfed.secagg.params import Mode
from stfed.secagg.policy import Policy
from stfed.wire import Reader, Writer

_MAX_ENTRIES = 1 << 20
_NO_KEY = bytes(KEY_BYTES)
_COHORTS = 4


@dataclass(frozen=True, slots=True)
class PairwiseKeys:
    """K_ij(next_round) for every other party of the directory.

    Up to `Policy.eager_parties` parties, all of them are agreed on at once and the private key is forgotten: forward secrecy per round.
    In a larger directory a party would spend minutes on keys of neighbours it never meets, so it keeps the private key until the epoch
    ends and derives what a round needs: forward secrecy per epoch. In malicious mode a round needs the key with everybody in the cohort,
    whatever the graph: there a directory of up to four cohorts is agreed on at once, which is less work from the fourth round on.

    Attributes:
        next_round: the smallest round number that can still be used.
        values: by directory index, this party's own entry empty; empty altogether where the private key is kept.
        private_key: empty where the values are.
    """

    next_round: int
    values: tuple[bytes, ...] = field(repr=False)
    private_key: bytes = field(default=b"", repr=False)

    @classmethod
    def agree(cls, private_key: bytes, directory: Directory, index: int, policy: Policy, cohort: int) -> Self:
        """Agrees on a key with everybody in the directory, now or when needed.

        Args:
            private_key: this party's, of this epoch.
            directory: with whom.
            index: this party's own.
            policy: says how large a directory may be for that.
            cohort: parties in the first round's cohort.
        """
        first = directory.header.round + 1
        whole_cohort = _COHORTS * cohort if directory.mode is Mode.MALICIOUS else 0
        if len(directory) > max(policy.eager_parties, whole_cohort):
            return cls(first, (), private_key)
        joins = [directory.join(other) for other in range(len(directory))]
        own = joins.pop(index)
        values = keys.pairwise_keys(private_key, own, joins)
        values.insert(index, b"")
        return cls(first, tuple(values))

    def step(self, round_: int, wanted: Collection[int], member: Membership) -> tuple[PairwiseKeys, dict[int, bytes]]:
        """Ratchets to just past `round_` and derives R_ij(round_) for the wanted parties."""
        if self.private_key:
            directory = member.directory
            own = directory.join(member.index)
            agreed = keys.pairwise_keys(self.private_key, own, [directory.join(index) for index in wanted])
            current = dict(zip(wanted, agreed, strict=True))
            start = directory.header.round + 1
        else:
            current = {index: value for index, value in enumerate(self.values) if value}
            start = self.next_round
        for _ in range(round_ - start):
            current = {index: keys.next_key(value) for index, value in current.items()}
        both = {index: keys.next_and_round_key(current[index]) for index in wanted}
        ahead = [
            (both[index][0] if index in both else keys.next_key(current[index])) if value else b""
            for index, value in enumerate(self.values)
        ]
        return PairwiseKeys(round_ + 1, tuple(ahead), self.private_key), {index: round_key for index, (_, round_key) in both.items()}

    def write(self, writer: Writer) -> None:
        """Appends the fields."""
        writer.u64(self.next_round).opaque(self.private_key)
        writer.fixed_vector([value or _NO_KEY for value in self.values], KEY_BYTES)

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Takes the fields."""
        next_round, private_key = reader.u64("next_round"), reader.opaque("private_key", max_bytes=32)
        values = reader.fixed_vector("keys", KEY_BYTES, max_items=_MAX_ENTRIES)
        return cls(next_round, tuple(b"" if value == _NO_KEY else value for value in values), private_key)
