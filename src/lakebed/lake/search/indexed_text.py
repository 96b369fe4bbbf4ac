"""The text of entries: what of them is searched, and what becomes of values that cannot be read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import orjson

from lakebed.errors import CorruptionError, LakebedError, StorageError
from lakebed.model import EntryRow
from lakebed.values.codec import decode_value
from lakebed.values.text import text_of

_MAX_FAILURES = 3
_FIRST_READS = 4  # at once, to see whether the storage answers; then twice as many, and so on
_MAX_DAMAGED = 50
_SPEAKERS = ("speaker", "role")

ReadContents = Callable[[Iterable[EntryRow]], Iterator[tuple[EntryRow, bytes | LakebedError]]]
"""Gives the stored bytes of each row, or the error that reading it gave."""


class IndexedText(NamedTuple):
    """What of an entry is searched: its text, that of its value alone, who says it, and its
    metadata.

    `unread`: the value could not be read, and the text is that of the metadata.
    """

    row: EntryRow
    text: str
    value_text: str
    speaker: str
    metadata: dict[str, Any]
    unread: bool


class TextReader:
    """Reads the text of entries, during one call of the lake.

    A storage that fails is given up after a few failures, so that a search comes to an end; so are
    values that are missing or damaged after some more, unless `thorough`. And nothing more is read
    once the call's time `is_over`.
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
        self._failures = 0
        self._damaged = 0
        self._bearable = math.inf if thorough else _MAX_DAMAGED

    @property
    def exhausted(self) -> bool:
        """Whether nothing more is read from the storage."""
        given_up = self._failures >= _MAX_FAILURES or self._damaged >= self._bearable
        return given_up or self._is_over()

    def texts(self, rows: Sequence[EntryRow]) -> Iterator[IndexedText]:
        """The text of each row, in their order."""
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
        start, count = 0, _FIRST_READS
        while start < len(rows) and not self.exhausted:
            for row, data in self._read(rows[start : start + count]):
                value = values[row.version] = _decode(row, data)
                if isinstance(value, LakebedError) and self._gives_up(value):
                    break
            start, count = start + count, count * 2

    def _gives_up(self, error: LakebedError) -> bool:
        if isinstance(error, StorageError):
            self._failures += 1
        else:
            self._damaged += 1
        return self.exhausted


def is_stored(row: EntryRow) -> bool:
    """Whether reading an entry's text takes reading the storage. (Tables and bytes count with their
    metadata alone: a table's columns say little, its cells too much.)"""
    return row.inline_value is None and row.format == "json"


def _decode(row: EntryRow, data: bytes | LakebedError) -> Any:
    if isinstance(data, LakebedError):
        return data
    try:
        # Several times as fast. Numbers, of which it rounds some, are no text.
        return orjson.loads(data)
    except orjson.JSONDecodeError:  # too deep for it, or not JSON
        pass
    try:
        return decode_value(row.format, data)
    except CorruptionError as error:
        return error


def _text(row: EntryRow, value: Any, unread: bool) -> IndexedText:
    metadata = row.metadata_dict()
    value_text = value if isinstance(value, str) else text_of(value, None)
    if not metadata:
        text = value_text
    else:
        from_metadata = text_of(None, metadata)
        text = f"{from_metadata}\n{value_text}" if from_metadata and value_text else (
            from_metadata or value_text
        )  # fmt: skip
    return IndexedText(row, text, value_text, _speaker(value, metadata), metadata, unread)


def _speaker(value: Any, metadata: dict[str, Any]) -> str:
    for found in (value, metadata):
        if isinstance(found, dict):
            for name in _SPEAKERS:
                if isinstance(speaker := found.get(name), str) and speaker:
                    return speaker
    return ""
