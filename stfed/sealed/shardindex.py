"""The signed index of a sharded model: which files belong together, in which order, each by its file id and the hash of its manifest.

Every shard states the same set and its own place in it, under its own signature and encryption, so sets cannot be mixed even where nobody
looks at the index. The index says in addition which sealing of each shard is meant, and who answers for the set as a whole. An unsigned
set has an index too, which tells its files; nothing in it proves who wrote it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from stfed import canonical
from stfed.crypto.identity import BadSignatureError
from stfed.crypto.kdf import digest
from stfed.crypto.labels import Label
from stfed.errors import MalformedError, shown
from stfed.keys.signing import SigningKey, VerifyingKey
from stfed.sealed.bounds import SIGNERS_MAX
from stfed.sealed.errors import TamperedError
from stfed.sealed.fields import fields, from_base64, hexadecimal, items, only_fields, text, to_base64, unknown
from stfed.sealed.format import FILE_ID_BYTES
from stfed.sealed.manifest import Manifest
from stfed.sealed.policy import keys_from_json
from stfed.sealed.shardplan import SHARDS_MAX

INDEX_MAX_BYTES = 8 << 20
SET_ID_BYTES = 32
_VERSION = 1
_HASH_BYTES = hashlib.sha256().digest_size
_NAME_MAX_BYTES = 255


class ShardError(TamperedError):
    """The files are not the set that the index names: one is missing, another one, or in another's place."""


@dataclass(frozen=True)
class Shard:
    """One file of a set.

    Attributes:
        file: its name, without a folder.
        file_id: as in its header.
        manifest_sha256: hash of its manifest.
    """

    file: str
    file_id: bytes
    manifest_sha256: bytes

    def to_json(self) -> dict[str, str]:
        """As it stands in the index."""
        return {"file": self.file, "file_id": self.file_id.hex(), "manifest_sha256": self.manifest_sha256.hex()}

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Reads what `to_json` gave, or MalformedError; a file name with a path in it is none."""
        parts = only_fields(value, "a shard of the index", "file", "file_id", "manifest_sha256")
        file = text(parts["file"], "a shard's file name")
        plain = file.isprintable() and Path(file).name == file and "\\" not in file and not file.startswith(".")
        if not plain or not file.endswith(".safetensors") or len(file.encode("utf-8")) > _NAME_MAX_BYTES:
            raise MalformedError(f"the index names a shard {shown(file)}, which is no name of a shard")
        return cls(
            file,
            hexadecimal(parts["file_id"], FILE_ID_BYTES, "a shard's file id"),
            hexadecimal(parts["manifest_sha256"], _HASH_BYTES, "a shard's manifest hash"),
        )


@dataclass(frozen=True)
class Index:
    """What `model.stfed.index.json` holds.

    Attributes:
        set_id: 32 random bytes, new with every set.
        usual_index_sha256: hash of `model.safetensors.index.json`; None if there is none.
        signers: whose signatures the index and every shard have; empty for an unsigned set.
        shards: in their order.
        signatures: one for each signer, in their order.
    """

    set_id: bytes
    usual_index_sha256: bytes | None
    signers: tuple[VerifyingKey, ...]
    shards: tuple[Shard, ...]
    signatures: tuple[bytes, ...] = ()

    @cached_property
    def content(self) -> bytes:
        """What is signed: canonical JSON."""
        return canonical.encode(
            {
                "version": _VERSION,
                "set_id": self.set_id.hex(),
                "usual_index_sha256": None if self.usual_index_sha256 is None else self.usual_index_sha256.hex(),
                "signers": [str(key) for key in self.signers],
                "shards": [shard.to_json() for shard in self.shards],
            }
        )

    @cached_property
    def sha256(self) -> bytes:
        """Its hash, by which pins and the next version's `previous` refer to the set."""
        return digest(Label.SEALED_INDEX, self.content)

    def place(self, position: int) -> str:
        """What the shard at `position` states as its place."""
        return f"{position + 1}/{len(self.shards)}"

    def encode(self) -> bytes:
        """The file."""
        signatures = ",".join(f'"{to_base64(signature)}"' for signature in self.signatures)
        return b'{"index":%s,"signatures":[%s]}' % (self.content, signatures.encode("ascii"))

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Reads an index. Verifies nothing.

        Raises:
            MalformedError: if it is not canonical, has a value out of bounds, or names a shard twice.
            UnsupportedError: if its version or a field is unknown.
        """
        outer = only_fields(canonical.decode(data, "the index"), "the index", "index", "signatures")
        early = fields(outer["index"], "the index", "version")
        if early["version"] != _VERSION or type(early["version"]) is not int:
            raise unknown(f"an index of version {shown(early['version'])}")
        parts = only_fields(outer["index"], "the index", "version", "set_id", "usual_index_sha256", "signers", "shards")
        usual = parts["usual_index_sha256"]
        shards = tuple(Shard.from_json(one) for one in items(parts["shards"], "the list of shards", SHARDS_MAX))
        if not shards or len({shard.file for shard in shards}) != len(shards) or len({shard.file_id for shard in shards}) != len(shards):
            raise MalformedError("the index names no shard, or one twice")
        signatures = items(outer["signatures"], "the list of signatures", SIGNERS_MAX)
        index = cls(
            hexadecimal(parts["set_id"], SET_ID_BYTES, "the set id"),
            None if usual is None else hexadecimal(usual, _HASH_BYTES, "the hash of the usual index"),
            keys_from_json(parts["signers"], "the signers of the index", SIGNERS_MAX),
            shards,
            tuple(from_base64(one, "a signature of the index") for one in signatures),
        )
        if len(index.signatures) != len(index.signers):
            raise MalformedError(f"the index names {len(index.signers)} signers and has {len(index.signatures)} signatures")
        return index

    def signed(self, signers: Sequence[SigningKey]) -> Self:
        """The same with signatures, by exactly the index's signers."""
        return replace(self, signatures=tuple(key.sign(Label.SEALED_INDEX, self.content) for key in signers))

    def verify(self) -> None:
        """Returns if every signer signed; TamperedError if not. An unsigned index has nothing to verify."""
        for key, signature in zip(self.signers, self.signatures, strict=True):
            try:
                key.verify(signature, Label.SEALED_INDEX, self.content)
            except BadSignatureError:
                raise TamperedError(f"the signature of {key.fingerprint} over the index does not verify: it was changed") from None

    def check(self, position: int, manifest: Manifest) -> None:
        """Returns if a file with this manifest is the shard that belongs at `position`; ShardError, with the reason, if not."""
        expected, stated, place = self.shards[position], manifest.context.public, self.place(position)
        if "shard_set" not in stated:
            reason = "it is a file by itself"
        elif stated["shard_set"] != self.set_id.hex():
            reason = f"it belongs to another set, {shown(stated['shard_set'])}"
        elif stated.get("shard") != place:
            reason = f"it is shard {shown(stated.get('shard'))}"
        elif manifest.context.signers != self.signers:
            reason = "its signers are not those of the index"
        elif (manifest.context.file_id, manifest.sha256) != (expected.file_id, expected.manifest_sha256):
            reason = "it is another sealing of this shard"
        else:
            return
        raise ShardError(f"{expected.file} is not shard {place} of the set that the index names: {reason}")
