import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stfed.encrypted.arithmetic import left_of
from stfed.encrypted.seal import dump, load
from stfed.encrypted.streams import Form, stream
from tests.encrypted import keys

RNG = np.random.default_rng(3)
A, B = RNG.uniform(-1, 1, (2, 4096))
NEAR = 1e-6  # noise of 2^-40 scales and a few operations; the bounds themselves are in test_noise and test_elementwise


def close(ciphertext: object, expected: object, left: int, near: float = NEAR) -> None:
    context = keys.usual().public
    assert left_of(ciphertext) == left
    assert ciphertext.scale == context.scales[left]
    assert ciphertext.size() == 2
    assert not ciphertext.is_transparent()
    np.testing.assert_allclose(keys.usual().slots(ciphertext), np.broadcast_to(expected, 4096), atol=near)


def test_every_operation_is_numpys_on_slots_at_canonical_scales() -> None:
    ops = keys.usual().public.arithmetic
    a, b = ops.encrypt(A), ops.encrypt(B)
    close(ops.encrypt(0.25), 0.25, 2)
    close(ops.zero(1), 0, 1)
    close(ops.add(a, b), A + B, 2)
    close(ops.sub(a, b), A - B, 2)
    close(ops.negate(a), -A, 2)
    close(ops.total([a, b, a]), 2 * A + B, 2)
    close(ops.add_plain(a, B), A + B, 2)
    close(ops.add_plain(a, 3.0), A + 3, 2)
    close(ops.multiply(a, b), A * B, 1)
    close(ops.multiply(ops.multiply(a, b), ops.drop(a, 1)), A * B * A, 0)
    close(ops.multiply_plain(a, B), A * B, 1)
    close(ops.multiply_plain(a, -2.5), -2.5 * A, 1)
    close(ops.products([(a, b), (a, a)]), A * B + A * A, 1)
    close(ops.combine([(a, B), (b, 2.0)]), A * B + 2 * B, 1)
    close(ops.rotate(a, 5), np.roll(A, -5), 2, 1e-4)
    close(ops.rotate(a, -1), np.roll(A, 1), 2, 1e-4)
    close(a, A, 2)  # nothing above changed its operands
    close(b, B, 2)


def test_levels_are_left_out_without_loss() -> None:
    ops = keys.usual().public.arithmetic
    a, b = ops.encrypt(A), ops.encrypt(B)
    assert ops.drop(a, 2) is a
    for left in (1, 0):
        close(ops.drop(a, left), A, left)
        close(ops.drop(a, left, B), A * B, left)
    low = ops.multiply(a, b)
    close(ops.combine([(a, 2.0), (low, B)]), 2 * A + A * B * B, 0)
    close(ops.combine([(a, 2.0), (b, B)], 0), 2 * A + B * B, 0)


def test_what_seal_calls_transparent_is_right_and_a_fresh_encryption() -> None:
    ops = keys.usual().public.arithmetic
    a, b = ops.encrypt(A), ops.encrypt(B)
    moved, minus = ops.add_plain(a, B), ops.negate(a)
    cases = {
        "x - x": (lambda: ops.sub(a, a), 0, 2),
        "x + -x": (lambda: ops.add(a, minus), 0, 2),
        "x - (x + b)": (lambda: ops.sub(a, moved), -B, 2),  # c_1 is zero here as well, and c_0 is not
        "(x + b) + -x": (lambda: ops.total([moved, minus]), B, 2),
        "0 x": (lambda: ops.multiply_plain(a, 0.0), 0, 1),
        "0 x as an array": (lambda: ops.multiply_plain(a, np.zeros(4096)), 0, 1),
        "rounded to 0": (lambda: ops.multiply_plain(a, 1e-30), 0, 1),
        "2 x - 2 (x + b)": (lambda: ops.combine([(a, 2.0), (moved, -2.0)]), -2 * B, 1),
        "2 x - 2 (x + b) + y": (lambda: ops.combine([(a, 2.0), (moved, -2.0), (b, 1.0)]), -2 * B + B, 1),
        "x y - x y": (lambda: ops.products([(a, b), (minus, b)]), 0, 1),
        "x x - x (x + b)": (lambda: ops.products([(a, a), (minus, moved)]), -A * B, 1),
        "0 x + 0 y": (lambda: ops.combine([(a, 0.0), (b, np.zeros(4096))], 0), 0, 0),
    }
    for name, (make, expected, left) in cases.items():
        first, second = make(), make()
        close(first, expected, left)
        if name not in ("x x - x (x + b)", "2 x - 2 (x + b) + y"):  # these are no case of it, but nearly
            assert dump(first) != dump(second), name


def test_what_becomes_transparent_by_a_division_is_right_and_a_fresh_encryption() -> None:
    ops = keys.usual().public.arithmetic
    a = ops.encrypt(A)
    made = [ops.multiply_plain(a, 1.5), ops.multiply_plain(a, -0.5), ops.negate(ops.drop(a, 1))]  # c_1 of their sum is -1, 0 or 1
    nearly = ops.add_plain(ops.total(made), B)
    close(nearly, B, 1)
    cases = {
        "combine": (lambda: ops.multiply_plain(nearly, 0.3), 0.3 * B),
        "combine with an array": (lambda: ops.multiply_plain(nearly, np.full(4096, 0.25)), B / 4),
        "drop": (lambda: ops.drop(nearly, 0, 0.1), 0.1 * B),
        "evaluate": (lambda: ops.evaluate(nearly, ((0, (), ((0, 0.2),), 1.0),), 0.0), 0.2 * B + 1),
    }
    for name, (make, expected) in cases.items():
        first, second = make(), make()
        close(first, expected, 0)
        assert dump(first) != dump(second), name


def test_what_becomes_transparent_by_leaving_out_moduli_is_still_encrypted() -> None:
    context = keys.usual().public
    ops, words = context.arithmetic, np.zeros((2, 3, 8192), np.uint64)
    words[1, 2] = 5  # a c_1 of zero modulo q_0 and q_1: nobody gets there but who wants to
    form = Form(tuple(context.parms_ids[2]), 8192, 3, context.scales[2])
    a = load("Ciphertext", context.seal_context, stream(form.head, words))
    close(ops.drop(a, 0), 0, 0)
    assert np.abs(keys.usual().slots_of([a], 1.0)).max() < NEAR


@given(st.integers(-4096, 4096))
@settings(max_examples=8)
def test_rotations_go_round(steps: int) -> None:
    ops = keys.usual().public.arithmetic
    close(ops.rotate(ops.encrypt(A), steps % 4096 if steps else 0), np.roll(A, -steps), 2, 1e-3)


def test_programs() -> None:
    ops = keys.usual().public.arithmetic
    # x^2 + 3 x + 1, then that times x + 2 x^2
    steps = ((1, ((0, 0),), ((0, 3.0),), 1.0), (0, ((1, 0),), ((0, 2.0),), 0.0))
    inner = A * A + 3 * A + 1
    close(ops.evaluate(ops.encrypt(A), steps, 0.5), inner * A + 2 * A + 0.5, 0)
    close(ops.evaluate(ops.encrypt(A), steps, B), inner * A + 2 * A + B, 0)
    close(ops.evaluate(ops.encrypt(A), ((1, (), ((0, 2.0),), 0.0),), 0.0), 2 * A, 1)


@pytest.mark.parametrize("value", [3.0, np.full(4096, 3.0)])
def test_a_number_is_the_same_as_so_many_of_it(value: object) -> None:
    ops = keys.usual().public.arithmetic
    close(ops.multiply_plain(ops.encrypt(A), value), 3 * A, 1)
