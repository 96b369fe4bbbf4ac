"""What snapshots cost, in steps of SQLite's virtual machine: exact, and the same on any machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lakebed.catalog.statements.queries import in_lists
from lakebed.lake.lake import Lake
from lakebed.model import LAST_KEY
from lakebed.testing import open_lake

SMALL, BIG = 2_000, 20_000
GRAIN = 10  # a step counter that is called more often would slow the test


def fill(folder: Path, count: int) -> Lake:
    """A lake of so many entries, of which 100 have changed since the snapshot `s`."""
    lake = open_lake(folder)
    lake.store_batch({"key": f"k{n:07}", "value": n, "metadata": {"n": n}} for n in range(count))
    lake.create_snapshot("s")
    for number in range(50):
        lake.store(f"k{number * 31:07}", -1)
        lake.store(f"new/{number}", -1, ttl=3600)
    lake.create_snapshot("after")
    return lake


@pytest.fixture(scope="module")
def lakes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lake, Lake]]:
    folder = tmp_path_factory.mktemp("costs")
    with fill(folder / "small", SMALL) as small, fill(folder / "big", BIG) as big:
        yield small, big


def steps(lake: Lake, call: Callable[[Lake], object]) -> int:
    """How many steps of the virtual machine a call takes."""
    connection = lake._catalog._executor.connection()  # type: ignore[attr-defined]
    count = 0

    def step() -> int:
        nonlocal count
        count += 1
        return 0

    connection.set_progress_handler(step, GRAIN)
    try:
        call(lake)
    finally:
        connection.set_progress_handler(None, 0)
    return count * GRAIN


def created_and_dropped(lake: Lake) -> None:
    lake.create_snapshot("another")
    lake.drop_snapshot("another")


def restored_and_undone(lake: Lake) -> None:
    applied = lake.restore("s")
    assert len(applied) >= 100
    assert applied.snapshot is not None
    lake.restore(applied.snapshot)


CONSTANT: dict[str, Callable[[Lake], Any]] = {
    "create_snapshot and drop_snapshot": created_and_dropped,
    "diff of 100 changes": lambda lake: lake.diff("s"),
    "diff the other way": lambda lake: lake.diff("after", "s"),
    "diff under a prefix": lambda lake: lake.diff("s", prefix="k"),
    "diff under a small prefix": lambda lake: lake.diff("s", prefix="k000"),
    "diff with itself": lambda lake: lake.diff("s", "s"),
    "dry restore": lambda lake: lake.restore("s", dry_run=True),
    "restore and its undoing": restored_and_undone,
    "a read of what stayed": lambda lake: lake.at("s")["k0000001"],
    "a read of what changed": lambda lake: lake.at("s")["k0000031"],
    "a read of what was not": lambda lake: lake.at("s").get("new/1"),
    "reads of 100": lambda lake: lake.at("s").retrieve_batch(f"k{n:07}" for n in range(100)),
    "a page": lambda lake: list(lake.at("s").list(limit=100)),
    "a page further on": lambda lake: list(lake.at("s").list(after="k0001500", limit=100)),
    "a page under a prefix": lambda lake: list(lake.at("s").list("k00010", limit=100)),
    "history": lambda lake: lake.history("k0000031"),
    "overwriting what is kept": lambda lake: lake.store("k0000002", -2),
}


@pytest.mark.parametrize("name", CONSTANT)
def test_independent_of_the_size_of_the_lake(lakes: tuple[Lake, Lake], name: str) -> None:
    small, big = (steps(lake, CONSTANT[name]) for lake in lakes)
    assert big <= 1.5 * small + 300
    assert big < 60 * BIG


def explain(lake: Lake, name: str, params: dict[str, object], **places: str) -> list[str]:
    """The steps of SQLite's plan for a named query."""
    catalog: Any = lake._catalog
    sql = catalog._queries[name]
    for place, text in places.items():
        sql = sql.replace("{" + place + "}", text)
    rows = catalog._executor.fetch(f"EXPLAIN QUERY PLAN {sql}", params)
    return [row[3] for row in rows]


MOMENT = {"version": 10, "now": 1, "snapshot": "@x", "low": "", "high": LAST_KEY, "page": 100}


@pytest.mark.parametrize("pinned", ["pinned_snapshot", "pinned_version"])
def test_plans(lakes: tuple[Lake, Lake], pinned: str) -> None:
    """Ways into the tables are index ranges, and nothing is sorted but what a diff found."""
    lake = lakes[0]
    catalog: Any = lake._catalog
    pin = {"pinned": catalog._queries[pinned]}
    ((names, keys),) = in_lists(catalog._queries, ["a", "b"])
    pages = explain(lake, "list_entries_at", MOMENT, narrowing="", **pin)
    gets = explain(lake, "get_entries_at", MOMENT | keys, keys=names, **pin)
    span = {"from_version": 1, "to_version": 5, "from_time": 0, "to_time": 5}
    diff = explain(lake, "changed_keys", {**span, "low": "", "high": LAST_KEY})
    restore = explain(lake, "count_expired_since", MOMENT | {"time": 0})
    history = explain(lake, "entry_versions", {"key": "a", "before": 5, "page": 5})
    for plan in (pages, gets, diff, restore, history):
        assert plan
        scans = [step for step in plan if step.startswith("SCAN")]
        # The keys that were asked for are a parameter, read whole; no table is.
        assert not [step for step in scans if "CONSTANT" not in step and "json_each" not in step]
    for plan in (pages, gets, history):
        assert not [step for step in plan if "TEMP B-TREE" in step]
    assert len([step for step in diff if "SEARCH" in step]) >= 5
    assert not [step for step in diff if "autoindex" in step or "entry_history_key" in step]


def pages_of(lake: Lake, before: int | None) -> None:
    assert len(lake.history("k", limit=10, before=before)) == 10


def test_a_page_of_history_does_not_grow_with_it(tmp_path: Path) -> None:
    counts = []
    with open_lake(tmp_path, history="all") as lake:
        for more in (200, 2_000):
            for number in range(more):
                lake.store("k", [more, number])
            half = lake.history("k", limit=more // 2)[-1].version
            counts += [steps(lake, partial(pages_of, before=before)) for before in (None, half)]
    assert max(counts) <= 1.5 * min(counts) + 100
