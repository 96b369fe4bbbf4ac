"""Reading a whole lake: in order, as Arrow, and as a publication."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import duckdb

import lakebed
from lakebed.lake.lake import Lake
from tests.benchmarks.postgres import ENTRIES, postgres_server
from tests.benchmarks.queries import fill
from tests.benchmarks.runner import OURS, Contest, Room, benchmark

_BATCH = 10_000  # keys of a call
_DUCKDB = "DuckDB, one thread, out of memory"


@benchmark
def publish(room: Room) -> Iterator[Contest]:
    """A publication of documents of 500 bytes, beside DuckDB writing the same out of memory."""
    count = room.count(100_000)
    with lakebed.open(room.folder / "lake") as lake:
        fill(lake, count, 450)
        yield _publishing(lake, room, count)


@benchmark
def publish_on_postgres(room: Room) -> Iterator[Contest]:
    """The same out of a Postgres catalog, and reading its rows with psycopg alone."""
    import psycopg

    count = room.count(100_000)
    with (
        postgres_server(fsync="on") as server,
        psycopg.connect(server.url()) as raw,
        lakebed.open(catalog=server.url(), storage=room.folder / "storage") as lake,
    ):
        fill(lake, count, 450)
        server.execute("ANALYZE")

        def rows(_: int) -> None:
            assert sum(1 for _ in raw.cursor(binary=True).stream(ENTRIES, size=1000)) == count

        yield _publishing(lake, room, count, {"psycopg reads the rows": rows})


def _publishing(
    lake: Lake, room: Room, count: int, others: Mapping[str, Callable[[int], object]] = {}
) -> Contest:
    numbers = itertools.count()
    lake.publish(room.folder / "first")
    raw = duckdb.connect(config={"threads": 1})
    raw.execute(
        "CREATE TABLE t AS FROM read_parquet($1)", [str(room.folder / "first/entries.parquet")]
    )

    def new() -> Path:
        return room.folder / f"p{next(numbers)}"

    def ours(_: int) -> None:
        assert lake.publish(new()).entries == count

    def theirs(_: int) -> None:
        raw.execute(f"COPY t TO '{new()}.parquet' (FORMAT parquet, COMPRESSION zstd)")

    return Contest(
        f"publish of {count:,} documents",
        {OURS: ours, _DUCKDB: theirs, **others},
        bars={_DUCKDB: 0.5},
        unit="ms",
        rounds=5,
    )


@benchmark
def reading_in_order(room: Room) -> Iterator[Contest]:
    """All values of a lake whose values lie in packs, in key order, beside `retrieve_batch`."""
    count = room.count(100_000)
    with lakebed.open(room.folder / "packed", inline_threshold=0) as lake:
        fill(lake, count, 300)
        keys = list(lake)

        def batches(_: int) -> None:
            for start in range(0, count, _BATCH):
                assert len(lake.retrieve_batch(keys[start : start + _BATCH])) == _BATCH

        def values_of_entries(_: int) -> None:
            assert sum(entry.value is not None for entry in lake.list()) == count

        def items(_: int) -> None:
            assert sum(1 for _ in lake.items()) == count

        for name, ours in (("the values of a listing", values_of_entries), ("items()", items)):
            yield Contest(
                f"{name}, {count:,} packed values of 350 bytes",
                {OURS: ours, f"retrieve_batch of {_BATCH:,} keys each": batches},
                bars={f"retrieve_batch of {_BATCH:,} keys each": 0.5},
                unit="ms",
                rounds=3,
            )
