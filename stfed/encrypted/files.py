"""Encrypted tensors in sealed files: `save_file` and `load_file`, with the options of `stfed.sealed`.

The payload is a safetensors file of U8 tensors [ciphertexts, bytes]: the words of each ciphertext. Its metadata has, beside the
writer's own, whose keys they are encrypted under, and shape, layout, level and bounds of each tensor. Outside, for everybody, stands that
the type is `ckks`, with parameters, fingerprint and number of tensors.

So a file is encrypted twice, for two purposes: the container says who may *have* the ciphertexts and compute with them, proves who wrote
them, takes grants and is logged; in it, the numbers are encrypted to whoever has the secret context. What is inside is not trusted either,
because who could seal a file need not mean well: see `stfed.encrypted.words`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Unpack

import numpy as np

from stfed import canonical
from stfed.encrypted import words
from stfed.encrypted.context import EvaluationContext
from stfed.encrypted.messages import Description, check_fingerprint, decode_tensor, encode_tensor
from stfed.encrypted.tensor import EncryptedTensor
from stfed.errors import LocalError, MalformedError, about, shown
from stfed.keys.keyfile import PathLike
from stfed.sealed import numpy as plain
from stfed.sealed.lazy import ENCRYPTED, content, file_name
from stfed.sealed.options import OpenOptions, SealOptions
from stfed.sealed.reader import SealedReader
from stfed.sealed.statements import Scalar
from stfed.sealed.streaming import SealedWriter

TYPE = "ckks"
_VERSION = 1
_FIELDS = {"version", "fingerprint", "tensors"}
_HEXADECIMAL = re.compile("[0-9a-f]{64}")


def save_file(
    tensors: Mapping[str, EncryptedTensor], path: PathLike, metadata: Mapping[str, str] | None = None, **options: Unpack[SealOptions]
) -> None:
    """Seals encrypted tensors into a file. It is complete or not there; beside the tensors it takes a few MiB of memory.

    Args:
        tensors: by name, all of one evaluation context.
        path: the sealed file.
        metadata: text to save with the tensors; sealed like them.
        options: `recipients=` or `passphrase=`, `signer=`, `public=` and the rest of `SealOptions`.

    Raises:
        LocalError: there is no tensor, or they are of several contexts, or `stfed.sealed.numpy.save_file` would refuse the rest.
    """
    context = _context(tensors)
    specs = {name: ("U8", _shape(context, tensor)) for name, tensor in tensors.items()}
    with SealedWriter(file_name(path), specs, _metadata(tensors, metadata), **_stating(context, tensors, options)) as file:
        for name in file.order:
            for data in encode_tensor(tensors[name]):
                file.write_chunk(name, np.frombuffer(data, np.uint8)[None])


def save(tensors: Mapping[str, EncryptedTensor], metadata: Mapping[str, str] | None = None, **options: Unpack[SealOptions]) -> bytes:
    """The sealed file as bytes; arguments and errors as in `save_file`."""
    context = _context(tensors)
    arrays = {
        name: np.frombuffer(b"".join(encode_tensor(tensor)), np.uint8).reshape(_shape(context, tensor)) for name, tensor in tensors.items()
    }
    return plain.save(arrays, _metadata(tensors, metadata), **_stating(context, tensors, options))


def load_file(path: PathLike, context: EvaluationContext, **options: Unpack[OpenOptions]) -> dict[str, EncryptedTensor]:
    """Opens a sealed file of encrypted tensors. Beside the tensors it takes the words of one of them in memory.

    Args:
        path: the sealed file.
        context: the keys that they are encrypted under.
        options: `identity=` or `passphrase=`, `trusted=` and the rest of `OpenOptions`.

    Raises:
        FileNotFoundError: there is no such file.
        LocalError: they are encrypted under other keys, or the file holds plain tensors.
        SealError: the file cannot be opened, or what is in it are no encrypted tensors of these parameters.
    """
    with SealedReader(file_name(path), **options) as reader:
        return _read(reader, context, path)


def load(data: bytes, context: EvaluationContext, **options: Unpack[OpenOptions]) -> dict[str, EncryptedTensor]:
    """The tensors of a sealed file in memory; arguments and errors as in `load_file`."""
    with SealedReader(content(data), **options) as reader:
        return _read(reader, context, None)


def stated(context: EvaluationContext, tensors: int) -> dict[str, Scalar]:
    """What a file of so many encrypted tensors states for everybody."""
    return {"type": TYPE, "ckks_context": context.fingerprint.hex(), "ckks_parameters": str(context.parameters), "ckks_tensors": tensors}


def _read(reader: SealedReader, context: EvaluationContext, path: PathLike | None) -> dict[str, EncryptedTensor]:
    with about(path):
        descriptions = _descriptions(reader, context, "the file" if path is None else str(path))
    tensors = {}
    for name, (_, _, begin, end) in reader.header.tensors.items():
        data = reader.read(begin, end)
        with about(path), about(f"encrypted tensor {shown(name)}"):
            tensors[name] = decode_tensor(context, descriptions[name], data)
    return tensors


def _descriptions(reader: SealedReader, context: EvaluationContext, what: str) -> dict[str, Description]:
    """What the file says of its tensors, checked against context, statements, and the lengths of the words."""
    infos, metadata = reader.header.tensors, reader.header.metadata or {}
    if ENCRYPTED not in metadata:
        raise LocalError(f"what is in {what} is not encrypted for computing", hint="stfed.sealed.numpy.load_file reads plain tensors")
    index = canonical.decode(metadata[ENCRYPTED].encode(), "the description of encrypted tensors")
    if not isinstance(index, dict) or index.keys() != _FIELDS or type(index["version"]) is not int or index["version"] != _VERSION:
        raise MalformedError("the encrypted tensors are described in a version that this release does not know")
    check_fingerprint(context, _fingerprint(index["fingerprint"]), f"what is in {what}")
    described = index["tensors"]
    if not isinstance(described, dict) or described.keys() != infos.keys():
        raise MalformedError("the descriptions of encrypted tensors are not those of the tensors in the file")
    for name, value in stated(context, len(infos)).items():
        if reader.statements.get(name) != value:
            raise MalformedError(f"the file states another {shown(name)} than what is in it")
    descriptions = {}
    for name, info in infos.items():
        with about(f"encrypted tensor {shown(name)}"):
            descriptions[name] = one = Description.from_json(described[name])
            ciphertexts = one.layout(context).ciphertexts
            if info.dtype.code != "U8" or info.shape != (ciphertexts, words.ciphertext_bytes(context.parameters, one.left)):
                raise MalformedError("its words have not the shape that its description gives them")
    return descriptions


def _context(tensors: Mapping[str, EncryptedTensor]) -> EvaluationContext:
    if not isinstance(tensors, Mapping) or not tensors:
        raise LocalError("there is nothing to save", hint="give encrypted tensors by name: {'x': tensor}")
    for name, tensor in tensors.items():
        if not isinstance(tensor, EncryptedTensor):
            raise LocalError(
                f"{shown(name)} is a {type(tensor).__name__}, not an encrypted tensor", hint="stfed.encrypted.encrypt makes one"
            )
    first = next(iter(tensors.values())).context
    for name, tensor in tensors.items():
        check_fingerprint(first, tensor.context.fingerprint, f"tensor {shown(name)}")
    return first


def _shape(context: EvaluationContext, tensor: EncryptedTensor) -> list[int]:
    return [len(tensor.ciphertexts), words.ciphertext_bytes(context.parameters, tensor.left)]


def _metadata(tensors: Mapping[str, EncryptedTensor], metadata: Mapping[str, str] | None) -> dict[str, str]:
    if metadata is not None and ENCRYPTED in metadata:
        raise LocalError(f"the metadata entry {ENCRYPTED} is the format's own", hint="give yours another name")
    described = {name: Description.of(tensor).to_json() for name, tensor in tensors.items()}
    index = {"version": _VERSION, "fingerprint": _context(tensors).fingerprint.hex(), "tensors": described}
    return {**(metadata or {}), ENCRYPTED: canonical.encode(index).decode()}


def _stating(context: EvaluationContext, tensors: Mapping[str, EncryptedTensor], options: SealOptions) -> SealOptions:
    own, theirs = stated(context, len(tensors)), options.get("public") or {}
    twice = sorted((own.keys() & theirs.keys()) | (own.keys() & (options.get("provenance") or {}).keys()))
    if twice:
        raise LocalError(f"{shown(twice[0])} is what the format states itself", hint="give your statement another name")
    return {**options, "public": {**own, **theirs}}


def _fingerprint(value: Any) -> bytes:
    if not isinstance(value, str) or not _HEXADECIMAL.fullmatch(value):
        raise MalformedError("the encrypted tensors name no fingerprint")
    return bytes.fromhex(value)
