"""Every round's global model as a sealed file: signed, with where it came from, and in the audit log."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from flwr.app import ArrayRecord

from stfed.audit import AuditLog, Event, Kind, open_log
from stfed.dp import DpRelease
from stfed.errors import LocalError, StfedError
from stfed.flower.events import RoundReport
from stfed.keys.keyfile import RecipientLike, SignerLike, read_signer
from stfed.keys.roster import Roster
from stfed.keys.signing import VerifyingKey
from stfed.sealed.inspect import inspect
from stfed.sealed.numpy import plaintext
from stfed.sealed.policy import Policy
from stfed.sealed.sealrequest import resolved_recipients
from stfed.sealed.statements import Scalar
from stfed.sealed.stream import Source
from stfed.sealed.writer import seal_to_path


class Checkpoints:
    """Writes `round-001.safetensors` and so on into a folder, each one linked to the one before.

    Args:
        folder: made if it is not there.
        recipients: who can open the files: public key files, public keys or a roster. Read at once: a wrong one fails before training.
        signer: the coordinator's signing key; without it nothing proves who wrote the files.
        policy: conditions of their use; needs `signer`.
        audit: log that every released aggregate and every file is written to.
        model: the name under which versions are ordered, with a signer over several runs in one folder too; the run's own if left out.

    Raises:
        LocalError: no recipients, or a folder that cannot be made.
    """

    def __init__(
        self,
        folder: Path,
        recipients: RecipientLike | Iterable[RecipientLike] | Roster,
        *,
        signer: SignerLike | None = None,
        policy: Policy | None = None,
        audit: AuditLog | str | Path | None = None,
        model: str | None = None,
    ) -> None:
        self._recipients = resolved_recipients(recipients)
        if not self._recipients:
            raise LocalError(f"models are to be sealed in {folder}, but nobody is named who may open them", hint="recipients=['KEY.pub']")
        self._signer = None if signer is None else read_signer(signer)
        if policy and self._signer is None:
            raise LocalError("a policy without a signature is nobody's policy", hint="signer='KEY'")
        self._policy, self._model = policy, model
        self._log = open_log(audit)
        self._last: tuple[int, str] | None = None
        self._privacy: DpRelease | None = None
        self._before_sha256: str | None = None
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LocalError(f"the folder {folder} cannot be made: {error.strerror}") from error

    def start(self, initial: ArrayRecord) -> None:
        """Hears of the model that the first round starts from, and finds where an earlier run of the same model stopped."""
        self._before_sha256 = _sha256(_plain(initial))
        self._last = None if self._model is None or self._signer is None else self._newest(self._model, self._signer.public)

    def released(self, release: DpRelease) -> None:
        """Logs what a differentially private sum gave away; the next model's provenance has it, too."""
        self._privacy = release
        if self._log is not None:
            self._log.append(release.event())

    def save(self, server_round: int, arrays: ArrayRecord, reports: Sequence[RoundReport], run: int, strategy: str) -> Path:
        """Seals the model of a round. The file appears when it is complete.

        Args:
            server_round: the strategy's round.
            arrays: the global model after it.
            reports: the secure sums it came from, one or those of the groups; their public numbers become the file's provenance, readable
                without a key. What differs between groups is stated of each, in order, separated by spaces.
            run: Flower's run id.
            strategy: name of the inner strategy.
        """
        report = reports[0]
        path = self.folder / f"round-{server_round:03d}.safetensors"
        source = _plain(arrays)
        content_sha256 = _sha256(source)
        stated: dict[str, Scalar] = {
            "model": self._model or f"run-{run}",
            "sequence": 1 if self._last is None else self._last[0] + 1,
            "previous": None if self._last is None else self._last[1],
            "model_before_sha256": self._before_sha256,
            "run": str(run),
            "server_round": server_round,
            "secure_round": _each(one.round for one in reports),
            "strategy": strategy,
            "parties_asked": _each(len(one.asked) for one in reports),
            "parties_summed": _each(len(one.summed) for one in reports),
            "neighbours_k": _each(one.k for one in reports),
            "threshold_t": _each(one.t for one in reports),
            "graph": report.graph,
            "ring_bits": _each(one.ring_bits for one in reports),
            "clip": report.clip,
        }
        if report.group is not None:
            stated["groups"] = len(reports)
        if self._privacy is not None:
            stated |= {f"dp_{name}": value for name, value in self._privacy.as_dict().items()}
        stated |= self._release(stated, content_sha256)
        manifest = seal_to_path(
            source, path, recipients=self._recipients, signer=self._signer, policy=self._policy, public=stated, audit=self._log
        )
        if self._log is not None and self._signer is not None:
            self._log.checkpoint(self._signer)  # over the entry of the file too: what a checkpoint covers cannot be changed behind it
        self._last = int(str(stated["sequence"])), manifest.sha256.hex()
        self._before_sha256 = content_sha256
        return path

    def _release(self, stated: Mapping[str, Scalar], content_sha256: str) -> dict[str, Scalar]:
        """Logs the aggregate before it is released; gives the entry's place and, if there is a signing key, the proof that it is there."""
        if self._log is None:
            return {}
        entry = self._log.append(Event(Kind.AGGREGATE, {**stated, "content_sha256": content_sha256}))
        logged: dict[str, Scalar] = {"audit_log": self._log.origin, "audit_entry": entry}
        if self._signer is not None:
            logged["audit_proof"] = self._log.inclusion_proof(entry, self._log.checkpoint(self._signer))
        return logged

    def _newest(self, model: str, signer: VerifyingKey) -> tuple[int, str] | None:
        """Sequence and manifest hash of the last version in the folder, by the same signer: what others put there orders nothing."""
        found: list[tuple[int, str]] = []
        for path in sorted(self.folder.glob("round-*.safetensors")):
            with suppress(StfedError):  # not one of ours, or not whole
                info = inspect(path)
                sequence = info.public.get("sequence")
                ours = info.signature == "valid" and signer.fingerprint in info.signers
                if ours and info.public.get("model") == model and isinstance(sequence, int):
                    found.append((sequence, info.manifest_sha256))
        return max(found, default=None)


def _each(values: Iterable[int]) -> int | str:
    """The number of the one sum, or the numbers of all groups."""
    numbers = list(values)
    return numbers[0] if len(numbers) == 1 else " ".join(map(str, numbers))


def _plain(arrays: ArrayRecord) -> Source:
    return plaintext({name: array.numpy() for name, array in arrays.items()}, None)


def _sha256(source: Source) -> str:
    """Hash of the plain safetensors file: what `stfed open` and a checksum tool give."""
    state, room, step = hashlib.sha256(), memoryview(bytearray(1 << 20)), 1 << 20
    for start in range(0, source.size_bytes, step):
        stop = min(start + step, source.size_bytes)
        state.update(source.piece(start, stop, room[: stop - start]))
    return state.hexdigest()
