"""Writers, a compactor, a collector, a purger and a snapshot maker in every order of their steps.

On a lake in memory, so that thousands of orders can be had; what several connections and processes
add is for `test_cleaning_together`.
"""

from __future__ import annotations

import itertools
import traceback
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any

import pytest

from lakebed.catalog.statements.executor import Transaction
from lakebed.errors import NotFoundError, StorageError
from lakebed.lake.contents.uploading import LEASE_SECONDS
from lakebed.model import Collected
from tests.lake.interleaving import (
    OwnPool,
    ScheduleError,
    SteppingExecutor,
    SteppingStore,
    explore,
    outside_steps,
    step,
)
from tests.lake.upkeep.cleaning_world import DEAD, VALUES, CleaningWorld

GONE = None
NEW = {"b/0": "new one " * 30, "b/1": "new two " * 30, "b/2": DEAD}


@pytest.fixture(autouse=True)
def own_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an actor leaves to threads are steps of its own."""
    monkeypatch.setattr("concurrent.futures.ThreadPoolExecutor", OwnPool)
    monkeypatch.setattr("lakebed.lake.entries.packing.ThreadPoolExecutor", OwnPool)


class World(CleaningWorld):
    """The world, and the actors in it; `broken` breaks a rule of theirs."""

    def __init__(self, *names: str, broken: Callable[[World], object] | None = None) -> None:
        super().__init__()
        self.actors = names
        self._broken = broken
        # What each key may hold in the end.
        self.allowed: dict[str, set[Any]] = {}
        for name in names:
            for key, values in CHANGES.get(name, {}).items():
                self.allowed.setdefault(key, {VALUES.get(key)}).update(values)

    def begin(self) -> Sequence[Callable[[], object]]:
        self.start(SteppingExecutor, SteppingStore)
        if self._broken:
            self._broken(self)
        self.seen: dict[str, Mapping[str, str]] = {}
        return [lambda name=name: ACTORS[name](self) for name in self.actors]  # type: ignore[misc]

    def end(self, died: Set[int]) -> None:
        """All is as somebody meant it, and what is left over can be cleaned up."""
        if "purger" in self.actors and not died:
            self.check_forgotten()
        self._check_values()
        self.clean()
        self._check_values()
        self.stop()

    def _check_values(self) -> None:
        found = self.shown()
        for key in found.keys() | VALUES.keys():
            assert found.get(key) in self.allowed.get(key, {VALUES.get(key)}), key
        for name, seen in self.seen.items():
            then = dict(self.lake.at(name).items())
            purged = {"p/1"} if "purger" in self.actors else set()
            assert then.keys() >= seen.keys() - purged
            assert then == {key: seen[key] for key in then}


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
        if "store it again" not in str(error) or "late collector" not in world.actors:
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
    most = None if soak else 12 * bound
    count = explore(World(*actors), preemptions=bound, most=most)
    record_property(f"schedules of {' and '.join(actors)}", count)
    assert count > 2


@pytest.mark.parametrize("actors", PAIRS, ids="-".join)
def test_one_of_two_dies(actors: tuple[str, ...], soak: bool) -> None:
    """At any step; the other then goes on, and what the dead one left is cleaned up."""
    bound, most = (1, None) if soak else (0, 8)
    assert explore(World(*actors), preemptions=bound, crashes=1, most=most) > 2


@pytest.mark.parametrize("actors", TOGETHER, ids="-".join)
def test_three(actors: tuple[str, ...], soak: bool, record_property: Any) -> None:
    bound = 2 if soak else actors in TOGETHER[:3]
    count = explore(World(*actors), preemptions=bound, most=None if soak else 15)
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

        def bury(tx: Transaction) -> None:
            catalog._bury(tx, [row[0] for row in dead], [row[2:4] for row in dead])
            tx.run("DELETE FROM candidate", {})

        catalog._executor.transact(bury)
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
        (_packs_take_what_is_gone, ("compactor", "purger"), "check_forgotten"),
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
