"""Searching for two words, and what an index costs a store."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Any

import lakebed
from tests.benchmarks.documents import document, documents
from tests.benchmarks.runner import OURS, Contest, Room, benchmark

_SYLLABLES = "ba co de fi gu ha jo ke li mu na po qui ra so ta ve wi xa zo".split()  # noqa: SIM905
_VOCABULARY = 8000
_LIMIT = 10

# As in natural language, a word's share falls with its rank; "zo" keeps the stemmer off its end.
_WORDS = ["".join(Random(n).choices(_SYLLABLES, k=3)) + f"{n}zo" for n in range(_VOCABULARY)]
_SHARES = list(accumulate(1 / (rank + 10) for rank in range(_VOCABULARY)))


@benchmark
def search(room: Room) -> Iterator[Contest]:
    """Two words, the ten best of 100,000 documents with their values."""
    texts = list(_texts(room.count(100_000)))
    lake, raw = lakebed.open(room.folder / "lake"), RawFTS5(room.folder / "raw.db")
    raw.fill(texts)
    lake.store_batch({"key": key, "value": value} for key, value in texts)
    random = Random(1)
    queries = [" ".join(random.sample(_WORDS[50:3000], 2)) for _ in range(room.count(20))]

    def ours(_: int) -> None:
        for query in queries:
            for hit in lake.search(query, limit=_LIMIT):
                assert hit.value

    def theirs(_: int) -> None:
        for query in queries:
            assert raw.search(query)

    found = lake.search(queries[0])
    assert {hit.key for hit in found} == {key for key, _ in raw.search(queries[0])}
    matches = sum(lake.search(query).total for query in queries) // len(queries)
    yield Contest(
        f"search of two words in {len(texts):,} documents",
        {OURS: ours, "raw FTS5": theirs},
        {"raw FTS5": 0.4},
        operations=len(queries),
        rounds=7,
        note=f"{matches:,} matches on average; the raw query does not count them",
    )
    yield Contest(
        "the same, after a store each time",
        {OURS: _after_stores(lake, queries), "raw FTS5": theirs},
        operations=len(queries),
        rounds=7,
        note="the raw table is not written to",
    )
    lake.close()
    raw.close()


@benchmark
def store_with_search_index(room: Room) -> Iterator[Contest]:
    """Fresh keys and contents, in a lake that has been searched and one that never was."""
    searched, never = (lakebed.open(room.folder / name) for name in ("searched", "never"))
    before = [{"key": key, "value": value} for key, value in _texts(room.count(20_000))]
    for lake in (searched, never):
        lake.store_batch(before)
    assert searched.search(_WORDS[0]).total
    rounds = 11
    operations = room.count(2000)
    batches = [documents(operations, start=number * operations) for number in range(rounds)]

    def stores(lake: lakebed.Lake, number: int) -> None:
        for key, value in batches[number]:
            lake.store(key, value)

    yield Contest(
        "store into a lake with a search index",
        {
            OURS: lambda number: stores(searched, number),
            "without one": lambda number: stores(never, number),
        },
        {"without one": 0.8},
        operations=operations,
        rounds=rounds,
    )
    searched.close()
    never.close()


class RawFTS5:
    """An FTS5 table of the texts beside a table of the rows, as one would write it by hand."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS item (id INTEGER PRIMARY KEY, key TEXT UNIQUE, value TEXT)"
        )
        self._connection.execute("CREATE VIRTUAL TABLE IF NOT EXISTS item_text USING fts5 (text)")

    def fill(self, texts: list[tuple[str, dict[str, Any]]]) -> None:
        self._connection.execute("BEGIN")
        for number, (key, value) in enumerate(texts, 1):
            self._connection.execute(
                "INSERT INTO item VALUES (?, ?, ?)", (number, key, json.dumps(value))
            )
            self._connection.execute(
                "INSERT INTO item_text (rowid, text) VALUES (?, ?)", (number, value["text"])
            )
        self._connection.execute("COMMIT")

    def search(self, query: str) -> list[tuple[str, Any]]:
        match = " OR ".join(f'"{word}"' for word in query.split())
        rows = self._connection.execute(
            "SELECT key, value FROM item_text JOIN item ON id = item_text.rowid "
            "WHERE item_text MATCH ? ORDER BY rank LIMIT ?",
            (match, _LIMIT),
        )
        return [(key, json.loads(value)) for key, value in rows]

    def close(self) -> None:
        self._connection.close()


def _texts(count: int) -> Iterator[tuple[str, dict[str, Any]]]:
    random = Random(0)
    for number in range(count):
        value = document(number)
        words = random.choices(_WORDS, cum_weights=_SHARES, k=random.randint(20, 60))
        value["text"] = " ".join(words)
        yield f"memory/{number:08}", value


def _after_stores(lake: lakebed.Lake, queries: list[str]) -> Any:
    extra = iter(range(10**9))

    def play(_: int) -> None:
        for query in queries:
            lake.store("extra", {"text": f"{query} {next(extra)}"})
            assert lake.search(query, limit=_LIMIT)[0].value

    return play
