"""Snapshots: their cost beside the lake's size, diffs, reads of the past, overwrites."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import lakebed
from tests.benchmarks.documents import documents
from tests.benchmarks.peers import RawSQLite
from tests.benchmarks.runner import OURS, Contest, Room, Round, benchmark

ROUNDS = 7
CHANGES = 100


@benchmark
def snapshots(room: Room) -> Iterator[Contest]:
    """A snapshot, and a diff of 100 changes, in a large and in a small lake."""
    count = room.count(1_000_000, least=1000)
    fewer = room.count(10_000, least=200)
    large, medium = _lake(room, "large", count), _lake(room, "medium", fewer)
    small, raw = _lake(room, "small", 1000), RawSQLite(room.folder / "raw.db")
    operations = 50
    rounds = [documents(operations, start=n * operations) for n in range(ROUNDS)]

    def put(number: int) -> None:
        for key, value in rounds[number]:
            raw.set(key, value)

    yield Contest(
        f"create_snapshot at {count:,} entries",
        {
            OURS: _snapshots(large, operations),
            "at 1,000 entries": _snapshots(small, operations),
            "raw put": put,
        },
        {"at 1,000 entries": 1 / 2, "raw put": 1 / 5},
        operations=operations,
        rounds=ROUNDS,
    )
    for lake, entries in ((large, count), (medium, fewer)):
        lake.create_snapshot("before")
        for number in range(CHANGES):
            lake.store(_key(number * (entries // CHANGES)), {"changed": number})
    keys = [key for key, _ in documents(CHANGES)]
    raw.set_many(documents(CHANGES))
    yield Contest(
        f"diff of {CHANGES} changes on {count:,} entries",
        {
            OURS: _diff(large),
            f"on {fewer:,} entries": _diff(medium),
            f"raw get of {CHANGES} keys": lambda _: _get(raw, keys),
        },
        {f"on {fewer:,} entries": 1 / 2, f"raw get of {CHANGES} keys": 1 / 10},
        unit="ms",
        rounds=11,
    )
    for contender in (large, medium, small, raw):
        contender.close()


@benchmark
def past(room: Room) -> Iterator[Contest]:
    """A read at a snapshot beside one of the present, and what keeping history costs."""
    pairs = documents(room.count(5000))
    with lakebed.open(room.folder / "lake") as lake:
        lake.store_batch({"key": key, "value": value} for key, value in pairs)
        lake.create_snapshot("then")
        for key, _ in pairs[::2]:
            lake.store(key, "changed")
        then, keys = lake.at("then"), [key for key, _ in pairs[: room.count(1000)]]
        yield Contest(
            "retrieve at a snapshot, half of the entries changed since",
            {OURS: lambda _: _get(then, keys), "current read": lambda _: _get(lake, keys)},
            {"current read": 0.5},
            operations=len(keys),
            rounds=11,
        )
    kept, plain = lakebed.open(room.folder / "kept"), lakebed.open(room.folder / "plain")
    operations = room.count(1000)
    keys = [key for key, _ in documents(operations)]
    for lake in (kept, plain):
        lake.store_batch({"key": key, "value": 0} for key in keys)
    yield Contest(
        "overwrite that keeps history",
        {OURS: _overwrites(kept, keys, snapshot=True), "that need not": _overwrites(plain, keys)},
        {"that need not": 0.6},
        operations=operations,
        rounds=11,
    )
    kept.close()
    plain.close()


def _key(number: int) -> str:
    return f"k/{number:08}"


def _lake(room: Room, name: str, count: int) -> lakebed.Lake:
    lake = lakebed.open(room.folder / name)
    lake.store_batch({"key": _key(n), "value": {"n": n, "text": "small"}} for n in range(count))
    return lake


def _snapshots(lake: lakebed.Lake, operations: int) -> Round:
    def play(number: int) -> None:
        for n in range(operations):
            lake.create_snapshot(f"{number}-{n}")

    return play


def _diff(lake: lakebed.Lake) -> Round:
    def play(_: int) -> None:
        assert len(lake.diff("before").changed) == CHANGES

    return play


def _get(place: Any, keys: list[str]) -> None:
    get = place.get if isinstance(place, RawSQLite) else place.retrieve
    for key in keys:
        get(key)


def _overwrites(lake: lakebed.Lake, keys: list[str], *, snapshot: bool = False) -> Round:
    pairs = [documents(len(keys), start=n * len(keys)) for n in range(11)]

    def play(number: int) -> None:
        if snapshot:
            lake.create_snapshot(f"before {number}")
        for key, (_, value) in zip(keys, pairs[number], strict=True):
            lake.store(key, value)

    return play
