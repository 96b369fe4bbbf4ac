"""The asynchronous lake: every call of a lake, for coroutines."""

from __future__ import annotations

import threading
import weakref
from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from lakebed.aio.calls import Reader, converse, perform, perform_reporting, stay, while_wanted
from lakebed.aio.crew import Closing, Crew, call, reporting
from lakebed.aio.reading import AsyncReading
from lakebed.aio.records import (
    entry,
    history,
    optional_entry,
    stored_entry,
)
from lakebed.aio.results import AsyncChanges, AsyncDiff, AsyncQueryResult, AsyncRestored
from lakebed.aio.signals import AsyncSignals, listening
from lakebed.aio.streams import Pending, Stream
from lakebed.aio.transaction import AsyncTransaction
from lakebed.aio.watch import AsyncWatch
from lakebed.lake.checks import check_flag, check_prefix
from lakebed.lake.entries.batch_report import BatchReport
from lakebed.lake.history.snapshot import Snapshot
from lakebed.lake.history.snapshots import LakeView
from lakebed.lake.lake import Lake, Scope
from lakebed.lake.scopes.scoping import check_path
from lakebed.model import Progress

if TYPE_CHECKING:
    from lakebed.aio.results import Difference
    from lakebed.duckdb.result import Row

_NEW = "not connected yet"


class AsyncView(AsyncReading[LakeView]):
    """A lake as it was at a moment, with the reading calls of an asynchronous lake.

    The first call looks the moment up. It raises NotFoundError if the snapshot or the history does
    not exist. After the snapshot is dropped or the history is removed, every call raises it.
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
        """The lake and the moment, without secrets."""
        moment = self._moment
        return f"{self._lake.name} at {moment.name if isinstance(moment, Snapshot) else moment}"

    @property
    def read_only(self) -> bool:
        """Whether the lake was opened read-only."""
        return self._lake.read_only

    def sql(
        self, query: str, params: Sequence[object] | Mapping[str, object] | None = None
    ) -> Pending[AsyncQueryResult, Row]:
        """Return the result of a SELECT over the tables `entries` and `documents` at the moment, as
        `AsyncLake.sql` does."""
        return self._query(lambda view: view.sql(query, params))

    def __repr__(self) -> str:
        return f"<AsyncView of {self.name}>"


class AsyncLake(AsyncReading[Lake], Closing):
    """A lake for coroutines: every call of `Lake`, awaited. `lakebed.aio.open` opens one.

    The calls have the arguments, results and errors of the synchronous ones. Use `async for` with
    listings, snapshots, diffs and query results. `contains` and `count` stand for `in` and `len`.
    Threads do the work: at most `max_workers` for single calls, and as many for long ones. Safe to
    use from any task, from several event loops, and after a fork.

    If a task is cancelled in a call that writes, the call first completes the write or undoes it.
    Values are encoded in a thread, so do not change a value before its store has ended.

    `lake`: an open lake. Closing this object closes it.
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
        weakref.finalize(self, crew.end)  # ends the threads of a lake that is never closed

    @property
    def name(self) -> str:
        """The name of the lake, without secrets."""
        return str(vars(self._lake).get("name", _NEW)) if self._lake is not None else _NEW

    @property
    def read_only(self) -> bool:
        """Whether the lake was opened read-only."""
        return self._lake is not None and self._lake.read_only

    store = call(Lake.store, stored_entry)
    append = call(Lake.append, stored_entry, long=True)
    touch = call(Lake.touch, entry)
    delete = call(Lake.delete)
    take = call(Lake.take, optional_entry)
    signal = call(Lake.signal)
    now = call(Lake.now, reads=True)
    setdefault = call(Lake.setdefault)
    pop = call(Lake.pop)
    popitem = call(Lake.popitem)
    clear = call(Lake.clear)
    create_snapshot = call(Lake.create_snapshot)
    drop_snapshot = call(Lake.drop_snapshot)
    restore = call(Lake.restore, AsyncRestored, long=True)
    changes = call(Lake.changes, AsyncChanges, long=True)
    history = call(Lake.history, history, reads=True)
    presign = call(Lake.presign)
    query_settings = call(Lake.query_settings)
    query_engine = call(Lake.query_engine)
    adopt = call(Lake.adopt)
    publish = reporting(Lake.publish)
    cleanup_expired = reporting(Lake.cleanup_expired)
    compact = reporting(Lake.compact)
    collect = reporting(Lake.collect)
    purge = reporting(Lake.purge)
    verify = reporting(Lake.verify)
    maintain = reporting(Lake.maintain)

    async def update(self, other: Any = (), /, **kwds: Any) -> None:
        """Store the values of a mapping or of pairs, one after the other.

        If the call is cancelled, it stores no more. `store_batch` is faster, and stores all or
        none.
        """

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
        """Store many entries from a list, a generator or an async generator, as `Lake.store_batch`
        does.

        An async generator runs in this task and can use the lake. It is closed if the batch ends
        early. `progress` can be a coroutine function.
        """
        given = entries
        if not isinstance(given, AsyncIterable):
            return await perform_reporting(
                self._crew.long,
                lambda report: self._source().store_batch(given, atomic=atomic, progress=report),
                progress,
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
        """Begin a transaction: stores and deletes that happen together or not at all.

            async with lake.transaction() as tx:
                tx.store("a", 1)
                tx.delete("b")

        The block commits when it ends without an error. Do not await `tx.store` and `tx.delete`,
        which only queue. Nothing is locked while the block runs. `await tx.retrieve` sees the
        queued changes. The commit checks conditions, and raises ConflictError if one does not hold.
        """
        return AsyncTransaction(self._crew, self._source)

    def snapshots(self) -> Stream[Snapshot]:
        """Return all snapshots, the oldest first: `async for snapshot in lake.snapshots()`, or
        `await` for a list."""
        return Stream(self._crew.single, lambda: self._source().snapshots())

    def at(self, moment: str | Snapshot | datetime | int) -> AsyncView:
        """Return the lake as it was: read-only, with the reading calls of a lake.

        Do not await this call. The first call of the view looks the moment up, and raises
        NotFoundError if it does not exist.

        `moment`: a snapshot, its name or its id. In a lake with `history="all"`, also a time (an
        aware datetime) or a version. Entries that had expired at the moment are left out.
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
        """Keep the state before a block of work, to see what it changed and to undo it.

            async with lake.watch("run") as run:
                await agent.work(lake)
            print(await run.diff)
            await run.undo()

        The arguments are those of `Lake.watch`.
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
        progress: Progress | None = None,
    ) -> Pending[AsyncDiff, Difference]:
        """Return what differs between two moments, or between a moment and now.

        `await lake.diff(a, b)` returns the diff. `async for difference in lake.diff(a, b)` iterates
        over it directly. The arguments and errors are those of `Lake.diff`.
        """
        crew = self._crew

        async def begin() -> AsyncDiff:
            found = await perform_reporting(
                crew.long,
                lambda report: self._source().diff(a, b, prefix=prefix, progress=report),
                progress,
                reads=True,
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
        """Run a SELECT over the lake at one moment, and return its result.

        `await lake.sql(query)` returns the result. `async for row in lake.sql(query)` iterates over
        its rows directly. Cancelling the task ends the query. The tables, arguments and errors are
        those of `Lake.sql`.
        """
        return self._query(lambda lake: lake.sql(query, params, external_access=external_access))

    def listen(self, topic: str) -> AbstractAsyncContextManager[AsyncSignals]:
        """Listen for signals of a topic in a block, as `Lake.listen` does.

            async with lake.listen("news") as signals:
                await signals.wait(10)

        The wait ends when somebody signals the topic, or after 10 seconds.
        """
        return listening(self._crew.long, lambda: self._source().listen(topic))

    def scope(self, path: str, *, inherit: bool = False) -> AsyncScope:
        """Return the lake confined to the keys that begin with `path` and a slash, as `Lake.scope`
        does.

        Do not await this call. Closing the scope closes its queries, but not the lake.
        """
        return AsyncScope(self, check_path(path), inherit=check_flag("inherit", inherit))

    async def close(self) -> None:
        """Wait for the running calls, then close the lake. Later calls raise CatalogError. Closing
        again does nothing."""
        await self._crew.close(self._close)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a lake cannot be pickled or copied: open it again in each process")

    def __repr__(self) -> str:
        return f"<AsyncLake {self.name}>"


def lake_over(
    crew: Crew, source: Callable[[], Lake], close: Callable[[], None], lake: Lake | None = None
) -> AsyncLake:
    """Return an asynchronous lake that uses an existing crew. `lake`: the synchronous lake, if it
    is open already."""
    made = AsyncLake.__new__(AsyncLake)
    made._begin(crew, source, close, lake)
    return made


class AsyncScope(AsyncLake):
    """A lake for coroutines that is confined to a prefix. `AsyncLake.scope` returns one."""

    def __init__(self, lake: AsyncLake, path: str, *, inherit: bool = False) -> None:
        finding = threading.Lock()
        self._found: list[Scope] = []

        def scope() -> Scope:
            with finding:
                if not self._found:
                    self._found.append(lake._source().scope(path, inherit=inherit))
                return self._found[0]

        AsyncReading.__init__(self, lake._crew, scope)
        self._outer = lake
        self._path = path

    @property
    def name(self) -> str:
        """The lake and the scope, without secrets."""
        return f"{self._outer.name}, scope {self._path}/"

    @property
    def read_only(self) -> bool:
        """Whether the lake was opened read-only."""
        return self._outer.read_only

    @property
    def prefix(self) -> str:
        """The prefix of the scope's keys in the lake."""
        outer = self._outer.prefix if isinstance(self._outer, AsyncScope) else ""
        return f"{outer}{self._path}/"

    async def close(self) -> None:
        """End the queries of the scope. The lake stays open."""
        for scope in self._found:
            await perform(self._crew.long, scope.close)

    def __repr__(self) -> str:
        return f"<AsyncScope {self.prefix!r} of {self._outer.name}>"
