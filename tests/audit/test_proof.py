"""The texts that are mailed: they read back as they were written, and nothing else reads."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stfed.audit import Checkpoint, ConsistencyProof, InclusionProof, SignedCheckpoint, merkle
from stfed.audit.events import MAX_ENTRY_BYTES
from stfed.audit.note import base64_text
from stfed.errors import MalformedError

from .material import LOG_SIGNER

LINES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=10)
NAMES = st.text(st.characters(categories=["L", "N", "P", "S"], exclude_characters="+"), min_size=1, max_size=10).filter(str.isprintable)
HASHES = st.lists(st.binary(min_size=32, max_size=32), max_size=5).map(tuple)
NUMBERS = st.integers(0, 2**63 - 1)


def signed(origin: str, size: int, root: bytes, extensions: list[str]) -> SignedCheckpoint:
    return Checkpoint(origin, size, root if size else merkle.EMPTY_ROOT, tuple(extensions)).signed(LOG_SIGNER)


CHECKPOINTS = st.builds(signed, NAMES, NUMBERS, st.binary(min_size=32, max_size=32), st.lists(LINES, max_size=2))
INCLUSIONS = st.builds(InclusionProof, NUMBERS, HASHES, CHECKPOINTS, st.none() | st.binary(min_size=1, max_size=40))
CONSISTENCIES = st.builds(ConsistencyProof, NUMBERS, HASHES, CHECKPOINTS)


@given(CHECKPOINTS, INCLUSIONS, CONSISTENCIES)
def test_texts_read_back_as_they_were_written(checkpoint: SignedCheckpoint, inclusion: InclusionProof, growth: ConsistencyProof) -> None:
    assert SignedCheckpoint.parse(str(checkpoint)) == checkpoint
    assert InclusionProof.parse(str(inclusion)) == inclusion
    assert InclusionProof.parse(str(inclusion).encode()) == inclusion
    assert ConsistencyProof.parse(str(growth)) == growth


@given(
    st.one_of(CHECKPOINTS, INCLUSIONS, CONSISTENCIES),
    st.integers(0, 400),
    st.integers(0, 3),
    st.sampled_from(["", "\n", " ", "0", "=", "A", "extra ", "index 1\n", "\u2014 ", "\r", "\u2028"]),
)
def test_what_reads_is_written_again_the_same(
    proof: SignedCheckpoint | InclusionProof | ConsistencyProof, at: int, cut: int, piece: str
) -> None:
    whole = str(proof)
    data = whole[:at] + piece + whole[at + cut :]
    try:
        found = type(proof).parse(data)
    except MalformedError:
        return
    assert str(found) == data


@given(st.binary(max_size=200))
def test_any_bytes_give_the_one_error(data: bytes) -> None:
    for kind in (SignedCheckpoint, InclusionProof, ConsistencyProof):
        for start in (b"", b"c2sp.org/tlog-proof@v1\nindex 0\n", b"old 0\n"):
            with pytest.raises(MalformedError):
                kind.parse(start + data)


def test_an_entry_in_a_proof_is_bounded() -> None:
    checkpoint = Checkpoint("x", 1, bytes(32)).signed(LOG_SIGNER)
    longest = InclusionProof(0, (), checkpoint, bytes(MAX_ENTRY_BYTES))
    assert InclusionProof.parse(str(longest)) == longest
    with pytest.raises(MalformedError, match="longer than"):
        InclusionProof.parse(str(InclusionProof(0, (), checkpoint, bytes(MAX_ENTRY_BYTES + 1))))
    with pytest.raises(MalformedError, match="63 hashes"):
        ConsistencyProof.parse(f"old 1\n{(base64_text(bytes(32)) + chr(10)) * 64}\n{checkpoint}")
