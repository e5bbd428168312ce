"""A real deployment of Flower on one machine: a SuperLink and SuperNodes as processes of their own, killed and restarted at will.

They are Flower's own commands with the arguments that docs/deployment.md gives to people; nothing of Flower is replaced. Each has a folder
of its own with its home and its log, as if it were on a machine of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from flwr.proto.fleet_pb2 import DeactivateNodeRequest
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from stfed.errors import LocalError
from stfed.flower import processes
from stfed.testing.pki import ServerFiles

Value = str | int | float | bool

_START_TIMEOUT_S = 90.0
_LOOK_S = 0.1
_CONNECTION = "stfed"
TASK_POLL_S = 0.2  # how soon a SuperNode notices that it has a message to handle; one second by default


@dataclass(slots=True)
class SuperLink:
    """`flower-superlink`: the coordinator's process.

    Args:
        folder: its home, database and log.
        tls: certificate and key. None: `--insecure`.
        supernode_auth: with TLS, SuperNodes have to prove who they are. Without, anybody can connect.

    Attributes:
        port: of all its interfaces, the same after a restart.
    """

    folder: Path
    tls: ServerFiles | None
    supernode_auth: bool = True
    port: int = field(default_factory=processes.free_port)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """What it said."""
        return self.folder / "superlink.log"

    @property
    def database(self) -> Path:
        """Its state, with every message that is on its way; survives a restart."""
        return self.folder / "state.db"

    def start(self) -> None:
        """Starts it and waits until it answers.

        Raises:
            LocalError: it ended instead, or does not answer.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [processes.tool("flower-superlink"), "--host", "127.0.0.1", "--port", str(self.port), "--database", str(self.database)]
        if self.tls is None:
            command += ["--insecure"]
        else:
            command += ["--ssl-ca-certfile", str(self.tls.authority), "--ssl-certfile", str(self.tls.certificate)]
            command += ["--ssl-keyfile", str(self.tls.key)]
            command += ["--enable-supernode-auth"] if self.supernode_auth else []
        command += ["--disable-runtime-dependency-installation"]
        environment = processes.environment(self.folder / "flwr", FLWR_SUPEREXEC_TASK_POLL_INTERVAL=str(TASK_POLL_S))
        self._process = processes.start(command, self.log, folder=self.folder, environment=environment)
        wait_until(self._answers, f"Flower's SuperLink did not start; its log is {self.log}", self.log)

    def end(self) -> None:
        """Ends it as `systemctl stop` would."""
        if self._process is not None:
            processes.end(self._process)
            self._process = None

    def _answers(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise LocalError(f"Flower's SuperLink ended; its log is {self.log}:\n{processes.tail(self.log)}")
        scheme, verify = ("http", "") if self.tls is None else ("https", str(self.tls.authority))
        try:
            context = httpx.create_ssl_context(verify=verify) if verify else False
            return httpx.get(f"{scheme}://127.0.0.1:{self.port}/health", timeout=1.0, verify=context).is_success
        except httpx.HTTPError:
            return False


@dataclass(slots=True)
class SuperNode:
    """`flower-supernode`: one party's process.

    Args:
        name: what people call it.
        folder: its home, its config and its log.
        port: where it reaches the SuperLink, on 127.0.0.1.
        authority: certificate that it trusts; None: `--insecure`.
        key: its authentication key; None: it registers itself, where the SuperLink lets anybody.
        config: the node config.
        app: the ClientApp that it runs, MODULE:ATTRIBUTE, under `stfed supernode`; None: `flower-supernode`, which runs that of the run.
        task_poll_s: how soon it notices that it has a message to handle; None: as it comes.
        python_path: where `app` is, if it is not installed.
    """

    name: str
    folder: Path
    port: int
    authority: Path | None
    key: Path | None
    config: Mapping[str, Value]
    app: str | None = None
    task_poll_s: float | None = TASK_POLL_S
    python_path: Path | None = None
    _process: subprocess.Popen[bytes] | None = None
    _said_before: int = 0

    @property
    def log(self) -> Path:
        """What it, its SuperExec and its ClientApps said."""
        return self.folder / "supernode.log"

    def start(self) -> None:
        """Starts it; does not wait."""
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "node.toml"
        config.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in self.config.items()))
        options = ["--node-config", str(config)]
        if self.app is None:
            command = [processes.tool("flower-supernode"), *options]
        else:
            command = [processes.tool("stfed"), "supernode", "--app", self.app, *options, "--"]
        command += ["--superlink", f"127.0.0.1:{self.port}"]
        command += ["--host", "127.0.0.1", "--port", str(processes.free_port())]
        command += ["--insecure"] if self.authority is None else ["--root-certificates", str(self.authority)]
        command += [] if self.key is None else ["--auth-supernode-private-key", str(self.key)]
        self._said_before = self.log.stat().st_size if self.log.exists() else 0
        more = {} if self.task_poll_s is None else {"FLWR_SUPEREXEC_TASK_POLL_INTERVAL": str(self.task_poll_s)}
        if self.python_path is not None:
            more["PYTHONPATH"] = os.pathsep.join(filter(None, (str(self.python_path), os.environ.get("PYTHONPATH"))))
        environment = processes.environment(self.folder / "flwr", **more)
        self._process = processes.start(command, self.log, folder=self.folder, environment=environment)

    def says(self) -> str:
        """What it said since its last start."""
        if not self.log.exists():
            return ""
        return self.log.read_bytes()[self._said_before :].decode(errors="replace")

    def online(self) -> bool:
        """Whether the SuperLink has accepted it since its last start."""
        return "SuperNode ID: " in self.says()

    @property
    def node_id(self) -> str:
        """Flower's id for it; the same for the same key."""
        return self.log.read_text(errors="replace").partition("SuperNode ID: ")[2].split()[0]

    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL to it and all that it started."""
        if self._process is not None:
            processes.kill(self._process)
            self._process = None

    def say_goodbye(self) -> None:
        """Tells the SuperLink, with the node's own key, that it is gone.

        A SuperLink takes a SuperNode that was killed for online for up to a minute, and refuses its next start for as long (error 2004).
        Whoever cannot wait for that says goodbye in its place.
        """
        assert self.key is not None
        assert self.authority is not None
        key = load_ssh_private_key(self.key.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        with FleetHttpClient.from_server_address(
            f"127.0.0.1:{self.port}",
            False,
            self.authority.read_bytes(),
            interceptors=[NodeAuthHttpInterceptor(key, key.public_key())],
        ) as client:
            client.DeactivateNode(DeactivateNodeRequest(node_id=int(self.node_id)))


@dataclass(slots=True)
class Operator:
    """Whoever has the `flwr` command: registers SuperNodes and starts runs.

    Args:
        folder: a home of its own.
        port: the SuperLink's.
        authority: the certificate that it trusts; None: insecure.
    """

    folder: Path
    port: int
    authority: Path | None

    def command(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Starts a `flwr` command; its output goes to a log of its own."""
        environment = self._environment()
        log = self.log(arguments[0])
        return processes.start([processes.tool("flwr"), *arguments], log, folder=self.folder, environment=environment)

    def log(self, name: str) -> Path:
        """What a command said, over all its calls."""
        return self.folder / f"{name}.log"

    def register(self, *public_keys: Path) -> None:
        """`flwr supernode register` for each key.

        Raises:
            LocalError: one was refused.
        """
        started = [self.command("supernode", "register", str(key), _CONNECTION) for key in public_keys]
        for process, key in zip(started, public_keys, strict=True):
            if process.wait(_START_TIMEOUT_S) != 0:
                raise LocalError(f"the key {key} cannot be registered:\n{processes.tail(self.log('supernode'))}")

    def nodes(self) -> list[dict[str, str]]:
        """`flwr supernode list`, as JSON."""
        result = subprocess.run(  # noqa: S603 - our own tool, no shell
            [processes.tool("flwr"), "supernode", "list", _CONNECTION, "--format", "json"],
            cwd=self.folder,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=_START_TIMEOUT_S,
            check=False,
        )
        if result.returncode != 0:
            raise LocalError(f"flwr supernode list failed: {result.stdout}{result.stderr}")
        nodes: list[dict[str, str]] = json.loads(result.stdout)["nodes"]
        return nodes

    def run(self, app: Path, config: Mapping[str, Value], name: str) -> subprocess.Popen[bytes]:
        """`flwr run APP --stream`; `name` names its log.

        Args:
            app: folder with the app's pyproject.toml.
            config: run config, of keys that the app knows.
            name: of this run.
        """
        environment = self._environment()
        file = self.folder / f"{name}.toml"
        file.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in config.items()))
        command = [processes.tool("flwr"), "run", str(app.resolve()), _CONNECTION, "--stream", "--run-config", str(file)]
        return processes.start(command, self.log(name), folder=self.folder, environment=environment)

    def _environment(self) -> dict[str, str]:
        home = self.folder / "flwr"
        home.mkdir(parents=True, exist_ok=True)
        trust = "insecure = true" if self.authority is None else f"root-certificates = {json.dumps(str(self.authority.resolve()))}"
        text = f'[superlink]\ndefault = "{_CONNECTION}"\n\n[superlink.{_CONNECTION}]\naddress = "127.0.0.1:{self.port}"\n{trust}\n'
        file = home / "config.toml"
        if not file.exists() or file.read_text() != text:
            file.write_text(text)
        return processes.environment(home)


def wait_until(condition: Callable[[], bool], otherwise: str, log: Path | None = None, *, timeout_s: float = _START_TIMEOUT_S) -> None:
    """Looks again and again until it is so.

    Raises:
        LocalError: it is not after `timeout_s`; with the end of the log.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise LocalError(otherwise + ("" if log is None else f":\n{processes.tail(log, 30)}"))
        time.sleep(_LOOK_S)
