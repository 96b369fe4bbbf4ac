"""Entries for coroutines. A value that must be read needs an `await`."""

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

_QUICK = ("json", "bytes")  # formats; tables are read by a thread
_AT_ONCE = 64 * 1024  # bytes; decoding them takes well under a millisecond, so the loop may do it


class AwaitedReader:
    """Reads for an entry what needs no waiting on the loop."""

    def __init__(self, lake: ValueReader, crew: Crew) -> None:
        self._lake = lake
        self._crew = crew

    def read_value(self, row: EntryRow) -> Any:
        """Return the value that came with the row. Raises UnreadError if it is in the storage."""
        if row.inline_value is None or row.format == TABLE:
            raise UnreadError(f"the value of {row.key!r} is in the storage: await entry.read()")
        return self._lake.read_value(row)

    def count_rows(self, row: EntryRow) -> int | None:
        """Return the rows of a table that the catalog tells. Raises UnreadError if it is in the
        storage."""
        if row.format == "parquet" and row.inline_value is None:
            raise UnreadError(f"the table {row.key!r} is in the storage: await entry.read()")
        return self._lake.count_rows(row)

    def full_uri(self, uri: str | None, position: str | None) -> str | None:
        """Return the URI of content in the storage, or None if it is in the catalog."""
        return self._lake.full_uri(uri, position)

    async def read(self, row: EntryRow) -> Any:
        """Read the value of a row."""
        if row.inline_value is not None and row.byte_size <= _AT_ONCE and row.format in _QUICK:
            return self._lake.read_value(row)
        return await perform(self._crew.single, lambda: self._lake.read_value(row), reads=True)


class AsyncEntry(Entry):
    """An entry of an asynchronous lake: like `Entry`, with `await entry.read()` for the value.

    `value` works if the value is in the catalog or has been read; otherwise it raises UnreadError.
    """

    __slots__ = ()
    _lake: AwaitedReader

    async def read(self) -> Any:
        """Return the value, and read it if necessary. Raises errors as `retrieve` does."""
        if self._value is UNREAD:
            self._value = await self._lake.read(self._row)
        return self._value


class AsyncStoredEntry(AsyncEntry, StoredEntry):
    """What `store` returns: the entry, with `created`, `changed` and `deduplicated`."""

    __slots__ = ()


class AsyncVersion(AsyncEntry, Version):
    """A version of an entry, with `ended_at`."""

    __slots__ = ()


class AsyncHit(Hit):
    """An entry that a search found: as `Hit`, with `await hit.read()` for the value."""

    __slots__ = ()
    entry: AsyncEntry

    async def read(self) -> Any:
        """Return the value, and read it if necessary. Raises errors as `retrieve` does."""
        return await self.entry.read()


class AsyncHits(Hits):
    """What a search found, best first: like `Hits`.

    With a filter but no query, `total` raises UnreadError until `await hits.count_total()` has
    counted the matches. That may take much longer than the hits.
    """

    def __init__(self, hits: Hits, crew: Crew) -> None:
        found = [AsyncHit(entry(hit.entry, crew), hit.score, hit.explanation) for hit in hits]
        super().__init__(found, hits._total, hits.unread)
        self._counted = hits
        self._crew = crew

    @property
    def total(self) -> int:
        """The number of matching entries."""
        if not isinstance(self._total, int):
            raise UnreadError(
                "the matches of a filter have not been counted: await hits.count_total()"
            )
        return self._total

    async def count_total(self) -> int:
        """Return the number of matching entries. From then on, `total` has it."""
        if not isinstance(self._total, int):
            self._total = await perform(self._crew.long, lambda: self._counted.total, reads=True)
        return self._total

    def __repr__(self) -> str:
        return super().__repr__() if isinstance(self._total, int) else f"<Hits: {len(self)}>"

    def _repr_html_(self) -> str:
        return super()._repr_html_() if isinstance(self._total, int) else f"<p>{len(self)} hits</p>"


def entry(found: Entry, crew: Crew) -> AsyncEntry:
    """Return an entry for coroutines."""
    return AsyncEntry(found._row, AwaitedReader(found._lake, crew))


def optional_entry(found: Entry | None, crew: Crew) -> AsyncEntry | None:
    """Return an entry for coroutines, or None."""
    return None if found is None else entry(found, crew)


def stored_entry(stored: StoredEntry, crew: Crew) -> AsyncStoredEntry:
    """Return the result of a store, for coroutines."""
    return AsyncStoredEntry(stored._outcome, AwaitedReader(stored._lake, crew))


def history(found: History, crew: Crew) -> History:
    """Return the versions of a key, for coroutines."""
    versions = [
        AsyncVersion(
            VersionRow(version._row, None, version._ended_at), AwaitedReader(version._lake, crew)
        )
        for version in found
    ]
    return History(versions, found.note)
