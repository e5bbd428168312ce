"""The sliced cipher against the definition of AES, the standards' answers and the library; every step is the one that the GPU runs."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stfed.crypto import bitslice
from stfed.crypto import keystream as ks
from stfed.errors import LocalError
from tests.crypto.material import vectors

KEY = bytes(range(32))
words = st.lists(st.integers(0, 2**32 - 1), min_size=8, max_size=8).map(lambda row: [np.array([word], np.uint32) for word in row])
CIRCUITS = ("sub_bytes", "turn", "mix", "transpose_bits", "transpose_bytes", "add_halves")


def times(x: int, y: int) -> int:
    """The product in GF(2^8) modulo X^8 + X^4 + X^3 + X + 1."""
    product = 0
    while y:
        product ^= x * (y & 1)
        x, y = x << 1 ^ (0x11B if x & 0x80 else 0), y >> 1
    return product


def s_box(x: int) -> int:
    """FIPS 197, section 5.1.1: the inverse, then the affine map."""
    inverse = next((y for y in range(256) if times(x, y) == 1), 0)
    turned = [inverse << by | inverse >> (8 - by) for by in range(5)]
    return (turned[0] ^ turned[1] ^ turned[2] ^ turned[3] ^ turned[4]) & 0xFF ^ 0x63


def planes(values: np.ndarray) -> list[np.ndarray]:
    """Bit b of every byte, in the same place of word b."""
    return [sum((values >> (8 * byte + bit) & 1) << 8 * byte for byte in range(4)).astype(np.uint32) for bit in range(8)]


def values_of(row: tuple[np.ndarray, ...]) -> np.ndarray:
    return sum(word << bit for bit, word in enumerate(row))


def test_the_s_box_is_right_for_every_byte_in_every_column() -> None:
    inputs = np.array([x | (x ^ 0x55) << 8 | (255 - x) << 16 | ((7 * x) & 0xFF) << 24 for x in range(256)], np.uint32)
    found = values_of(bitslice.sub_bytes(*planes(inputs)))
    for x, y in zip(inputs.tolist(), found.tolist(), strict=True):
        assert bytes(byte ^ bitslice.AFFINE_CONSTANT for byte in y.to_bytes(4, "little")) == bytes(map(s_box, x.to_bytes(4, "little")))


@given(st.lists(st.binary(min_size=4, max_size=4), min_size=4, max_size=4))
def test_a_row_of_mix_columns_is_two_three_one_one(rows: list[bytes]) -> None:
    a, b, c, d = (planes(np.frombuffer(row, "<u4")) for row in rows)
    ab, cd = ([x ^ y for x, y in zip(*pair, strict=True)] for pair in ((a, b), (c, d)))
    expected = bytes(times(2, w) ^ times(3, x) ^ y ^ z for w, x, y, z in zip(*rows, strict=True))
    assert values_of(bitslice.mix(*ab, *b, *cd)).astype("<u4").tobytes() == expected


@given(words)
def test_transposed_bits_change_places_with_their_word(row: list[np.ndarray]) -> None:
    found = bitslice.transpose_bits(*row)
    for byte in range(4):
        for word in range(8):
            for bit in range(8):
                assert found[bit] >> (8 * byte + word) & 1 == row[word] >> (8 * byte + bit) & 1
    assert [*bitslice.transpose_bits(*found)] == row


@given(words)
def test_transposed_bytes_change_places_with_their_word(row: list[np.ndarray]) -> None:
    matrix = np.stack(row[:4]).astype("<u4").view(np.uint8)
    assert (np.stack(bitslice.transpose_bytes(*row[:4])).astype("<u4").view(np.uint8) == matrix.T).all()


@given(words)
def test_halves_add_up_on_their_own(row: list[np.ndarray]) -> None:
    x, y = np.concatenate(row[:4]), np.concatenate(row[4:])
    assert (bitslice.add_halves(x, y).view(np.uint16) == x.view(np.uint16) + y.view(np.uint16)).all()


def round_keys(schedule: np.ndarray) -> list[bytes]:
    """What a sliced schedule stands for, block by block, which all have the same."""
    keys = []
    for number, rows in enumerate(schedule.reshape(15, 4, 8)):
        state = np.stack([values_of(tuple(row & np.uint32(0x01010101))) for row in rows]).astype("<u4").view(np.uint8).reshape(4, 4)
        assert (schedule.reshape(15, 32)[number] == (schedule.reshape(15, 32)[number] & np.uint32(0x01010101)) * np.uint32(255)).all()
        keys.append(bytes((state.T ^ (bitslice.AFFINE_CONSTANT if number else 0)).reshape(-1).tolist()))
    return keys


def test_the_key_schedule_is_that_of_the_standard() -> None:
    # FIPS 197, appendix A.3: the first eight words are the key, the last four are w_56 to w_59.
    key = bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
    (schedule,) = bitslice.schedules([key])
    keys = round_keys(schedule)
    assert keys[0] + keys[1] == key
    assert keys[14].hex() == "fe4890d1e6188d0b046df344706c631e"


def test_the_published_answer_of_gcm_is_the_first_block() -> None:
    zeros = vectors("published")["gcm"][1]
    (schedule,) = bitslice.schedules([bytes(32)])
    found = bitslice.keystream_blocks(schedule, 0, np.full((8, 1), bitslice.FIRST_COUNTER, np.uint32))
    for block in found[:, :, 0]:
        assert block.astype("<u4").tobytes().hex() == zeros["sealed"][:32]


def test_vectors_of_ranges() -> None:
    case = vectors("keystream")
    (schedule,) = bitslice.schedules([bytes.fromhex(case["key"])])
    for each in case["ranges"]:
        expected = bytes.fromhex(each["bytes"])
        first, last = each["offset"] // 16, (each["offset"] + len(expected) - 1) // 16
        segments, blocks = np.divmod(np.arange(first, last + 1), bitslice.SEGMENT_BLOCKS)
        stream = b""
        for segment in np.unique(segments):
            counters = (blocks[segments == segment] + bitslice.FIRST_COUNTER).astype(np.uint32)
            found = bitslice.keystream_blocks(schedule, int(segment), np.tile(counters, (8, 1)))[0]
            stream += found.T.astype("<u4").tobytes()
        skip = each["offset"] - 16 * first
        assert stream[skip : skip + len(expected)] == expected, each["offset"]


@settings(max_examples=30)
@given(
    st.binary(min_size=32, max_size=32),
    st.sampled_from([0, 1, 255, 256, 65535, 65536, ks.STREAM_SEGMENTS - 1]),
    st.integers(0, bitslice.SEGMENT_BLOCKS - 64),
)
def test_blocks_are_those_of_the_keystream(key: bytes, segment: int, block: int) -> None:
    counters = (bitslice.FIRST_COUNTER + block + np.arange(64, dtype=np.uint32)).reshape(8, 8)
    (schedule,) = bitslice.schedules([key])
    found = bitslice.keystream_blocks(schedule, segment, counters)
    assert found.transpose(0, 2, 1).astype("<u4").tobytes() == ks.keystream(key, segment * ks.SEGMENT_BYTES + 16 * block, 1024)


def test_a_whole_segment() -> None:
    lanes = bitslice.SEGMENT_BLOCKS // 8
    counters = (bitslice.FIRST_COUNTER + np.arange(8 * lanes, dtype=np.uint32)).reshape(8, lanes)
    (schedule,) = bitslice.schedules([KEY])
    assert bitslice.keystream_blocks(schedule, 3, counters).transpose(0, 2, 1).astype("<u4").tobytes() == ks.keystream(
        KEY, 3 * ks.SEGMENT_BYTES, ks.SEGMENT_BYTES
    )


def test_the_bytes_that_the_kernel_takes_for_zero_are_zero() -> None:
    assert ks.STREAM_SEGMENTS <= 1 << 18
    assert bitslice.FIRST_COUNTER + bitslice.SEGMENT_BLOCKS <= 1 << 16


def test_schedules_of_many_keys_are_those_of_each() -> None:
    keys = [bytes([number]) * 32 for number in range(5)]
    assert (bitslice.schedules(keys) == np.concatenate([bitslice.schedules([key]) for key in keys])).all()
    assert bitslice.schedules([]).shape == (0, bitslice.KEY_WORDS)
    with pytest.raises(LocalError, match="32 bytes"):
        bitslice.schedules([KEY, bytes(16)])


def gates(name: str) -> Counter[str]:
    """The operators of a circuit; fails on anything that could branch, or read memory at an address that depends on data."""
    (function,) = ast.parse(textwrap.dedent(inspect.getsource(getattr(bitslice, name)))).body
    assert isinstance(function, ast.FunctionDef)
    allowed = ast.Assign | ast.Return | ast.BinOp | ast.operator | ast.Name | ast.Constant | ast.Tuple | ast.expr_context | ast.Expr
    counts: Counter[str] = Counter()
    for statement in function.body:
        for node in ast.walk(statement):
            assert isinstance(node, allowed), f"{name}: {ast.unparse(node)}"
            counts[type(node).__name__] += isinstance(node, ast.operator)
    return counts


@pytest.mark.parametrize("name", CIRCUITS)
def test_circuits_are_straight_lines_of_operators(name: str) -> None:
    assert not gates(name).keys() & {"Mult", "Div", "FloorDiv", "Mod", "Pow", "MatMult"}


def test_the_s_box_has_as_many_gates_as_the_paper_says() -> None:
    assert (gates("sub_bytes")["BitAnd"], gates("sub_bytes")["BitXor"]) == (32, 83)
