"""Reads the values of many entries in their order, by few reads and in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

from lakebed.errors import LakebedError
from lakebed.model import EntryRow
from lakebed.records import ValueReader
from lakebed.values.codec import decode_value

WINDOW_BYTES = 32 << 20
"""Contents out of the storage that are in memory at a time; a single one may take more."""
_FIRST_ROWS = 1_000
_MOST_ROWS = 16_000
_AHEAD_BYTES = 16 << 20

Contents = Iterable[tuple[EntryRow, bytes | LakebedError]]
ReadContents = Callable[[Iterable[EntryRow]], Contents]
"""Reads the contents of rows, in any order; see `ContentReading.read_contents`."""


class ContentReader(Protocol):
    """Reads contents and checks their hashes. A content that cannot be read is given as its
    error."""

    def read_content(self, row: EntryRow) -> bytes | LakebedError:
        """Return the content of one row."""
        ...

    def read_contents(
        self, rows: Iterable[EntryRow]
    ) -> Iterator[tuple[EntryRow, bytes | LakebedError]]:
        """Yield the contents of many rows, in any order."""
        ...


def in_windows(rows: Iterable[EntryRow]) -> Iterator[list[EntryRow]]:
    """Divide rows into lists whose contents are read at once.

    A row in the catalog waits for nothing: it is a list of its own until a row comes whose content
    is in the storage. The first lists are short, so that the first value comes soon. A pack is in
    the order of its hashes, so a long list reads it once where many short ones would read most of
    it each time.
    """
    window: list[EntryRow] = []
    size, most = 0, _FIRST_ROWS
    for row in rows:
        stored = 0 if row.inline_value is not None else row.byte_size
        if not window and row.inline_value is not None:
            yield [row]
            continue
        if window and (len(window) == most or size + stored > WINDOW_BYTES):
            yield window
            window, size, most = [], 0, min(4 * most, _MOST_ROWS)
        window.append(row)
        size += stored + len(row.inline_value or b"")
    if window:
        yield window


def contents_in_order(rows: Iterable[EntryRow], read: ReadContents) -> Contents:
    """Yield the content of each row, or the error of reading it, in the order of the rows."""
    for window in in_windows(rows):
        if len(window) == 1:
            yield from read(window)
            continue
        found = {id(row): data for row, data in read(window)}
        for row in window:
            yield row, found.pop(id(row))


class ReadAhead:
    """Reads ahead what the entries of one listing will need.

    The first value that is asked for is read alone. After it, a value that is further on brings
    those behind it, so that reading a listing in order reads in bulk. Only what was read ahead last
    is kept. `page_rows`: how many rows the next page of the listing should have.
    """

    def __init__(self, read: ReadContents) -> None:
        self._read = read
        self._last = (-1, -1)  # of the value asked for last: number of its page, place there
        self._ahead: dict[int, tuple[EntryRow, bytes]] = {}  # by the identity of the row
        self.page_rows = _FIRST_ROWS

    def content(self, page: Page, place: int) -> bytes | None:
        """Return the bytes of a row of a page, or None if they are to be read alone."""
        row = page.rows[place]
        known = self._taken(row)
        last, self._last = self._last, (page.number, place)
        if known is not None or last < (0, 0) or self._last <= last:
            return known
        wanted = [row, *_stored(page.rows[place + 1 :], _AHEAD_BYTES - row.byte_size)]
        if 2 * len(wanted) > len(page.rows):  # most lie in the storage, and fit into memory
            self.page_rows = min(4 * self.page_rows, _MOST_ROWS)
        self._ahead = {
            id(at): (at, data) for at, data in self._read(wanted) if isinstance(data, bytes)
        }
        return self._taken(row)

    def _taken(self, row: EntryRow) -> bytes | None:
        found = self._ahead.pop(id(row), None)
        return None if found is None else found[1]


class Page:
    """The rows of one page of a listing. Reads their values for the entries."""

    def __init__(
        self, lake: ValueReader, ahead: ReadAhead, number: int, rows: Sequence[EntryRow]
    ) -> None:
        self._lake = lake
        self._ahead = ahead
        self._places: dict[int, int] | None = None
        self.number = number
        self.rows = rows

    def read_value(self, row: EntryRow) -> Any:
        if row.inline_value is not None or row.format == "parquet":
            return self._lake.read_value(row)
        if self._places is None:
            self._places = {id(other): place for place, other in enumerate(self.rows)}
        data = self._ahead.content(self, self._places[id(row)])
        return self._lake.read_value(row) if data is None else decode_value(row.format, data)

    def count_rows(self, row: EntryRow) -> int | None:
        return self._lake.count_rows(row)

    def full_uri(self, uri: str | None, position: str | None) -> str | None:
        return self._lake.full_uri(uri, position)


def _stored(rows: Iterable[EntryRow], size: int) -> Iterator[EntryRow]:
    """Yield the rows whose contents are in the storage and take `size` bytes in all. Tables, which
    may be large, are left out."""
    for row in rows:
        if row.inline_value is not None or row.format == "parquet":
            continue
        size -= row.byte_size
        if size < 0:
            return
        yield row
