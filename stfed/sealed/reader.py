"""Opening: from a sealed file and a secret key to the bytes of its tensors.

Everything that can be refused without a key is refused first, in bounded memory: header, file size, slots, envelope; signatures and the
chain of grants, and that somebody trusted made them; the policy; the list of digests. Then the stanza, the FLOE header, which proves every
length and the context, and the header of the safetensors file inside. After that a tensor is a range of bytes, and reading it touches the
segments that it lies in and no others.

A file that opens is whole and unchanged since somebody sealed it. Who that was, only `trusted=` proves: anybody can seal to a public key.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Unpack

import numpy as np

from stfed.audit import Kind
from stfed.errors import SealError, about
from stfed.files import File, Memory, Readable, check_target, opened, replacing
from stfed.keys.keyfile import PathLike
from stfed.keys.signing import VerifyingKey
from stfed.sealed import floe, inner, statements
from stfed.sealed.manifest import Manifest
from stfed.sealed.openrequest import OpenRequest
from stfed.sealed.options import OpenOptions
from stfed.sealed.outside import Outside, check_floe_header, read_digests, read_outside
from stfed.sealed.statements import Scalar
from stfed.sealed.stream import Payload, Progress
from stfed.sealed.times import Clock, system_clock
from stfed.sealed.trail import trail
from stfed.sealed.unwrapping import Access


class SealedReader:
    """An opened sealed file. Holds key material until it is closed; use it in a `with` block.

    Args:
        source: a path, or the bytes of a file.
        clock: what time it is, for policies and rosters.
        options: as `OpenOptions` says.

    Attributes:
        outside: what the file shows without a key, by now verified.
        signers: those of the file's signers whom the reader trusts; none if no trust was asked for.
        access: how the reader came to the file key.
        statements: what the sealer states about the content, the public part and the sealed one together.
        header: names, types, shapes and metadata of the tensors.
        payload: the plaintext.

    Raises:
        NotARecipientError: if the file is sealed to others.
        UntrustedError: if nobody trusted signed it.
        AccessDeniedError: if its policy does not allow this.
        RollbackError: if it is older than what was seen.
        SealError: of whatever other kind, if the file is not one that a writer of ours made and nobody touched.
        FileNotFoundError: if there is none.
    """

    outside: Outside
    signers: tuple[VerifyingKey, ...]
    access: Access
    statements: dict[str, Scalar]
    header: inner.Header
    payload: Payload

    def __init__(
        self, source: PathLike | bytes | bytearray | memoryview, *, clock: Clock = system_clock, **options: Unpack[OpenOptions]
    ) -> None:
        request = OpenRequest(**options)
        self._path = None if isinstance(source, bytes | bytearray | memoryview) else os.fspath(source)
        with ExitStack() as stack:
            self._trail = stack.enter_context(trail(request.audit))
            with about(self._path):
                readable: Readable
                if isinstance(source, bytes | bytearray | memoryview):
                    readable = Memory(memoryview(source).cast("B"))
                else:
                    readable = File(stack.enter_context(opened(source)))
                with self._trail.failures(Kind.OPEN_FAILED, self._path, self._known, request.actor):
                    self._open(readable, request, clock)
            stack.callback(self.payload.close)
            if self._trail:
                self._note(request.purpose)
            self._stack = stack.pop_all()

    def _open(self, readable: Readable, request: OpenRequest, clock: Clock) -> None:
        now = clock()
        self.outside = outside = read_outside(readable)
        envelope, manifest, layout = outside.envelope, outside.envelope.manifest, outside.layout
        self.signers = request.admit(envelope, now)
        digests = read_digests(readable, outside)
        file_key, self.access = request.obtain(envelope, now)
        start = check_floe_header(readable, outside)
        associated_data = manifest.context.payload_ad(layout, manifest.segment_bytes, manifest.recipients_sha256)
        message = floe.Floe.start_decryption(file_key, associated_data, floe.Parameters(manifest.segment_bytes), start)
        sealed = statements.decrypt(manifest.context.sealed, file_key, manifest.context.file_id)
        self.statements = statements.merged(manifest.context.public, sealed)
        self.payload = Payload(readable, layout.payload_offset, manifest.geometry, message, digests)
        self.header = inner.parse(self.payload.read, self.payload.size_bytes)
        request.check_stated(manifest.sha256, self.signers, self.statements, now)

    def _known(self) -> Manifest | None:
        """What the file states, if it got as far as stating anything; whether it is true may be what failed."""
        return self.manifest if hasattr(self, "outside") else None

    def _note(self, purpose: str | None) -> None:
        self._trail.note(
            Kind.OPEN, self._path, self.manifest, actor=self.access.who, how=self.access.how, purpose=purpose,
            trusted=None if self.trusted is None else self.trusted.fingerprint, generation=self.outside.envelope.generation,
        )  # fmt: skip

    def _actor(self) -> str:
        return self.access.who

    @property
    def trusted(self) -> VerifyingKey | None:
        """The first signer that the reader trusts; None if no trust was asked for."""
        return self.signers[0] if self.signers else None

    @property
    def manifest(self) -> Manifest:
        """What the sealer states, verified."""
        return self.outside.envelope.manifest

    def read(self, begin: int, end: int) -> memoryview:
        """Data bytes `begin` to `end`, counted from the start of the data, in new memory aligned to 64 bytes."""
        out = _aligned(end - begin)
        try:
            self.payload.read_into(self.header.data_start + begin, out)
        except SealError:  # entering the managers first would double the price of a small tensor
            with about(self._path), self._trail.failures(Kind.OPEN_FAILED, self._path, self._known, self._actor):
                raise
        return out

    def write_plain(self, path: PathLike, *, progress: Progress | None = None) -> None:
        """Writes the plain safetensors file, byte for byte; nothing appears at `path` before all of it is verified."""
        failures = self._trail.failures(Kind.OPEN_FAILED, self._path, self._known, self._actor)
        with about(self._path), failures, replacing(path) as target:
            self.payload.copy_to(target, progress)

    def close(self) -> None:
        """Closes the file and forgets what was decrypted."""
        self._stack.close()

    def __enter__(self) -> SealedReader:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def open_file(path: PathLike, out: PathLike, *, progress: Progress | None = None, **options: Unpack[OpenOptions]) -> SealedReader:
    """Opens a sealed file into a plain safetensors file, byte for byte the one that was sealed.

    Args:
        path: the sealed file.
        out: the plain file, mode 0600.
        progress: hears of every segment.
        options: as `OpenOptions` says.

    Returns:
        The reader, closed: who signed, how access was given, what is stated.

    Raises:
        LocalError: if `out` is a link, a folder or `path` itself.
        SealError: as `SealedReader`.
    """
    check_target(out)
    with SealedReader(path, **options) as reader:
        check_target(out, source=path)
        reader.write_plain(out, progress=progress)
    return reader


def _aligned(size_bytes: int) -> memoryview:
    """Memory that begins at a multiple of 64 bytes, as the data of the file does: views of any type are aligned then."""
    room = np.empty(size_bytes + inner.ALIGNMENT_BYTES, dtype=np.uint8)
    start = -room.ctypes.data % inner.ALIGNMENT_BYTES
    return room[start : start + size_bytes].data
