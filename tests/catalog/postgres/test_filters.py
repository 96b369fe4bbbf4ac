"""What filters read of a Postgres catalog, whatever its planner knows of the tables."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

import lakebed
from lakebed.filters import parse
from lakebed.lake.lake import Lake
from tests.servers import PostgresServer

COUNT = 20_000  # as many as a batch takes into the index
EVERY = {"low": "", "high": "\U0010ffff", "now": None}


@pytest.fixture(scope="module", params=["unknown", "analyzed"])
def lake(request: pytest.FixtureRequest, postgres_15: PostgresServer) -> Iterator[Lake]:
    url = postgres_15.url(tcp=True)
    with lakebed.open(catalog={"type": "postgres", "url": url, "schema": "filter_test"}) as lake:
        lake.store_batch(
            {
                "key": f"k/{n:06}",
                "value": n,
                "metadata": {"kind": "rare" if n % 2000 == 1999 else "common", "n": n},
            }
            for n in range(COUNT)
        )
        with psycopg.connect(url, autocommit=True) as connection:
            if request.param == "analyzed":
                connection.execute("ANALYZE filter_test.entry, filter_test.entry_metadata")
            yield lake
            connection.execute("DROP SCHEMA filter_test CASCADE")


@pytest.fixture
def read(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each statement gives from now on."""
    counts: list[int] = []
    fetch = lake._catalog._executor.fetch

    def counted(sql: str, params: Any) -> Any:
        rows = fetch(sql, params)
        counts.append(len(rows))
        return rows

    monkeypatch.setattr(lake._catalog._executor, "fetch", counted)
    return counts


def listed(lake: Lake, condition: dict[str, Any], limit: int | None = 10) -> int:
    return len(list(lake.list(metadata_filter=condition, limit=limit)))


@pytest.mark.parametrize(
    "condition", [{"kind": "rare"}, {"n": {"$gt": COUNT - 11}}, {"kind": "rare", "n": {"$gt": 5}}]
)
def test_what_is_rare_takes_four_statements(
    lake: Lake, read: list[int], condition: dict[str, Any]
) -> None:
    for _ in range(8):  # a statement is prepared after five
        del read[:]
        assert listed(lake, condition) == 10
        assert len(read) == 4
        assert sum(read) <= 40 + 1 + 11 + 10


@pytest.mark.parametrize(
    "condition",
    [
        {"kind": {"$ne": "common"}},
        {"$not": {"kind": "common"}},
        {"kind": {"$nin": ["common", "x"]}},
    ],
)
def test_a_rare_negation_takes_five(lake: Lake, read: list[int], condition: dict[str, Any]) -> None:
    for _ in range(8):
        del read[:]
        assert listed(lake, condition) == 10
        assert len(read) == 5  # the shapes too
        assert sum(read) <= 40 + 1 + 1 + 11 + 10


@pytest.mark.parametrize("name", ["count_candidates", "indexed_metadata"])
def test_a_rare_negation_reads_few_pages(lake: Lake, name: str) -> None:
    index = lake._catalog._index
    (way,) = index.ways(parse({"kind": {"$not": {"$gte": "b"}}}))
    sql = f"EXPLAIN (ANALYZE, BUFFERS) {index.sql(name, way)}"
    for _ in range(8):
        plan = lake._catalog._executor.fetch(sql, {**EVERY, **way.params, "cap": 1000})
        (pages,) = re.findall(r"Buffers: shared hit=(\d+)", plan[0][0] + plan[1][0])
        assert int(pages) < 100  # of some thousand


@pytest.mark.parametrize("condition", [{"kind": "common"}, {"kind": {"$ne": "rare"}}])
def test_what_is_common_takes_one(lake: Lake, read: list[int], condition: dict[str, Any]) -> None:
    assert listed(lake, condition) == 10
    assert read == [40]


@pytest.mark.parametrize("condition", [{"n": {"$gte": 5}}, {"kind": {"$exists": True}}])
@pytest.mark.parametrize("name", ["count_candidates", "indexed_metadata"])
def test_a_common_range_is_read_up_to_the_cap(
    lake: Lake, name: str, condition: dict[str, Any]
) -> None:
    index, (way,) = lake._catalog._index, lake._catalog._index.ways(parse(condition))
    sql = f"EXPLAIN (ANALYZE, BUFFERS) {index.sql(name, way)}"
    for _ in range(8):
        plan = lake._catalog._executor.fetch(sql, {**EVERY, **way.params, "cap": 10})
        (pages,) = re.findall(r"Buffers: shared hit=(\d+)", plan[0][0] + plan[1][0])
        assert int(pages) < 300  # of some thousand


def test_what_no_index_helps_with_is_read_in_pages(lake: Lake, read: list[int]) -> None:
    assert listed(lake, {"kind": {"$not": {"$contains": "common"}}}) == 10
    assert max(read) <= 10_000
    assert len(read) < 20


def test_a_statement_timeout_stops_no_filter(postgres_15: PostgresServer) -> None:
    schema = f"t{secrets.token_hex(6)}"
    with lakebed.open(
        catalog={"type": "postgres", "url": postgres_15.url(tcp=True), "schema": schema}
    ) as lake:
        lake.store_batch({"key": f"m/{n}", "value": n, "metadata": {"m": n}} for n in range(3000))
        server = lake._catalog._executor
        with pytest.MonkeyPatch.context() as patch:
            # What would bring the index up to date is cancelled.
            slow = "SELECT pg_sleep(20) WHERE :indexed >= 0 AND :page > 0"
            patch.setitem(lake._catalog._queries, "metadata_tail", slow)
            with server.connection() as connection:
                connection.execute("SET statement_timeout = '200ms'")
            assert listed(lake, {"m": {"$gte": 2990}}) == 10
