"""sql."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import lakebed
from tests.cli.conftest import Cli

Data = Callable[..., Any]
QUERY = "SELECT key, value, metadata->>'topic' AS topic FROM documents ORDER BY key"


@pytest.fixture(autouse=True)
def _memories() -> None:
    with lakebed.open("lakebed") as lake:
        lake.store("a", {"n": 10**30, "t": 'one\n\x1b[31m, "two"'}, {"topic": "dates"})
        lake.store("b", "007")


def test_a_table(cli: Cli) -> None:
    printed = cli("sql", QUERY).stdout
    assert "topic" in printed
    assert "dates" in printed
    assert "\x1b" not in printed


def test_json(data: Data) -> None:
    assert data("sql", QUERY) == [
        {"key": "a", "value": {"n": 10**30, "t": 'one\n\x1b[31m, "two"'}, "topic": "dates"},
        {"key": "b", "value": "007", "topic": None},
    ]
    (row,) = data("sql", "SELECT created_at, inlined, [1, 2] AS list FROM entries WHERE key = 'a'")
    assert (row["inlined"], row["list"]) == (True, [1, 2])
    assert row["created_at"].endswith("+00:00")
    assert data("sql", "SELECT 1 WHERE false") == []


def test_csv(cli: Cli) -> None:
    rows = list(csv.reader(io.StringIO(cli("sql", QUERY, "--csv").stdout)))
    assert rows[0] == ["key", "value", "topic"]
    assert rows[2] == ["b", '"007"', ""]
    assert rows[1][2] == "dates"


def test_parquet(cli: Cli, data: Data, folder: Path) -> None:
    cli("sql", QUERY, "--parquet", "out.parquet")
    assert pq.read_table(folder / "out.parquet")["key"].to_pylist() == ["a", "b"]
    assert data("sql", QUERY, "--parquet", "out.parquet")["rows"] == 2


def test_from_standard_input(data: Data) -> None:
    assert data("sql", "-", input="SELECT count(*) AS n FROM entries") == [{"n": 2}]


def test_more_rows_than_a_screen(cli: Cli) -> None:
    """Piped output is never cut: all rows, and lines of any length."""
    printed = cli("sql", "SELECT range AS n, repeat('x', 500) AS wide FROM range(200)").stdout
    assert printed.count("x" * 500) == 200


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("COPY entries TO 'x'",), "COPY"),
        (("SELECT nothing FROM entries",), "nothing"),
        (("SELECT 1", "--csv", "--json"), "cannot be combined with"),
        (("SELECT 1", "--csv", "--parquet", "x"), "cannot be combined with"),
    ],
)
def test_mistakes(cli: Cli, arguments: tuple[str, ...], told: str) -> None:
    assert told in cli("sql", *arguments, code=2).stderr


def test_a_snapshot_that_is_not_there(cli: Cli) -> None:
    assert "never" in cli("sql", "SELECT * FROM entries_at('never')", code=1).stderr
