"""What a party decides about itself, from its own hand: policy, identity, roster. Never from the coordinator.

What counts is the node's config, which is what its operator wrote behind `flower-supernode --node-config`. What it does not name comes
from the ClientApp's code, which in a deployment of Flower may well have come from the coordinator (`stfed supernode` prevents that):

    stfed-policy = "policy.toml"         what it agrees to; without it, the defaults
    stfed-identity = "party.key"         its signing key; a KEY file of `stfed keygen`
    stfed-identity-passphrase-file = "phrase"    the passphrase of that file, if it has one, in the first line of a file of mode 0600
    stfed-roster = "roster.toml"         who may take part
    stfed-allow-insecure = true          malicious mode without TLS, for trying things out

The run config and messages are the coordinator's: nothing here looks at them.

Where neither code nor file names a mode, a party that has an identity or a roster is in malicious mode: who went to this trouble must not
end up in the weaker mode by forgetting one line.

With Flower each message is handled by a fresh process, so everything is read each time, and a revocation counts from the next message
on. What was parsed is kept by its content, not by the file's name or time: the parties of a simulation parse one roster once, and no file
time can hide a change. The secret key is not kept.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from flwr.app import Context

from stfed.crypto.identity import Identity
from stfed.errors import LocalError, StfedError, shown
from stfed.keys import roster_toml
from stfed.keys.keyfile import SignerLike, read_signer
from stfed.keys.passphrase import PassphraseError
from stfed.keys.passphrasefile import read_passphrase
from stfed.keys.roster import Roster
from stfed.keys.signing import SigningKey
from stfed.keys.smallfile import read_private
from stfed.secagg.params import Mode
from stfed.secagg.policy import Policy
from stfed.secagg.policy_toml import read_policy
from stfed.secagg.refusals import RefusedError
from stfed.secagg.roster import PartyRoster

POLICY, IDENTITY, PASSPHRASE_FILE, ROSTER, ALLOW_INSECURE = (
    "stfed-policy",
    "stfed-identity",
    "stfed-identity-passphrase-file",
    "stfed-roster",
    "stfed-allow-insecure",
)
"""The keys of the node's config."""

CKKS_CONTEXT, CKKS_FINGERPRINT = "stfed-ckks-context", "stfed-ckks-fingerprint"
"""Those of parties in encrypted sums (`stfed.flower.ckks`): the file of the key holder's public context, and its fingerprint in hexadecimal
digits."""

FindSigner = Callable[[Context], SignerLike]


@dataclass(frozen=True, slots=True)
class PartyConfig:
    """What one party brings to a message.

    Attributes:
        policy: what it agrees to.
        identity: what it signs with; None in semi-honest mode, which signs nothing.
        roster: who may take part; None in semi-honest mode.
        allow_insecure: whether malicious mode may do without TLS.
    """

    policy: Policy
    identity: Identity | None = field(repr=False)
    roster: PartyRoster | None = field(repr=False)
    allow_insecure: bool


def party_config(
    context: Context,
    *,
    policy: Policy | str | Path | None = None,
    identity: SignerLike | FindSigner | None = None,
    roster: Roster | str | Path | None = None,
    allow_insecure: bool = False,
) -> PartyConfig:
    """What this party decides about itself, at this message.

    Args:
        context: the node's, for its node config; nothing else in it is looked at.
        policy: an object, or the path of a policy file.
        identity: a signing key, the path of its file, or what finds one or the other for a Context.
        roster: an object, or the path of a roster file.
        allow_insecure: what counts where the node's config does not say.

    Raises:
        LocalError: malicious mode without an identity or a roster, or with an identity that may not take part; a file that is not there,
            cannot be read, is malformed or could have been written by somebody else; a node config of the wrong type. The message names
            files and rules, never what is in a secret file.
    """
    own = NodeConfig(context)
    identity = own.path(IDENTITY) or identity
    roster = own.path(ROSTER) or roster
    own_policy = own.path(POLICY)
    policy = own_policy or policy
    if not isinstance(policy, Policy):
        mode = Mode.SEMI_HONEST if identity is None and roster is None else Mode.MALICIOUS
        policy = Policy(mode=mode) if policy is None else read_policy(policy, mode=mode)
    insecure = own.flag(ALLOW_INSECURE, allow_insecure)
    if policy.mode is not Mode.MALICIOUS:
        if own_policy is None and not (identity is None and roster is None):
            raise LocalError(
                "an identity or a roster is given, and the policy in the ClientApp's code is semi-honest, which uses neither",
                hint='mode = "malicious" in the policy uses both; a policy file in the node\'s config comes before the code',
            )
        return PartyConfig(policy, None, None, insecure)
    if identity is None:
        raise LocalError(
            "malicious mode needs this party's identity",
            hint=f"`stfed keygen --out party.key`, have its KEY.pub added to the roster, and set {IDENTITY} in the node's config",
        )
    if roster is None:
        raise LocalError(
            "malicious mode needs the roster: who may take part",
            hint=f"set {ROSTER} in the node's config to the file that all parties have",
        )
    members = _members(roster)
    key = signer_of(identity, context, own.path(PASSPHRASE_FILE)).ed25519
    try:
        members.member(key.public_bytes)
    except RefusedError as error:
        raise LocalError(f"this party's own identity: {error.message}", hint="compare the roster with this party's key") from None
    return PartyConfig(policy, key, members, insecure)


class NodeConfig:
    """The part of the node's config that is ours; LocalError for values of the wrong type."""

    def __init__(self, context: Context) -> None:
        self._values = context.node_config

    def path(self, key: str) -> Path | None:
        """A path; None if there is none."""
        value = self._values.get(key)
        if value is None:
            return None
        if not isinstance(value, str) or not value:
            raise LocalError(f"{key} of the node's config is {shown(value)}", hint=f"give a path in quotes: {key}='\"/etc/stfed/FILE\"'")
        return Path(value).expanduser()

    def text(self, key: str) -> str | None:
        """A text; None if there is none."""
        value = self._values.get(key)
        if not isinstance(value, str | None):
            raise LocalError(f"{key} of the node's config is {shown(value)}", hint=f"write it in quotes: {key}='\"...\"'")
        return value

    def flag(self, key: str, default: bool) -> bool:
        """Yes or no."""
        value = self._values.get(key, default)
        if not isinstance(value, bool):
            raise LocalError(f"{key} of the node's config is {shown(value)}", hint=f"write {key}=true, without quotes")
        return value


def _members(roster: Roster | str | Path) -> PartyRoster:
    if isinstance(roster, Roster):
        return _party_roster(roster)
    with _reading("roster", roster):
        data = read_private(Path(roster), roster_toml.MAX_BYTES)
        return _party_roster(_parsed(data))


@lru_cache(maxsize=8)
def _parsed(data: bytes) -> Roster:
    return Roster.from_toml(data)


@lru_cache(maxsize=8)
def _party_roster(roster: Roster) -> PartyRoster:
    return PartyRoster(roster)


def signer_of(source: SignerLike | FindSigner, context: Context, passphrase_file: Path | None) -> SigningKey:
    """The signing key; LocalError if its file cannot be used."""
    found = source if isinstance(source, SigningKey | str | os.PathLike) else source(context)
    if isinstance(found, SigningKey):
        return found
    with _reading("identity", found):
        try:
            return read_signer(found, None if passphrase_file is None else lambda: read_passphrase(passphrase_file))
        except PassphraseError as error:
            if passphrase_file is not None:
                raise
            hint = f"put it into the first line of a file of mode 0600, and set {PASSPHRASE_FILE} in the node's config"
            raise PassphraseError(error.message, hint=hint) from None


@contextmanager
def _reading(what: str, path: str | os.PathLike[str]) -> Iterator[None]:
    """Whatever is wrong with a file of this party is this party's own business, and one family of errors."""
    try:
        yield
    except LocalError:
        raise
    except StfedError as error:
        raise LocalError(f"the {what} {os.fspath(path)} cannot be used: {error.message}", hint=error.hint) from None
    except OSError as error:
        raise LocalError(f"the {what} {os.fspath(path)} cannot be read: {error.strerror or error}") from None
