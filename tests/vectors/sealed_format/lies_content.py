"""Lies of a sealer inside the payload: the same refusals as for a plain file, and nothing written before."""

from __future__ import annotations

from typing import Any

from tests.vectors.sealed_format.container import seal, to_keys
from tests.vectors.sealed_format.damage import (
    MALFORMED,
)
from tests.vectors.sealed_format.encoding import Json, canonical
from tests.vectors.sealed_format.scenarios import Scenarios


def add_content(scenarios: Scenarios) -> None:
    empty: Json = {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}

    def content(header: bytes, data: bytes = b"", length: int | None = None) -> bytes:
        return (len(header) if length is None else length).to_bytes(8, "little") + header + data

    def case(name: str, plain: bytes, says: str, expect: str = MALFORMED) -> None:
        scenarios.add(f"content: {name}", "x25519", seal(f"content {name}", plain, to_keys("x25519")), expect, says, plain=plain)

    def tensors(name: str, says: str, data: bytes, expect: str = MALFORMED, **entries: Any) -> None:
        case(name, content(canonical(entries), data), says, expect)

    def u8(begin: int, end: int) -> Json:
        return {"dtype": "U8", "shape": [end - begin], "data_offsets": [begin, end]}

    case("nothing at all", b"", "shorter than 8 bytes")
    case("seven bytes", bytes(7), "shorter than 8 bytes")
    case("no safetensors file", (8).to_bytes(8, "little") + b"GGUF" * 2, "does not begin with '{'")
    case("header over the file", content(b"{}", length=3), "over its end")
    case("header over the cap", content(b"{}", length=100_000_001), "over its end or the cap")
    case("header length 2^64-1", content(b"{}", length=2**64 - 1), "over its end")
    case("header is a list", content(b"[]"), "does not begin with '{'")
    case("header is no JSON", content(b"{]"), "not JSON")
    case("header not UTF-8", content(b'{"\xff":1}'), "not UTF-8")
    case("header nested deeply", content(b'{"a":' + b"[" * 30_000), "nested too deeply")
    case("a tensor named twice", content(b'{"a":%b,"a":%b}' % (canonical(empty), canonical(empty))), "'a' occurs twice")
    tensors("overlap", "must not overlap or have holes", bytes(8), a=u8(0, 5), b=u8(4, 8))
    tensors("a hole", "must not overlap or have holes", bytes(8), a=u8(0, 3), b=u8(4, 8))
    tensors("a hole at the start", "must not overlap or have holes", bytes(8), a=u8(1, 8))
    tensors("data left over", "describes 7 bytes", bytes(8), a=u8(0, 7))
    tensors("data missing", "describes 9 bytes", bytes(8), a=u8(0, 9))
    tensors("offsets reversed", "no range", bytes(8), a={"dtype": "U8", "shape": [8], "data_offsets": [8, 0]})
    tensors("offsets negative", "no range", bytes(8), a={"dtype": "U8", "shape": [8], "data_offsets": [-8, 0]})
    tensors("three offsets", "no range", bytes(8), a={"dtype": "U8", "shape": [8], "data_offsets": [0, 4, 8]})
    tensors("shape and length contradict", "dtype and shape say", bytes(8), a={"dtype": "F32", "shape": [3], "data_offsets": [0, 8]})
    tensors("shape true", "no list of sizes", bytes(1), a={"dtype": "U8", "shape": [True], "data_offsets": [0, 1]})
    huge = {"dtype": "F64", "shape": [2**32, 2**32], "data_offsets": [0, 0]}
    tensors("shape over 64 bits", "larger than 64 bits", b"", a=huge)
    tensors("unknown dtype", "unknown dtype", b"", a={**empty, "dtype": "F128"})
    tensors("metadata not text", "does not map text to text", b"", __metadata__={"a": 1})
    tensors("a tensor that is no object", "lacks dtype", b"", a=1)
    tensors("names that are paths", "", bytes(2), "ok", **{"../../etc/passwd": u8(0, 1), "/tmp/x\0y": u8(1, 2)})
