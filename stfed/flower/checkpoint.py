"""Every round's global model as a sealed file, with where it came from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from flwr.app import ArrayRecord

from stfed.errors import LocalError
from stfed.flower.events import RoundReport
from stfed.sealed.keyring import read_recipient
from stfed.sealed.numpy import save_file


class Checkpoints:
    """Writes `round-001.safetensors` and so on into a folder.

    Args:
        folder: made if it is not there.
        recipients: who can open the files: public key files or public keys. Read at once, so that a wrong one fails before training.

    Raises:
        LocalError: no recipients, or a folder that cannot be made.
    """

    def __init__(self, folder: Path, recipients: Sequence[str | Path]) -> None:
        if not recipients:
            raise LocalError(f"models are to be sealed in {folder}, but nobody is named who may open them", hint="recipients=['KEY.pub']")
        self._recipients = [read_recipient(recipient) for recipient in recipients]
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LocalError(f"the folder {folder} cannot be made: {error.strerror}") from error

    def save(self, server_round: int, arrays: ArrayRecord, report: RoundReport, run: int, strategy: str) -> Path:
        """Seals the model of a round. The file appears when it is complete.

        Args:
            server_round: the strategy's round.
            arrays: the global model after it.
            report: the secure sum it came from; its public numbers become the file's provenance.
            run: Flower's run id.
            strategy: name of the inner strategy.
        """
        path = self.folder / f"round-{server_round:03d}.safetensors"
        save_file(
            {name: array.numpy() for name, array in arrays.items()},
            path,
            recipients=self._recipients,
            provenance={
                "run": str(run),
                "server_round": server_round,
                "secure_round": report.round,
                "strategy": strategy,
                "parties_asked": len(report.asked),
                "parties_summed": len(report.summed),
                "neighbours_k": report.k,
                "threshold_t": report.t,
                "graph": report.graph,
                "ring_bits": report.ring_bits,
                "clip": report.clip,
            },
        )
        return path
