"""Sealing: from tensors in memory, or from a plain safetensors file, to a sealed file.

The order matters. The file key is wrapped first, because the payload's associated data covers the recipient list; then the payload is
streamed to its place; digests, signatures, header and envelope slot A come last. A file is written under a temporary name and takes its own
only when complete. Beside the tensors themselves only a few segments are held in memory, whatever the size.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Unpack

from stfed.audit import Kind
from stfed.crypto.random import Entropy, system_entropy
from stfed.errors import LocalError, about
from stfed.files import Memory, Writable, check_target, opened, read_bytes, replacing
from stfed.keys.encryption import FILE_KEY_BYTES, Recipient
from stfed.keys.keyfile import PathLike
from stfed.sealed import floe, inner, statements
from stfed.sealed.bounds import SLOT_MAX_BYTES
from stfed.sealed.digests import Digests
from stfed.sealed.envelope import Envelope
from stfed.sealed.format import FILE_ID_BYTES, Layout, Slot, slot_bytes_for
from stfed.sealed.geometry import Geometry
from stfed.sealed.manifest import Context, Manifest
from stfed.sealed.options import SealOptions
from stfed.sealed.parallel import buffer
from stfed.sealed.recipients import wrap, wrap_passphrase
from stfed.sealed.sealrequest import SealRequest
from stfed.sealed.sources import FileSource
from stfed.sealed.stanza import Stanza, recipients_sha256
from stfed.sealed.stream import Progress, SegmentSealer, Source
from stfed.sealed.suites import DIGEST_BYTES
from stfed.sealed.trail import Trail, trail

Wrap = Callable[[bytes, Sequence[Recipient], bytes], tuple[Stanza, ...]]


class Sealing:
    """One sealing, planned: every length is known before the first byte is written.

    Args:
        plain_bytes: length of the plaintext.
        request: for whom, by whom, with what statements.
        entropy: gives file key, file id and ivs.
        wrap: wraps the file key; HPKE's own randomness comes from the operating system.

    Attributes:
        layout: where everything will lie.
        manifest: what was stated; known after `finish`.

    Raises:
        LocalError: for more recipients than an envelope slot holds.
    """

    layout: Layout
    manifest: Manifest

    def __init__(self, plain_bytes: int, request: SealRequest, *, entropy: Entropy = system_entropy, wrap: Wrap = wrap) -> None:
        self._request, self._entropy = request, entropy
        file_key, file_id = entropy(FILE_KEY_BYTES), entropy(FILE_ID_BYTES)
        sealed = statements.encrypt(request.provenance, file_key, file_id)
        keys = tuple(key.public for key in request.signers)
        self._context = Context(request.suite, file_id, request.time, keys, request.policy, request.public, sealed)
        if request.passphrase is None:
            self._stanzas = wrap(file_key, request.recipients, self._context.key_info)
        else:
            self._stanzas = (wrap_passphrase(file_key, request.passphrase, self._context.key_info, entropy),)
        geometry = Geometry(plain_bytes, request.segment_bytes)
        self._digests = Digests.blank(request.suite, geometry.count) if request.suite.hash else None
        digests_bytes = geometry.count * DIGEST_BYTES if self._digests else 0
        self.layout = Layout(request.suite, file_id, SLOT_MAX_BYTES, geometry.payload_bytes, digests_bytes)
        self.layout = Layout(request.suite, file_id, slot_bytes_for(self._draft_bytes()), geometry.payload_bytes, digests_bytes)
        self._recipients_sha256 = recipients_sha256(self._stanzas)
        associated_data = self._context.payload_ad(self.layout, request.segment_bytes, self._recipients_sha256)
        self._floe: floe.Floe | None = floe.Floe.start_encryption(
            file_key, associated_data, floe.Parameters(request.segment_bytes), entropy
        )
        self._header_sha256 = hashlib.sha256(self._floe.header).digest()
        self._plain_bytes = plain_bytes

    def _draft_bytes(self) -> int:
        """Length of the envelope, before what will stand in it is known: hashes and signatures have fixed lengths."""
        blank = bytes(DIGEST_BYTES)
        manifest = Manifest(self._context, self.layout, self._request.segment_bytes, blank, blank, blank if self._digests else None)
        return len(Envelope(manifest, self._stanzas, tuple(bytes(key.signature_bytes) for key in self._context.signers)).encode())

    def begin(self, target: Writable) -> SegmentSealer:
        """Starts the payload in `target`, which has room for `layout.file_bytes`.

        Raises:
            LocalError: when called again: one message, one key stream.
        """
        if self._floe is None:
            raise LocalError("a sealing writes one file", hint="plan another one")
        message, self._floe = self._floe, None
        return SegmentSealer(message, self._plain_bytes, target, self.layout.payload_offset, entropy=self._entropy, digests=self._digests)

    def finish(self, target: Writable) -> None:
        """Signs, and writes everything around the payload, which is complete by now."""
        digests_sha256 = None if self._digests is None else self._digests.sha256
        manifest = Manifest(
            self._context, self.layout, self._request.segment_bytes, self._header_sha256, self._recipients_sha256, digests_sha256
        )
        envelope = Envelope(manifest, self._stanzas).signed(self._request.signers)
        if self._digests is not None:
            target.write_at(self.layout.digests_offset, self._digests.listed)
        slots = Slot(1, envelope.encode()).encode(self.layout.slot_bytes) + bytes(self.layout.slot_bytes)
        target.write_at(0, self.layout.header() + slots)
        self.manifest = manifest

    def write(self, source: Source, target: Writable, progress: Progress | None = None) -> Manifest:
        """The whole file: `begin`, all segments, `finish`."""
        sealer = self.begin(target)
        sealer.seal(sealer.geometry.count, source.piece, progress)
        self.finish(target)
        return self.manifest


def seal_to_path(
    source: Source,
    path: PathLike,
    *,
    progress: Progress | None = None,
    check: Callable[[], None] | None = None,
    **options: Unpack[SealOptions],
) -> Manifest:
    """Writes a sealed file; nothing appears at `path` before it is complete, and logged if a log is given.

    Args:
        source: the plaintext.
        path: the sealed file.
        progress: hears of every segment.
        check: called when everything is written, before the file appears.
        options: as `SealOptions` says.

    Returns:
        What the file states, and its hash.
    """
    check_target(path)
    request = SealRequest.of(**options)
    with trail(request.audit) as log:
        return seal_as_asked(source, path, request, log, progress, check)


def seal_as_asked(
    source: Source,
    path: PathLike,
    request: SealRequest,
    log: Trail,
    progress: Progress | None = None,
    check: Callable[[], None] | None = None,
) -> Manifest:
    """As `seal_to_path`, with options that were resolved and a log that was opened before."""
    sealing = Sealing(source.size_bytes, request)
    with replacing(path) as target:
        sealing.write(source, target, progress)
        if check is not None:
            check()
        note_sealed(log, path, sealing.manifest, request)
    return sealing.manifest


def seal_to_bytes(source: Source, **options: Unpack[SealOptions]) -> bytes:
    """A sealed file in memory."""
    request = SealRequest.of(**options)
    sealing = Sealing(source.size_bytes, request)
    out = buffer(sealing.layout.file_bytes)
    with trail(request.audit) as log:
        sealing.write(source, Memory(out))
        note_sealed(log, None, sealing.manifest, request)
    return bytes(out)


def seal_file(path: PathLike, out: PathLike, *, progress: Progress | None = None, **options: Unpack[SealOptions]) -> Manifest:
    """Seals an existing plain safetensors file, byte for byte.

    Args:
        path: the plain file. It is checked as safetensors checks it, and left alone.
        out: the sealed file.
        progress: hears of every segment.
        options: as `SealOptions` says.

    Returns:
        What the file states, and its hash.

    Raises:
        MalformedError: if `path` is no plain safetensors file.
        LocalError: if `out` is a link, a folder or `path` itself, the options contradict each other, or `path` changes meanwhile.
    """
    with opened(path) as descriptor:
        check_target(out, source=path)
        source, before = FileSource(descriptor), _version_of(descriptor)
        with about(path):
            inner.refuse_sealed(inner.parse(partial(read_bytes, source), source.size_bytes))

        def unchanged() -> None:
            if _version_of(descriptor) != before:
                raise LocalError(f"{os.fspath(path)} changed while it was being sealed", hint="try again when nobody writes to it")

        return seal_to_path(source, out, progress=progress, check=unchanged, **options)


def note_sealed(log: Trail, path: PathLike | None, manifest: Manifest, request: SealRequest) -> None:
    """Writes to the log who can open the file that is about to appear."""
    to = [key.fingerprint for key in request.recipients] or ["passphrase"]
    actor = [key.public.fingerprint for key in request.signers]
    log.note(Kind.SEAL, path, manifest, actor=actor, recipients=to, bytes=manifest.layout.file_bytes)


def _version_of(descriptor: int) -> tuple[int, int, int]:
    status = os.fstat(descriptor)
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns  # the last one cannot be set back
