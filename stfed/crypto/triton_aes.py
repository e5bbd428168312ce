"""The GPU kernel of the keystream: masks are made and added in registers, one read and one write of the vector for all keys together.

A lane owns eight blocks of the vector, 32 words. It loads them, runs through all keys, each time encrypting the eight counter blocks with
the bit-sliced AES-256 of `stfed.crypto.bitslice` and adding the words that come out, and stores the sums. No mask exists outside of
registers and no table is read: no time and no address depends on a key.

The only module that imports triton; `stfed.crypto.device` imports it when a tensor is on a GPU. Triton reads the functions below as a
language of its own, which has no types but `tl.constexpr` and no arrays of registers: rows and blocks are tuples.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls, allow-untyped-decorators
# ruff: noqa: RET505 - a branch that is not compiled has to be an else

import triton
import triton.language as tl
from triton.runtime.interpreter import InterpretedFunction

from stfed.crypto import bitslice

BLOCKS = tl.constexpr(bitslice.BLOCKS)
FIRST_COUNTER = tl.constexpr(bitslice.FIRST_COUNTER)
KEY_WORDS = tl.constexpr(bitslice.KEY_WORDS)
MAIN_ROUNDS = tl.constexpr(bitslice.ROUNDS - 1)
SEGMENT_BLOCKS = tl.constexpr(bitslice.SEGMENT_BLOCKS)


def _compiled(function):
    """The function for use in a kernel. Triton's interpreter takes plain Python as it is."""
    made = triton.jit(function)
    return function if isinstance(made, InterpretedFunction) else made


_add_halves = _compiled(bitslice.add_halves)
_mix = _compiled(bitslice.mix)
_sub_bytes = _compiled(bitslice.sub_bytes)
_transpose_bits = _compiled(bitslice.transpose_bits)
_transpose_bytes = _compiled(bitslice.transpose_bytes)
_turn = _compiled(bitslice.turn)


@triton.jit(do_not_specialize=["subtracted", "keys", "first_segment", "first_program"])
def accumulate(words, schedules, subtracted, keys, first_segment, first_program, LANE_BITS: tl.constexpr, LANES: tl.constexpr):
    """`words -= streams of the first keys`, `+= streams of the others`, modulo 2^`LANE_BITS`; a program has 8 `LANES` blocks.

    Args:
        words: uint32, the little-endian lanes, a whole number of programs of them.
        schedules: uint32, `bitslice.schedules` of all keys.
        subtracted: how many keys, from the first on, are subtracted.
        keys: how many there are in all.
        first_segment: where the streams start.
        first_program: how many programs away from there `words` starts.
        LANE_BITS: 16, 32 or 64.
        LANES: a power of two, at most 2048, so that a program stays inside one segment.
    """
    first = (tl.program_id(0) + first_program).to(tl.int64) * (BLOCKS * LANES)
    segment = (first // SEGMENT_BLOCKS + first_segment).to(tl.uint32)
    # Neighbouring lanes have neighbouring blocks, for the sake of memory: the eight of one lane are LANES apart.
    lane = tl.arange(0, LANES)
    counter = lane.to(tl.uint32) + (first % SEGMENT_BLOCKS).to(tl.uint32) + FIRST_COUNTER
    # Of the 12 bytes of a segment number only the last 18 bits can be set, of the 4 of a counter only the last 16.
    zero = counter ^ counter
    a = (zero, zero, zero, zero, zero, zero, zero, zero)
    b = (zero | ((segment >> 16) & 1) * 0x00FF0000, zero | ((segment >> 17) & 1) * 0x00FF0000, zero, zero, zero, zero, zero, zero)
    c = _counter_row(counter, segment, 8, LANES)
    d = _counter_row(counter, segment, 0, LANES)

    four = 2 * tl.arange(0, 2)[:, None] + tl.arange(0, 2)[None, :]
    own = words + tl.program_id(0).to(tl.int64) * (4 * BLOCKS * LANES) + 4 * lane[:, None, None] + four[None, :, :]
    s0 = _load_block(own)
    s1 = _load_block(own + 4 * LANES)
    s2 = _load_block(own + 8 * LANES)
    s3 = _load_block(own + 12 * LANES)
    s4 = _load_block(own + 16 * LANES)
    s5 = _load_block(own + 20 * LANES)
    s6 = _load_block(own + 24 * LANES)
    s7 = _load_block(own + 28 * LANES)
    # ~(~s + m) = s - m: the keys to subtract go first, onto the complement, and one loop body serves both.
    for phase in range(2):
        s0, s1, s2, s3 = _complement(s0), _complement(s1), _complement(s2), _complement(s3)
        s4, s5, s6, s7 = _complement(s4), _complement(s5), _complement(s6), _complement(s7)
        for index in range(phase * subtracted, subtracted + phase * (keys - subtracted)):
            p, q, r, s = _encrypt(schedules + index * KEY_WORDS, a, b, c, d)
            s0 = _add_block(s0, _transpose_bytes(p[0], q[0], r[0], s[0]), LANE_BITS)
            s1 = _add_block(s1, _transpose_bytes(p[1], q[1], r[1], s[1]), LANE_BITS)
            s2 = _add_block(s2, _transpose_bytes(p[2], q[2], r[2], s[2]), LANE_BITS)
            s3 = _add_block(s3, _transpose_bytes(p[3], q[3], r[3], s[3]), LANE_BITS)
            s4 = _add_block(s4, _transpose_bytes(p[4], q[4], r[4], s[4]), LANE_BITS)
            s5 = _add_block(s5, _transpose_bytes(p[5], q[5], r[5], s[5]), LANE_BITS)
            s6 = _add_block(s6, _transpose_bytes(p[6], q[6], r[6], s[6]), LANE_BITS)
            s7 = _add_block(s7, _transpose_bytes(p[7], q[7], r[7], s[7]), LANE_BITS)
    _store_block(own, s0)
    _store_block(own + 4 * LANES, s1)
    _store_block(own + 8 * LANES, s2)
    _store_block(own + 12 * LANES, s3)
    _store_block(own + 16 * LANES, s4)
    _store_block(own + 20 * LANES, s5)
    _store_block(own + 24 * LANES, s6)
    _store_block(own + 28 * LANES, s7)


@triton.jit
def _encrypt(key, a, b, c, d):
    """AES-256 of the state with these rows, under one sliced key schedule: the rows as bytes, word k of a row being its four in block k."""
    a, b, c, d = _add_key(key, a, b, c, d)
    for _ in range(MAIN_ROUNDS):
        key += 32
        a, b, c, d = _substitute_and_shift(a, b, c, d)
        ab, bc, cd, da = _xor(a, b), _xor(b, c), _xor(c, d), _xor(d, a)
        a, b, c, d = _add_key(key, _mix(*ab, *b, *cd), _mix(*bc, *a, *cd), _mix(*cd, *d, *ab), _mix(*da, *c, *ab))
    a, b, c, d = _substitute_and_shift(a, b, c, d)
    a, b, c, d = _add_key(key + 32, a, b, c, d)
    return _transpose_bits(*a), _transpose_bits(*b), _transpose_bits(*c), _transpose_bits(*d)


@triton.jit
def _substitute_and_shift(a, b, c, d):
    return _sub_bytes(*a), _turn_row(_sub_bytes(*b), 8), _turn_row(_sub_bytes(*c), 16), _turn_row(_sub_bytes(*d), 24)


@triton.jit
def _turn_row(x, RIGHT: tl.constexpr):
    return (
        _turn(x[0], RIGHT), _turn(x[1], RIGHT), _turn(x[2], RIGHT), _turn(x[3], RIGHT),
        _turn(x[4], RIGHT), _turn(x[5], RIGHT), _turn(x[6], RIGHT), _turn(x[7], RIGHT),
    )  # fmt: skip


@triton.jit
def _add_key(key, a, b, c, d):
    return _xor(a, _key_row(key)), _xor(b, _key_row(key + 8)), _xor(c, _key_row(key + 16)), _xor(d, _key_row(key + 24))


@triton.jit
def _key_row(key):
    return (
        tl.load(key), tl.load(key + 1), tl.load(key + 2), tl.load(key + 3),
        tl.load(key + 4), tl.load(key + 5), tl.load(key + 6), tl.load(key + 7),
    )  # fmt: skip


@triton.jit
def _xor(x, y):
    return x[0] ^ y[0], x[1] ^ y[1], x[2] ^ y[2], x[3] ^ y[3], x[4] ^ y[4], x[5] ^ y[5], x[6] ^ y[6], x[7] ^ y[7]


@triton.jit
def _counter_row(counter, segment, SHIFT: tl.constexpr, LANES: tl.constexpr):
    """One row of the counter blocks: a byte of the segment number in column 2 and one of the counter in column 3."""
    column = ((segment >> SHIFT) & 0xFF) << 16
    return _transpose_bits(
        ((counter >> SHIFT) & 0xFF) << 24 | column,
        ((counter + LANES >> SHIFT) & 0xFF) << 24 | column,
        ((counter + 2 * LANES >> SHIFT) & 0xFF) << 24 | column,
        ((counter + 3 * LANES >> SHIFT) & 0xFF) << 24 | column,
        ((counter + 4 * LANES >> SHIFT) & 0xFF) << 24 | column,
        ((counter + 5 * LANES >> SHIFT) & 0xFF) << 24 | column,
        ((counter + 6 * LANES >> SHIFT) & 0xFF) << 24 | column,
        ((counter + 7 * LANES >> SHIFT) & 0xFF) << 24 | column,
    )


@triton.jit
def _complement(x):
    return ~x[0], ~x[1], ~x[2], ~x[3]


@triton.jit
def _add_block(x, y, LANE_BITS: tl.constexpr):
    """The sum of two blocks of four words, lane by lane."""
    if LANE_BITS == 16:
        return _add_halves(x[0], y[0]), _add_halves(x[1], y[1]), _add_halves(x[2], y[2]), _add_halves(x[3], y[3])
    elif LANE_BITS == 32:
        return x[0] + y[0], x[1] + y[1], x[2] + y[2], x[3] + y[3]
    else:
        low, high = _pair(x[0], x[1]) + _pair(y[0], y[1]), _pair(x[2], x[3]) + _pair(y[2], y[3])
        return low.to(tl.uint32), (low >> 32).to(tl.uint32), high.to(tl.uint32), (high >> 32).to(tl.uint32)


@triton.jit
def _pair(low, high):
    return low.to(tl.uint64) | (high.to(tl.uint64) << 32)


@triton.jit
def _load_block(words):
    even, odd = tl.split(tl.load(words))
    x0, x2 = tl.split(even)
    x1, x3 = tl.split(odd)
    return x0, x1, x2, x3


@triton.jit
def _store_block(words, x):
    tl.store(words, tl.join(tl.join(x[0], x[2]), tl.join(x[1], x[3])))
