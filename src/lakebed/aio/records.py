"""Entries for coroutines. Reading a value from the storage needs an `await`."""

from __future__ import annotations

from typing import Any

from lakebed.aio.calls import perform
from lakebed.aio.crew import Crew
from lakebed.errors import UnreadError
from lakebed.lake.history.versions import History, Version
from lakebed.lake.searching import Hit, Hits
from lakebed.model import EntryRow, VersionRow
from lakebed.records import UNREAD, Entry, StoredEntry, ValueReader
from lakebed.values.parts import TABLE

_QUICK = ("json", "bytes")  # formats that the loop may decode; a thread reads tables
_AT_ONCE = 64 * 1024  # bytes that the loop may decode, which takes well under a millisecond


class AwaitedReader:
    """The reader of an asynchronous entry. Only `read` waits; the other calls never block."""

    def __init__(self, lake: ValueReader, crew: Crew) -> None:
        self._lake = lake
        self._crew = crew

    def read_value(self, row: EntryRow) -> Any:
        """Return the value that came with the row. Raises UnreadError if it is in the storage."""
        if row.inline_value is None or row.format == TABLE:
            raise UnreadError(f"the value of {row.key!r} is in the storage: await entry.read()")
        return self._lake.read_value(row)

    def count_rows(self, row: EntryRow) -> int | None:
        """Return how many rows a table has, if the catalog knows it. Raises UnreadError if the
        table is in the storage."""
        if row.format == "parquet" and row.inline_value is None:
            raise UnreadError(f"the table {row.key!r} is in the storage: await entry.read()")
        return self._lake.count_rows(row)

    def full_uri(self, uri: str | None, position: str | None) -> str | None:
        """Return the URI of a content in the storage, or None if the content is in the catalog."""
        return self._lake.full_uri(uri, position)

    async def read(self, row: EntryRow) -> Any:
        """Read the value of a row."""
        if row.inline_value is not None and row.byte_size <= _AT_ONCE and row.format in _QUICK:
            return self._lake.read_value(row)
        return await perform(self._crew.single, lambda: self._lake.read_value(row), reads=True)


class AsyncEntry(Entry):
    """An entry of an asynchronous lake. It is like `Entry`, with `await entry.read()` for the
    value.

    `value` works if the value is in the catalog or has been read. Otherwise it raises UnreadError.
    """

    __slots__ = ()
    _lake: AwaitedReader

    async def read(self) -> Any:
        """Return the value. Read it if necessary. Raises the errors of `retrieve`."""
        if self._value is UNREAD:
            self._value = await self._lake.read(self._row)
        return self._value


class AsyncStoredEntry(AsyncEntry, StoredEntry):
    """The result of `store`: the entry, with `created`, `changed` and `deduplicated`."""

    __slots__ = ()


class AsyncVersion(AsyncEntry, Version):
    """A version of an entry, with `ended_at`."""

    __slots__ = ()


class AsyncHit(Hit):
    """An entry that a search found. It is like `Hit`, with `await hit.read()` for the value."""

    __slots__ = ()
    entry: AsyncEntry

    async def read(self) -> Any:
        """Return the value. Read it if necessary. Raises the errors of `retrieve`."""
        return await self.entry.read()


class AsyncHits(Hits):
    """The entries that a search found, the best first. They are like `Hits`.

    After a search with a filter but no query, `total` raises UnreadError until `await
    hits.count_total()` has counted the matches. Counting can take much longer than the search.
    """

    def __init__(self, hits: Hits, crew: Crew) -> None:
        found = [AsyncHit(entry(hit.entry, crew), hit.score, hit.explanation) for hit in hits]
        super().__init__(found, hits._total, hits.unread)
        self._counted = hits
        self._crew = crew

    @property
    def total(self) -> int:
        """The number of matching entries. Raises UnreadError if they have not been counted."""
        if not isinstance(self._total, int):
            raise UnreadError(
                "the matches of a filter have not been counted: await hits.count_total()"
            )
        return self._total

    async def count_total(self) -> int:
        """Return the number of matching entries. After this call, `total` has it too."""
        if not isinstance(self._total, int):
            self._total = await perform(self._crew.long, lambda: self._counted.total, reads=True)
        return self._total

    def __repr__(self) -> str:
        return super().__repr__() if isinstance(self._total, int) else f"<Hits: {len(self)}>"

    def _repr_html_(self) -> str:
        return super()._repr_html_() if isinstance(self._total, int) else f"<p>{len(self)} hits</p>"


def entry(found: Entry, crew: Crew) -> AsyncEntry:
    """Return this entry for coroutines."""
    return AsyncEntry(found._row, AwaitedReader(found._lake, crew))


def optional_entry(found: Entry | None, crew: Crew) -> AsyncEntry | None:
    """Return this entry for coroutines, or None if it is None."""
    return None if found is None else entry(found, crew)


def stored_entry(stored: StoredEntry, crew: Crew) -> AsyncStoredEntry:
    """Return this result of a store for coroutines."""
    return AsyncStoredEntry(stored._outcome, AwaitedReader(stored._lake, crew))


def history(found: History, crew: Crew) -> History:
    """Return these versions of a key for coroutines."""
    versions = [
        AsyncVersion(
            VersionRow(version._row, None, version._ended_at), AwaitedReader(version._lake, crew)
        )
        for version in found
    ]
    return History(versions, found.note)
