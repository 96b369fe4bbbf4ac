"""Queries load the columns that they may read, the rows that they want, and count without loading:
with the same answers as over everything."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

import lakebed
from lakebed.errors import QueryError
from lakebed.lake.sql.engine import QueryEngine
from lakebed.testing import FakeClock
from tests.lake.sql.conftest import OpenLake, forget_rows

pytestmark = pytest.mark.sampled("new_lake", 3)


@pytest.fixture
def lake(new_lake: OpenLake) -> Iterator[lakebed.Lake]:
    """Inline, packed and other values, what has expired, a snapshot, and changes after it."""
    clock = FakeClock()
    with new_lake(clock) as lake:
        lake.store_batch(
            {
                "key": f"{n:02}",
                "value": {"n": n, "pad": "x" * (n % 3 * 40)},
                "metadata": {"m": n % 2},
            }
            for n in range(30)
        )
        lake.store("bytes", b"no document", {"m": 0})
        lake.store("00 gone", 1, ttl=timedelta(seconds=5))
        lake.create_snapshot("then")
        lake.store("00", {"n": 100})
        lake.delete("01")
        lake.create_snapshot("other")
        clock.advance(10)
        yield lake


def loaded(lake: lakebed.Lake) -> dict[str, set[str]]:
    """What is kept of each relation: its columns."""
    return {want.relation: set(want.columns) for want in engine(lake).cache._kept}


def engine(lake: lakebed.Lake) -> QueryEngine:
    return lake.query_engine()


QUERIES = [
    "SELECT count(*) FROM entries",
    "SELECT count(*), count(*) FROM entries WHERE true",
    "SELECT count(*) FROM entries_at('then')",
    "SELECT count(*) FROM documents",
    "SELECT (SELECT count(*) FROM entries_at('then')), (SELECT count(*) FROM entries_at('other'))",
    "SELECT count(*) FROM (FROM entries_at('then') SELECT 1 UNION ALL SELECT 2 FROM entries)",
    "SELECT (SELECT count(*) FROM entries) - (SELECT count(*) FROM entries_at('then'))",
    "SELECT 1 FROM entries",
    "SELECT key FROM entries ORDER BY key LIMIT 3",
    "SELECT KEY FROM entries e ORDER BY e.key LIMIT 3 OFFSET 2",
    "SELECT key, metadata->>'m' FROM documents ORDER BY key LIMIT 28",
    "SELECT value->>'n' FROM documents ORDER BY key LIMIT 3",
    "SELECT * FROM documents ORDER BY key LIMIT 2",
    "SELECT * EXCLUDE (version) FROM entries ORDER BY key LIMIT 2",
    "SELECT key FROM documents ORDER BY key DESC LIMIT 3",
    "SELECT version AS key FROM entries ORDER BY key LIMIT 3",
    "SELECT * REPLACE (-version AS key) FROM entries ORDER BY key LIMIT 3",
    "SELECT DISTINCT metadata->>'m' AS m FROM documents ORDER BY m LIMIT 3",
    "SELECT max(key) FROM entries LIMIT 1",
    "SELECT count(*) FROM entries LIMIT 1",
    "SELECT count(*) OVER () FROM entries LIMIT 1",
    "SELECT unnest([]) FROM entries LIMIT 1",
    "SELECT key FROM entries WHERE byte_size > 40 ORDER BY key LIMIT 2",
    "SELECT key FROM (SELECT key FROM entries WHERE key > '1') ORDER BY key LIMIT 2",
    "SELECT e.key FROM entries e, documents d WHERE e.version = d.version ORDER BY e.key LIMIT 2",
    "SELECT e.key FROM entries e JOIN documents USING (version) ORDER BY e.key",
    "SELECT count(*) FROM entries NATURAL JOIN documents",
    "SELECT e FROM entries e ORDER BY e.key LIMIT 1",
    "SELECT entries.key FROM entries ORDER BY entries.key",
    "SELECT count(e) FROM entries e",
    "SELECT sum(byte_size), count(inlined), count(storage_uri), min(content_hash) FROM entries",
    "SELECT a FROM entries e(a) ORDER BY a",
    "SELECT COLUMNS('^(key|version)$') FROM entries ORDER BY key",
    "FROM entries ORDER BY key",
    "SELECT #1 FROM entries ORDER BY 1",
    "SELECT key, value FROM documents WHERE starts_with(key, '0') ORDER BY key",
    "SELECT x.value->>'n' FROM documents x ORDER BY x.key",
    "DESCRIBE entries",
    "SELECT key FROM entries_at('then') ORDER BY key LIMIT 2",
    "SELECT key FROM entries TABLESAMPLE 100% ORDER BY key LIMIT 2",
    "SELECT key FROM entries ORDER BY key LIMIT 0",
    "SELECT key FROM entries ORDER BY key LIMIT 10%",
    "PIVOT (SELECT metadata->>'m' AS m FROM entries) ON m IN ('0') USING count(*)",
]  # fmt: skip


def test_the_answer_is_that_over_everything(
    lake: lakebed.Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answers(query: str) -> list[list[object]]:
        forget_rows(lake)
        return [lake.sql(query).fetchall() for _ in range(2)]

    pruned = {query: answers(query) for query in QUERIES}
    monkeypatch.setattr("lakebed.lake.sql.engine.columns_read", lambda *_: None)
    monkeypatch.setattr("lakebed.lake.sql.engine.row_limit", lambda *_: None)
    assert {query: answers(query) for query in QUERIES} == pruned


def test_any_rows_of_a_limit(lake: lakebed.Lake) -> None:
    assert len(lake.sql("SELECT key FROM entries LIMIT 5").fetchall()) == 5
    assert len(lake.sql("SELECT key, value FROM documents LIMIT ? OFFSET 20", [9]).fetchall()) == 9
    assert len(lake.sql("SELECT value FROM documents LIMIT 1000").fetchall()) == 29
    assert len(lake.sql("SELECT key FROM entries OFFSET 28").fetchall()) == 2


def test_columns_that_no_query_names_are_not_loaded(lake: lakebed.Lake) -> None:
    carried = {"key", "version", "object_id", "expires_at", "updated_at"}
    lake.sql("SELECT count(*) FROM entries").fetchall()
    assert loaded(lake) == {}
    lake.sql("SELECT sum(byte_size) FROM entries WHERE key > '1'").fetchall()
    lake.sql("SELECT count(*) FROM documents").fetchall()
    lake.sql("SELECT metadata FROM entries_at('then')").fetchall()
    kept = [
        (want.relation, want.moments == (None,), set(want.columns))
        for want in engine(lake).cache._kept
    ]
    assert ("entries", True, {"key", "expires_at", "byte_size"}) in kept
    assert ("entries", False, {"metadata"}) in kept
    assert ("documents", True, {*carried, "format"}) in kept


def test_what_has_more_columns_serves_and_replaces_what_has_fewer(lake: lakebed.Lake) -> None:
    lake.sql("SELECT max(byte_size) FROM entries").fetchall()
    lake.sql("SELECT max(byte_size), max(metadata) FROM entries").fetchall()
    assert len(engine(lake).cache._kept) == 1
    before = list(engine(lake).cache._kept.values())
    lake.sql("SELECT max(created_at) FROM entries_at('then')").fetchall()
    lake.sql("SELECT max(metadata) FROM entries").fetchall()
    assert before[0] in engine(lake).cache._kept.values()
    lake.store("new", "x" * 1000)
    assert lake.sql("SELECT max(byte_size) FROM entries").fetchall() == [(1002,)]
    assert lake.sql("SELECT count(*) FROM entries").fetchall() == [(31,)]


def test_a_column_that_is_not_there_is_an_error(lake: lakebed.Lake) -> None:
    with pytest.raises(QueryError, match="nothing"):
        lake.sql("SELECT nothing FROM entries").fetchall()
