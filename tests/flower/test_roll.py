"""Epochs, round numbers and survivor sets: who has to join when, and what a coordinator that restarts may still use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flwr.app import RecordDict

from stfed.errors import LocalError, QuorumError
from stfed.flower import SecureGrid
from stfed.flower.courier import Courier, Made, SimulatedTime
from stfed.flower.events import EventLog, RoundReport
from stfed.flower.journal import Journal
from stfed.flower.records import describe
from stfed.flower.roll import Roll
from stfed.flower.settings import Settings
from stfed.secagg.server import Drop, DropReason
from stfed.testing import InMemoryGrid
from stfed.testing.parcel import set_message_id
from tests.flower import apps

N = 5
GONE = Drop("prepare", DropReason.NO_REPLY)


def roll_of(grid: InMemoryGrid, journal: Journal | None = None, listener: Any = None) -> Roll:
    return Roll(grid, Courier(grid), journal or Journal(), Settings(light_timeout_s=10.0), EventLog(listener=listener))


def ids(grid: InMemoryGrid, *indices: int) -> list[int]:
    return [grid.node(index).node_id for index in indices]


def enrol(roll: Roll, nodes: list[int]) -> tuple[Any, RoundReport, dict[int, Any]]:
    report, errors = RoundReport("train", tuple(nodes)), {}
    return roll.enrol(nodes, report, errors), report, errors


def test_everybody_connected_joins_at_the_first_round_even_if_not_sampled() -> None:
    grid = apps.secure_grid(N)
    roll = roll_of(grid)
    enrolment, report, _ = enrol(roll, ids(grid, 1, 3, 4))
    assert set(enrolment.nodes) == set(grid.get_node_ids())
    identities = [enrolment.directory.join(index).identity for index in range(N)]
    assert identities == sorted(identities), "the directory's order is that of the identities"
    assert all(roll.present(node) for node in grid.get_node_ids())
    assert report.bytes_up["join"] == sum(len(entry) for entry in enrolment.directory.encoded)


def test_who_has_joined_does_not_join_again() -> None:
    grid = apps.secure_grid(N)
    roll = roll_of(grid)
    first, _, _ = enrol(roll, ids(grid, 0, 1, 2))
    second, report, _ = enrol(roll, ids(grid, 2, 3, 4))
    assert second is first
    assert report.bytes_up == {}


def test_the_directory_goes_with_the_first_prepare_of_an_epoch_only() -> None:
    grid = apps.secure_grid(N)
    roll = roll_of(grid)
    enrolment, _, _ = enrol(roll, ids(grid, 0, 1, 2))
    first, second = ids(grid, 0, 1)
    assert roll.directory_for(first) == enrolment.directory.encoded
    roll.directory_arrived(first)
    assert roll.directory_for(first) == ()
    assert roll.directory_for(second) == enrolment.directory.encoded
    roll.mark_absent(second, GONE)
    enrolment, _, _ = enrol(roll, ids(grid, 0, 1, 2))
    assert roll.directory_for(first) == enrolment.directory.encoded


def test_prepares_on_the_wire_carry_the_directory_once() -> None:
    grid = apps.secure_grid(N)
    apps.secure(prepare_ahead=False).start(grid, apps.model(), 3)
    sizes = [record.size_bytes for record in grid.dump if (record.step, record.direction) == ("prepare", "down")]
    directory = N * 88
    assert min(sizes[:N]) > max(sizes[N:]) + directory - 20
    assert max(sizes[N:]) - min(sizes[N:]) < 10, "all alike, but for the digits in Flower's own metadata"


def test_a_node_that_does_not_answer_is_tried_again_after_1_3_7_rounds() -> None:
    grid = apps.secure_grid(N, {"action": "drop-request", "node": 4, "step": "join"})
    roll = roll_of(grid)
    epochs = []
    for _ in range(16):
        enrolment, _, _ = enrol(roll, ids(grid, 0, 1, 4))
        epochs.append(enrolment.directory.header.epoch)
    assert epochs == [1] + [2] * 2 + [3] * 4 + [4] * 8 + [5]
    assert not roll.present(grid.node(4).node_id)


def test_a_node_that_prepares_again_starts_with_a_clean_slate() -> None:
    grid = apps.secure_grid(N)
    roll = roll_of(grid)
    (node,) = ids(grid, 2)
    epochs = []
    for _ in range(4):
        enrolment, _, _ = enrol(roll, ids(grid, 0, 1, 2))
        epochs.append(enrolment.directory.header.epoch)
        roll.mark_well(node)
        roll.mark_absent(node, GONE)
    assert epochs == [1, 2, 3, 4]


def test_a_node_that_joins_and_never_prepares_is_backed_off_from() -> None:
    """It would otherwise make everybody join again in each round."""
    grid = apps.secure_grid(N)
    roll = roll_of(grid)
    (node,), epochs = ids(grid, 2), []
    for _ in range(8):
        enrolment, _, _ = enrol(roll, ids(grid, 0, 1, 2))
        epochs.append(enrolment.directory.header.epoch)
        if roll.present(node):
            roll.mark_absent(node, GONE)
    assert epochs == [1, 2, 2, 3, 3, 3, 3, 4]


def test_why_a_node_is_absent() -> None:
    faults = [
        {"action": "error", "node": 0, "step": "join", "reason": "out of memory"},
        {"action": "drop-reply", "node": 1, "step": "join"},
        {"action": "tamper", "node": 2, "step": "join"},
    ]
    grid = apps.secure_grid(N, *faults)
    roll = roll_of(grid)
    _, _, errors = enrol(roll, ids(grid, 0, 1, 2, 3))
    why = [roll.why_absent(node) for node in ids(grid, 0, 1, 2)]
    assert [(drop.step, drop.reason) for drop in why] == [
        ("join", DropReason.ERROR_REPLY),
        ("join", DropReason.NO_REPLY),
        ("join", DropReason.MALFORMED),
    ]
    assert "out of memory" in why[0].detail
    assert set(errors) == set(ids(grid, 0))
    assert roll.why_absent(4711) == Drop("join", DropReason.NO_REPLY)


def test_error_replies_of_nodes_that_were_not_sampled_are_not_the_rounds() -> None:
    grid = apps.secure_grid(N, {"action": "error", "node": 0, "step": "join"})
    _, _, errors = enrol(roll_of(grid), ids(grid, 1, 2, 3))
    assert errors == {}


def test_an_epoch_is_an_event() -> None:
    events: list[dict[str, Any]] = []
    grid = apps.secure_grid(N, {"action": "error", "node": 0, "step": "join", "reason": "no"})
    enrol(roll_of(grid, listener=events.append), ids(grid, 0, 1, 2))
    *steps, epoch = events
    assert {event["event"] for event in steps} == {"step"}
    assert epoch["event"] == "epoch"
    assert (epoch["epoch"], epoch["asked"], epoch["joined"]) == (1, N, N - 1)
    assert list(epoch["refused"]) == [str(grid.node(0).node_id)]


def test_a_silent_federation_costs_one_timeout() -> None:
    grid = apps.secure_grid(N, {"action": "delay", "delay_s": 1e6})
    with pytest.raises(QuorumError, match=r"no party joined the run: nobody answered \(are nodes connected"):
        enrol(roll_of(grid), ids(grid, 0, 1, 2))
    assert grid.clock() == pytest.approx(10.0)


# The journal


def test_numbers_are_handed_out_once_and_by_run(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "a" / "journal.sqlite")
    assert journal.position(1) == (0, 0)
    assert [journal.next_round(1), journal.next_round(1), journal.next_epoch(1)] == [1, 2, 1]
    big = (1 << 64) - 1
    assert [journal.next_epoch(big), journal.next_epoch(big)] == [1, 2]
    again = Journal(tmp_path / "a" / "journal.sqlite")
    assert again.position(1) == (1, 2)
    assert again.position(big) == (2, 0)
    assert [again.next_round(1), journal.next_round(1)] == [3, 4]


def test_survivors_are_frozen_once(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    Journal(path).freeze(1, 5, (3, 4))
    with pytest.raises(LocalError, match="survivors of round 5 were frozen before; the round is aborted"):
        Journal(path).freeze(1, 5, (3,))
    Journal(path).freeze(2, 5, (3,))


def test_a_journal_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 5000)
    for path in (tmp_path / "file", tmp_path / "file" / "journal.sqlite", tmp_path):
        with pytest.raises(LocalError, match=r"journal .* cannot be opened"):
            Journal(path)


def test_the_survivors_are_in_the_journal_before_the_first_unmask_leaves() -> None:
    journal, frozen = Journal(), []

    class Looking(InMemoryGrid):
        def push_messages(self, messages: Any) -> list[str]:
            messages = list(messages)
            if messages[0].metadata.group_id.startswith("unmask"):
                with pytest.raises(LocalError, match="frozen before"):
                    journal.freeze(self.run.run_id, 1, ())
                frozen.append(len(messages))
            return super().push_messages(messages)

    grid = Looking(apps.client_app(apps.secure_mod()), N)
    SecureGrid(grid, Settings(**apps.TIGHT), journal=journal).send_and_receive(apps.messages(grid))
    assert frozen == [N]


def test_a_coordinator_that_restarts_goes_on_with_new_numbers(tmp_path: Path) -> None:
    """It dies in the middle of UNMASK; a new one with the same journal starts a new epoch and never asks about the old round."""
    path = tmp_path / "journal.sqlite"

    class Dying(InMemoryGrid):
        dies = True

        def push_messages(self, messages: Any) -> list[str]:
            messages = list(messages)
            if self.dies and messages[0].metadata.group_id == "unmask-2":
                raise KeyboardInterrupt
            return super().push_messages(messages)

    grid = Dying(apps.client_app(apps.secure_mod()), N, describe=describe)
    strategy = apps.secure(journal=path)
    with pytest.raises(KeyboardInterrupt):
        strategy.start(grid, apps.model(), 3)
    grid.dies = False
    restarted = apps.secure(journal=path)
    recorder = apps.Recorder()
    restarted.start(grid, apps.model(seed=1), 2, evaluate_fn=recorder)
    assert [(report.epoch, report.round) for report in restarted.reports] == [(2, 4), (2, 5)]  # 3 was to ride on the UNMASK that never left
    assert apps.distance(recorder.models[1], apps.mean_of(range(N), apps.model(seed=1), 1)) < 1e-6
    asked = [record.round for record in grid.dump if (record.step, record.direction) == ("unmask", "down")]
    assert asked == [1] * N + [4] * N + [5] * N


# The courier


def test_only_a_simulated_grid_has_simulated_time() -> None:
    grid = apps.plain_grid(2)
    assert isinstance(grid, SimulatedTime)
    secure = SecureGrid(grid)
    assert not isinstance(secure, SimulatedTime)
    assert Courier(grid).now() == grid.clock()
    assert Courier(secure).now() > 0


def test_messages_that_nobody_takes() -> None:
    class Full(InMemoryGrid):
        def push_messages(self, messages: Any) -> list[str]:
            return ["" for _ in messages]

    grid = Full(apps.client_app(apps.secure_mod()), N)
    with pytest.raises(LocalError, match="accepted none of the messages"):
        SecureGrid(grid, Settings(**apps.TIGHT)).send_and_receive(apps.messages(grid))


def test_real_time_is_waited_for_with_a_deadline() -> None:
    """A grid without a clock, as Flower's own: the poll sleeps, and ends with its deadline."""

    class Real:
        """Hands on to the grid in memory and hides its clock."""

        def __init__(self, grid: InMemoryGrid) -> None:
            self._grid = grid

        def push_messages(self, messages: Any) -> list[str]:
            return self._grid.push_messages(messages)

        def pull_messages(self, message_ids: Any) -> list[Any]:
            return self._grid.pull_messages(message_ids)

    grid = apps.plain_grid(3, {"action": "drop-reply", "node": 1})
    answered: list[int] = []
    courier = Courier(Real(grid))
    contents = {message.metadata.dst_node_id: message.content for message in apps.messages(grid)}
    before = courier.now()
    courier.exchange(contents, "train", "g", timeout_s=0.3, on_reply=lambda node, _: answered.append(node))
    assert 0.3 <= courier.now() - before < 3.0
    assert apps.parties(grid, answered) == [0, 2]
    before = courier.now()
    courier.exchange(contents, "train", "h", timeout_s=30.0, on_reply=lambda node, _: None, complete=lambda: True)
    assert courier.now() - before < 3.0


def test_requests_are_made_a_batch_at_a_time_and_a_refused_one_moves_nobody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flower's in-memory grid leaves out the ids of what it refused: every reply must still be the one of the node that sent it."""
    monkeypatch.setattr("stfed.flower.courier._PUSH_AT_ONCE", 3)
    made: list[int] = []
    batches: list[int] = []

    class Leaving(InMemoryGrid):
        def push_messages(self, messages: Any) -> list[str]:
            batches.append(len(made))
            ids = []
            for message in messages:
                if message.metadata.dst_node_id != nodes[1]:
                    ids += super().push_messages([message])
                    set_message_id(message, ids[-1])
            return ids

    grid = Leaving(apps.client_app(), 7)
    by_node = {message.metadata.dst_node_id: message.content for message in apps.messages(grid)}
    nodes = list(by_node)

    def make(node: int) -> RecordDict:
        made.append(node)
        return by_node[node]

    answered: dict[int, int] = {}
    Courier(grid).exchange(
        Made(nodes, make), "train", "g", timeout_s=5.0, on_reply=lambda node, reply: answered.update({node: reply.metadata.src_node_id})
    )
    assert made == nodes
    assert batches == [3, 6, 7]
    assert answered == {node: node for node in nodes if node != nodes[1]}
