"""Data for an upload."""

from __future__ import annotations

import hashlib
import os
from io import BytesIO
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast

WHOLE_BYTES = 72 << 20
"""Data of up to this size is kept in memory and uploaded in one request. This includes every pack.
Larger data waits on the local disk and is uploaded in parts."""

_STEP_BYTES = 8 << 20


class Source:
    """Bytes in memory, or a temporary file. A file that is small enough to be uploaded in one
    request is read into memory and closed."""

    def __init__(self, data: bytes | SpooledTemporaryFile[bytes]) -> None:
        if isinstance(data, SpooledTemporaryFile):
            self.size = data.seek(0, os.SEEK_END)
            if self.size <= WHOLE_BYTES:
                data.seek(0)
                with data:
                    data = data.read()
        else:
            self.size = len(data)
        self._data = data
        self._md5: bytes | None = None

    def part(self, offset: int, length: int) -> bytes:
        """Return a part of the data."""
        if isinstance(self._data, SpooledTemporaryFile):
            self._data.seek(offset)
            return self._data.read(length)
        return self._data[offset : offset + length]

    def whole(self) -> bytes:
        """Return all data."""
        return self.part(0, self.size)

    def file(self) -> BinaryIO:
        """Return all data as a file, positioned at its beginning."""
        if isinstance(self._data, SpooledTemporaryFile):
            self._data.seek(0)
            return cast(BinaryIO, self._data)
        return BytesIO(self._data)

    def md5(self) -> bytes:
        """Return the MD5 of the data, which services use to check an upload."""
        if self._md5 is None:
            found = hashlib.md5(usedforsecurity=False)
            step = (self.size or 1) if isinstance(self._data, bytes) else _STEP_BYTES
            for offset in range(0, self.size, step):
                found.update(self.part(offset, step))
            self._md5 = found.digest()
        return self._md5
