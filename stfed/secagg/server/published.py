"""What the coordinator keeps of a PREPARE once U1 is fixed: what it passes on, and what it needs to hold a party to its word.

That is O(k) a party. On a graph that can be computed it is the message itself, 172 bytes for each neighbour. Where parties draw their
holders, a message has a seed and a commitment for everybody in the cohort, 48 n bytes, because its sender did not know who would draw it;
once all have drawn, those with its neighbours are taken out and the rest is not needed for any sum. The tag of such a box goes with the
rest. What authenticates a seed is the commitment, which the neighbour has published too; the box key has one of its own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stfed.crypto import aead
from stfed.secagg import keys
from stfed.secagg.messages import SEALED_SHARES_BYTES, SHORT_HASH_BYTES, DealtShares, DrawnPrepare, Prepare, ShareOf
from stfed.secagg.server.links import SEED_BYTES, Links
from stfed.wire import Records

_BOX_NONCE = bytes(aead.NONCE_BYTES)
_BLOCKS = SEED_BYTES // aead.BLOCK_BYTES
_HASH_AT = {ShareOf.SELF_SEED: SEALED_SHARES_BYTES, ShareOf.BOX_KEY: SEALED_SHARES_BYTES + SHORT_HASH_BYTES}
_SEED_AT = SEALED_SHARES_BYTES + 2 * SHORT_HASH_BYTES


class Published:
    """One party's PREPARE, on a graph that can be computed.

    Attributes:
        commit_self_seed: its commitment to b.
        commit_box_key: its commitment to z.
        commitments: 32 bytes over all it published (`keys.commitments_digest`).
        neighbours: with whom it may share a mask, as directory indices, ascending.
    """

    __slots__ = ("_box", "_dealt", "_party", "commit_box_key", "commit_self_seed", "commitments", "neighbours")

    def __init__(self, party: int, prepare: Prepare, links: Links) -> None:
        self.commit_self_seed: bytes = prepare.commit_self_seed
        self.commit_box_key: bytes = prepare.commit_box_key
        self.commitments: bytes = keys.published_by(prepare, party)
        self.neighbours: NDArray[np.int32] = np.array(links.neighbours(party), np.int32)
        self._party, self._box = party, prepare.box
        self._dealt = prepare.dealt.data if isinstance(prepare.dealt, Records) else b"".join(dealt.encode() for dealt in prepare.dealt)

    def delivery(self, slot: int) -> bytes:
        """The `Delivery` for the holder at this place of the PREPARE, encoded."""
        at = slot * DealtShares.BYTES
        hashes = at + SEALED_SHARES_BYTES
        return self._dealt[at:hashes] + self.commitments + self._dealt[hashes : at + _SEED_AT]

    def share_hash(self, slot: int, of: ShareOf) -> bytes:
        """What it published about the share of that holder."""
        at = slot * DealtShares.BYTES + _HASH_AT[of]
        return self._dealt[at : at + SHORT_HASH_BYTES]

    def seed_commitments(self) -> bytes:
        """What it published about its seeds, 16 bytes each, in the order of `neighbours`."""
        return np.frombuffer(self._dealt, np.uint8).reshape(-1, DealtShares.BYTES)[:, _SEED_AT:].tobytes()

    def seeds(self, box_key: bytes, associated_data: bytes) -> list[bytes]:
        """Its pairwise seeds, in the order of `neighbours`.

        Raises:
            AuthenticationError: the box does not open with this key.
        """
        return _pieces(aead.open_(box_key, _BOX_NONCE, self._box, associated_data))


class DrawnPublished(Published):
    """The same, where parties draw their holders: of the box and the commitments only the parts with its neighbours."""

    __slots__ = ("_places", "_seed_commitments")

    def __init__(self, party: int, prepare: DrawnPrepare, links: Links) -> None:
        super().__init__(party, prepare, links)
        self._places = np.array([links.seed_at(party, other) for other in self.neighbours.tolist()], np.int32)
        held = np.zeros(len(prepare.box) // SEED_BYTES, bool)
        held[[links.seed_at(party, holder) for holder in prepare.holders]] = True
        commitments = np.empty((len(held), SHORT_HASH_BYTES), np.uint8)
        commitments[held] = np.frombuffer(super().seed_commitments(), np.uint8).reshape(-1, SHORT_HASH_BYTES)
        commitments[~held] = np.frombuffer(prepare.others, np.uint8).reshape(-1, SHORT_HASH_BYTES)
        self._seed_commitments = commitments[self._places].tobytes()
        self._box = np.frombuffer(prepare.box[: SEED_BYTES * len(held)], np.uint8).reshape(-1, SEED_BYTES)[self._places].tobytes()

    def seed_commitments(self) -> bytes:
        """See `Published`."""
        return self._seed_commitments

    def seeds(self, box_key: bytes, associated_data: bytes) -> list[bytes]:
        """See `Published`; with another key they are other seeds, which the commitments tell."""
        blocks = (_BLOCKS * self._places[:, None] + np.arange(_BLOCKS)).ravel().tolist()
        return _pieces(aead.decrypt_blocks(box_key, _BOX_NONCE, self._box, blocks))


def publish(party: int, prepare: Prepare, links: Links) -> Published:
    """What is kept of a PREPARE, once everybody who will be in U1 has been taken up by `links`."""
    return DrawnPublished(party, prepare, links) if isinstance(prepare, DrawnPrepare) else Published(party, prepare, links)


def _pieces(seeds: bytes) -> list[bytes]:
    return [seeds[at : at + SEED_BYTES] for at in range(0, len(seeds), SEED_BYTES)]
