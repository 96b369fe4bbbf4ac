"""Values as they are stored."""

# No `from __future__ import annotations`: a NamedTuple compiles annotations that are text, at each
# start.

from collections.abc import Iterator
from typing import IO, NamedTuple

_PIECE = 1 << 20


class Encoded(NamedTuple):
    """A value as it is stored: its format, its bytes, and their SHA-256."""

    format: str
    data: bytes
    content_hash: bytes

    @property
    def id(self) -> tuple[bytes, str]:
        """The identity of this content; see `lakebed.model.ContentId`."""
        return self.content_hash, self.format

    @property
    def byte_size(self) -> int:
        return len(self.data)

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes in pieces that fit into memory."""
        yield self.data

    def close(self) -> None:
        """Do nothing: there is no file to remove."""


class EncodedFile:
    """Like `Encoded`, for a value that is too large for memory. Its bytes are in a temporary file.
    `close` removes the file."""

    def __init__(self, format: str, file: IO[bytes], byte_size: int, content_hash: bytes) -> None:
        self.format = format
        self.byte_size = byte_size
        self.content_hash = content_hash
        self._file = file

    @property
    def id(self) -> tuple[bytes, str]:
        """The identity of this content; see `lakebed.model.ContentId`."""
        return self.content_hash, self.format

    @property
    def data(self) -> bytes:
        """All bytes, read into memory."""
        self._file.seek(0)
        return self._file.read()

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes in pieces that fit into memory."""
        self._file.seek(0)
        while piece := self._file.read(_PIECE):
            yield piece

    def close(self) -> None:
        """Remove the file."""
        self._file.close()
