"""Arithmetic on encrypted tensors: CKKS, with bounds on its error, by whoever has the public half of the keys.

    from stfed.encrypted import SecretContext, decrypt, encrypt

    secret = SecretContext.generate()                     # keep it; secret.public computes and cannot decrypt
    rows = encrypt(secret.public, numpy_array)
    scores = rows @ weights + 0.5                         # on ciphertexts, by anybody who has secret.public
    decrypt(secret, scores)

It needs the extra `encrypted`. What it hides, and what not, is in docs/encrypted.md.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stfed.encrypted.context import EvaluationContext, SecretContext
    from stfed.encrypted.decryption import decrypt
    from stfed.encrypted.encryption import encrypt
    from stfed.encrypted.files import load, load_file, save, save_file
    from stfed.encrypted.fits import chebyshev, sigmoid_coefficients
    from stfed.encrypted.keyfiles import load_public, load_secret, save_keypair, save_public, save_secret
    from stfed.encrypted.messages import dumps, loads
    from stfed.encrypted.moving import concatenate, stack
    from stfed.encrypted.parameters import Parameters
    from stfed.encrypted.sharing import Flooding, decrypt_to_share, flooding
    from stfed.encrypted.tensor import EncryptedTensor

_WHERE = {
    "EncryptedTensor": "tensor",
    "EvaluationContext": "context",
    "Flooding": "sharing",
    "Parameters": "parameters",
    "SecretContext": "context",
    "chebyshev": "fits",
    "concatenate": "moving",
    "decrypt": "decryption",
    "decrypt_to_share": "sharing",
    "dumps": "messages",
    "encrypt": "encryption",
    "flooding": "sharing",
    "load": "files",
    "load_file": "files",
    "load_public": "keyfiles",
    "load_secret": "keyfiles",
    "loads": "messages",
    "save": "files",
    "save_file": "files",
    "save_keypair": "keyfiles",
    "save_public": "keyfiles",
    "save_secret": "keyfiles",
    "sigmoid_coefficients": "fits",
    "stack": "moving",
}

__all__ = [
    "EncryptedTensor",
    "EvaluationContext",
    "Flooding",
    "Parameters",
    "SecretContext",
    "chebyshev",
    "concatenate",
    "decrypt",
    "decrypt_to_share",
    "dumps",
    "encrypt",
    "flooding",
    "load",
    "load_file",
    "load_public",
    "load_secret",
    "loads",
    "save",
    "save_file",
    "save_keypair",
    "save_public",
    "save_secret",
    "sigmoid_coefficients",
    "stack",
]


if not TYPE_CHECKING:  # type checkers would take it for a promise that every name is there

    def __getattr__(name: str) -> object:
        if name not in _WHERE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
