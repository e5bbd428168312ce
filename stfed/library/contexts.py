"""The keys for computing on encrypted tensors: a library's own, made when they are first needed, and public contexts that others gave it.

`encrypted/` in the library's folder holds the secret context and the public one, which is signed with the library's own key: a context
that somebody else put in its place would have everything encrypted to *them*, so one without that signature is refused.
"""

from __future__ import annotations

import logging
from functools import cached_property

from stfed.encrypted.context import EvaluationContext, SecretContext
from stfed.encrypted.keyfiles import load_public, load_secret, save_public, save_secret
from stfed.encrypted.parameters import Parameters
from stfed.errors import LocalError
from stfed.keys.passphrase import Passphrase
from stfed.library.home import Home
from stfed.library.sealingkeys import SealingKeys

log: logging.Logger = logging.getLogger("stfed")

FOLDER, SECRET, PUBLIC = "encrypted", "tensors.key", "tensors.key.pub"


class Contexts:
    """Finds the context of a tensor by its fingerprint.

    Args:
        home: where the library's own keys are, or will be.
        keys: what the library signs with.
        passphrase: what the secret context is under, if anything.
        parameters: of new keys; keys that are there must have been made with these. None takes what is there, or the default.
    """

    def __init__(self, home: Home, keys: SealingKeys, passphrase: Passphrase | None, parameters: Parameters | None) -> None:
        self._home, self._keys, self._passphrase, self._parameters = home, keys, passphrase, parameters
        self._given: dict[bytes, EvaluationContext] = {}

    @cached_property
    def own(self) -> EvaluationContext:
        """The library's own public context.

        Raises:
            LocalError: TenSEAL is not installed, or keys are incomplete or of other parameters.
            UntrustedError: the context is not signed by the library.
        """
        with self._home.locked():
            if not self._home.has(FOLDER, (SECRET, PUBLIC)):
                self._make()
        found = load_public(self._home.path / FOLDER / PUBLIC, trusted=self._keys.signer.public)
        if self._parameters not in (None, found.parameters):
            raise LocalError(
                f"the keys in {self._home.path} are for {found.parameters}, and {self._parameters} is asked for",
                hint="leave parameters= out, or have a library of its own for these: home=...",
            )
        return found

    @cached_property
    def secret(self) -> SecretContext:
        """The library's own secret context; raises as `own`, PassphraseError, and LocalError if the two do not go together."""
        return load_secret(self._home.path / FOLDER / SECRET, passphrase=self._passphrase, public=self.own)

    def add(self, context: EvaluationContext) -> None:
        """Remembers a public context of somebody else, while this process lives."""
        self._given[context.fingerprint] = context

    def of(self, fingerprint: bytes) -> EvaluationContext:
        """The context with this fingerprint.

        Raises:
            LocalError: it is neither the library's own nor one that was given.
        """
        if fingerprint in self._given:
            return self._given[fingerprint]
        if fingerprint == self.own.fingerprint:
            return self.own
        raise LocalError(
            f"the tensor is encrypted under keys of somebody else (context {fingerprint.hex()[:16]})",
            hint="give their public context, which `public_context` writes: load_tensor(..., context=PATH)",
        )

    def _make(self) -> None:
        made = SecretContext.generate(self._parameters)
        with self._home.making(FOLDER) as folder:
            save_secret(made, folder / SECRET, passphrase=self._passphrase)
            save_public(made.public, folder / PUBLIC, signer=self._keys.signer)
        log.warning("made new keys for computing on encrypted tensors in %s (%s)", self._home.path / FOLDER, made.public.parameters)
