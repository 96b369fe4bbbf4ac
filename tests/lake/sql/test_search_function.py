"""`search('…', n)` in a query: the hits of `search` as a table."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import lakebed
from lakebed.errors import QueryError
from lakebed.lake.lake import Lake


@pytest.fixture
def lake() -> Iterator[Lake]:
    with lakebed.open(":memory:") as lake:
        for number in range(30):
            text = {"text": f"tea number {number}", "n": number}
            lake.store(f"k/{number:02}", text, {"kind": "ab"[number % 2]})
        yield lake


@pytest.mark.parametrize(("arguments", "wanted"), [("", 10), (", 3", 3), (", 100", 30), (", 0", 0)])
def test_it_gives_what_search_gives(lake: Lake, arguments: str, wanted: int) -> None:
    rows = lake.sql(f"SELECT * FROM search('tea 7'{arguments}) ORDER BY score DESC, key").fetchall()
    assert rows == [(hit.key, hit.score) for hit in lake.search("tea 7", limit=wanted)]


def test_it_joins(lake: Lake) -> None:
    found = lake.sql(
        "SELECT d.metadata->>'kind', count(*) FROM search($question, 100) "
        "JOIN documents d USING (key) GROUP BY ALL ORDER BY ALL",
        {"question": "tea"},
    )
    assert found.fetchall() == [("a", 15), ("b", 15)]
    both = "SELECT count(*) FROM search('tea', 20) JOIN search('7', 5) USING (key)"
    assert lake.sql(both).fetchall() == [(1,)]
    assert lake.sql("SELECT * FROM search('nothing')").fetchall() == []


def test_a_view_searches_its_moment(lake: Lake) -> None:
    lake.create_snapshot("before")
    lake.delete("k/07")
    query = "SELECT key FROM search('7')"
    assert lake.sql(query).fetchall() == []
    assert lake.at("before").sql(query).fetchall() == [("k/07",)]


def test_what_is_asked_is_never_sql(lake: Lake) -> None:
    for question in ("'; DROP TABLE x; --", "tea' OR '1' = '1", "$1 ? {} %s", "\u0000", "a\nb"):
        found = lake.sql("SELECT key FROM search(?, 100)", [question]).fetchall()
        assert len(found) == lake.search(question, limit=100).total


@pytest.mark.parametrize(
    "call", ["", "5", "NULL", "'x', 'y'", "'x', -1", "'x', 1, 2", "'x' || 'y'"]
)
def test_other_arguments_are_refused(lake: Lake, call: str) -> None:
    with pytest.raises(QueryError, match="search"):
        lake.sql(f"SELECT * FROM search({call})")
