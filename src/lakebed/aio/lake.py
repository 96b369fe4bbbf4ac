"""The asynchronous lake: every call of a lake, for coroutines."""

from __future__ import annotations

import threading
import weakref
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from lakebed.aio.calls import Reader, converse, perform, stay, while_wanted
from lakebed.aio.crew import Crew, Face, call, reporting
from lakebed.aio.records import (
    AsyncHits,
    history,
    optional_entry,
    stored_entry,
)
from lakebed.aio.results import AsyncDiff, AsyncListing, AsyncQueryResult, AsyncRestored
from lakebed.aio.streams import Pending, Stream
from lakebed.aio.transaction import AsyncTransaction
from lakebed.aio.watch import AsyncWatch
from lakebed.errors import LakebedError
from lakebed.lake.checks import check_count, check_filter, check_key, check_prefix
from lakebed.lake.entries.batch_reading import Retrieved
from lakebed.lake.entries.batch_report import BatchReport
from lakebed.lake.history.snapshot import Snapshot
from lakebed.lake.history.snapshots import LakeView
from lakebed.lake.lake import Lake
from lakebed.model import EntryRow, Progress

if TYPE_CHECKING:
    from lakebed.aio.results import Difference
    from lakebed.duckdb.result import Row

L = TypeVar("L", bound="Lake | LakeView")
_NEW = "not connected yet"


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
    read_content = call(Lake.read_content, reads=True)
    full_uri = call(Lake.full_uri, reads=True)

    async def contains(self, key: object) -> bool:
        """Whether the key is there, as `key in lake` tells; what cannot be a key is not."""
        return await perform(self._crew.single, lambda: key in self._source(), reads=True)

    async def count(self) -> int:
        """How many entries there are, as `len(lake)` tells."""
        return await perform(self._crew.single, lambda: len(self._source()), reads=True)

    def __aiter__(self) -> AsyncIterator[str]:
        return aiter(self.keys())

    def keys(self) -> Stream[str]:
        """The keys in order: `async for key in lake.keys()`, or `await` for a list."""
        return Stream(self._crew.single, lambda: self._source())

    def values(self) -> Stream[Any]:
        """The values in key order, as `items` reads them."""
        return Stream(self._crew.single, lambda: self._source().values())

    def items(self) -> Stream[tuple[str, Any]]:
        """Keys and values, in key order, each read once: `async for key, value in lake.items()`.

        What others delete meanwhile is left out, or seen as it was, and is no error.
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
        """The entries whose key begins with `prefix`: `async for entry in lake.list("notes/")`.

        Arguments as for `Lake.list`. It is read in pages while it is iterated, each page as the
        lake is then; `await lake.list(…)` gives all entries as a list.

        Raises ValidationError for a filter that is not well formed and a negative limit.
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
        """The values of many keys, by few queries and grouped reads; as `Lake.retrieve_batch`.

        `keys` may be an async iterable.
        """
        if isinstance(keys, AsyncIterable):
            keys = [key async for key in keys]
        wanted = keys
        return await perform(
            self._crew.single, lambda: self._source().retrieve_batch(wanted), reads=True
        )

    def read_listing(self, listing: AsyncListing) -> Stream[tuple[EntryRow, Any]]:
        """The rows of a listing with their values; as `Lake.read_listing`."""
        return Stream(self._crew.single, lambda: self._source().read_listing(listing.listing()))

    def read_contents(
        self, rows: Iterable[EntryRow]
    ) -> Stream[tuple[EntryRow, bytes | LakebedError]]:
        """The stored bytes of each row, or its error, in any order; as `Lake.read_contents`."""
        return Stream(self._crew.single, lambda: self._source().read_contents(rows))

    def read_in_order(self, rows: Iterable[EntryRow]) -> Stream[tuple[EntryRow, Any]]:
        """The value of each row, or its error, in order; as `Lake.read_in_order`."""
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


class AsyncView(AsyncReading[LakeView]):
    """A lake as it was: the reading calls of an asynchronous lake, as of a moment.

    The moment is looked up by the first call, which raises NotFoundError for a snapshot that is not
    there, and for history that is not kept; so does each call once it is dropped or pruned.
    """

    def __init__(self, lake: AsyncLake, moment: str | Snapshot | datetime | int) -> None:
        finding = threading.Lock()
        found: list[LakeView] = []

        def view() -> LakeView:
            with finding:
                if not found:
                    found.append(lake._source().at(moment))
                return found[0]

        super().__init__(lake._crew, view)
        self._lake = lake
        self._moment = moment

    @property
    def name(self) -> str:
        """The lake and the moment, as they may be shown."""
        moment = self._moment
        return f"{self._lake.name} at {moment.name if isinstance(moment, Snapshot) else moment}"

    @property
    def read_only(self) -> bool:
        """Whether the lake was opened to be read."""
        return self._lake.read_only

    def sql(
        self, query: str, params: Sequence[object] | Mapping[str, object] | None = None
    ) -> Pending[AsyncQueryResult, Row]:
        """The result of a SELECT over the tables `entries` and `documents` as of the moment; as
        `AsyncLake.sql`."""
        return self._query(lambda view: view.sql(query, params))

    def __repr__(self) -> str:
        return f"<AsyncView of {self.name}>"


class AsyncLake(AsyncReading[Lake]):
    """A lake for coroutines: every call of `Lake`, awaited. Made by `lakebed.aio.open`.

    The calls have the arguments, results and errors of the synchronous ones. Listings, snapshots,
    diffs and query results are iterated over by `async for`; `contains` and `count` stand for `in`
    and `len`. Threads do the work, `max_workers` at most for single calls, and as many for long
    ones. Safe to use from any task, from several event loops, and after a fork.

    Who is cancelled in a call that writes goes on when it has happened whole, or not at all.

    `lake`: a lake that is open, which is closed with this one.
    """

    def __init__(self, lake: Lake, *, max_workers: int | None = None) -> None:
        self._begin(Crew(max_workers, lake), lambda: lake, lake.close, lake)

    def _begin(
        self,
        crew: Crew,
        source: Callable[[], Lake],
        close: Callable[[], None],
        lake: Lake | None,
    ) -> None:
        super().__init__(crew, source)
        self._close = close
        self._lake = lake
        weakref.finalize(self, crew.end)  # for who never closes it

    @property
    def name(self) -> str:
        """What is shown of it."""
        return str(vars(self._lake).get("name", _NEW)) if self._lake is not None else _NEW

    @property
    def read_only(self) -> bool:
        """Whether the lake was opened to be read."""
        return self._lake is not None and self._lake.read_only

    store = call(Lake.store, stored_entry)
    delete = call(Lake.delete)
    setdefault = call(Lake.setdefault)
    pop = call(Lake.pop)
    popitem = call(Lake.popitem)
    clear = call(Lake.clear)
    create_snapshot = call(Lake.create_snapshot)
    drop_snapshot = call(Lake.drop_snapshot)
    restore = call(Lake.restore, AsyncRestored, long=True)
    history = call(Lake.history, history, reads=True)
    presign = call(Lake.presign)
    query_settings = call(Lake.query_settings)
    query_engine = call(Lake.query_engine)
    publish = reporting(Lake.publish)
    cleanup_expired = reporting(Lake.cleanup_expired)
    compact = reporting(Lake.compact)
    collect = reporting(Lake.collect)
    purge = reporting(Lake.purge)
    verify = reporting(Lake.verify)
    maintain = reporting(Lake.maintain)

    async def update(self, other: Any = (), /, **kwds: Any) -> None:
        """Store the values of a mapping, or of pairs, one after the other; one that is cancelled
        stores no more. `store_batch` stores all or none, and faster."""

        def work() -> None:
            lake = self._source()
            for key, value in while_wanted(dict(other, **kwds).items()):
                lake.store(key, value)

        await perform(self._crew.long, work)

    async def store_batch(
        self,
        entries: Iterable[Mapping[str, Any]] | AsyncIterable[Mapping[str, Any]],
        *,
        atomic: bool = True,
        progress: Progress | None = None,
    ) -> BatchReport:
        """Store many entries, from a list or as a generator or an async generator gives them; as
        `Lake.store_batch`.

        An async generator is read in this task, some entries at a time, and may use the lake; it is
        closed if the batch ends before it does. `progress` may be a coroutine function.
        """
        given = entries
        if not isinstance(given, AsyncIterable):
            if progress is None:
                return await perform(
                    self._crew.long,
                    lambda: self._source().store_batch(given, atomic=atomic, progress=stay),
                )
            callback = progress
            return await converse(
                self._crew.long,
                lambda talk: self._source().store_batch(
                    given, atomic=atomic, progress=talk.progress(callback)
                ),
            )
        async with Reader(given) as reader:
            return await converse(
                self._crew.long,
                lambda talk: self._source().store_batch(
                    talk.items(reader),
                    atomic=atomic,
                    progress=stay if progress is None else talk.progress(progress),
                ),
            )

    def transaction(self) -> AsyncTransaction:
        """A block whose stores and deletes happen all or not at all, when it ends without an error.

            async with lake.transaction() as tx:
                tx.store("a", 1)
                tx.delete("b")

        They are queued, not awaited: nothing is locked while the block runs, `await tx.retrieve`
        sees them, and conditions are judged at the end.
        """
        return AsyncTransaction(self._crew, self._source)

    def snapshots(self) -> Stream[Snapshot]:
        """All snapshots, oldest first: `async for snapshot in lake.snapshots()`, or `await` for a
        list."""
        return Stream(self._crew.single, lambda: self._source().snapshots())

    def at(self, moment: str | Snapshot | datetime | int) -> AsyncView:
        """The lake as it was: read-only, with the reading calls of a lake. Not awaited: the first
        call of the view looks the moment up.

        `moment`: a snapshot, its name or its id; in a lake with `history="all"` also a time (an
        aware datetime) or a version. Expiry is judged at that moment.
        """
        return AsyncView(self, moment)

    def watch(
        self,
        name: str | None = None,
        *,
        prefix: str = "",
        replace: bool = False,
        message: str | None = None,
        author: str | None = None,
    ) -> AsyncWatch:
        """Keep the state before a block of work, to see what the block changed and to undo it; as
        `Lake.watch`.

            async with lake.watch("run") as run:
                await agent.work(lake)
            print(await run.diff)
            await run.undo()
        """
        check_prefix(prefix)
        make = partial(self.create_snapshot, name, message=message, author=author, replace=replace)
        return AsyncWatch(self, make, prefix)

    def diff(
        self,
        a: str | Snapshot | datetime | int,
        b: str | Snapshot | datetime | int | None = None,
        *,
        prefix: str = "",
    ) -> Pending[AsyncDiff, Difference]:
        """What differs between two moments, or a moment and now; arguments as for `Lake.diff`.

        `await lake.diff(a, b)` gives the diff, `async for difference in lake.diff(a, b)` goes
        through it at once.
        """
        crew = self._crew

        async def begin() -> AsyncDiff:
            found = await perform(
                crew.long, lambda: self._source().diff(a, b, prefix=prefix), reads=True
            )
            return AsyncDiff(found, crew)

        return Pending(begin)

    def sql(
        self,
        query: str,
        params: Sequence[object] | Mapping[str, object] | None = None,
        *,
        external_access: bool = False,
    ) -> Pending[AsyncQueryResult, Row]:
        """The result of a SELECT over the lake as it is at one moment; tables, arguments and errors
        as for `Lake.sql`.

        `await lake.sql(query)` gives the result, `async for row in lake.sql(query)` its rows at
        once. A task that is cancelled ends the query.
        """
        return self._query(lambda lake: lake.sql(query, params, external_access=external_access))

    async def close(self) -> None:
        """Close the lake, when the calls at work have ended. Calls after it raise; closing again
        does nothing."""
        await self._crew.close(self._close)

    async def __aenter__(self) -> AsyncLake:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a lake can be neither pickled nor copied: open it where it is used, in another "
            "process as well"
        )

    def __repr__(self) -> str:
        return f"<AsyncLake {self.name}>"


def lake_over(
    crew: Crew, source: Callable[[], Lake], close: Callable[[], None], lake: Lake | None = None
) -> AsyncLake:
    """The asynchronous lake of a crew that is there; `lake` if it is known already."""
    made = AsyncLake.__new__(AsyncLake)
    made._begin(crew, source, close, lake)
    return made
