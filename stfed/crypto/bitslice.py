"""AES-256 in counter mode without tables or branches, in the form that runs on a GPU, and the same in NumPy to hold that to.

Every step is a fixed sequence of ANDs, XORs and shifts of 32-bit words, so time and memory access do not depend on keys. The layout is
barrel-ShiftRows (Adomnicai and Peyrin, *Fixslicing AES-like Ciphers*, TCHES 2021): 32 words hold eight blocks, one word for each of the
four rows of the AES state and each of the eight bits of a byte; bit 8 c + k of a word belongs to column c of block k. Then

- SubBytes is one Boolean circuit on the eight words of a row (`sub_bytes`),
- ShiftRows turns the words of row r right by 8 r bits (`turn`),
- MixColumns is XORs between rows (`mix`),
- and the way to bytes and back is the transposition of a 32 x 32 bit matrix (`transpose_bits`, `transpose_bytes`).

These are plain Python on operators, which is why `stfed.crypto.triton_aes` compiles the very same source: the circuit exists once. (Their
annotations are strings because Triton looks up every bare name in a function.) A row is always eight words, lowest bit first.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from stfed.crypto.keystream import KEY_BYTES, SEGMENT_BYTES
from stfed.errors import LocalError

ROUNDS = 14
BLOCKS = 8
"""Blocks that 32 words hold."""
SEGMENT_BLOCKS = SEGMENT_BYTES // 16
KEY_WORDS = (ROUNDS + 1) * 32
"""Words of a sliced key schedule: round by round, row by row, bit by bit."""
FIRST_COUNTER = 2
AFFINE_CONSTANT = 0x63

Word: TypeAlias = NDArray[Any]
"""32-bit words, `uint32`."""
Row: TypeAlias = tuple[Word, Word, Word, Word, Word, Word, Word, Word]
State: TypeAlias = Sequence[Row]


def sub_bytes(x0: "Word", x1: "Word", x2: "Word", x3: "Word", x4: "Word", x5: "Word", x6: "Word", x7: "Word") -> "Row":
    """The AES S-box on every byte of a row but for the final XOR of 0x63, which the round keys carry.

    The circuit of Boyar and Peralta (*A New Combinational Logic Minimization Technique with Applications to Cryptology*, SEA 2010): 32 ANDs
    and 83 XORs, the names as in the paper but for the inputs and outputs, which it numbers from the highest bit down.
    """
    y14 = x4 ^ x2
    y13 = x7 ^ x1
    y9 = x7 ^ x4
    y8 = x7 ^ x2
    t0 = x6 ^ x5
    y1 = t0 ^ x0
    y4 = y1 ^ x4
    y12 = y13 ^ y14
    y2 = y1 ^ x7
    y5 = y1 ^ x1
    y3 = y5 ^ y8
    t1 = x3 ^ y12
    y15 = t1 ^ x2
    y20 = t1 ^ x6
    y6 = y15 ^ x0
    y10 = y15 ^ t0
    y11 = y20 ^ y9
    y7 = x0 ^ y11
    y17 = y10 ^ y11
    y19 = y10 ^ y8
    y16 = t0 ^ y11
    y21 = y13 ^ y16
    y18 = x7 ^ y16

    t2 = y12 & y15
    t3 = y3 & y6
    t4 = t3 ^ t2
    t5 = y4 & x0
    t6 = t5 ^ t2
    t7 = y13 & y16
    t8 = y5 & y1
    t9 = t8 ^ t7
    t10 = y2 & y7
    t11 = t10 ^ t7
    t12 = y9 & y11
    t13 = y14 & y17
    t14 = t13 ^ t12
    t15 = y8 & y10
    t16 = t15 ^ t12
    t17 = t4 ^ t14
    t18 = t6 ^ t16
    t19 = t9 ^ t14
    t20 = t11 ^ t16
    t21 = t17 ^ y20
    t22 = t18 ^ y19
    t23 = t19 ^ y21
    t24 = t20 ^ y18
    t25 = t21 ^ t22
    t26 = t21 & t23
    t27 = t24 ^ t26
    t28 = t25 & t27
    t29 = t28 ^ t22
    t30 = t23 ^ t24
    t31 = t22 ^ t26
    t32 = t31 & t30
    t33 = t32 ^ t24
    t34 = t23 ^ t33
    t35 = t27 ^ t33
    t36 = t24 & t35
    t37 = t36 ^ t34
    t38 = t27 ^ t36
    t39 = t29 & t38
    t40 = t25 ^ t39
    t41 = t40 ^ t37
    t42 = t29 ^ t33
    t43 = t29 ^ t40
    t44 = t33 ^ t37
    t45 = t42 ^ t41

    z0 = t44 & y15
    z1 = t37 & y6
    z2 = t33 & x0
    z3 = t43 & y16
    z4 = t40 & y1
    z5 = t29 & y7
    z6 = t42 & y11
    z7 = t45 & y17
    z8 = t41 & y10
    z9 = t44 & y12
    z10 = t37 & y3
    z11 = t33 & y4
    z12 = t43 & y13
    z13 = t40 & y5
    z14 = t29 & y2
    z15 = t42 & y9
    z16 = t45 & y14
    z17 = t41 & y8

    t46 = z15 ^ z16
    t47 = z10 ^ z11
    t48 = z5 ^ z13
    t49 = z9 ^ z10
    t50 = z2 ^ z12
    t51 = z2 ^ z5
    t52 = z7 ^ z8
    t53 = z0 ^ z3
    t54 = z6 ^ z7
    t55 = z16 ^ z17
    t56 = z12 ^ t48
    t57 = t50 ^ t53
    t58 = z4 ^ t46
    t59 = z3 ^ t54
    t60 = t46 ^ t57
    t61 = z14 ^ t57
    t62 = t52 ^ t58
    t63 = t49 ^ t58
    t64 = z4 ^ t59
    t65 = t61 ^ t62
    t66 = z1 ^ t63
    t67 = t64 ^ t65
    s4 = t53 ^ t66
    return t48 ^ t60, t56 ^ t62, t47 ^ t65, t51 ^ t66, s4, t55 ^ t67, t64 ^ s4, t59 ^ t63


def turn(x: "Word", right: "int") -> "Word":
    """The 32 bits turned right by 8, 16 or 24 places."""
    return (x >> right) | (x << (32 - right))


def mix(
    p0: "Word", p1: "Word", p2: "Word", p3: "Word", p4: "Word", p5: "Word", p6: "Word", p7: "Word",
    q0: "Word", q1: "Word", q2: "Word", q3: "Word", q4: "Word", q5: "Word", q6: "Word", q7: "Word",
    r0: "Word", r1: "Word", r2: "Word", r3: "Word", r4: "Word", r5: "Word", r6: "Word", r7: "Word",
) -> "Row":  # fmt: skip
    """One row of MixColumns, 2 p + q + r in GF(2^8): p the XOR of the row and the next, q the next, r the XOR of the two behind."""
    return (
        p7 ^ q0 ^ r0,
        p0 ^ p7 ^ q1 ^ r1,
        p1 ^ q2 ^ r2,
        p2 ^ p7 ^ q3 ^ r3,
        p3 ^ p7 ^ q4 ^ r4,
        p4 ^ q5 ^ r5,
        p5 ^ q6 ^ r6,
        p6 ^ q7 ^ r7,
    )


def transpose_bits(x0: "Word", x1: "Word", x2: "Word", x3: "Word", x4: "Word", x5: "Word", x6: "Word", x7: "Word") -> "Row":
    """Bit i of byte c of word k becomes bit k of byte c of word i: bytes to bit planes, and its own inverse."""
    y0 = (x0 & 0x55555555) | ((x1 << 1) & 0xAAAAAAAA)
    y1 = ((x0 >> 1) & 0x55555555) | (x1 & 0xAAAAAAAA)
    y2 = (x2 & 0x55555555) | ((x3 << 1) & 0xAAAAAAAA)
    y3 = ((x2 >> 1) & 0x55555555) | (x3 & 0xAAAAAAAA)
    y4 = (x4 & 0x55555555) | ((x5 << 1) & 0xAAAAAAAA)
    y5 = ((x4 >> 1) & 0x55555555) | (x5 & 0xAAAAAAAA)
    y6 = (x6 & 0x55555555) | ((x7 << 1) & 0xAAAAAAAA)
    y7 = ((x6 >> 1) & 0x55555555) | (x7 & 0xAAAAAAAA)

    z0 = (y0 & 0x33333333) | ((y2 << 2) & 0xCCCCCCCC)
    z2 = ((y0 >> 2) & 0x33333333) | (y2 & 0xCCCCCCCC)
    z1 = (y1 & 0x33333333) | ((y3 << 2) & 0xCCCCCCCC)
    z3 = ((y1 >> 2) & 0x33333333) | (y3 & 0xCCCCCCCC)
    z4 = (y4 & 0x33333333) | ((y6 << 2) & 0xCCCCCCCC)
    z6 = ((y4 >> 2) & 0x33333333) | (y6 & 0xCCCCCCCC)
    z5 = (y5 & 0x33333333) | ((y7 << 2) & 0xCCCCCCCC)
    z7 = ((y5 >> 2) & 0x33333333) | (y7 & 0xCCCCCCCC)

    return (
        (z0 & 0x0F0F0F0F) | ((z4 << 4) & 0xF0F0F0F0),
        (z1 & 0x0F0F0F0F) | ((z5 << 4) & 0xF0F0F0F0),
        (z2 & 0x0F0F0F0F) | ((z6 << 4) & 0xF0F0F0F0),
        (z3 & 0x0F0F0F0F) | ((z7 << 4) & 0xF0F0F0F0),
        ((z0 >> 4) & 0x0F0F0F0F) | (z4 & 0xF0F0F0F0),
        ((z1 >> 4) & 0x0F0F0F0F) | (z5 & 0xF0F0F0F0),
        ((z2 >> 4) & 0x0F0F0F0F) | (z6 & 0xF0F0F0F0),
        ((z3 >> 4) & 0x0F0F0F0F) | (z7 & 0xF0F0F0F0),
    )


def transpose_bytes(a: "Word", b: "Word", c: "Word", d: "Word") -> "tuple[Word, Word, Word, Word]":
    """Byte j of word i becomes byte i of word j: four rows of a block to its four columns, which are its little-endian words."""
    s = (a & 0x0000FFFF) | (c << 16)
    u = (a >> 16) | (c & 0xFFFF0000)
    t = (b & 0x0000FFFF) | (d << 16)
    v = (b >> 16) | (d & 0xFFFF0000)
    return (
        (s & 0x00FF00FF) | ((t << 8) & 0xFF00FF00),
        ((s >> 8) & 0x00FF00FF) | (t & 0xFF00FF00),
        (u & 0x00FF00FF) | ((v << 8) & 0xFF00FF00),
        ((u >> 8) & 0x00FF00FF) | (v & 0xFF00FF00),
    )


def add_halves(x: "Word", y: "Word") -> "Word":
    """Two sums of 16 bits in every word: without their top bits no carry leaves a half, and the top bits add up without one."""
    return ((x & 0x7FFF7FFF) + (y & 0x7FFF7FFF)) ^ ((x ^ y) & 0x80008000)  # type: ignore[no-any-return]


def schedules(keys: Sequence[bytes]) -> NDArray[np.uint32]:
    """The AES-256 key schedule (FIPS 197, section 5.2) of each key, sliced: shape (keys, `KEY_WORDS`).

    A byte of a round key stands for all eight blocks, so each of its bits fills a byte of the sliced word. All round keys but the first
    carry the constant that `sub_bytes` leaves out: ShiftRows and MixColumns map a state of equal bytes to itself.

    Raises:
        LocalError: a key of another size.
    """
    for key in keys:
        if len(key) != KEY_BYTES:
            raise LocalError(f"a keystream key has {KEY_BYTES} bytes, not {len(key)}")
    words = [np.frombuffer(b"".join(keys), np.uint8).reshape(-1, 8, 4)[:, i] for i in range(8)]
    constant = 1
    for i in range(8, 4 * (ROUNDS + 1)):
        word = words[-1]
        if i % 8 == 0:
            word = _sub_word(np.roll(word, -1, axis=1)) ^ np.array([constant, 0, 0, 0], np.uint8)
            constant *= 2  # at most seven times: it never reaches the reduction polynomial
        elif i % 8 == 4:
            word = _sub_word(word)
        words.append(words[-8] ^ word)
    # (keys, round, column, row) to words with a byte for each column: (keys, round, row)
    state = np.stack(words, axis=1).reshape(-1, ROUNDS + 1, 4, 4)
    state[:, 1:] ^= AFFINE_CONSTANT
    columns = np.ascontiguousarray(state.swapaxes(2, 3)).view("<u4")
    bits = columns >> np.arange(8, dtype=np.uint32) & np.uint32(0x01010101)
    return (bits * np.uint32(0xFF)).reshape(-1, KEY_WORDS)


def keystream_blocks(schedule: NDArray[np.uint32], segment: int, counters: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Keystream blocks of one segment, by the steps of the GPU kernel.

    Args:
        schedule: shape (`KEY_WORDS`,): of one key.
        segment: under 2^17.
        counters: shape (`BLOCKS`, lanes): the block counters, under 2^16.

    Returns:
        Shape (`BLOCKS`, 4, lanes): the little-endian words of each block.
    """
    keys = schedule.reshape(ROUNDS + 1, 4, 8, 1)
    state = _xor(_rows(segment, counters), keys[0])
    for key in keys[1:ROUNDS]:
        state = _xor(_mix_columns(_shift_rows(_substitute(state))), key)
    state = _xor(_shift_rows(_substitute(state)), keys[ROUNDS])
    return np.stack([np.stack(transpose_bytes(*rows)) for rows in zip(*(transpose_bits(*row) for row in state), strict=True)])


def _rows(segment: int, counters: Word) -> State:
    """The counter blocks, segment number and counter in big-endian bytes. What can differ from zero is in columns 2 and 3."""
    column_2 = [np.uint32((segment >> shift & 0xFF) << 16) for shift in (24, 16, 8, 0)]
    column_3 = [(counters >> shift & 0xFF) << 24 for shift in (24, 16, 8, 0)]
    return [transpose_bits(*(low | high)) for low, high in zip(column_2, column_3, strict=True)]


def _substitute(state: State) -> State:
    return [sub_bytes(*row) for row in state]


def _shift_rows(state: State) -> State:
    a, b, c, d = state
    return [a, *(_row(*(turn(word, right) for word in row)) for right, row in ((8, b), (16, c), (24, d)))]


def _mix_columns(state: State) -> State:
    a, b, c, d = state
    ab, bc, cd, da = _xor([a, b, c, d], [b, c, d, a])
    return [mix(*ab, *b, *cd), mix(*bc, *a, *cd), mix(*cd, *d, *ab), mix(*da, *c, *ab)]


def _xor(state: State, other: State) -> State:
    return [_row(*(x ^ y for x, y in zip(row, with_, strict=True))) for row, with_ in zip(state, other, strict=True)]


def _row(x0: Word, x1: Word, x2: Word, x3: Word, x4: Word, x5: Word, x6: Word, x7: Word) -> Row:
    return x0, x1, x2, x3, x4, x5, x6, x7


def _sub_word(word: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """SubWord of the key schedule, by the same circuit: a table would be read at addresses that depend on the key."""
    planes = sub_bytes(*((word >> bit & 1).astype(np.uint32) for bit in range(8)))
    bits = np.stack([plane.astype(np.uint8) for plane in planes], axis=-1)
    return np.packbits(bits, axis=-1, bitorder="little")[..., 0] ^ np.uint8(AFFINE_CONSTANT)
