"""A file as plaintext to be sealed, piece by piece."""

from __future__ import annotations

from stfed.files import File


class FileSource(File):
    """A plain file, as `stfed.sealed.stream.Source`."""

    def piece(self, start: int, stop: int, scratch: memoryview) -> memoryview:
        """Reads into `scratch`."""
        self.read_into(start, scratch)
        return scratch
