"""FLOE against its published known answers, and each of its promises broken once."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stfed.errors import LocalError, MalformedError
from stfed.sealed.errors import TamperedError, UnsupportedError
from stfed.sealed.floe import HEADER_BYTES, MAX_SEGMENTS, OVERHEAD_BYTES, Floe, Parameters

from .material import Script, load_json

KATS: list[dict[str, Any]] = load_json("floe_kats.json")
KEY, DATA = bytes(range(32)), b"associated data"


def seal(plain: bytes, parameters: Parameters, *, key: bytes = KEY, data: bytes = DATA, script: str = "floe") -> bytes:
    entropy = Script(script)
    message = Floe.start_encryption(key, data, parameters, entropy)
    chunk, out = parameters.chunk_bytes, message.header
    count = max(1, -(-len(plain) // chunk))
    for position in range(count):
        piece = memoryview(plain)[position * chunk : (position + 1) * chunk]
        segment = bytearray(len(piece) + OVERHEAD_BYTES)
        message.seal_segment(position, position == count - 1, piece, entropy(12), memoryview(segment))
        out += segment
    return out


def unseal(sealed: bytes, parameters: Parameters, *, key: bytes = KEY, data: bytes = DATA) -> bytes:
    message = Floe.start_decryption(key, data, parameters, sealed[:HEADER_BYTES])
    body, size, out = memoryview(sealed)[HEADER_BYTES:], parameters.segment_bytes, b""
    count = max(1, -(-len(body) // size))
    for position in range(count):
        segment = body[position * size : (position + 1) * size]
        plain = bytearray(max(0, len(segment) - OVERHEAD_BYTES))
        message.open_segment(position, position == count - 1, segment, memoryview(plain))
        out += plain
    return out


def test_there_are_known_answers() -> None:
    assert len(KATS) == 13
    assert {kat["name"].rsplit("_GCM")[0].rsplit("_rot")[0].rsplit("_last")[0] for kat in KATS} == {"go", "java", "cpp", "rust", "pub_java"}


@pytest.mark.parametrize("kat", KATS, ids=lambda kat: kat["name"])
def test_known_answer(kat: dict[str, Any]) -> None:
    parameters = Parameters(kat["segment_bytes"], kat["rotation_bits"])
    key, data = bytes.fromhex(kat["key"]), bytes.fromhex(kat["aad"])
    sealed = bytes.fromhex(kat["ciphertext"])
    assert unseal(sealed, parameters, key=key, data=data) == bytes.fromhex(kat["plaintext"])
    # The same randomness gives the same bytes, but where the message ends in an empty segment, which we never write.
    if kat["name"] != "java_lastSegEmpty":
        assert reseal(sealed, bytes.fromhex(kat["plaintext"]), parameters, key, data) == sealed


def reseal(sealed: bytes, plain: bytes, parameters: Parameters, key: bytes, data: bytes) -> bytes:
    draws = [sealed[10:42]] + [sealed[at + 4 : at + 16] for at in range(HEADER_BYTES, len(sealed), parameters.segment_bytes)]
    message = Floe.start_encryption(key, data, parameters, lambda _size: draws.pop(0))
    out, chunk = message.header, parameters.chunk_bytes
    for position in range(len(draws)):
        piece, last = memoryview(plain)[position * chunk : (position + 1) * chunk], len(draws) == 1
        segment = bytearray(len(piece) + OVERHEAD_BYTES)
        message.seal_segment(position, last, piece, draws.pop(0), memoryview(segment))
        out += segment
    return out


@given(st.binary(max_size=300), st.integers(33, 80), st.integers(0, 4))
def test_round_trip(plain: bytes, segment_bytes: int, rotation_bits: int) -> None:
    parameters = Parameters(segment_bytes, rotation_bits)
    assert unseal(seal(plain, parameters), parameters) == plain


@given(st.binary(min_size=1, max_size=200), st.data())
def test_any_flipped_bit_is_refused(plain: bytes, data: st.DataObject) -> None:
    parameters = Parameters(64)
    sealed = bytearray(seal(plain, parameters))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises((TamperedError, MalformedError, UnsupportedError)):
        unseal(bytes(sealed), parameters)


def test_key_iv_and_associated_data_are_committed_to_in_the_header() -> None:
    parameters = Parameters(64)
    sealed = seal(b"content", parameters)
    for key, data in ((bytes(32), DATA), (KEY, b"other")):
        with pytest.raises(TamperedError, match="header does not verify"):
            unseal(sealed, parameters, key=key, data=data)
    with pytest.raises(UnsupportedError, match="other parameters"):
        unseal(sealed, Parameters(65))
    with pytest.raises(MalformedError, match="73 bytes long"):
        Floe.start_decryption(KEY, DATA, parameters, sealed[: HEADER_BYTES - 1])


def test_segments_keep_their_place_and_their_message() -> None:
    parameters, plain = Parameters(64), bytes(range(96))
    sealed, other = seal(plain, parameters), seal(plain, parameters, script="another iv")
    head, first, second, last = sealed[:74], sealed[74:138], sealed[138:202], sealed[202:]
    assert unseal(head + first + second + last, parameters) == plain
    for wrong in (
        head + second + first + last,  # swapped
        head + first + first + last,  # repeated
        head + first + last,  # dropped
        head + first + second,  # cut at the end
        head + first + second + last + last,  # extended
        head + first + other[138:202] + last,  # from a message under the same key
        other[:74] + first + second + last,
    ):
        with pytest.raises((TamperedError, MalformedError)):
            unseal(wrong, parameters)


def test_a_refused_segment_leaves_no_plaintext_behind() -> None:
    parameters = Parameters(4096)
    sealed = bytearray(seal(b"secret " * 500, parameters))
    sealed[-1] ^= 1  # the tag; AES-GCM has decrypted everything by then
    message = Floe.start_decryption(KEY, DATA, parameters, bytes(sealed[:HEADER_BYTES]))
    out = bytearray(b"\xaa" * 3500)
    with pytest.raises(TamperedError):
        message.open_segment(0, True, memoryview(sealed)[HEADER_BYTES:], memoryview(out))
    assert out == bytes(3500)


def test_the_key_changes_with_the_epoch_and_only_then() -> None:
    message = Floe.start_encryption(KEY, DATA, Parameters(64, 2), Script())
    ciphers = [message._cipher(position) for position in range(9)]
    assert [ciphers.index(cipher) for cipher in ciphers] == [0, 0, 0, 0, 4, 4, 4, 4, 8]
    assert Parameters().rotation_bits == 20


def test_misuse_is_refused() -> None:
    message = Floe.start_encryption(KEY, DATA, Parameters(64), Script())
    room = memoryview(bytearray(64))
    with pytest.raises(LocalError, match="segment 0 takes 32 bytes"):
        message.seal_segment(0, False, memoryview(bytes(31)), bytes(12), room[:63])
    with pytest.raises(LocalError, match="segment 0 takes 32 bytes"):
        message.seal_segment(0, True, memoryview(bytes(33)), bytes(12), memoryview(bytearray(65)))
    with pytest.raises(LocalError, match="32 more of room"):
        message.seal_segment(0, True, memoryview(bytes(3)), bytes(12), room)
    for position in (-1, MAX_SEGMENTS):
        with pytest.raises(LocalError, match="outside"):
            message.seal_segment(position, False, memoryview(bytes(32)), bytes(12), room)
    with pytest.raises(LocalError, match="32 bytes"):
        Floe.start_encryption(bytes(16), DATA, Parameters(64), Script())
    assert "key hidden" in repr(message)
    assert KEY.hex() not in repr(message)
