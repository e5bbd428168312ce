"""A coordinator's app, and what comes after it: the sealed model, a log of who was given it, a tensor to compute on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from flwr.app import ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from stfed import SafeTensorLibrary
from stfed.audit import AuditLog
from stfed.dp import epsilon_of
from stfed.flower import AdaptiveClip, DistributedDp, SecureAggregation
from stfed.flower.analytics import Analytics
from stfed.keys import Identity, Recipient, SigningKey, generate_keypair
from stfed.sealed import Policy, SealedInfo, grant, inspect
from stfed.sealed.numpy import load_file, safe_open, save_file

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    private = SecureAggregation(FedAvg(), dp=DistributedDp(l2_clip=0.5, epsilon=8.0, delta=1e-5))
    strategy = SecureAggregation(FedAvg(), clip=AdaptiveClip(), save=Path("models"), audit="audit.db")
    result = strategy.start(grid, ArrayRecord([np.zeros(3)]), num_rounds=1)
    dropped: list[int] = [len(report.dropped) for report in private.reports]
    print(result.arrays, dropped)


def ask(grid: Grid) -> float | None:
    return Analytics(grid, {}).mean("age").mean


def hand_on(folder: Path) -> SealedInfo:
    keys: tuple[Identity, Recipient] = generate_keypair()
    signer = SigningKey.generate()
    save_file({"w": np.eye(3)}, folder / "m", recipients=keys[1], signer=signer, policy=Policy(purposes="study"))
    grant(folder / "m", recipients="bob.pub", signer=signer, identity=keys[0], trusted=signer.public)
    with safe_open(folder / "m", "np", identity=keys[0], trusted=signer.public) as file:
        names: list[str] = file.keys()
    with AuditLog(folder / "audit.db") as log:
        size: int = log.size
    print(names, size, load_file(folder / "m", identity=keys[0])["w"].shape, epsilon_of([], 1e-5, rounds=3))
    return inspect(folder / "m")


def compute(rows: list[float]) -> float:
    library = SafeTensorLibrary()
    return float(library.decrypt_tensor(library.encrypt_tensor(rows) * 2.0).sum())
