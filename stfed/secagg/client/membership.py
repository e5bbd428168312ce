"""A party's place in an epoch: public facts only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from stfed.secagg.directory import Directory
from stfed.secagg.messages import (
    Header,
)
from stfed.secagg.suite import suite_from
from stfed.secagg.transcript import MODE_CODES, mode_from
from stfed.wire import Reader, Writer

_MAX_ENTRIES = 1 << 20


@dataclass(frozen=True, slots=True)
class Membership:
    """This party's place in the epoch: public facts only."""

    directory: Directory
    index: int

    def write(self, writer: Writer) -> None:
        """Appends the fields."""
        header = self.directory.header
        writer.u64(header.run).u32(header.epoch).u32(header.round).u16(header.suite).u8(MODE_CODES[self.directory.mode])
        writer.u32(self.index).u32(self.directory.encoded.size_bytes)
        writer.records(self.directory.encoded, self.directory.encoded.size_bytes)

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Takes the fields. The entries were checked when the state was made; they are decoded again, not verified again."""
        run, epoch, round_, suite = reader.u64("run"), reader.u32("epoch"), reader.u32("round"), reader.u16("suite")
        header = Header(run, epoch, round_, suite_from(suite))
        mode, index, size_bytes = mode_from(reader.u8("mode")), reader.u32("index"), reader.u32("entry size")
        return cls(Directory(header, mode, reader.records("directory", size_bytes, bytes, max_items=_MAX_ENTRIES)), index)
