"""deployment: the machines of the play. Each folder stands for one: the coordinator's, one for each ward, and the wire between them."""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer

from stfed.cli import main as stfed
from stfed.errors import LocalError
from stfed.testing.deployment import Operator, SuperNode
from stfed.testing.pki import Authority, ServerFiles, node_key
from stfed.testing.tap import Tap

APP = Path(__file__).parent
_PUBLIC_TEST = 100


@dataclass(frozen=True, slots=True)
class Coordinator:
    """The coordinator's machine: all that is in its folder is what a coordinator knows."""

    folder: Path

    @property
    def out(self) -> Path:
        """Event log, audit log, sealed models."""
        return self.folder / "out"

    @property
    def key(self) -> Path:
        """Its own key pair: signs the models, and opens them for the next run."""
        return self.folder / "coordinator.key"

    @property
    def precision(self) -> float:
        """How far a secure mean may be from the plain one: 2^-20 of the clip, which is 8."""
        return 2.0**-20 * 8

    @property
    def gate(self) -> Path:
        """Where the ServerApp waits for the script."""
        return self.folder / "gate"

    def run_config(self, rounds: int, *, gated: bool, allow_insecure: bool = False) -> dict[str, str | int | bool]:
        """The run config of a secure run."""
        names = {"roster": self.folder / "roster.toml", "key": self.key, "public-test": self.folder / "public.csv", "out": self.out}
        return {
            **{key: str(path) for key, path in names.items()},
            "num-server-rounds": rounds,
            "gate": str(self.gate) if gated else "",
            "allow-insecure": allow_insecure,
        }


def build(root: Path, wards: int) -> tuple[Coordinator, list[Path], ServerFiles]:
    """Makes the folders: data, keys, one roster that everybody has, a policy for each ward, and the server's certificate.

    Args:
        root: new or empty.
        wards: how many.
    """
    coordinator = Coordinator(root / "coordinator")
    folders = [root / f"ward-{number}" for number in range(1, wards + 1)]
    for folder in (coordinator.folder, coordinator.out, coordinator.gate, *folders):
        folder.mkdir(parents=True)
    tables = _data(wards)
    np.savetxt(coordinator.folder / "public.csv", tables[0], delimiter=",", fmt="%.6g")
    for folder, table in zip(folders, tables[1:], strict=True):
        np.savetxt(folder / "data.csv", table, delimiter=",", fmt="%.6g")
        _stfed("keygen", "--out", folder / "party.key", "--only", "signing")
        node_key(folder / "node.key")
        for inner in ("hold", "secrets", "state"):
            (folder / inner).mkdir(mode=0o700)
    _stfed("keygen", "--out", coordinator.key)
    roster = coordinator.folder / "roster.toml"
    _stfed("roster", "init", roster, "--name", "the wards")
    for folder in folders:
        _stfed("roster", "add", roster, folder.name, "--key", folder / "party.key.pub", "--role", "party")
    for folder in folders:
        shutil.copy(roster, folder / "roster.toml")
        (folder / "policy.toml").write_text('mode = "malicious"\n\n[cohort]\nmin_cohort = 5\n')
    return coordinator, folders, Authority.new("demo authority").issue(["127.0.0.1", "localhost"], root / "tls")


def supernode(folder: Path, port: int, authority: Path | None, *, key: Path | None, **config: str | int | float | bool) -> SuperNode:
    """A ward's SuperNode, with a ward's config."""
    files = {"data": "data.csv", "hold": "hold", "secrets": "secrets", "stfed-state-dir": "state", "stfed-identity": "party.key"}
    files |= {"stfed-roster": "roster.toml", "stfed-policy": "policy.toml"}
    return SuperNode(folder.name, folder, port, authority, key, {**{name: str(folder / file) for name, file in files.items()}, **config})


def register(operator: Operator, folders: Sequence[Path]) -> None:
    """Makes the SuperNodes' keys known to the SuperLink."""
    operator.register(*(folder / "node.key.pub" for folder in folders))


def plain_app(folder: Path) -> Path:
    """A copy of the app whose components are those without secure aggregation."""
    shutil.copytree(APP / "wards", folder / "wards", ignore=shutil.ignore_patterns("__pycache__"))
    project = (APP / "pyproject.toml").read_text()
    for part in ("client", "server"):
        project = project.replace(f"wards.{part}_app:app", f"wards.plain:{part}")
    (folder / "pyproject.toml").write_text(project)
    return folder


def taps(stack: contextlib.ExitStack, root: Path, coordinator: Coordinator, port: int, tls: ServerFiles) -> Tap:
    """Two recording proxies in a row before the SuperLink: the first sees the wire, the second what the coordinator sees behind TLS.

    Returns the first, which the wards connect to.
    """
    clear = stack.enter_context(Tap(coordinator.folder / "received", port, tls))
    return stack.enter_context(Tap(root / "wire", clear.port))


def _stfed(*arguments: str | Path) -> None:
    """A `stfed` command, without what it prints."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
        code = stfed([str(argument) for argument in arguments])
    if code != 0:
        raise LocalError(f"stfed {arguments[0]} failed: {said.getvalue()}")


def _data(wards: int) -> list[np.ndarray]:
    """The public test set, and each ward's patients: of uneven numbers, features scaled to 0 to 1 and the label behind them."""
    x, y = load_breast_cancer(return_X_y=True)
    x = (x - x.min(0)) / (x.max(0) - x.min(0))
    table = np.column_stack([x, y])[np.random.default_rng(7).permutation(len(y))]
    shares = np.linspace(1, 2, wards)
    cuts = (np.cumsum(shares)[:-1] / shares.sum() * (len(table) - _PUBLIC_TEST)).astype(int)
    return [table[:_PUBLIC_TEST], *np.split(table[_PUBLIC_TEST:], cuts)]
