"""lora: the app on Flower's simulation runtime, and what its event log says."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from examples.lora.fieldnotes.text import FIELDS
from stfed.errors import StfedError
from stfed.flower.runtime import RunConfigValue, SimulationRuntime, tail
from stfed.keys import generate_keypair, write_keypair
from stfed.report.eventlog import read

APP = Path(__file__).parent
_POLL_S = 0.2


class Run(NamedTuple):
    """What came out.

    Attributes:
        bits: on the laboratories' own held-out documents after each round: secure means, by number of characters.
        uploaded_bytes: what a laboratory sent in a round of training, in the mean.
        adapter: the sealed file of the last round.
    """

    bits: list[float]
    uploaded_bytes: float
    adapter: Path


def run(folder: Path, base: Path, config: Mapping[str, RunConfigValue]) -> Run:
    """Runs the app, every round's adapter sealed for `folder/key`.

    Raises:
        StfedError: it did not get to its end.
    """
    write_keypair(folder / "key", generate_keypair()[0])
    config = {**config, "base": str(base.resolve()), "run-dir": str(folder.resolve()), "recipient": str((folder / "key.pub").resolve())}
    with SimulationRuntime(folder) as runtime:
        runtime.start_run(APP, config, len(FIELDS))
        while not runtime.finished():
            time.sleep(_POLL_S)
        events = read(folder / "events.jsonl") if (folder / "events.jsonl").exists() else []
        if not events or events[-1]["event"] != "end" or events[-1]["failure"]:
            raise StfedError(f"the run did not get to its end:\n{tail(runtime.run_log)}")
    rounds = [event for event in events if event["event"] == "round"]
    uploads = [sum(event["bytes_up"].values()) / len(event["asked"]) for event in rounds if event["phase"] == "train"]
    bits = [event["metrics"]["bits_per_byte"] for event in rounds if event["phase"] == "evaluate"]
    return Run(bits, sum(uploads) / len(uploads), sorted((folder / "adapters").iterdir())[-1])
