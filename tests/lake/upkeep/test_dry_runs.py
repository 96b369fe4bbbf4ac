"""A dry run tells what the run then does, whatever has been done to a lake before."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lakebed.lake.lake import Lake
from lakebed.objects.names import object_path, pack_path
from lakebed.records import Report
from lakebed.testing import FakeClock, open_lake

keys = st.integers(0, 7).map("k/{}".format)
values = st.sampled_from(["small", "inline " * 12, "large " * 40, "large too " * 40])
steps = st.one_of(
    st.tuples(st.just("store"), keys, values, st.sampled_from([None, 5])),
    st.tuples(st.just("batch"), st.sets(keys, min_size=2), values),
    st.tuples(st.just("delete"), keys),
    st.tuples(st.just("snapshot"), st.integers(0, 2)),
    st.tuples(st.just("drop"), st.integers(0, 2)),
    st.tuples(st.just("upload"), st.booleans(), st.sampled_from([3, 300])),
    st.tuples(st.just("orphan")),
    st.tuples(st.just("advance"), st.sampled_from([4, 60])),
    st.tuples(st.sampled_from(["collect", "compact", "maintain"])),
)


def _batch(lake: Lake, keys: set[str], value: str) -> None:
    lake.store_batch({"key": key, "value": f"{value}{key}"} for key in sorted(keys))


def _snapshot(lake: Lake, number: int, *, wanted: bool) -> None:
    there = f"s{number}" in {snapshot.name for snapshot in lake.snapshots()}
    if wanted and not there:
        lake.create_snapshot(f"s{number}")
    elif there and not wanted:
        lake.drop_snapshot(f"s{number}")


def _upload(lake: Lake, packed: bool, lease: int) -> None:
    """An upload whose writer died."""
    assert lake._objects is not None
    path = pack_path() if packed else object_path(bytes(32), "json")
    lake._catalog.lease([path], lease)
    lake._objects.write(path, b"half of it")


def _orphan(lake: Lake, folder: Path) -> None:
    """A file that the catalog does not know, and that is as old as can be."""
    assert lake._objects is not None
    path = pack_path()
    lake._objects.write(path, b"of a catalog that was restored")
    os.utime(folder / path, (0, 0))


def _do(lake: Lake, folder: Path, clock: FakeClock, step: tuple[Any, ...]) -> None:
    actions: dict[str, Callable[..., object]] = {
        "store": lambda key, value, ttl: lake.store(key, value, ttl=ttl),
        "batch": lambda keys, value: _batch(lake, keys, value),
        "delete": lake.delete,
        "snapshot": lambda number: _snapshot(lake, number, wanted=True),
        "drop": lambda number: _snapshot(lake, number, wanted=False),
        "upload": lambda packed, lease: _upload(lake, packed, lease),
        "orphan": lambda: _orphan(lake, folder),
        "advance": clock.advance,
        "collect": lambda: lake.collect(grace=50),
        "compact": lake.compact,
        "maintain": lake.maintain,
    }
    actions[step[0]](*step[1:])


def _told(report: Report, *without: str) -> dict[str, Any]:
    return {name: value for name, value in report.items() if name not in ("dry_run", *without)}


@given(st.lists(steps, max_size=20), st.sampled_from([0, 50]), st.booleans())
def test_a_dry_run_tells_what_the_run_does(
    done: list[tuple[Any, ...]], grace: int, orphans: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        clock = FakeClock()
        with open_lake(Path(folder), clock=clock, inline_threshold=100) as lake:
            for step in done:
                _do(lake, Path(folder), clock, step)
            collect = {"grace": grace, "orphan_grace": 0, "orphans": orphans}
            assert lake.compact(dry_run=True) == lake.compact()
            planned = _told(lake.collect(**collect, dry_run=True))
            assert planned == _told(lake.collect(**collect))
            expired = lake.cleanup_expired(dry_run=True).remaining
            assert expired == lake.cleanup_expired().deleted
            # Files and packs are counted another way there: see the receipt.
            others = ("files", "packs_rewritten", "remains")
            planned = _told(lake.purge(prefix="k/", dry_run=True), *others)
            assert planned == _told(lake.purge(prefix="k/"), *others)
            assert not lake.verify().problems
