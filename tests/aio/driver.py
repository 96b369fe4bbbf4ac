"""A lake whose every call is a run of an event loop over an AsyncLake: for suites of lakes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import (
    AsyncIterable,
    Awaitable,
    Callable,
    ItemsView,
    Iterator,
    Mapping,
    MutableMapping,
    Sequence,
    ValuesView,
)
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from lakebed.aio import AsyncChanges, AsyncDiff, AsyncEntry, AsyncHit, AsyncHits
from lakebed.aio.records import AsyncStoredEntry, AsyncVersion
from lakebed.aio.results import AsyncEntryChange, AsyncQueryResult, AsyncRestored
from lakebed.errors import NotFoundError
from lakebed.lake.history.feed import FeedChange
from lakebed.lake.history.snapshots import History
from lakebed.model import VersionRow

T = TypeVar("T")
_local = threading.local()
_loops: list[asyncio.AbstractEventLoop] = []


def run(awaitable: Awaitable[T]) -> T:
    """What an awaitable gives, on the calling thread's event loop; on that of another thread, if
    its own is at it."""
    if asyncio._get_running_loop() is not None:
        with ThreadPoolExecutor(1) as other:
            return other.submit(run, awaitable).result()
    if not hasattr(_local, "loop"):
        _local.loop = asyncio.new_event_loop()
        _loops.append(_local.loop)
    loop: asyncio.AbstractEventLoop = _local.loop

    async def wait() -> T:
        return await awaitable

    return loop.run_until_complete(wait())


def iterate(items: AsyncIterable[T]) -> Iterator[Any]:
    """The items of an async iterable, a run for each."""
    iterator = aiter(items)
    while True:
        try:
            item = run(anext(iterator))
        except StopAsyncIteration:
            return
        yield driven(item)


def close_loops() -> None:
    """Close the loops of all threads; nothing may be left to do on any."""
    for loop in _loops:
        assert not asyncio.all_tasks(loop)
        loop.close()
    _loops.clear()
    vars(_local).clear()


class DrivenEntry(AsyncEntry):
    __slots__ = ()

    @property
    def value(self) -> Any:
        return run(self.read())

    @property
    def rows(self) -> int | None:
        if self.format == "parquet":  # in the storage, where a coroutine reads it
            return int(run(self.read()).num_rows)
        return super().rows


class DrivenStoredEntry(DrivenEntry, AsyncStoredEntry):
    __slots__ = ()


class DrivenVersion(DrivenEntry, AsyncVersion):
    __slots__ = ()


class DrivenHit(AsyncHit):
    __slots__ = ()

    @property
    def value(self) -> Any:
        return run(self.read())


class DrivenHits(AsyncHits):
    def __init__(self, hits: AsyncHits) -> None:
        super().__init__(hits._counted, hits._crew)
        self._hits = [DrivenHit(driven(hit.entry), hit.score, hit.explanation) for hit in hits]

    @property
    def total(self) -> int:
        return run(self.count_total())


class DrivenChange(AsyncEntryChange):
    __slots__ = ()

    def __init__(self, change: AsyncEntryChange) -> None:
        super().__init__(change._change, change._crew)
        self.before, self.after = driven(change.before), driven(change.after)

    def details(self) -> Any:
        return run(super().details())


class DrivenDiff:
    """Differences as lists."""

    def __init__(self, diff: AsyncDiff) -> None:
        self._diff = diff
        self.added = list(iterate(diff.added))
        self.changed = list(iterate(diff.changed))
        self.removed = list(iterate(diff.removed))
        assert [len(diff.added), len(diff.changed), len(diff.removed)] == [
            len(self.added), len(self.changed), len(self.removed)
        ]  # fmt: skip
        every = list(iterate(diff))
        assert [each.key for each in every] == [
            each.key for each in (*self.added, *self.changed, *self.removed)
        ]

    def __len__(self) -> int:
        return len(self._diff)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._diff, name)
        return (lambda *a, **o: run(found(*a, **o))) if callable(found) else found

    def __repr__(self) -> str:
        return repr(self._diff)

    def _repr_html_(self) -> str:
        return self._diff._repr_html_()


class DrivenResult:
    """What a query gives."""

    def __init__(self, result: AsyncQueryResult) -> None:
        self._result = result

    def __iter__(self) -> Iterator[Any]:
        return iterate(self._result)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._result, name)
        return (lambda *a, **o: run(found(*a, **o))) if callable(found) else found


class DrivenChanges:
    """The changes since a cursor."""

    def __init__(self, changes: AsyncChanges) -> None:
        self._changes = iterate(changes)
        self.cursor = changes.cursor

    def __iter__(self) -> Iterator[FeedChange]:
        return self

    def __next__(self) -> FeedChange:
        change = next(self._changes)
        before, after = (each and driven(each) for each in (change.before, change.after))
        return FeedChange(before, after)


class DrivenRestored(DrivenDiff):
    """What a restore gave."""


_KINDS: dict[type, Callable[[Any], Any]] = {
    AsyncStoredEntry: lambda found: DrivenStoredEntry(found._outcome, found._lake),
    AsyncVersion: lambda found: DrivenVersion(
        VersionRow(found._row, None, found._ended_at), found._lake
    ),
    AsyncEntry: lambda found: DrivenEntry(found._row, found._lake),
    AsyncHits: DrivenHits,
    AsyncEntryChange: DrivenChange,
    AsyncChanges: DrivenChanges,
    AsyncDiff: DrivenDiff,
    AsyncRestored: DrivenRestored,
    AsyncQueryResult: DrivenResult,
    History: lambda found: History([driven(version) for version in found], found.note),
}


def driven(result: Any) -> Any:
    """What the synchronous call would have given."""
    make = _KINDS.get(type(result))
    return result if make is None else make(result)


class DrivenListing:
    """A listing, iterated over by runs."""

    def __init__(self, listing: Any) -> None:
        self._listing = listing

    def __iter__(self) -> Iterator[Any]:
        return iterate(self._listing)

    def rows(self) -> Iterator[Any]:
        return iterate(self._listing.rows())

    def to_arrow(self, **options: Any) -> Any:
        return run(self._listing.to_arrow(**options))


class DrivenTransaction:
    """A transaction in a `with` block."""

    def __init__(self, transaction: Any) -> None:
        self._transaction = transaction
        self.store = transaction.store

    def delete(self, key: Any, **options: Any) -> bool:
        return run(self._transaction.delete(key, **options))

    def retrieve(self, *args: Any, **options: Any) -> Any:
        return run(self._transaction.retrieve(*args, **options))

    def commit(self) -> int:
        return run(self._transaction.commit())

    def rollback(self) -> int:
        return run(self._transaction.rollback())

    def __enter__(self) -> DrivenTransaction:
        run(self._transaction.__aenter__())
        return self

    def __exit__(self, *error: Any) -> None:
        run(self._transaction.__aexit__(*error))


class DrivenWatch:
    """A watch in a `with` block."""

    def __init__(self, watch: Any) -> None:
        self._watch = watch

    @property
    def snapshot(self) -> Any:
        return self._watch.snapshot

    @property
    def diff(self) -> Any:
        return driven(run(self._watch.diff))

    def undo(self, **options: Any) -> Any:
        return driven(run(self._watch.undo(**options)))

    def __enter__(self) -> DrivenWatch:
        run(self._watch.__aenter__())
        return self

    def __exit__(self, *error: Any) -> None:
        run(self._watch.__aexit__(*error))

    def __repr__(self) -> str:
        return repr(self._watch)


class _Items(ItemsView[str, Any]):
    def __init__(self, lake: DrivenView) -> None:
        super().__init__(lake)
        self._lake = lake

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return iterate(self._lake.lake.items())


class _Values(ValuesView[Any]):
    def __init__(self, lake: DrivenView) -> None:
        super().__init__(lake)
        self._lake = lake

    def __iter__(self) -> Iterator[Any]:
        return iterate(self._lake.lake.values())


def _through(name: str) -> Any:
    def called(self: DrivenView, *args: Any, **options: Any) -> Any:
        return driven(run(getattr(self.lake, name)(*args, **options)))

    return called


class DrivenView(Mapping[str, Any]):
    """`lake` is a view of an AsyncLake."""

    def __init__(self, lake: Any) -> None:
        self.lake = lake

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        found = getattr(self.lake, name)
        if not callable(found):
            return found
        return lambda *args, **options: driven(run(found(*args, **options)))

    def list(self, *args: Any, **options: Any) -> DrivenListing:
        return DrivenListing(self.lake.list(*args, **options))

    get = _through("get")  # not the mapping's own

    def __getitem__(self, key: str) -> Any:
        return run(self.lake.retrieve(key))

    def __contains__(self, key: object) -> bool:
        return run(self.lake.contains(key))

    def __len__(self) -> int:
        return run(self.lake.count())

    def __iter__(self) -> Iterator[str]:
        return iterate(self.lake)

    def items(self) -> ItemsView[str, Any]:
        return _Items(self)

    def values(self) -> ValuesView[Any]:
        return _Values(self)

    def __repr__(self) -> str:
        return repr(self.lake)

    __eq__ = object.__eq__
    __hash__ = object.__hash__


class Driven(DrivenView, MutableMapping[str, Any]):
    """`lake` is an AsyncLake."""

    @property
    def _catalog(self) -> Any:
        """What the suite asks for its capabilities."""
        return self.lake._lake._catalog

    pop = _through("pop")
    popitem = _through("popitem")
    setdefault = _through("setdefault")
    update = _through("update")
    clear = _through("clear")

    def snapshots(self) -> Sequence[Any]:
        found = list(iterate(self.lake.snapshots()))
        assert found == run(self.lake.snapshots())
        return found

    def at(self, moment: Any) -> DrivenView:
        view = DrivenView(self.lake.at(moment))
        run(view.lake.full_uri(None, None))  # looks the moment up, as the synchronous call does
        return view

    def scope(self, path: str, **options: Any) -> Driven:
        return Driven(self.lake.scope(path, **options))

    def watch(self, *args: Any, **options: Any) -> DrivenWatch:
        return DrivenWatch(self.lake.watch(*args, **options))

    def transaction(self) -> DrivenTransaction:
        return DrivenTransaction(self.lake.transaction())

    def store_batch(self, entries: Any, **options: Any) -> Any:
        """Iterators come as async generators, lists as they are."""
        if isinstance(entries, Iterator):
            given = entries

            async def generate() -> Any:
                for entry in given:
                    await asyncio.sleep(0)
                    yield entry

            entries = generate()
        return run(self.lake.store_batch(entries, **options))

    def __setitem__(self, key: str, value: Any) -> None:
        run(self.lake.store(key, value))

    def __delitem__(self, key: str) -> None:
        if not run(self.lake.delete(key)):
            raise NotFoundError(f"no entry with the key {key!r}")

    def close(self) -> None:
        run(self.lake.close())
