"""`SafeTensorLibrary`: encrypted tensors in a few lines. It makes its keys, keeps its log, and leaves the work to the rooms below.

What `save_tensor` writes is encrypted twice, for two purposes. Inside, each number is under CKKS (`stfed.encrypted`): whoever holds the
public context computes on it and cannot read it. Around that is a sealed file (`stfed.sealed`): nobody but its recipients gets at the
ciphertexts at all, nobody changes them unseen, and the signature says whose they are. docs/library.md tells what each line does.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from stfed.audit import AuditLog, Kind
from stfed.encrypted.context import EvaluationContext
from stfed.encrypted.encryption import encrypt
from stfed.encrypted.files import load_file, save_file
from stfed.encrypted.keyfiles import load_public, save_public
from stfed.encrypted.parameters import Parameters
from stfed.encrypted.tensor import EncryptedTensor
from stfed.errors import LocalError, shown
from stfed.files import create_file
from stfed.keys.keyfile import PathLike, VerifierLike, read_verifiers
from stfed.keys.passphrase import Passphrase
from stfed.keys.roster import Roster
from stfed.library import history, sealingkeys
from stfed.library.addressees import Addressee, Recipients, addressees
from stfed.library.arrays import AT_REST, checked
from stfed.library.contexts import Contexts
from stfed.library.copying import copies
from stfed.library.decrypting import Decryption
from stfed.library.distributed import Copy, Distributed, targets, write
from stfed.library.history import History
from stfed.library.home import Home
from stfed.library.outside import context_of, signers_of
from stfed.sealed.anytensor import source
from stfed.sealed.errors import UntrustedError
from stfed.sealed.numpy import load_file as load_sealed
from stfed.sealed.options import OpenOptions, SealOptions
from stfed.sealed.times import system_clock
from stfed.sealed.trail import Trail
from stfed.sealed.writer import seal_to_path

Trusted = VerifierLike | Iterable[VerifierLike] | Roster

_Tensor = TypeVar("_Tensor")

_NAME, _BY_OTHERS = "tensor", "tensor_by_others"
"""What the one tensor is called inside a file: by the second name if somebody else made what it was computed from."""


class SafeTensorLibrary:
    """Saves, loads and hands on encrypted tensors, with keys of its own.

    Args:
        home: the folder for its keys and its log; `stfed.library.home.default_home()` if None. Made with new keys if there is nothing yet.
        passphrase: protects the secret keys in that folder, from when they are made; text, or a function that asks for it.
        parameters: of the keys for computing, when they are made; by default two multiplications one after the other.
        roster: file of who is who. Recipients may be named as it names them, must be recipients on it, and its owners are trusted.
        shares: how many tensors will ever be decrypted for others under these keys. The more, the more noise each of them carries.

    Raises:
        LocalError: the folder cannot be used, others may look into it, or something in it is missing.
        PassphraseError: the keys are under another passphrase than the one given.
    """

    def __init__(
        self,
        home: PathLike | None = None,
        *,
        passphrase: Passphrase | None = None,
        parameters: Parameters | None = None,
        roster: PathLike | None = None,
        shares: int = 16,
    ) -> None:
        if type(shares) is not int or shares < 1:
            raise LocalError(f"{shown(shares)} shares", hint="how many tensors will ever be decrypted for others: 1 or more")
        self._home, self._roster_file = Home(home), roster
        asked = functools.cache(passphrase) if callable(passphrase) else passphrase
        self._keys = sealingkeys.find_or_make(self._home, asked)
        self._contexts = Contexts(self._home, self._keys, asked, parameters)
        self._decryption = Decryption(self._home, self._contexts, self._keys.identity.recipient.fingerprint, shares)

    @property
    def home(self) -> Path:
        """The folder that has its keys and its log."""
        return self._home.path

    def save_tensor(
        self, tensor: Any, path: PathLike, *, recipients: Recipients | None = None, plain: bool = False, bound: float | None = None
    ) -> None:
        """Writes a tensor to a file that only this library, and `recipients`, can open. The file is complete or not there.

        Args:
            tensor: an array (numpy, torch, nested lists) of floating-point numbers, which is encrypted for computing; an `EncryptedTensor`,
                such as the result of a computation; or what `distribute_data` returned, which is written as it is.
            path: the file. For copies for each recipient a folder, or a name with `{recipient}` in it.
            recipients: who else opens the file. Of a tensor that is encrypted for computing they get ciphertexts and cannot decrypt.
            plain: seal the numbers without encrypting them for computing: exact, of any type, and readable by recipients.
            bound: a number that no element exceeds in absolute value. It is public; by default the next power of two, which tells how
                large the largest element is.

        Raises:
            LocalError: the tensor, its type or its size does not suit, a recipient is of no use, or `path` cannot be written.
        """
        if isinstance(tensor, Distributed):
            self._write(tensor, path, recipients, plain, bound)
            return
        with self._log() as log:
            others = () if recipients is None else self._addressees(recipients)
            options = self._sealing(others, log)
            if not plain:
                encrypted = tensor if isinstance(tensor, EncryptedTensor) else self.encrypt_tensor(tensor, bound=bound)
                save_file({_BY_OTHERS if encrypted.context.by_others else _NAME: encrypted}, path, **options)
            elif isinstance(tensor, EncryptedTensor):
                raise LocalError("an encrypted tensor has no plain form", hint="decrypt it first: decrypt_tensor(tensor)")
            else:
                array = tensor if hasattr(tensor, "dtype") else np.asarray(tensor)
                seal_to_path(source({_NAME: array}, None), path, **options)

    def load_tensor(
        self, path: PathLike, *, trusted: Trusted | None = None, context: PathLike | EvaluationContext | None = None
    ) -> EncryptedTensor | NDArray[Any]:
        """Opens what `save_tensor` wrote. Nothing is decrypted but the file around a tensor that is encrypted for computing.

        Args:
            path: the file.
            trusted: whose signature it must have: KEY.pub paths, public signing keys, a roster. By default the library's own, or that of
                an owner on its roster.
            context: of a tensor that is encrypted under somebody else's keys, their public context: the object, or the file that their
                `public_context` wrote. It must be signed by somebody `trusted`, too. It is remembered while this object lives.

        Returns:
            An `EncryptedTensor`, on which operators compute; or an array, if the numbers were sealed `plain`.

        Raises:
            FileNotFoundError: there is no such file.
            SealError: the file was changed, is not for this library, or is not signed by somebody trusted.
            LocalError: the context is missing, or the file holds several tensors.
        """
        with self._log() as log:
            options = self._opening(path, trusted, log)
            fingerprint = context_of(path)
            if fingerprint is None:
                return _only(load_sealed(path, **options), path, "stfed.sealed.numpy.load_file")
            if context is not None:
                given = context if isinstance(context, EvaluationContext) else load_public(context, trusted=options["trusted"])
                self._contexts.add(given)
            return _only(self._encrypted(path, self._contexts.of(fingerprint), options), path, "stfed.encrypted.load_file")

    def encrypt_tensor(self, array: Any, *, bound: float | None = None) -> EncryptedTensor:
        """Encrypts an array for computing, in memory; arguments and errors as those of `save_tensor`."""
        if isinstance(array, EncryptedTensor):
            raise LocalError("this tensor is encrypted already")
        numbers, context = checked(array), self._contexts.own
        try:
            return encrypt(context, numbers, bound=bound)
        except LocalError as error:
            raise LocalError(error.message, hint="; or ".join(filter(None, (error.hint, AT_REST)))) from None

    def decrypt_tensor(self, tensor: EncryptedTensor, *, share: bool = False, precision: float | None = None) -> NDArray[np.float64]:
        """The numbers of a tensor that is encrypted under this library's keys; logged before it returns.

        Args:
            tensor: the tensor.
            share: whether others than the owner of these keys will see the numbers. As they are decrypted they tell the secret key to
                whoever has the ciphertext (Li and Micciancio, EUROCRYPT 2021); with `share` they carry noise that hides it.
            precision: with `share`, how far the numbers may be from exact results; by default a hundredth of the tensor's bound.

        **No noise hides the key from whoever made the tensor.** So with `share` it must be computed by this library from its own tensors;
        what was loaded with somebody else's signature, and all that is computed with it, is refused.

        Returns:
            float64, within `tensor.error` of exact results; with `share`, within `precision`.

        Raises:
            LocalError: it is no encrypted tensor, is under other keys, or is not to be trusted; there is no room for the noise, or no more
                tensors may be shared under these keys.
        """
        if precision is not None and not share:
            raise LocalError("a precision is for numbers that are shared", hint="share=True, or leave it out: the error is tensor.error")
        with self._log() as log:
            return self._decryption.for_others(tensor, precision, log) if share else self._decryption.for_owner(tensor, log)

    def distribute_data(
        self,
        path: PathLike,
        recipients: Recipients,
        *,
        separate: bool = False,
        decrypted: bool = False,
        precision: float | None = None,
        trusted: Trusted | None = None,
    ) -> Distributed:
        """Seals the content of a file anew for others, signs and logs that, and returns what to hand over; `save_tensor` writes it.

        Args:
            path: a file that `save_tensor` wrote. It stays as it is.
            recipients: public keys, KEY.pub paths, or names on the roster; they and nobody else open the copies.
            separate: a file of its own, with a key of its own, for each, in place of one that all of them open.
            decrypted: hand over numbers: those of a tensor that is encrypted for computing as `decrypt_tensor(..., share=True)` returns
                them, those of one that was saved `plain` as they are. Without it recipients get ciphertexts, on which they compute with
                `public_context` and which they cannot decrypt, or nothing at all: a file of plain numbers is refused.
            precision: of numbers that are decrypted, as in `decrypt_tensor`.
            trusted: who must have signed the file, as in `load_tensor`.

        Raises:
            LocalError: nobody is named, or somebody who is of no use, or keys of two kinds for one file; recipients would read numbers,
                and nobody said that they may.
            SealError: the file does not open.
        """
        with self._log() as log:
            chosen = self._addressees(recipients)
            groups = [(one,) for one in chosen] if separate else [chosen]
            options = self._opening(path, trusted, log)
            opened = functools.partial(self._shared, path, options, precision, log) if decrypted else None
            made = copies(path, options, groups, self._keys.signer, opened)
            result = Distributed(Path(path).name, made, separate, readable=decrypted)
            for copy in made:
                self._note(log, Kind.DISTRIBUTE, path, copy, source=copy.source, readable=result.readable)
            return result

    def audit_log(self, *, known: str | bytes | Iterable[str | bytes] = ()) -> History:
        """What was saved, loaded, decrypted and handed on with these keys, verified from the first entry to the last.

        Args:
            known: checkpoints of this log (`History.checkpoint`) that were kept elsewhere: that it grew from them is verified, too.

        Raises:
            TamperedLogError, ForkError, UntrustedError: the log is not what was written to it.
        """
        return history.verified(self._keys.log, self._keys.signer, known)

    def public_context(self, path: PathLike) -> Path:
        """Writes the public context, signed, to a new file: for those who compute on tensors of this library. It decrypts nothing."""
        save_public(self._contexts.own, path, signer=self._keys.signer)
        return Path(path)

    def public_key(self, path: PathLike) -> Path:
        """Writes the public keys to a new file, a KEY.pub: for those who hand tensors to this library, or rely on its signature."""
        create_file(Path(path), str(self._keys.public).encode("ascii"), 0o644)
        return Path(path)

    def __repr__(self) -> str:
        keys = f"encryption {self._keys.identity.recipient.fingerprint}, signing {self._keys.signer.public.fingerprint}"
        return f"<SafeTensorLibrary {self.home}: {keys}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a SafeTensorLibrary holds secret keys and is not pickled: make one where it is needed")

    @contextmanager
    def _log(self) -> Iterator[AuditLog]:
        """The log, open. Whatever was written to it is under a new signed checkpoint afterwards."""
        with AuditLog(self._keys.log, create=False) as log:
            before = log.size
            try:
                yield log
            except UntrustedError as error:
                error.hint = error.hint or "if you rely on that signer, say so: trusted=KEY.pub"
                raise
            finally:
                if log.size > before:
                    log.checkpoint(self._keys.signer)

    def _note(self, log: AuditLog, kind: Kind, path: PathLike, copy: Copy, **more: Any) -> None:
        Trail(log).note(
            kind, path, copy.manifest, actor=self._keys.signer.public.fingerprint, names=[one.name for one in copy.recipients],
            recipients=[one.key.fingerprint for one in copy.recipients], bytes=len(copy.data), **more,
        )  # fmt: skip

    def _roster(self) -> Roster | None:
        """As it is now: somebody may have been revoked since the last time."""
        return None if self._roster_file is None else Roster.read(self._roster_file)

    def _addressees(self, recipients: Recipients) -> tuple[Addressee, ...]:
        return addressees(recipients, self._roster(), system_clock())

    def _sealing(self, others: Iterable[Addressee], log: AuditLog) -> SealOptions:
        keys = [self._keys.identity.recipient, *(one.key for one in others)]
        return {"recipients": keys, "signer": self._keys.signer, "audit": log}

    def _opening(self, path: PathLike, trusted: Trusted | None, log: AuditLog) -> OpenOptions:
        if trusted is None:
            trusted, roster = self._keys.signer.public, self._roster()
            if roster is not None and trusted.fingerprint not in signers_of(path):
                trusted = roster
        elif not isinstance(trusted, Roster):
            trusted = read_verifiers(trusted)  # once: they are asked for twice
        return {"identity": self._keys.identity, "trusted": trusted, "audit": log}

    def _shared(
        self, path: PathLike, options: OpenOptions, precision: float | None, log: AuditLog, file_id: str
    ) -> dict[str, NDArray[np.float64]]:
        """What a file of encrypted tensors holds, decrypted for others; its opening is in the log already."""
        same = options.copy()
        same["audit"], same["file_id"] = None, file_id
        tensors = self._encrypted(path, self._contexts.own, same)
        return {name: self._decryption.for_others(tensor, precision, log) for name, tensor in tensors.items()}

    def _encrypted(self, path: PathLike, context: EvaluationContext, options: OpenOptions) -> dict[str, EncryptedTensor]:
        """What a file holds. Unless it had to be this library's own, and says that nothing in it is others', it is `by_others`."""
        tensors, trusted = load_file(path, context, **options), options["trusted"]
        own = trusted is not None and not isinstance(trusted, Roster) and read_verifiers(trusted) == [self._keys.signer.public]
        others = context.of_others()
        return {name: each if own and name != _BY_OTHERS else replace(each, context=others) for name, each in tensors.items()}

    def _write(self, distributed: Distributed, path: PathLike, *others: object) -> None:
        if any(other not in (None, False) for other in others):
            raise LocalError("copies for recipients are written as they are", hint="say whom they are for when you distribute_data")
        places = targets(distributed, path)
        with self._log() as log:
            for copy, place in zip(distributed.copies, places, strict=True):
                self._note(log, Kind.SEAL, place, copy, source=copy.source)
            write(distributed.copies, places)


def _only(tensors: dict[str, _Tensor], path: PathLike, otherwise: str) -> _Tensor:
    if len(tensors) != 1:
        raise LocalError(f"{path} holds {len(tensors)} tensors, not one", hint=f"{otherwise} returns all of them")
    return next(iter(tensors.values()))
