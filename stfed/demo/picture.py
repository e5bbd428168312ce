"""The images as one PNG, by Matplotlib: what the clinics have, and what the coordinator got of it in each way."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any

from stfed.demo.attack import Attack
from stfed.demo.clinics import CLINICS, SIDE, Pixels, image
from stfed.demo.recovery import is_image, shown
from stfed.errors import LocalError
from stfed.secagg.params import Mode

_ALARM, _FRAME = "#c25b5b", "#b8c2cc"
_DPI = 130


def png_of(attack: Attack) -> bytes:
    """The file.

    Raises:
        LocalError: Matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise LocalError("the PNG is drawn with Matplotlib, which is not installed", hint="pip install 'stfed[examples]'") from None
    lies = {mode: [told for told in attack.told if told.mode is mode] for mode in Mode}
    across = max(CLINICS + 1, *map(len, lies.values()))
    figure = Figure(figsize=(1.15 * across + 1.3, 7.6), layout="constrained")
    axes = figure.subplots(5, across)
    for place in axes.flat:
        place.axis("off")
    figure.suptitle("What a coordinator learns of single clinics")
    clinics = [(image(clinic)[0], f"clinic {clinic + 1}", False) for clinic in range(CLINICS)]
    _row(axes[0], "what the\nclinics have", clinics)
    _row(axes[1], "found in\nplain updates", [(one, "", True) for one in attack.plain.values()])
    masked = [(one, "", is_image(attack.closeness(clinic))) for clinic, one in attack.secure.items()]
    _row(axes[2], "found in\nsecure ones", [*masked, (attack.mean, "their sum,\nwhich it may know", False)])
    for line, mode in zip(axes[3:], Mode, strict=True):
        told = [(one.picture, f"lie {number}", one.found) for number, one in enumerate(lies[mode], 1)]
        _row(line, f"of clinic 1,\nby lies,\n{mode.value}", told)
    file = BytesIO()
    figure.savefig(file, format="png", dpi=_DPI)
    return file.getvalue()


def _row(line: Any, title: str, pictures: Sequence[tuple[Pixels | None, str, bool]]) -> None:
    for place, (pixels, name, alarm) in zip(line, pictures, strict=False):
        place.axis("on")
        place.set(xticks=[], yticks=[])
        place.set_title(name, fontsize=8)
        for side in place.spines.values():
            side.set(color=_ALARM if alarm else _FRAME, linewidth=2.5 if alarm else 0.8, linestyle="-" if pixels is not None else ":")
        if pixels is None:
            place.set_aspect("equal")
            place.text(0.5, 0.5, "nothing", ha="center", va="center", fontsize=8, color="#5b6b7b", transform=place.transAxes)
        else:
            place.imshow(shown(pixels).reshape(SIDE, SIDE), cmap="gray_r", vmin=0, vmax=1)
    line[0].set_ylabel(title, rotation=0, ha="right", va="center", fontsize=9)
