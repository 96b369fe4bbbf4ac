"""Listings, diffs and query results for coroutines."""

from __future__ import annotations

import weakref
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, TypeVar

from lakebed.aio.calls import perform, perform_reporting
from lakebed.aio.crew import Crew
from lakebed.aio.records import AsyncEntry, entry
from lakebed.aio.streams import Stream
from lakebed.lake.entries.listing import Listing
from lakebed.lake.history.change import EntryChange
from lakebed.lake.history.diff import Diff, Restored, Summary
from lakebed.lake.history.feed import Changes
from lakebed.model import EntryRow, Progress
from lakebed.records import Entry, Record

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from lakebed.duckdb.result import QueryResult, Row

T = TypeVar("T")


class AsyncListing(Stream[AsyncEntry]):
    """Entries in the order of keys.

    `async for entry in listing` reads them page by page. Each iteration reads them again. `await
    listing` returns them as a list.
    """

    def __init__(self, crew: Crew, listing: Callable[[], Listing], shown: str) -> None:
        super().__init__(crew.single, lambda: (entry(found, crew) for found in listing()))
        self.listing = listing
        self._crew = crew
        self._shown = shown

    def rows(self) -> Stream[EntryRow]:
        """Return the entries as the catalog's rows."""
        return Stream(self._crew.single, lambda: self.listing().rows())

    async def to_arrow(self, *, progress: Progress | None = None) -> pa.Table:
        """Return the listing as an Arrow table, as `Listing.to_arrow` does."""
        return await perform_reporting(
            self._crew.long,
            lambda report: self.listing().to_arrow(progress=report),
            progress,
            reads=True,
        )

    async def to_pandas(self) -> pd.DataFrame:
        """Return the listing as a pandas DataFrame, with the columns of `to_arrow`."""
        return await perform(self._crew.long, lambda: self.listing().to_pandas(), reads=True)

    async def to_polars(self) -> pl.DataFrame:
        """Return the listing as a polars DataFrame, with the columns of `to_arrow`."""
        return await perform(self._crew.long, lambda: self.listing().to_polars(), reads=True)

    def __repr__(self) -> str:
        return f"<AsyncListing{self._shown}: async for entry in …>"


class AsyncEntryChange(Record):
    """A key whose entry differs. It is like `EntryChange`, with `await change.details()`."""

    __slots__ = ("_change", "_crew", "after", "before")
    FIELDS: ClassVar[tuple[str, ...]] = EntryChange.FIELDS

    def __init__(self, change: EntryChange, crew: Crew) -> None:
        self._change = change
        self._crew = crew
        self.before = entry(change.before, crew)
        self.after = entry(change.after, crew)

    @property
    def key(self) -> str:
        return self._change.key

    @property
    def content_changed(self) -> bool:
        return self._change.content_changed

    @property
    def metadata_changed(self) -> bool:
        return self._change.metadata_changed

    @property
    def expiry_changed(self) -> bool:
        return self._change.expiry_changed

    async def details(self) -> dict[str, Any]:
        """Read both values, and return what changed inside, as `EntryChange.details`."""
        return await perform(self._crew.long, self._change.details, reads=True)


class AsyncDifferences(Stream[T]):
    """The differences of one kind, in key order. `len()` is their number."""

    def __init__(self, crew: Crew, items: Callable[[], Iterable[T]], count: int) -> None:
        super().__init__(crew.single, items)
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        return f"<{self._count} differences: async for …>"


class Difference(NamedTuple):
    """A key that differs. `change` is `added`, `changed` or `removed`. `before` or `after` is None
    if the entry does not exist there."""

    change: Literal["added", "changed", "removed"]
    key: str
    before: AsyncEntry | None
    after: AsyncEntry | None


class AsyncChanges(Stream[Difference]):
    """The changes since a cursor, in the order of keys. You can iterate over them once.

    `cursor`: where the next call continues. See `Lake.changes`.
    """

    def __init__(self, changes: Changes, crew: Crew) -> None:
        def made(found: Entry | None) -> AsyncEntry | None:
            return None if found is None else entry(found, crew)

        super().__init__(
            crew.single,
            lambda: (
                Difference(each.change, each.key, made(each.before), made(each.after))
                for each in changes
            ),
        )
        self.cursor = changes.cursor

    def __repr__(self) -> str:
        return f"<AsyncChanges up to {self.cursor}>"


class AsyncDiff:
    """Entries that differ between two moments: `added`, `changed` and `removed`, in key order.

    Iterate over one kind with `async for entry in diff.added`. `async for difference in diff`
    iterates over all, each with `change`, `key`, `before` and `after`. `len()` is the number of all
    differences.
    """

    def __init__(self, diff: Diff, crew: Crew) -> None:
        self._diff = diff
        self._crew = crew
        self.added = self._entries(diff.added)
        self.changed = AsyncDifferences(
            crew,
            lambda: (AsyncEntryChange(change, crew) for change in diff.changed),
            len(diff.changed),
        )
        self.removed = self._entries(diff.removed)

    def _entries(self, found: Sequence[Entry]) -> AsyncDifferences[AsyncEntry]:
        crew = self._crew
        return AsyncDifferences(crew, lambda: (entry(each, crew) for each in found), len(found))

    def __len__(self) -> int:
        return len(self._diff)

    def __aiter__(self) -> AsyncIterator[Difference]:
        return aiter(Stream(self._crew.single, self._all))

    def _all(self) -> Iterator[Difference]:
        def made(found: Entry) -> AsyncEntry:
            return entry(found, self._crew)

        for found in self._diff.added:
            yield Difference("added", found.key, None, made(found))
        for change in self._diff.changed:
            yield Difference("changed", change.key, made(change.before), made(change.after))
        for found in self._diff.removed:
            yield Difference("removed", found.key, made(found), None)

    async def summary(self) -> Summary:
        """Return the diff in numbers."""
        return await perform(self._crew.single, self._diff.summary, reads=True)

    async def to_arrow(self, *, progress: Progress | None = None) -> pa.Table:
        """Return the diff as an Arrow table, as `Diff.to_arrow` does."""
        return await perform_reporting(
            self._crew.long,
            lambda report: self._diff.to_arrow(progress=report),
            progress,
            reads=True,
        )

    async def to_pandas(self) -> pd.DataFrame:
        """Return the diff as a pandas DataFrame, with the columns of `to_arrow`."""
        return await perform(self._crew.long, self._diff.to_pandas, reads=True)

    async def to_polars(self) -> pl.DataFrame:
        """Return the diff as a polars DataFrame, with the columns of `to_arrow`."""
        return await perform(self._crew.long, self._diff.to_polars, reads=True)

    def __repr__(self) -> str:
        return f"<Async{repr(self._diff)[1:]}"

    def _repr_html_(self) -> str:
        return self._diff._repr_html_()  # from memory, or from a temporary file


class AsyncRestored(AsyncDiff):
    """The result of `restore`: the diff that it applied, with `snapshot` and `expired`, as
    `Restored`."""

    def __init__(self, restored: Restored, crew: Crew) -> None:
        super().__init__(restored, crew)
        self.snapshot = restored.snapshot
        self.expired = restored.expired


class AsyncQueryResult:
    """The rows of a query. It is like `QueryResult`, with `await` before each call.

    `async for row in result` reads the rows once, from the first to the last.
    """

    def __init__(self, result: QueryResult, crew: Crew) -> None:
        self._result = result
        self._workers = crew.long
        # If nobody closes the result, a thread must do so, not the garbage collector on the loop.
        weakref.finalize(self, crew.long.later, result.close).atexit = False
        self.columns = result.columns
        self.types = result.types

    def __aiter__(self) -> AsyncIterator[Row]:
        return aiter(Stream(self._workers, lambda: self._result))

    async def fetchone(self) -> Row | None:
        """Return the next row, or None at the end."""
        return await perform(self._workers, self._result.fetchone)

    async def fetchmany(self, size: int = 1000) -> list[Row]:
        """Return the next rows, at most `size`. The list is empty at the end."""
        return await perform(self._workers, lambda: self._result.fetchmany(size))

    async def fetchall(self) -> list[Row]:
        """Return all rows that have not been fetched."""
        return await perform(self._workers, self._result.fetchall)

    async def arrow(self) -> pa.Table:
        """Return all rows as a pyarrow Table."""
        return await perform(self._workers, self._result.arrow)

    def batches(self, rows: int = 50_000) -> Stream[pa.RecordBatch]:
        """Return all rows as record batches of about `rows` rows: `async for batch in
        result.batches()`. They are read as you iterate."""
        return Stream(self._workers, lambda: self._result.batches(rows))

    async def df(self) -> pd.DataFrame:
        """Return all rows as a pandas DataFrame. Raises DependencyMissingError if pandas is not
        installed."""
        return await perform(self._workers, self._result.df)

    async def pl(self) -> pl.DataFrame:
        """Return all rows as a polars DataFrame. Raises DependencyMissingError if polars is not
        installed."""
        return await perform(self._workers, self._result.pl)

    async def close(self) -> None:
        """Close the cursor of the query. Rows that were not fetched are lost."""
        await perform(self._workers, self._result.close)

    def __repr__(self) -> str:
        return f"<AsyncQueryResult: {', '.join(self.columns)}; await result.df() gives its rows>"
