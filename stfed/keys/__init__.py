"""Long-term keys: what people encrypt to and sign with, the files these keys lie in, and the roster that says whose they are."""

from stfed.keys.encryption import Identity, Recipient, generate_keypair
from stfed.keys.keyfile import read_identity, read_recipient, read_signer, read_verifier, write_keypair
from stfed.keys.member import Member, Role
from stfed.keys.passphrase import PassphraseError
from stfed.keys.roster import Roster
from stfed.keys.rules import RosterError
from stfed.keys.signing import SigningKey, VerifyingKey

__all__ = [
    "Identity",
    "Member",
    "PassphraseError",
    "Recipient",
    "Role",
    "Roster",
    "RosterError",
    "SigningKey",
    "VerifyingKey",
    "generate_keypair",
    "read_identity",
    "read_recipient",
    "read_signer",
    "read_verifier",
    "write_keypair",
]
