"""One round of the secure aggregation that ships with Flower, in one process: its own workflow and its own mod, neither of them modified.

A grid in memory hands every message of the workflow to the mod and its reply back. What the clock shows between two calls of the grid is
the coordinator's work, what it shows inside the mod is the parties'. The fit function under the mod returns arrays that are ready, and
its time is taken off; so training, the network and Flower's transport are left out, as they are in `benchmarks.round`.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

import numpy as np
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.client.mod import secaggplus_mod
from flwr.client.mod.utils import make_ffn
from flwr.common import Code, FitRes, Status, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS, Key, Stage
from flwr.compat.common import recorddict_compat as compat
from flwr.server import LegacyContext, ServerConfig, SimpleClientManager
from flwr.server.compat.grid_client_proxy import GridClientProxy
from flwr.server.strategy import FedAvg
from flwr.server.workflow import SecAggPlusWorkflow
from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD
from flwr.server.workflow.constant import Key as WorkflowKey
from flwr.serverapp.grid import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from benchmarks.progress import progress
from stfed.bench.stopwatch import COORDINATOR, PARTIES, Spent, Stopwatch
from stfed.bench.workload import CLIP, MAX_WEIGHT, NAME, Workload

_RUN_ID = 1
_FIRST_NODE = 1000
_QUANTIZATION = 1 << 22  # the workflow's default


@dataclass(frozen=True)
class Result:
    """What one round took, and how far its mean is from the true one.

    Attributes:
        error: largest absolute error of a coordinate; infinite if the workflow gave up.
        error_bound: what its quantisation allows: one step for each party summed.
    """

    times: Stopwatch
    error: float
    error_bound: float

    @property
    def exact(self) -> bool:
        """Whether the mean is right up to the quantisation."""
        return self.error <= self.error_bound

    def as_json(self) -> dict[str, Any]:
        """The measurements, for `json.dump`."""
        return {"max_error": self.error, "error_bound": self.error_bound, "steps": self.times.as_json()}


def run_round(workload: Workload, *, shares: int, threshold: int) -> Result:
    """One round, with the workload's drops in the stage that collects the masked vectors.

    Args:
        workload: what is summed.
        shares: into how many a key is split, the party's own one among them; as many as parties for the complete graph, else an odd number.
        threshold: how many of them reconstruct it.
    """
    logging.getLogger("flwr").setLevel(logging.ERROR)
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = _RUN_ID, 1, 1
    times = Stopwatch()
    grid = _Grid(workload, times)
    received = ndarrays_to_parameters([workload.received[NAME]])
    strategy = FedAvg(
        fraction_fit=1.0,
        fraction_evaluate=0.0,
        min_fit_clients=workload.parties,
        min_available_clients=workload.parties,
        initial_parameters=received,
    )
    manager = SimpleClientManager()
    for node in grid.get_node_ids():
        manager.register(GridClientProxy(node, grid, _RUN_ID))
    context = LegacyContext(_context(0), ServerConfig(num_rounds=1), strategy, manager)
    context.state.config_records[MAIN_CONFIGS_RECORD] = ConfigRecord({WorkflowKey.CURRENT_ROUND: 1, WorkflowKey.START_TIME: 0.0})
    context.state.array_records[MAIN_PARAMS_RECORD] = compat.parameters_to_arrayrecord(received, True)
    workflow = SecAggPlusWorkflow(
        num_shares=shares if shares < workload.parties else 1.0,  # its clients cannot work with an even number, 1.0 apart
        reconstruction_threshold=threshold if shares < workload.parties else threshold / workload.parties,
        max_weight=MAX_WEIGHT,
        clipping_range=CLIP,
        quantization_range=_QUANTIZATION,
    )
    grid.start()
    workflow(grid, context)
    grid.stop()
    record = context.state.array_records[MAIN_PARAMS_RECORD]
    (mean,) = parameters_to_ndarrays(compat.arrayrecord_to_parameters(record, True))
    # A workflow that gives up leaves the model as it was.
    finished = not np.array_equal(mean, workload.received[NAME])
    bound = 2 * CLIP / _QUANTIZATION * MAX_WEIGHT / workload.mean_weight
    return Result(times, workload.error(mean) if finished else math.inf, bound)


class _Grid(Grid):
    """Answers for all parties, one after the other, and keeps the coordinator's time apart from theirs."""

    def __init__(self, workload: Workload, times: Stopwatch) -> None:
        self._workload, self._times = workload, times
        self._contexts = {_FIRST_NODE + party: _context(_FIRST_NODE + party) for party in range(workload.parties)}
        self._fit = Spent()
        self._left = (0.0, 0.0)

    def start(self) -> None:
        """The coordinator begins to work."""
        self._left = _now()

    def stop(self, step: str = "after unmask") -> None:
        """The coordinator has worked since it was last left."""
        self._times.add(COORDINATOR, step, _since(self._left))

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """Every party's reply, but those of the parties that have dropped."""
        messages = list(messages)
        stage = str(messages[0].content.config_records[RECORD_KEY_CONFIGS][Key.STAGE])
        self.stop(f"before {stage}")
        last = ", then the coordinator, which takes longest" if stage == Stage.UNMASK else ""
        progress(f"flower: {stage}, {len(messages)} parties{last}")
        gone = self._workload.dropped if stage in (Stage.COLLECT_MASKED_VECTORS, Stage.UNMASK) else frozenset()
        replies = [self._reply(message, stage) for message in messages if message.metadata.dst_node_id - _FIRST_NODE not in gone]
        self.start()
        return replies

    def _reply(self, sent: Message, stage: str) -> Message:
        # The mod takes fields out of its config record, which would be a copy of its own behind a transport.
        content = RecordDict(dict(sent.content.items()))
        content.config_records[RECORD_KEY_CONFIGS] = ConfigRecord(dict(sent.content.config_records[RECORD_KEY_CONFIGS]))
        node = sent.metadata.dst_node_id
        message = Message(content, dst_node_id=node, message_type=sent.metadata.message_type, group_id=sent.metadata.group_id)
        message.metadata.__dict__["_message_id"] = f"{stage}-{node}"  # what a reply refers to; a transport gives it
        handle = make_ffn(partial(self._train, node - _FIRST_NODE), [secaggplus_mod])
        self._fit = Spent()
        left = _now()
        reply = handle(message, self._contexts[node])
        spent = _since(left)
        self._times.add(PARTIES, stage, Spent(spent.wall_s - self._fit.wall_s, spent.process_s - self._fit.process_s, 1))
        return reply

    def _train(self, party: int, message: Message, context: Context) -> Message:
        left = _now()
        parameters = ndarrays_to_parameters([self._workload.trained(party)[NAME]])
        result = FitRes(Status(Code.OK, ""), parameters, self._workload.weight(party), {})
        reply = Message(compat.fitres_to_recorddict(result, True), reply_to=message)
        self._fit = _since(left)
        return reply

    def get_node_ids(self) -> list[int]:
        """All parties."""
        return list(self._contexts)

    def set_run(self, run: Run) -> NoReturn:
        """Not used by the workflow, like everything below."""
        raise NotImplementedError

    @property
    def run(self) -> NoReturn:
        raise NotImplementedError

    def create_message(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError

    def push_messages(self, messages: Iterable[Message]) -> NoReturn:
        raise NotImplementedError

    def pull_messages(self, message_ids: Iterable[str]) -> NoReturn:
        raise NotImplementedError


def _context(node: int) -> Context:
    return Context(run_id=_RUN_ID, node_id=node, node_config={}, state=RecordDict(), run_config={})


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _since(then: tuple[float, float]) -> Spent:
    wall_s, process_s = _now()
    return Spent(wall_s - then[0], process_s - then[1], 1)
