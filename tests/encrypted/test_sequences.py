"""Sequences of operations over shapes and broadcasting, beside numpy: every step is within its error, or is refused before it is done.

After each step the result is decrypted, with its checks, and compared with numpy's in extended precision; at the end so is everything that
was an operand on the way, because no operation changes what it is given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stfed.encrypted import costs
from stfed.encrypted.context import SecretContext
from stfed.encrypted.decryption import decrypt, slack
from stfed.encrypted.encryption import encrypt
from stfed.encrypted.moving import concatenate
from stfed.encrypted.tensor import EncryptedTensor
from stfed.errors import LocalError
from tests.encrypted import keys

Exact = NDArray[np.longdouble]
SHAPES = [(), (1,), (3,), (4,), (7,), (2, 3), (3, 1), (1, 4), (4, 4), (5, 2), (2, 3, 2), (40, 3), (4100,)]
REFUSALS = ("multiplication", "must stay below", "has no keys to", "over the limit of")
LIMIT_S = 0.08
"""Of one step, by the estimate: what would take longer is refused, as it would be at any other limit."""


@dataclass
class Pair:
    """A tensor and what is in it."""

    tensor: EncryptedTensor
    exact: Exact


@dataclass
class Program:
    """What Hypothesis has drawn so far.

    Attributes:
        draw: draws from a strategy.
        secret: the keys.
        pairs: everything made so far.
        refused: how many steps were.
    """

    draw: Callable[..., Any]
    secret: SecretContext
    pairs: list[Pair] = field(default_factory=list)

    def numbers(self, shape: tuple[int, ...]) -> NDArray[np.float64]:
        random = np.random.default_rng(self.draw(st.integers(0, 99)))
        kind = self.draw(st.sampled_from(["uniform", "sparse", "same", "zeros", "whole", "tiny"]))
        values = random.uniform(-2, 2, shape)
        return {
            "uniform": values,
            "sparse": values * (random.uniform(size=shape) < 0.1),
            "same": np.full(shape, float(np.ravel(values)[0])),
            "zeros": np.zeros(shape),
            "whole": np.rint(values),
            "tiny": values * 1e-9,
        }[kind]

    def encrypted(self) -> None:
        values = self.numbers(self.draw(st.sampled_from(SHAPES)))
        bound = self.draw(st.sampled_from([None, 2.0, 50.0]))
        self.checked(encrypt(self.secret.public, values, bound=bound), values.astype(np.longdouble))

    def one(self) -> Pair:
        return self.draw(st.sampled_from(self.pairs))

    def plain(self, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Something that broadcasts with `shape`, to it or beyond."""
        kept = [1 if self.draw(st.booleans()) else length for length in shape]
        kept = kept[self.draw(st.integers(0, len(kept))) :]
        if len(kept) == len(shape) < 3 and self.draw(st.integers(0, 5)) == 0:
            kept.insert(0, 2)
        return self.numbers(tuple(kept))

    def other(self, one: Pair) -> tuple[Any, Exact]:
        """A second operand, and what is in it."""
        fitting = [pair for pair in self.pairs if _broadcast(pair.exact.shape, one.exact.shape)]
        if self.draw(st.booleans()):
            pair = self.draw(st.sampled_from(fitting))
            return pair.tensor, pair.exact
        values = self.plain(one.exact.shape)
        return values, values.astype(np.longdouble)

    def step(self) -> None:
        one = self.one()
        drawn = STEPS[self.draw(st.sampled_from(sorted(STEPS)))](self, one)
        if drawn is None:
            return
        encrypted, exact = drawn
        try:
            with costs.allowing(LIMIT_S):
                tensor = encrypted()
        except LocalError as error:
            if not any(part in str(error) for part in REFUSALS):
                raise
            return
        self.checked(tensor, exact())

    def checked(self, tensor: EncryptedTensor, exact: Any) -> None:
        pair = Pair(tensor, np.asarray(exact, np.longdouble))
        compare(self.secret, pair)
        self.pairs.append(pair)


Step = tuple[Callable[[], EncryptedTensor], Callable[[], Any]] | None


def _broadcast(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    try:
        return bool(np.prod(np.broadcast_shapes(one, other)) < 20000)
    except ValueError:
        return False


def compare(secret: SecretContext, pair: Pair) -> None:
    tensor, exact = pair.tensor, pair.exact
    assert tensor.shape == exact.shape
    assert np.abs(exact).max() <= tensor.bound * (1 + 1e-15)
    found = decrypt(secret, tensor)
    wrong = np.abs(found - exact).max()
    assert wrong <= slack(tensor), f"{tensor}: wrong by {wrong}"
    assert tensor.error < 1 + tensor.bound, "an error bound that says nothing"


def binary(function: Callable[[Any, Any], Any]) -> Callable[[Program, Pair], Step]:
    def drawn(program: Program, one: Pair) -> Step:
        other, exact = program.other(one)
        if program.draw(st.booleans()):
            return lambda: function(one.tensor, other), lambda: function(one.exact, exact)
        return lambda: function(other, one.tensor), lambda: function(exact, one.exact)

    return drawn


def unary(function: Callable[[Any], Any]) -> Callable[[Program, Pair], Step]:
    return lambda program, one: (lambda: function(one.tensor), lambda: function(one.exact))


def reduced(name: str) -> Callable[[Program, Pair], Step]:
    def drawn(program: Program, one: Pair) -> Step:
        axes = [None, *range(-one.exact.ndim, one.exact.ndim)]
        axis, keepdims = program.draw(st.sampled_from(axes)), program.draw(st.booleans())
        return (
            lambda: getattr(one.tensor, name)(axis, keepdims=keepdims),
            lambda: getattr(one.exact, name)(axis, keepdims=keepdims),
        )

    return drawn


def matmul(program: Program, one: Pair) -> Step:
    if one.exact.ndim not in (1, 2) or one.exact.size > 400:
        return None
    inner, columns = one.exact.shape[-1], program.draw(st.sampled_from([0, 1, 2, 5]))
    values = program.numbers((inner, columns) if columns else (inner,))
    side = program.draw(st.sampled_from(["right", "left", "encrypted"]))
    if side == "right":
        return lambda: one.tensor @ values, lambda: one.exact @ values.astype(np.longdouble)
    if side == "left":
        values = program.numbers((columns, len(one.exact)) if columns else (len(one.exact),))
        return lambda: values @ one.tensor, lambda: values.astype(np.longdouble) @ one.exact
    fitting = [each for each in program.pairs if each.exact.ndim in (1, 2) and each.exact.shape[0] == inner and each.exact.size < 100]
    if not fitting:
        return None
    other = program.draw(st.sampled_from(fitting))
    return lambda: one.tensor @ other.tensor, lambda: one.exact @ other.exact


def sliced(program: Program, one: Pair) -> Step:
    if not one.exact.ndim:
        return None
    index: Any = program.draw(st.integers(0, len(one.exact) - 1))
    if program.draw(st.booleans()):
        index = slice(index, program.draw(st.integers(index + 1, len(one.exact))))
    return lambda: one.tensor[index], lambda: one.exact[index]


def reshaped(program: Program, one: Pair) -> Step:
    size = one.exact.size
    shapes = [(size,), (-1, 1), (1, -1), one.exact.shape[::-1], *((divisor, -1) for divisor in (2, 3, 5) if size % divisor == 0)]
    shape = program.draw(st.sampled_from(shapes))
    return lambda: one.tensor.reshape(shape), lambda: one.exact.reshape(shape)


def joined(program: Program, one: Pair) -> Step:
    fitting = [each for each in program.pairs if each.exact.ndim == one.exact.ndim > 0 and each.exact.shape[1:] == one.exact.shape[1:]]
    if not fitting or one.exact.size > 5000:
        return None
    parts = [one, program.draw(st.sampled_from(fitting))]
    return lambda: concatenate([each.tensor for each in parts]), lambda: np.concatenate([each.exact for each in parts])


def polynomial(program: Program, one: Pair) -> Step:
    coefficients = program.numbers((program.draw(st.integers(1, 5)),)).tolist()
    return lambda: one.tensor.polyval(coefficients), lambda: sum(number * one.exact**at for at, number in enumerate(coefficients))


STEPS: dict[str, Callable[[Program, Pair], Step]] = {
    "add": binary(lambda a, b: a + b),
    "subtract": binary(lambda a, b: a - b),
    "multiply": binary(lambda a, b: a * b),
    "negate": unary(lambda a: -a),
    "square": unary(lambda a: a**2),
    "transpose": unary(lambda a: a.T),
    "sum": reduced("sum"),
    "mean": reduced("mean"),
    "matmul": matmul,
    "slice": sliced,
    "reshape": reshaped,
    "concatenate": joined,
    "polyval": polynomial,
}


@pytest.mark.parametrize(("secret", "examples", "length"), [(keys.usual, 30, 6), (keys.deep, 6, 5)])
def test_sequences_are_numpys(secret: Callable[[], SecretContext], examples: int, length: int) -> None:
    # Programs are short, and shrinking one takes minutes.
    @settings(max_examples=examples, suppress_health_check=list(HealthCheck), database=None, phases=[Phase.generate])
    @given(data=st.data())
    def run(data: st.DataObject) -> None:
        program = Program(data.draw, secret())
        program.encrypted()
        for _ in range(length):
            if program.draw(st.integers(0, 4)) == 0:
                program.encrypted()
            program.step()
        for pair in program.pairs:
            compare(program.secret, pair)

    run()


def test_the_plain_operand_that_is_rounded_worst() -> None:
    """One small number among zeros: all coefficients of its polynomial are below a half, and nothing is left of it."""
    secret = keys.usual()
    large, small = np.full(4096, 2.0**18), np.zeros(4096)
    small[5] = 2047 / 2**40
    product = encrypt(secret.public, large, bound=2.0**18) * small
    compare(secret, Pair(product, np.asarray(large * small, np.longdouble)))
    assert np.abs(decrypt(secret, product) - large * small).max() > 0.7 * product.error
