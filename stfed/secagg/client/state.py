"""What every state of a party can do: freeze to bytes."""

from __future__ import annotations

from typing import ClassVar, Self

from stfed.secagg.messages import (
    Header,
)
from stfed.wire import Reader, Writer


class ClientState:
    """A state that freezes to bytes and thaws."""

    __slots__ = ()
    TAG: ClassVar[int]

    @property
    def header(self) -> Header:
        """Where in the run this state is."""
        raise NotImplementedError

    def _write(self, writer: Writer) -> None:
        raise NotImplementedError

    @classmethod
    def _read(cls, reader: Reader) -> Self:
        raise NotImplementedError

    def freeze(self) -> bytes:
        """This state as bytes. They hold secrets: they belong into an encrypted store, nowhere else."""
        writer = Writer().u8(self.TAG)
        self._write(writer)
        return writer.getvalue()
