"""The vectors of `stfed.crypto`: published answers copied from the standards, and our own computed here a second time.

Nothing in this file imports `stfed`: streams come from plain AES-CTR, shares from Python integers, keys from the library's HKDF, and the
framing is spelled out byte by byte, so that a vector is a second opinion and not an echo.
"""

from __future__ import annotations

import hashlib
import json
import struct
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

SEGMENT_BYTES = 524288
PRIME = 65521

GCM_KEY = "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"
GCM_PLAINTEXT = (
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255"
)
GCM_CIPHERTEXT = (
    "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad"
)

PUBLISHED: dict[str, Any] = {
    "gcm": [
        {
            "source": "McGrew and Viega, The Galois/Counter Mode of Operation, test case 13",
            "key": "00" * 32,
            "nonce": "00" * 12,
            "plaintext": "",
            "associated_data": "",
            "sealed": "530f8afbc74536b9a963b4f1c4cb738b",
        },
        {
            "source": "test case 14",
            "key": "00" * 32,
            "nonce": "00" * 12,
            "plaintext": "00" * 16,
            "associated_data": "",
            "sealed": "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919",
        },
        {
            "source": "test case 15",
            "key": GCM_KEY,
            "nonce": "cafebabefacedbaddecaf888",
            "plaintext": GCM_PLAINTEXT,
            "associated_data": "",
            "sealed": GCM_CIPHERTEXT + "b094dac5d93471bdec1a502270e3cc6c",
        },
        {
            "source": "test case 16",
            "key": GCM_KEY,
            "nonce": "cafebabefacedbaddecaf888",
            "plaintext": GCM_PLAINTEXT[:120],
            "associated_data": "feedfacedeadbeeffeedfacedeadbeefabaddad2",
            "sealed": GCM_CIPHERTEXT[:120] + "76fc6ece0f4e1768cddf8853bb2d551b",
        },
    ],
    "ctr": [
        {
            "source": "NIST SP 800-38A, F.5.5, CTR-AES256.Encrypt",
            "key": "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
            "counter_block": "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
            "plaintext": "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
            "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710",
            "ciphertext": "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5"
            "2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6",
        },
    ],
    "x25519": [
        {
            "source": "RFC 7748, section 5.2",
            "private": "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
            "public": "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
            "secret": "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
        },
        {
            "source": "RFC 7748, section 5.2",
            "private": "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
            "public": "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
            "secret": "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
        },
        {
            "source": "RFC 7748, section 6.1, Alice with Bob's key",
            "private": "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
            "public": "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
            "secret": "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742",
        },
        {
            "source": "RFC 7748, section 6.1, Bob with Alice's key",
            "private": "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
            "public": "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
            "secret": "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742",
        },
    ],
    "x25519_iterated": {
        "source": "RFC 7748, section 5.2, k, u = X25519(k, u), k from the u-coordinate 9",
        "1": "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079",
        "1000": "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51",
    },
    "ed25519": [
        {
            "source": "RFC 8032, section 7.1, TEST 1",
            "private": "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "public": "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "message": "",
            "signature": "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
            "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        },
        {
            "source": "RFC 8032, section 7.1, TEST 2",
            "private": "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "public": "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "message": "72",
            "signature": "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        },
        {
            "source": "RFC 8032, section 7.1, TEST 3",
            "private": "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "public": "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "message": "af82",
            "signature": "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
            "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        },
    ],
    "hkdf": [
        {
            "source": "RFC 5869, A.1",
            "secret": "0b" * 22,
            "salt": "000102030405060708090a0b0c",
            "info": "f0f1f2f3f4f5f6f7f8f9",
            "okm": "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        },
        {
            "source": "RFC 5869, A.2",
            "secret": bytes(range(0x50)).hex(),
            "salt": bytes(range(0x60, 0xB0)).hex(),
            "info": bytes(range(0xB0, 0x100)).hex(),
            "okm": "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c"
            "59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71"
            "cc30c58179ec3e87c14c01d5c1f3434f1d87",
        },
        {
            "source": "RFC 5869, A.3",
            "secret": "0b" * 22,
            "salt": "",
            "info": "",
            "okm": "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
        },
    ],
}


def generate() -> dict[str, bytes]:
    """Every file of `tests/vectors/crypto`, by its name relative to `tests/vectors`."""
    files = {
        "published": PUBLISHED,
        "keystream": _keystream(),
        "kdf": _kdf(),
        "aead": _aead(),
        "agreement": _agreement(),
        "identity": _identity(),
        "shamir": _shamir(),
    }
    return {f"crypto/{name}.json": (json.dumps(content, indent=1) + "\n").encode() for name, content in files.items()}


def _bytes(name: str, size_bytes: int) -> bytes:
    return hashlib.shake_256(b"stfed crypto vectors: " + name.encode()).digest(size_bytes)


def _frame(label: str, parts: list[bytes]) -> bytes:
    return b"".join(struct.pack(">I", len(part)) + part for part in [label.encode(), *parts])


def _stream(key: bytes, offset: int, size: int) -> bytes:
    """The stream from its start, one segment after the other, then cut."""
    pieces = []
    for segment in range(offset // SEGMENT_BYTES, (offset + size) // SEGMENT_BYTES + 1):
        counter_block = segment.to_bytes(12, "big") + b"\0\0\0\2"
        pieces.append(Cipher(AES(key), CTR(counter_block)).encryptor().update(bytes(SEGMENT_BYTES)))
    start = offset % SEGMENT_BYTES
    return b"".join(pieces)[start : start + size]


def _keystream() -> dict[str, Any]:
    key = _bytes("keystream", 32)
    ranges = [
        (0, 64),
        (1, 31),
        (SEGMENT_BYTES - 20, 40),
        (SEGMENT_BYTES, 32),
        (3 * SEGMENT_BYTES - 1, 2),
        (2**32 + 5, 32),
        (2**36 - 32, 32),
    ]
    sums = []
    for word_bits, words, first_segment, add, subtract in [(16, 7, 0, 2, 1), (32, 5, 3, 3, 0), (64, 3, 0, 1, 2), (32, 131073, 1, 2, 2)]:
        keys = [_bytes(f"sum {word_bits} {words} {i}", 32) for i in range(add + subtract)]
        size = words * word_bits // 8
        total = [(i * 0x9E3779B97F4A7C15) % 2**word_bits for i in range(words)]
        for i, each in enumerate(keys):
            stream = _stream(each, first_segment * SEGMENT_BYTES, size)
            sign = 1 if i < add else -1
            for j in range(words):
                word = int.from_bytes(stream[j * word_bits // 8 : (j + 1) * word_bits // 8], "little")
                total[j] = (total[j] + sign * word) % 2**word_bits
        packed = b"".join(word.to_bytes(word_bits // 8, "little") for word in total)
        sums.append(
            {
                "word_bits": word_bits,
                "words": words,
                "first_segment": first_segment,
                "start": "word j of the total starts as j * 0x9e3779b97f4a7c15 modulo 2^word_bits",
                "add": [each.hex() for each in keys[:add]],
                "subtract": [each.hex() for each in keys[add:]],
                "sha256_of_little_endian_words": hashlib.sha256(packed).hexdigest(),
            }
        )
    return {
        "segment_bytes": SEGMENT_BYTES,
        "key": key.hex(),
        "ranges": [{"offset": at, "bytes": _stream(key, at, size).hex()} for at, size in ranges],
        "sums": sums,
    }


def _kdf() -> list[dict[str, Any]]:
    cases = []
    for label, parts, salt in [
        ("stfed/secagg/pairwise-key/1", [b"suite", b"", bytes(32)], b"run"),
        ("stfed/secagg/self-mask/1", [_bytes("transcript", 32)], b""),
        ("stfed/secagg/ratchet-next/1", [], b""),
    ]:
        secret = _bytes(label, 32)
        framed = _frame(label, parts)
        cases.append(
            {
                "secret": secret.hex(),
                "label": label,
                "parts": [part.hex() for part in parts],
                "salt": salt.hex(),
                "framed": framed.hex(),
                "digest": hashlib.sha256(framed).hexdigest(),
                "derived": HKDF(hashes.SHA256(), 32, salt or None, framed).derive(secret).hex(),
            }
        )
    return cases


def _aead() -> list[dict[str, Any]]:
    cases = []
    for size in (0, 1, 64, 100):
        key, nonce, plaintext, associated_data = _bytes("key", 32), _bytes(f"n{size}", 12), _bytes("p", size), _bytes("ad", size // 2)
        sealed = nonce + AESGCM(key).encrypt(nonce, plaintext, associated_data)
        case: dict[str, Any] = {
            "key": key.hex(),
            "associated_data": associated_data.hex(),
            "sealed": sealed.hex(),
            "plaintext": plaintext.hex(),
        }
        cases.append(case)
        for at in (0, 12, len(sealed) - 1):
            changed = bytearray(sealed)
            changed[at] ^= 0x80
            cases.append({**case, "sealed": changed.hex(), "plaintext": None})
        cases.append({**case, "sealed": sealed[:-1].hex(), "plaintext": None})
        cases.append({**case, "associated_data": case["associated_data"] + "00", "plaintext": None})
    return cases


def _agreement() -> dict[str, Any]:
    pairs = []
    for i in range(3):
        ours, theirs = (X25519PrivateKey.from_private_bytes(_bytes(f"x25519 {i} {side}", 32)) for side in "ab")
        pairs.append(
            {
                "private": ours.private_bytes_raw().hex(),
                "public": theirs.public_key().public_bytes_raw().hex(),
                "secret": ours.exchange(theirs.public_key()).hex(),
            }
        )
    field = 2**255 - 19
    order_8 = [
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    ]
    values = [value.to_bytes(32, "little").hex() for value in (0, 1, field - 1, field, field + 1)] + order_8
    with_top_bit = [value[:62] + f"{int(value[62:], 16) | 0x80:02x}" for value in values]
    return {"pairs": pairs, "low_order": values + with_top_bit}


def _identity() -> list[dict[str, Any]]:
    cases = []
    for i, (label, parts) in enumerate([("stfed/secagg/join/1", [b"run", b"\0\1"]), ("stfed/secagg/sign-survivors/1", [])]):
        key = Ed25519PrivateKey.from_private_bytes(_bytes(f"identity {i}", 32))
        public = key.public_key().public_bytes_raw()
        digest = hashlib.sha256(public).hexdigest()
        cases.append(
            {
                "private": key.private_bytes_raw().hex(),
                "public": public.hex(),
                "fingerprint": f"{digest[:4]} {digest[4:8]} {digest[8:12]} {digest[12:16]}",
                "label": label,
                "parts": [part.hex() for part in parts],
                "signature": key.sign(_frame(label, parts)).hex(),
            }
        )
    return cases


def _shamir() -> list[dict[str, Any]]:
    """Limbs by Horner's rule on Python integers; coefficients are the accepted 16-bit words of the entropy, exponent by exponent."""
    cases = []
    for threshold, points, count, rejected in [
        (1, [5], 1, []),
        (2, [1, 2, 3], 2, []),
        (3, [1, 2, 3, 4, 5], 2, [65521, 65535]),
        (4, [65520, 1, 777, 32768], 1, [65521] * 20),
    ]:
        name = f"shamir {threshold} {points}"
        entropy = b"".join(word.to_bytes(2, "little") for word in rejected) + _bytes(name, 2 * (16 * count * threshold + 64))
        words = [int.from_bytes(entropy[at : at + 2], "little") for at in range(0, len(entropy), 2)]
        accepted = iter([word for word in words if word < PRIME])
        secrets = [[(i * 16 + limb) * 4099 % PRIME for limb in range(16)] for i in range(count)]
        secrets[0][:4] = [0, 1, PRIME - 1, PRIME - 2]
        rows = [secrets, *([[next(accepted) for _ in range(16)] for _ in range(count)] for _ in range(threshold - 1))]
        shares = []
        for i in range(count):
            of_secret = []
            for x in points:
                limbs = [0] * 16
                for row in reversed(rows):
                    limbs = [(limb * x + row[i][at]) % PRIME for at, limb in enumerate(limbs)]
                of_secret.append(b"".join(limb.to_bytes(2, "little") for limb in limbs).hex())
            shares.append(of_secret)
        as_bytes = [b"".join(limb.to_bytes(2, "little") for limb in secret).hex() for secret in secrets]
        cases.append({"threshold": threshold, "points": points, "entropy": entropy.hex(), "secrets": as_bytes, "shares": shares})
    return cases
