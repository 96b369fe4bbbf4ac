"""Builders of segments and writers in every order of their steps, some of them dying."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence, Set
from pathlib import Path

import pytest

from lakebed.catalog.opened import OpenedCatalog
from lakebed.catalog.sql.catalog import SQLCatalog
from lakebed.catalog.sqlite.executor import SQLiteExecutor
from lakebed.catalog.statements.executor import Executor
from lakebed.lake.lake import Lake
from lakebed.lake.search import building as search_building
from lakebed.lake.search.indexed_text import TextReader
from lakebed.objects.local import LocalStore
from lakebed.objects.store import ObjectStore
from lakebed.testing import open_lake
from tests.lake.interleaving import OwnPool, SteppingExecutor, SteppingStore, explore

SOAK = os.environ.get("LAKEBED_SOAK") == "1"


@pytest.fixture(autouse=True)
def _steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Merges happen at once, and what an actor leaves to threads are steps of its own."""
    monkeypatch.setattr(search_building, "_SMALLEST", 2)
    monkeypatch.setattr(search_building, "_FAN", 2)
    monkeypatch.setattr("concurrent.futures.ThreadPoolExecutor", OwnPool)


class World:
    """A lake with two segments, what has ended in them, and what waits; each actor is a client of
    its own."""

    def __init__(self, folder: Path, *actors: str) -> None:
        self.actors = actors
        self._store = LocalStore(str(folder))
        self._executor = SQLiteExecutor(None)
        with self._open() as lake:
            index = lake._searcher()
            for part in (("e0", "e1", "e2"), ("e3", "e2")):
                for key in part:
                    lake.store(key, f"word {part[0]} {key}")
                index.build(TextReader(lake.read_contents), patient=True)
            lake.store("e0", "another word")
            lake.create_snapshot("s")
            lake.delete("e1")
            for key in ("e4", "e5"):
                lake.store(key, "a word that waits")
            self._then = {hit.key for hit in lake.at("s").search("word")}
            assert len(self._then) == 4
            assert len(lake._catalog.segments()) == 2
            self._image = self._executor.connection().serialize()

    def _open(
        self,
        on_catalog: Callable[[Executor], Executor] = lambda executor: executor,
        on_storage: Callable[[ObjectStore], ObjectStore] = lambda store: store,
    ) -> Lake:
        opened = OpenedCatalog(SQLCatalog(on_catalog(self._executor)), "a test's", True)
        return open_lake(catalog=opened, objects=on_storage(self._store))

    def begin(self) -> Sequence[Callable[[], object]]:
        self._executor = SQLiteExecutor(None)
        self._executor.connection().deserialize(self._image)
        self._watcher = self._open()
        clients = [self._open(SteppingExecutor, SteppingStore) for _ in self.actors]
        return [
            lambda act=ACTORS[name], client=client: act(client)  # type: ignore[misc]
            for name, client in zip(self.actors, clients, strict=True)
        ]

    def check(self) -> None:
        """A search finds what the tables hold, now and as it was."""
        self._check(self._watcher)

    def _check(self, lake: Lake) -> None:
        now = {key for (key,) in self._executor.fetch("SELECT key FROM entry", {})}
        found = lake.search("word", limit=100)
        assert {hit.key for hit in found} == now
        assert len(found) == found.total == len(now)
        found = lake.at("s").search("word", limit=100)
        assert {hit.key for hit in found} == self._then
        assert len(found) == found.total

    def end(self, died: Set[int]) -> None:
        fresh = self._open()
        self._check(fresh)
        fresh.maintain()
        self._check(fresh)
        assert not fresh.verify().problems
        if not died:
            self._check(self._watcher)


ACTORS: dict[str, Callable[[Lake], object]] = {
    "builder": lambda lake: lake._searcher().build_waiting(),
    "overwriting": lambda lake: lake.store("e3", "a new word"),
    "overwriting what waits": lambda lake: lake.store("e4", "a new word"),
    "deleting": lambda lake: (lake.delete("e0"), lake.delete("e5")),
    "batching": lambda lake: lake.store_batch(
        {"key": key, "value": "word of a batch"} for key in ("e0", "e5", "e6")
    ),
}


FEW = [(("builder", "builder"), 0)]
MORE = [
    (("builder", "deleting"), 1),
    (("builder", "overwriting"), 0),
    (("builder", "overwriting what waits"), 0),
    (("builder", "batching"), 0),
]


@pytest.mark.parametrize(("actors", "crashes"), [*FEW, *(MORE if SOAK else [])], ids=str)
def test_in_every_order(
    tmp_path: Path,
    record_property: Callable[[str, object], None],
    actors: tuple[str, ...],
    crashes: int,
) -> None:
    most = None if SOAK else 60
    count = explore(World(tmp_path, *actors), preemptions=1, crashes=crashes, most=most)
    record_property(" and ".join(actors), f"{count} orders")
