"""docs/format.md is enough to read keys and tensors, and to decrypt: here with numpy and Python's integers, no SEAL and nothing of `stfed`.

Decoding is that of Cheon, Kim, Kim, Song, ASIACRYPT 2017: the values of the message at roots of unity.
"""

from __future__ import annotations

import hashlib
import struct
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.vectors.encrypted.make import numbers

VECTORS = Path(__file__).parent.parent / "vectors" / "encrypted"
DEGREE, SLOTS = 4096, 2048


class Cut:
    """Takes fields off the front."""

    def __init__(self, name: str) -> None:
        self.rest = (VECTORS / name).read_bytes()

    def take(self, size: int) -> bytes:
        taken, self.rest = self.rest[:size], self.rest[size:]
        assert len(taken) == size
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def opaque(self) -> bytes:
        return self.take(self.number(4))

    def parameters(self) -> tuple[int, int, tuple[int, ...]]:
        return self.number(4), self.number(1), tuple(self.number(1) for _ in range(self.number(4)))


def framed(label: bytes, *parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(4, "big") + part for part in (label, *parts))


def is_prime(number: int) -> bool:
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37):
        power = pow(base, odd, number)
        if power in (1, number - 1):
            continue
        for _ in range(twos - 1):
            power = power * power % number
            if power == number - 1:
                break
        else:
            return False
    return True


@cache
def moduli(bits: int, count: int) -> list[int]:
    """SEAL's: the largest primes of so many bits that are 1 modulo 2 N, the smallest of them first in the chain."""
    found, candidate = list[int](), (1 << bits) - 2 * DEGREE + 1
    while len(found) < count:
        if is_prime(candidate):
            found.append(candidate)
        candidate -= 2 * DEGREE
    return found[::-1]


def unpacked(data: bytes, bits: int) -> list[int]:
    whole = int.from_bytes(data, "little")
    text = bin(whole)[2:].zfill(len(data) * 8)
    return [int(text[len(text) - at - bits : len(text) - at], 2) for at in range(0, len(text), bits)]


def coefficients(transformed: list[int], modulus: int) -> list[int]:
    """From SEAL's order: entry i is the value at psi^(2 rev(i) + 1), psi the smallest primitive 2N-th root of 1, rev reversing 12 bits."""
    root = next(pow(base, (modulus - 1) // (2 * DEGREE), modulus) for base in range(2, 99) if pow(base, (modulus - 1) // 2, modulus) != 1)
    square, psi, power = root * root % modulus, root, root
    for _ in range(DEGREE):
        power = power * square % modulus
        psi = min(psi, power)
    values = [transformed[int(f"{at:012b}"[::-1], 2)] for at in range(DEGREE)]
    back = pow(psi, -2, modulus)
    cyclic = inverse(values, back, modulus)
    scale, step = pow(DEGREE, -1, modulus), pow(psi, -1, modulus)
    return [value * scale % modulus * pow(step, at, modulus) % modulus for at, value in enumerate(cyclic)]


def inverse(values: list[int], root: int, modulus: int) -> list[int]:
    """sum over j of values[j] root^(i j), for every i."""
    if len(values) == 1:
        return values
    even, odd = (inverse(values[start::2], root * root % modulus, modulus) for start in (0, 1))
    out, factor, half = [0] * len(values), 1, len(values) // 2
    for at in range(half):
        other = factor * odd[at] % modulus
        out[at], out[at + half] = (even[at] + other) % modulus, (even[at] - other) % modulus
        factor = factor * root % modulus
    return out


def slots_of(message: list[int], modulus: int, scale: float) -> np.ndarray[Any, Any]:
    """The values at zeta^(3^j), zeta = exp(i pi / N), over the scale."""
    centred = np.array([value - modulus if value > modulus // 2 else value for value in message], float) / scale
    at_odd = np.fft.ifft(centred * np.exp(1j * np.pi * np.arange(DEGREE) / DEGREE)) * DEGREE  # at zeta^(2 k + 1)
    places = [(pow(3, at, 2 * DEGREE) - 1) // 2 for at in range(SLOTS)]
    return at_odd[places]


def public() -> tuple[bytes, int, bytes]:
    """Fingerprint, scale in bits, words of the public key; the head checked on the way."""
    file = Cut("tensor.key.pub")
    assert file.take(18) + file.take(1) == b"stfed-ckks-public\n\x01"
    degree, scale_bits, sizes = file.parameters()
    assert (degree, sizes) == (DEGREE, (54, 54))
    assert file.take(2) == b"\0\0"
    fingerprint, _, signatures = file.take(32), file.opaque(), file.number(4)
    for _ in range(signatures):
        assert file.opaque().startswith(b"stfedsig1")
        assert len(file.opaque()) == 64
    setting = struct.pack(">IB", degree, scale_bits) + bytes(sizes)
    assert hashlib.sha256(framed(b"stfed/encrypted/context/1", setting, file.rest, b"", b"")).digest() == fingerprint
    assert len(file.rest) == 2 * DEGREE * sum(sizes) // 8
    return fingerprint, scale_bits, file.rest


def secret(fingerprint: bytes) -> list[int]:
    """The secret key modulo q_0, transformed."""
    file = Cut("tensor.key")
    whole = file.rest
    assert file.take(18) + file.take(1) == b"stfed-ckks-secret\n\x01"
    assert file.parameters() == (DEGREE, 40, (54, 54))
    assert file.take(32) + file.take(1) == fingerprint + b"\0"
    head = whole[: len(whole) - len(file.rest)]
    words = file.take(DEGREE * 108 // 8)
    assert file.rest == hashlib.sha256(framed(b"stfed/encrypted/secret-file-words/1", head, words)).digest()
    return unpacked(words[: DEGREE * 54 // 8], 54)


def test_the_page_is_enough_to_decrypt() -> None:
    fingerprint, scale_bits, _ = public()
    (modulus, _), key = moduli(54, 2), secret(fingerprint)
    file = Cut("tensor")
    assert file.take(18) + file.take(1) + file.take(32) == b"stfed-ckks-tensor\n\x01" + fingerprint
    shape = tuple(file.number(8) for _ in range(file.number(4)))
    block, uniform, clean = file.number(4), file.number(1), file.number(1)
    bound, error = struct.unpack(">dd", file.take(16))
    assert (shape, block, uniform, clean, bound, error, file.number(1)) == ((300, 5), 512, 0, 1, 16.0, 1e-6, 0)
    row, column = np.indices(shape)
    chunks, together = -(-shape[0] // block), SLOTS // block
    ciphertext, slot = column // together * chunks + row // block, column % together * block + row % block
    assert len(file.rest) == (ciphertext.max() + 1) * 2 * DEGREE * 54 // 8
    found = []
    for at in range(ciphertext.max() + 1):
        words = unpacked(file.take(2 * DEGREE * 54 // 8), 54)
        message = [(c0 + c1 * s) % modulus for c0, c1, s in zip(words[:DEGREE], words[DEGREE:], key, strict=True)]
        found.append(slots_of(coefficients(message, modulus), modulus, 2.0**scale_bits))
        assert max(words) < modulus, at
    decrypted = np.array(found)[ciphertext, slot]
    assert np.abs(decrypted - numbers()).max() < error


def test_the_secret_key_is_ternary_and_belongs_to_the_public_one() -> None:
    fingerprint, _, words = public()
    (modulus, _), key = moduli(54, 2), secret(fingerprint)
    assert {value - modulus if value > 1 else value for value in coefficients(key, modulus)} == {-1, 0, 1}
    pair = unpacked(words[: 2 * DEGREE * 54 // 8], 54)
    error = coefficients([(p0 + p1 * s) % modulus for p0, p1, s in zip(pair[:DEGREE], pair[DEGREE:], key, strict=True)], modulus)
    assert 2 < np.std([value - modulus if value > modulus // 2 else value for value in error]) < 4.5


def test_stfed_reads_them_too(tmp_path: Path) -> None:
    from stfed.encrypted.keyfiles import load_secret
    from stfed.encrypted.messages import dumps, loads
    from tests.encrypted import keys

    for name in ("tensor.key", "tensor.key.pub"):
        (tmp_path / name).write_bytes((VECTORS / name).read_bytes())
    (tmp_path / "tensor.key").chmod(0o600)
    context = load_secret(tmp_path / "tensor.key")
    tensor = loads(context.public, (VECTORS / "tensor").read_bytes())
    assert np.abs(keys.opened(context, tensor) - numbers()).max() < tensor.error
    assert dumps(tensor) == (VECTORS / "tensor").read_bytes()


@pytest.mark.parametrize("name", ["tensor", "tensor.key", "tensor.key.pub"])
def test_the_files_are_there_and_small(name: str) -> None:
    assert 50_000 < (VECTORS / name).stat().st_size < 120_000
