"""attack: the same attack on plain and on secure rounds, with a picture of what came out.

python -m examples.attack [FOLDER]
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import numpy as np
from flwr.app import Message
from flwr.serverapp.strategy import FedAvg
from numpy.typing import NDArray

from examples.attack.clinic import CLINICS, PIXELS, app, image, model, record
from stfed.flower import SecAggMod, SecureAggregation, records
from stfed.testing import InMemoryGrid

Pixels = NDArray[np.float64]

_ANSWERED = "the clinic answers"
_CHANCE = 0.6
"""Five correlations of 64 random numbers with an image are all below this, but for a chance of 10^-6."""


class Curious(InMemoryGrid):
    """A coordinator that keeps what it is sent, by clinic, and every request that it made."""

    def __init__(self, state: Path | None = None) -> None:
        mods = [] if state is None else [SecAggMod(state_dir=state)]
        self.replies: list[dict[int, Message]] = []
        self.requests: list[Message] = []
        super().__init__(app(*mods), CLINICS, describe=records.describe)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Notes the requests."""
        messages = list(messages)
        self.requests += messages
        return super().push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Notes the replies that hold arrays: updates, in clear or masked."""
        replies = super().pull_messages(message_ids)
        found = {self.index(reply.metadata.src_node_id): reply for reply in replies if reply.has_content() and reply.content.array_records}
        if found:
            self.replies.append(found)
        return replies


def from_plain(reply: Message) -> Pixels:
    """The clinic's image, from its update: the change of a row of weights over the change of its bias."""
    before, after = model(), {name: array.numpy() for name, array in reply.content.array_records["arrays"].items()}
    change = after["bias"] - before["bias"]
    row = int(np.argmax(np.abs(change)))
    return (after["weights"][row] - before["weights"][row]) / change[row]


def from_masked(reply: Message) -> Pixels:
    """The same arithmetic on what a clinic sent in a secure round: 32-bit words, read as fixed-point numbers around zero."""
    words = np.frombuffer(records.unmasked(reply.content)[1], "<u4").astype(np.int32).astype(np.float64)
    row = words[:PIXELS] / np.abs(words[:PIXELS]).max()
    return (row + 1) / 2


def lies(grid: Curious) -> list[tuple[str, str]]:
    """What a coordinator tries that does not follow the protocol, and what a clinic answers."""
    train = [message for message in grid.requests if (records.describe(message) or ("", 0))[0] == "train"]
    plain = train[0].content.copy()
    del plain[records.RECORD]
    tried = {"asks for a second answer of the same round": train[0].content, "asks for the update in clear": plain}
    answers = []
    for what, content in tried.items():
        node = train[0].metadata.dst_node_id
        (reply,) = grid.send_and_receive([Message(content, dst_node_id=node, message_type="train")])
        answers.append((what, reply.error.reason if reply.has_error() else _ANSWERED))
    return answers


def closeness(found: Pixels, clinic: int) -> float:
    """Correlation of what was recovered with the clinic's image: 1 is the image, 0 is chance."""
    return float(np.corrcoef(found, image(clinic)[0])[0, 1])


def draw(plain: dict[int, Pixels], masked: dict[int, Pixels], mean: Pixels, folder: Path) -> Path:
    """A row of images for each clinic's own, what plain averaging gave away, and what a secure round did; and what all of them gave."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.5, 5), layout="constrained")
    axes = figure.subplots(3, CLINICS + 1)
    rows = (
        ("what the clinics have", {clinic: image(clinic)[0] for clinic in range(CLINICS)}),
        ("recovered from\nplain updates", plain),
        ("recovered from\nsecure ones", masked),
    )
    for line, (title, pictures) in zip(axes, rows, strict=True):
        for clinic, place in enumerate(line[:CLINICS]):
            place.imshow(pictures[clinic].reshape(8, 8), cmap="gray_r")
            place.set(xticks=[], yticks=[])
        line[0].set_ylabel(title)
        line[CLINICS].axis("off")
    for clinic in range(CLINICS):
        axes[0, clinic].set_title(f"clinic {clinic + 1}", fontsize=9)
    axes[2, CLINICS].axis("on")
    axes[2, CLINICS].imshow(mean.reshape(8, 8), cmap="gray_r")
    axes[2, CLINICS].set(xticks=[], yticks=[])
    axes[2, CLINICS].set_title("from their sum,\nwhich it may know", fontsize=9)
    path = folder / "attack.png"
    figure.savefig(path, dpi=130)
    return path


def main(arguments: list[str]) -> int:
    """Runs both; the exit code is 1 if the attack on secure rounds found anything, or that on plain ones did not."""
    if len(arguments) > 1:
        print("usage: python -m examples.attack [FOLDER]", file=sys.stderr)
        return 2
    folder = Path(arguments[0]) if arguments else Path("runs") / f"attack-{datetime.now():%Y%m%d-%H%M%S}"
    folder.mkdir(parents=True, exist_ok=True)
    first, training = record(model()), FedAvg(fraction_evaluate=0.0)
    open_ = Curious()
    training.start(open_, first, num_rounds=1)
    secure = Curious(folder / "clinics")
    result = SecureAggregation(FedAvg(fraction_evaluate=0.0), uniform=True).start(secure, first, num_rounds=1)
    plain = {clinic: from_plain(reply) for found in open_.replies for clinic, reply in found.items()}
    masked = {clinic: from_masked(reply) for found in secure.replies for clinic, reply in found.items()}
    after = {name: array.numpy() for name, array in result.arrays.items()}
    change = after["bias"] - model()["bias"]
    row = int(np.argmax(np.abs(change)))
    mean = (after["weights"][row] - model()["weights"][row]) / change[row]

    print("how close what the coordinator recovers is to a clinic's image (1 is the image, 0 is chance)")
    print("clinic    plain    secure")
    for clinic in range(CLINICS):
        print(f"{clinic + 1:>6}  {closeness(plain[clinic], clinic):7.3f}   {closeness(masked[clinic], clinic):7.3f}")
    answers = lies(secure)
    for what, answer in answers:
        print(f"the coordinator {what}: {answer.strip().splitlines()[-1]}")
    print(f"picture: {draw(plain, masked, mean, folder)}")
    safe = all(abs(closeness(masked[clinic], clinic)) < 0.6 for clinic in range(CLINICS)) and all(
        "ANSWERED" not in one for _, one in answers
    )
    return 0 if safe and all(closeness(plain[clinic], clinic) > 0.999 for clinic in range(CLINICS)) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
