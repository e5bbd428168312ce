"""A run as a TensorBoard event file, DIR/NAME/events.out.tfevents.IDENTITY.stfed.

The bytes follow from the event log alone. So a second export finds its own beginning and adds what is new behind it, which a TensorBoard
that is open sees; two exports at the same time write the same bytes to the same places; and what is not the beginning, because another
version wrote it, is replaced as a whole. A folder with any other event file in it is refused: TensorBoard would draw both as one run.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stfed.errors import LocalError
from stfed.files import replacing
from stfed.report.export.points import MEANINGS, Begin, End, Item, Scalar, Settings, Words

INSTALL = "pip install 'stfed[tensorboard]'"
_MARK = "tfevents"
"""What TensorBoard knows its files by."""


class TensorBoard:
    """Writes one run.

    Args:
        folder: TensorBoard's `--logdir`.
        name: of the run there; a folder in it.

    Raises:
        LocalError: TensorBoard is not installed, or the name is none of a folder.
    """

    def __init__(self, folder: str | os.PathLike[str], name: str) -> None:
        try:
            from tensorboard.summary.writer.record_writer import RecordWriter
        except ImportError:
            raise LocalError("an export to TensorBoard needs the package tensorboard, which is not installed", hint=INSTALL) from None
        if name in ("", ".", "..") or Path(name).name != name:
            raise LocalError(f"a run cannot be named {name!r} for TensorBoard", hint="a plain name, without strokes")
        self._folder, self._place = Path(folder), Path(folder) / name
        self._file: Path | None = None
        self._written, self._described = 0, set[str]()
        self._frame = RecordWriter

    @property
    def place(self) -> str:
        """The run's folder."""
        return str(self._place)

    @property
    def viewer(self) -> str:
        """The command that shows it."""
        return f"tensorboard --logdir {self._folder}"

    def write(self, items: Sequence[Item]) -> None:
        """Adds items.

        Raises:
            LocalError: another run is there already, or it cannot be written.
        """
        for item in items:
            if isinstance(item, Begin):
                self._begin(item)
        begins = [number for number, item in enumerate(items) if isinstance(item, Begin)]
        data = b"".join(self._record(event) for item in items[begins[-1] if begins else 0 :] for event in self._events(item))
        if self._file is not None and data:
            try:
                self._put(self._file, data)
            except OSError as error:
                raise LocalError(f"the export {self._file} cannot be written: {error.strerror}") from error

    def _begin(self, item: Begin) -> None:
        try:
            self._place.mkdir(parents=True, exist_ok=True)
            there = {path.name for path in self._place.iterdir() if _MARK in path.name and not path.name.startswith(".")}
        except OSError as error:
            raise LocalError(f"the folder {self._place} cannot be made or read: {error.strerror}") from error
        name = f"events.out.{_MARK}.{item.identity}.stfed"
        if there - {name}:
            raise LocalError(f"{self._place} holds another run already: {min(there - {name})}", hint="choose another --name or folder")
        self._file, self._written, self._described = self._place / name, 0, set()

    def _put(self, path: Path, data: bytes) -> None:
        """Writes behind what this export has written: over the same bytes of an earlier one, if that is what they are."""
        there = b""
        if path.exists():
            with path.open("rb") as old:
                old.seek(self._written)
                there = old.read(len(data))
        elif self._written:
            raise LocalError(f"{path} was removed while the export went on", hint="start it again")
        if data.startswith(there):
            with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b") as new:
                new.seek(self._written)
                new.write(data)
        else:
            before = path.read_bytes()[: self._written]
            with replacing(path) as whole:
                whole.write_at(0, before + data)
        self._written += len(data)

    def _record(self, event: Any) -> bytes:
        stream = io.BytesIO()
        self._frame(stream).write(event.SerializeToString(deterministic=True))
        return stream.getvalue()

    def _events(self, item: Item) -> list[Any]:
        from tensorboard.compat.proto.event_pb2 import Event

        match item:
            case Begin(time_s):
                return [Event(wall_time=time_s, file_version="brain.Event:2")]
            case Scalar(time_s, step) | Words(time_s, step):
                value = self._scalar(item) if isinstance(item, Scalar) else _text(item)
                return [Event(wall_time=time_s, step=step, summary={"value": [value]})]
            case Settings(time_s) | End(time_s):
                return [Event(wall_time=time_s, summary={"value": [_hparams(item)]})]

    def _scalar(self, item: Scalar) -> Any:
        """With what it says, the first time: TensorBoard shows that beside the curve."""
        from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata

        value = Summary.Value(tag=item.name, simple_value=item.value)
        if item.name not in self._described:
            self._described.add(item.name)
            kind = SummaryMetadata.PluginData(plugin_name="scalars")
            meaning = MEANINGS.get(item.name.partition("/")[0], "")  # a log may have phases of its own
            value.metadata.CopyFrom(SummaryMetadata(summary_description=meaning, plugin_data=kind))
        return value


def _text(item: Words) -> Any:
    from tensorboard.compat.proto import types_pb2
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.plugins.text.metadata import create_summary_metadata

    tensor = TensorProto(dtype=types_pb2.DT_STRING, string_val=[item.text.encode()])
    return Summary.Value(tag=item.name, tensor=tensor, metadata=create_summary_metadata(item.name, ""))


def _hparams(item: Settings | End) -> Any:
    """What the tab "hparams" compares runs by."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import api_pb2, metadata
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo

    if isinstance(item, End):
        status = api_pb2.STATUS_FAILURE if item.failed else api_pb2.STATUS_SUCCESS
        told = HParamsPluginData(session_end_info=SessionEndInfo(status=status, end_time_secs=item.time_s))
        tag = metadata.SESSION_END_INFO_TAG
    else:
        begun = SessionStartInfo(start_time_secs=item.time_s)
        for name, value in item.values.items():
            if isinstance(value, bool):
                begun.hparams[name].bool_value = value
            elif isinstance(value, str):
                begun.hparams[name].string_value = value
            else:
                begun.hparams[name].number_value = value
        told, tag = HParamsPluginData(session_start_info=begun), metadata.SESSION_START_INFO_TAG
    value = Summary.Value(tag=tag, metadata=metadata.create_summary_metadata(told), tensor=metadata.NULL_TENSOR)
    told.version = metadata.PLUGIN_DATA_VERSION
    value.metadata.plugin_data.content = told.SerializeToString(deterministic=True)  # a map has no order of its own
    return value
