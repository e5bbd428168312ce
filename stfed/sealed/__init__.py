"""The secure tensor file: a valid safetensors file that holds ciphertext, and inside it, byte for byte, a plain one.

`stfed.sealed.numpy` and `stfed.sealed.torch` have the verbs of safetensors; `streaming` and `shards` are for models that are larger than
memory or than one file. Here are sealing and opening of whole files, granting and revoking access, and what needs no key: `inspect` and
`verify_file`. The format is in docs/format.md. How the parts depend on each other, from the outside in:

    numpy, torch, models > lazy > reader, writer, streaming, shards        the verbs
    granting, resealing, verifying, inspect                                 who may open, and what can be seen from outside
    openrequest, sealrequest > options; trust, pins, unwrapping, trail      what a caller asks for, and the checks of it
    stream > digests, geometry, parallel > floe                             what is encrypted, and how
    outside > envelope > grants > manifest > policy, statements > format    what stands around it
    recipients > stanza                                                     the file key, wrapped
    inner                                                                   the plain file inside
"""

from stfed.errors import MalformedError
from stfed.keys import Identity, Recipient, generate_keypair, read_identity, read_recipient, write_keypair
from stfed.sealed.errors import (
    AccessDeniedError,
    NotARecipientError,
    RollbackError,
    TamperedError,
    TensorError,
    UnsupportedError,
    UntrustedError,
    WrongPassphraseError,
)
from stfed.sealed.granting import grant
from stfed.sealed.inspect import SealedInfo, inspect
from stfed.sealed.lazy import SafeOpen as safe_open
from stfed.sealed.manifest import Manifest
from stfed.sealed.policy import Policy
from stfed.sealed.reader import SealedReader, open_file
from stfed.sealed.resealing import reseal, revoke
from stfed.sealed.verifying import Verified, verify_file
from stfed.sealed.writer import seal_file

__all__ = [
    "AccessDeniedError",
    "Identity",
    "MalformedError",
    "Manifest",
    "NotARecipientError",
    "Policy",
    "Recipient",
    "RollbackError",
    "SealedInfo",
    "SealedReader",
    "TamperedError",
    "TensorError",
    "UnsupportedError",
    "UntrustedError",
    "Verified",
    "WrongPassphraseError",
    "generate_keypair",
    "grant",
    "inspect",
    "open_file",
    "read_identity",
    "read_recipient",
    "reseal",
    "revoke",
    "safe_open",
    "seal_file",
    "verify_file",
    "write_keypair",
]
