"""Other packages that encrypt tensors, each as its documentation says and in the fastest form that it has.

Their packages come with the extra `bench`. Who lacks one sees the contender's absence in the table and nothing else.
"""

from __future__ import annotations

import base64
import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.numpy
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.files.contender import Contender, Kind, UnavailableError
from benchmarks.files.plain import TorchContender


class Tensorizer(TorchContender):
    """CoreWeave's: XSalsa20-Poly1305 of libsodium in pieces of 2 MiB, under one key. Its names and shapes stay readable."""

    name, kind = "tensorizer", Kind.PEER

    def __init__(self) -> None:
        super().__init__()
        self._package = _imported("tensorizer")
        if not self._package._crypt.available:
            raise UnavailableError("libsodium is not installed")
        self._sealing = self._package.EncryptionParams.random()
        self._opening = self._package.DecryptionParams.from_key(self._sealing.key)

    def save(self, prepared: Any, path: Path) -> None:
        serializer = self._package.TensorSerializer(path, encryption=self._sealing)
        serializer.write_state_dict(prepared)
        serializer.close()

    def load(self, path: Path) -> Mapping[str, Any]:
        with self._package.TensorDeserializer(path, device="cpu", encryption=self._opening) as file:
            return dict(file)

    def tensor(self, path: Path, name: str) -> Any:
        with self._package.TensorDeserializer(path, device="cpu", lazy_load=True, encryption=self._opening) as file:
            return file[name]


class CryptotensorsNumpy(Contender):
    """AES-256-GCM in pieces of 2 MiB, a key for each tensor under one master key; the header is signed, it takes no less.

    Names and shapes stay readable.
    """

    name, kind = "cryptotensors numpy", Kind.PEER
    _framework = "np"

    def __init__(self) -> None:
        self._package = _imported("cryptotensors")
        signer = Ed25519PrivateKey.generate()
        secret, public = signer.private_bytes_raw(), signer.public_key().public_bytes_raw()
        self._config = {
            "enc_key": {"kty": "oct", "alg": "aes256gcm", "kid": "encryption", "k": _base64(os.urandom(32))},
            "sign_key": {"kty": "okp", "alg": "ed25519", "kid": "signature", "d": _base64(secret), "x": _base64(public)},
        }
        self._verbs = importlib.import_module("cryptotensors.numpy")

    def save(self, prepared: Any, path: Path) -> None:
        self._verbs.save_file(prepared, path, config=self._config)

    def load(self, path: Path) -> Mapping[str, Any]:
        with self._open(path) as file:  # its load_file takes the key from a global registry, and does this
            return {name: file.get_tensor(name) for name in file.offset_keys()}

    def tensor(self, path: Path, name: str) -> Any:
        with self._open(path) as file:
            return file.get_tensor(name)

    def row(self, path: Path, name: str, index: int) -> Any:
        with self._open(path) as file:
            return file.get_slice(name)[index : index + 1][0]

    def _open(self, path: Path) -> Any:
        return self._package.safe_open(path, framework=self._framework, config=self._config)


class CryptotensorsTorch(CryptotensorsNumpy, TorchContender):
    """The same for torch tensors."""

    name = "cryptotensors torch"
    _framework = "pt"

    def __init__(self) -> None:
        TorchContender.__init__(self)
        super().__init__()
        self._verbs = _imported("cryptotensors.torch")

    prepare = TorchContender.prepare


class Pyrage(Contender):
    """age (X25519, ChaCha20-Poly1305) over the bytes of a safetensors file, which is built and read as part of the work."""

    name, kind = "pyrage", Kind.PEER

    def __init__(self) -> None:
        self._package = _imported("pyrage")
        self._identity = self._package.x25519.Identity.generate()

    def save(self, prepared: Any, path: Path) -> None:
        path.write_bytes(self._package.encrypt(safetensors.numpy.save(prepared), [self._identity.to_public()]))

    def load(self, path: Path) -> Mapping[str, Any]:
        return safetensors.numpy.load(self._package.decrypt(path.read_bytes(), [self._identity]))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UnavailableError(f"{error}; it comes with the extra 'bench'") from None
