"""What whoever holds an AES-GCM key can do: another ciphertext under the same tag (NIST SP 800-38D, sections 6.3 and 6.4).

GHASH is a polynomial in H, and the key gives H. Adding d to the ciphertext block with power p, and d * H^(p - q) to the one with power q,
leaves the sum, and so the tag, as it was. A change of one block as one likes costs one other block, which turns to noise.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

BLOCK_BYTES = 16
_R = 0xE1 << 120


def multiply(left: int, right: int) -> int:
    """The product in GF(2^128), bits in GCM's order."""
    product = 0
    for bit in range(127, -1, -1):
        if right >> bit & 1:
            product ^= left
        left = left >> 1 ^ (_R if left & 1 else 0)
    return product


def power(base: int, exponent: int) -> int:
    """Also of negative exponents: every element but 0 has order 2^128 - 1."""
    exponent %= (1 << 128) - 1
    result = 1 << 127
    while exponent:
        if exponent & 1:
            result = multiply(result, base)
        base, exponent = multiply(base, base), exponent >> 1
    return result


def hash_key(key: bytes) -> int:
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    return int.from_bytes(encryptor.update(bytes(BLOCK_BYTES)), "big")


def forge(key: bytes, ciphertext: bytes, block: int, change: bytes, garbage: int) -> bytes:
    """`ciphertext`, without its tag, with `change` added to one whole block and the difference made up in the block `garbage`."""
    difference = int.from_bytes(change, "big")
    made_up = multiply(difference, power(hash_key(key), garbage - block))  # powers fall as block numbers rise
    out = bytearray(ciphertext)
    for at, value in ((block, difference), (garbage, made_up)):
        here = slice(at * BLOCK_BYTES, (at + 1) * BLOCK_BYTES)
        out[here] = (int.from_bytes(out[here], "big") ^ value).to_bytes(BLOCK_BYTES, "big")
    return bytes(out)
