"""The parties: the real mod with files and a store of its own for each, behind Flower's node, in front of a ClientApp that trains.

A party is told apart by its place in the directory, which is how the protocol names it. The last `corrupt` of them are the coordinator's.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from flwr.app import Context, Message, MetricRecord, RecordDict
from flwr.app.message import make_message
from flwr.app.metadata import Metadata
from flwr.clientapp import ClientApp
from flwr.common.constant import SUPERLINK_NODE_ID
from flwr.supercore.task_identity import TaskIdentity

from stfed.flower import records
from stfed.flower.mod import SecAggMod
from stfed.flower.store import FILE_NAME, SqliteStore
from stfed.keys import Member, Role, Roster, SigningKey
from stfed.keys.keyfile import write_keypair
from stfed.secagg.client import ClientState, Prepared
from stfed.secagg.messages import DrawnPrepare, Kind, Prepare, peek
from stfed.secagg.params import Mode
from stfed.secagg.record import Record
from stfed.testing.node import SimulatedNode
from stfed.testing.parcel import pack, unpack
from stfed.testing.protocol import signing_key
from tests.attacks.secagg.training import Train, examples_of, rate_of, train

RUN = 0x9F1C_0A53_7E6B_D284


class Party:
    """One data owner.

    Attributes:
        number: which update is its own.
        index: its place in the directory, once it has joined.
        key: its long-term key.
    """

    def __init__(self, number: int, folder: Path, node_config: dict[str, Any], function: Train, run_config: dict[str, Any]) -> None:
        self.number, self.index, self.folder, self.key = number, -1, folder, signing_key(number)
        self._function, self.rate = function, 0.0
        self._raised: Exception | None = None
        context = Context(RUN, 1000 + number, {"stfed-state-dir": str(folder), **node_config}, RecordDict(), run_config)
        self.node = SimulatedNode(number, lambda: self._recorded, context)  # type: ignore[arg-type, return-value]

    def app(self) -> ClientApp:
        """As a fresh process would import it."""
        app = ClientApp(mods=[SecAggMod()])

        @app.train()
        def train_function(message: Message, context: Context) -> Message:
            self.rate = rate_of(message, context)  # for the test alone: what the truth is
            return Message(self._function(self.number, message, context), reply_to=message)

        @app.evaluate()
        def evaluate_function(message: Message, context: Context) -> Message:
            metrics = MetricRecord({"num-examples": examples_of(self.number), "accuracy": 0.5})
            return Message(RecordDict({"metrics": metrics}), reply_to=message)

        return app

    def ask(self, content: RecordDict, message_type: str = "train", *, run: int = RUN, group: str = "g", ttl: float = 3600.0) -> RecordDict:
        """One message through Flower's node. Raises what the party's app raised; over the wire that is an error reply."""
        self._raised = None
        message = self.message(content, message_type, run=run, group=group, ttl=ttl)
        reply = unpack(self.node.answer(pack(message)))
        if self._raised is not None:
            raise self._raised
        assert not reply.has_error(), reply.error
        return reply.content

    def message(
        self, content: RecordDict, message_type: str = "train", *, run: int = RUN, group: str = "g", ttl: float = 3600.0
    ) -> Message:
        """As a SuperLink delivers it."""
        metadata = Metadata(run, "", SUPERLINK_NODE_ID, self.node.node_id, "", group, 0.0, ttl, message_type)
        return make_message(metadata, content=content)

    def _recorded(self, message: Message, context: Context) -> Message:
        try:
            return self.app()(message, context)
        except Exception as error:
            self._raised = error
            raise

    # --- what its owner, a thief or a rollback can do -------------------------------------------------------------------------------------

    @property
    def database(self) -> Path:
        return self.folder / FILE_NAME

    def snapshot(self) -> tuple[Context, bytes]:
        """Its Context and its disk."""
        return self.node.context, self.database.read_bytes() if self.database.exists() else b""

    def restore(self, snapshot: tuple[Context, bytes]) -> None:
        self.node.context = snapshot[0]
        self.database.write_bytes(snapshot[1])

    def rows(self) -> list[tuple[Any, ...]]:
        """What the database says, without a key: any change of the party's state changes it."""
        if not self.database.exists():
            return []
        with closing(sqlite3.connect(self.database)) as connection:
            return [row for table in ("runs", "contents") for row in connection.execute(f"SELECT * FROM {table}")]

    def record(self) -> Record:
        """Its state, for whoever has both."""
        store = SqliteStore(self.database, self.node.node_id, self.node.context)
        with store.transaction(RUN) as transaction:
            data = transaction.read()
        assert data is not None
        return Record.decode(data)

    def state(self) -> ClientState:
        return self.record().state

    def joined(self) -> None:
        """Remembers this moment: a corrupt party answers every PREPARE as if it were the first."""
        self._fresh = self.snapshot()

    def deal(self, request: bytes) -> tuple[Prepared, Prepare]:
        """A corrupt party's PREPARE, and what is in its memory then."""
        self.restore(self._fresh)
        data = records.message_of(self.ask(records.light(request)))
        reply = (DrawnPrepare if peek(data)[0] is Kind.DRAWN_PREPARE else Prepare).decode(data)
        state = self.state()
        assert isinstance(state, Prepared)
        return state, reply


@dataclass(frozen=True)
class Setting:
    """Who is there.

    Attributes:
        n: parties with a node.
        corrupt: how many of them the coordinator controls.
        mode: of policy and run.
        members: parties on the roster; those with a node if not given.
        policy: further lines of everybody's policy file.
    """

    n: int = 6
    corrupt: int = 1
    mode: Mode = Mode.MALICIOUS
    members: int | None = None
    policy: str = ""

    def but(self, **changes: Any) -> Setting:
        return replace(self, **changes)


class World:
    """n parties with their files.

    Args:
        folder: empty.
        setting: who is there.
        function: their train function.
        run_config: by number.
    """

    def __init__(self, folder: Path, setting: Setting, *, function: Train = train, run_config: Callable[[int], Any] = lambda _: {}) -> None:
        self.folder, self.setting, self.mode = folder, setting, setting.mode
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = RUN, SUPERLINK_NODE_ID, 1
        folder.chmod(0o700)
        self.roster = roster_of(setting.members or setting.n)
        (folder / "roster.toml").write_bytes(_toml_of(self.roster))
        (folder / "policy.toml").write_text(f"mode = {json.dumps(setting.mode.value)}\n{setting.policy}")
        self.everybody = [self._party(number, function, run_config(number)) for number in range(setting.n)]
        self.parties: list[Any] = list(self.everybody)
        self.corrupt = tuple(range(setting.n - setting.corrupt, setting.n))

    def _party(self, number: int, function: Train, run_config: dict[str, Any]) -> Party:
        folder = self.folder / f"party-{number}"
        folder.mkdir(mode=0o700)
        config: dict[str, Any] = {"stfed-policy": str(self.folder / "policy.toml")}
        if self.mode is Mode.MALICIOUS:
            config |= {"stfed-identity": str(folder / "key"), "stfed-roster": str(self.folder / "roster.toml")}
            write_keypair(folder / "key", signing=signing_key(number))
        return Party(number, folder, config, function, run_config)

    @property
    def honest(self) -> tuple[int, ...]:
        """By place in the directory."""
        return tuple(index for index in self.all if index not in self.corrupt)

    @property
    def all(self) -> tuple[int, ...]:
        return tuple(range(len(self.parties)))

    def write_roster(self, roster: Roster) -> None:
        """Another roster for all parties, from their next message on."""
        self.roster = roster
        (self.folder / "roster.toml").write_bytes(_toml_of(roster))


@lru_cache(maxsize=8)
def roster_of(members: int) -> Roster:
    """Members 0.. by their keys."""
    return Roster("attacked", tuple(member_of(number) for number in range(members)))


def member_of(number: int, key: SigningKey | None = None, **more: Any) -> Member:
    return Member(f"party {number}", **{"roles": frozenset({Role.PARTY}), "signing": (key or signing_key(number)).public, **more})


@lru_cache(maxsize=8)
def _toml_of(roster: Roster) -> bytes:
    return roster.to_toml()
