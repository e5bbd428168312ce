"""A model in two sealed files, and the signed index that holds them together."""

from __future__ import annotations

from typing import Any

import numpy as np
import safetensors.numpy

from tests.vectors.sealed_format import keys
from tests.vectors.sealed_format.container import seal, to_keys
from tests.vectors.sealed_format.encoding import INDEX, Json, canonical, seed, to_base64
from tests.vectors.sealed_format.scenarios import MODEL

SHARDS: tuple[dict[str, np.ndarray[Any, Any]], ...] = (
    {"a": np.arange(6, dtype=np.float32)},
    {"b": np.arange(2000, dtype=np.int16).reshape(40, 50), "c": np.zeros(0, np.uint8)},
)


def files() -> dict[str, bytes]:
    """The folder's content by file name."""
    set_id, written, entries = seed("set id"), {}, []
    for number, tensors in enumerate(SHARDS, 1):
        public: Json = {**MODEL, "shard_set": set_id.hex(), "shard": f"{number}/{len(SHARDS)}"}
        plain = safetensors.numpy.save(tensors)
        shard = seal(f"shard {number}", plain, to_keys("x25519"), signers=["alice"], public=public)
        name = f"model-{number:05d}-of-{len(SHARDS):05d}.safetensors"
        written[name] = shard.file()
        entries.append({"file": name, "file_id": shard.file_id.hex(), "manifest_sha256": shard.manifest_hash().hex()})
    index: Json = {
        "version": 1,
        "set_id": set_id.hex(),
        "usual_index_sha256": None,
        "signers": [keys.written("alice")],
        "shards": entries,
    }
    signature = keys.sign("alice", INDEX, canonical(index))
    return {**written, "model.stfed.index.json": canonical({"index": index, "signatures": [to_base64(signature)]})}
