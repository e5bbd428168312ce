"""What a party can say about its channel without a network; a real SuperNode and SuperLink are in test_deployment.py."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.server.superlink.linkstate import LinkStateFactory
from flwr.supercore.constant import FLWR_IN_MEMORY_DB_NAME
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.superlink.federation import NoOpFederationManager
from flwr.superlink.grid import HttpGrid
from flwr.superlink.grid import InMemoryGrid as SimulationGrid
from flwr.supernode.cli.flower_supernode import _parse_args_run_supernode

from stfed.flower import channel
from stfed.flower.channel import ChannelError, check_channel, check_coordinator_channel
from stfed.testing import InMemoryGrid


def checking_app() -> ClientApp:
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        check_channel(allow_insecure=False)
        return Message(RecordDict(), reply_to=message)

    return app


@pytest.mark.parametrize("threads", [1, 2])
def test_the_in_memory_grid_is_no_channel(threads: int) -> None:
    grid = InMemoryGrid(checking_app(), 3, threads=threads)
    replies = grid.send_and_receive([Message(RecordDict(), node, "train") for node in grid.get_node_ids()])
    assert [reply.has_error() for reply in replies] == [False] * 3
    check_coordinator_channel(grid, allow_insecure=False)


def test_a_caller_that_nobody_knows_is_refused_and_the_error_says_what_to_do() -> None:
    with pytest.raises(ChannelError, match=r"neither by a SuperNode nor by a simulation.*stfed-allow-insecure=true"):
        check_channel(allow_insecure=False)


def test_allowed_it_goes_on_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "stfed"):
        check_channel(allow_insecure=True)
    assert "cannot be checked; allowed by this side's own configuration" in caplog.text


IMPOSTOR = """
import sys, types
module = types.ModuleType("flwr.supernode.runtime.run_clientapp")
exec("def run(check):\\n    check(allow_insecure=False)\\n", module.__dict__)
from stfed.flower.channel import check_channel
try:
    module.run(check_channel)
    print("passed")
except ValueError as error:
    print(error)
"""


def below(name: str, *arguments: str, folder: Path) -> str:
    """What the check says in a process whose parent has this name and these arguments: Flower's process tree without Flower."""
    script = folder / name
    script.write_text(f"import subprocess, sys\nsys.exit(subprocess.run([sys.executable, '-c', {IMPOSTOR!r}]).returncode)\n")
    result = subprocess.run([sys.executable, str(script), *arguments], capture_output=True, text=True, timeout=60, check=True)
    return result.stdout.strip()


def test_the_command_line_of_the_supernode_decides(tmp_path: Path) -> None:
    assert below("flower-supernode", "--superlink", "x:1", folder=tmp_path) == "passed"
    assert below("flower-supernode", "--root-certificates", "ca.crt", folder=tmp_path) == "passed"
    for arguments in (("--insecure",), ("--superlink", "x:1", "--insec"), ("--node-config", "a=1", "--insecure")):
        assert "this SuperNode was started with --insecure" in below("flower-supernode", *arguments, folder=tmp_path)


def test_a_clientapp_without_its_supernode_is_refused(tmp_path: Path) -> None:
    # As with --isolation process, where a SuperExec of its own starts the ClientApps.
    refused = below("flower-superexec", "--root-certificates", "ca.crt", folder=tmp_path)
    assert "not among the processes that started it" in refused
    assert "--isolation subprocess" in refused
    assert "not among" in below("launcher", "--log", "flower-supernode", folder=tmp_path)


def test_what_counts_as_insecure_is_what_flowers_parser_takes_for_it() -> None:
    # The real parser, on every abbreviation and on what looks like one.
    for argument in [*("--insecure"[:length] for length in range(4, 11)), "--isolation=process", "--host=x"]:
        try:
            insecure = _parse_args_run_supernode().parse_args([argument]).insecure
        except SystemExit:  # ambiguous: the SuperNode does not start
            continue
        assert channel._says_insecure(argument) == insecure, argument


def test_proc_and_ps_tell_the_same_of_this_process() -> None:
    if not Path("/proc/self/stat").exists():
        pytest.skip("no /proc here")
    from_proc, from_ps = channel._from_proc(os.getpid()), channel._from_ps(os.getpid())
    assert from_proc is not None
    assert from_ps is not None
    assert from_proc[0] == from_ps[0] == os.getppid()
    assert " ".join(from_proc[1]).split() == from_ps[1]


def test_a_process_that_is_not_there_is_unknown() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert channel._from_proc(ended.pid) is None
    assert channel._from_ps(ended.pid) is None
    assert list(channel._ancestors(ended.pid)) == []


def test_the_coordinator_asks_its_grid(caplog: pytest.LogCaptureFixture) -> None:
    check_coordinator_channel(HttpGrid("127.0.0.1:1", token="t"), allow_insecure=False)
    with pytest.raises(ChannelError, match=r"SuperLink was started with --insecure.*--ssl-ca-certfile"):
        check_coordinator_channel(HttpGrid("127.0.0.1:1", insecure=True, token="t"), allow_insecure=False)
    with caplog.at_level(logging.WARNING, "stfed"):
        check_coordinator_channel(HttpGrid("127.0.0.1:1", insecure=True, token="t"), allow_insecure=True)
    assert "allowed by this side's own configuration" in caplog.text


def test_flowers_simulation_has_no_channel() -> None:
    factory = LinkStateFactory(FLWR_IN_MEMORY_DB_NAME, NoOpFederationManager(), ObjectStoreFactory())
    check_coordinator_channel(SimulationGrid(factory), allow_insecure=False)


def test_a_grid_that_nobody_knows_is_refused() -> None:
    class Wrapped(SimulationGrid):
        pass

    class Other(HttpGrid):
        def __init__(self) -> None:
            """Connects in its own way, and does not say how."""

    check_coordinator_channel(Wrapped.__new__(Wrapped), allow_insecure=False)
    with pytest.raises(ChannelError, match="a Other does not tell whether it has it"):
        check_coordinator_channel(Other(), allow_insecure=False)
