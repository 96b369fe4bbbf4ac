"""Stores that wait until Litestream has copied them, stores that do not, and a bare upsert."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import lakebed
from lakebed.catalog.litestream.child import Litestream
from lakebed.catalog.opened import Durability
from lakebed.lake.lake import Lake
from tests.benchmarks.documents import documents
from tests.benchmarks.runner import OURS, Contest, Room, benchmark

BARE = "bare upsert and /sync"
NORMAL = "durability normal"
ROUNDS = 5
THREADS = 8
UPSERT = """
INSERT INTO bare ("key", "value") VALUES (?, ?)
ON CONFLICT ("key") DO UPDATE SET "value" = excluded."value\""""

Store = Callable[[str, object], object]


class Bare:
    """One table in a file of its own, and a request to its Litestream after each upsert."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        folder.mkdir(parents=True)
        path, replica = str(folder / "bare.db"), str(folder / "replica")
        self._connection = stack.enter_context(
            closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False))
        )
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute('CREATE TABLE bare ("key" TEXT PRIMARY KEY, "value" TEXT)')
        self._writing = threading.Lock()
        self._child = Litestream(path, {"type": "file", "path": replica}, replica)
        stack.callback(self._child.stop)
        self._child.start()

    def store(self, key: str, value: object) -> None:
        with self._writing:
            self._connection.execute(UPSERT, [key, json.dumps(value)])
        self._child.sync()


def _lake(folder: Path, durability: Durability, stack: ExitStack) -> Lake:
    folder.mkdir(parents=True)
    catalog = {
        "type": "litestream",
        "path": str(folder / "names.db"),
        "replica": str(folder / "replica"),
    }
    return stack.enter_context(lakebed.open(catalog=catalog, durability=durability))


@benchmark
def litestream(room: Room) -> Iterator[Contest]:
    """Stores of one thread and of eight, with a replica in a folder."""
    with ExitStack() as stack:
        stores: dict[str, Store] = {
            OURS: _lake(room.folder / "full", "full", stack).store,
            BARE: Bare(room.folder / "bare", stack).store,
            NORMAL: _lake(room.folder / "normal", "normal", stack).store,
        }
        count = room.count(200)
        rounds = [documents(count, start=number * count) for number in range(2 * ROUNDS)]
        pool = stack.enter_context(ThreadPoolExecutor(THREADS))

        def one(store: Store, number: int) -> None:
            for key, value in rounds[number]:
                store(key, value)

        def many(store: Store, number: int) -> None:
            for _ in pool.map(lambda pair: store(*pair), rounds[ROUNDS + number]):
                pass

        for title, work, bar in (("one thread", one, 0.6), (f"{THREADS} threads", many, 1.0)):
            yield Contest(
                f"store of a 470-byte document until it is in the replica, {title}",
                {
                    name: (lambda number, store=store, work=work: work(store, number))
                    for name, store in stores.items()
                },
                {BARE: bar},
                operations=count,
                durability="full",
                rounds=ROUNDS,
            )
