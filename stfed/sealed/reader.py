"""Opening: from a sealed file and a secret key to the bytes of its tensors.

Everything that can be refused without a key is refused first, in bounded memory: header, file size, slots, envelope. Then the stanza, the
FLOE header, which proves every length and the whole envelope, and the header of the safetensors file inside. After that a tensor is a range
of bytes, and reading it touches the segments that it lies in and no others.

An opened file proves that it is whole and unchanged since somebody sealed it. Who that was it does not prove: anybody can seal to a public
key. Signatures will.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from contextlib import ExitStack

import numpy as np

from stfed.sealed import floe, inner
from stfed.sealed.envelope import key_info, payload_ad
from stfed.sealed.errors import TamperedError, about
from stfed.sealed.keyring import IdentityLike, PathLike, read_identities
from stfed.sealed.outside import Outside, read_outside
from stfed.sealed.recipients import unwrap
from stfed.sealed.storage import File, Memory, Readable, check_target, opened, read_bytes, replacing
from stfed.sealed.stream import Payload, Progress


class SealedReader:
    """An opened sealed file. Holds key material until it is closed; use it in a `with` block.

    Args:
        source: a path, or the bytes of a file.
        identity: secret key or keys: objects or paths of key files.

    Attributes:
        outside: what the file shows without a key, by now verified against the payload.
        header: names, types, shapes and metadata of the tensors.
        payload: the plaintext.

    Raises:
        NotARecipientError: if the file is sealed to others.
        SealError: of whatever kind, if the file is not one that a writer of ours made and nobody touched.
        FileNotFoundError: if there is none.
    """

    def __init__(self, source: PathLike | bytes | bytearray | memoryview, identity: IdentityLike | Iterable[IdentityLike]) -> None:
        identities = read_identities(identity)
        readable: Readable
        self._path = None if isinstance(source, bytes | bytearray | memoryview) else os.fspath(source)
        with about(self._path), ExitStack() as stack:
            if isinstance(source, bytes | bytearray | memoryview):
                readable = Memory(memoryview(source).cast("B"))
            else:
                readable = File(stack.enter_context(opened(source)))
            self.outside = outside = read_outside(readable)
            layout, envelope = outside.layout, outside.envelope
            file_key = unwrap(envelope.recipients, identities, key_info(layout, envelope.provenance))
            start = read_bytes(readable, layout.payload_offset, layout.payload_offset + floe.HEADER_BYTES)
            if hashlib.sha256(start).digest() != envelope.floe_header_sha256:
                raise TamperedError("the payload's header is not the one that the envelope names")
            associated_data = payload_ad(layout, envelope.provenance, envelope.segment_bytes, envelope.recipients)
            message = floe.Floe.start_decryption(file_key, associated_data, floe.Parameters(envelope.segment_bytes), start)
            self.payload = Payload(readable, layout.payload_offset, outside.geometry, message)
            stack.callback(self.payload.close)
            self.header = inner.parse(self.payload.read, self.payload.size_bytes)
            self._stack = stack.pop_all()

    def read(self, begin: int, end: int) -> memoryview:
        """Data bytes `begin` to `end`, counted from the start of the data, in new memory aligned to 64 bytes."""
        out = _aligned(end - begin)
        with about(self._path):
            self.payload.read_into(self.header.data_start + begin, out)
        return out

    def write_plain(self, path: PathLike, *, progress: Progress | None = None) -> None:
        """Writes the plain safetensors file, byte for byte; nothing appears at `path` before all of it is verified."""
        with about(self._path), replacing(path) as target:
            self.payload.copy_to(target, progress)

    def close(self) -> None:
        """Closes the file and forgets what was decrypted."""
        self._stack.close()

    def __enter__(self) -> SealedReader:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def open_file(
    path: PathLike, out: PathLike, *, identity: IdentityLike | Iterable[IdentityLike], progress: Progress | None = None
) -> Outside:
    """Opens a sealed file into a plain safetensors file, byte for byte the one that was sealed; returns what the envelope states.

    Args:
        path: the sealed file.
        out: the plain file, mode 0600.
        identity: secret key or keys: objects or paths of key files.
        progress: hears of every segment.

    Raises:
        LocalError: if `out` is a link, a folder or `path` itself.
        SealError: as `SealedReader`.
    """
    check_target(out)
    with SealedReader(path, identity) as reader:
        check_target(out, source=path)
        reader.write_plain(out, progress=progress)
        return reader.outside


def _aligned(size_bytes: int) -> memoryview:
    """Memory that begins at a multiple of 64 bytes, as the data of the file does: views of any type are aligned then."""
    room = np.empty(size_bytes + inner.ALIGNMENT_BYTES, dtype=np.uint8)
    start = -room.ctypes.data % inner.ALIGNMENT_BYTES
    return room[start : start + size_bytes].data
