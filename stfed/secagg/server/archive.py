"""The PREPAREs of a round, word for word: what U1 is built from, and evidence where a party signs what it says.

Where parties draw their holders, all of them together are 48 n^2 bytes, most of which no sum needs (`stfed.secagg.server.published`). They
cannot be thrown away as they come: who will share a mask with a party is known only when everybody has drawn. They can lie in a file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import BinaryIO

from stfed.secagg.messages import DrawnPrepare, Prepare


class Archive(Mapping[int, Prepare]):
    """The PREPAREs of a drawn round as they came: 48 n^2 bytes that are read once when U1 is fixed, and after that only for a dispute.

    Public all of it: ciphertexts, commitments and signatures.

    Args:
        file: where they go, open for reading and writing, best one without a name; without a file they stay in memory.
    """

    def __init__(self, file: BinaryIO | None = None) -> None:
        self._file, self._end = file, 0
        self._kept: dict[int, Prepare] = {}
        self._places: dict[int, tuple[int, int]] = {}

    def put(self, party: int, prepare: Prepare) -> None:
        """Keeps a party's PREPARE; once."""
        if self._file is None or not isinstance(prepare, DrawnPrepare):
            self._kept[party] = prepare
            return
        data = prepare.encode()
        self._file.seek(self._end)
        self._file.write(data)
        self._places[party] = self._end, len(data)
        self._end += len(data)

    def __getitem__(self, party: int) -> Prepare:
        if self._file is None or party in self._kept:
            return self._kept[party]
        start, size_bytes = self._places[party]
        self._file.seek(start)
        return DrawnPrepare.decode(self._file.read(size_bytes))

    def __iter__(self) -> Iterator[int]:
        return iter((*self._kept, *self._places))

    def __len__(self) -> int:
        return len(self._kept) + len(self._places)
