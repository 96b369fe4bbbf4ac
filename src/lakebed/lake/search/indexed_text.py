"""The text of entries: what of them is searched, and what happens if a value cannot be read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import orjson

from lakebed.errors import CorruptionError, LakebedError, StorageError
from lakebed.model import EntryRow
from lakebed.values.codec import decode_value
from lakebed.values.text import text_and_names

_MAX_FAILURES = 3
_FIRST_READS, _MOST_READS = 4, 512
"""Files that are read at once: first few, to see whether the storage answers, then ever more."""
_MAX_DAMAGED = 50
_SPEAKERS = ("speaker", "role")

ReadContents = Callable[[Iterable[EntryRow]], Iterator[tuple[EntryRow, bytes | LakebedError]]]
"""Gives the stored bytes of each row, or the error from reading them."""


class IndexedText(NamedTuple):
    """What is searched of an entry: its text, the text of its value alone, its speaker, its
    metadata, and the names of its fields, those of its metadata included.

    `unread`: the value could not be read, and the text is the text of the metadata.
    """

    row: EntryRow
    text: str
    value_text: str
    speaker: str
    metadata: dict[str, Any]
    unread: bool
    names: frozenset[str]


class TextReader:
    """Reads the text of entries during one call of the lake.

    After a few failures of the storage, no more values are read, so that a search ends. The same
    holds after some more missing or damaged values, unless `thorough`. Reading also stops when the
    time of the call `is_over`.
    """

    def __init__(
        self,
        read: ReadContents,
        *,
        thorough: bool = False,
        is_over: Callable[[], bool] = lambda: False,
    ) -> None:
        self._read = read
        self._is_over = is_over
        self._reads = _FIRST_READS
        self._failures = 0
        self._damaged = 0
        self._bearable = math.inf if thorough else _MAX_DAMAGED

    @property
    def exhausted(self) -> bool:
        """Whether nothing more is read from the storage."""
        given_up = self._failures >= _MAX_FAILURES or self._damaged >= self._bearable
        return given_up or self._is_over()

    def texts(self, rows: Sequence[EntryRow]) -> Iterator[IndexedText]:
        """Give the text of each row, in the order of the rows."""
        values = dict[int, Any]()
        inline = [row for row in rows if row.format == "json" and not is_stored(row)]
        for row, data in self._read(inline):
            values[row.version] = _decode(row, data)
        self._read_stored([row for row in rows if is_stored(row)], values)
        for row in rows:
            value = values.get(row.version)
            unread = isinstance(value, LakebedError) or (
                row.version not in values and row.format == "json"
            )
            yield _text(row, None if unread else value, unread)

    def _read_stored(self, rows: Sequence[EntryRow], values: dict[int, Any]) -> None:
        for some in self._portions(rows):
            if self.exhausted:
                return
            for row, data in self._read(some):
                value = values[row.version] = _decode(row, data)
                if isinstance(value, LakebedError) and self._gives_up(value):
                    break

    def _portions(self, rows: Sequence[EntryRow]) -> Iterator[Sequence[EntryRow]]:
        """Divide rows into those that are read at once.

        A pack is in the order of its hashes, so one read serves many rows, and each of several
        reads would take most of it.
        """
        files = [row for row in rows if row.position is None]
        while files:
            yield files[: self._reads]
            files = files[self._reads :]
            self._reads = min(2 * self._reads, _MOST_READS)
        yield [row for row in rows if row.position is not None]

    def _gives_up(self, error: LakebedError) -> bool:
        if isinstance(error, StorageError):
            self._failures += 1
        else:
            self._damaged += 1
        return self.exhausted


def is_stored(row: EntryRow) -> bool:
    """Return whether reading an entry's text needs the storage.

    Tables and bytes do not: only their metadata are searched. A table's column names say little,
    its cells too much.
    """
    return row.inline_value is None and row.format == "json"


def _decode(row: EntryRow, data: bytes | LakebedError) -> Any:
    if isinstance(data, LakebedError):
        return data
    try:
        # Several times as fast as json. It rounds some numbers, but numbers are not searched.
        return orjson.loads(data)
    except orjson.JSONDecodeError:  # too deep for orjson, or not JSON
        pass
    try:
        return decode_value(row.format, data)
    except CorruptionError as error:
        return error


def _text(row: EntryRow, value: Any, unread: bool) -> IndexedText:
    metadata = row.metadata_dict()
    value_text, names = text_and_names(value)
    if not metadata:
        text = value_text
    else:
        from_metadata, others = text_and_names(metadata)
        names |= others
        text = f"{from_metadata}\n{value_text}" if from_metadata and value_text else (
            from_metadata or value_text
        )  # fmt: skip
    speaker = _speaker(value, metadata)
    return IndexedText(row, text, value_text, speaker, metadata, unread, frozenset(names))


def _speaker(value: Any, metadata: dict[str, Any]) -> str:
    for found in (value, metadata):
        if isinstance(found, dict):
            for name in _SPEAKERS:
                if isinstance(speaker := found.get(name), str) and speaker:
                    return speaker
    return ""
