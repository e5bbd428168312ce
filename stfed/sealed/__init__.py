"""The secure tensor file: a valid safetensors file that holds ciphertext, and inside it, byte for byte, a plain one.

`stfed.sealed.numpy` and `stfed.sealed.torch` have the verbs of safetensors. Here are the keys, sealing and opening of whole files, and
`inspect`, which needs no key. How the parts depend on each other, from the outside in:

    numpy, torch > lazy > reader, writer > stream > geometry, parallel > floe     what is encrypted, and how
    inspect > outside > recipients > envelope > format > canonical                what stands around it
    keyring > keys > bech32                                                       who it is for
    inner                                                                         the plain file inside
    storage                                                                       files, whole or not at all
"""

from stfed.sealed.errors import MalformedError, NotARecipientError, TamperedError, TensorError, UnsupportedError
from stfed.sealed.inspect import SealedInfo, inspect
from stfed.sealed.keyring import read_identity, read_recipient, write_keypair
from stfed.sealed.keys import Identity, Recipient, generate_keypair
from stfed.sealed.reader import open_file
from stfed.sealed.writer import seal_file

__all__ = [
    "Identity",
    "MalformedError",
    "NotARecipientError",
    "Recipient",
    "SealedInfo",
    "TamperedError",
    "TensorError",
    "UnsupportedError",
    "generate_keypair",
    "inspect",
    "open_file",
    "read_identity",
    "read_recipient",
    "seal_file",
    "write_keypair",
]
