"""A fault, or the death of the process, at every call of the catalog and of the storage.

Reopening shows the state before or the state after; the next maintenance cleans up; all is well.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest

from lakebed.catalog.statements.executor import Executor, Transaction
from lakebed.errors import LakebedError
from lakebed.lake.lake import Lake
from lakebed.objects.names import object_path
from lakebed.objects.store import ObjectStore
from lakebed.testing import FaultyStore
from lakebed.testing.executors import DatabaseFault, FaultyExecutor
from lakebed.testing.faults import Crash, Fault
from tests.lake.upkeep.cleaning_world import CleaningWorld
from tests.sampling import SAMPLE

OPERATIONS: dict[str, Callable[[Lake], object]] = {
    "cleanup_expired": lambda lake: lake.cleanup_expired(),
    "compact": lambda lake: lake.compact(),
    "collect": lambda lake: lake.collect(0, 0, orphans=True),
    "purge": lambda lake: lake.purge(prefix="p/1"),
    "maintain": lambda lake: lake.maintain(),
    "verify": lambda lake: lake.verify(repair=True),
}


class FaultyWorld(CleaningWorld):
    """The world, with a catalog and a storage that fail as planned."""

    def begin(self, operation: str) -> None:
        self.start(self._on_catalog, self._on_storage)
        if operation == "verify":
            self._damage()
        self.faulty_catalog.plan()
        self.faulty_storage.plan()

    def _on_catalog(self, executor: Executor) -> FaultyExecutor:
        self.faulty_catalog = FaultyExecutor(executor)
        return self.faulty_catalog

    def _on_storage(self, store: ObjectStore) -> FaultyStore:
        self.faulty_storage = FaultyStore(store)
        return self.faulty_storage

    def _damage(self) -> None:
        """Something for a repair: a lost file that another proves, and wrong counts."""
        self.lake.store("twice", "proven " * 40)
        del self.lake["twice"]
        self.lake.collect()
        self.lake.store("twice", "proven " * 40)
        entry = self.lake.entry("twice")
        assert entry is not None
        assert entry.storage_uri is not None
        assert self.lake._objects is not None
        self.lake._objects.delete([entry.storage_uri.partition(self._root)[2].lstrip("/")])

        def miscount(tx: Transaction) -> None:
            tx.run("UPDATE pack SET live = live + 3", {})
            tx.run("DELETE FROM candidate", {})

        self.executor.transact(miscount)


FAULTS: tuple[DatabaseFault, ...] = ("fail", "lose", "crash")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_at_every_call(operation: str, fault: DatabaseFault, soak: bool) -> None:
    """`make test` takes every other call, and not the same ones for each fault."""
    world, work = FaultyWorld(), OPERATIONS[operation]
    world.begin(operation)
    before = None if operation == "verify" else world.shown()
    world.faulty_catalog.plan()
    world.faulty_storage.plan()
    work(world.lake)
    places = [("catalog", n) for n in range(len(world.faulty_catalog.calls))]
    places += [("storage", n) for n in range(len(world.faulty_storage.calls))]
    after = world.shown()
    world.stop()
    assert (before != after) == (operation in ("purge", "verify"))
    first, step = (0, 1) if soak else ((SAMPLE + FAULTS.index(fault)) % 2, 2)
    for place, number in places[first::step]:
        world.begin(operation)
        if place == "catalog":
            world.faulty_catalog.plan(number, fault)
        else:
            world.faulty_storage.plan({number: fault})
        with suppress(LakebedError, Crash):
            work(world.lake)
        world.reopen()
        if operation == "verify":  # what was lost is lost until it is repaired
            assert not [p for p in world.lake.verify(repair=True).problems if not p.repaired]
        world.check()
        assert world.shown() in (before, after), (place, number)
        world.clean()
        world.stop()
    assert len(places) > 3


@pytest.mark.parametrize("operation", [name for name in OPERATIONS if name != "cleanup_expired"])
def test_what_arrives_late(operation: str) -> None:
    """A write or a delete that nobody waits for any more, before the next maintenance."""
    world, work = FaultyWorld(), OPERATIONS[operation]
    world.begin(operation)
    before = None if operation == "verify" else world.shown()
    world.faulty_storage.plan()
    work(world.lake)
    after, calls = world.shown(), list(world.faulty_storage.calls)
    world.stop()
    changing = [n for n, call in enumerate(calls) if call.name not in ("read", "size", "list")]
    for number in changing:
        world.begin(operation)
        world.faulty_storage.plan({number: "late"})
        with suppress(LakebedError):
            work(world.lake)
        if operation == "verify":
            assert not [p for p in world.lake.verify(repair=True).problems if not p.repaired]
        world.lake.collect(0, 0, orphans=True)
        assert world.shown() in (before, after), number
        world.faulty_storage.arrive()
        world.check()
        assert world.shown() in (before, after), number
        world.reopen()
        world.clean()
        world.stop()
    assert changing


def test_lists_that_lag() -> None:
    """What has come is not listed yet, what is gone still is: neither is an error, nor a loss."""
    world = FaultyWorld()
    world.begin("collect")
    storage, lake = world.faulty_storage, world.lake
    stale: dict[int, Fault] = dict.fromkeys(range(100), "stale")
    storage.write(object_path(bytes(32), "json"), b"of a writer that died")
    storage.plan(stale)
    assert lake.collect(0, 0, orphans=True).orphans == 0  # of all files, none is listed
    lake.store("new", "new content " * 20)
    lake.store("brief", "brief content " * 20)
    storage.plan()
    assert lake.collect(0, 0, orphans=True).orphans == 1
    del lake["brief"]
    assert lake.collect(0).files == 1
    shown, files = world.shown(), world.files()
    for _ in range(2):
        storage.plan(stale)
        lake.collect(0, 0, orphans=True)  # the orphan and the brief content are listed still
        assert world.shown() == shown
        assert world.files() == files
        world.check()
    world.reopen()
    world.clean()
    world.stop()


@pytest.mark.parametrize("operation", ["collect", "compact", "purge", "maintain"])
def test_the_storage_may_deceive(operation: str) -> None:
    """A call that does half of its work and says nothing loses nothing that is named."""
    world, work = FaultyWorld(), OPERATIONS[operation]
    world.begin(operation)
    work(world.lake)
    after, calls = world.shown(), len(world.faulty_storage.calls)
    world.stop()
    for number in range(calls):
        world.begin(operation)
        world.faulty_storage.plan({number: "truncate"})
        with suppress(LakebedError):
            work(world.lake)
        world.reopen()
        world.check()
        assert after.items() <= world.shown().items()
        world.stop()
