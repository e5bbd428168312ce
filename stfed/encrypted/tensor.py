"""`EncryptedTensor`: a tensor of real numbers that is computed on without being decrypted.

A tensor carries, in clear, what everybody may know of it: its shape, how many multiplications are left, a bound on the size of its numbers
and a bound on their error. The bounds are what makes wrong results impossible to miss: an operation that could overflow, or for which no
multiplication is left, is refused before it is done, and whoever decrypts gets the error bound with the numbers.

Operators follow numpy: element-wise, with its broadcasting; `@` is the matrix product. Their other operand is another encrypted tensor of
the same keys, or plain: numpy, torch, a number. What they do is in modules of their own: `elementwise`, `reductions`, `moving`, `products`,
`polynomials`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn

from stfed.encrypted import elementwise, moving, polynomials, products, reductions
from stfed.encrypted.arithmetic import Ciphertext, left_of
from stfed.encrypted.checks import check_room
from stfed.encrypted.context import EvaluationContext
from stfed.encrypted.fits import Fit
from stfed.encrypted.layout import Layout
from stfed.errors import LocalError


@dataclass(frozen=True, eq=False, repr=False)
class EncryptedTensor:
    """Real numbers under CKKS. Immutable: every operation makes a new one.

    Attributes:
        context: the keys that it is encrypted under.
        layout: shape, and which slot each element has.
        ciphertexts: `layout.ciphertexts` of them, all of one level.
        bound: no element is larger than this in absolute value. Public.
        error: how far an element can be from what exact arithmetic on the numbers that were encrypted would have given. Public.
        clean: whether slots that no element has are zero (but for noise); operations that mix slots need it. Always True if uniform.
    """

    context: EvaluationContext
    layout: Layout
    ciphertexts: tuple[Ciphertext, ...]
    bound: float
    error: float
    clean: bool = True

    # What stands on the left of an operator is asked first. numpy hands `array + tensor` on to `__radd__` because of this line, pandas
    # because of the next one (it would go through its elements otherwise), and torch because it finds no `__torch_function__` here.
    __array_ufunc__ = None
    __pandas_priority__ = 5000  # a DataFrame's is 4000
    __hash__: ClassVar[None] = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if len(self.ciphertexts) != self.layout.ciphertexts:
            raise LocalError(f"{len(self.ciphertexts)} ciphertexts for a tensor that has {self.layout.ciphertexts}")
        if not (math.isfinite(self.bound) and math.isfinite(self.error) and self.bound >= 0 and self.error >= 0):
            raise LocalError("the bounds of an encrypted tensor are no finite numbers")
        left, context = self.left, self.context
        form = (2, context.parms_ids[left], context.scales[left]) if left <= context.parameters.depth else None
        if any((each.size(), each.parms_id(), each.scale) != form for each in self.ciphertexts):
            raise LocalError("the ciphertexts of a tensor are not of these parameters, or not all of one level and at its scale")
        check_room(self.context, self.left, self.bound + self.error)

    @property
    def shape(self) -> tuple[int, ...]:
        """As numpy's."""
        return self.layout.shape

    @property
    def ndim(self) -> int:
        """As numpy's."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """As numpy's."""
        return self.layout.size

    @property
    def left(self) -> int:
        """How many multiplications one after the other are left."""
        return left_of(self.ciphertexts[0])

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a single number")
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<EncryptedTensor {self.shape}: {self.left} multiplications left, |x| <= {self.bound:.3g}, error <= {self.error:.2g}>"

    # What Python and numpy would otherwise answer by themselves, and wrongly

    def __bool__(self) -> NoReturn:
        self._refuse("has no truth value")

    def __eq__(self, other: object) -> NoReturn:
        self._refuse("cannot be compared")

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        self._refuse("is no array: nobody can see its numbers without the secret key")

    def __iter__(self) -> NoReturn:
        self._refuse("is not iterable", "each row would cost rotations; take those you need: x[0], x[2:5]")

    def _refuse(self, why: str, hint: str = "compute with it, and compare what decrypt(secret, tensor) returns") -> NoReturn:
        raise LocalError(f"an encrypted tensor {why}", hint=hint)

    # Element-wise

    def __add__(self, other: Any) -> EncryptedTensor:
        return elementwise.add(self, other)

    def __radd__(self, other: Any) -> EncryptedTensor:
        return elementwise.add(self, other)

    def __sub__(self, other: Any) -> EncryptedTensor:
        return elementwise.subtract(self, other)

    def __rsub__(self, other: Any) -> EncryptedTensor:
        return elementwise.subtract(other, self)

    def __mul__(self, other: Any) -> EncryptedTensor:
        return elementwise.multiply(self, other)

    def __rmul__(self, other: Any) -> EncryptedTensor:
        return elementwise.multiply(self, other)

    def __truediv__(self, other: Any) -> EncryptedTensor:
        return elementwise.divide(self, other)

    def __rtruediv__(self, other: Any) -> EncryptedTensor:
        return elementwise.divide(other, self)

    def __neg__(self) -> EncryptedTensor:
        return elementwise.negate(self)

    def __pos__(self) -> EncryptedTensor:
        return self

    def __pow__(self, exponent: int) -> EncryptedTensor:
        return polynomials.power(self, exponent)

    def polyval(self, coefficients: Sequence[float] | Fit) -> EncryptedTensor:
        """c_0 + c_1 x + c_2 x^2 + ..., element by element. See `polynomials.polyval`."""
        return polynomials.polyval(self, coefficients)

    # Linear

    def __matmul__(self, other: Any) -> EncryptedTensor:
        return products.matmul(self, other)

    def __rmatmul__(self, other: Any) -> EncryptedTensor:
        return products.matmul(other, self)

    def dot(self, other: Any) -> EncryptedTensor:
        """As numpy's `dot`, for one and two axes."""
        return products.dot(self, other)

    def sum(self, axis: int | None = None, *, keepdims: bool = False) -> EncryptedTensor:
        """As numpy's."""
        return reductions.total(self, axis, keepdims=keepdims)

    def mean(self, axis: int | None = None, *, keepdims: bool = False) -> EncryptedTensor:
        """As numpy's."""
        return reductions.mean(self, axis, keepdims=keepdims)

    # Moving elements

    def reshape(self, *shape: Any) -> EncryptedTensor:
        """As numpy's, in C order."""
        return moving.reshape(self, *shape)

    def broadcast_to(self, shape: Sequence[int]) -> EncryptedTensor:
        """As numpy's."""
        return moving.broadcast_to(self, tuple(shape))

    @property
    def T(self) -> EncryptedTensor:
        """As numpy's."""
        return moving.transpose(self)

    def __getitem__(self, index: Any) -> EncryptedTensor:
        """Rows: `x[3]`, `x[2:5]`, and `x[2:5, 0]`. See `moving.take`."""
        return moving.take(self, index)
