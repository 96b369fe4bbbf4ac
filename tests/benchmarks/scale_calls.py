"""Every public call, and how its cost may grow with the size of the lake."""

from __future__ import annotations

import itertools
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from lakebed.lake.lake import Lake

WORDS = [f"w{n:03}" for n in range(400)]
GROUP = 100  # entries of one prefix
CHANGED = 100  # entries that changed after the snapshot
TEXT_WORDS = 60


class World:
    """A lake of so many documents of about 500 bytes, a snapshot `then`, and a little that changed
    after it."""

    def __init__(self, lake: Lake, count: int, folder: Path) -> None:
        self.lake = lake
        self.count = count
        self.folder = folder
        self.numbers = itertools.count()
        self.chance = random.Random(count)

    def documents(self) -> Iterator[dict[str, object]]:
        """What `load` stores."""
        for n in range(self.count):
            words = " ".join(self.chance.choices(WORDS, k=TEXT_WORDS))
            yield {
                "key": key_of(n),
                "value": {"n": n, "text": words},
                "metadata": {"third": n % 3, "thousandth": n % 1000, "name": f"name {n}"},
            }

    def load(self) -> None:
        """Store the documents in one batch."""
        self.lake.store_batch(self.documents())

    def change(self) -> None:
        """What happens between the loading and the calls."""
        self.lake.create_snapshot("then")
        step = max(1, self.count // CHANGED)
        for n in range(0, step * CHANGED, step):
            self.lake.store(key_of(n), {"n": -n, "text": "changed"}, {"third": n % 3})

    def key(self) -> str:
        """The key of some document."""
        return key_of(self.chance.randrange(self.count))

    def new(self) -> str:
        """A key that none has."""
        return f"new/{next(self.numbers):09}"

    def sql(self, query: str, params: list[str] | None = None) -> object:
        """All rows of a query."""
        return self.lake.sql(query, params).fetchall()

    def publish(self) -> None:
        """Publish the lake, and remove what was published."""
        place = Path(tempfile.mkdtemp(dir=self.folder))
        self.lake.publish(str(place / "published"))
        shutil.rmtree(place)


def key_of(n: int) -> str:
    """The key of a document: so many share a prefix."""
    return f"{n // GROUP:06}/{n % GROUP:02}"


class Call(NamedTuple):
    """A call, and the exponent with which its cost may grow: 0 if it costs the same at any size, 1
    if it reads all."""

    name: str
    growth: float
    do: Callable[[World], object]


GROUPED = (
    "SELECT metadata->>'third', count(*), sum((value->>'n')::BIGINT) FROM documents GROUP BY 1"
)
STORE = "store"

CALLS = (
    Call("store", 0, lambda w: w.lake.store(w.new(), {"n": 1, "text": "a new one"})),
    Call("overwrite", 0, lambda w: w.lake.store(w.key(), {"n": next(w.numbers)})),
    Call("retrieve", 0, lambda w: w.lake.retrieve(w.key(), None)),
    Call("entry", 0, lambda w: w.lake.entry(w.key())),
    Call("delete", 0, lambda w: w.lake.delete(w.key())),
    Call(
        "store_batch of 100",
        0,
        lambda w: w.lake.store_batch({"key": w.new(), "value": n} for n in range(100)),
    ),
    Call(
        "retrieve_batch of 100",
        0,
        lambda w: dict(w.lake.retrieve_batch([w.key() for _ in range(100)])),
    ),
    Call("list, limit 10", 0, lambda w: list(w.lake.list(limit=10))),
    Call("list of a prefix", 0, lambda w: list(w.lake.list(w.key()[:7]))),
    Call("list, one in 3", 0, lambda w: list(w.lake.list(metadata_filter={"third": 1}, limit=10))),
    Call(
        "list, one in 1,000",
        0,
        lambda w: list(w.lake.list(metadata_filter={"thousandth": 7}, limit=10)),
    ),
    Call(
        "list, not one in 3",
        0,
        lambda w: list(w.lake.list(metadata_filter={"third": {"$ne": 1}}, limit=10)),
    ),
    Call("search", 0.8, lambda w: w.lake.search("w001 w002")),
    Call(
        "search, one in 3",
        0.8,
        lambda w: w.lake.search("w001 w002", metadata_filter={"third": 1}),
    ),
    Call("search after a store", 0.8, lambda w: (_store(w), w.lake.search("w001 w002"))),
    Call(
        "search without a question",
        0,
        lambda w: list(w.lake.search(None, metadata_filter={"third": 1}, limit=10)),
    ),
    Call("stats", 0, lambda w: w.lake.stats()),
    Call("sql: count", 1, lambda w: w.sql("SELECT count(*) FROM entries")),
    Call(
        "sql: count after a store",
        1,
        lambda w: (_store(w), w.sql("SELECT count(*) FROM entries")),
    ),
    Call("sql: grouped values", 1, lambda w: w.sql(GROUPED)),
    Call("sql: grouped values after a store", 1, lambda w: (_store(w), w.sql(GROUPED))),
    Call(
        "sql: one key",
        0,
        lambda w: w.sql("SELECT value FROM documents WHERE key = ?", [w.key()]),
    ),
    Call(
        "sql: values of a prefix",
        0,
        lambda w: w.sql(
            "SELECT key, value FROM documents WHERE starts_with(key, ?)", [w.key()[:7]]
        ),
    ),
    Call("sql: limit 10", 0, lambda w: w.sql("SELECT * FROM documents ORDER BY key LIMIT 10")),
    Call("sql: sum of a column", 1, lambda w: w.sql("SELECT sum(byte_size) FROM entries")),
    Call("sql: changes", 0, lambda w: w.sql("SELECT key, change FROM changes('then')")),
    Call("sql: grouped values at a snapshot", 1, lambda w: w.lake.at("then").sql(GROUPED).arrow()),
    Call("sql: count at a snapshot", 1, lambda w: w.sql("SELECT count(*) FROM entries_at('then')")),
    Call("create_snapshot", 0, lambda w: w.lake.create_snapshot(w.new())),
    Call("retrieve at a snapshot", 0, lambda w: w.lake.at("then").retrieve(w.key(), None)),
    Call("list at a snapshot, limit 10", 0, lambda w: list(w.lake.at("then").list(limit=10))),
    Call("search at a snapshot", 0.8, lambda w: w.lake.at("then").search("w001 w002")),
    Call("diff", 0, lambda w: len(w.lake.diff("then").changed)),
    Call("diff to Arrow", 0, lambda w: w.lake.diff("then").to_arrow()),
    Call("history of a key, limit 1", 0, lambda w: list(w.lake.history(key_of(0), limit=1))),
    Call("history of a key", 0, lambda w: list(w.lake.history(key_of(0)))),
    Call("restore of a prefix", 0, lambda w: w.lake.restore("then", prefix=w.key()[:7])),
    # A purge reads the whole index of the metadata, for terms of earlier versions of its keys.
    Call("purge of a key", 1, lambda w: w.lake.purge(w.key())),
    Call("purge of a prefix", 1, lambda w: w.lake.purge(prefix=w.key()[:7])),
    Call("search after a purge", 1, lambda w: (w.lake.purge(w.key()), w.lake.search("w001"))),
    Call("collect", 0.8, lambda w: w.lake.collect()),
    Call("cleanup_expired", 0, lambda w: w.lake.cleanup_expired()),
    Call("len", 1, lambda w: len(w.lake)),
    Call("all keys", 1, lambda w: sum(1 for _ in w.lake)),
    Call("all items", 1, lambda w: sum(1 for _ in w.lake.items())),
    Call("all values of a listing", 1, lambda w: sum(1 for e in w.lake.list() if e.value)),
    Call("all entries to Arrow", 1, lambda w: w.lake.list().to_arrow()),
    Call("all entries at a snapshot to Arrow", 1, lambda w: w.lake.at("then").list().to_arrow()),
    Call("verify", 1, lambda w: w.lake.verify()),
    Call("publish", 1, lambda w: w.publish()),
    Call("maintain", 1, lambda w: w.lake.maintain()),
)


def _store(world: World) -> None:
    world.lake.store(world.new(), {"n": 1, "text": "a new one"})
