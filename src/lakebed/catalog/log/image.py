"""Writes a database as a plain file, before any connection to it is open."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import BinaryIO

from lakebed.catalog.log.wal import Pages

_MOST_PAGES = 2000  # kept in memory, because many commits change the same pages


class Image:
    """A file to which a whole database is written, and then the pages that commits changed."""

    def __init__(self, file: BinaryIO, page_bytes: int) -> None:
        self._file = file
        self._page_bytes = page_bytes
        self._size = 0  # in pages
        self._changed: dict[int, bytes | memoryview] = {}

    def fill(self, pieces: Iterable[bytes]) -> None:
        """Write a database, replacing what is there."""
        self._file.seek(0)
        self._file.truncate()
        self._file.writelines(pieces)
        self._file.flush()
        self._size = self._file.tell() // self._page_bytes

    def page(self, number: int) -> bytes | memoryview:
        """Return a page, or zeros if it does not exist."""
        changed = self._changed.get(number)
        if changed is not None and number <= self._size:
            return changed
        found = b""
        if number <= self._size:
            place = (number - 1) * self._page_bytes
            found = os.pread(self._file.fileno(), self._page_bytes, place)
        return found or bytes(self._page_bytes)

    def apply(self, changed: Pages) -> None:
        """Change pages. `write` brings them to the file."""
        shrinks = changed.size < self._size
        self._changed.update(changed.pages)
        self._size = changed.size
        if shrinks or len(self._changed) > _MOST_PAGES:
            self.write()

    def write(self) -> None:
        """Write the changed pages to the file."""
        handle = self._file.fileno()
        for number, page in self._changed.items():
            os.pwrite(handle, page, (number - 1) * self._page_bytes)
        os.ftruncate(handle, self._size * self._page_bytes)
        self._changed.clear()
