"""What is to be uploaded."""

from __future__ import annotations

import hashlib
import os
from io import BytesIO
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast

_STEP_BYTES = 8 << 20


class Source:
    """Bytes in memory, or a file that lies where it was written."""

    def __init__(self, data: bytes | memoryview | SpooledTemporaryFile[bytes]) -> None:
        self._data = data
        if isinstance(data, SpooledTemporaryFile):
            data.seek(0, os.SEEK_END)
            self.size = data.tell()
        else:
            self.size = len(data)
        self._md5: bytes | None = None

    def part(self, offset: int, length: int) -> bytes:
        """Some of it."""
        if isinstance(self._data, SpooledTemporaryFile):
            self._data.seek(offset)
            return self._data.read(length)
        if length == self.size and isinstance(self._data, bytes):
            return self._data
        return bytes(self._data[offset : offset + length])

    def whole(self) -> bytes:
        """All of it."""
        return self.part(0, self.size)

    def file(self) -> BinaryIO:
        """All of it, as a file at its beginning."""
        if isinstance(self._data, SpooledTemporaryFile):
            self._data.seek(0)
            return cast(BinaryIO, self._data)
        return BytesIO(self._data)

    def md5(self) -> bytes:
        """Its MD5, which services know contents by."""
        if self._md5 is None:
            found = hashlib.md5(usedforsecurity=False)
            for offset in range(0, self.size, _STEP_BYTES):
                found.update(self.part(offset, _STEP_BYTES))
            self._md5 = found.digest()
        return self._md5
