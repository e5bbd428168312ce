"""What `distribute_data` makes and `save_tensor` takes: sealed files in memory, ready to be handed over, signed and logged already.

Nothing in here is secret: it is what the recipients will get, and only they can open it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stfed.errors import LocalError
from stfed.files import check_target, replacing
from stfed.keys.keyfile import PathLike
from stfed.library.addressees import Addressee
from stfed.sealed.manifest import Manifest

_PLACE = "{recipient}"
_UNFIT = re.compile(r"[^\w.-]+")  # in the name of a file


@dataclass(frozen=True, repr=False)
class Copy:
    """One sealed file.

    Attributes:
        recipients: who can open it.
        manifest: what it states.
        source: id of the file that it is a copy of.
        data: its bytes.
    """

    recipients: tuple[Addressee, ...]
    manifest: Manifest
    source: str
    data: memoryview


@dataclass(frozen=True, repr=False)
class Distributed:
    """One file for all recipients, or one for each.

    Attributes:
        source: name of the file whose content this is.
        copies: the files.
        separate: whether there is one for each recipient.
        readable: whether recipients can read the numbers. If not, they get ciphertexts: they compute on them and cannot decrypt.
    """

    source: str
    copies: tuple[Copy, ...]
    separate: bool
    readable: bool

    @property
    def recipients(self) -> tuple[str, ...]:
        """Names of all of them."""
        return tuple(one.name for copy in self.copies for one in copy.recipients)

    def __repr__(self) -> str:
        what = "numbers that recipients can read" if self.readable else "ciphertexts that recipients cannot decrypt"
        sizes = sum(len(copy.data) for copy in self.copies)
        files = "a file for each of" if self.separate else "one file for"
        return f"<Distributed {self.source}: {files} {', '.join(self.recipients)}; {what}; {sizes} bytes>"


def targets(distributed: Distributed, path: PathLike) -> list[Path]:
    """Where each copy goes: `path` for the one file; for separate ones a folder, or a name with `{recipient}` in it.

    Raises:
        LocalError: `path` does not suit, or a file for a recipient is there already.
    """
    if not distributed.separate:
        return [check_target(path)]
    source, text = Path(distributed.source), str(path)
    if _PLACE not in text:
        folder = Path(path)
        if not folder.is_dir():
            raise LocalError(
                f"{folder} is no folder, and there is a file for each recipient", hint=f"make it, or put {_PLACE} into the name"
            )
        text = str(folder / f"{source.stem}-{_PLACE}{source.suffix}")
    names = _file_names(distributed.recipients)
    found = [check_target(text.replace(_PLACE, name)) for name in names]
    for target in found:
        if target.exists():
            raise LocalError(f"{target} exists, and copies for recipients replace nothing", hint="name another folder, or move it away")
    return found


def write(copies: Sequence[Copy], places: Sequence[Path]) -> None:
    """All of the files, or none: where one cannot be written, those before it are removed again."""
    new = [place for place in places if not place.exists()]
    try:
        for copy, place in zip(copies, places, strict=True):
            with replacing(place) as file:
                file.write_at(0, copy.data)
    except BaseException:
        for place in new:
            place.unlink(missing_ok=True)
        raise


def _file_names(names: Sequence[str]) -> list[str]:
    fit = [_UNFIT.sub("_", name).strip(".") or "recipient" for name in names]
    folded = [name.casefold() for name in fit]  # some file systems know no capitals
    told = [name if folded.count(name.casefold()) == 1 else f"{name}-{number}" for number, name in enumerate(fit, start=1)]
    if len({name.casefold() for name in told}) < len(told):
        raise LocalError(
            "the names of the recipients cannot be told apart in names of files", hint="distribute to them one after the other"
        )
    return told
