"""`python -m tests.pictures`: writes what the book shows of the protocol's code, pictures and the table of docs/parameters.md."""

from __future__ import annotations

from pathlib import Path

from stfed.secagg.params import Mode
from tests.pictures import chosen, rooms, rounds, sequence, states

FOLDER = Path(__file__).parents[2] / "docs" / "pictures"


def files() -> dict[str, str]:
    """Every picture by its file's name."""
    found = {"rooms.svg": rooms.picture().render()}
    for mode in Mode:
        found[f"states-party-{mode.value}.svg"] = states.party(mode).render()
        found[f"states-coordinator-{mode.value}.svg"] = states.coordinator(mode).render()
        found[f"round-{mode.value}.svg"] = sequence.picture(rounds.play(mode)).render()
    return found


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in files().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    chosen.PAGE.write_text(chosen.written(chosen.PAGE.read_text(encoding="utf-8")), encoding="utf-8")
