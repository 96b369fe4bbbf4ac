"""Reads a catalog as of an earlier moment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from lakebed.catalog.protocol import CatalogStats, Place
from lakebed.catalog.search_rows import SearchReading
from lakebed.catalog.sql.metadata import MetadataIndex
from lakebed.catalog.sql.segments import PINNED, MovedError, QuickReading, TransactionReading
from lakebed.catalog.statements.executor import Executor, Params, Row, Transaction
from lakebed.catalog.statements.queries import in_lists
from lakebed.errors import NotFoundError
from lakebed.model import LAST_KEY, Content, ContentId, EntryRow, Moment, entry_rows

if TYPE_CHECKING:
    from lakebed.filters import Filter

T = TypeVar("T")


class CatalogAt:
    """The reading calls of a catalog at a moment.

    Every statement checks whether the moment can still be read. So no answer mixes rows from before
    the snapshot was dropped with rows from after it.
    """

    def __init__(
        self, executor: Executor, queries: Mapping[str, str], index: MetadataIndex, moment: Moment
    ) -> None:
        self._executor = executor
        self._queries = queries
        self._index = index
        self._moment = moment
        pinned = queries["pinned_snapshot" if moment.snapshot else "pinned_version"]
        self._pinned = pinned
        self._get: str | None = None
        self._params: Params = {
            "version": moment.version,
            "now": moment.time,
            "snapshot": moment.snapshot,
        }

    def get(self, key: str) -> EntryRow | None:
        ((names, params),) = in_lists(self._queries, [key])
        if self._get is None:  # making the text takes as long as the read
            self._get = self._sql("get_entries_at", "{keys}", names)
        rows = self._read(self._get, params)
        return EntryRow._make(rows[0]) if rows else None

    def get_many(self, keys: Sequence[str]) -> Sequence[EntryRow]:
        found: list[EntryRow] = []
        for names, params in in_lists(self._queries, keys):
            rows = self._read(self._sql("get_entries_at", "{keys}", names), params)
            found += entry_rows(rows)
        return found

    def page(
        self, low: str, high: str, limit: int, metadata_filter: Filter | None = None
    ) -> tuple[Sequence[EntryRow], bool]:
        if metadata_filter:
            from lakebed.catalog.sql.filtered import FilteredPage, Source  # not for a first store

            source = Source(self._rows, self.get_many, self._read_candidates, "_at")
            return FilteredPage(source, self._index, metadata_filter, high).take(low, limit)
        rows = self._rows(low, high, limit)
        return rows, len(rows) == limit

    def _rows(self, low: str, high: str, limit: int) -> Sequence[EntryRow]:
        params = {"low": low, "high": high, "page": limit}
        return entry_rows(self._read(self._sql("list_entries_at"), params))

    def keys(self, low: str, high: str, limit: int) -> Sequence[str]:
        params = {"low": low, "high": high, "page": limit}
        return [key for (key,) in self._read(self._sql("list_keys_at"), params)]

    def _read_candidates(self, sql: str, params: Params) -> Sequence[Row]:
        rows = self._executor.fetch(sql, {**self._params, **params})
        self._check_pinned()  # if so, everything that was read was complete
        return rows

    def search(self, look: Callable[[SearchReading], T]) -> T:
        queries, moment = self._queries, self._moment
        with suppress(MovedError):
            rows = self._executor.fetch(self._sql("look_at"), self._params)
            if not any(row[0] == PINNED for row in rows):
                raise gone(moment)
            return look(QuickReading(self._executor.fetch, queries, rows, moment))

        def read(tx: Transaction) -> T:
            if not tx.all(self._sql("is_pinned"), self._params):
                raise gone(moment)
            return look(TransactionReading(tx, queries, moment, moment.time))

        return self._executor.read(read)

    def count(self, low: str, high: str) -> int:
        ((count,),) = self._read(self._sql("count_entries_at"), {"low": low, "high": high})
        if count is None:
            raise gone(self._moment)
        return int(count)

    def locate(self, content: ContentId) -> Place | None:
        content_hash, format = content
        rows = self._executor.fetch(
            self._queries["find_object"], {"content_hash": content_hash, "format": format}
        )
        return Place._make(rows[0][1:]) if rows else None

    def parts(self, content: ContentId) -> Sequence[Content]:
        content_hash, format = content
        rows = self._executor.fetch(
            self._queries["get_parts"], {"content_hash": content_hash, "format": format}
        )
        return list(map(Content._make, rows))

    def stats(self, *, exact: bool = False) -> CatalogStats:
        del exact  # it is always exact
        entries, entry_bytes, *of_objects = self._totals()
        # Only the present has expired entries, snapshots and a history. They count as 0.
        totals = (entries, 0, entry_bytes, *of_objects, 0, 0, of_objects[1])
        return CatalogStats._make((*map(int, totals), ()))

    def _totals(self) -> Row:
        (row,) = self._read(self._sql("totals_at"), {"low": "", "high": LAST_KEY})
        if not row[0]:
            self._check_pinned()
        return row

    def _sql(self, name: str, place: str = "", text: str = "") -> str:
        sql = self._queries[name].replace("{pinned}", self._pinned)
        return sql.replace(place, text) if place else sql

    def _read(self, sql: str, params: Params) -> Sequence[Row]:
        rows = self._executor.fetch(sql, {**self._params, **params})
        if not rows:
            self._check_pinned()
        return rows

    def _check_pinned(self) -> None:
        """Raise NotFoundError if the moment is gone.

        An empty answer is right only if the moment still exists. Then it also existed before.
        """
        if not self._executor.fetch(self._sql("is_pinned"), self._params):
            raise gone(self._moment)


def gone(moment: Moment) -> NotFoundError:
    """Return the NotFoundError for a moment that can no longer be read."""
    if moment.snapshot:
        return NotFoundError(f"the snapshot {moment.snapshot} has been dropped")
    return NotFoundError(f"the history of version {moment.version} is no longer kept")


def rows_at(
    tx: Transaction, queries: Mapping[str, str], moment: Moment, keys: Iterable[str]
) -> dict[str, EntryRow]:
    """Return the entries of keys at a moment, by key.

    The transaction must have checked that the moment can be read.
    """
    found = dict[str, EntryRow]()
    sql = queries["get_entries_at"].replace("{pinned}", "1 = 1")
    for names, params in in_lists(queries, list(keys)):
        at = {"version": moment.version, "now": moment.time}
        for row in tx.all(sql.replace("{keys}", names), {**params, **at}):
            found[row[0]] = EntryRow._make(row)
    return found
