"""put and get of tables, and tables through export and import."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

import lakebed
from tests.cli.conftest import Cli

Data = Callable[..., Any]

TABLE = pa.table(
    {
        "when": pa.array([dt.datetime(2013, 1, 1, tzinfo=dt.UTC), None]),
        "carrier": pa.array(["UA", "ü\n"]).dictionary_encode(),
        "delay": [1.5, float("nan")],
    }
)


@pytest.fixture
def stored(cli: Cli, folder: Path) -> pa.Table:
    pq.write_table(TABLE, folder / "t.parquet")
    assert cli("put", "t", "--file", "t.parquet", "--table").stdout.startswith("created t (")
    return TABLE


def test_put_and_get_parquet(cli: Cli, folder: Path, stored: pa.Table) -> None:
    with lakebed.open("lakebed") as lake:
        assert lake["t"].schema == stored.schema
        assert str(lake["t"].to_pylist()) == str(stored.to_pylist())
    cli("get", "t", "--output", "out.parquet")
    assert str(pq.read_table(folder / "out.parquet").to_pylist()) == str(stored.to_pylist())


def test_put_and_get_csv(cli: Cli, data: Data, folder: Path) -> None:
    (folder / "t.CSV").write_text('n,day,text\n1,2013-01-01,"a, b"\n,2013-01-02,\n')
    cli("put", "t", "--file", "t.CSV", "--table", "--metadata", '{"year": 2013}')
    assert json.loads(cli("get", "t").stdout) == [
        {"n": 1, "day": "2013-01-01", "text": "a, b"},
        {"n": None, "day": "2013-01-02", "text": ""},
    ]
    told = data("get", "t", "--output", "out.csv")
    assert told == {"output": "out.csv", "byte_size": (folder / "out.csv").stat().st_size}
    with lakebed.open("lakebed") as lake:
        assert pa.csv.read_csv(folder / "out.csv").equals(lake["t"])
    assert data("get", "t", "--entry")["metadata"] == {"year": 2013}


def test_rows_as_json(cli: Cli, data: Data, stored: pa.Table) -> None:
    rows = [
        {"when": "2013-01-01T00:00:00+00:00", "carrier": "UA", "delay": 1.5},
        {"when": None, "carrier": "ü\n", "delay": None},
    ]
    assert json.loads(cli("get", "t").stdout) == data("get", "t") == rows
    assert stored.num_rows == 2


def test_cells_that_json_has_not(data: Data) -> None:
    table = pa.table(
        {
            "bytes": [b"\xff"],
            "decimal": [Decimal("1.50")],
            "span": [dt.timedelta(seconds=90)],
            "map": pa.array([[("a", b"x")]], pa.map_(pa.string(), pa.binary())),
            "struct": [{"d": dt.date(2013, 1, 1), "f": [float("inf")]}],
            "id": pa.array([b"\0" * 16], pa.uuid()),
        }
    )
    with lakebed.open("lakebed") as lake:
        lake["t"] = table
        lake["empty"] = table.slice(0, 0)
    assert data("get", "t") == [
        {
            "bytes": "/w==",
            "decimal": "1.50",
            "span": "0:01:30",
            "map": [["a", "eA=="]],
            "struct": {"d": "2013-01-01", "f": [None]},
            "id": "00000000-0000-0000-0000-000000000000",
        }
    ]
    assert data("get", "empty") == []


def test_terminal_shows_the_first_rows(
    cli: Cli, stored: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    with lakebed.open("lakebed") as lake:
        lake["long"] = pa.table({"n": range(1000, 2234)})
    monkeypatch.setattr("typer.testing._NamedTextIOWrapper.isatty", lambda _: True, raising=False)
    shown = cli("get", "long").stdout
    assert "1019" in shown
    assert "1020" not in shown
    assert "the first 20 of 1,234 rows of 1 columns" in shown
    assert "ü\\n" in cli("get", "t").stdout
    assert stored.num_rows == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--table",), "--file NAME.parquet"),
        (("--table", "--file", "-"), "--file NAME.parquet"),
        (("--table", "--file", "t.txt"), "--file NAME.parquet"),
        (("--table", "--file", "t.csv", "--text"), "needs --file"),
        (("1", "--table", "--file", "t.csv"), "needs --file"),
        (("--table", "--file", "absent.csv"), "absent.csv: No such file"),
        (("--table", "--file", "bad.parquet"), "bad.parquet: "),
        (("--table", "--file", "bad.csv"), "bad.csv: CSV parse error"),
        (("--table", "--file", "twice.csv"), "column name 'a' occurs twice"),
    ],
)
def test_wrong_puts(cli: Cli, folder: Path, arguments: tuple[str, ...], message: str) -> None:
    (folder / "t.csv").write_text("a\n1\n")
    (folder / "bad.parquet").write_text("no parquet")
    (folder / "bad.csv").write_text("a,b\n1\n")
    (folder / "twice.csv").write_text("a,a\n1,2\n")
    assert message in cli("put", "t", *arguments, code=2).stderr


def test_damaged_parquet(cli: Cli, folder: Path) -> None:
    pq.write_table(pa.table({"a": list(range(10_000))}), folder / "t.parquet")
    content = bytearray((folder / "t.parquet").read_bytes())
    content[4:2000] = bytes(1996)
    (folder / "t.parquet").write_bytes(content)
    assert "t.parquet: " in cli("put", "t", "--table", "--file", "t.parquet", code=2).stderr


@pytest.mark.parametrize(
    ("name", "message"),
    [("out.txt", "end in .parquet or .csv"), ("out", "must end in"), ("out.csv", "list")],
)
def test_wrong_outputs(cli: Cli, folder: Path, name: str, message: str) -> None:
    with lakebed.open("lakebed") as lake:
        lake["t"] = pa.table({"a": [[1]]})
    assert message in cli("get", "t", "--output", name, code=2).stderr
    assert [path.name for path in folder.iterdir()] == ["lakebed"]


def test_export_and_import(cli: Cli, data: Data, stored: pa.Table) -> None:
    cli("put", "raw", "x", "--bytes")
    exported = cli("export").stdout
    cli("--lake", "copy", "import", "-", input=exported)
    with lakebed.open("lakebed") as one, lakebed.open("copy") as other:
        assert [entry.content_hash for entry in one.list()] == [
            entry.content_hash for entry in other.list()
        ]
        assert other["t"].schema == stored.schema
    told = data("import", "-", input='{"key": "a", "parquet_base64": "AAAA"}\n', code=2)
    assert "parquet_base64: stored bytes are not a Parquet file" in told["errors"][0]["error"]
