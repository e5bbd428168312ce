"""Real processes: appending at once, dying in the middle, forking."""

import os
import signal
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest

import stfed
from stfed.audit import AuditLog
from stfed.errors import LocalError

from .material import event, filled

WRITER = """
import sys
from stfed.audit import AuditLog, Event, Kind
with AuditLog(sys.argv[1]) as log:
    for number in range(int(sys.argv[2])):
        print(log.append(Event(Kind.OPEN, {"actor": sys.argv[3], "round": number})), flush=True)
"""

DIES_BETWEEN_ROWS = """
import os, signal, sys
from stfed.audit import AuditLog
log = AuditLog(sys.argv[1])
log._database._connection.execute("PRAGMA cache_size=1")  # so that half a transaction reaches the file, as a long one's would
with log._database.writing() as connection:
    for number in range(200):
        connection.execute("INSERT INTO entries VALUES (?, ?)", (5 + number, bytes(900)))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def start(script: str, *arguments: str | Path) -> subprocess.Popen[str]:
    root = Path(stfed.__file__).parents[1]
    return subprocess.Popen([sys.executable, "-c", script, *map(str, arguments)], stdout=subprocess.PIPE, text=True, cwd=root)


def test_processes_append_at_once(tmp_path: Path) -> None:
    """To a file that none of them finds: one of them makes it."""
    writers = [start(WRITER, tmp_path / "log", "30", f"process-{number}") for number in range(3)]
    indexes = [[int(line) for line in writer.communicate(timeout=120)[0].split()] for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert sorted(chain(*indexes)) == list(range(90))
    with AuditLog(tmp_path / "log", create=False) as log:
        assert log.verify().size == 90
        for number, own in enumerate(indexes):
            assert own == sorted(own) == [entry.index for entry in log.search(actor=f"process-{number}")]
            assert [log.entry(index).event.fields["round"] for index in own] == list(range(30))


def test_a_killed_writer_loses_nothing_that_it_was_told_is_there(tmp_path: Path) -> None:
    confirmed = 0
    for attempt in range(4):
        writer = start(WRITER, tmp_path / "log", "100000", f"process-{attempt}")
        assert writer.stdout is not None
        for _ in range(7 + 5 * attempt):
            confirmed = int(writer.stdout.readline()) + 1
        writer.kill()
        rest = writer.stdout.read().split("\n")
        confirmed = max([confirmed, *(int(line) + 1 for line in rest[:-1])])
        assert writer.wait() == -signal.SIGKILL
        with AuditLog(tmp_path / "log") as log:
            report = log.verify()
            assert confirmed <= report.size <= confirmed + 1  # one may have been on the disk without its writer knowing yet
            assert log.append(event()) == report.size


def test_a_writer_killed_with_half_its_rows_in_the_file(tmp_path: Path) -> None:
    with filled(tmp_path / "log", 5) as log:
        before = log.root()
    writer = start(DIES_BETWEEN_ROWS, tmp_path / "log")
    assert writer.wait(timeout=60) == -signal.SIGKILL
    assert (tmp_path / "log-journal").stat().st_size > 0, "nothing was left half done: this test tests nothing"
    left = [(tmp_path / name).read_bytes() for name in ("log", "log-journal")]
    with pytest.raises(LocalError, match="was killed before it was done") as caught:
        AuditLog(tmp_path / "log", read_only=True)
    assert "the next append by its owner" in str(caught.value.hint)
    assert [(tmp_path / name).read_bytes() for name in ("log", "log-journal")] == left, "who only reads changed the evidence"
    with AuditLog(tmp_path / "log") as log:
        assert log.root() == before
        assert log.verify().size == 5
        assert log.append(event()) == 5
    with AuditLog(tmp_path / "log", read_only=True) as log:
        assert log.verify().size == 6


def test_a_child_does_not_use_its_parents_log(tmp_path: Path) -> None:
    with filled(tmp_path / "log", 2) as log:
        child = os.fork()
        if not child:
            try:
                log.append(event())
            except LocalError as error:
                log.close()
                with AuditLog(tmp_path / "log") as own:
                    own.append(event())
                os._exit(0 if "another process" in str(error) else 2)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert log.append(event()) == 3
        assert log.verify().size == 4
