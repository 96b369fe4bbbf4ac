"""Rows of Postgres as Arrow, beside the same rows as Python objects."""

from __future__ import annotations

from typing import Any

import psycopg
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakebed.catalog.postgres import copy as postgres_copy
from lakebed.catalog.postgres.copy import copy_batches
from lakebed.catalog.scan import Column, schema_of
from tests.servers import PostgresServer

COLUMNS: tuple[Column, ...] = (
    ("t", "text"),
    ("n", "number"),
    ("b", "bytes"),
    ("at", "time"),
)
SCHEMA = schema_of(COLUMNS)
TYPES = "t text, n bigint, b bytea, at bigint"

numbers = st.integers(-(2**63), 2**63 - 1)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
rows = st.lists(
    st.tuples(
        st.none() | texts | st.just("PGCOPY\n\\N,\"'"),
        st.none() | numbers,
        st.none() | st.binary(max_size=20) | st.just(b"PGCOPY\n\xff\r\n\0"),
        st.none() | st.integers(-(2**60), 2**60),
    ),
    max_size=12,
)


@pytest.fixture
def connection(postgres_18: PostgresServer) -> Any:
    with psycopg.connect(postgres_18.url()) as connection:
        connection.execute(f"CREATE TEMP TABLE copied ({TYPES})")
        yield connection


def batches(connection: psycopg.Connection[Any], order: str = "") -> list[pa.RecordBatch]:
    return list(copy_batches(connection, f"SELECT * FROM copied {order}", {}, SCHEMA))  # noqa: S608


def test_rows_come_as_they_are(
    connection: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch, soak: bool
) -> None:
    @settings(max_examples=1000 if soak else 100, deadline=None)
    @given(rows, st.sampled_from([1, 60, 1 << 20]))
    def run(wanted: list[tuple[Any, ...]], batch_bytes: int) -> None:
        monkeypatch.setattr(postgres_copy, "_BATCH_BYTES", batch_bytes)
        connection.execute("TRUNCATE copied")
        marks = "%s, %s, %s, %s"
        connection.cursor().executemany(f"INSERT INTO copied VALUES ({marks})", wanted)  # noqa: S608
        found = pa.Table.from_batches(batches(connection), SCHEMA)
        found.validate(full=True)
        times = found["at"].cast(pa.int64())
        columns = [*(found[name].to_pylist() for name in "tnb"), times.to_pylist()]
        assert sorted(zip(*columns, strict=True), key=repr) == sorted(wanted, key=repr)

    run()


def test_batches_are_bounded(
    connection: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    connection.execute(
        "INSERT INTO copied SELECT repeat('x', 100), n, NULL, n FROM generate_series(1, 5000) n"
    )
    monkeypatch.setattr(postgres_copy, "_BATCH_BYTES", 10_000)
    found = batches(connection, "ORDER BY n")
    assert max(batch.num_rows for batch in found) < 100
    numbers = pa.Table.from_batches(found)["n"].to_pylist()
    assert numbers == list(range(1, 5001))


def test_a_connection_is_as_before_when_not_all_is_read(
    connection: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    connection.execute("INSERT INTO copied SELECT repeat('x', 100) FROM generate_series(1, 50000)")
    connection.commit()
    monkeypatch.setattr(postgres_copy, "_BATCH_BYTES", 10_000)
    some = copy_batches(connection, "SELECT * FROM copied", {}, SCHEMA)
    assert next(some).num_rows > 0
    some.close()  # type: ignore[attr-defined]
    connection.rollback()
    assert connection.execute("SELECT count(*) FROM copied").fetchall() == [(50000,)]


def test_a_failure_while_rows_come(connection: psycopg.Connection[Any]) -> None:
    sql = "SELECT 'x', 1 / (3 - n)::bigint, NULL, NULL FROM generate_series(1, 5) n"
    with pytest.raises(psycopg.errors.DivisionByZero):
        list(copy_batches(connection, sql, {}, SCHEMA))


def test_other_columns_than_asked_for(connection: psycopg.Connection[Any]) -> None:
    with pytest.raises(AssertionError, match="columns"):
        list(copy_batches(connection, "SELECT 'x', 1::bigint", {}, schema_of(COLUMNS[:1])))
