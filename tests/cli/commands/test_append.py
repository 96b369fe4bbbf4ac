"""append: rows of files and of standard input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lakebed
from tests.cli.conftest import Cli


def test_files_of_every_format(cli: Cli, folder: Path) -> None:
    (folder / "a.csv").write_text("n,text\n1,one\n2,two\n")
    (folder / "b.ndjson").write_text('{"text": "three", "n": 3}\n')
    (folder / "c.json").write_text('[{"n": 4, "text": "four"}, {"n": 5}]')
    pq.write_table(pa.table({"n": [6], "text": ["six"]}), folder / "d.parquet")
    assert cli("append", "t", "a.csv").stdout == "t has 2 rows\n"
    assert cli("append", "t", "b.ndjson").stdout == "t has 3 rows\n"
    assert json.loads(cli("append", "t", "c.json", "--json").stdout)["rows"] == 5
    assert cli("append", "t", "d.parquet").stdout == "t has 6 rows\n"
    assert cli("append", "t", "-", input='{"n": 7, "text": "seven"}\n').stdout == "t has 7 rows\n"
    cli("append", "t", "-", "--format", "csv", input="n,text\n8,eight\n")
    with lakebed.open("lakebed") as lake:
        assert lake["t"].column("n").to_pylist() == list(range(1, 9))
        assert lake["t"].column("text").to_pylist()[3:5] == ["four", None]
    assert len(json.loads(cli("get", "t").stdout)) == 8


def test_widening(cli: Cli) -> None:
    cli("append", "t", "-", input='{"n": 1}\n')
    more = '{"n": 2, "where": "here"}\n'
    result = cli("append", "t", "-", input=more, code=2)
    assert "the column 'where' is string in the rows and is not in the table 't'" in result.stderr
    assert cli("append", "t", "-", "--widen", input=more).stdout == "t has 2 rows\n"


def test_partitions(cli: Cli) -> None:
    rows = '{"n": 1, "a": "x", "b": true}\n{"n": 2, "a": "y", "b": false}\n'
    by = ["--partition-by", "a", "--partition-by", "b"]
    assert cli("append", "t", "-", *by, input=rows).stdout == "t has 2 rows\n"
    assert cli("append", "t", "-", input=rows).stdout == "t has 4 rows\n"
    result = cli("append", "t", "-", "--partition-by", "n", input=rows, code=2)
    assert "the table 't' is partitioned by 'a', 'b', not by 'n'" in result.stderr


def test_a_diff_tells_the_rows(cli: Cli) -> None:
    cli("append", "t", "-", input='{"n": 1}\n')
    cli("append", "t", "-", input='{"n": 2}\n')
    cli("snapshot", "create", "before")
    cli("append", "t", "-", input='{"n": 3}\n{"n": 4}\n')
    assert "rows: 2 → 4" in cli("diff", "before").stdout


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.txt", "n\n1\n", "cannot tell the format from the name"),
        ("a.ndjson", "no json", "a.ndjson: JSON parse error"),
        ("a.json", '[{"n": 1}, 2]', "a.json: item 2: not a JSON object"),
        ("a.parquet", "no parquet", "a.parquet: Parquet magic bytes not found"),
        ("a.csv", "n\n1,2\n", "a.csv: CSV parse error"),
    ],
)
def test_files_that_are_no_table(cli: Cli, folder: Path, name: str, text: str, words: str) -> None:
    (folder / name).write_text(text)
    assert words in cli("append", "t", name, code=2).stderr
    assert not (folder / "lakebed").exists()


def test_a_value_that_is_no_table(cli: Cli, data: Callable[..., Any]) -> None:
    cli("put", "t", "text")
    result = cli("append", "t", "-", input='{"n": 1}\n', code=2)
    assert "'t' holds a value of the format 'json'" in result.stderr
    assert data("get", "t") == "text"
