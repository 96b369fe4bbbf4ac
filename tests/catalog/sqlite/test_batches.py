"""Batches on SQLite: what seems new is put straight into the tables, with the same result."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

import lakebed
from lakebed.catalog.sql import batch
from lakebed.catalog.sqlite import batch as sqlite_batch
from lakebed.catalog.sqlite.batch import SQLiteBatch
from lakebed.lake.lake import Lake
from tests.catalog.batch_scenes import SCENES, entries, state

MORE: dict[str, tuple[Sequence[dict[str, Any]], ...]] = {
    "some expired": (entries(100, ttl=0.001), entries(100, 50)),
    "a content passes to another key": (
        [{"key": "a", "value": 1}, {"key": "z", "value": 2}],
        [{"key": "a", "value": 2}, {"key": "m", "value": 1}, {"key": "z", "value": 3}],
    ),
    "two formats of the same bytes": (
        [{"key": "a", "value": 1}, {"key": "b", "value": b"1"}, {"key": "c", "value": 1}],
    ),
}


@pytest.mark.parametrize("size", [1, 7, 20_000])
@pytest.mark.parametrize("scene", [*SCENES, *MORE])
def test_both_ways_give_the_same(
    tmp_path: Path, scene: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In chunks of any size, with a snapshot in between."""
    with ExitStack() as stack:
        lakes = [stack.enter_context(lakebed.open(tmp_path / way)) for way in ("direct", "staged")]
        for number, entries_ in enumerate((SCENES | MORE)[scene]):
            monkeypatch.setattr(sqlite_batch, "DIRECT", size)
            direct = lakes[0].store_batch(entries_)
            monkeypatch.setattr(sqlite_batch, "DIRECT", 0)
            assert lakes[1].store_batch(entries_) == direct
            for lake in lakes:
                lake.create_snapshot(f"s{number}")
        assert state(lakes[0]) == state(lakes[1])
        assert _objects(tmp_path / "direct") == _objects(tmp_path / "staged")
        for lake in lakes:
            versions = [entry.version for entry in lake.list()]
            assert len(set(versions)) == len(versions)
            assert not lake.verify().problems
            lake.store("last", 1)
            assert lake.entry("last").version > max(versions)  # type: ignore[union-attr]


def test_which_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ways: list[int] = []
    match = SQLiteBatch.match

    def staged(self: SQLiteBatch) -> None:
        ways.append(1)
        match(self)

    monkeypatch.setattr(SQLiteBatch, "match", staged)
    with lakebed.open(tmp_path / "lake") as lake:
        lake.store_batch(entries(100))
        lake.store_batch(entries(100, 100))
        assert not ways  # nothing was staged
        lake.store_batch(entries(100))
        assert ways == [1]
        lake.store("k01033", 0)
        report = lake.store_batch(entries(100, 1000))
        assert ways == [1, 1]  # the one that was there
        assert (report.created, report.changed, report.deduplicated) == (99, 1, 0)


def test_rows_in_memory_are_bounded_by_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "_DIRECT_BYTES", 100)
    rows = [("k", b"", "bytes", 60, bytes(60), None, None, "{}", None, None)] * 5
    coming = iter(rows)
    assert len(batch.take(coming, 4)) == 2  # type: ignore[arg-type]
    assert len(batch.take(coming, 1)) == 1  # type: ignore[arg-type]
    assert len(list(coming)) == 2


@pytest.mark.parametrize("objects", [1, 3])
def test_contents_that_lie_in_the_storage(tmp_path: Path, objects: int) -> None:
    """A content that a compaction has moved is found there, and none is stored twice."""
    with lakebed.open(tmp_path / "lake") as lake:
        values = [{"key": f"{n}", "value": f"{n}" * 100} for n in range(5)]
        lake.store_batch(values[:objects])
        lake.compact()
        report = lake.store_batch([e | {"key": "x" + e["key"]} for e in values])
        assert report.deduplicated == objects
        assert [e.value for e in lake.list("x")] == [e["value"] for e in values]
        assert sum(not e.inlined for e in lake.list("x")) == objects
        assert not lake.verify().problems


def _objects(folder: Path) -> list[Any]:
    with closing(sqlite3.connect(folder / "catalog.db")) as db:
        return db.execute(
            "SELECT content_hash, format, byte_size FROM object ORDER BY 1, 2"
        ).fetchall()


def test_nothing_is_left_of_a_batch_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its second chunk does, after the first has been written."""
    monkeypatch.setattr(sqlite_batch, "DIRECT", 10)
    create, calls = SQLiteBatch._create, list[int]()

    def fail(self: SQLiteBatch, rows: Any) -> Any:
        calls.append(len(rows))
        if len(calls) == 2:
            raise lakebed.errors.StorageError("broken")
        return create(self, rows)

    monkeypatch.setattr(SQLiteBatch, "_create", fail)
    lake: Lake
    with lakebed.open(tmp_path / "lake") as lake:
        with pytest.raises(lakebed.errors.StorageError):
            lake.store_batch(entries(20))
        assert calls == [10, 10]
        assert len(lake) == 0
        assert not _objects(tmp_path / "lake")
