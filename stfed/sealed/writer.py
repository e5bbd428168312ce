"""Sealing: from tensors in memory, or from a plain safetensors file, to a sealed file.

The order matters. The file key is wrapped first, because the payload's associated data covers the recipient list; then the payload is
streamed to its place; header and envelope slot A come last. A file is written under a temporary name and takes its own only when complete.
Beside the tensors themselves only a few segments are held in memory, whatever the size.
"""

from __future__ import annotations

import bisect
import hashlib
import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from stfed.crypto.random import Entropy, system_entropy
from stfed.errors import LocalError
from stfed.sealed import floe, inner
from stfed.sealed.bounds import SEGMENT_DEFAULT_BYTES, SLOT_MAX_BYTES
from stfed.sealed.envelope import TAG_BYTES, Envelope, Provenance, Stanza, key_info, payload_ad, provenance_problem, segment_bytes_problem
from stfed.sealed.errors import about
from stfed.sealed.format import FILE_ID_BYTES, Layout, Slot, slot_bytes_for
from stfed.sealed.geometry import Geometry
from stfed.sealed.keyring import PathLike, RecipientLike, read_recipients
from stfed.sealed.keys import FILE_KEY_BYTES, Recipient
from stfed.sealed.parallel import buffer
from stfed.sealed.recipients import check_recipients, wrap
from stfed.sealed.storage import File, Memory, Writable, check_target, opened, read_bytes, replacing
from stfed.sealed.stream import Progress, Source, seal_payload

Wrap = Callable[[bytes, Sequence[Recipient], bytes], tuple[Stanza, ...]]


class Buffers:
    """Several pieces of memory read as one."""

    def __init__(self, parts: Iterable[memoryview]) -> None:
        self._parts = [part for part in parts if len(part)]
        self._starts = [0, *itertools.accumulate(len(part) for part in self._parts)]

    @property
    def size_bytes(self) -> int:
        """Length of all parts together."""
        return self._starts[-1]

    def piece(self, start: int, stop: int, scratch: memoryview) -> memoryview:
        """A view where one part holds the whole range, a copy in `scratch` where several do."""
        index = bisect.bisect_right(self._starts, start) - 1
        at = start
        while at < stop:
            part, begin = self._parts[index], self._starts[index]
            end = min(stop, begin + len(part))
            if (at, end) == (start, stop):
                return part[start - begin : stop - begin]
            scratch[at - start : end - start] = part[at - begin : end - begin]
            at, index = end, index + 1
        return scratch


class FileSource(File):
    """A file as plaintext to be sealed."""

    def piece(self, start: int, stop: int, scratch: memoryview) -> memoryview:
        """Reads into `scratch`."""
        self.read_into(start, scratch)
        return scratch


class Sealing:
    """One sealing, planned: every length is known before the first byte is written.

    Args:
        plain_bytes: length of the plaintext.
        recipients: public keys of one kind.
        provenance: what to state about the content.
        segment_bytes: length of a payload segment, 4 KiB to 64 MiB.
        entropy: gives file key, file id and ivs.
        wrap: wraps the file key; HPKE's own randomness comes from the operating system.

    Raises:
        LocalError: for recipients or provenance that no file can have.
    """

    def __init__(
        self,
        plain_bytes: int,
        recipients: Sequence[Recipient],
        provenance: Provenance | None = None,
        *,
        segment_bytes: int = SEGMENT_DEFAULT_BYTES,
        entropy: Entropy = system_entropy,
        wrap: Wrap = wrap,
    ) -> None:
        check_recipients(recipients)
        problem = provenance_problem({} if provenance is None else provenance) or segment_bytes_problem(segment_bytes)
        if problem:
            raise LocalError(problem)
        stated = dict(provenance or {})
        self._entropy, self._written = entropy, False
        file_key, file_id = entropy(FILE_KEY_BYTES), entropy(FILE_ID_BYTES)
        payload_bytes = Geometry(plain_bytes, segment_bytes).payload_bytes
        blank = tuple(Stanza(one.kind.name, bytes(TAG_BYTES), bytes(one.kind.body_bytes)) for one in recipients)
        draft = Envelope(Layout(file_id, SLOT_MAX_BYTES, payload_bytes), segment_bytes, stated, blank, bytes(32))
        self.layout = Layout(file_id, slot_bytes_for(len(draft.encode())), payload_bytes)
        stanzas = wrap(file_key, recipients, key_info(self.layout, stated))
        associated_data = payload_ad(self.layout, stated, segment_bytes, stanzas)
        self._floe = floe.Floe.start_encryption(file_key, associated_data, floe.Parameters(segment_bytes), entropy)
        self._envelope = Envelope(self.layout, segment_bytes, stated, stanzas, hashlib.sha256(self._floe.header).digest())

    def write(self, source: Source, target: Writable, progress: Progress | None = None) -> None:
        """Fills `target`, which has room for `layout.file_bytes`; LocalError when called again: one message, one key stream."""
        if self._written:
            raise LocalError("a sealing writes one file", hint="plan another one")
        self._written = True
        seal_payload(self._floe, source, target, self.layout.payload_offset, entropy=self._entropy, progress=progress)
        slots = Slot(1, self._envelope.encode()).encode(self.layout.slot_bytes) + bytes(self.layout.slot_bytes)
        target.write_at(0, self.layout.header() + slots)


def plaintext(tensors: Mapping[str, tuple[inner.Spec, memoryview]], metadata: Mapping[str, str] | None) -> Buffers:
    """A plain safetensors file as a source, without a copy of any tensor."""
    header, order = inner.build({name: spec for name, (spec, _) in tensors.items()}, metadata)
    return Buffers([memoryview(header), *(tensors[name][1] for name in order)])


def seal_to_path(
    source: Source,
    path: PathLike,
    recipients: RecipientLike | Iterable[RecipientLike],
    provenance: Provenance | None = None,
    progress: Progress | None = None,
) -> None:
    """Writes a sealed file; nothing appears at `path` before it is complete."""
    check_target(path)
    sealing = Sealing(source.size_bytes, read_recipients(recipients), provenance)
    with replacing(path) as target:
        sealing.write(source, target, progress)


def seal_to_bytes(source: Source, recipients: RecipientLike | Iterable[RecipientLike], provenance: Provenance | None = None) -> bytes:
    """A sealed file in memory."""
    sealing = Sealing(source.size_bytes, read_recipients(recipients), provenance)
    out = buffer(sealing.layout.file_bytes)
    sealing.write(source, Memory(out))
    return bytes(out)


def seal_file(
    path: PathLike,
    out: PathLike,
    *,
    recipients: RecipientLike | Iterable[RecipientLike],
    provenance: Provenance | None = None,
    progress: Progress | None = None,
) -> None:
    """Seals an existing plain safetensors file, byte for byte.

    Args:
        path: the plain file. It is checked as safetensors checks it, and left alone.
        out: the sealed file.
        recipients: public keys: objects, `age1...` strings or paths of KEY.pub files.
        provenance: as in `stfed.sealed.numpy.save_file`.
        progress: hears of every segment.

    Raises:
        MalformedError: if `path` is no plain safetensors file.
        LocalError: if `out` is a link, a folder or `path` itself, the recipients are none or mixed, or `path` changes meanwhile.
    """
    with opened(path) as descriptor:
        check_target(out, source=path)
        source, before = FileSource(descriptor), _version_of(descriptor)
        with about(path):
            inner.refuse_sealed(inner.parse(partial(read_bytes, source), source.size_bytes))
        sealing = Sealing(source.size_bytes, read_recipients(recipients), provenance)
        with replacing(out) as target:
            sealing.write(source, target, progress)
            if _version_of(descriptor) != before:
                raise LocalError(f"{os.fspath(path)} changed while it was being sealed", hint="try again when nobody writes to it")


def _version_of(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_size, status.st_mtime_ns
