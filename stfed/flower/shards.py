"""Unmasking in rectangles: a range of keys times a range of the vector, each worked on by anybody, the result the same bit by bit.

The masks on a sum are k streams added modulo 2^lane, and addition there is associative and commutative: any grouping of the streams gives
the same total. A stream can be entered at any segment (`crypto.keystream`), and coordinates do not mix. So keys x segments may be cut into
any rectangles. A worker is told its keys and segments, returns the sum of these pieces of stream, and the coordinator adds what comes back
to its own running sum, which never leaves it.

A worker's messages are bytes that may lie about: whoever carries them may queue, store, spill, log and repeat them. What is secret in them
is therefore sealed: X25519 between a key that the coordinator makes for one call and one that the worker makes for the same call,
HKDF-SHA256 over both, AES-256-GCM. A reply is bound to the request that it answers, so one that is stale, mixed up or cut off is an error
and never a wrong sum; a piece of stream goes into the key too, so a worker whose code makes other streams cannot answer at all. What is not
defended against is a carrier that lies: it could be a worker itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise, product
from math import ceil

import numpy as np

from stfed.crypto import aead, agreement, keystream
from stfed.crypto.kdf import derive, digest, framed
from stfed.crypto.keystream import KEY_BYTES, SEGMENT_BYTES, Words
from stfed.crypto.labels import Label
from stfed.crypto.random import Entropy, system_entropy
from stfed.errors import DecodeError, LocalError
from stfed.wire import Reader, Writer

MAX_SHARD_KEYS = 1 << 18
"""8 MiB of keys, and about 100 MiB of Python objects at the worker."""
MAX_SHARD_SEGMENTS = (1 << 26) // SEGMENT_BYTES
"""64 MiB of vector."""
_KNOWN_KEY = bytes(KEY_BYTES)
_SHARDS_PER_WORKER = 2
"""So that a worker has the next one while the coordinator adds the last one up."""


@dataclass(frozen=True, slots=True)
class Shard:
    """A rectangle of the work.

    Attributes:
        keys: which of the keys.
        segments: which of the vector's segments.
    """

    keys: range
    segments: range


def split(keys: int, segments: int, workers: int) -> list[Shard]:
    """Cuts keys x segments into rectangles, at least two for every worker where there is so much to cut.

    Cutting the vector sends every key to more workers, cutting the keys sends more partial sums back; of the cuts into enough shards, the
    one with the fewest bytes on the way is taken.

    Args:
        keys: how many streams there are.
        segments: how many the vector has.
        workers: how many there are.
    """
    if keys < 1 or segments < 1:
        return []
    wanted = _SHARDS_PER_WORKER * max(workers, 1)
    least_columns, least_rows = ceil(segments / MAX_SHARD_SEGMENTS), ceil(keys / MAX_SHARD_KEYS)
    shapes = {
        (columns, min(keys, max(least_rows, ceil(wanted / columns))))
        for columns in range(least_columns, min(segments, max(wanted, least_columns)) + 1)
    }
    most = max(min(columns * rows, wanted) for columns, rows in shapes)
    enough = (shape for shape in shapes if shape[0] * shape[1] >= most)
    columns, rows = min(enough, key=lambda shape: (shape[0] * keys * KEY_BYTES + shape[1] * segments * SEGMENT_BYTES, shape))
    return [Shard(of_keys, of_segments) for of_keys, of_segments in product(_equal(keys, rows), _equal(segments, columns))]


def _equal(count: int, parts: int) -> list[range]:
    cuts = [count * part // parts for part in range(parts + 1)]
    return [range(start, stop) for start, stop in pairwise(cuts)]


@dataclass(slots=True)
class Channel:
    """What the two ends of one call share: two directions under one key, random nonces.

    Args:
        ours: this end's private key.
        theirs: the other end's public key.
        coordinator: whether this end is the coordinator.
    """

    ours: bytes = field(repr=False)
    theirs: bytes
    coordinator: bool
    entropy: Entropy = field(default=system_entropy, repr=False)
    _key: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        both = (agreement.public_key(self.ours), self.theirs)
        # Across the end of a segment: what it holds is agreed upon, and where it begins.
        stream = keystream.keystream(_KNOWN_KEY, SEGMENT_BYTES - 32, 64)
        parts = (*(both if self.coordinator else both[::-1]), stream)
        self._key = derive(agreement.shared_secret(self.ours, self.theirs), Label.SHARD_KEY, *parts)

    def seal_request(self, plain: bytes) -> bytes:
        """What only the worker can open."""
        return aead.seal_random(self._key, plain, framed(Label.SHARD_REQUEST), self.entropy)

    def open_request(self, request: bytes) -> bytes:
        """What the coordinator sealed; raises AuthenticationError."""
        return aead.open_random(self._key, request, framed(Label.SHARD_REQUEST))

    def seal_reply(self, request: bytes, plain: bytes) -> bytes:
        """The answer to this request."""
        return aead.seal_random(self._key, plain, framed(Label.SHARD_REPLY, digest(Label.SHARD_REQUEST, request)), self.entropy)

    def open_reply(self, request: bytes, reply: bytes) -> bytes:
        """What the worker answered to this request; raises AuthenticationError."""
        return aead.open_random(self._key, reply, framed(Label.SHARD_REPLY, digest(Label.SHARD_REQUEST, request)))


def describe(words: Words, shard: Shard, add: Sequence[bytes], subtract: Sequence[bytes]) -> bytes:
    """A shard as a worker needs to know it: the keys numbered through, those to add before those to subtract."""
    adds = [add[at] for at in range(shard.keys.start, min(shard.keys.stop, len(add)))]
    subtracts = [subtract[at - len(add)] for at in range(max(shard.keys.start, len(add)), shard.keys.stop)]
    writer = Writer().u8(words.itemsize).u32(shard.segments.start).u64(piece(words, shard).nbytes)
    return writer.fixed_vector(adds, KEY_BYTES).fixed_vector(subtracts, KEY_BYTES).getvalue()


def piece(words: Words, shard: Shard) -> Words:
    """The part of the vector that a shard is about, as a view."""
    per_segment = SEGMENT_BYTES // words.itemsize
    return words[shard.segments.start * per_segment : shard.segments.stop * per_segment]


class Worker:
    """Sums up pieces of stream. It keeps no key but the one of the call at hand, and that in no file and no log.

    Args:
        threads: how many it may use.
    """

    def __init__(self, threads: int = 1) -> None:
        self._threads = threads
        self._private = b""

    def begin(self) -> bytes:
        """Makes a key for the next call, forgets the last one, and returns the public half."""
        self._private = agreement.generate(system_entropy)
        return agreement.public_key(self._private)

    def end(self) -> None:
        """Forgets the key: what was sealed to it stays closed from here on."""
        self._private = b""

    def work(self, sender: bytes, request: bytes) -> bytes:
        """Answers one request.

        Args:
            sender: the coordinator's public key of this call.
            request: a sealed description of a shard.

        Returns:
            The sealed sum, little-endian words.

        Raises:
            AuthenticationError: the request is not sealed to this worker's key of this call.
            DecodeError: it is no description of a shard.
        """
        if not self._private:
            raise LocalError("this worker has no key; a call starts with begin()")
        channel = Channel(self._private, sender, coordinator=False)
        reader = Reader(channel.open_request(request), "shard")
        word_bytes, first_segment, size_bytes = reader.u8("word"), reader.u32("segment"), reader.u64("size")
        if word_bytes not in (2, 4, 8) or size_bytes % word_bytes or size_bytes > MAX_SHARD_SEGMENTS * SEGMENT_BYTES:
            raise DecodeError("the shard has an impossible shape")
        add, subtract = (reader.fixed_vector(name, KEY_BYTES, max_items=MAX_SHARD_KEYS) for name in ("add", "subtract"))
        reader.end()
        total: Words = np.zeros(size_bytes // word_bytes, np.dtype(f"u{word_bytes}"))
        keystream.accumulate(total, add, subtract, threads=self._threads, first_segment=first_segment)
        return channel.seal_reply(request, total.tobytes())
