"""A cosigner of somebody else's log: signs that the log grew from what it saw last, and never for a history that did not.

A party that keeps a `Witness` makes rewriting visible. It remembers, in one small file, the newest checkpoint of every log that it has
cosigned, and a new one counts only with a proof of consistency from that one. The first checkpoint of a log is taken as it comes. The new
state is on the disk before the cosignature leaves, and two processes with one file take turns, so that no race can take it back
(c2sp.org/tlog-witness, add-checkpoint). Restoring the file from a backup would: then the witness may sign a second history.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from stfed import canonical
from stfed.audit.checkpoint import SignedCheckpoint
from stfed.audit.errors import ProofError
from stfed.audit.events import utc_now
from stfed.audit.note import Note, check_name
from stfed.audit.proof import ConsistencyProof
from stfed.audit.signatures import Signer, VerifierKey, cosign, cosigner_key, keys
from stfed.errors import MalformedError, about, shown
from stfed.files import check_private, check_target, replacing
from stfed.keys.smallfile import read_private

_VERSION = 1
_MAX_STATE_BYTES = 64 << 20


class Witness:
    """Cosigns checkpoints of the logs whose keys it trusts.

    Args:
        path: the file with what was seen so far; made, with mode 0600, by the first cosignature. `path` + ".lock" is the lock beside it.
        name: who cosigns; with the public key it is what others trust.
        signer: the key. It must not cosign under another name, because Ed25519 cosignatures do not contain the name.
        trusted: keys of the logs.
        clock: the time, with a time zone.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        name: str,
        signer: Signer,
        trusted: Iterable[VerifierKey | str],
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        check_name(name, "the cosigner's name")
        self._path, self._name, self._signer, self._clock = Path(path), name, signer, clock
        self._trusted = keys(trusted)

    @property
    def key(self) -> VerifierKey:
        """What others verify the cosignatures with."""
        return cosigner_key(self._name, self._signer)

    def seen(self, origin: str) -> SignedCheckpoint | None:
        """The newest checkpoint of that log that was cosigned: the next proof must start at its size. None if there is none.

        Raises:
            LocalError: if somebody else may change or replace the file, and so undo what this witness remembers. `cosign` raises it, too.
            MalformedError: if it is no state of a witness. `cosign` raises it, too.
        """
        return self._read().get(origin)

    def cosign(self, request: str | bytes) -> str:
        """The checkpoint in the request, with this witness's signature added.

        Args:
            request: the text of a `ConsistencyProof`, from the size of the checkpoint seen last; from 0 if none was.

        Raises:
            ForkError: if the log has signed another history of the size seen last. The evidence is in the error.
            ProofError: if the proof starts elsewhere, leads back, or does not hold.
            UntrustedError: if the log is unknown, or has not signed the checkpoint with a trusted key.
            BadSignatureError: if a signature that claims to be by a trusted key is not.
            MalformedError: if the request is no consistency proof.
        """
        proof = ConsistencyProof.parse(request)
        new = proof.checkpoint
        with self._locked():
            states = self._read()
            old = states.get(new.origin)
            if old is not None:
                proof.verify(old, self._trusted)
            else:
                new.verify(self._trusted)
                if proof.old_size or proof.hashes:
                    raise ProofError(
                        f"this witness has not seen the log {shown(new.origin)} yet, and the proof starts at {proof.old_size} entries",
                        hint="ask the log for a proof from 0",
                    )
            self._write(states | {new.origin: new})
        text = new.note.text
        return str(Note(text, new.note.signatures).signed(cosign(text, self._name, self._signer, self._clock())))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        check_target(self._path)
        descriptor = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _read(self) -> dict[str, SignedCheckpoint]:
        try:
            data = read_private(self._path, _MAX_STATE_BYTES)
        except FileNotFoundError:
            check_private(self._path)  # where others may take the file away, that there is none says nothing
            return {}
        with about(self._path):  # a broken file is not an empty one: starting over would forget what was signed
            value: Any = canonical.decode(data, "the state of the witness")
            logs = value.get("logs") if isinstance(value, dict) and value.keys() == {"version", "logs"} else None
            if not isinstance(logs, dict) or value["version"] is True or value["version"] != _VERSION:
                raise MalformedError("this is no state of a witness, or of a newer version")
            states = {origin: SignedCheckpoint.parse(text) for origin, text in logs.items() if isinstance(text, str)}
            if len(states) < len(logs) or any(origin != state.origin for origin, state in states.items()):
                raise MalformedError("the state of the witness names another log than its checkpoint")
            return states

    def _write(self, states: dict[str, SignedCheckpoint]) -> None:
        data = canonical.encode({"version": _VERSION, "logs": {origin: str(state) for origin, state in states.items()}})
        with replacing(self._path) as file:
            file.write_at(0, data)
