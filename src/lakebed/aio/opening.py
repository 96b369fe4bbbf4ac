"""Open a lake for coroutines."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine, Generator, Mapping
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar

from lakebed.aio.calls import perform
from lakebed.aio.crew import Crew
from lakebed.aio.lake import AsyncLake, lake_over
from lakebed.catalog.opened import Durability
from lakebed.config.opening import open as open_lake
from lakebed.lake.base import AutoMaintain
from lakebed.lake.checks import TTL
from lakebed.lake.lake import Lake
from lakebed.lake.opening import Embedder, History, Relocate


class _Closed(Protocol):
    def close(self) -> object: ...


class _AsyncClosed(Protocol):
    def close(self) -> Coroutine[Any, Any, None]: ...


C = TypeVar("C", bound=_AsyncClosed)
M = TypeVar("M", bound=_Closed)


class Opening(Generic[C]):
    """The result of a call that opens something: `await` opens it, and `async with` also closes
    it."""

    def __init__(self, begin: Callable[[], Coroutine[Any, Any, C]]) -> None:
        self._begin = begin
        self._opened: C

    def __await__(self) -> Generator[Any, Any, C]:
        return self._begin().__await__()

    async def __aenter__(self) -> C:
        self._opened = await self._begin()
        return self._opened

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._opened.close()


def open(
    where: str | os.PathLike[str] | Mapping[str, object] | None = None,
    *,
    catalog: str | Mapping[str, object] | None = None,
    storage: str | os.PathLike[str] | Mapping[str, object] | None = None,
    inline_threshold: int | None = None,
    history: History | None = None,
    history_retention: TTL | None = None,
    durability: Durability = "normal",
    lock_timeout: float = 60.0,
    auto_maintain: AutoMaintain = "light",
    embedder: Embedder = None,
    cache: str | os.PathLike[str] | None = None,
    read_only: bool = False,
    relocate: Relocate = False,
    max_workers: int | None = None,
) -> Opening[AsyncLake]:
    """Open a lake for coroutines. Create it if it does not exist.

        async with lakebed.aio.open("some/dir") as lake:
            await lake.store("a", 1)

        lake = await lakebed.aio.open("some/dir")  # close it with `await lake.close()`

    The arguments and errors are those of `lakebed.open`. `max_workers`: the most calls that run at
    a time. Other calls wait. As many long calls, such as batches, queries and `maintain`, can run
    beside them. The default is 4 on SQLite, 32 with a storage in a bucket, and 16 otherwise.
    """

    def make() -> Lake:
        return open_lake(
            where,
            catalog=catalog,
            storage=storage,
            inline_threshold=inline_threshold,
            history=history,
            history_retention=history_retention,
            durability=durability,
            lock_timeout=lock_timeout,
            auto_maintain=auto_maintain,
            embedder=embedder,
            cache=cache,
            read_only=read_only,
            relocate=relocate,
        )

    async def begin() -> AsyncLake:
        crew, lake = await start(max_workers, make)
        crew.fit(lake)
        return lake_over(crew, lambda: lake, lake.close, lake)

    return Opening(begin)


async def start(max_workers: int | None, make: Callable[[], M]) -> tuple[Crew, M]:
    """Start a crew, make an object in one of its threads, and return both.

    If that fails or the caller is cancelled, the object is closed and the threads end.
    """
    crew = Crew(max_workers)
    try:
        made = await perform(crew.single, make, reads=True, discard=lambda made: made.close())
    except BaseException:
        crew.end()
        raise
    return crew, made
