"""What a round of very many parties would take, computed from constants that were measured on this machine. Nothing here is measured.

Assumed, and said wherever the results are shown:

- the coordinator's work is linear in the number of parties at fixed k and t (what `benchmarks.scale` fits), and in the length of the
  vector beyond that;
- delta of the cohort drop after PREPARE, which is the dearest moment: for each, k mask keys have to be taken off, less the neighbours that
  dropped too;
- n workers take off masks n times as fast as one, times the efficiency that two of them had here; they are as fast as this core;
- the checks of PREPARE and UNMASK, and the recovery of keys, run on one core of the coordinator, as they do today;
- the network is what its data sheet says, and Flower's SuperLink is not counted: what it takes for a message is measured by
  `benchmarks.simulation`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from stfed.crypto.keystream import KEY_BYTES, SEGMENT_BYTES
from stfed.flower.shards import split
from stfed.secagg.params import Parameters, choose

MILLION = 1_000_000
SIZES = (100_000, 1_000_000, 10_000_000)
WORKERS = (1, 16, 64, 256, 1024)
GBIT_S = 100.0
GAMMA = DELTA = 0.05
WORD_BYTES = 4


@dataclass(frozen=True)
class Constants:
    """Measured, on one core.

    Attributes:
        mask_ns: keystream and addition, for one word of one mask.
        key_ns: making a mask's key ready, for one mask, once a shard.
        sum_ns: unpacking and adding a reply, for one word.
        party_ms: all else that the coordinator does for one party with k neighbours: the checks of its messages, and its keys recovered.
        reconstruct_us: of that, one secret put together from t shares.
        derive_us: of that, one mask key derived and checked against its commitment.
        carry_ns: the coordinator's part in a shard, for one word of a partial sum that comes back.
        efficiency: how much of twice the speed two workers reached.
        up_bytes: what a party sends beside its vector.
        down_bytes, down_bytes_each: what a party is sent beside the model, and how much more for every other party in the cohort.
        join_bytes_each: how much it is sent for every other party when everybody joins, once an epoch.
        held_bytes: what the coordinator keeps of a party between PREPARE and UNMASK.
    """

    mask_ns: float
    key_ns: float
    sum_ns: float
    party_ms: float
    reconstruct_us: float
    derive_us: float
    carry_ns: float
    efficiency: float
    up_bytes: float
    down_bytes: float
    down_bytes_each: float
    join_bytes_each: float
    held_bytes: float


@dataclass(frozen=True)
class Round:
    """One round, computed.

    Attributes:
        parameters: n, k and t, by the calculator.
        constants: what it is computed from.
        words: length of the vector, 32 bits each.
    """

    parameters: Parameters
    constants: Constants
    words: int

    @property
    def survivors(self) -> int:
        """Parties in the sum."""
        return self.parameters.min_survivors

    @property
    def masks(self) -> int:
        """Keystreams as long as the vector, to be taken off."""
        dropped = self.parameters.n - self.survivors
        return self.survivors + ceil(dropped * self.parameters.k * self.survivors / self.parameters.n)

    @property
    def masks_s(self) -> float:
        """Seconds of one core for the masks."""
        return 1e-9 * self.masks * (self.words * self.constants.mask_ns + self.constants.key_ns)

    @property
    def sum_s(self) -> float:
        """Seconds of one core for the running sum."""
        return 1e-9 * self.survivors * self.words * self.constants.sum_ns

    @property
    def parties_s(self) -> float:
        """Seconds of one core for all that does not depend on the vector."""
        return 1e-3 * self.parameters.n * self.constants.party_ms

    @property
    def core_hours(self) -> float:
        """All three."""
        return (self.masks_s + self.sum_s + self.parties_s) / 3600

    @property
    def up_bytes(self) -> float:
        """From the parties."""
        return self.survivors * WORD_BYTES * self.words + self.parameters.n * self.constants.up_bytes

    @property
    def down_all_bytes(self) -> float:
        """Sent because every party is told about every other one."""
        return self.parameters.n**2 * self.constants.down_bytes_each

    @property
    def down_bytes(self) -> float:
        """To the parties."""
        return self.parameters.n * (WORD_BYTES * self.words + self.constants.down_bytes) + self.down_all_bytes

    @property
    def memory_bytes(self) -> float:
        """The sum, and what is kept of the parties, without what Python adds to it."""
        return WORD_BYTES * self.words + self.parameters.n * self.constants.held_bytes

    def masks_wall_s(self, workers: int) -> float:
        """Taking off the masks with so many workers: the slower of them and of the coordinator, which seals keys and adds partial sums."""
        shards = split(self.masks, ceil(self.words * WORD_BYTES / SEGMENT_BYTES), workers)
        columns = len({shard.segments for shard in shards})
        work_s = 1e-9 * self.masks * (self.words * self.constants.mask_ns + columns * self.constants.key_ns)
        speed = 1 if workers == 1 else workers * self.constants.efficiency
        return max(work_s / speed, 1e-9 * len(shards) / columns * self.words * self.constants.carry_ns)

    def shard_bytes(self, workers: int) -> int:
        """Between the coordinator and its workers, both ways."""
        shards = split(self.masks, ceil(self.words * WORD_BYTES / SEGMENT_BYTES), workers)
        return sum(len(shard.keys) * KEY_BYTES + len(shard.segments) * SEGMENT_BYTES for shard in shards)


def round_of(constants: Constants, parties: int, words: int) -> Round:
    """A round of so many parties, with the parameters that the calculator chooses for it."""
    return Round(choose(parties, GAMMA, DELTA), constants, words)


def table(constants: Constants, parties: int, sizes: tuple[int, ...], workers: tuple[int, ...], gbit_s: float) -> list[str]:
    """Markdown: one column a size of the vector."""
    rounds = [round_of(constants, parties, size) for size in sizes]
    parameters = rounds[0].parameters
    rows: list[tuple[str, list[str]]] = [
        ("masks to take off", [f"{item.masks:,}" for item in rounds]),
        ("core hours, all of it", [f"{item.core_hours:,.1f}" for item in rounds]),
        ("of these, masks", [f"{item.masks_s / 3600:,.1f}" for item in rounds]),
        ("of these, the running sum", [f"{item.sum_s / 3600:,.1f}" for item in rounds]),
        ("of these, parties one by one", [f"{item.parties_s / 3600:,.1f}" for item in rounds]),
        *((f"masks, {count:,} worker{'s' * (count > 1)}", [_duration(item.masks_wall_s(count)) for item in rounds]) for count in workers),
        (f"keys and partial sums, {workers[-1]:,} workers", [_size(item.shard_bytes(workers[-1])) for item in rounds]),
        ("from the parties", [_size(item.up_bytes) for item in rounds]),
        (f"... at {gbit_s:g} Gbit/s", [_duration(8e-9 * item.up_bytes / gbit_s) for item in rounds]),
        ("to the parties, model and all", [_size(item.down_bytes) for item in rounds]),
        ("... as lists of the other parties", [_size(item.down_all_bytes) for item in rounds]),
        ("the directory, once an epoch", [_size(parties**2 * constants.join_bytes_each)] * len(rounds)),
        ("coordinator's memory", [_size(item.memory_bytes) for item in rounds]),
    ]
    head = f"{parties:,} parties, k = {parameters.k}, t = {parameters.t}"
    lines = [f"| {head} | " + " | ".join(f"{size:,} parameters" for size in sizes) + " |", "|---|" + "---|" * len(sizes)]
    return lines + [f"| {name} | " + " | ".join(cells) + " |" for name, cells in rows]


def _duration(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def _size(size_bytes: float) -> str:
    for size, unit in ((1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if size_bytes >= size:
            return f"{size_bytes / size:.1f} {unit}"
    return f"{size_bytes / 1e3:.0f} kB"
