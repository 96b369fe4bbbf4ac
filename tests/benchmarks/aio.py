"""The asynchronous lake against the synchronous one, and against a native one on psycopg's pool."""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from asyncio.events import Handle
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from statistics import quantiles
from typing import Any
from unittest.mock import patch

import lakebed
from lakebed.aio import AsyncLake
from lakebed.catalog.postgres.catalog import DirectPostgresCatalog, _arguments
from lakebed.catalog.statements.writer import Writer
from lakebed.lake.lake import Lake
from lakebed.model import EntryRow
from tests.benchmarks.postgres import postgres_server
from tests.benchmarks.runner import OURS, Contest, Room, Round, benchmark

_VALUE = {"text": "A memory of some length, as agents keep them. " * 2, "n": 1}
_THREADS = 16

Store = Callable[[str, Any], Awaitable[object]]
Retrieve = Callable[[str], Awaitable[object]]


@benchmark
def aio_postgres(room: Room) -> Iterator[Contest]:
    """Stores and retrieves on Postgres: tasks against threads, and one task against one thread."""
    import anyio.to_thread

    with postgres_server(fsync="off") as server:
        url = server.url()
        catalog = {"type": "postgres", "url": url, "min_size": _THREADS, "max_size": _THREADS}
        with asyncio.Runner() as runner, lakebed.open(catalog=catalog) as sync:
            lake = AsyncLake(sync)
            limiter = anyio.CapacityLimiter(_THREADS)

            async def anyio_store(key: str, value: Any) -> object:
                return await anyio.to_thread.run_sync(
                    partial(sync.store, key, value), limiter=limiter
                )

            async def anyio_retrieve(key: str) -> object:
                return await anyio.to_thread.run_sync(sync.retrieve, key, limiter=limiter)

            def tasks(store: Store, retrieve: Retrieve, count: int, each: int) -> Round:
                return lambda number: runner.run(_tasks(store, retrieve, number, count, each))

            def native(count: int, each: int) -> Round:
                async def play(number: int) -> None:
                    async with _native(url, sync) as (store, retrieve):
                        began.append(time.perf_counter())
                        await _tasks(store, retrieve, number, count, each)

                began: list[float] = []

                def round_(number: int) -> float:
                    runner.run(play(number))
                    return time.perf_counter() - began[-1]

                return round_

            each = room.count(60)
            yield Contest(
                "Postgres: 64 tasks store and retrieve",
                {
                    OURS: tasks(lake.store, lake.retrieve, 64, each // 4),
                    "16 threads, synchronous": _threads(sync, _THREADS, each),
                    "native: psycopg's async pool": native(64, each // 4),
                    "anyio.to_thread": tasks(anyio_store, anyio_retrieve, 64, each // 4),
                },
                {"16 threads, synchronous": 0.9},
                operations=2 * 64 * (each // 4),
                note="as many connections as threads",
            )
            yield Contest(
                "Postgres: 500 tasks store and retrieve",
                {
                    OURS: tasks(lake.store, lake.retrieve, 500, each // 15),
                    "16 threads, synchronous": _threads(sync, _THREADS, 500 * (each // 15) // 16),
                    "native: psycopg's async pool": native(500, each // 15),
                },
                {"16 threads, synchronous": 0.9},
                operations=2 * 500 * (each // 15),
            )
            yield Contest(
                "Postgres: one task stores and retrieves",
                {
                    OURS: tasks(lake.store, lake.retrieve, 1, 4 * each),
                    "one thread, synchronous": _threads(sync, 1, 4 * each),
                    "native: psycopg's async pool": native(1, 4 * each),
                },
                {"one thread, synchronous": 0.6},
                operations=2 * 4 * each,
            )
            runner.run(lake.close())


@benchmark
def aio_sqlite(room: Room) -> Iterator[Contest]:
    """The same on SQLite, where a call takes less time than the way to a thread and back."""
    each = room.count(60)
    with asyncio.Runner() as runner, lakebed.open(room.folder / "lake") as sync:
        for workers in (4, 8, 16, 32):
            lake = AsyncLake(sync, max_workers=workers)
            yield Contest(
                f"SQLite: 64 tasks store and retrieve, {workers} workers",
                {
                    OURS: lambda number, lake=lake: runner.run(  # type: ignore[misc]
                        _tasks(lake.store, lake.retrieve, number, 64, each // 4)
                    ),
                    "16 threads, synchronous": _threads(sync, _THREADS, each),
                },
                operations=2 * 64 * (each // 4),
            )
            lake._crew.end()
        one = AsyncLake(sync)
        yield Contest(
            "SQLite: one task stores and retrieves",
            {
                OURS: lambda number: runner.run(
                    _tasks(one.store, one.retrieve, number, 1, 4 * each)
                ),
                "one thread, synchronous": _threads(sync, 1, 4 * each),
            },
            operations=2 * 4 * each,
        )
        runner.run(one.close())


@benchmark
def aio_lag(room: Room) -> Iterator[Contest]:
    """For how long the loop is held by one step, in a run of 10,000 calls of every kind."""
    count = room.count(10_000)

    async def play(where: dict[str, Any]) -> tuple[list[float], list[float]]:
        steps: list[float] = []
        waits: list[float] = []
        run = Handle._run  # type: ignore[attr-defined]

        def timed(handle: Handle) -> None:
            before, began = time.thread_time(), time.perf_counter()
            run(handle)
            steps.append(time.thread_time() - before)
            waits.append(time.perf_counter() - began)

        async with lakebed.aio.open(**where) as lake:
            await lake.store("first", 1)  # what is loaded once is loaded
            await lake.search("memory")
            with patch.object(Handle, "_run", timed):
                await asyncio.gather(*(_mixed(lake, task, count // 100) for task in range(100)))
        return sorted(steps), sorted(waits)

    with postgres_server(fsync="off") as server:
        places: dict[str, dict[str, Any]] = {
            "SQLite": {"where": room.folder / "lake"},
            "Postgres": {
                "catalog": {"type": "postgres", "url": server.url()},
                "storage": room.folder / "storage",
            },
        }
        for name, where in places.items():
            steps, waits = asyncio.run(play(where))
            yield Contest(
                f"{name}: the longest step of the loop in {count:,} calls",
                {OURS: lambda _, steps=steps: steps[-1] * 1e3, "20 ms": lambda _: 20.0},  # type: ignore[misc]
                {"20 ms": 1.0},
                unit="ms of its processor time",
                rounds=1,
                note=f"{len(steps):,} steps: {_spread(steps)}; by the clock, with what else the "
                f"machine does: {_spread(waits)}",
            )


def _spread(seconds: list[float]) -> str:
    cuts = quantiles(seconds, n=1000)
    figures = {
        "half": cuts[499], "99 %": cuts[989], "99.9 %": cuts[998], "longest": seconds[-1]
    }  # fmt: skip
    return ", ".join(f"{label} {value * 1e3:.3g}" for label, value in figures.items())


async def _mixed(lake: AsyncLake, task: int, count: int) -> None:
    large = "x" * 100_000
    for number in range(count // 10):
        key = f"t{task:03}/{number:03}"
        await lake.store(key, {**_VALUE, "n": number})
        await lake.store(f"{key}/large", large + key)
        await lake.retrieve(f"{key}/large")
        await lake.retrieve(key)
        await lake.entry(key)
        await lake.retrieve_batch([f"t{task:03}/{n:03}" for n in range(number)])
        async for _ in lake.list(f"t{task:03}/", limit=50):
            pass
        await lake.search(f"memory length {number}")
        async with lake.transaction() as tx:
            tx.store(f"{key}/a", number)
            tx.store(f"{key}/b", large + key)
        await lake.delete(f"{key}/a")


async def _tasks(store: Store, retrieve: Retrieve, number: int, count: int, each: int) -> None:
    async def work(task: int) -> None:
        for n in range(each):
            key = f"{id(store)}/{number}/{task}/{n}"
            await store(key, {**_VALUE, "of": key})
            await retrieve(key)

    await asyncio.gather(*map(work, range(count)))


def _threads(lake: Lake, count: int, each: int) -> Round:
    def work(number: int, thread: int) -> None:
        for n in range(each):
            key = f"threads/{count}/{number}/{thread}/{n}"
            lake.store(key, {**_VALUE, "of": key})
            lake.retrieve(key)

    def play(number: int) -> None:
        threads = [threading.Thread(target=work, args=(number, n)) for n in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return play


@asynccontextmanager
async def _native(url: str, lake: Lake) -> AsyncIterator[tuple[Store, Retrieve]]:
    """The same statements and checks on psycopg's async pool: the least that a native path does."""
    from psycopg import AsyncConnection
    from psycopg.types.numeric import Int8Dumper
    from psycopg_pool import AsyncConnectionPool

    async def configure(connection: AsyncConnection[Any]) -> None:
        connection.adapters.register_dumper(int, Int8Dumper)

    catalog: DirectPostgresCatalog = lake._catalog  # type: ignore[assignment]
    statements = catalog._statements
    writers = weakref.WeakKeyDictionary[AsyncConnection[Any], Writer]()

    async with AsyncConnectionPool(
        url, min_size=_THREADS, max_size=_THREADS, kwargs={"autocommit": True}, configure=configure
    ) as pool:
        await pool.wait()

        async def store(key: str, value: Any) -> object:
            put, _ = lake._put(key, value, None, None, None, False, None)
            connection = await pool.getconn()
            try:
                writer = writers.setdefault(connection, Writer())
                writer.token += 1
                arguments = _arguments(put, None, False, writer)[1]
                cursor = await connection.execute(statements["put_entry"], arguments, binary=True)
                (row,) = await cursor.fetchall()
            finally:
                await pool.putconn(connection)
            return catalog._outcome(put, row)

        async def retrieve(key: str) -> object:
            connection = await pool.getconn()
            try:
                cursor = await connection.execute(statements["get_entry"], (key, None), binary=True)
                rows = await cursor.fetchall()
            finally:
                await pool.putconn(connection)
            return lake.read_value(EntryRow._make(rows[0]))

        yield store, retrieve
