"""Writers, a compactor, a collector, a purger and a snapshot maker in every order of their steps.

On a SQLite catalog and fsspec's filesystem, both in memory, so that thousands of orders can be had;
what several connections and processes add is for `test_cleaning_together`.
"""

from __future__ import annotations

import io
import itertools
import traceback
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any

import fsspec
import pyarrow.parquet as pq
import pytest

from lakebed.catalog.executors.sqlite import SQLiteExecutor
from lakebed.catalog.registry import OpenedCatalog
from lakebed.catalog.sql import SQLCatalog
from lakebed.errors import NotFoundError, StorageError
from lakebed.lake.staging import LEASE_SECONDS
from lakebed.model import Collected
from lakebed.objects.remote import FsspecStore
from lakebed.testing import FakeClock, open_lake
from tests.lake.interleaving import (
    ScheduleError,
    SteppingExecutor,
    SteppingStore,
    explore,
    outside_steps,
    step,
)

GONE = None
SECRET = "canarybird"  # noqa: S105 - a word to look for
DEAD = "dead content " * 20
INLINE = "inline value " * 5
VALUES = {f"p/{n}": f"packed {n} " * 30 for n in range(6)}
VALUES["p/1"] = f"{SECRET} " * 30
NEW = {"b/0": "new one " * 30, "b/1": "new two " * 30, "b/2": DEAD}
MEMORY = fsspec.filesystem("memory")
_worlds = itertools.count()


class World:
    """A lake in memory that begins as a template did, and the actors in it."""

    def __init__(self, *names: str, broken: Callable[[World], object] | None = None) -> None:
        self._actors = names
        self._broken = broken
        self._image, self._files, self._time = _template()
        # What each key may hold in the end.
        self.allowed: dict[str, set[Any]] = {}
        for name in names:
            for key, values in CHANGES.get(name, {}).items():
                self.allowed.setdefault(key, set()).update(values)

    def begin(self) -> Sequence[Callable[[], object]]:
        self._root = f"/world-{next(_worlds)}"
        MEMORY.pipe({f"{self._root}/{path}": data for path, data in self._files.items()})
        self.clock = FakeClock()
        self.clock.advance(self._time)
        self.executor = SQLiteExecutor(None, clock=self.clock)
        self.executor.connection().deserialize(self._image)
        self.catalog = SQLCatalog(SteppingExecutor(self.executor))
        store = SteppingStore(FsspecStore(f"memory:/{self._root}", {}))
        opened = OpenedCatalog(self.catalog, "stepping", True)
        self.lake = open_lake(catalog=opened, objects=store, inline_threshold=100)
        if self._broken:
            self._broken(self)
        self.seen: dict[str, Mapping[str, str]] = {}
        return [lambda name=name: ACTORS[name](self) for name in self._actors]  # type: ignore[misc]

    def files(self) -> set[str]:
        return {path[len(self._root) + 1 :] for path in MEMORY.find(self._root)}

    def check(self) -> None:
        """Nothing that the catalog names is without its bytes, at any moment."""
        rows = self.executor.fetch(
            "SELECT coalesce(o.uri, p.uri) FROM object o LEFT JOIN pack p ON p.id = o.pack_id"
            " WHERE o.inline_value IS NULL",
            {},
        )
        dangling = {uri for (uri,) in rows} - self.files()
        assert not dangling, f"named, and not there: {dangling}"
        rows = self.executor.fetch(
            "SELECT object_id FROM entry UNION SELECT object_id FROM entry_history"
            " EXCEPT SELECT id FROM object",
            {},
        )
        assert not rows, f"referred to, and not there: {rows}"

    def end(self, died: Set[int]) -> None:
        """All is as somebody meant it, and what is left over can be cleaned up."""
        self.died = {self._actors[number] for number in died}
        if "purger" in self._actors and not died:
            self._check_forgotten()
        self._check_values()
        assert not self.lake.verify().problems
        self.clock.advance(LEASE_SECONDS + 1)
        self.lake.maintain()
        self.lake.collect(0, 0, orphans=True)
        self._check_values()
        assert not self.lake.verify().problems
        rows = self.executor.fetch(
            "SELECT uri FROM object WHERE uri IS NOT NULL UNION SELECT uri FROM pack", {}
        )
        assert self.files() == {uri for (uri,) in rows}
        for table in ("pending", "trash", "candidate"):
            assert self.executor.fetch(f"SELECT * FROM {table}", {}) == []  # noqa: S608
        if "p/1" not in self.lake:
            self._check_forgotten()
        self.lake.close()
        MEMORY.rm(self._root, recursive=True)

    def _check_forgotten(self) -> None:
        assert SECRET.encode() not in self.executor.connection().serialize()
        assert not [path for path in self.files() if SECRET in self._content(path)]

    def _content(self, path: str) -> str:
        data = MEMORY.cat_file(f"{self._root}/{path}")
        if path.startswith("packs/"):
            return str(pq.read_table(io.BytesIO(data)).to_pydict())
        return data.decode()

    def _check_values(self) -> None:
        found = dict(self.lake.items())
        for key in found.keys() | VALUES.keys():
            expected = self.allowed.get(key, {VALUES.get(key, INLINE if key == "i" else GONE)})
            assert found.get(key) in expected | self._initial(key), key
        for name, seen in self.seen.items():
            then = dict(self.lake.at(name).items())
            purged = {"p/1"} if "purger" in self._actors else set()
            assert then.keys() >= seen.keys() - purged
            assert then == {key: seen[key] for key in then}

    def _initial(self, key: str) -> set[Any]:
        """What a key that an actor changes holds if it comes to nothing."""
        return {VALUES.get(key)} if key in self.allowed else set()


def _template() -> tuple[bytes, dict[str, bytes], float]:
    """A worn pack, a small one, a file, inline values, and content that has just died."""
    root, clock = f"/template-{next(_worlds)}", FakeClock()
    executor = SQLiteExecutor(None, clock=clock)
    catalog = OpenedCatalog(SQLCatalog(executor), "template", True)
    store = FsspecStore(f"memory:/{root}", {})
    with open_lake(catalog=catalog, objects=store, inline_threshold=100) as lake:
        lake.store_batch({"key": key, "value": value} for key, value in list(VALUES.items())[:4])
        lake.store_batch({"key": f"q/{n}", "value": f"worn {n} " * 30} for n in range(6))
        lake.store_batch([{"key": key, "value": VALUES[key]} for key in ("p/4", "p/5")])
        for number in range(5):
            del lake[f"q/{number}"]
        lake.collect(grace=0)
        VALUES["q/5"] = lake["q/5"]
        lake["i"] = VALUES["i"] = INLINE
        lake["dead"] = DEAD
        del lake["dead"]
        image = executor.connection().serialize()
    files = {path[len(root) + 1 :]: MEMORY.cat_file(path) for path in MEMORY.find(root)}
    MEMORY.rm(root, recursive=True)
    return image, files, 1.0


def _snapshot(world: World) -> None:
    world.lake.create_snapshot("s")
    # Within the step, before anybody else has made one.
    world.seen["s"] = outside_steps(lambda: dict(world.lake.items()))


def _read(world: World) -> None:
    for key in ("p/0", "q/5"):
        try:
            value = world.lake[key]
        except NotFoundError:
            assert GONE in world.allowed.get(key, set()), key
        else:
            assert value in world.allowed.get(key, set()) | {VALUES[key]}


def _store_batch(world: World) -> None:
    entries = [{"key": key, "value": value} for key, value in NEW.items()]
    try:
        world.lake.store_batch(entries)
    except StorageError as error:  # it took longer than a lease, and has stored nothing
        if "store it again" not in str(error) or "late collector" not in world._actors:
            raise


def _wait(world: World) -> None:
    step("wait")
    world.clock.advance(LEASE_SECONDS + 1)


ACTORS: dict[str, Callable[[World], object]] = {
    "deduplicating": lambda world: world.lake.store("w", VALUES["p/0"]),
    "resurrecting": lambda world: world.lake.store("dead", DEAD),
    "batching": _store_batch,
    "overwriting": lambda world: world.lake.store("p/0", DEAD),
    "deleting": lambda world: world.lake.delete("q/5"),
    "compactor": lambda world: world.lake.compact(),
    "collector": lambda world: world.lake.collect(0, 0, orphans=True),
    "late collector": lambda world: (_wait(world), world.lake.collect(0, 0)),
    "purger": lambda world: world.lake.purge("p/1"),
    "snapshot maker": _snapshot,
    "reader": _read,
}
CHANGES: dict[str, Mapping[str, set[Any]]] = {
    "deduplicating": {"w": {VALUES["p/0"]}},
    "resurrecting": {"dead": {DEAD}},
    "batching": {key: {value} for key, value in NEW.items()},
    "overwriting": {"p/0": {DEAD}},
    "deleting": {"q/5": {GONE}},
    "purger": {"p/1": {GONE}},
}
CLEANERS = ("compactor", "collector", "late collector", "purger")
PAIRS = [
    pair
    for pair in itertools.combinations(ACTORS, 2)
    if set(pair) & set(CLEANERS) and pair != ("collector", "late collector")
] + [("compactor", "compactor"), ("collector", "collector"), ("purger", "purger")]
TOGETHER = [
    ("resurrecting", "overwriting", "collector"),
    ("batching", "compactor", "collector"),
    ("overwriting", "snapshot maker", "collector"),
    ("deleting", "compactor", "collector"),
    ("deduplicating", "purger", "compactor"),
    ("reader", "compactor", "collector"),
]


# The orders in which most could go wrong, for two preemptions in every run.
CLOSE = [
    ("resurrecting", "collector"),
    ("batching", "late collector"),
    ("deleting", "compactor"),
    ("overwriting", "purger"),
]


@pytest.mark.parametrize("actors", PAIRS, ids="-".join)
def test_two(actors: tuple[str, ...], soak: bool, record_property: Any) -> None:
    bound = 3 if soak else 2 if actors in CLOSE else 1
    count = explore(World(*actors), preemptions=bound)
    record_property(f"schedules of {' and '.join(actors)}", count)
    assert count > 2


@pytest.mark.parametrize("actors", PAIRS, ids="-".join)
def test_one_of_two_dies(actors: tuple[str, ...], soak: bool) -> None:
    """At any step; the other then goes on, and what the dead one left is cleaned up."""
    assert explore(World(*actors), preemptions=1 if soak else 0, crashes=1) > 2


@pytest.mark.parametrize("actors", TOGETHER, ids="-".join)
def test_three(actors: tuple[str, ...], soak: bool, record_property: Any) -> None:
    bound = 2 if soak else actors in TOGETHER[:3]
    count = explore(World(*actors), preemptions=bound)
    record_property(f"schedules of {', '.join(actors)}", count)
    assert count >= 6


def test_all_at_once(soak: bool, record_property: Any) -> None:
    actors = ("batching", "compactor", "collector", "purger", "snapshot maker", "resurrecting")
    count = explore(World(*actors[: 6 if soak else 4]), preemptions=1 if soak else 0)
    record_property("schedules of all", count)
    assert count >= 24


# What the schedules must find: the same actors, one rule of theirs broken.


def _no_compare_and_set(world: World) -> None:
    moves = {"move_packed": 'AND "pack_id" = :old_pack', "move_inline": 'AND "inline_value" IS'}
    queries = dict(world.catalog._queries)
    for name, condition in moves.items():
        queries[name] = queries[name].partition(condition)[0]
    world.catalog._queries = queries


def _no_second_check(world: World) -> None:
    """The collector judges in one transaction and removes in another."""
    catalog = world.catalog
    judge = catalog._queries["candidates"]
    world.executor.connection().execute("PRAGMA foreign_keys = OFF")

    def collect(after: int, limit: int, **_: bool) -> Collected:
        rows = catalog._executor.fetch(judge, {"after": after, "page": limit})
        dead = [row for row in rows if row[1] is not None and not row[4]]
        with catalog._executor.write() as tx:
            catalog._bury(tx, [row[0] for row in dead], [row[2:4] for row in dead])
            tx.run("DELETE FROM candidate", {})
        return Collected(len(dead), 0, None)

    catalog.collect = collect  # type: ignore[method-assign]


def _lease_is_not_taken(world: World) -> None:
    """A collector deletes an upload whose lease has run out, and its writer does not notice."""
    catalog = world.catalog

    def lapse_leases(_: int) -> int:
        lapsed = {"now": world.clock(), "page": 1000}
        rows = catalog._executor.fetch(catalog._queries["lapsed_leases"], lapsed)
        catalog.add_trash(uri for (uri,) in rows)
        return 0

    catalog.lapse_leases = lapse_leases  # type: ignore[method-assign]


def _leases_are_not_looked_at(world: World) -> None:
    """Uploads in flight count as orphans."""
    world.catalog._queries = {
        **world.catalog._queries,
        "leased_files": "SELECT uri FROM trash",
    }


def _packs_take_what_is_gone(world: World) -> None:
    """A compactor puts into a new pack what was purged while it wrote it."""
    world.catalog._refuse_gone = lambda *_: None  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("broken", "actors", "found"),
    [
        (_no_compare_and_set, ("compactor", "compactor"), "miscounted pack"),
        (_no_second_check, ("resurrecting", "collector"), "referred to, and not there"),
        (_lease_is_not_taken, ("batching", "late collector"), "named, and not there"),
        (_leases_are_not_looked_at, ("batching", "collector"), "named, and not there"),
        (_packs_take_what_is_gone, ("compactor", "purger"), "_check_forgotten"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_broken_rule_is_found(
    broken: Callable[[World], object], actors: tuple[str, ...], found: str
) -> None:
    """These tests can fail: what no order without preemptions shows, those with one do."""
    assert explore(World(*actors, broken=broken), preemptions=0) == 2
    with pytest.raises(ScheduleError) as caught:
        explore(World(*actors, broken=broken), preemptions=1)
    told = "".join(traceback.format_exception(caught.value))
    assert found in told
