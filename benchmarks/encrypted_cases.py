"""What `benchmarks.encrypted` measures: one operation on the same numbers, by TenSEAL, by `stfed.encrypted` and by numpy.

TenSEAL gets the layout that suits it best, and its lists and plain tensors are made before the clock runs: `CKKSVector` for elements one by
one, `CKKSTensor` with the rows batched for products with plain matrices, and with a ciphertext for each element where both factors are
encrypted, which is the only way it has.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stfed.encrypted.context import SecretContext
from stfed.encrypted.decryption import decrypt
from stfed.encrypted.encryption import encrypt
from stfed.encrypted.fits import sigmoid_coefficients
from stfed.encrypted.parameters import Parameters
from stfed.encrypted.seal import seal
from stfed.encrypted.tensor import EncryptedTensor

Floats = NDArray[np.float64]
SEED = 7
_SIGMOID = sigmoid_coefficients(14.0, 3).coefficients
"""Every score of the rows below lies in [-14, 14]. Their bound is a worst case and does not, so the fit's own check of it is left out."""


@dataclass(frozen=True)
class Case:
    """One operation.

    Attributes:
        name: sizes and what is done.
        short: the same for a plot; empty to leave it out there.
        secret: the keys of ours.
        ours: gives an encrypted tensor, or the numbers if it decrypts.
        plain: numpy's.
        theirs: TenSEAL's; None if it would take minutes.
        read: decrypts what `theirs` gives.
        peer: who they are.
        why: a note for the reader.
        repeat: how often each is done.
    """

    name: str
    short: str
    secret: SecretContext
    ours: Callable[[], EncryptedTensor | Floats]
    plain: Callable[[], Floats]
    theirs: Callable[[], Any] | None = None
    read: Callable[[Any], Floats] = lambda result: np.asarray(result.decrypt())
    repeat: int = 5
    peer: str = "TenSEAL"
    why: str = ""


@cache
def peer_context(parameters: Parameters) -> Any:
    """TenSEAL's, with the same parameters and public-key encryption; its keys are its own."""
    import tenseal

    made = tenseal.context(tenseal.SCHEME_TYPE.CKKS, parameters.degree, coeff_mod_bit_sizes=list(parameters.modulus_bits), n_threads=1)
    made.global_scale = 2.0**parameters.scale_bits
    return made


def quietly(call: Callable[[], Any]) -> Any:
    """TenSEAL prints a warning for each vector that is longer than a ciphertext."""
    with redirect_stdout(sys.stderr if sys.stderr.isatty() else _Nowhere()):
        return call()


class _Nowhere:
    """A text stream that keeps nothing."""

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        """Nothing to do."""


def vectors(secret: SecretContext, size: int) -> Iterator[Case]:
    """Element by element."""
    import tenseal

    random = np.random.default_rng(SEED)
    x, y = random.uniform(-1, 1, size), random.uniform(-1, 1, size)
    keys, public = peer_context(secret.public.parameters), secret.public
    listed, other = x.tolist(), tenseal.plain_tensor(y)
    a, b = encrypt(public, x, bound=1.0), encrypt(public, y, bound=1.0)
    their_a, their_b = (quietly(lambda v=v: tenseal.ckks_vector(keys, v)) for v in (x, y))
    large = f"{size:,} elements"
    yield Case(f"{large}, encrypt", "encrypt", secret, lambda: encrypt(public, x, bound=1.0), x.copy,
               lambda: tenseal.ckks_vector(keys, listed), repeat=3)  # fmt: skip
    yield Case(f"{large}, decrypt", "decrypt", secret, lambda: decrypt(secret, a), x.copy, their_a.decrypt, np.asarray)
    why = "it adds to a copy; a result of SEAL through its bindings is made empty first, and the next line compares with that"
    yield Case(f"{large}, add encrypted", "add", secret, lambda: a + b, lambda: x + y, lambda: their_a + their_b, why=why)
    yield Case(f"{large}, add encrypted", "", secret, lambda: a + b, lambda: x + y, lambda: _bare_sum(a, b),
               lambda result: a.layout.gather(secret.slots_of(result, 2.0).real), peer="bare calls of SEAL")  # fmt: skip
    yield Case(f"{large}, times plain", "* plain", secret, lambda: a * y, lambda: x * y, lambda: their_a * other)
    yield Case(f"{large}, times a number", "* number", secret, lambda: a * 0.7, lambda: x * 0.7, lambda: their_a * 0.7)
    yield Case(f"{large}, times encrypted", "* encrypted", secret, lambda: a * b, lambda: x * y, lambda: their_a * their_b)


def _bare_sum(a: EncryptedTensor, b: EncryptedTensor) -> list[Any]:
    """With nothing of ours around it."""
    library, results = seal(), []
    evaluator = library.Evaluator(a.context.seal_context)
    for one, other in zip(a.ciphertexts, b.ciphertexts, strict=True):
        result = library.Ciphertext()
        evaluator.add(one, other, result)
        results.append(result)
    return results


def rows_times_plain(secret: SecretContext, rows: int, columns: int, outputs: int) -> Case:
    """A matrix product with plain weights: a linear model."""
    import tenseal

    random = np.random.default_rng(SEED)
    x, w = random.uniform(-1, 1, (rows, columns)), random.uniform(-1, 1, (columns, outputs))
    keys, plain = peer_context(secret.public.parameters), tenseal.plain_tensor(w)
    theirs = tenseal.ckks_tensor(keys, tenseal.plain_tensor(x.reshape(rows, 1, columns)), batch=True)
    a = encrypt(secret.public, x, bound=1.0)
    return Case(
        f"{rows} x {columns} encrypted @ {columns} x {outputs} plain", "@ plain", secret, lambda: a @ w, lambda: x @ w,
        lambda: theirs.mm(plain), lambda result: np.asarray(result.decrypt().tolist()).reshape(rows, outputs),
    )  # fmt: skip


def square_product(secret: SecretContext, size: int, *, with_peer: bool) -> Case:
    """Both factors encrypted."""
    import tenseal

    random = np.random.default_rng(SEED)
    x, y = random.uniform(-1, 1, (2, size, size))
    a, b = encrypt(secret.public, x, bound=1.0), encrypt(secret.public, y, bound=1.0)
    theirs = None
    if with_peer:
        keys = peer_context(secret.public.parameters)
        left, right = (tenseal.ckks_tensor(keys, tenseal.plain_tensor(one), batch=False) for one in (x, y))
        theirs = lambda: left.mm(right)  # noqa: E731
    return Case(
        f"{size} x {size} encrypted @ encrypted", f"@ encrypted, {size}", secret, lambda: a @ b, lambda: x @ y,
        theirs, lambda result: np.asarray(result.decrypt().tolist()), repeat=1,
    )  # fmt: skip


@dataclass(frozen=True)
class Model:
    """Logistic regression, trained in clear: the weights are plain, the rows will be encrypted.

    Attributes:
        rows: standardised, float64 (rows, columns).
        weights: float64 (columns, 1).
        coefficients: of the polynomial of degree 3 that stands for the sigmoid.
    """

    rows: Floats
    weights: Floats
    intercept: float
    coefficients: tuple[float, ...]

    @classmethod
    def trained(cls) -> Model:
        """On scikit-learn's breast-cancer data, 569 x 30."""
        from sklearn.datasets import load_breast_cancer
        from sklearn.linear_model import LogisticRegression

        data, labels = load_breast_cancer(return_X_y=True)
        data = (data - data.mean(axis=0)) / data.std(axis=0)
        model = LogisticRegression(C=0.01).fit(data, labels)
        return cls(data, model.coef_.T.copy(), float(model.intercept_[0]), _SIGMOID)

    @classmethod
    def invented(cls, rows: int, columns: int) -> Model:
        """Of no data at all, without scikit-learn, which takes longer to import than a quick run takes."""
        random = np.random.default_rng(SEED)
        return cls(random.normal(size=(rows, columns)), random.normal(0, 0.2, (columns, 1)), 0.5, _SIGMOID)

    def score(self, rows: Any) -> Any:
        """The scores of numbers, or of an encrypted tensor, before the sigmoid."""
        return rows @ self.weights + self.intercept


def scoring(secret: SecretContext, model: Model) -> Case:
    """Encrypted rows, plain model: a matrix product and a polynomial of degree 3."""
    import tenseal

    count, columns = model.rows.shape
    keys, weights = peer_context(secret.public.parameters), tenseal.plain_tensor(model.weights)
    intercept, coefficients = tenseal.plain_tensor([[model.intercept]]), list(model.coefficients)
    theirs = tenseal.ckks_tensor(keys, tenseal.plain_tensor(model.rows.reshape(count, 1, columns)), batch=True)
    a = encrypt(secret.public, model.rows)
    return Case(
        f"logistic scoring of {count} x {columns}", "scoring", secret,
        lambda: model.score(a).polyval(coefficients), lambda: np.polynomial.Polynomial(coefficients)(model.score(model.rows)),
        lambda: (theirs.mm(weights) + intercept).polyval(coefficients),
        lambda result: np.asarray(result.decrypt().tolist()).reshape(count, 1),
    )  # fmt: skip
