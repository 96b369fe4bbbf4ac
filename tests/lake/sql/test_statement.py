"""What a query may say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lakebed
from lakebed.errors import QueryError

STORED = {"kind": "note"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("closed")


@pytest.fixture(scope="module")
def lake(folder: Path) -> Iterator[lakebed.Lake]:
    with lakebed.open(folder / "lake", inline_threshold=0) as lake:
        lake.store("a", STORED)
        yield lake


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith("catalog.db")
    }


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1; SELECT 2",
        "SELECT 1; COPY (SELECT 1) TO '{folder}/out.csv'",
        "COPY (SELECT * FROM documents) TO '{folder}/out.csv'",
        "COPY (SELECT 1) TO '{object}' (FORMAT parquet, USE_TMP_FILE false)",
        "COPY (SELECT 1) TO 'lakebed://{name}' (FORMAT parquet, USE_TMP_FILE false)",
        "COPY (SELECT 1) TO 'lakebed://objects/../../out.csv'",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{folder}/out.csv'",
        "EXPLAIN (ANALYZE) COPY (SELECT 1) TO '{folder}/out.csv'",
        "/* SELECT */ EXPLAIN -- SELECT\n COPY (SELECT 1) TO '{folder}/out.csv'",
        "EXPORT DATABASE '{folder}/out'",
        "ATTACH '{folder}/out.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "RESET lock_configuration",
        "PRAGMA threads = 1",
        "PRAGMA enable_profiling",
        "CREATE TABLE mine AS SELECT 1",
        "CREATE TEMP VIEW mine AS SELECT 1",
        "INSERT INTO entries VALUES (1)",
        "DELETE FROM entries",
        "UPDATE entries SET key = 'b'",
        "DROP VIEW entries",
        "CALL enable_logging()",
        "CHECKPOINT",
        "BEGIN",
        "USE memory",
        "PREPARE mine AS SELECT 1",
        "SELECT * FROM enable_logging(storage := 'file', storage_path := '{folder}/log')",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('{secret}')",
        "SELECT * FROM read_text('{link}')",
        "SELECT * FROM read_blob('lakebed://objects/../catalog.db')",
        "SELECT * FROM read_parquet('https://example.com/x.parquet')",
        "SELECT * FROM glob('{folder}/*')",
        "SELECT * FROM sniff_csv('{secret}')",
        "SELECT * FROM '{secret}'",
        'SELECT * FROM "{secret}"',
        "SELECT (SELECT max(content) FROM read_text('{secret}'))",
        "WITH t AS (SELECT * FROM read_text('{secret}')) SELECT * FROM t",
        "SELECT * FROM entries WHERE EXISTS (FROM read_text('{secret}'))",
        "FROM entries, LATERAL (SELECT * FROM read_text('{secret}'))",
        "SELECT * FROM (SUMMARIZE FROM read_text('{secret}'))",
        "DESCRIBE SELECT * FROM read_csv('{secret}')",
        "SELECT * FROM query('COPY (SELECT 1) TO ''{folder}/out.csv''')",
        "SELECT * FROM query_table('entries')",
        "SELECT * FROM json_execute_serialized_sql('x')",
        "SELECT * FROM arrow_scan(1::POINTER, 1::POINTER, 1::POINTER)",
        "SELECT * FROM python_map_function(1)",
        "SELECT * FROM duckdb_secrets()",
        "SELECT * FROM duckdb_settings()",
        "SELECT * FROM lakebed_rows_0",
        "SELECT * FROM STORED",
        "SELECT getenv('HOME')",
        "SELECT * FROM nowhere",
        "WITH entries AS (SELECT 1) SELECT * FROM entries",
        "WITH snapshots AS (SELECT 1) SELECT * FROM entries, (FROM snapshots)",
        "EXPLAIN ANALYZE (/* ) SELECT 1 -- */ SELECT * FROM duckdb_settings())",
        "EXPLAIN (/*)*/ SELECT * FROM duckdb_settings())",
        "/* /* */ EXPLAIN SELECT 1 -- */ */ EXPLAIN ANALYZE CREATE TABLE mine2 AS SELECT 1",
        "-- \r EXPLAIN ANALYZE CREATE TABLE mine2 AS SELECT 1 /*\n EXPLAIN SELECT 1 --*/",
        "SELECT * FROM pg_type, (WITH pg_type AS (SELECT 1) FROM pg_type)",
        "WITH pg_type AS (FROM pg_type) FROM pg_type",
        "WITH a AS (FROM pg_type), pg_type AS (SELECT 1) FROM a",
        "WITH pg_type AS (SELECT 1) FROM pg_catalog.main.pg_type",
        "WITH x AS (COPY (SELECT 1) TO '{folder}/out.csv') FROM x",
        "WITH x AS (INSERT INTO entries VALUES (1) RETURNING *) FROM x",
        "WITH x AS (UPDATE entries SET key = 'b' RETURNING *) FROM entries",
        "SELECT (WITH x AS (DELETE FROM entries RETURNING *) SELECT max(key) FROM x)",
        "EXPLAIN ANALYZE WITH x AS (COPY (SELECT 1) TO '{folder}/out.csv') FROM x",
        "SELECT * FROM system.information_schema.schemata.schemata",
        "SELECT * FROM memory.lakebed_rows.pg_catalog.pg_type",
        "SELECT * FROM add_grammar_extension('x')",
        "SELECT to_aggregate_state(1, 'sum', ['INTEGER'])",
        "SELECT index_key({'table': 'entries'}, 'x', 1)",
        "SELECT * FROM main.entries",
        "SELECT * FROM temp.entries",
        "SELECT * FROM entries_at(1.0)",
        "SELECT * FROM entries_at('a' || 'b')",
        "SELECT * FROM entries_at(key)",
        "SELECT * FROM changes()",
        "SELECT * FROM changes('a', 'b', 'c')",
        "SELECT FROM WHERE",
        "",
        "-- nothing",
    ],
)
def test_refused(lake: lakebed.Lake, folder: Path, query: str) -> None:
    secret = folder / "secret.txt"
    secret.write_text("hidden")
    objects = folder / "lake"
    link = objects / "objects" / "link.json"
    if not link.is_symlink():
        link.symlink_to(secret)
    stored = next(path for path in objects.rglob("*.json") if not path.is_symlink())
    before = files(folder)
    text = (
        query.replace("{folder}", str(folder))
        .replace("{secret}", str(secret))
        .replace("{link}", str(link))
        .replace("{object}", str(stored))
        .replace("{name}", str(stored.relative_to(objects)))
    )
    with pytest.raises(QueryError) as caught:
        lake.sql(text).fetchall()
    assert "hidden" not in str(caught.value)
    assert files(folder) == before
    assert lake.sql("SELECT count(*) FROM documents").fetchone() == (1,)


@pytest.mark.parametrize(
    "query",
    [
        "FROM entries",
        "TABLE entries",
        "VALUES (1, 2)",
        "SELECT 1;",
        "select KEY from ENTRIES",
        'SELECT "key" FROM "entries"',
        "SUMMARIZE SELECT key FROM entries",
        "DESCRIBE documents",
        "EXPLAIN SELECT * FROM entries",
        "EXPLAIN ANALYZE SELECT * FROM documents",
        "EXPLAIN (FORMAT json) SELECT * FROM entries",
        "/* a */ EXPLAIN -- b\n SELECT 1",
        "FROM (PIVOT entries ON format IN ('json') USING count(*))",
        "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 3) FROM t",
        "SELECT * FROM range(3), generate_series(1, 2)",
        "SELECT unnest(json_keys(value)) FROM documents",
        "SELECT j.key FROM documents, json_each(value) j",
        "SELECT schema_name FROM information_schema.schemata",
        "SELECT type_name FROM pg_catalog.pg_type, duckdb_types()",
        "WITH a AS (SELECT 1), b AS (FROM a) SELECT * FROM b, (WITH c AS (FROM a, b) FROM c)",
        "SELECT (WITH a AS (SELECT key) FROM a) FROM entries",
        "SELECT 1e400 > -1e400, 'Infinity', '\"value\":Infinity'",
        "SELECT #12 FROM documents",
        "SELECT 1" + " + 1" * 300,
    ],
)
def test_allowed(lake: lakebed.Lake, query: str) -> None:
    assert lake.sql(query).fetchall()


@pytest.mark.parametrize(
    ("query", "params"),
    [
        ("SELECT '\ud800'", None),
        ("SELECT ?", ["\ud800"]),
        ("SELECT ?", [object()]),
        ("SELECT ?", iter("a")),
        ("SELECT ?", []),
        ("SELECT $a", {"b": 1}),
        ("FROM entries_at(?)", [["a"]]),
        ("FROM entries_at(?)", [1.0]),
        ("FROM changes(?)", [True]),
        ("SELECT " + "+".join("1" * 900), None),
        (b"SELECT 1", None),
    ],
)
def test_what_is_no_query(lake: lakebed.Lake, query: Any, params: Any) -> None:
    with pytest.raises(QueryError):
        lake.sql(query, params)


def test_external_access_may_do_more(lake: lakebed.Lake, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    query = f"FROM read_parquet('{out}')"
    lake.sql("COPY (SELECT key FROM documents) TO $out", {"out": str(out)}, external_access=True)
    assert lake.sql(query, external_access=True).fetchall() == [("a",)]
    with pytest.raises(QueryError, match="not allowed"):
        lake.sql(query)
