"""Proofs, against a verifier that follows the tree's definition downwards where `merkle` climbs with bits."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stfed.audit import merkle
from stfed.audit.errors import ProofError
from stfed.audit.merkle import node_hash
from stfed.errors import LocalError

LEAVES = [merkle.leaf_hash(str(number).encode()) for number in range(300)]
STORED: list[bytes] = []


def read(level: int, position: int) -> bytes:
    return STORED[merkle.stored_index(level, position)]


for _index, _leaf in enumerate(LEAVES):
    STORED += merkle.completed(_leaf, _index, read)

SIZES = st.integers(1, len(LEAVES))


def tree(leaves: list[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    half = half_of(len(leaves))
    return node_hash(tree(leaves[:half]), tree(leaves[half:]))


def half_of(size: int) -> int:
    return max(1 << bit for bit in range(64) if 1 << bit < size)


def root_by_inclusion(leaf: bytes, index: int, size: int, proof: list[bytes]) -> bytes | None:
    """The root that the proof leads to; None if it is of the wrong length."""
    if size == 1 or not proof:
        return leaf if size == 1 and not proof else None
    half, sibling = half_of(size), proof[-1]
    below = root_by_inclusion(leaf, index % half if index < half else index - half, half if index < half else size - half, proof[:-1])
    if below is None:
        return None
    return node_hash(below, sibling) if index < half else node_hash(sibling, below)


def roots_by_consistency(old: int, new: int, proof: list[bytes], old_root: bytes | None) -> tuple[bytes, bytes] | None:
    """Both roots that the proof leads to; `old_root` is not None as long as the old tree starts where this subtree does."""
    if old == new:
        return (old_root, old_root) if old_root and not proof else (proof[0], proof[0]) if not old_root and len(proof) == 1 else None
    if not proof:
        return None
    half, sibling = half_of(new), proof[-1]
    if old <= half:
        below = roots_by_consistency(old, half, proof[:-1], old_root)
        return below and (below[0], node_hash(below[1], sibling))
    below = roots_by_consistency(old - half, new - half, proof[:-1], None)
    return below and (node_hash(sibling, below[0]), node_hash(sibling, below[1]))


def test_every_proof_in_every_small_tree() -> None:
    roots = [merkle.root(size, read) for size in range(34)]
    assert roots[0] == merkle.EMPTY_ROOT
    for size in range(1, 34):
        assert roots[size] == tree(LEAVES[:size])
        for index in range(size):
            proof = merkle.inclusion_proof(index, size, read)
            merkle.verify_inclusion(LEAVES[index], index, size, proof, roots[size])
            assert root_by_inclusion(LEAVES[index], index, size, [*proof]) == roots[size]
        for old in range(size + 1):
            proof = merkle.consistency_proof(old, size, read)
            merkle.verify_consistency(old, size, proof, roots[old], roots[size])
            if old:
                assert roots_by_consistency(old, size, [*proof], roots[old]) == (roots[old], roots[size])


@given(st.data())
def test_inclusion_in_any_tree(data: st.DataObject) -> None:
    size = data.draw(SIZES)
    index = data.draw(st.integers(0, size - 1))
    proof, root = merkle.inclusion_proof(index, size, read), merkle.root(size, read)
    merkle.verify_inclusion(LEAVES[index], index, size, proof, root)
    assert root_by_inclusion(LEAVES[index], index, size, [*proof]) == root
    assert len(proof) <= (size - 1).bit_length()


@given(st.data())
def test_consistency_of_any_two_trees(data: st.DataObject) -> None:
    new = data.draw(SIZES)
    old = data.draw(st.integers(1, new))
    proof, roots = merkle.consistency_proof(old, new, read), (merkle.root(old, read), merkle.root(new, read))
    merkle.verify_consistency(old, new, proof, *roots)
    assert roots_by_consistency(old, new, [*proof], roots[0]) == roots
    assert len(proof) <= (new - 1).bit_length() + 1


def changed(data: st.DataObject, hashes: list[bytes]) -> list[bytes]:
    """Another list: a bit flipped, a hash dropped, repeated or put in, or two swapped."""
    at = data.draw(st.integers(0, max(0, len(hashes) - 1)))
    options = [[*hashes[:at], b"\x11" * 32, *hashes[at:]]]
    if hashes:
        bit = data.draw(st.integers(0, 255))
        flipped = (int.from_bytes(hashes[at], "big") ^ 1 << bit).to_bytes(32, "big")
        options += [[*hashes[:at], flipped, *hashes[at + 1 :]], hashes[:at] + hashes[at + 1 :], [*hashes[: at + 1], *hashes[at:]]]
    if len(hashes) > 1:
        options.append([*hashes[1:], hashes[0]])
    return data.draw(st.sampled_from(options))


@given(st.data())
def test_any_changed_inclusion_proof_is_refused(data: st.DataObject) -> None:
    size = data.draw(SIZES)
    index = data.draw(st.integers(0, size - 1))
    proof, root = merkle.inclusion_proof(index, size, read), merkle.root(size, read)
    other = data.draw(st.integers(0, size + 1))
    leaf = data.draw(st.sampled_from(LEAVES))
    attempts = [(LEAVES[index], index, changed(data, [*proof]), root), (LEAVES[index], index, [*proof], merkle.node_hash(root, root))]
    attempts += [(LEAVES[index], other, [*proof], root)] if other != index else []
    attempts += [(leaf, index, [*proof], root)] if leaf != LEAVES[index] else []
    for wrong_leaf, wrong_index, hashes, wrong_root in attempts:
        with pytest.raises(ProofError):
            merkle.verify_inclusion(wrong_leaf, wrong_index, size, hashes, wrong_root)


@given(st.data())
def test_any_changed_consistency_proof_is_refused(data: st.DataObject) -> None:
    new = data.draw(SIZES)
    old = data.draw(st.integers(0, new))
    proof, old_root, new_root = merkle.consistency_proof(old, new, read), merkle.root(old, read), merkle.root(new, read)
    other = data.draw(st.sampled_from(LEAVES).filter(lambda leaf: leaf not in (old_root, new_root)))
    attempts = [(changed(data, [*proof]), old_root, new_root), ([*proof], other, new_root)]
    if old:  # from an empty tree anything may grow
        attempts.append(([*proof], old_root, other))
    for hashes, first, second in attempts:
        with pytest.raises(ProofError):
            merkle.verify_consistency(old, new, hashes, first, second)


@given(SIZES, st.integers(0, 299), st.lists(st.sampled_from(LEAVES[:3]), max_size=10))
def test_both_verifiers_agree_on_any_list_of_hashes(size: int, index: int, proof: list[bytes]) -> None:
    root = root_by_inclusion(LEAVES[0], index, size, proof) if index < size else None
    if root is None:
        with pytest.raises(ProofError):
            merkle.verify_inclusion(LEAVES[0], index, size, proof, merkle.root(size, read))
    else:
        merkle.verify_inclusion(LEAVES[0], index, size, proof, root)
    if not 0 < index < size:
        return
    both = roots_by_consistency(index, size, proof, LEAVES[1])
    if both is None or both[0] != LEAVES[1]:
        with pytest.raises(ProofError):
            merkle.verify_consistency(index, size, proof, LEAVES[1], LEAVES[2] if both is None else both[1])
    else:
        merkle.verify_consistency(index, size, proof, *both)


def test_a_stored_hash_has_one_place() -> None:
    places = [merkle.stored_index(level, position) for level in range(9) for position in range(256 >> level)]
    assert sorted(places) == list(range(merkle.stored_count(256)))
    assert [merkle.stored_count(size) for size in range(6)] == [0, 1, 3, 4, 7, 8]
    assert merkle.stored_count(256) == sum(256 >> level for level in range(9))


def test_proofs_take_few_stored_hashes() -> None:
    """Of a tree of 2^40 + 12345 equal leaves."""
    by_level = [LEAVES[0]]
    for _ in range(40):
        by_level.append(node_hash(by_level[-1], by_level[-1]))
    asked: list[tuple[int, int]] = []

    def equal(level: int, position: int) -> bytes:
        asked.append((level, position))
        return by_level[level]

    size, old = (1 << 40) + 12345, (1 << 39) + 777
    root = merkle.root(size, equal)
    for index in (77, old, size - 1):
        merkle.verify_inclusion(LEAVES[0], index, size, merkle.inclusion_proof(index, size, equal), root)
    merkle.verify_consistency(old, size, merkle.consistency_proof(old, size, equal), merkle.root(old, equal), root)
    assert len(asked) < 8 * 41
    assert all((position + 1) << level <= size for level, position in asked)


def test_leaves_and_nodes_do_not_look_alike() -> None:
    left, right = LEAVES[:2]
    assert merkle.leaf_hash(left + right) != merkle.node_hash(left, right)


def test_what_there_is_no_proof_of() -> None:
    for index, size in ((0, 0), (5, 5), (-1, 5)):
        with pytest.raises(LocalError, match="no entry"):
            merkle.inclusion_proof(index, size, read)
        with pytest.raises(ProofError, match="no entry"):
            merkle.verify_inclusion(LEAVES[0], index, size, [], LEAVES[0])
    for old, new in ((6, 5), (-1, 5)):
        with pytest.raises(LocalError, match="did not grow"):
            merkle.consistency_proof(old, new, read)
        with pytest.raises(ProofError, match="did not grow"):
            merkle.verify_consistency(old, new, [], LEAVES[0], LEAVES[0])


def test_the_empty_tree() -> None:
    root = merkle.root(5, read)
    merkle.verify_consistency(0, 5, [], merkle.EMPTY_ROOT, root)
    merkle.verify_consistency(0, 0, [], merkle.EMPTY_ROOT, merkle.EMPTY_ROOT)
    for old, new, first, second in ((0, 5, root, root), (0, 0, root, root), (0, 0, merkle.EMPTY_ROOT, root)):
        with pytest.raises(ProofError, match="differ"):
            merkle.verify_consistency(old, new, [], first, second)


def test_hashes_of_another_length_are_refused() -> None:
    """Else bytes could move between neighbours in what is hashed."""
    root = merkle.root(4, read)
    first, second = merkle.inclusion_proof(0, 4, read)
    for proof in ([first + second[:1], second[1:]], [first[:31], second], [b"", first, second]):
        with pytest.raises(ProofError, match="32 bytes"):
            merkle.verify_inclusion(LEAVES[0], 0, 4, proof, root)
    with pytest.raises(ProofError, match="32 bytes"):
        merkle.verify_inclusion(LEAVES[0][:31], 0, 4, [first, second], root)
    with pytest.raises(ProofError, match="at most 64"):
        merkle.verify_inclusion(LEAVES[0], 0, 1 << 62, list(itertools.repeat(first, 70)), root)
    with pytest.raises(ProofError, match="32 bytes"):
        merkle.verify_consistency(2, 4, [second], merkle.root(2, read)[:31], root)
