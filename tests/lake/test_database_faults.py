"""Whatever statement fails, whatever answer is lost: a call has happened whole, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from lakebed.catalog.opened import OpenedCatalog
from lakebed.catalog.sql.catalog import SQLCatalog
from lakebed.catalog.sqlite.executor import SQLiteExecutor
from lakebed.errors import CatalogError, LakebedError
from lakebed.lake.lake import Lake
from lakebed.objects.local import LocalStore
from lakebed.testing import FakeClock, open_lake
from lakebed.testing.conformance.base import contents
from lakebed.testing.executors import DatabaseFault, FaultyExecutor

LARGE = "large" * 100
Action = Callable[[Lake], object]


def batch(lake: Lake) -> None:
    lake.store_batch(
        [
            {"key": "a", "value": "new"},
            {"key": "same", "value": LARGE},
            {"key": "packed", "value": LARGE + "1"},
            {"key": "alone", "value": b"x" * (5 << 20)},
            {"key": "dead", "value": LARGE + "2"},
            {"key": "dead", "value": "last"},
        ]
    )


def restore(lake: Lake) -> None:
    lake.restore("s")


def create_snapshot(lake: Lake) -> None:
    lake.create_snapshot("new")


def drop_snapshot(lake: Lake) -> None:
    lake.drop_snapshot("s")


def overwrite(lake: Lake) -> None:
    lake.store("a", LARGE + "3")


def delete(lake: Lake) -> None:
    lake.delete("a")


ACTIONS = [batch, restore, create_snapshot, drop_snapshot, overwrite, delete]


def prepared(folder: Path) -> tuple[Lake, FaultyExecutor]:
    """A lake with something of everything."""
    clock = FakeClock()
    folder.mkdir()
    executor = FaultyExecutor(SQLiteExecutor(folder / "catalog.db", clock=clock))
    catalog = OpenedCatalog(SQLCatalog(executor), "faulty", True)
    lake = open_lake(folder, catalog=catalog, inline_threshold=100)
    lake.store("a", "inline", {"m": 1})
    lake.store("same", LARGE)
    lake.store_batch([{"key": f"pack/{n}", "value": f"{n}" + LARGE} for n in range(3)])
    lake.store("expires", 1, ttl=5)
    lake.create_snapshot("s")
    clock.advance(10)
    lake.store("a", "changed")
    lake.delete("pack/1")
    lake.store("pack/2", "changed")
    lake.store("b", LARGE + "b")
    executor.plan()
    return lake, executor


def shown(lake: Lake) -> dict[str, Any]:
    """All that the lake shows, now and at its snapshots."""
    names = [snapshot.name.partition("T")[0] for snapshot in lake.snapshots()]
    views = {snapshot.id: contents(lake.at(snapshot)) for snapshot in lake.snapshots()}
    history = {key: [v.value for v in lake.history(key)] for key in ("a", "pack/1", "pack/2")}
    return {"now": contents(lake), "names": names, "views": list(views.values()), "kept": history}


AFTERWARDS = ("segments_indexed", "segment_queue", '"content_hash" IN')
"""In the statements that a batch runs once it has happened: it asks whether to build the search
index, which one that fails leaves to the next search, and where the contents lie that were there
already, which go inline if that cannot be told."""


def check_sound(executor: FaultyExecutor, folder: Path) -> None:
    """No dangling row, and no file that neither an object, a pack nor the garbage names."""
    assert executor.fetch("PRAGMA foreign_key_check", {}) == []
    assert executor.fetch("PRAGMA integrity_check", {}) == [("ok",)]
    named = executor.fetch(
        "SELECT uri FROM object WHERE uri IS NOT NULL UNION SELECT uri FROM pack"
        " UNION SELECT uri FROM segment WHERE uri IS NOT NULL"
        " UNION SELECT uri FROM trash UNION SELECT uri FROM pending",
        {},
    )
    files = {file.path for part in ("objects", "packs") for file in LocalStore(folder).list(part)}
    assert files <= {uri for (uri,) in named}
    (counts,) = executor.fetch(
        "SELECT coalesce(sum(live), 0), (SELECT count(*) FROM object WHERE pack_id IS NOT NULL)"
        " FROM pack",
        {},
    )
    assert counts[0] == counts[1]


@pytest.mark.parametrize("fault", ["fail", "lose"])
@pytest.mark.parametrize("action", ACTIONS)
def test_whole_or_not_at_all(tmp_path: Path, action: Action, fault: DatabaseFault) -> None:
    lake, executor = prepared(tmp_path / "whole")
    before = shown(lake)
    executor.plan()
    action(lake)
    calls = list(executor.calls)
    after = shown(lake)
    assert after != before
    lake.close()
    assert calls.count("commit") >= 1
    last = max(number for number, call in enumerate(calls) if call == "commit")
    happened = set()
    for number in range(len(calls)):
        folder = tmp_path / f"{number}"
        lake, executor = prepared(folder)
        executor.plan(number, fault)
        if number > last:  # what failed is no part of what was asked for: see AFTERWARDS
            assert any(name in calls[number] for name in AFTERWARDS), calls[number]
            action(lake)
            assert shown(lake) == after
            lake.close()
            continue
        with pytest.raises(LakebedError):
            action(lake)
        executor.plan()
        found = shown(lake)
        assert found in (before, after), calls[number]
        happened.add(found == after)
        assert (found == before) or (fault, number) == ("lose", last), calls[number]
        check_sound(executor, folder)
        if found == before:
            action(lake)
            assert shown(lake) == after
            check_sound(executor, folder)
        lake.close()
    assert happened == ({False} if fault == "fail" else {False, True})


@pytest.mark.parametrize("fault", ["fail", "lose"])
def test_maintenance_goes_on_where_it_failed(tmp_path: Path, fault: DatabaseFault) -> None:
    def work(lake: Lake) -> None:
        lake.drop_snapshot("s")
        lake.maintain()

    lake, executor = prepared(tmp_path / "whole")
    work(lake)
    calls = len(executor.calls)
    after = shown(lake)
    assert lake.stats().history == 0
    lake.close()
    for number in range(0, calls, 3):
        lake, executor = prepared(tmp_path / f"{number}")
        executor.plan(number, fault)
        with suppress(CatalogError):  # the text index is for later if the lock cannot be had
            work(lake)
        executor.plan()
        assert shown(lake)["now"] == after["now"]
        check_sound(executor, tmp_path / f"{number}")
        if lake.snapshots():
            lake.drop_snapshot("s")
        lake.maintain()
        assert shown(lake) == after
        assert lake.stats().history == 0
        lake.close()


@pytest.mark.parametrize("fault", ["fail", "lose"])
def test_a_batch_in_part_says_what_it_stored(tmp_path: Path, fault: DatabaseFault) -> None:
    new = {"a": "new", "packed": LARGE + "1", "alone": "x" * (5 << 20)}
    entries = [{"key": key, "value": value} for key, value in new.items()]
    lake, executor = prepared(tmp_path / "whole")
    lake.store_batch(entries, atomic=False)
    calls = list(executor.calls)
    lake.close()
    lost = set()
    for number in range(len(calls)):
        lake, executor = prepared(tmp_path / f"{number}")
        before = contents(lake)
        executor.plan(number, fault)
        report = lake.store_batch(entries, atomic=False)
        executor.plan()
        assert report.stored + report.failed == 3
        indexing = any(name in calls[number] for name in AFTERWARDS)
        assert report.errors or fault == "lose" or indexing, calls[number]
        stored = {key for key in new if lake.get(key) == new[key]}
        if stored != new.keys() - report.errors.keys():
            assert (fault, calls[number], stored) == ("lose", "commit", set(new))
            lost.add(number)
        else:
            assert contents(lake).items() >= {k: before[k] for k in before if k != "a"}.items()
        check_sound(executor, tmp_path / f"{number}")
        assert lake.store_batch(entries).stored == 3
        assert {key: lake[key] for key in new} == new
        lake.close()
    assert len(lost) == (fault == "lose")
