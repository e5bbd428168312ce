"""Vectors of the key service: one exchange about `sealed/policy.safetensors`, from a second implementation of its messages and of HPKE.

The service has the identity `x25519` of `sealed/keys.json` and signs as `dora` of `sealed/signing_keys.json`; `bob`, whom the file's policy
names as a reader, asks, and has `hybrid` as the key that is made for the one request.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.vectors.sealed_format import hpke
from tests.vectors.sealed_format.encoding import canonical, digest, framed, opaque, seed, sha256, to_base64
from tests.vectors.sealed_format.keys import sign, written

FILE = Path(__file__).parent / "sealed" / "policy.safetensors"
REQUEST, REPLY = b"stfed/keyserver/request/1", b"stfed/keyserver/reply/1"
MANIFEST = b"stfed/sealed/manifest/1"
CALLER, SERVICE, ONE_TIME, IDENTITY = "bob", "dora", "hybrid", "x25519"
TIME = "2026-03-01T12:00:00Z"
PURPOSE = "evaluation"
HEADER_BYTES = 4096


def generate() -> dict[str, bytes]:
    file = FILE.read_bytes()
    length = int.from_bytes(file[HEADER_BYTES + 8 : HEADER_BYTES + 12], "big")
    envelope = file[HEADER_BYTES + 12 :][:length]
    header, manifest = json.loads(file[8:HEADER_BYTES]), json.loads(envelope)["manifest"]
    nonce = seed("key service nonce")
    statement = canonical(
        {
            "version": 1,
            "service": sha256(written(SERVICE).encode()).hex(),
            "nonce": nonce.hex(),
            "time": TIME,
            "caller": written(CALLER),
            "reply_to": written(ONE_TIME),
            "purpose": PURPOSE,
            "file_id": manifest["file_id"],
            "layout": {
                "suite": manifest["suite"],
                "slot_bytes": manifest["slot_bytes"],
                "payload_bytes": manifest["payload_bytes"],
                "digests_bytes": header["stfed.digests"]["shape"][0],
            },
            "manifest_sha256": digest(MANIFEST, canonical(manifest)).hex(),
            "envelope_sha256": sha256(envelope).hex(),
        }
    )
    signature = sign(CALLER, REQUEST, statement)
    request_sha256 = digest(REQUEST, statement)
    file_key = seed("policy file key")
    encapsulated, ciphertext = hpke.seal(ONE_TIME, framed(REPLY, request_sha256), file_key, "key service reply")
    key = encapsulated + ciphertext
    reply = canonical({"version": 1, "key": to_base64(key), "signature": to_base64(sign(SERVICE, REPLY, request_sha256, key))})
    exchange = {
        "file": "sealed/policy.safetensors",
        "caller": CALLER,
        "service": SERVICE,
        "one_time": ONE_TIME,
        "identity": IDENTITY,
        "time": TIME,
        "purpose": PURPOSE,
        "file_key": file_key.hex(),
        "challenge": canonical({"version": 1, "nonce": nonce.hex()}).decode(),
        "statement": statement.decode(),
        "request_sha256": request_sha256.hex(),
        "signature": signature.hex(),
        "body_sha256": sha256(opaque(statement) + opaque(signature) + opaque(envelope)).hex(),
        "reply": reply.decode(),
        "refusal": canonical({"version": 1, "refused": "purpose"}).decode(),
    }
    return {"keyserver/exchange.json": (json.dumps(exchange, indent=1, sort_keys=True) + "\n").encode()}
