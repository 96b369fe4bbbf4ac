"""A database as a plain file, before any connection to it is open."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import BinaryIO

from lakebed.catalog.log.wal import Pages


class Image:
    """A file that gets a whole database, and then the pages that commits have changed."""

    def __init__(self, file: BinaryIO, page_bytes: int) -> None:
        self._file = file
        self._page_bytes = page_bytes
        self._size = 0  # in pages

    def fill(self, pieces: Iterable[bytes]) -> None:
        """Write a database, replacing what is there."""
        self._file.seek(0)
        self._file.truncate()
        self._file.writelines(pieces)
        self._file.flush()
        self._size = self._file.tell() // self._page_bytes

    def page(self, number: int) -> bytes:
        """Return a page, or zeros if it does not exist."""
        if number > self._size:
            return bytes(self._page_bytes)
        return os.pread(self._file.fileno(), self._page_bytes, (number - 1) * self._page_bytes)

    def apply(self, changed: Pages) -> None:
        """Write changed pages."""
        handle = self._file.fileno()
        for number, page in changed.pages.items():
            os.pwrite(handle, page, (number - 1) * self._page_bytes)
        os.ftruncate(handle, changed.size * self._page_bytes)
        self._size = changed.size
