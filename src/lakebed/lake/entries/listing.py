"""Listings: entries in key order, page by page."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice, repeat
from typing import TYPE_CHECKING, Any, Protocol

from lakebed.catalog.protocol import CatalogReads
from lakebed.lake.checks import check_count, check_filter, check_key, check_prefix
from lakebed.lake.contents.windows import Contents, Page, ReadAhead
from lakebed.model import LAST_KEY, EntryRow, Progress
from lakebed.records import Entry, ValueReader
from lakebed.values.tabular import Tabular

if TYPE_CHECKING:
    import pyarrow as pa

PAGE = 1000
_MOST_KEYS = 16 * PAGE  # of a page of keys alone


class BulkReader(ValueReader, Protocol):
    """What a listing needs of its lake."""

    def read_contents(self, rows: Iterable[EntryRow]) -> Contents: ...


def keys_in_order(catalog: CatalogReads) -> Iterator[str]:
    """Yield all keys in order. They are read in pages, each of the catalog's then present state."""
    low, size = "", PAGE
    while True:
        page = catalog.keys(low, LAST_KEY, size)
        yield from page
        if len(page) < size:
            return
        low, size = page[-1] + "\x01", min(4 * size, _MOST_KEYS)


class Listing(Tabular):
    """Entries in key order. You can iterate it several times. Each time reads it again."""

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
            # The least key after it, because no key holds NUL.
            self._low = max(self._low, check_key(after, "after") + "\x01")
        self._filter = check_filter(metadata_filter)
        self._limit = None if limit is None else check_count("limit", limit)

    def rows(self) -> Iterator[EntryRow]:
        """Yield the entries as rows of the catalog."""
        return chain.from_iterable(self.pages())

    def pages(self, most: Callable[[], int] = lambda: PAGE) -> Iterator[Sequence[EntryRow]]:
        """Yield the entries as rows of the catalog, page by page.

        Before each page but the first, `most` tells how many rows it may have. With a filter, the
        catalog decides.
        """
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
                size = min(PAGE, 4 * size)  # this loop may filter most of them
            yield page[:left]
            left -= len(page)
            size = min(most() if keeps is None else size, left)
            more = more and left > 0

    def __iter__(self) -> Iterator[Entry]:
        ahead = ReadAhead(self._lake.read_contents)
        for number, rows in enumerate(self.pages(lambda: ahead.page_rows)):
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

    def to_arrow(self, *, progress: Progress | None = None) -> pa.Table:
        """Return the listing as an Arrow table, with one row for each entry, in key order.

        Columns: key (string), version (int64), content_hash (string), format (string), byte_size
        (int64), inlined (bool), storage_uri (string), metadata (string, JSON), expires_at,
        created_at, updated_at (timestamp[us, UTC]).

        Takes little more memory than the table. `progress` is called with the rows read so far and
        their total, which is None with a filter.
        """
        from lakebed.catalog.capabilities import is_scannable
        from lakebed.catalog.scan import Scan
        from lakebed.lake.arrow.entries import rows_to_arrow, scan_to_arrow

        uri, pages, total = self._lake.full_uri, self.pages(), None
        if progress and self._filter is None:
            total = self._catalog.count(self._low, self._high)
            total = total if self._limit is None else min(total, self._limit)
        whole = self._filter is None and self._limit is None
        if whole and is_scannable(self._catalog):
            first = list(islice(pages, 1))
            if first and len(first[0]) == PAGE:
                wanted = Scan("entries", self._low, self._high, ordered=True)
                return scan_to_arrow(self._catalog, wanted, uri, progress, total or 0)
            pages = chain(first, pages)
        return rows_to_arrow(pages, uri, progress, total)
