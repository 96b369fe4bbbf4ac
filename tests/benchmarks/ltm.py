"""The LTM interface beside the calls of the lake that it stands on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import lakebed
from lakebed.ltm import LTMBackend
from tests.benchmarks.documents import documents
from tests.benchmarks.runner import OURS, Contest, Room, Round, benchmark

LAKE = "the lake's own call"
BARS = {LAKE: 1 / 1.15}
ROUNDS = 15


@benchmark
def ltm_single(room: Room) -> Iterator[Contest]:
    """One entry a call, on a SQLite catalog."""
    lake, other = lakebed.open(room.folder / "a"), lakebed.open(room.folder / "b")
    memory, count = LTMBackend(lake), room.count(2000)
    rounds = [documents(count, start=number * count) for number in range(ROUNDS)]
    yield _contest("store", count, _puts(memory.store, rounds), _puts(other.store, rounds))
    keys = [key for pairs in rounds[:3] for key, _ in pairs]
    yield _contest("retrieve", len(keys), _gets(memory.retrieve, keys), _gets(lake.retrieve, keys))
    yield _contest(
        "delete of an absent key",
        len(keys),
        *(_gets(each.delete, [f"no {key}" for key in keys]) for each in (memory, other)),
    )
    memory.close()
    other.close()


@benchmark
def ltm_many(room: Room) -> Iterator[Contest]:
    """Batches and searches."""
    lake, other = lakebed.open(room.folder / "a"), lakebed.open(room.folder / "b")
    memory, count = LTMBackend(lake), room.count(5000)
    batches = [
        [{"key": key, "value": value} for key, value in documents(count, start=number * count)]
        for number in range(ROUNDS)
    ]
    yield _contest(
        "store_batch",
        count,
        lambda number: _ignore(memory.store_batch(batches[number])),
        lambda number: _ignore(other.store_batch(batches[number])),
    )
    keys = [entry["key"] for entry in batches[0][:1000]]
    yield _contest(
        "retrieve_batch",
        len(keys),
        lambda _: _ignore(memory.retrieve_batch(keys)),
        lambda _: _ignore(lake.retrieve_batch(keys)),
    )
    memory.search("warm", limit=1)
    words = ["coffee", "meeting", "garden", "ticket", "weather"]
    yield _contest(
        "search",
        len(words),
        lambda _: _ignore([memory.search(word) for word in words]),
        lambda _: _ignore([_read(lake, word) for word in words]),
    )
    memory.close()
    other.close()


def _contest(call: str, operations: int, ours: Round, theirs: Round) -> Contest:
    return Contest(
        f"{call}, with dictionaries",
        {OURS: ours, LAKE: theirs},
        BARS,
        operations=operations,
        rounds=ROUNDS,
    )


def _puts(put: Callable[[str, Any], object], rounds: list[list[tuple[str, Any]]]) -> Round:
    def play(number: int) -> None:
        for key, value in rounds[number]:
            put(key, value)

    return play


def _gets(get: Callable[[str], object], keys: list[str]) -> Round:
    def play(_: int) -> None:
        for key in keys:
            get(key)

    return play


def _read(lake: lakebed.Lake, word: str) -> list[object]:
    # What a caller of the lake reads of a hit, the interface reads for all.
    return [(hit.key, hit.value, hit.metadata, hit.score) for hit in lake.search(word)]


def _ignore(_: object) -> None:
    return None
