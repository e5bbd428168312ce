"""Key files: KEY, the secret context, and KEY.pub, the evaluation context, which computes and cannot decrypt.

Both are written whole or not at all, and never over another file. KEY has mode 0600, may be under a passphrase, and names its KEY.pub by
fingerprint. KEY.pub is signed, because who encrypts under somebody else's public key tells that somebody everything: `load_public` reads
none without being told whose signature, or which fingerprint, it must have.

Lengths and fields are checked before SEAL reads a key, and what it reads are words (`stfed.encrypted.keywords`), not streams of its own.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from stfed.crypto.random import Entropy, system_entropy
from stfed.encrypted.context import EvaluationContext, SecretContext
from stfed.encrypted.publichead import PublicHead
from stfed.encrypted.secretfile import MAX_BYTES, SecretFile
from stfed.errors import DecodeError, LocalError, MalformedError, SealError, about
from stfed.files import File, check_target, create_file, opened, sync_folder
from stfed.keys.keyfile import PathLike, SignerLike, VerifierLike
from stfed.keys.passphrase import RECOMMENDED, Cost, Passphrase, PassphraseError
from stfed.keys.roster import Roster
from stfed.keys.smallfile import read_small
from stfed.sealed import times
from stfed.sealed.errors import UntrustedError
from stfed.sealed.sealrequest import read_signers
from stfed.sealed.times import Clock, system_clock
from stfed.sealed.trust import Trust

_FINGERPRINT_BYTES = 32


def save_public(
    context: EvaluationContext, path: PathLike, *, signer: SignerLike | Iterable[SignerLike] | None, clock: Clock = system_clock
) -> None:
    """Writes an evaluation context, for everybody who is to encrypt or to compute. Mode 0644.

    Args:
        context: whose keys.
        path: the file, which must not exist.
        signer: who vouches that these are the keys to encrypt under: signing keys or KEY paths. None for a file that can only be loaded
            by its fingerprint.
        clock: what time it is.

    Raises:
        LocalError: the file exists, or its folder does not.
    """
    public, relin, galois = context.blobs
    time = times.whole_seconds(clock())
    head = PublicHead(context.parameters, relin is not None, galois is not None, context.fingerprint, time)
    signed = head.signed(() if signer is None else read_signers(signer))
    _write(path, 0o644, signed.encode(), public, relin or b"", galois or b"")


def load_public(
    path: PathLike,
    *,
    trusted: VerifierLike | Iterable[VerifierLike] | Roster | None = None,
    fingerprint: str | bytes | None = None,
    clock: Clock = system_clock,
) -> EvaluationContext:
    """Reads an evaluation context that somebody trusted signed, or whose fingerprint is known; at least one of the two is asked for.

    Args:
        path: what `save_public` wrote.
        trusted: whose signature is needed, as in `stfed.sealed.options.OpenOptions`.
        fingerprint: 32 bytes, or their 64 hexadecimal digits, as `stfed inspect` shows them.
        clock: what time it is, for a roster.

    Raises:
        LocalError: neither is given, or there is no such file.
        UntrustedError: nobody trusted signed it, or it has another fingerprint.
        TamperedError: the signatures or the fingerprint are not those of these keys.
        MalformedError: it is no file of an evaluation context.
    """
    if trusted is None and fingerprint is None:
        raise LocalError(
            f"{path} would be loaded whosever keys are in it, and who encrypts under the wrong ones tells somebody else everything",
            hint="say whose signature it must have, trusted=..., or its fingerprint=..., as the owner of the keys told you",
        )
    wanted = _bytes_of(fingerprint)
    trust = None if trusted is None else Trust.of(trusted)
    with _about(path), opened(path) as descriptor:
        file = File(descriptor)
        head, start = PublicHead.read(file)
        if wanted is not None and head.fingerprint != wanted:
            raise UntrustedError(f"it holds the keys {head.fingerprint.hex()}, and {wanted.hex()} are asked for")
        if trust is not None:
            trust.check_signed(head.signers, head.time, clock())
        head.verify()
        return EvaluationContext(head.parameters, *head.read_blobs(file, start))


def save_secret(
    secret: SecretContext,
    path: PathLike,
    *,
    passphrase: Passphrase | None,
    cost: Cost = RECOMMENDED,
    entropy: Entropy = system_entropy,
) -> None:
    """Writes a secret context. Mode 0600.

    Args:
        secret: the keys to decrypt with. Only the secret key is written; the rest is for `save_public`.
        path: the file, which must not exist.
        passphrase: what it is under, or what asks for it. None leaves it to the file's mode alone.
        cost: of one guess at it; `RECOMMENDED` or more.
        entropy: where the salt and the nonce come from.

    Raises:
        LocalError: the file exists, or its folder does not; the cost is too low.
        PassphraseError: the passphrase is empty, or no text.
    """
    parameters, fingerprint, words = secret.public.parameters, secret.public.fingerprint, secret.secret_bytes
    _check_new(path)
    if passphrase is None:
        content = SecretFile.plain(parameters, fingerprint, words)
    else:
        cost.check_floor()
        content = SecretFile.protected(parameters, fingerprint, words, passphrase, cost, entropy)
    _write(path, 0o600, content.encode())


def load_secret(
    path: PathLike, *, passphrase: Passphrase | None = None, public: EvaluationContext | PathLike | None = None
) -> SecretContext:
    """Reads a secret context, and holds it against the evaluation context that belongs to it.

    Args:
        path: what `save_secret` wrote.
        passphrase: used, or asked for, only if the file is under one.
        public: the evaluation context, or its file; by default `path`.pub. The secret file says which one it must be.

    Raises:
        LocalError: there is no such file, others than its owner may read it, or `public` is another pair's.
        PassphraseError: the file is under a passphrase, and none or a wrong one is given.
        UntrustedError: the file of `public` is another pair's.
        TamperedError: it was changed, or the file of `public` was.
        MalformedError: it is no file of a secret context, or its key and `public` do not fit each other.
    """
    with _about(path):
        data, mode = read_small(Path(path), MAX_BYTES)
        if mode & 0o077:
            raise LocalError(f"{path} holds a secret key and others than its owner may use it (mode {mode:04o})", hint=f"chmod 600 {path}")
        file = SecretFile.decode(data)
        words = file.open(passphrase)
    if not isinstance(public, EvaluationContext):
        public = load_public(f"{path}.pub" if public is None else public, fingerprint=file.fingerprint)
    if public.fingerprint != file.fingerprint:
        raise LocalError(
            f"{path} belongs to the evaluation context {file.fingerprint.hex()}, and {public.fingerprint.hex()} is given",
            hint="give the KEY.pub that was made with it",
        )
    with _about(path):
        secret = SecretContext(public, words)
    if not np.abs(secret.slots(public.arithmetic.encrypt(1.0)) - 1).max() < 0.5:  # with any other key it is as large as the moduli
        raise MalformedError(f"{path}: the secret key in it does not decrypt what its public key encrypts", hint="use another copy of it")
    return secret


def save_keypair(
    make: Callable[[], SecretContext], path: PathLike, *, passphrase: Passphrase | None, signer: SignerLike | Iterable[SignerLike] | None
) -> EvaluationContext:
    """Makes keys and writes both files, `path` and `path`.pub, or neither; arguments and errors as in `save_secret` and `save_public`."""
    public = f"{path}.pub"
    for target in (path, public):
        check_target(target)
        _check_new(target)
    made = make()
    save_public(made.public, public, signer=signer)
    try:
        save_secret(made, path, passphrase=passphrase)
    except BaseException:
        Path(public).unlink()
        raise
    return made.public


def _bytes_of(fingerprint: str | bytes | None) -> bytes | None:
    if isinstance(fingerprint, str):
        try:
            fingerprint = bytes.fromhex(fingerprint)
        except ValueError:
            fingerprint = b""
    if fingerprint is not None and len(fingerprint) != _FINGERPRINT_BYTES:
        raise LocalError(
            "this is no fingerprint of an evaluation context", hint="64 hexadecimal digits, as `stfed inspect KEY.pub` shows them"
        )
    return fingerprint


def _check_new(path: PathLike) -> None:
    target = Path(path)
    if target.is_symlink() or target.exists():
        raise _exists(target)


def _exists(target: Path) -> LocalError:
    return LocalError(f"{target} exists, and a key is never overwritten", hint="choose another name, or move the old key away")


def _write(path: PathLike, mode: int, *parts: bytes) -> None:
    """The file, complete, or none; and never in place of one that somebody else made meanwhile."""
    target = check_target(path)
    _check_new(target)
    temporary = target.with_name(f".{target.name[:200]}.{secrets.token_hex(8)}.tmp")
    create_file(temporary, b"".join(parts), mode)
    try:
        os.link(temporary, target)  # a rename would replace
    except FileExistsError:
        raise _exists(target) from None
    finally:
        temporary.unlink()
    sync_folder(target.parent)


@contextmanager
def _about(path: PathLike) -> Iterator[None]:
    """Puts the file's name in front of errors about what is in it."""
    try:
        with about(path):
            yield
    except FileNotFoundError:
        raise LocalError(f"there is no file {path}", hint="`stfed keygen --encrypted --out KEY` writes KEY and KEY.pub") from None
    except PassphraseError as error:
        raise PassphraseError(f"{path}: {error.message}", hint=error.hint) from None
    except DecodeError as error:
        if isinstance(error, SealError):
            raise
        raise MalformedError(f"{path}: {error.message}", hint=error.hint) from None
