"""The reading calls of a lake and of its views, for coroutines."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from lakebed.aio.calls import perform
from lakebed.aio.crew import Face, call, reporting
from lakebed.aio.records import (
    AsyncHits,
    optional_entry,
)
from lakebed.aio.results import AsyncListing, AsyncQueryResult
from lakebed.aio.streams import Pending, Stream
from lakebed.errors import LakebedError
from lakebed.lake.checks import check_count, check_filter, check_key, check_prefix
from lakebed.lake.entries.batch_reading import Retrieved
from lakebed.lake.history.snapshots import LakeView
from lakebed.lake.lake import Lake
from lakebed.model import EntryRow

if TYPE_CHECKING:
    from lakebed.duckdb.result import Row

L = TypeVar("L", bound="Lake | LakeView")


class AsyncReading(Face[L]):
    """The reading calls of a lake, and of a lake as it was."""

    retrieve = call(Lake.retrieve, reads=True)
    entry = call(Lake.entry, optional_entry, reads=True)
    get = call(Lake.get, reads=True)
    stats = call(Lake.stats, reads=True)
    search = reporting(Lake.search, AsyncHits, reads=True, long=False)
    ibis = call(Lake.ibis, reads=True, long=True)
    table = call(Lake.table, reads=True, long=True)
    tables = call(Lake.tables, reads=True, long=True)
    read_entry = call(Lake.read_entry, reads=True)
    read_value = call(Lake.read_value, reads=True)
    count_rows = call(Lake.count_rows, reads=True)
    read_content = call(Lake.read_content, reads=True)
    full_uri = call(Lake.full_uri, reads=True)

    async def contains(self, key: object) -> bool:
        """Return whether the key exists, as `key in lake` does. False for an object that cannot be
        a key."""
        return await perform(self._crew.single, lambda: key in self._source(), reads=True)

    async def count(self) -> int:
        """Return the number of entries, as `len(lake)` does."""
        return await perform(self._crew.single, lambda: len(self._source()), reads=True)

    def __aiter__(self) -> AsyncIterator[str]:
        return aiter(self.keys())

    def keys(self) -> Stream[str]:
        """Return the keys in order: `async for key in lake.keys()`, or `await` for a list."""
        return Stream(self._crew.single, lambda: self._source())

    def values(self) -> Stream[Any]:
        """Return the values in the order of keys, read as for `items`."""
        return Stream(self._crew.single, lambda: self._source().values())

    def items(self) -> Stream[tuple[str, Any]]:
        """Return keys and values in the order of keys: `async for key, value in lake.items()`.

        An entry that others delete meanwhile is left out or returned as it was.
        """
        return Stream(self._crew.single, lambda: self._source().items())

    def list(
        self,
        prefix: str = "",
        *,
        metadata_filter: dict[str, Any] | None = None,
        limit: int | None = None,
        after: str | None = None,
    ) -> AsyncListing:
        """Return the entries whose keys begin with `prefix`: `async for entry in
        lake.list("notes/")`.

        The arguments are those of `Lake.list`. The listing is read in pages as you iterate. Each
        page shows the lake as it is then. `await lake.list(…)` returns all entries as a list.

        Raises ValidationError if the filter is malformed or the limit is negative.
        """
        check_prefix(prefix)
        check_filter(metadata_filter)
        if limit is not None:
            check_count("limit", limit)
        if after is not None:
            check_key(after, "after")
        return AsyncListing(
            self._crew,
            lambda: self._source().list(
                prefix, metadata_filter=metadata_filter, limit=limit, after=after
            ),
            f" of {prefix!r}",
        )

    async def retrieve_batch(self, keys: Iterable[str] | AsyncIterable[str]) -> Retrieved:
        """Return the values of many keys with few queries and grouped reads, as
        `Lake.retrieve_batch` does.

        `keys` can be an async iterable.
        """
        if isinstance(keys, AsyncIterable):
            keys = [key async for key in keys]
        wanted = keys
        return await perform(
            self._crew.single, lambda: self._source().retrieve_batch(wanted), reads=True
        )

    def read_listing(self, listing: AsyncListing) -> Stream[tuple[EntryRow, Any]]:
        """Return the rows of a listing with their values, as `Lake.read_listing` does."""
        return Stream(self._crew.single, lambda: self._source().read_listing(listing.listing()))

    def read_contents(
        self, rows: Iterable[EntryRow]
    ) -> Stream[tuple[EntryRow, bytes | LakebedError]]:
        """Return the stored bytes of each row, or its error, in any order, as `Lake.read_contents`
        does."""
        return Stream(self._crew.single, lambda: self._source().read_contents(rows))

    def read_in_order(self, rows: Iterable[EntryRow]) -> Stream[tuple[EntryRow, Any]]:
        """Return the value of each row, or its error, in order, as `Lake.read_in_order` does."""
        return Stream(self._crew.single, lambda: self._source().read_in_order(rows))

    def _query(self, ask: Callable[[L], Any]) -> Pending[AsyncQueryResult, Row]:
        crew = self._crew

        async def begin() -> AsyncQueryResult:
            result = await perform(
                crew.long,
                lambda: ask(self._source()),
                reads=True,
                discard=lambda left: left.close(),
            )
            return AsyncQueryResult(result, crew)

        return Pending(begin)
