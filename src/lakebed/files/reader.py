"""Read a file of a storage as a file object."""

from __future__ import annotations

import io

from lakebed.errors import NotFoundError
from lakebed.objects.files.store import FileRow, FileStore

BUFFER_BYTES = 1 << 20
"""How many bytes a small read fetches."""
_READ_BYTES = 8 << 20


class _Raw(io.RawIOBase):
    """A raw stream that reads ranges of one version of a file."""

    def __init__(self, store: FileStore, row: FileRow) -> None:
        self._store, self._row = store, row
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._row.byte_size}
        position = base[whence] + offset
        if position < 0:
            raise ValueError(f"negative seek position {position}")
        self._position = position
        return position

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self._read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        parts = []
        while part := self._read(_READ_BYTES):
            parts.append(part)
        return b"".join(parts)

    def _read(self, size: int) -> bytes:
        end = min(self._position + size, self._row.byte_size)
        if end <= self._position:
            return b""
        try:
            data = self._store.range(self._row.path, self._position, end, self._row.etag)
        except FileNotFoundError:
            raise NotFoundError(f"the file at {self._row.path!r} was deleted meanwhile") from None
        self._position = end
        return data


def open_file(store: FileStore, row: FileRow) -> io.BufferedReader:
    """Open the version of a file that `row` describes. Reading raises ConflictError once the file
    is replaced."""
    return io.BufferedReader(_Raw(store, row), BUFFER_BYTES)
