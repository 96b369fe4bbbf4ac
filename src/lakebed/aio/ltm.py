"""The LTM interface for coroutines: the same calls, awaited."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, Callable, Coroutine, Iterable, Iterator, Mapping
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, ParamSpec

from lakebed.aio.calls import Reader, converse, while_wanted
from lakebed.aio.crew import Closing, Crew, Face, call
from lakebed.aio.lake import AsyncLake, lake_over
from lakebed.aio.opening import Opening, start
from lakebed.aio.streams import Stream
from lakebed.aio.transaction import AsyncTransaction
from lakebed.errors import LakebedError
from lakebed.ltm.adapter import LTMBackend
from lakebed.ltm.registry import create_ltm_backend
from lakebed.ltm.transactions import Queueing
from lakebed.reporting import Result, failure, misused

P = ParamSpec("P")


def reported(
    method: Callable[Concatenate[Any, P], Coroutine[Any, Any, Result]],
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, Result]]:
    """Return a method whose errors are results, including the error of a closed backend."""

    @wraps(method, assigned=("__name__", "__doc__"))
    async def called(self: Any, /, *args: P.args, **options: P.kwargs) -> Result:
        try:
            return await method(self, *args, **options)
        except LakebedError as error:
            return failure(error)
        except TypeError as error:
            return misused(method, options, error)

    return called


class AsyncLTMBackend(Face[LTMBackend], Closing):
    """Long-term memory for agents that are coroutines: the calls of `LTMBackend`, awaited.

    `create_async_ltm_backend` makes one, and `AsyncLTMBackend(backend)` makes one over an open
    backend. Closing this object closes that backend. `max_workers`: the most calls that run at a
    time, as for `lakebed.aio.open`.
    """

    def __init__(self, backend: LTMBackend, *, max_workers: int | None = None) -> None:
        self._begin(Crew(max_workers, backend._lake), backend)

    def _begin(self, crew: Crew, backend: LTMBackend) -> None:
        super().__init__(crew, lambda: backend)
        self._backend = backend
        self._lake = lake_over(crew, lambda: backend.lake, backend.close)

    @property
    def lake(self) -> AsyncLake:
        """The lake itself. Use it for what this interface has no call for, such as snapshots.

        Closing this backend closes the lake. If the lake is not open yet, its first call opens it,
        and raises the error if that fails.
        """
        return self._lake

    store = reported(call(LTMBackend.store))
    retrieve = reported(call(LTMBackend.retrieve, reads=True))
    touch = reported(call(LTMBackend.touch))
    delete = reported(call(LTMBackend.delete))
    list = reported(call(LTMBackend.list, reads=True))
    search = reported(call(LTMBackend.search, reads=True))
    cleanup_expired = reported(call(LTMBackend.cleanup_expired, long=True))
    _store_batch = call(LTMBackend.store_batch, long=True)
    _retrieve_batch = call(LTMBackend.retrieve_batch, reads=True)

    @reported
    async def store_batch(
        self,
        entries: Iterable[Mapping[str, Any]] | AsyncIterable[Mapping[str, Any]],
        atomic: bool = True,
    ) -> Result:
        """Store many entries, also from an async generator, as `LTMBackend.store_batch` does."""
        if not isinstance(entries, AsyncIterable):
            given = while_wanted(entries) if isinstance(entries, Iterator) else entries
            return await self._store_batch(given, atomic=atomic)
        async with Reader(entries) as reader:
            return await converse(
                self._crew.long,
                lambda talk: self._source().store_batch(talk.items(reader), atomic=atomic),
            )

    @reported
    async def retrieve_batch(self, keys: Iterable[str] | AsyncIterable[str]) -> Result:
        """Return the values of many keys, as `LTMBackend.retrieve_batch` does."""
        if isinstance(keys, AsyncIterable):
            keys = [key async for key in keys]
        return await self._retrieve_batch(keys)

    def iterate_all(self) -> Stream[tuple[str, Any, dict[str, Any]]]:
        """Return all entries as `(key, value, metadata)` in the order of keys: `async for key,
        value, metadata in memory.iterate_all()`. They are read as you iterate.

        This call has no result to put errors in, so it raises them (see `lakebed.errors`).
        """
        return Stream(self._crew.single, lambda: self._backend.iterate_all())

    def transaction(self) -> AsyncLTMTransaction:
        """Begin a transaction: stores and deletes that happen together or not at all."""
        return AsyncLTMTransaction(self._lake.transaction)

    async def close(self) -> None:
        """Wait for the running calls, then close the lake. Later calls fail. Closing again does
        nothing."""
        await self._lake.close()

    def __repr__(self) -> str:
        return f"<AsyncLTMBackend over {self._backend!r}>"


class AsyncLTMTransaction(Queueing[AsyncTransaction]):
    """Stores and deletes that happen together or not at all.

        async with memory.transaction() as tx:
            tx.store("a", 1)
            tx.delete("b")

    `AsyncLTMBackend.transaction` begins one. Do not await `store` and `delete`, which only queue.
    Leaving the block commits. An error in the block rolls back. If the commit fails, the block
    raises the error, because it has no result to return. Call `await tx.commit()` yourself to get
    the error as a dictionary.
    """

    @reported
    async def commit(self) -> Result:
        """Apply all queued changes or none: `{success, operations}`, as `LTMTransaction.commit`."""
        return {"success": True, "operations": await self._commit()}

    @reported
    async def rollback(self) -> Result:
        """Discard all queued changes: `{success, discarded}`."""
        self._ended = True
        return {"success": True, "discarded": await self._current().rollback()}

    async def _commit(self) -> int:
        transaction = self._current()
        self._ended = True
        if self._refused is None:
            return await transaction.commit()
        await transaction.rollback()
        raise self._refused

    async def __aenter__(self) -> AsyncLTMTransaction:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._ended:
            return
        if kind is None:
            await self._commit()
        else:
            await self.rollback()


def create_async_ltm_backend(
    type: str | os.PathLike[str] = "sqlite",  # noqa: A002
    *,
    max_workers: int | None = None,
    **options: Any,
) -> Opening[AsyncLTMBackend]:
    """Make a backend for coroutines, by its type or from a configuration file.

        async with create_async_ltm_backend("sqlite", path="memory.db") as memory:
            await memory.store("a", 1)

        memory = await create_async_ltm_backend("sqlite")  # close it yourself

    The types, options and errors are those of `lakebed.ltm.create_ltm_backend`. `max_workers`: the
    most calls that run at a time, as for `lakebed.aio.open`.
    """

    async def begin() -> AsyncLTMBackend:
        crew, backend = await start(max_workers, lambda: create_ltm_backend(type, **options))
        crew.fit(backend._lake)
        made = AsyncLTMBackend.__new__(AsyncLTMBackend)
        made._begin(crew, backend)
        return made

    return Opening(begin)
