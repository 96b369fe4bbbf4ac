"""A page of a listing at a snapshot reads little more than one of the present, on servers as well:
counted in rows that the server reads. (SQLite: test_snapshot_costs.py.)"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import lakebed
from lakebed.catalog.statements.executor import Transaction
from lakebed.lake.lake import Lake
from lakebed.model import LAST_KEY

COUNT = 4_000
PAGE = 10


@pytest.fixture(scope="module", params=["postgres", "mariadb"])
def lake(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lake]:
    """A lake with a snapshot `s`, after which every second entry was replaced."""
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_18").url()
        catalog = {"type": "postgres", "url": url, "schema": f"t{secrets.token_hex(6)}"}
    else:
        server = request.getfixturevalue("mariadb")
        catalog = {"type": "sqlalchemy", "url": server.url(f"past_{secrets.token_hex(4)}")}
    storage: Path = tmp_path_factory.mktemp("storage")
    with lakebed.open(catalog=catalog, storage=str(storage)) as lake:
        lake.store_batch({"key": f"k{n:06}", "value": n} for n in range(COUNT))
        lake.create_snapshot("s")
        lake.store_batch({"key": f"k{n:06}", "value": -n} for n in range(1, COUNT, 2))
        yield lake


def read_by_postgres(tx: Transaction, sql: str, params: dict[str, Any]) -> int:
    ((found,),) = tx.all(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", params)
    plans = json.loads(found) if isinstance(found, str) else found

    def rows(node: dict[str, Any]) -> float:
        own = 0.0
        if "Relation Name" in node:
            once = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
            own = once * node["Actual Loops"]
        return own + sum(map(rows, node.get("Plans", ())))

    return round(rows(plans[0]["Plan"]))


def read_by_mariadb(tx: Transaction, sql: str, params: dict[str, Any]) -> int:
    def handled() -> int:
        status = tx.all("SHOW SESSION STATUS LIKE 'Handler_read%'", {})
        return sum(int(value) for _, value in status)

    before = handled()
    tx.all(sql, params)
    after = handled()
    return after - before - (handled() - after)  # without what the looking reads itself


@pytest.mark.parametrize("after", ["", f"k{COUNT // 2:06}"])
def test_a_page_reads_rows_of_a_page(lake: Lake, after: str) -> None:
    catalog: Any = lake._catalog
    snapshot = catalog.find_snapshot("s")
    params = {"low": after, "high": LAST_KEY, "page": PAGE, "now": catalog.now()}
    past = catalog.at(snapshot.moment())
    queries = {
        "now": (catalog._queries["list_entries"].replace("{narrowing}", ""), params),
        "then": (past._sql("list_entries_at", "{narrowing}", ""), params | past._params),
    }
    postgres = catalog._executor.dialect.name == "postgres"
    count: Callable[..., int] = read_by_postgres if postgres else read_by_mariadb
    with catalog._executor.reading(lambda tx: tx) as tx:
        read = {name: count(tx, *query) for name, query in queries.items()}
        assert len(tx.all(*queries["then"])) == PAGE
    assert PAGE <= read["now"] <= 10 * PAGE
    assert read["then"] <= 3 * read["now"] + 6 * PAGE
    assert read["then"] < COUNT / 10


def test_pages_of_the_past_are_whole(lake: Lake) -> None:
    past = lake.at("s")
    assert [entry.value for entry in past.list(limit=1_500)] == list(range(1_500))
    assert len(past) == len(list(past.list())) == COUNT
    assert len(lake) == COUNT
