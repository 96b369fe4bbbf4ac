"""The places of values in packs are found by a join of hashes, not by comparing all with all."""

from __future__ import annotations

import duckdb

from lakebed.lake.sql.values import _with_places

ROWS = """CREATE TABLE rows_of_lake AS SELECT i AS key, 7 AS pack_id,
    CASE WHEN i % 3 = 0 THEN 'parquet' ELSE 'json' END AS format,
    sha256(i::VARCHAR)::BLOB AS content_hash
    FROM range(1000) t(i)"""
FILES = """CREATE TABLE files AS SELECT (sha256(i::VARCHAR)::BLOB)[1:16] AS hash_prefix,
    0::UBIGINT AS file_index, i AS file_row_number FROM range(999, -1, -1) t(i)"""


def test_places_are_joined_by_hash() -> None:
    with duckdb.connect() as connection:
        connection.execute(ROWS)
        connection.execute(FILES)
        query = _with_places("rows_of_lake", "files", "(7, 0)", 5000)
        ((_, plan),) = connection.execute(f"EXPLAIN {query}").fetchall()
        assert plan.count("HASH_JOIN") == 2
        assert "NL_JOIN" not in plan
        assert "NESTED_LOOP" not in plan
        found = connection.sql(query).select("key", "format", "place").fetchall()
    assert len(found) == 1000
    assert all(place == (key if form == "json" else None) for key, form, place in found)
