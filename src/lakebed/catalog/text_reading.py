"""The text of entries: what of them is searched, and what becomes of values that cannot be read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from lakebed.catalog.protocol import ReadValues
from lakebed.errors import LakebedError, StorageError
from lakebed.model import EntryRow
from lakebed.values.json import decode_text

MAX_TEXT_BYTES = 192 * 1024
"""Text of an entry that is searched, in UTF-8; what follows is not. The words of no text of this
size, in whatever script, overflow a tsvector."""
MAX_VALUE_BYTES = 4 * 1024 * 1024
"""Values that take more are not read: their entries are found by their metadata."""

_MAX_FAILURES = 3
_FIRST_READS = 4  # at once, to see whether the storage answers; then twice as many, and so on
_MAX_DAMAGED = 50


class Document(NamedTuple):
    """An entry's tokens; of its metadata alone if its value could not be read."""

    row: EntryRow
    tokens: list[str]
    unread: bool


class TextReader:
    """Reads the text of entries, during one call of the lake.

    Values in a storage that fails are given up after a few failures, so that a search comes to an
    end; so are those that are missing or damaged after some more, unless `thorough`. And nothing
    more is read once the call's time `is_over`.
    """

    def __init__(
        self,
        read: ReadValues,
        *,
        thorough: bool = False,
        is_over: Callable[[], bool] = lambda: False,
    ) -> None:
        self._read = read
        self._is_over = is_over
        self._failures = 0
        self._damaged = 0
        self._bearable = math.inf if thorough else _MAX_DAMAGED

    @property
    def exhausted(self) -> bool:
        """Whether nothing more is read from the storage."""
        given_up = self._failures >= _MAX_FAILURES or self._damaged >= self._bearable
        return given_up or self._is_over()

    def documents(self, rows: Iterable[EntryRow]) -> Iterator[Document]:
        """The tokens of entries, each of another key, in their order."""
        from lakebed.values.text import analyse, text_of  # loads the stemmer

        rows = list(rows)
        values = dict(self._read(row for row in rows if _has_text(row) and not is_stored(row)))
        values |= self._read_stored([row for row in rows if _has_text(row) and is_stored(row)])
        for row in rows:
            value = values.get(row.key)
            unread = isinstance(value, LakebedError) or (row.key not in values and _has_text(row))
            metadata = None if row.metadata == "{}" else decode_text(row.metadata)
            text = text_of(None if unread else value, metadata, MAX_TEXT_BYTES)
            yield Document(row, analyse(text), unread)

    def _read_stored(self, rows: list[EntryRow]) -> dict[str, Any]:
        values = dict[str, Any]()
        start, count = 0, _FIRST_READS
        while start < len(rows) and not self.exhausted:
            for key, value in self._read(rows[start : start + count]):
                values[key] = value
                if isinstance(value, LakebedError) and self._gives_up(value):
                    break
            start, count = start + count, count * 2
        return values

    def _gives_up(self, error: LakebedError) -> bool:
        if isinstance(error, StorageError):
            self._failures += 1
        else:
            self._damaged += 1
        return self.exhausted


def is_stored(row: EntryRow) -> bool:
    """Whether reading an entry's text takes reading the storage."""
    return row.inline_value is None and _has_text(row)


def _has_text(row: EntryRow) -> bool:
    """Whether the value, besides the metadata, is searched."""
    return row.format == "json" and row.byte_size <= MAX_VALUE_BYTES
