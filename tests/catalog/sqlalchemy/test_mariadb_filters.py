"""What filters read of a MariaDB catalog: counted by the server itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import lakebed
from lakebed.filters import parse
from lakebed.lake.lake import Lake
from tests.servers import MariaDBServer

COUNT = 3000
EVERY = {"low": "", "high": "\U0010ffff", "now": None}


@pytest.fixture(scope="module")
def lake(mariadb: MariaDBServer) -> Iterator[Lake]:
    url = mariadb.url("filters_read")
    with lakebed.open(catalog={"type": "mysql", "url": url}) as lake:
        lake.store_batch(
            {"key": f"k/{n:05}", "value": n, "metadata": {"kind": "common", "n": n}}
            for n in range(COUNT)
        )
        lake.maintain()
        yield lake
    mariadb.execute("DROP DATABASE filters_read")


@pytest.mark.parametrize(
    "condition", [{"kind": "common"}, {"n": {"$gte": 5}}, {"kind": {"$exists": True}}]
)
@pytest.mark.parametrize("name", ["count_candidates", "indexed_metadata"])
def test_a_common_range_is_read_up_to_the_cap(
    lake: Lake, name: str, condition: dict[str, Any]
) -> None:
    index, (way,) = lake._catalog._index, lake._catalog._index.ways(parse(condition))
    with lake._catalog._executor._read() as tx:
        tx.all("FLUSH STATUS", {})
        tx.all(index.sql(name, way), {**EVERY, **way.params, "cap": 10})
        read = tx.all("SHOW SESSION STATUS LIKE 'Handler_read%'", {})
    assert sum(int(number) for _, number in read) < 100
