"""checkpoint: moves a plain checkpoint to a sealed one, step by step, and goes on training from it.

python -m examples.checkpoint [--rounds N] [FOLDER]
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from rich.console import Console

from examples.checkpoint import steps
from stfed import sealed
from stfed.errors import StfedError


def main(arguments: list[str]) -> int:
    """Takes all steps; the exit code is 1 if one of them did not do what it says."""
    parser = argparse.ArgumentParser(prog="python -m examples.checkpoint", description="Moves a plain checkpoint to a sealed one.")
    parser.add_argument("folder", nargs="?", type=Path, help="an empty or new folder (default: runs/checkpoint-TIME)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="secure rounds to go on for (default: %(default)s)")
    asked = parser.parse_args(arguments)
    folder: Path = asked.folder or Path("runs") / f"checkpoint-{datetime.now():%Y%m%d-%H%M%S}"
    if folder.exists() and any(folder.iterdir()):
        print(f"error: {folder} is not empty", file=sys.stderr)
        return 2
    folder.mkdir(parents=True, exist_ok=True)
    logging.getLogger("flwr").setLevel(logging.ERROR)  # the rounds are told here in a line
    story = Story(folder, Console(width=None if Console().is_terminal else 120, soft_wrap=True, highlight=False))
    return 0 if story.tell(asked.rounds) else 1


class Story:
    """The steps, each with what it showed.

    Args:
        folder: where everything is.
        console: where it is told.
    """

    def __init__(self, folder: Path, console: Console) -> None:
        self._folder, self._console = folder, console
        self._first = folder / "models" / "round-000.safetensors"
        self._number, self._held = 0, True

    def tell(self, rounds: int) -> bool:
        """All of it; whether every step did what it says."""
        self._begin()
        self._seal()
        self._open()
        self._share(self._go_on(rounds))
        gone = ", ".join(path.name for path in steps.remove_plain(self._folder))
        self._step("plain files removed", gone)
        self._say("their bytes may still be on the disk, in snapshots and in backups: the README says what helps against that")
        self._console.print(
            f"\n{'[green]every step held[/]' if self._held else '[red]NOT every step held[/]'}; the files are in {self._folder}"
        )
        return self._held

    def _begin(self) -> None:
        self._before = steps.begin_in_clear(self._folder)
        plain = (self._folder / "model.safetensors").read_bytes()
        self._digest = hashlib.sha256(plain).hexdigest()
        self._step("a checkpoint in clear", f"model.safetensors, {len(plain):,} bytes, SHA-256 {self._digest[:16]}..., and model.pt")
        self._say(f"accuracy {steps.accuracy(self._before):.4f} on the public test set")

    def _seal(self) -> None:
        folder, first = self._folder, self._first
        steps.make_keys(folder)
        steps.seal(folder)
        self._step("sealed to north and east, signed by north", f"models/{first.name}, {first.stat().st_size:,} bytes")
        self._check(steps.sha256_inside(folder) == self._digest, "inside is the same file, byte for byte: SHA-256 is equal")
        self._check(steps.metadata_inside(first, folder) == steps.METADATA, f"its metadata, too: {steps.METADATA}")
        steps.seal_state_dict(folder)
        from_pt = steps.weights_of(folder / "from-pt.safetensors", folder, "north")
        self._step("the torch file sealed as well", "from-pt.safetensors")
        self._check(steps.equal_bits(from_pt, self._before), "every tensor of model.pt is in it, bit for bit")

    def _open(self) -> None:
        info = sealed.inspect(self._first)
        self._step("what anybody sees without a key", f"{dict(info.public)}, {sum(info.recipients.values())} recipients")
        verified = sealed.verify_file(self._first, trusted=self._folder / "north.key.pub")
        self._check(verified.segments == info.segments, f"north ({verified.signer.fingerprint}) sealed every byte of it")
        weights = steps.weights_of(self._first, self._folder, "north")
        self._step("opened where a script loads it", f'load_file("{self._first.name}", identity="north.key", trusted="north.key.pub")')
        same = steps.equal_bits(weights, self._before)
        self._check(same, f"the same weights, accuracy {steps.accuracy(weights):.4f}; no plain file was written")

    def _go_on(self, rounds: int) -> Path:
        steps.go_on(self._folder, rounds)
        last = sorted((self._folder / "models").iterdir())[-1]
        self._step(f"{rounds} secure rounds of {steps.HOSPITALS} hospitals from it", f"models/{last.name}")
        self._say(f"accuracy {steps.accuracy(steps.weights_of(last, self._folder, 'east')):.4f}, opened by east")
        before = sealed.inspect(last.with_name("round-001.safetensors")).public["previous"]
        self._check(before == sealed.inspect(self._first).manifest_sha256, "round 1 names the checkpoint as the version before it")
        return last

    def _share(self, last: Path) -> None:
        folder = self._folder
        self._refused("south cannot open it", sealed.NotARecipientError, lambda: steps.weights_of(last, folder, "south"))
        steps.grant_to_south(last, folder)
        self._step("granted to south, in place", f"models/{last.name}")
        theirs, ours = (steps.weights_of(last, folder, who) for who in ("south", "north"))
        self._check(steps.equal_bits(theirs, ours), "south opens it and has the same model")
        changed = steps.with_a_changed_byte(last, folder)
        self._refused("with one bit changed, nobody opens it", sealed.TamperedError, lambda: steps.weights_of(changed, folder, "south"))
        changed.unlink()

    def _step(self, title: str, detail: str) -> None:
        self._number += 1
        self._console.print(f"[bold]{self._number}  {title}[/]: {detail}")

    def _say(self, text: str) -> None:
        self._console.print(f"   {text}")

    def _check(self, held: bool, text: str) -> None:
        self._held = self._held and held
        self._console.print(f"   [green]yes[/]  {text}" if held else f"   [red]NO[/]   {text}")

    def _refused(self, text: str, wanted: type[StfedError], attempt: Callable[[], object]) -> None:
        try:
            attempt()
        except wanted as error:
            self._check(True, f"{text}: {type(error).__name__}")
        else:
            self._check(False, text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
