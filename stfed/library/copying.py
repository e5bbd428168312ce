"""Sealing anew in memory: what a file holds, or what it decrypts to, for other recipients, under a new key and a new file id.

Every copy has a key of its own, so nobody who gets one can open another one's, and the log says whose copy is which. Policy and
statements stay what they were, and each copy names the file that it was made from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from stfed.encrypted.files import TYPE
from stfed.errors import LocalError
from stfed.files import Memory
from stfed.keys.keyfile import PathLike
from stfed.keys.signing import SigningKey
from stfed.library.addressees import Addressee
from stfed.library.distributed import Copy
from stfed.library.outside import CKKS_STATEMENTS
from stfed.sealed.numpy import plaintext
from stfed.sealed.options import OpenOptions
from stfed.sealed.parallel import buffer
from stfed.sealed.reader import SealedReader
from stfed.sealed.resealing import Content, restated
from stfed.sealed.sealrequest import SealRequest
from stfed.sealed.stream import Source
from stfed.sealed.writer import Sealing


def copies(
    path: PathLike,
    options: OpenOptions,
    groups: Iterable[Sequence[Addressee]],
    signer: SigningKey,
    decrypted: Callable[[str], Mapping[str, NDArray[Any]]] | None,
) -> tuple[Copy, ...]:
    """One sealed file for each group of recipients. What it holds is told by the file that was opened, verified, not by its name.

    Args:
        path: the file.
        options: how it is opened.
        groups: who opens which copy.
        signer: signs all of them.
        decrypted: returns the numbers of the file with this id, to be sealed in place of tensors that are encrypted for computing. None if
            recipients are to read no numbers.

    Raises:
        LocalError: for recipients of two kinds in one group, or too many; before anything is decrypted. Or the file holds numbers that
            anybody reads who opens it, and recipients are to read none.
        SealError: if the file does not open.
    """
    with SealedReader(path, **options) as reader:
        context, encrypted = reader.manifest.context, reader.statements.get("type") == TYPE
        if not encrypted and decrypted is None:
            raise LocalError(
                f"{path} holds numbers that are not encrypted for computing: recipients would read them",
                hint="if they are to read them, say decrypted=True; if ciphertexts were meant, this is not the file that it was",
            )
        public, provenance = restated(reader)
        if encrypted and decrypted is not None:
            public = {name: value for name, value in public.items() if name not in CKKS_STATEMENTS}
        requests = [
            SealRequest.of(
                recipients=[one.key for one in group], signer=signer, policy=context.policy, public=public, provenance=provenance
            )
            for group in groups
        ]
        file_id = context.file_id.hex()
        source: Source = plaintext(decrypted(file_id), None) if encrypted and decrypted is not None else Content(reader.payload)
        return tuple(_copy(source, tuple(group), request, file_id) for group, request in zip(groups, requests, strict=True))


def _copy(source: Source, group: tuple[Addressee, ...], request: SealRequest, file_id: str) -> Copy:
    sealing = Sealing(source.size_bytes, request)
    data = buffer(sealing.layout.file_bytes)
    manifest = sealing.write(source, Memory(data))
    return Copy(group, manifest, file_id, data.toreadonly())
