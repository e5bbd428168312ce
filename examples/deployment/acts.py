"""deployment: the acts of the play, each of which does something to the machines and notes what came of it."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from examples.deployment import scene
from examples.deployment.control import control_run
from examples.deployment.evidence import mean_of, opened, secrets_of
from examples.deployment.rows import Row
from stfed.errors import LocalError
from stfed.flower.processes import tail
from stfed.testing.deployment import Operator, SuperLink, SuperNode, wait_until
from stfed.testing.hold import HELD
from stfed.testing.ledger import Ledger
from stfed.testing.pki import Authority, node_key

_ROUND_TIMEOUT_S = 400.0


@dataclass
class Play:
    """The state between the acts.

    Args:
        stack: ends what was started.
        root: where the machines' folders are made.
        number: of wards.
        say: tells the audience.
        crash: nobody signs off a ward that is killed, as in real life: a step then ends when Flower notices that it is gone, in a minute
            or so, and no sooner is the ward let in again. Otherwise the play signs it off with its key, which saves these minutes.

    Attributes:
        rows: what was tried, and whether it held.
        killed: round, step and ward.
        earlier: rounds of the runs before this one.
    """

    stack: contextlib.ExitStack
    root: Path
    number: int
    say: Callable[[str], None]
    crash: bool = False
    rows: list[Row] = field(default_factory=list)
    killed: list[tuple[int, str, SuperNode]] = field(default_factory=list)
    earlier: int = 0

    def open(self) -> None:
        """Everybody starts: the SuperLink, the wards, and two who must not get in."""
        self.coordinator, self.folders, self.tls = scene.build(self.root, self.number)
        self.say(f"data, keys, roster, policies and certificates are in {self.root}")
        self.link = SuperLink(self.coordinator.folder, self.tls)
        self.stack.callback(self.link.end)
        self.link.start()
        self.ledger = Ledger(self.link.database)
        self.ledger.open()
        self.say("SuperLink: up, with TLS, SuperNode authentication and a database")
        self.wire = scene.taps(self.stack, self.root, self.coordinator, self.link.port, self.tls)
        self.operator = Operator(self.root / "operator", self.link.port, self.tls.authority)
        self.operator.folder.mkdir()
        scene.register(self.operator, self.folders)
        authority = self.tls.authority
        self.wards = [scene.supernode(folder, self.wire.port, authority, key=folder / "node.key") for folder in self.folders]
        for ward in self.wards:
            self.stack.callback(ward.kill)
            ward.start()
        self._strangers()
        self._wait_for_wards()
        self.say(f"{self.number} SuperNodes: online")
        self._start_run(2, "first-run")

    def secure_round(self, number: int, kills: Mapping[str, int], *, supervised: bool = False) -> None:
        """One round, in which the SuperNodes named by index are killed at a step.

        Args:
            number: of the round.
            kills: step -> ward. "unmask+prepare" is UNMASK with the next round's PREPARE riding on it.
            supervised: leave the last one to a supervisor that restarts it until the SuperLink takes it, as systemd does.
        """
        for step, index in kills.items():
            (self.folders[index] / "hold" / _message(step)).touch()
        self._let_go(number - 1)
        for step, index in kills.items():
            ward = self.wards[index]
            held = self.folders[index] / "hold" / (_message(step) + HELD)
            self._wait(held.exists, f"{ward.name} never came to {step}")
            ward.kill()
            self.say(f"round {number}: SIGKILL to {ward.name}, which had answered {step.upper()} and not sent it")
            held.unlink()
            self.killed.append((number, step, ward))
            if not self.crash and not (supervised and index == max(kills.values())):
                ward.say_goodbye()
                ward.start()
        self._wait((self.coordinator.gate / f"{number - self.earlier}.done").exists, f"round {number} did not end")
        event = self._events("round")[-1]
        self._note_kills(number, kills, event)
        if not supervised:
            for index in kills.values() if self.crash else ():
                self.say(f"{self.wards[index].name}: let in again at attempt {self._supervise(self.wards[index])}")
            self._wait_for_wards()

    def restart_superlink(self) -> None:
        """The SuperLink goes away and comes back, between two rounds of a run."""
        self.link.end()
        self.say("SuperLink: stopped, while the run waits for its next round")
        self.run.wait(_ROUND_TIMEOUT_S)
        self.link.start()
        self.say("SuperLink: back, with the same database; a supervisor restarts the ward that is still missing until it is let in")

    def control(self) -> None:
        """The same app without TLS: malicious mode refuses, and plain averaging gives the search something to find."""
        self.rows += control_run(self.root / "control", self.folders[:3], self.say)

    def new_run(self) -> None:
        """A run that goes on from the last sealed model, with everybody."""
        missing = [ward for _, _, ward in self.killed if not ward.running()]
        for ward in missing:
            self.say(f"{ward.name}: let in again at attempt {self._supervise(ward)}")
        self._wait_for_wards()
        self.earlier = len(self._events("round"))
        for file in self.coordinator.gate.iterdir():
            file.unlink()
        self._start_run(2, "new-run")

    def end_run(self) -> None:
        """After the last round; what became of those who were killed."""
        self._let_go(len(self._events("round")))
        self._wait(lambda: self.run.poll() is not None, "the new run did not end", during_run=False)
        events = self._events("round")[self.earlier :]
        self.say(f"the new run: {len(events)} rounds done, {[len(event['summed']) for event in events]} of {self.number} wards in the sums")
        self._note_returns()
        self._count_trips(int(self._events("start")[-1]["run"]))

    def check_models(self) -> None:
        """Every sealed model is the plain weighted mean of those that were summed, and the new run began with the old one's last."""
        rounds = self._events("round")
        runs = [run for start in self._events("start") for run in [start["run"]] * start["num_rounds"]]
        names = {ward.node_id: folder for ward, folder in zip(self.wards, self.folders, strict=True)}
        largest, model, same = 0.0, None, True
        for event, run in zip(rounds, runs, strict=True):
            summed = [names[node] for node in event["summed"]]
            before, mean = mean_of(summed, run, event["server_round"])
            same = same and (model is None or all((model[name] == value).all() for name, value in before.items()))
            model = opened(self.coordinator, run, event["server_round"])
            largest = max(largest, *(float(abs(model[name] - value).max()) for name, value in mean.items()))
        self.rows.append(
            Row("between rounds", "SuperLink restarted", "a new run went on from the last sealed model" if same else "model lost", same)
        )
        allowed = self.coordinator.precision
        self.rows.append(
            Row("at the end", f"{len(rounds)} sealed models, against plain means", f"off by {largest:.1e} at most", largest <= allowed)
        )

    def search(self) -> None:
        """Looks for the wards' secrets in all that others have got."""
        for ward in self.wards:
            ward.kill()
        self.link.end()
        secrets = secrets_of(self.folders)
        for where, folder in (("the wire", self.root / "wire"), ("the coordinator has", self.coordinator.folder)):
            found = secrets.found_below(folder)
            size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
            said = "; ".join(f"{label} in {path.name}" for path, labels in found.items() for label in sorted(map(str, labels))[:2])
            what = f"{len(secrets)} pieces of updates and metrics sought in what {where}, {size:.1f} MB"
            self.rows.append(Row("at the end", what, said or "none found", not found))

    # What the acts are made of

    def _strangers(self) -> None:
        """A SuperNode with an unregistered key, and one that is offered a certificate of another authority."""
        stranger, cautious = self.root / "stranger", self.root / "cautious"
        for folder in (stranger, cautious):
            folder.mkdir()
        node_key(stranger / "node.key")
        other = cautious / "other.crt"
        other.write_bytes(Authority.new("another authority").pem())
        key = self.folders[0] / "node.key"
        nodes = (
            (
                SuperNode("stranger", stranger, self.wire.port, self.tls.authority, stranger / "node.key", {}),
                "Failed to activate SuperNode",
            ),
            (SuperNode("cautious", cautious, self.wire.port, other, key, {}), "CERTIFICATE_VERIFY_FAILED"),
        )
        for node, _ in nodes:
            self.stack.callback(node.kill)
            node.start()
        for (node, wanted), what in zip(
            nodes, ("a SuperNode whose key nobody registered", "a SuperLink with a wrong certificate"), strict=True
        ):
            self._wait(lambda node=node: not node.running() or node.online(), f"{node.name} neither came in nor gave up", during_run=False)
            held = not node.online() and wanted in node.says()
            self.rows.append(Row("at the start", what, f"no connection: {wanted}" if held else "let in", held))
            self.say(f"{what}: {'no connection' if held else 'LET IN'}")

    def _start_run(self, rounds: int, name: str) -> None:
        self.run_name = name
        config = self.coordinator.run_config(rounds, gated=True)
        self.run: subprocess.Popen[bytes] = self.operator.run(scene.APP, config, self.run_name)
        self.stack.callback(self.run.kill)
        self.say(f"flwr run: {rounds} secure rounds in malicious mode")

    def _let_go(self, number: int) -> None:
        (self.coordinator.gate / f"{number - self.earlier}.go").touch()

    def _wait(self, condition: Callable[[], bool], otherwise: str, *, during_run: bool = True) -> None:
        def there() -> bool:
            if condition():
                return True
            if during_run and self.run.poll() is not None:
                raise LocalError(f"the run ended too early:\n{tail(self.operator.log(self.run_name), 30)}")
            return False

        wait_until(there, otherwise, self.link.log, timeout_s=_ROUND_TIMEOUT_S)

    def _wait_for_wards(self) -> None:
        for ward in self.wards:
            wait_until(ward.online, f"{ward.name} is not online", ward.log)

    def _supervise(self, ward: SuperNode) -> int:
        for attempt in range(1, 30):
            ward.start()
            wait_until(lambda: ward.online() or not ward.running(), f"{ward.name} hangs", ward.log)
            if ward.online():
                return attempt
        return 0

    def _events(self, kind: str) -> list[dict[str, Any]]:
        path = self.coordinator.out / "events.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [event for event in map(json.loads, lines) if event["event"] == kind]

    def _note_kills(self, number: int, kills: Mapping[str, int], event: Mapping[str, Any]) -> None:
        summed, failure = len(event["summed"]), event["failure"]
        for step, index in kills.items():
            ward = self.wards[index]
            # Whoever sent its masked vector is in the sum, whatever becomes of it afterwards.
            counted = ward.node_id in event["summed"]
            held = failure is None and counted == (_message(step) in ("confirm", "unmask"))
            text = str(failure) if failure else f"{summed} of {self.number} summed, {'with' if counted else 'without'} {ward.name}"
            self.rows.append(Row(f"round {number}", f"SIGKILL to {ward.name} in {step.upper()}", text, held))
        self.say(f"round {number}: {'done' if failure is None else 'FAILED'}, {summed} of {self.number} wards in the sum")

    def _count_trips(self, run: int) -> None:
        """What the wards got in the last round, counted by the SuperLink: PREPARE rode on the UNMASK before, and comes alone only to the
        one that was not heard.
        """
        trips = self.ledger.trips(run)
        last = max(index for index, trip in enumerate(trips) if trip.step.startswith("unmask"))
        before = max(index for index, trip in enumerate(trips[:last]) if trip.step.startswith("unmask"))
        again, *steady = trips[before + 1 : last + 1]
        steps = [trip.step.partition("-")[0] or "train" for trip in (again, *steady)]
        unheard = [ward.node_id for _, step, ward in self.killed if step != _message(step)]
        held = steps == ["prepare", "train", "confirm", "unmask"] and [str(passage.node) for passage in again.passages] == unheard
        held = held and all(len(trip.passages) == self.number - len(unheard) for trip in steady)
        first, *others = map(str.upper, steps)
        text = f"{len(steady)} a round: {', '.join(others)}; {first} to {len(again.passages)} of {self.number}"
        self.rows.append(Row("the new run", "messages to a ward, counted by the SuperLink", text, held))

    def _note_returns(self) -> None:
        """Who was killed is in the next round; only who had prepared it already is not, because its keys for it died with its SuperNode."""
        rounds = self._events("round")
        for number, step, ward in self.killed:
            if number == len(rounds):
                continue
            following, prepared = rounds[number], step != _message(step)
            reason = following["dropped"].get(ward.node_id, {}).get("detail", "")
            back, lost = ward.node_id in following["summed"], "StateLostError" in reason
            text = f"back in round {number + 1}" if back else f"out of round {number + 1}: {'its keys are gone' if lost else reason}"
            self.rows.append(Row(f"round {number}", f"{ward.name} restarted", text, lost if prepared else back))


def _message(step: str) -> str:
    """The step of the message that a kill waits for: without what rides on it."""
    return step.partition("+")[0]
