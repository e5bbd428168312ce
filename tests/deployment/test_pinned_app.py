"""A coordinator ships code that steals; nodes under `stfed supernode` run their own. Real SuperLink, SuperNodes and TLS, malicious mode."""

from __future__ import annotations

import signal
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from stfed.flower import processes
from stfed.keys import Member, Role, Roster, SigningKey, write_keypair
from stfed.testing.deployment import Operator, SuperLink, wait_until
from stfed.testing.pki import Authority, node_key
from tests.deployment.hostile import write_evil, write_hospital

pytestmark = pytest.mark.e2e

VALUES = (1.0, 2.0, 4.0, 8.0)
_RUN_TIMEOUT_S = 480.0


@dataclass(slots=True)
class Node:
    """A SuperNode, started by `stfed supernode` or by Flower's own command."""

    folder: Path
    command: list[str]
    site: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.folder / "supernode.log"

    def start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        more = {"PYTHONPATH": str(self.site), "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.2"}
        environment = processes.environment(self.folder / "flwr", **more)
        self.process = processes.start(self.command, self.log, folder=self.folder, environment=environment)

    def end(self) -> None:
        assert self.process is not None
        processes.end(self.process)

    def says(self) -> str:
        return self.log.read_text(errors="replace")

    def online(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.says()
        return "SuperNode ID: " in self.says()

    def launchers(self) -> list[Path]:
        return list((self.folder / "state").glob("node-*"))


@dataclass(slots=True)
class World:
    """A SuperLink, hospitals with data and keys, and a coordinator's app that steals."""

    folder: Path
    superlink: SuperLink
    operator: Operator
    authority: Path
    marker: Path
    app: Path
    site: Path

    @classmethod
    def make(cls, folder: Path, stack: ExitStack) -> World:
        files = Authority.new("test").issue(["127.0.0.1"], folder / "tls")
        superlink = SuperLink(folder / "superlink", files)
        stack.callback(superlink.end)
        superlink.start()
        operator = Operator(folder / "operator", superlink.port, files.authority)
        marker = folder / "marker"
        return cls(folder, superlink, operator, files.authority, marker, write_evil(folder, marker), write_hospital(folder))

    @property
    def roster(self) -> Path:
        return self.folder / "roster.toml"

    def found(self) -> None:
        """Data, an identity and a node key for each hospital, and the roster of them all."""
        members, keys = [], []
        for i, value in enumerate(VALUES):
            home = self.folder / f"hospital{i}"
            home.mkdir(mode=0o700)
            (home / "data").write_text(str(value))
            signing = SigningKey.generate("ed25519")
            write_keypair(home / "party.key", signing=signing)
            members.append(Member(f"hospital{i}", frozenset({Role.PARTY}), signing=signing.public))
            keys.append(node_key(home / "node.key"))
        Roster("test", tuple(members)).write(self.roster)
        self.operator.folder.mkdir(parents=True, exist_ok=True)
        self.operator.register(*keys)

    def pinned(self, i: int) -> Node:
        home = self.folder / f"hospital{i}"
        ours = ["--identity", f"{home}/party.key", "--roster", str(self.roster), "--state-dir", f"{home}/state"]
        command = [processes.tool("stfed"), "supernode", "--app", "hospital.client_app:app", *ours, "--node-config", f'data="{home}/data"']
        return Node(home, [*command, "--", *self._flower(home)], self.site)

    def plain(self, i: int) -> Node:
        home = self.folder / f"hospital{i}"
        config = f'data="{home}/data" stfed-identity="{home}/party.key" stfed-roster="{self.roster}"'
        return Node(home / "plain", [processes.tool("flower-supernode"), "--node-config", config, *self._flower(home)], self.site)

    def _flower(self, home: Path) -> list[str]:
        where = ["--superlink", f"127.0.0.1:{self.superlink.port}", "--port", str(processes.free_port())]
        return [*where, "--root-certificates", str(self.authority), "--auth-supernode-private-key", f"{home}/node.key"]

    def run(self, name: str, **config: str | int) -> str:
        """What the coordinator's ServerApp says."""
        process = self.operator.run(self.app, config, name)
        try:
            process.wait(_RUN_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            processes.end(process)
        return self.operator.log(name).read_text(errors="replace")


def start(stack: ExitStack, *nodes: Node) -> None:
    for node in nodes:
        node.start()
        stack.callback(node.end)
    for node in nodes:
        wait_until(node.online, f"{node.folder} is not online", node.log)


def test_a_coordinators_code_runs_on_a_plain_node_and_not_on_a_pinned_one(tmp_path: Path) -> None:
    with ExitStack() as stack:
        world = World.make(tmp_path, stack)
        world.found()
        nodes = [world.pinned(i) for i in range(len(VALUES))]
        with ExitStack() as running:
            start(running, *nodes)
            said = world.run("pinned", nodes=len(nodes), roster=str(world.roster))
            logs = "".join(node.says() for node in nodes)
            assert said.count("REPLY") == len(nodes), said + logs
            assert said.count("PlainMessageError") == len(nodes), said  # the hospital's own app answered, and refused
            assert "stolen" not in said
            # And its own train function took part, in malicious mode with the channel checked: the mean is of what it trained.
            assert f"MEAN {[sum(VALUES) / len(VALUES)] * 3}" in said, said + logs
            assert not world.marker.exists()
            assert not [path for node in nodes for path in (node.folder / "flwr").rglob("evil*")]
            assert "left alone: this node runs hospital.client_app:app" in nodes[0].says()
            assert [len(node.launchers()) for node in nodes] == [1] * len(nodes)
        wait_until(lambda: not any(node.launchers() for node in nodes), "the launchers outlive their SuperNode")

        with ExitStack() as running:
            start(running, world.plain(0))
            said = world.run("plain", nodes=1)
        assert f"'stolen': '{VALUES[0]}'" in said, said
        assert world.marker.read_text() == "evil.client\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_ends_it_as_it_ends_flowers_own_command(number: signal.Signals, tmp_path: Path) -> None:
    site = write_hospital(tmp_path)
    flower = ["--superlink", "127.0.0.1:1", "--insecure", "--port", str(processes.free_port())]
    command = [processes.tool("stfed"), "supernode", "--app", "hospital.client_app:app", "--state-dir", str(tmp_path / "home/state")]
    node = Node(tmp_path / "home", [*command, "--", *flower], site)
    node.start()
    assert node.process is not None
    try:
        wait_until(lambda: "Starting Flower SuperExec" in node.says(), "there is no SuperExec", node.log)
        arguments = Path(f"/proc/{node.process.pid}/cmdline")
        if arguments.exists():  # the very process that was started, under the name that channel.py looks for
            assert arguments.read_bytes().split(b"\0")[2].endswith(b"/flower-supernode")
            # And nothing but our launchers on its PATH: not Flower's own commands either, should one of ours be gone.
            assert f"PATH={node.launchers()[0]}".encode() in arguments.with_name("environ").read_bytes().split(b"\0")
        node.process.send_signal(number)
        code = node.process.wait(30)
    finally:
        node.end()
    assert code == (-signal.SIGKILL if number is signal.SIGKILL else 0)
    wait_until(lambda: not node.launchers(), "the launchers outlive their SuperNode")
