"""Searching for two words, and what an index costs a store and a batch."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Any

import lakebed
from lakebed.lake.entries import batches
from lakebed.lake.searching import Hits
from lakebed.values.text import analyse, query_words, text_of
from tests.benchmarks.documents import document, documents
from tests.benchmarks.runner import OURS, Contest, Room, Round, benchmark

_SYLLABLES = "ba co de fi gu ha jo ke li mu na po qui ra so ta ve wi xa zo".split()  # noqa: SIM905
_VOCABULARY = 8000
LIMIT = 10

# As in natural language, a word's share falls with its rank; "zo" keeps the stemmer off its end.
WORDS = ["".join(Random(n).choices(_SYLLABLES, k=3)) + f"{n}zo" for n in range(_VOCABULARY)]
_SHARES = list(accumulate(1 / (rank + 10) for rank in range(_VOCABULARY)))


@benchmark
def search(room: Room) -> Iterator[Contest]:
    """Two words, the ten best of 100,000 documents with their values and the count of all."""
    yield from _searches(room, room.count(100_000), 20)


@benchmark
def search_large(room: Room) -> Iterator[Contest]:
    """The same of a million documents."""
    yield from _searches(room, room.count(1_000_000), 5)


def _searches(room: Room, count: int, rounds: int) -> Iterator[Contest]:
    some = list(texts(count))
    lake, engine = lakebed.open(room.folder / "lake"), Tantivy(some)
    entries = entries_of(some)
    for start in range(0, count, 100_000):
        lake.store_batch(entries[start : start + 100_000])
    random = Random(1)
    # Two words that a third of all documents hold between them.
    queries = [" ".join(random.sample(WORDS[20:60], 2)) for _ in range(room.count(20))]
    matches = sum(lake.search(query).total for query in queries) // len(queries)

    def ours(_: int, **options: Any) -> None:
        for query in queries:
            found = lake.search(query, limit=LIMIT, **options)
            assert all(hit.value for hit in found)

    def theirs(_: int) -> None:
        for query in queries:
            assert engine.search(query)

    third = {"metadata_filter": {"third": 0}}
    rare = {"metadata_filter": {"number": {"$lt": count // 1000}}}
    yield Contest(
        f"search of two words in {count:,} documents",
        {
            OURS: ours,
            "one in three passes a filter": lambda number: ours(number, **third),
            "one in a thousand": lambda number: ours(number, **rare),
            "tantivy": theirs,
        },
        operations=len(queries),
        rounds=rounds,
        note=f"{matches:,} matches on average; tantivy gives numbers of documents, and ranks by "
        "statistics of its own",
    )
    yield Contest(
        "the same, after a store each time",
        {OURS: _after_stores(lake, queries), "no store": ours},
        operations=len(queries),
        rounds=rounds,
    )
    lake.close()


@benchmark
def batch_with_search_index(room: Room) -> Iterator[Contest]:
    """A batch of 100,000 documents that builds the index, and one that leaves that to a search."""
    count, rounds = room.count(100_000), 3
    entries = [{"key": key, "value": value} for key, value in texts(count)]
    number = iter(range(10**9))

    def store(waiting: int) -> None:
        batches._WAITING, usual = waiting, batches._WAITING
        with lakebed.open(room.folder / f"batch{next(number)}") as lake:
            lake.store_batch(entries)
        batches._WAITING = usual

    yield Contest(
        f"store_batch of {count:,} documents",
        {OURS: lambda _: store(20_000), "without an index": lambda _: store(10**9)},
        {"without an index": 0.5},
        operations=count,
        rounds=rounds,
    )


@benchmark
def store_with_search_index(room: Room) -> Iterator[Contest]:
    """Fresh keys and contents, in a lake that has been searched and one that never was."""
    searched, never = (lakebed.open(room.folder / name) for name in ("searched", "never"))
    # Fewer than what makes a batch build segments: one of the lakes is to have none.
    before = [{"key": key, "value": value} for key, value in texts(room.count(10_000))]
    for lake in (searched, never):
        lake.store_batch(before)
    assert searched.search(WORDS[0]).total
    assert searched._catalog.segments()
    assert not never._catalog.segments()
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
        {"without one": 0.95},
        operations=operations,
        rounds=rounds,
    )
    searched.close()
    never.close()


@benchmark
def publish_with_search_index(room: Room) -> Iterator[Contest]:
    """A publication with its index and one without, of a lake that has one; and searching it."""
    for full in (10_000, 100_000):
        yield from _publications(room.folder / str(full), room.count(full))


def _publications(folder: Path, count: int) -> Iterator[Contest]:
    place, query = folder / "published", " ".join(WORDS[40:42])
    with lakebed.open(folder / "lake") as lake:
        lake.store_batch({"key": key, "value": value} for key, value in texts(count))
        lake.maintain()

        def publish(search: bool) -> None:
            lake.publish(place, search=search)

        yield Contest(
            f"publish {count:,} documents with their search index",
            {OURS: lambda _: publish(True), "without it": lambda _: publish(False)},
            {"without it": 0.83},
            operations=count,
            rounds=5,
        )
        publish(True)
        published = lakebed.open_publication(place)
        yield Contest(
            f"a search in {count:,} published documents, ten hits with their values",
            {
                OURS: lambda _: _read(published.search(query)),
                "in the lake": lambda _: _read(lake.search(query)),
            },
            unit="ms",
        )


def _read(hits: Hits) -> None:
    assert all(hit.value for hit in hits)


_FRESH = """
import sys, time, lakebed
lake = lakebed.open(sys.argv[1])
{before}
begin = time.process_time()
{timed}
print(time.process_time() - begin)
"""


@benchmark
def search_in_a_fresh_process(room: Room) -> Iterator[Contest]:
    """The first search of a process, in processor time; a second; and what NumPy takes of it."""
    count, folder = room.count(100_000), room.folder / "lake"
    with lakebed.open(folder) as lake:
        lake.store_batch({"key": key, "value": value} for key, value in texts(count))
        lake.search(WORDS[20])

    def process(timed: str, before: str = "") -> Round:
        code = _FRESH.format(timed=timed, before=before)
        environment = os.environ | {"PYTHONPYCACHEPREFIX": str(room.folder / "bytecode")}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)

        def play(_: int) -> float:
            command = [sys.executable, "-c", code, str(folder)]
            ran = subprocess.run(
                command, check=True, stdout=subprocess.PIPE, text=True, env=environment
            )
            return float(ran.stdout)

        play(0)
        return play

    first, other = (
        f"assert lake.search({' '.join(some)!r})" for some in (WORDS[20:22], WORDS[30:32])
    )
    yield Contest(
        f"the first search of a process, {count:,} documents",
        {
            OURS: process(first),
            "import numpy": process("import numpy"),
            "the first search, NumPy loaded": process(first, "import numpy"),
            "a second search": process(other, first),
        },
        unit="ms",
        rounds=7,
    )


class Tantivy:
    """An index in memory of the same tokens, split at spaces."""

    def __init__(self, texts: list[tuple[str, dict[str, Any]]]) -> None:
        import tantivy

        builder = tantivy.SchemaBuilder()
        builder.add_text_field("text", tokenizer_name="whitespace")
        builder.add_unsigned_field("number", stored=True)
        self._index = tantivy.Index(builder.build())
        writer = self._index.writer(128 << 20, 1)
        for number, (_, value) in enumerate(texts):
            text = " ".join(analyse(text_of(value, None)))
            writer.add_document(tantivy.Document(text=text, number=number))
        writer.commit()
        writer.wait_merging_threads()
        self._index.reload()
        self._searcher = self._index.searcher()

    def search(self, query: str) -> list[Any]:
        parsed = self._index.parse_query(" ".join(query_words(query)), ["text"])
        found = self._searcher.search(parsed, LIMIT, count=True)
        return [self._searcher.doc(address) for _, address in found.hits]


def texts(count: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Keys with their documents."""
    random = Random(0)
    for number in range(count):
        value = document(number)
        words = random.choices(WORDS, cum_weights=_SHARES, k=random.randint(20, 60))
        value["text"] = " ".join(words)
        yield f"memory/{number:08}", value


def entries_of(some: list[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
    """The same as entries, with metadata that a third of them share and that none do."""
    return [
        {"key": key, "value": value, "metadata": {"third": number % 3, "number": number}}
        for number, (key, value) in enumerate(some)
    ]


def _after_stores(lake: lakebed.Lake, queries: list[str]) -> Any:
    extra = iter(range(10**9))

    def play(_: int) -> None:
        for query in queries:
            lake.store("extra", {"text": f"{query} {next(extra)}"})
            assert lake.search(query, limit=LIMIT)[0].value

    return play
