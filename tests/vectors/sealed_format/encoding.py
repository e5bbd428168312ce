"""Bytes, hashes and JSON as the format writes them, and randomness drawn from names."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

Json = dict[str, Any]

FILE_KEY = b"stfed/sealed/file-key/1"
PAYLOAD = b"stfed/sealed/payload/1"
POLICY = b"stfed/sealed/policy/1"
STATED = b"stfed/sealed/stated/1"
SIGNERS = b"stfed/sealed/signers/1"
PROVENANCE = b"stfed/sealed/provenance/1"
RECIPIENTS = b"stfed/sealed/recipients/1"
PASSPHRASE = b"stfed/sealed/passphrase/1"
STANZA_TAG = b"stfed/sealed/stanza-tag/1"
DIGESTS = b"stfed/sealed/digests/1"
MANIFEST = b"stfed/sealed/manifest/1"
SIGNATURE = b"stfed/sealed/signature/1"
GRANT = b"stfed/sealed/grant/1"
CHAIN = b"stfed/sealed/chain/1"
INDEX = b"stfed/sealed/index/1"


def seed(name: str, size_bytes: int = 32) -> bytes:
    """Randomness that is the same in every run."""
    return hashlib.shake_256(b"stfed sealed vectors: " + name.encode()).digest(size_bytes)


def canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def clone(value: Any) -> Any:
    return json.loads(json.dumps(value))


def opaque(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def u64(value: int) -> bytes:
    return value.to_bytes(8, "big")


def framed(label: bytes, *parts: bytes) -> bytes:
    return opaque(label) + b"".join(map(opaque, parts))


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def digest(label: bytes, *parts: bytes) -> bytes:
    return sha256(framed(label, *parts))


def derive(secret: bytes, label: bytes, *parts: bytes) -> bytes:
    """HKDF-SHA256 (RFC 5869) without salt, 32 bytes."""
    return hmac.digest(hmac.digest(bytes(32), secret, "sha256"), framed(label, *parts) + b"\x01", "sha256")


def to_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def from_base64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
