"""Many values in one call, packs, memory and space."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

import lakebed
from tests.benchmarks.documents import documents
from tests.benchmarks.runner import OURS, Contest, Room, benchmark

_Pairs = list[tuple[str, Any]]
ROUNDS = 5
MIB = 1 << 20


class RawTable:
    """One table with the columns that an entry and its object have, through sqlite3."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = NORMAL")
        self.db.execute(
            "CREATE TABLE kv (key TEXT PRIMARY KEY, version INTEGER, content_hash BLOB,"
            " format TEXT, byte_size INTEGER, value TEXT, metadata TEXT, expires_at INTEGER,"
            " created_at INTEGER, updated_at INTEGER)"
        )

    def set_many(self, pairs: _Pairs) -> None:
        self.db.execute("BEGIN IMMEDIATE")
        self.db.executemany(
            "INSERT INTO kv VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (
                (key, n, bytes(32), "json", len(text := json.dumps(value)), text, "{}", None, 1, 1)
                for n, (key, value) in enumerate(pairs)
            ),
        )
        self.db.execute("COMMIT")

    def get_many(self, keys: list[str]) -> dict[str, Any]:
        marks = ", ".join("?" * len(keys))
        rows = self.db.execute(f"SELECT key, value FROM kv WHERE key IN ({marks})", keys)  # noqa: S608
        return {key: json.loads(text) for key, text in rows}

    def close(self) -> None:
        self.db.close()


def _entries(pairs: _Pairs) -> list[dict[str, Any]]:
    return [{"key": key, "value": value} for key, value in pairs]


@benchmark
def batches(room: Room) -> Iterator[Contest]:
    """10,000 documents of 470 bytes in, 1,000 of them out."""
    count = room.count(10_000)
    lake, raw = lakebed.open(room.folder / "lake"), RawTable(room.folder / "raw.db")
    rounds = [documents(count, start=number * count) for number in range(ROUNDS)]
    yield Contest(
        f"store_batch of {count:,} documents of 470 bytes",
        {
            OURS: lambda number: _ignore(lake.store_batch(_entries(rounds[number]))),
            "raw executemany": lambda number: raw.set_many(rounds[number]),
        },
        {"raw executemany": 0.45},
        operations=count,
        rounds=ROUNDS,
    )
    keys = [key for key, _ in rounds[0][: room.count(1000)]]
    assert dict(lake.retrieve_batch(keys)) == raw.get_many(keys)
    yield Contest(
        f"retrieve_batch of {len(keys):,} documents of 470 bytes",
        {
            OURS: lambda _: _ignore(lake.retrieve_batch(keys)),
            "raw IN select": lambda _: _ignore(raw.get_many(keys)),
        },
        {"raw IN select": 0.4},
        operations=len(keys),
        rounds=11,
    )
    lake.close()
    raw.close()


@benchmark
def packs(room: Room) -> Iterator[Contest]:
    """10,000 values of 20 KB in, and single ones out."""
    count = room.count(10_000)
    lake = lakebed.open(room.folder / "lake")
    rounds = [documents(count, 20_000, start=number * count) for number in range(3)]
    yield Contest(
        f"store_batch of {count:,} values of 20 KB",
        {
            OURS: lambda number: _ignore(lake.store_batch(_entries(rounds[number]))),
            "one Parquet file by hand": lambda number: _write_parquet(
                rounds[number], room.folder / f"{number}.parquet"
            ),
        },
        {"one Parquet file by hand": 0.4},
        operations=count,
        rounds=len(rounds),
        durability="normal, files fsynced by both",
    )
    keys = [key for key, _ in rounds[0][: room.count(500)]]
    yield Contest(
        "retrieve of a value of 20 KB from a pack",
        {OURS: lambda _: _read_each(lake, keys), "one millisecond": lambda _: 0.001 * len(keys)},
        {"one millisecond": 1.0},
        operations=len(keys),
    )
    lake.close()


@benchmark
def memory(room: Room) -> Iterator[Contest]:
    """Peak memory of a fresh process that stores a million small entries."""
    count = room.count(1_000_000)
    code = (
        "import re, sys, lakebed\n"
        "with lakebed.open(sys.argv[1]) as lake:\n"
        "    lake.store_batch({'key': f'k/{n:08}', 'value': {'n': n, 'text': 'small'}}"
        " for n in range(int(sys.argv[2])))\n"
        "print(re.search(r'VmHWM:\\s+(\\d+) kB', open('/proc/self/status').read())[1])"
    )

    def play(_: int) -> float:
        arguments = [sys.executable, "-c", code, str(room.folder / "lake"), str(count)]
        printed = subprocess.run(arguments, check=True, capture_output=True, text=True).stdout
        return int(printed) / 1024

    yield Contest(
        f"peak memory of a batch of {count:,} small entries",
        {OURS: play, "300 MB": lambda _: 300.0},
        {"300 MB": 1.0},
        unit="MiB",
        rounds=1,
    )


@benchmark
def space(room: Room) -> Iterator[Contest]:
    """What documents take on disk once they are in packs."""
    pairs = documents(room.count(10_000))

    def ours(number: int) -> float:
        folder = room.folder / f"lake-{number}"
        with lakebed.open(folder, inline_threshold=0) as lake:
            lake.store_batch(_entries(pairs))
        return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / MIB

    def plain(number: int) -> float:
        raw = RawTable(room.folder / f"{number}.db")
        raw.set_many(pairs)
        raw.close()
        return raw.path.stat().st_size / MIB

    yield Contest(
        f"{len(pairs):,} documents of 470 bytes on disk, in packs",
        {OURS: ours, "plain SQLite table": plain},
        {"plain SQLite table": 1 / 0.6},
        unit="MiB",
        rounds=1,
    )


def _read_each(lake: lakebed.Lake, keys: list[str]) -> None:
    for key in keys:
        lake.retrieve(key)


def _write_parquet(pairs: _Pairs, path: Path) -> None:
    data = [orjson.dumps(value, option=orjson.OPT_SORT_KEYS) for _, value in pairs]
    table = pa.table(
        {
            "key": [key for key, _ in pairs],
            "content_hash": pa.array([sha256(item).digest() for item in data], pa.binary(32)),
            "value": pa.array(data, pa.binary()),
        }
    )
    with path.open("wb") as file:
        pq.write_table(table, file, compression="zstd")
        file.flush()
        os.fsync(file.fileno())


def _ignore(_: object) -> None:
    """A round gives no figure of its own."""
