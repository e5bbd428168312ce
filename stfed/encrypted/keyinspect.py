"""What a key file shows to everybody, without its passphrase and without SEAL: for `stfed inspect`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stfed.encrypted.publichead import PublicHead
from stfed.encrypted.secretfile import MAGIC, MAX_BYTES, SecretFile
from stfed.errors import DecodeError, MalformedError, SealError
from stfed.files import File, opened, read_bytes
from stfed.keys.keyfile import PathLike
from stfed.keys.smallfile import read_small
from stfed.sealed import times

_START = b"stfed-ckks-"


@dataclass(frozen=True)
class KeyFileInfo:
    """The outside of a key file. Whose keys the signers' are, only `load_public` decides, from keys that its caller trusts.

    Attributes:
        kind: "secret" or "public".
        parameters: in words.
        fingerprint: of the evaluation context, hexadecimal.
        file_bytes: length of the file.
        protected: whether a secret one is under a passphrase; None for a public one.
        products: whether encrypted tensors can be multiplied with each other; None for a secret one, as what follows.
        rotations: whether elements can be moved, as sums and matrix products need.
        time: of writing, as the writer's clock said.
        signers: fingerprints of the signing keys that it names.
        signature: "none", "valid" (made by these signers, over these keys) or the reason why not.
    """

    kind: str
    parameters: str
    fingerprint: str
    file_bytes: int
    protected: bool | None = None
    products: bool | None = None
    rotations: bool | None = None
    time: str | None = None
    signers: tuple[str, ...] = ()
    signature: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    def table(self) -> str:
        """The same for people, one line each."""
        rows = [
            ("kind", f"{self.kind} context of encrypted tensors: {'decrypts' if self.kind == 'secret' else 'computes, cannot decrypt'}"),
            ("parameters", self.parameters),
            ("fingerprint", self.fingerprint),
        ]
        if self.kind == "secret":
            rows.append(("passphrase", "yes" if self.protected else "none: whoever reads the file can decrypt"))
        else:
            unsigned = "none: load it by its fingerprint, as the owner of the keys told you"
            rows += [
                ("products", "yes" if self.products else "only with plain numbers"),
                ("rotations", "yes" if self.rotations else "no: elements stay where they are"),
                ("written at", str(self.time)),
                *(("signed by", signer) for signer in self.signers),
                ("signature", unsigned if self.signature == "none" else str(self.signature)),
            ]
        return "\n".join(f"{name:<11}  {value}" for name, value in [*rows, ("file", f"{self.file_bytes:,} bytes")])


def is_key_file(path: PathLike) -> bool:
    """Whether a file begins as a key file does."""
    with opened(path) as descriptor:
        file = File(descriptor)
        return read_bytes(file, 0, min(len(_START), file.size_bytes)) == _START


def inspect_key_file(path: PathLike) -> KeyFileInfo:
    """Reads the outside of a key file; of a public one, every byte is held against its fingerprint and its signatures.

    Raises:
        FileNotFoundError: if there is no such file.
        MalformedError: it is no key file, or one that this release does not know.
    """
    try:
        with opened(path) as descriptor:
            file = File(descriptor)
            if read_bytes(file, 0, min(len(MAGIC), file.size_bytes)) == MAGIC:
                return _secret(path)
            head, start = PublicHead.read(file)
            signature = _judged(head, file, start)
    except DecodeError as error:
        raise MalformedError(f"{path}: {error.message}", hint=error.hint) from None
    return KeyFileInfo(
        "public",
        str(head.parameters),
        head.fingerprint.hex(),
        file.size_bytes,
        products=head.relin,
        rotations=head.galois,
        time=times.written(head.time),
        signers=tuple(key.fingerprint for key in head.signers),
        signature=signature,
    )


def _secret(path: PathLike) -> KeyFileInfo:
    data, _ = read_small(Path(path), MAX_BYTES)
    file = SecretFile.decode(data)
    return KeyFileInfo("secret", str(file.parameters), file.fingerprint.hex(), len(data), protected=file.cost is not None)


def _judged(head: PublicHead, file: File, start: int) -> str:
    try:
        head.read_blobs(file, start)
        head.verify()
    except SealError as error:
        return error.message
    return "valid" if head.signers else "none"
