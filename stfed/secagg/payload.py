"""From an update to the masked bytes that leave the party, piece by piece, straight into the memory that is sent.

A piece of 262,144 coordinates is encoded, masked with all keys and packed before the next one is begun, so beside the update and the
payload there is only what the threads work in, a few MiB each, at any size of the model. Every piece is the same whoever does it: masks
and dither are keystreams that can be entered at each segment, and a piece begins with one. So neither the number of threads nor the order
of the pieces changes a byte, and they are the bytes of `encode_update`, `apply_masks` and `pack_vector` for the same dither.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from stfed.crypto.kdf import derive
from stfed.crypto.keystream import SEGMENT_BYTES, Streams, default_threads, fill, stream
from stfed.crypto.labels import Label
from stfed.encoding import Update, packed_bytes, payload_bytes
from stfed.encoding.noising import MAX_ATTEMPTS, never_accepted
from stfed.encoding.pack import Packer
from stfed.encoding.quantize import DITHER_BYTES, TILE, Tile
from stfed.encoding.rotation import tiles
from stfed.errors import LocalError
from stfed.memory import Blank
from stfed.secagg import devicepayload
from stfed.secagg.masking import masked_limbs
from stfed.threads import share

PIECE = 2 * TILE
"""Coordinates a piece, but for the last: whole segments of the dither and of the masks, whether a lane has 2, 4 or 8 bytes."""

_ENCODING_MASKS = 8
"""About as many masks as encoding a coordinate takes the time of, to decide how many threads are worth it."""


def masked_payload(
    update: Update, add: Sequence[bytes], subtract: Sequence[bytes], dither_key: bytes, *, threads: int | None = None
) -> bytes:
    """The update as it is sent: encoded, with the keystreams of these keys added and subtracted, packed.

    Args:
        update: the party's.
        add: 32-byte keystream keys.
        subtract: likewise.
        dither_key: 32 random bytes of this update alone. Coordinate i is rounded by the four bytes at 4 i of its keystream; keys for noise,
            and for rounding once more, are derived from it.
        threads: how many to use at most; None for the processors at hand, up to four, and one where the work is small.

    Raises:
        LocalError: NaN or infinity in a model (see `Update.encode`), or a wrong argument. Nothing is returned then.
    """
    plan = update.plan
    ring_bytes = packed_bytes(plan.vector_length, plan.ring_bits)
    payload = Blank(payload_bytes(plan))
    ring, device = payload.view[:ring_bytes], devicepayload.device_for(update)
    if device is None:
        clipped = _write_accepted_ring(update, Streams(add, subtract), dither_key, ring, threads)
    else:
        clipped = devicepayload.write_ring(update, add, subtract, dither_key, ring, device)
    del ring
    payload.view[ring_bytes:].view("<u4")[:] = masked_limbs(update.wide(clipped), plan, add, subtract)
    return payload.taken()


def _write_accepted_ring(update: Update, streams: Streams, dither_key: bytes, out: NDArray[np.uint8], threads: int | None) -> int:
    """`_write_ring`, with another key for as long as the rounding is not accepted. Nothing leaves before it is."""
    for attempt in range(MAX_ATTEMPTS):
        update.begin()
        key = derive(dither_key, Label.ROUNDING, bytes([attempt])) if attempt else dither_key
        clipped = _write_ring(update, streams, key, out, threads)
        if update.accepted():
            return clipped
    raise never_accepted()


def _write_ring(update: Update, streams: Streams, dither_key: bytes, out: NDArray[np.uint8], threads: int | None) -> int:
    """Fills the packed ring part and returns how many coordinates were clipped."""
    plan, lane = update.plan, update.plan.lane
    length, packed = plan.vector_length, plan.ring_bits < 8 * plan.lane.itemsize
    if threads is None:
        threads = default_threads(length * lane.itemsize * (len(streams) + _ENCODING_MASKS))
    if threads < 1:
        raise LocalError(f"threads must be at least 1, not {threads}")
    pieces = tiles(length, PIECE)
    _ = update.floats  # tensors that have to be copied to be flat are, once and not by every thread

    def worker() -> Callable[[slice], int]:
        tile = Tile(length)
        room = np.empty(max(piece.stop - piece.start for piece in pieces), lane) if packed else out.view(lane)
        packer = Packer(plan.ring_bits) if packed else None

        def work(piece: slice) -> int:
            size = piece.stop - piece.start
            words = room[:size] if packed else room[piece]
            clipped = 0
            for part in tiles(size, TILE):
                at = piece.start + part.start
                dither = partial(fill, dither_key, first_segment=at * DITHER_BYTES // SEGMENT_BYTES)
                noise = dither if plan.noise is None else stream(derive(dither_key, Label.NOISE, at.to_bytes(8, "big")))
                clipped += update.encode(at, words[part], tile, dither, noise)
            streams.accumulate(words, first_segment=piece.start * lane.itemsize // SEGMENT_BYTES, threads=1)
            if packer is not None:
                first = piece.start * plan.ring_bits // 8
                packer.pack(words, out[first : first + packed_bytes(size, plan.ring_bits)])
            return clipped

        return work

    return sum(share(pieces, min(threads, len(pieces)), worker)) if pieces else 0
