"""What lists gives itself as Arrow, pandas and polars."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import lakebed
from lakebed.lake.lake import Lake
from lakebed.values.tabular import Tabular


@pytest.fixture
def lake() -> Iterator[Lake]:
    with lakebed.open(":memory:", history="all") as lake:
        lake.store("tea", {"name": "oolong tea", "cups": [1, 2]}, {"kind": "fact"})
        lake.store("tea/raw", b"tea", {"kind": "tea"})
        lake.create_snapshot("before", author="me")
        lake.store("tea", {"name": "green tea", "cups": []}, {"kind": "fact"})
        lake.delete("tea/raw")
        lake.store("coffee", None, ttl=3600)
        yield lake


EXPORTS: dict[str, Callable[[Lake], Tabular]] = {
    "listing": lambda lake: lake.list(),
    "hits": lambda lake: lake.search("tea"),
    "history": lambda lake: lake.history("tea"),
    "snapshots": lambda lake: lake.snapshots(),
    "diff": lambda lake: lake.diff("before"),
}
ROWS = {"listing": 2, "hits": 1, "history": 2, "snapshots": 1, "diff": 3}


@pytest.mark.parametrize("name", EXPORTS)
def test_arrow_pandas_and_polars_agree(lake: Lake, name: str) -> None:
    exported = EXPORTS[name](lake)
    table = exported.to_arrow()
    assert table.num_rows == ROWS[name]
    frame = exported.to_pandas()
    assert list(frame.columns) == table.column_names
    assert len(frame) == ROWS[name]
    assert exported.to_polars().to_arrow().to_pydict() == table.to_pydict()


def test_hits(lake: Lake) -> None:
    (row,) = lake.search("green").to_arrow().to_pylist()
    assert row["key"] == "tea"
    assert json.loads(row["value"]) == {"name": "green tea", "cups": []}
    assert json.loads(row["metadata"]) == {"kind": "fact"}
    assert row["score"] == lake.search("green")[0].score
    past = lake.at("before").search("tea").to_arrow().to_pydict()
    assert dict(zip(past["key"], past["value"], strict=True))["tea/raw"] is None


def test_history_and_snapshots(lake: Lake) -> None:
    newest, oldest = lake.history("tea").to_arrow().to_pylist()
    assert newest["ended_at"] is None
    assert oldest["ended_at"] == lake.history("tea")[1].ended_at
    assert oldest["version"] < newest["version"]
    (made,) = lake.snapshots().to_arrow().to_pylist()
    assert (made["name"], made["author"], made["message"]) == ("before", "me", None)


def test_nothing_has_columns_all_the_same() -> None:
    with lakebed.open(":memory:") as empty:
        for exported in (empty.search("x"), empty.history("x"), empty.list(), empty.snapshots()):
            table = exported.to_arrow()
            assert table.num_rows == 0
            assert table.num_columns > 3


def test_json_columns_are_decoded_for_a_notebook(lake: Lake) -> None:
    query = "SELECT key, value, metadata, metadata->'kind' AS kind FROM documents ORDER BY key"
    result = lake.sql(query)
    frame = result.df()
    values: list[Any] = frame["value"].tolist()
    assert values == [None, {"name": "green tea", "cups": []}]
    assert frame["metadata"].tolist() == [{}, {"kind": "fact"}]
    assert frame["kind"].tolist() == [None, "fact"]
    texts = result.df(decode_json=False)
    assert json.loads(texts["value"][1]) == values[1]
    assert texts["value"][0] == "null"
