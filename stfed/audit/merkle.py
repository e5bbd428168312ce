"""The Merkle tree of RFC 6962 and RFC 9162, section 2.1, with SHA-256: roots, and proofs made and checked.

The hash of a subtree of 2^level leaves, once full, never changes. Those hashes are what a log stores, each once, in the order in which
they become known, so that the store is as append-only as the log:

    leaf          0     1     2     3     4
    stored hash   0    1,2    3   4,5,6   7     (the leaf's own, then that of every subtree it completes)

Any root or proof of a tree of n leaves takes O(log n) of them. They are asked for by level and position through a `HashReader`, wherever
they lie. Making proofs trusts what is stored; checking them trusts nothing but the roots.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from stfed.audit.errors import ProofError
from stfed.errors import LocalError

HASH_BYTES = 32
MAX_PROOF_HASHES = 64  # an inclusion proof has up to 63, a consistency proof one more
EMPTY_ROOT = hashlib.sha256().digest()

HashReader = Callable[[int, int], bytes]
"""(level, position) -> the stored hash over the leaves from position * 2^level to (position + 1) * 2^level."""


def leaf_hash(entry: bytes) -> bytes:
    """The hash of one entry. The prefix keeps leaves and nodes apart (RFC 9162, section 2.1.1)."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash over two neighbouring subtrees."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def stored_count(size: int) -> int:
    """How many hashes a tree of `size` leaves stores: the sum of size // 2^level over all levels."""
    return 2 * size - size.bit_count()


def stored_index(level: int, position: int) -> int:
    """Where in the order of storing the hash at (level, position) stands: it comes with the last leaf under it."""
    return stored_count(((position + 1) << level) - 1) + level


def completed(leaf: bytes, index: int, read: HashReader) -> list[bytes]:
    """The hashes that leaf number `index` adds to the store: its own, then that of every subtree it completes, upwards."""
    hashes = [leaf]
    for level in range((index + 1 & ~index).bit_length() - 1):  # one level for every trailing 1 of the index
        hashes.append(node_hash(read(level, (index >> level) - 1), hashes[-1]))
    return hashes


def root(size: int, read: HashReader) -> bytes:
    """The root of the tree of the first `size` leaves. Asks only for the newest stored hash of each level it needs."""
    return _range_root(0, size, read) if size else EMPTY_ROOT


def _split(count: int) -> int:
    """The largest power of two below `count`: how many leaves stand left of the top node."""
    return 1 << (count - 1).bit_length() - 1


def _range_root(start: int, stop: int, read: HashReader) -> bytes:
    """The root over the leaves `start` to `stop`, a subtree of some tree: `start` is a multiple of the power of two that holds it."""
    count = stop - start
    if count & count - 1 == 0:
        level = count.bit_length() - 1
        return read(level, start >> level)
    middle = start + _split(count)
    return node_hash(_range_root(start, middle, read), _range_root(middle, stop, read))


def inclusion_proof(index: int, size: int, read: HashReader) -> tuple[bytes, ...]:
    """The siblings on the way from leaf `index` up to the root of the first `size` leaves (RFC 9162, section 2.1.3.1).

    Raises:
        LocalError: if there is no such leaf in that tree.
    """
    if not 0 <= index < size:
        raise LocalError(f"a log of {size} entries has no entry {index}")
    start, stop, path = 0, size, []
    while stop - start > 1:
        middle = start + _split(stop - start)
        if index < middle:
            path.append(_range_root(middle, stop, read))
            stop = middle
        else:
            path.append(_range_root(start, middle, read))
            start = middle
    return tuple(reversed(path))


def consistency_proof(old_size: int, new_size: int, read: HashReader) -> tuple[bytes, ...]:
    """What shows that the first `old_size` of `new_size` leaves are the old tree (RFC 9162, section 2.1.4.1); nothing for an empty one.

    Raises:
        LocalError: if the old tree is larger than the new one.
    """
    if not 0 <= old_size <= new_size:
        raise LocalError(f"a log of {new_size} entries did not grow from one of {old_size}")
    start, stop, path = 0, new_size, []
    while old_size not in (0, stop):
        middle = start + _split(stop - start)
        if old_size <= middle:
            path.append(_range_root(middle, stop, read))
            stop = middle
        else:
            path.append(_range_root(start, middle, read))
            start = middle
    if start:  # the old tree's own last part; if there is but one, it is the old root, which the verifier has
        path.append(_range_root(start, stop, read))
    return tuple(reversed(path))


def _climb(number: int, last: int) -> tuple[int, int]:
    """From a node whose sibling is on the left to the next level at which the path has a sibling: a last node may stand alone on some."""
    while number and not number & 1:
        number, last = number >> 1, last >> 1
    return number >> 1, last >> 1


def _check_hashes(hashes: Sequence[bytes]) -> None:
    if len(hashes) > MAX_PROOF_HASHES or any(len(value) != HASH_BYTES for value in hashes):
        raise ProofError(f"a proof has at most {MAX_PROOF_HASHES} hashes of {HASH_BYTES} bytes each")


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Returns if `leaf` is the hash of entry `index` in the tree of `size` leaves with this root (RFC 9162, section 2.1.3.2).

    Raises:
        ProofError: otherwise.
    """
    _check_hashes((leaf, *proof))
    if not 0 <= index < size:
        raise ProofError(f"a tree of {size} entries has no entry {index}")
    number, last, value = index, size - 1, leaf
    for sibling in proof:
        if not last:
            raise ProofError("the inclusion proof is longer than the way to the root")
        if number & 1 or number == last:
            value = node_hash(sibling, value)
            number, last = _climb(number, last)
        else:
            value = node_hash(value, sibling)
            number, last = number >> 1, last >> 1
    if last or value != root:
        raise ProofError(f"the inclusion proof of entry {index} does not lead to the root of the {size} entries")


def verify_consistency(old_size: int, new_size: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> None:
    """Returns if the tree with `old_root` is the first `old_size` leaves of the one with `new_root` (RFC 9162, section 2.1.4.2).

    The empty tree is a part of every tree, and every tree of itself; neither needs a proof, and neither may bring one.

    Raises:
        ProofError: otherwise.
    """
    if not 0 <= old_size <= new_size:
        raise ProofError(f"a tree of {new_size} entries did not grow from one of {old_size}")
    if old_size in (0, new_size):
        if proof:
            raise ProofError(f"from {old_size} to {new_size} entries no consistency proof is due, and one was given")
        if (old_size == new_size and old_root != new_root) or (not old_size and old_root != EMPTY_ROOT):
            raise ProofError(f"the roots of {old_size} entries differ")
        return
    path = [*proof] if old_size & old_size - 1 else [old_root, *proof]
    _check_hashes(path)
    if len(path) < 2:
        raise ProofError(f"the consistency proof from {old_size} to {new_size} entries is empty")
    number, last = old_size - 1, new_size - 1
    while number & 1:
        number, last = number >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if not last:
            raise ProofError("the consistency proof is longer than the way to the root")
        if number & 1 or number == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            number, last = _climb(number, last)
        else:
            new = node_hash(new, sibling)
            number, last = number >> 1, last >> 1
    if last or old != old_root or new != new_root:
        raise ProofError(f"the consistency proof does not lead from the root of {old_size} entries to that of {new_size}")
