"""search."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

import lakebed
from tests.cli.conftest import Cli

Data = Callable[..., Any]


@pytest.fixture(autouse=True)
def _memories() -> None:
    with lakebed.open("lakebed") as lake:
        lake.store("a/1", "Parsing dates is hard", {"topic": "dates"})
        lake.store("a/2", {"note": "A date, a date, a parsed date"}, {"topic": "dates"})
        lake.store("b/1", "nothing of the kind\n\x1b[31m", {"topic": "tea"})
        lake.store("b/raw", b"\xff", {"topic": "date"})
        lake.store("b/table", pa.table({"day": [1]}), {"topic": "date"})


def test_search(cli: Cli) -> None:
    *lines, totals = cli("search", "parsed DATE", "--prefix", "a/").stdout.splitlines()
    assert totals == "2 of 2 hits"
    with lakebed.open("lakebed") as lake:
        hits = lake.search("parsed DATE", prefix="a/")
    assert [line.split() for line in lines[::2]] == [[f"{h.score:.3g}", h.key] for h in hits]
    assert '{"note": "A date, a date, a parsed date"}' in map(str.strip, lines[1::2])
    assert "\x1b" not in cli("search", "kind").stdout
    assert cli("search", "absent").stdout == "0 of 0 hits\n"


def test_search_options(data: Data) -> None:
    def found(*arguments: str) -> list[str]:
        return [hit["key"] for hit in data("search", *arguments)["hits"]]

    assert sorted(found("date")) == ["a/1", "a/2", "b/raw", "b/table"]
    assert found() == ["a/1", "a/2", "b/1", "b/raw", "b/table"]
    dates = ("date", "--filter", '{"topic": "dates"}')
    assert sorted(found(*dates)) == ["a/1", "a/2"]
    assert found(*dates, "--limit", "1") + found(*dates, "--offset", "1") == found(*dates)
    assert found("--prefix", "b/", "--limit", "1") == ["b/1"]


def test_search_for_programs(data: Data) -> None:
    told = data("search", "parsing")
    assert (told["total"], told["unread"]) == (2, 0)
    with lakebed.open("lakebed") as lake:
        for hit, expected in zip(told["hits"], lake.search("parsing"), strict=True):
            assert hit == dict(expected)
    raw, table = data("search", "date", "--prefix", "b/")["hits"]
    assert raw["value_base64"] == "/w=="
    assert table["format"] == "parquet"
    assert "value" not in table


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--limit", "-1"), "limit must be 0 or more, got -1"),
        (("--offset", "-1"), "offset must be 0 or more, got -1"),
        (("--filter", "["), "not JSON"),
        (("two", "words"), "unexpected extra argument"),
    ],
)
def test_wrong_use(cli: Cli, arguments: tuple[str, ...], said: str) -> None:
    assert said in cli("search", *arguments, code=2).stderr


def test_odd_queries_are_plain_text(cli: Cli) -> None:
    for query in ('"', "%", "a AND", "*", "NEAR(", "-- x", "日本", ""):
        cli("search", "--", query)


def test_what_was_published(cli: Cli, data: Data) -> None:
    told = data("publish", "published", "--search")
    assert (told["entries"], told["segments"]) == (5, 1)
    asked = ("search", "parsed date", "--explain", "--offset", "1", "--thread")
    expected, shown = data(*asked), cli(*asked).stdout
    with lakebed.open("lakebed") as lake:
        for key in list(lake)[1:]:
            del lake[key]
    assert data(*asked, "--published", "published") == expected
    assert cli(*asked, "--published", "published").stdout == shown
    assert data("publish", "published")["segments"] == 0
    refused = cli("search", "date", "--published", "published", code=2)
    assert "publish it with search=True" in refused.stderr
