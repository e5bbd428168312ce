"""deployment: the control. The same app over an insecure SuperLink: malicious mode refuses to run, and plain averaging shows everything."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from examples.deployment import scene
from examples.deployment.evidence import secrets_of
from examples.deployment.rows import Row
from stfed.testing.deployment import Operator, SuperLink, Value, wait_until
from stfed.testing.leaks import parties
from stfed.testing.tap import Tap

_COORDINATOR = "this SuperLink was started with --insecure"
_PARTY = "this SuperNode was started with --insecure"
_SHOWN = ("trained model", "num-examples", "train_loss")
_TIMEOUT_S = 240.0


def control_run(root: Path, wards: Sequence[Path], say: Callable[[str], None]) -> list[Row]:
    """Runs the app without TLS, with copies of these wards' folders: in malicious mode twice, and in plain averaging.

    Args:
        root: a new folder.
        wards: folders of wards.
        say: tells the audience.
    """
    coordinator = scene.Coordinator(root / "coordinator")
    shutil.copytree(wards[0].parent / "coordinator", coordinator.folder, ignore=shutil.ignore_patterns("received", "out", "flwr", "*.db*"))
    for folder in (coordinator.out, root / "operator"):
        folder.mkdir(parents=True)
    copies = [_copy(ward, root / ward.name) for ward in wards]
    with contextlib.ExitStack() as stack:
        link = SuperLink(coordinator.folder, None)
        stack.callback(link.end)
        link.start()
        tap = stack.enter_context(Tap(root / "wire", link.port))
        nodes = [scene.supernode(folder, tap.port, None, key=None) for folder in copies]
        for node in nodes:
            stack.callback(node.kill)
            node.start()
        for node in nodes:
            wait_until(node.online, f"{node.name} is not online", node.log)
        operator = Operator(root / "operator", link.port, None)

        def run(app: Path, config: Mapping[str, Value], name: str) -> str:
            process = operator.run(app, config, name)
            stack.callback(process.kill)
            wait_until(lambda: process.poll() is not None, f"the {name} run did not end", link.log, timeout_s=_TIMEOUT_S)
            return operator.log(name).read_text()

        coordinator_refused = _COORDINATOR in run(scene.APP, coordinator.run_config(1, gated=False), "refused")
        say(f"without TLS: the coordinator {'refuses' if coordinator_refused else 'GOES ON IN'} malicious mode")
        run(scene.APP, coordinator.run_config(1, gated=False, allow_insecure=True), "insecure")
        parties_refused = sum(_PARTY in node.says() for node in nodes) == len(nodes) and not list(coordinator.out.rglob("*.safetensors"))
        say(f"without TLS: the wards {'refuse' if parties_refused else 'GO ON IN'} malicious mode, whatever the coordinator says")
        run(scene.plain_app(root / "plain"), {"num-server-rounds": 1}, "plain")
    found = {label for labels in secrets_of(copies).found_below(root / "wire").values() for label in labels}
    complete = {(label.party, label.what) for label in found} >= {(ward.name, what) for ward in wards for what in _SHOWN}
    say(f"control: plain averaging, {len(parties(found))} of {len(wards)} wards' models are on the wire")
    return [
        Row("without TLS", "malicious mode, asked of the coordinator", "refused" if coordinator_refused else "RUNS", coordinator_refused),
        Row("without TLS", "malicious mode, asked of the wards", "refused" if parties_refused else "RUNS", parties_refused),
        Row(
            "control", "the same search over plain averaging", f"finds {', '.join(_SHOWN)} of all" if complete else "MISSES some", complete
        ),
    ]


def _copy(ward: Path, folder: Path) -> Path:
    """A ward's machine as it is, without what it noted and promised so far."""
    shutil.copytree(ward, folder, ignore=shutil.ignore_patterns("secrets", "state", "hold", "flwr", "*.log", "node.toml"))
    for inner in ("hold", "secrets", "state"):
        (folder / inner).mkdir(mode=0o700)
    return folder
