"""One document at a time: store and retrieve."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import lakebed
from tests.benchmarks.documents import documents
from tests.benchmarks.peers import BareStatements, DiskCache, LangGraph, RawSQLite
from tests.benchmarks.runner import OURS, Contest, Room, Round, benchmark

ROUNDS = 11


@benchmark
def store(room: Room) -> Iterator[Contest]:
    """Fresh keys, fresh contents."""
    lake, raw = lakebed.open(room.folder / "lake"), RawSQLite(room.folder / "raw.db")
    cache, graph = DiskCache(room.folder / "cache"), LangGraph(room.folder / "graph.db")
    bare = BareStatements(room.folder / "bare")
    operations = room.count(2000)
    yield Contest(
        "store of a 470-byte document",
        _writing(
            operations,
            {
                OURS: lake.store,
                "raw upsert": raw.set,
                "bare statements": bare.set,
                "diskcache": cache.set,
                "LangGraph": graph.set,
            },
        ),
        {"raw upsert": 0.35, "diskcache": 0.6},
        operations=operations,
        rounds=ROUNDS,
    )
    for contender in (lake, raw, bare, cache, graph):
        contender.close()


@benchmark
def store_full(room: Room) -> Iterator[Contest]:
    """The same when every commit waits for the disk."""
    lake = lakebed.open(room.folder / "lake", durability="full")
    raw = RawSQLite(room.folder / "raw.db", synchronous="FULL")
    operations = room.count(200)
    yield Contest(
        "store of a 470-byte document",
        _writing(operations, {OURS: lake.store, "raw upsert": raw.set}),
        {"raw upsert": 0.7},
        operations=operations,
        durability="full",
        rounds=ROUNDS,
    )
    lake.close()
    raw.close()


@benchmark
def overwrite(room: Room) -> Iterator[Contest]:
    """Other content under keys that are there."""
    lake, raw = lakebed.open(room.folder / "lake"), RawSQLite(room.folder / "raw.db")
    bare, cache = BareStatements(room.folder / "bare"), DiskCache(room.folder / "cache")
    puts = {
        OURS: lake.store,
        "raw upsert": raw.set,
        "bare statements": bare.set,
        "diskcache": cache.set,
    }
    operations = room.count(2000)
    keys = [key for key, _ in documents(operations)]
    rounds = [
        [(key, value) for key, (_, value) in zip(keys, documents(operations, start=s), strict=True)]
        for s in range(0, operations * (ROUNDS + 1), operations)
    ]
    for key, value in rounds.pop():
        for put in puts.values():
            put(key, value)
    yield Contest(
        "store of another document under a known key",
        {name: _each(put, rounds) for name, put in puts.items()},
        {"bare statements": 0.45},
        operations=operations,
        rounds=ROUNDS,
    )
    for contender in (lake, raw, bare, cache):
        contender.close()


@benchmark
def retrieve(room: Room) -> Iterator[Contest]:
    """Values that lie inline, in random order."""
    lake, raw = lakebed.open(room.folder / "lake"), RawSQLite(room.folder / "raw.db")
    cache, graph = DiskCache(room.folder / "cache"), LangGraph(room.folder / "graph.db")
    pairs = documents(room.count(5000))
    for key, value in pairs:
        for put in (lake.store, raw.set, cache.set, graph.set):
            put(key, value)
    keys = [key for key, _ in pairs[: room.count(2000)]]
    gets = {
        OURS: lake.retrieve,
        "raw select": raw.get,
        "diskcache": cache.get,
        "LangGraph": graph.get,
    }
    assert all(get(keys[0]) == pairs[0][1] for get in gets.values())
    yield Contest(
        "retrieve of a 470-byte document",
        {name: _reading(get, keys) for name, get in gets.items()},
        {"raw select": 0.4},
        operations=len(keys),
        rounds=ROUNDS,
    )
    for contender in (lake, raw, cache, graph):
        contender.close()


def _writing(operations: int, puts: dict[str, Callable[[str, Any], object]]) -> dict[str, Round]:
    rounds = [documents(operations, start=number * operations) for number in range(ROUNDS)]
    return {name: _each(put, rounds) for name, put in puts.items()}


def _each(put: Callable[[str, Any], object], rounds: list[list[tuple[str, Any]]]) -> Round:
    def play(number: int) -> None:
        for key, value in rounds[number]:
            put(key, value)

    return play


def _reading(get: Callable[[str], object], keys: list[str]) -> Round:
    def play(_: int) -> None:
        for key in keys:
            get(key)

    return play
