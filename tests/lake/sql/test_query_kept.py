"""What a query session keeps is right, is there when it is read, and goes when nobody needs it."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import lakebed
from lakebed.duckdb.result import QueryResult
from lakebed.errors import QueryError
from lakebed.lake.lake import Lake
from lakebed.lake.sql import engine as query_engine
from lakebed.lake.sql import row_cache
from lakebed.lake.sql import values as query_values
from lakebed.testing import FakeClock, open_lake

SUM = "SELECT count(*), sum((value->>'n')::int) FROM documents"
KEYS = "SELECT key FROM entries ORDER BY key"


def store_pack(lake: Lake, prefix: str, count: int) -> None:
    """Store documents that lie in a pack of their own."""
    values = [{"n": n, "text": f"{prefix}{'x' * 100}"} for n in range(count)]
    lake.store_batch([{"key": f"{prefix}{v['n']}", "value": v} for v in values])


def tables(lake: Lake) -> list[str]:
    """The tables of loaded rows."""
    sql = "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'lakebed_rows'"
    session = lake.query_engine().session
    connection = session.connect()
    try:
        return [name for (name,) in connection.execute(sql).fetchall()]
    finally:
        session.release(connection)


def test_a_pack_that_was_collected_is_read_no_more(tmp_path: Path) -> None:
    with lakebed.open(tmp_path / "lake", inline_threshold=10) as lake:
        for setting in ("enable_external_file_cache", "parquet_metadata_cache"):
            lake.sql(f"SET GLOBAL {setting} = false", external_access=True).close()
        store_pack(lake, "few", 10)
        store_pack(lake, "many", 90)
        assert lake.sql(SUM, external_access=True).fetchall() == [(100, 45 + 4005)]
        for n in range(10):
            lake.delete(f"few{n}")
        lake.collect(grace=0)
        assert len(list((tmp_path / "lake" / "packs").iterdir())) == 1
        assert lake.sql(SUM, external_access=True).fetchall() == [(90, 4005)]


def test_one_query_of_more_rows_than_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_cache, "_KEPT_ROWS", 5)
    with lakebed.open(tmp_path / "lake") as lake:
        lake.store_batch([{"key": f"k{n}", "value": n} for n in range(10)])
        both = "SELECT count(*) FROM entries JOIN history USING (key)"
        assert lake.sql(both).fetchall() == [(10,)]
        assert lake.sql("SELECT count(*) FROM documents").fetchall() == [(10,)]
        assert len(tables(lake)) == 1


def test_queries_of_many_ranges_and_snapshots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_cache, "_KEPT", 5)
    with lakebed.open(tmp_path / "lake") as lake:
        for n in range(10):
            lake.store(f"k{n}", n)
        for n in range(10):
            one = "SELECT count(*) FROM entries WHERE key = ?"
            assert lake.sql(one, [f"k{n}"]).fetchall() == [(1,)]
        assert len(tables(lake)) == 5
        for _ in range(10):
            lake.create_snapshot("now")
            assert len(lake.at("now").sql(KEYS).fetchall()) == 10
            lake.drop_snapshot("now")
        assert len(tables(lake)) == 5


def test_a_catalog_restored_from_a_backup(tmp_path: Path) -> None:
    with lakebed.open(tmp_path / "lake") as lake:
        lake.store_batch([{"key": f"k{n}", "value": n} for n in range(50)])
        with (
            closing(sqlite3.connect(tmp_path / "lake" / "catalog.db")) as catalog,
            closing(sqlite3.connect(":memory:")) as backup,
        ):
            catalog.backup(backup)
            for n in range(5):
                lake.store(f"lost{n}", n)
            assert len(lake.sql(KEYS).fetchall()) == 55
            backup.backup(catalog)
        # Drawn again: the versions that the lost entries had.
        with lakebed.open(tmp_path / "lake") as other:
            for n in range(5):
                other.store(f"new{n}", n)
        assert lake.sql(KEYS).fetchall() == [(key,) for key in sorted(lake)]


def test_by_a_clock_that_was_set_back_what_had_expired_is_there(tmp_path: Path) -> None:
    clock = FakeClock()
    with open_lake(tmp_path / "lake", clock=clock) as lake:
        lake.store("lasting", 1)
        lake.store("short", 2, ttl=5)
        clock.advance(10)
        assert lake.sql(KEYS).fetchall() == [("lasting",)]
        clock.advance(-8)
        assert lake.sql(KEYS).fetchall() == [("lasting",), ("short",)]


def test_rows_of_a_range_go_when_stored_tables_were_found(tmp_path: Path) -> None:
    # A catalog that cannot tell its state, so that rows of a range are not kept.
    with lakebed.open(
        catalog=f"duckdb:///{tmp_path / 'catalog'}", storage=tmp_path / "storage"
    ) as lake:
        for n in range(3):
            lake.store(f"t{n}", pa.table({"a": [n]}))
        assert lake.tables("t").count().execute() == 3
        assert tables(lake) == []


def test_rows_go_when_others_that_a_query_needs_cannot_be_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with lakebed.open(
        catalog=f"duckdb:///{tmp_path / 'catalog'}", storage=tmp_path / "storage"
    ) as lake:
        lake.store("k", 1)
        lake.sql("SELECT * FROM objects").close()
        load_scan, loaded = row_cache.load_scan, list[object]()

        def failing(*args: Any) -> object:
            if loaded:
                raise QueryError("no")
            loaded.append(load_scan(*args))
            return loaded[0]

        monkeypatch.setattr(row_cache, "load_scan", failing)
        with pytest.raises(QueryError):
            lake.sql("SELECT count(*) FROM objects, history")
        assert len(loaded) == 1
        assert tables(lake) == []


def test_values_are_placed_while_another_query_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with lakebed.open(tmp_path / "lake", inline_threshold=10) as lake:
        store_pack(lake, "k", 10)
        others = list[object]()

        def late(*args: Any) -> QueryResult:
            if not others:
                others.append(None)
                others.append(lake.sql(SUM).fetchall())
            return QueryResult(*args)

        monkeypatch.setattr(query_engine, "QueryResult", late)
        assert lake.sql("SELECT count(*) FROM documents").fetchall() == [(10,)]
        assert others[1] == [(10, 45)]


def test_a_time_limit_while_values_are_placed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with lakebed.open(tmp_path / "lake", inline_threshold=10) as lake:
        store_pack(lake, "k", 10)
        lake.query_settings(timeout=3)
        going, ended = threading.Event(), threading.Event()
        join_places: Callable[..., int] = query_values._join_places

        def slow(*args: Any) -> int:
            stride = join_places(*args)
            assert going.wait(60)
            ended.set()
            return stride

        def refuse(*_: object) -> None:
            raise AssertionError("looks for damage")

        monkeypatch.setattr(query_values, "_join_places", slow)
        monkeypatch.setattr(query_values, "_refuse_damaged", refuse)
        with pytest.raises(QueryError, match="after 3 seconds"):
            lake.sql(SUM)
        monkeypatch.setattr(query_values, "_join_places", join_places)
        for n in range(1, 3):
            lake.delete(f"k{n}")
            assert lake.sql(SUM).fetchall() == [(10 - n, 45 - n * (n + 1) // 2)]
        going.set()
        assert ended.wait(60)  # the one that was left to itself
        assert lake.sql(SUM).fetchall() == [(8, 42)]
        until = time.monotonic() + 60
        while len(tables(lake)) > 1 and time.monotonic() < until:  # it drops what it made
            time.sleep(0.01)
        assert len(tables(lake)) == 1
