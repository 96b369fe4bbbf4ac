"""Many stored tables as one, against DuckDB on the list of their files."""

from __future__ import annotations

import random
from collections.abc import Iterator

import duckdb
import pyarrow as pa

import lakebed
from tests.benchmarks.runner import OURS, Contest, Room, benchmark

ROWS = 1000


@benchmark
def tables(room: Room) -> Iterator[Contest]:
    """`tables(prefix)` and an aggregate over all rows, the call included; once more warm."""
    count = room.count(1000)
    chance = random.Random(1)
    with lakebed.open(room.folder / "lake") as lake:
        lake.store_batch(
            {
                "key": f"t/{number:05}",
                "value": pa.table(
                    {
                        "n": [chance.randrange(1000) for _ in range(ROWS)],
                        "x": [chance.random() for _ in range(ROWS)],
                    }
                ),
            }
            for number in range(count)
        )
        files = [str(entry.storage_uri).removeprefix("file://") for entry in lake.list("t/")]
        wanted = sum(lake[entry.key]["n"].to_numpy().sum() for entry in lake.list("t/"))

        def ours(_: int) -> None:
            table = lake.tables("t/")
            found = table.aggregate(n=table.n.sum(), x=table.x.max())
            assert found.to_pyarrow()["n"][0].as_py() == wanted

        def first(number: int) -> None:
            lake.query_settings()  # ends the session, and with it what is known of the files
            ours(number)

        def by_hand(_: int, *, options: str = "") -> None:
            sql = f"SELECT sum(n), max(x) FROM read_parquet({files}{options})"
            with duckdb.connect() as connection:
                found = connection.execute(sql).fetchone()
            assert found is not None
            assert found[0] == wanted

        kept = duckdb.connect()
        kept.execute("SET parquet_metadata_cache = true")

        def kept_by_hand(_: int) -> None:
            kept.execute(f"SELECT sum(n), max(x) FROM read_parquet({files})").fetchone()

        yield Contest(
            f"tables() over {count:,} stored tables of {ROWS:,} rows, and an aggregate",
            {
                OURS: ours,
                "read_parquet with the file list": by_hand,
                "the same, connection and footers kept": kept_by_hand,
                "read_parquet, union_by_name": lambda n: by_hand(
                    n, options=", union_by_name=true, filename=true"
                ),
            },
            bars={"read_parquet with the file list": 1 / 1.5},
            unit="ms",
            rounds=7,
            note="warm: what the first call learnt of the files is kept",
        )
        yield Contest(
            "the same, the first call of a session",
            {OURS: first, "read_parquet with the file list": by_hand},
            unit="ms",
            rounds=7,
        )
        kept.close()
