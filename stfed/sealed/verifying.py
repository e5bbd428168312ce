"""Verifying without a key: that a file is whole, and whose it is. For an auditor who may not read it, or a store that keeps it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from stfed.errors import about
from stfed.files import File, opened
from stfed.keys.keyfile import PathLike, VerifierLike
from stfed.keys.roster import Roster
from stfed.keys.signing import VerifyingKey
from stfed.sealed.errors import RollbackError, UntrustedError
from stfed.sealed.manifest import Manifest
from stfed.sealed.outside import check_floe_header, read_digests, read_outside
from stfed.sealed.parallel import buffer, each, thread_count
from stfed.sealed.stream import Progress
from stfed.sealed.times import Clock, system_clock
from stfed.sealed.trust import Trust


@dataclass(frozen=True)
class Verified:
    """What was proved.

    Attributes:
        manifest: what the signers state.
        signer: the one that the reader trusts.
        generation: 1 and one more for each grant by an owner.
        segments: how many segments of the payload were held against their signed digests: all.
    """

    manifest: Manifest
    signer: VerifyingKey
    generation: int
    segments: int


def verify_file(
    path: PathLike,
    *,
    trusted: VerifierLike | Iterable[VerifierLike] | Roster,
    generation: int = 1,
    progress: Progress | None = None,
    clock: Clock = system_clock,
) -> Verified:
    """Proves that somebody trusted sealed the file and that every byte is as it was then. Needs no secret key and reveals nothing.

    A policy is not looked at: verifying is not opening.

    Args:
        path: the sealed file.
        trusted: as in `OpenOptions`.
        generation: the least generation of the envelope.
        progress: hears of every segment.
        clock: what time it is, for a roster.

    Raises:
        UntrustedError: if nobody trusted signed it.
        TamperedError, AccessDeniedError, MalformedError, UnsupportedError: if signatures, grants or content do not hold.
        RollbackError: if grants are missing.
    """
    trust = Trust.of(trusted)
    with about(path), opened(path) as descriptor:
        file = File(descriptor)
        outside = read_outside(file)
        envelope, manifest, geometry = outside.envelope, outside.envelope.manifest, outside.envelope.manifest.geometry
        signer = trust.check(manifest.context, clock())[0]
        envelope.verify()
        if envelope.generation < generation:
            raise RollbackError(f"the envelope is of generation {envelope.generation}, at least {generation} is asked for")
        check_floe_header(file, outside)
        digests = read_digests(file, outside)
        if digests is None:
            raise UntrustedError("the file has no signed digests")

        def worker() -> Callable[[int], None]:
            room = buffer(manifest.segment_bytes)

            def check(position: int) -> None:
                segment = room[: geometry.sealed_bytes(position)]
                file.read_into(outside.layout.payload_offset + geometry.offset(position), segment)
                digests.check(position, segment)
                if progress is not None:
                    progress(len(segment))

            return check

        each(iter(range(geometry.count)), worker, thread_count(geometry.count))
    return Verified(manifest, signer, envelope.generation, geometry.count)
