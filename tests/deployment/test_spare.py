"""`stfed.flower.spare`: who handles a message, with real processes and a small command in the place of Flower's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from stfed.flower import spare

HANDLER = """
import json, os, sys, time
from pathlib import Path
from stfed.flower import spare

folder, slow, *arguments = sys.argv[1:]
began = time.time()
time.sleep(float(slow))  # the imports
ahead = arguments[:1] == [spare.SPARE]
if ahead:
    arguments = spare.wait_for_message(arguments[1])
entry = {"pid": os.getpid(), "began": began, "parent": os.getppid(), "ahead": ahead, "cwd": os.getcwd(), "arguments": arguments}
with open(folder + "/handled", "a") as file:
    file.write(json.dumps(entry) + "\\n")
sys.exit(7 if "fail" in arguments else 0)
"""
_PATIENCE_S = 30.0


class Node:
    """Starts the command that a SuperNode would, as a child of a process that can be killed like one."""

    def __init__(self, folder: Path, slow_s: float = 0.0) -> None:
        self.folder, self._started = folder, []
        self.environment = {**os.environ, "PYTHONPATH": str(Path(spare.__file__).parents[2])}
        self.home = folder / ("private-" + "x" * 120)  # longer than the address of a socket may be
        self.home.mkdir(mode=0o700)
        (folder / "handler.py").write_text(HANDLER)
        self._handler = [sys.executable, str(folder / "handler.py"), str(folder), str(slow_s)]

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-I", "-S", spare.__file__, str(self.home), str(len(self._handler)), *self._handler, *arguments]

    def message(self, *arguments: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(self.command(*arguments), cwd=self.folder, env=self.environment, start_new_session=True)
        self._started.append(process)
        return process

    def handled(self) -> list[dict[str, object]]:
        file = self.folder / "handled"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def wait_for(self, count: int) -> list[dict[str, object]]:
        until(lambda: len(self.handled()) >= count)
        return self.handled()

    def wait_for_spare(self) -> None:
        until((self.home / "spare").exists)

    def end(self) -> None:
        for process in self._started:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def lives(pid: int) -> bool:
    """Whether there is such a process, other than one that has ended and nobody asked about."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path)
    yield node
    node.end()


def test_the_first_message_gets_a_process_of_its_own_and_the_next_one_is_waited_for(node: Node) -> None:
    first = node.message("--token", "a b", "", "ä\n")
    (one,) = node.wait_for(1)
    assert not one["ahead"]
    node.wait_for_spare()
    assert first.poll() is None  # stays as the parent of the spare, so that the spare finds its SuperNode
    asked = time.time()
    second = node.message("--token", "c d", "", "ö\n")
    other = node.wait_for(2)[1]
    assert other["ahead"]
    assert other["began"] < asked
    assert other["parent"] == first.pid
    assert other["cwd"] == one["cwd"] == str(node.folder)
    assert [one["arguments"], other["arguments"]] == [["--token", "a b", "", "ä\n"], ["--token", "c d", "", "ö\n"]]
    assert first.wait(_PATIENCE_S) == 0
    node.wait_for_spare()
    assert second.poll() is None
    assert len(node.handled()) == 2


def test_every_message_is_handled_once_whatever_number_comes_at_a_time(node: Node) -> None:
    node.message("0")
    node.wait_for_spare()
    for number in range(1, 5):
        node.message(str(number))
    handled = node.wait_for(5)
    assert sorted(entry["arguments"][0] for entry in handled) == ["0", "1", "2", "3", "4"]
    assert len({entry["pid"] for entry in handled}) == 5
    assert 1 <= sum(bool(entry["ahead"]) for entry in handled) <= 4


def test_a_spare_that_is_gone_is_not_waited_for(node: Node) -> None:
    node.message("0")
    node.wait_for_spare()
    (node.home / "spare").rename(node.home / "other")  # its address without anybody behind it, as after a kill
    (node.home / "spare").symlink_to("nowhere")
    node.message("1")
    assert not node.wait_for(2)[1]["ahead"]


def test_a_killed_spare_is_replaced(node: Node) -> None:
    first = node.message("0")
    node.wait_for_spare()
    (child,) = Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text().split()
    os.kill(int(child), signal.SIGKILL)
    assert first.wait(_PATIENCE_S) == -signal.SIGKILL % 256
    node.message("1")
    assert not node.wait_for(2)[1]["ahead"]
    node.wait_for_spare()
    node.message("2")
    assert node.wait_for(3)[2]["ahead"]


def test_a_spare_that_is_coming_is_waited_for(tmp_path: Path) -> None:
    node = Node(tmp_path, slow_s=2.0)
    try:
        node.message("0")
        node.wait_for(1)
        until((node.home / "spare-coming").exists)
        node.message("1")
        assert node.wait_for(2)[1]["ahead"]
    finally:
        node.end()


def test_the_exit_code_of_a_message_that_failed_is_passed_on_when_there_is_no_spare_to_stay_for(node: Node) -> None:
    node.home.rmdir()
    assert node.message("fail").wait(_PATIENCE_S) == 7


def test_the_spare_ends_with_its_node(node: Node) -> None:
    superexec = [sys.executable, "-c", "import subprocess, sys; subprocess.run(sys.argv[1:])"]
    between = subprocess.Popen([*superexec, *node.command("0")], cwd=node.folder, env=node.environment)
    try:
        node.wait_for_spare()
        (launcher,) = map(int, Path(f"/proc/{between.pid}/task/{between.pid}/children").read_text().split())
        (waiting,) = map(int, Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split())
        assert lives(waiting)
    finally:
        between.kill()  # as a SuperNode dies: nobody is told
        between.wait()
    until(lambda: not lives(launcher) and not lives(waiting))
