"""Listings: entries in key order, page by page."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice, repeat
from typing import TYPE_CHECKING, Any, Protocol

from lakebed.catalog.protocol import CatalogReads, Scannable
from lakebed.lake.checks import check_count, check_filter, check_key, check_prefix
from lakebed.lake.entries.windows import Contents, Page, ReadAhead
from lakebed.model import Entry, EntryRow, ValueReader

if TYPE_CHECKING:
    import pyarrow as pa

PAGE = 1000


class BulkReader(ValueReader, Protocol):
    """What a listing needs of its lake."""

    def read_contents(self, rows: Iterable[EntryRow]) -> Contents: ...


class Listing:
    """Entries in key order; iterate it as often as you like, each time it reads anew."""

    def __init__(
        self,
        catalog: CatalogReads,
        lake: BulkReader,
        prefix: str = "",
        *,
        metadata_filter: Mapping[str, Any] | None = None,
        limit: int | None = None,
        after: str | None = None,
    ) -> None:
        self._catalog = catalog
        self._lake = lake
        self._prefix = prefix
        self._low, self._high = check_prefix(prefix)
        if after is not None:
            # The least key behind it, since no key holds NUL.
            self._low = max(self._low, check_key(after, "after") + "\x01")
        self._filter = check_filter(metadata_filter)
        self._limit = None if limit is None else check_count("limit", limit)

    def rows(self) -> Iterator[EntryRow]:
        """The entries as the catalog's rows."""
        return chain.from_iterable(self._pages())

    def _pages(self) -> Iterator[Sequence[EntryRow]]:
        """The entries, page by page."""
        left = sys.maxsize if self._limit is None else self._limit
        keeps, low, size, more = None, self._low, min(PAGE, left), left > 0
        if self._filter:
            keeps = self._filter.keeps
        while more:
            page, more = self._catalog.page(low, self._high, size, self._filter)
            if not page:
                return
            low = page[-1].key + "\x01"
            if keeps is not None:
                page = [row for row in page if keeps(row.metadata)]
                size = min(PAGE, 4 * size)  # a catalog may leave much of the filter to us
            yield page[:left]
            left -= len(page)
            size, more = min(size, left), more and left > 0

    def __iter__(self) -> Iterator[Entry]:
        ahead = ReadAhead(self._lake.read_contents)
        for number, rows in enumerate(self._pages()):
            yield from map(Entry, rows, repeat(Page(self._lake, ahead, number, rows)))

    def __repr__(self) -> str:
        shown = [entry.key for entry in islice(self, 6)]
        keys = ", ".join(map(repr, shown[:5])) + (", …" if len(shown) > 5 else "")
        return f"<Listing of {self._prefix!r}: {keys or 'no entries'}>"

    def _repr_html_(self) -> str:
        from lakebed.values.html import SHOWN_ROWS, table

        names = ("key", "format", "byte_size", "metadata", "expires_at", "updated_at")
        rows = ([entry[name] for name in names] for entry in islice(self, SHOWN_ROWS + 1))
        return table(f"Listing of {self._prefix!r}", names, rows)

    def to_arrow(self) -> pa.Table:
        """The listing as an Arrow table, one row an entry, in key order.

        Columns: key (string), version (int64), content_hash (string), format (string),
        byte_size (int64), inlined (bool), storage_uri (string), metadata (string, JSON),
        expires_at, created_at, updated_at (timestamp[us, UTC]).
        """
        from lakebed.catalog.scan import Scan
        from lakebed.lake.sql.arrow import rows_to_arrow, scan_to_arrow

        rows = self.rows()
        if isinstance(self._catalog, Scannable) and self._filter is None and self._limit is None:
            first = list(islice(rows, PAGE))
            if len(first) == PAGE:
                wanted = Scan("entries", self._low, self._high)
                return scan_to_arrow(self._catalog, wanted, self._lake.full_uri)
            rows = chain(first, rows)
        return rows_to_arrow(rows, self._lake.full_uri)
