"""import and export."""

from __future__ import annotations

import base64
import datetime as dt
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv

import lakebed
from tests.cli.conftest import Cli

Data = Callable[..., Any]

VALUES = [
    1,
    -0.0,
    1e22,
    0.1 + 0.2,
    10**30,
    -(2**64),
    None,
    True,
    "",
    "\0\x7f\x9b\u2028\u2029\U0001f600",
    [],
    {},
    {"": [None, {"value_base64": "x"}], "$bytes": "y"},
    [[[[1]]]],
    b"",
    b"\x00\xff\n",
    b"large" * 2000,
    "large" * 2000,
]


def deep(levels: int) -> Any:
    value: Any = 0
    for _ in range(levels):
        value = [value]
    return value


def test_export_then_import_gives_the_same_lake(cli: Cli) -> None:
    far = dt.datetime(2091, 1, 1, 0, 0, 0, 123456, tzinfo=dt.UTC)
    with lakebed.open("lakebed") as lake:
        for number, value in enumerate([*VALUES, deep(100)]):
            lake.store(
                f"k\n{number:02}",
                value,
                {"n": number, "nested": {"é": [1e22]}},
                expires_at=far if number % 3 == 0 else None,
            )
        lake.store("gone", 1, expires_at=dt.datetime(2001, 1, 1, tzinfo=dt.UTC))
    ndjson = cli("export").stdout_bytes
    assert ndjson.count(b"\n") == len(VALUES) + 1
    cli("--lake", "copy", "import", "-", input=ndjson)
    with lakebed.open("lakebed") as lake, lakebed.open("copy") as copy:
        for ours, theirs in zip(lake.list(), copy.list(), strict=True):
            for field in ("key", "content_hash", "format", "metadata", "expires_at"):
                assert ours[field] == theirs[field]
            assert repr(ours.value) == repr(theirs.value)
    assert cli("--lake", "copy", "export").stdout_bytes == ndjson


def test_export_lines(cli: Cli) -> None:
    cli("put", "a", '{"x": "é"}', "--metadata", '{"m": 1}', "--expires-at", "2091-01-01T00:00:00Z")
    cli("put", "b", "-", "--bytes", input=b"\xff")
    first, second = map(json.loads, cli("export").stdout.splitlines())
    assert first == {
        "key": "a",
        "value": {"x": "é"},
        "metadata": {"m": 1},
        "expires_at": "2091-01-01T00:00:00+00:00",
    }
    assert second == {"key": "b", "value_base64": "/w==", "metadata": {}}


def test_export_part_of_a_lake_into_a_file(cli: Cli, data: Data, folder: Path) -> None:
    cli("put", "a/1", "1")
    cli("put", "b/1", "2")
    assert cli("export", "a/", "--output", "out.ndjson").stdout == (
        "exported 1 entry to out.ndjson\n"
    )
    assert (folder / "out.ndjson").read_text() == '{"key":"a/1","value":1,"metadata":{}}\n'
    assert data("export", "-o", "out.ndjson") == {"exported": 2, "output": "out.ndjson"}
    assert data("import", "out.ndjson")["unchanged"] == 2
    assert cli("export", "nothing").stdout == ""


def test_a_failed_export_leaves_the_file_as_it_was(cli: Cli, folder: Path) -> None:
    (folder / "out.ndjson").write_text("before")
    cli("put", "large", "x" * 10000)
    (stored,) = (path for path in (folder / "lakebed" / "objects").rglob("*") if path.is_file())
    stored.unlink()
    assert "large" in cli("export", "--output", "out.ndjson", code=2).stderr
    assert (folder / "out.ndjson").read_text() == "before"
    assert {path.name for path in folder.iterdir()} == {"lakebed", "out.ndjson"}


def test_import_entries(data: Data) -> None:
    lines = [
        {"key": "a", "value": 1},
        {"key": "b", "value": [2], "metadata": {"m": 1}, "ttl": 60},
        {"key": "c", "value_base64": base64.b64encode(b"c").decode(), "ttl": None},
        {"key": "a", "value": "again", "expires_at": "2091-01-01T00:00:00Z"},
    ]
    told = data("import", "-", input="\n\n".join(map(json.dumps, lines)))
    assert told == {
        "stored": 3,
        "created": 3,
        "changed": 0,
        "unchanged": 0,
        "deduplicated": 0,
        "replaced": 1,
        "failed": 0,
        "errors": [],
    }
    with lakebed.open("lakebed") as lake:
        assert dict(lake) == {"a": "again", "b": [2], "c": b"c"}
        entry = lake.entry("b")
        assert entry is not None
        assert entry.metadata == {"m": 1}
        assert entry.expires_at is not None


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "not JSON"),
        ("[1]", "not a JSON object"),
        ('{"value": 1}', "'key' must be a non-empty string"),
        ('{"key": "", "value": 1}', "'key' must be a non-empty string"),
        ('{"key": 5, "value": 1}', "'key' must be a non-empty string"),
        ('{"key": "a"}', "'value', 'value_base64', 'parquet_base64'"),
        (
            '{"key": "a", "value": 1, "value_base64": "eA=="}',
            "'value', 'value_base64', 'parquet_base64'",
        ),
        ('{"key": "a", "value_base64": "?"}', "not base64"),
        ('{"key": "a", "value_base64": "é"}', "not base64"),
        ('{"key": "a", "value_base64": 5}', "not base64"),
        ('{"key": "a", "value": NaN}', "NaN is not JSON"),
        ('{"key": "a", "value": 1, "tll": 5}', "unknown field 'tll'"),
        ('{"key": "a", "value": 1, "expires_at": "soon"}', "expected ISO 8601"),
        ('{"key": "a", "value": 1, "expires_at": "2091-01-01T00:00:00"}', "with a zone"),
        ('{"key": "a", "value": 1, "expires_at": 5}', "expected ISO 8601"),
        ('{"key": "a", "value": ' + "[" * 500_000 + "]" * 500_000 + "}", "nested too deeply"),
        (b'{"key": "a", "value": "\xff"}', "not JSON"),
    ],
)
def test_a_bad_line_is_told_and_the_rest_is_stored(
    cli: Cli, data: Data, line: str | bytes, said: str
) -> None:
    raw = line if isinstance(line, bytes) else line.encode()
    lines = b'{"key": "before", "value": 1}\n' + raw + b'\n{"key": "after", "value": 1}\n'
    told = data("import", "-", input=lines, code=2)
    assert (told["stored"], told["failed"]) == (2, 1)
    assert told["errors"][0]["place"] == "line 2"
    assert said in told["errors"][0]["error"]
    result = cli("import", "-", input=lines, code=2)
    assert result.stderr.startswith("lakebed: line 2: ")
    assert result.stderr.count("\n") == 1
    assert "1 could not be stored" in result.stdout
    assert cli("ls").stdout.split() == ["after", "before"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"value": 1, "metadata": [1]}, "metadata must be a dict, got list"),
        ({"value": 1, "ttl": -1}, "ttl must be more than 0 seconds"),
        ({"value": 1, "ttl": 5, "expires_at": "2091-01-01T00:00:00Z"}, "cannot be combined"),
        ({"value": "\ud800"}, "lone surrogate"),
        ({"value": deep(101)}, "nested too deeply"),
    ],
)
def test_what_the_lake_refuses_is_told_by_key(
    data: Data, fields: dict[str, object], said: str
) -> None:
    lines = json.dumps({"key": "bad", **fields}) + '\n{"key": "good", "value": 1}'
    told = data("import", "-", input=lines, code=2)
    assert (told["stored"], told["failed"]) == (1, 1)
    assert told["errors"][0]["place"] == "key bad"
    assert said in told["errors"][0]["error"]


def test_many_errors_are_not_all_shown(cli: Cli, data: Data) -> None:
    lines = "x\n" * 1500
    result = cli("import", "-", input=lines, code=2)
    assert result.stderr.count("\n") == 21
    assert result.stderr.endswith("… and 1,480 more\n")
    told = data("import", "-", input=lines, code=2)
    assert told["failed"] == 1500
    assert len(told["errors"]) == 1000


def test_import_rows_by_key_column(data: Data) -> None:
    rows = [{"id": "x", "n": 1}, {"id": 7, "n": 2}, {"n": 3}, {"id": None}, {"id": 1.5}]
    told = data(
        "import",
        "-",
        "--key",
        "id",
        "--prefix",
        "p/",
        input="\n".join(map(json.dumps, rows)),
        code=2,
    )
    assert [error["place"] for error in told["errors"]] == ["line 3", "line 4", "line 5"]
    assert "missing or empty" in told["errors"][0]["error"]
    assert "holds 1.5" in told["errors"][2]["error"]
    with lakebed.open("lakebed") as lake:
        assert dict(lake) == {"p/x": rows[0], "p/7": rows[1]}


def test_prefix_of_entries(cli: Cli) -> None:
    cli("import", "-", "--prefix", "p/", input='{"key": "a", "value": 1}')
    assert cli("ls").stdout == "p/a\n"


def test_import_csv(cli: Cli, data: Data, folder: Path) -> None:
    (folder / "f.csv").write_bytes(
        b'\xef\xbb\xbfid,text\r\na,"two\r\nlines, ""quoted"""\r\n,no key\r\nb\r\n\r\nc,\xc3\xa9\r\n'
    )
    told = data("import", "f.csv", "--key", "id", code=2)
    assert told["stored"] == 2
    assert [error["place"] for error in told["errors"]] == ["line 4", "line 5"]
    with lakebed.open("lakebed") as lake:
        assert dict(lake) == {
            "a": {"id": "a", "text": 'two\r\nlines, "quoted"'},
            "c": {"id": "c", "text": "é"},
        }
    (folder / "big.csv").write_text("id,text\nbig," + "x" * 500_000 + "\n")
    cli("import", "big.csv", "--key", "id")
    (folder / "f.data").write_text("id\nz\n")
    cli("import", "f.data", "--format", "csv", "--key", "id")
    cli("import", "-", "--format", "csv", "--key", "id", input="id\ny\n")
    assert cli("ls").stdout.split() == ["a", "big", "c", "y", "z"]


def test_import_json(cli: Cli, data: Data, folder: Path) -> None:
    (folder / "f.json").write_text('[{"key": "a", "value": 1}, 5, {"key": "b", "value": 2}]')
    told = data("import", "f.json", code=2)
    assert told["stored"] == 2
    assert told["errors"] == [{"place": "item 2", "error": "not a JSON object"}]
    cli("import", "-", "--format", "json", "--key", "id", input='[{"id": "c"}]')
    assert cli("ls").stdout.split() == ["a", "b", "c"]


def test_import_parquet(data: Data, folder: Path) -> None:
    table = pa.table(
        {
            "id": pa.array(["a", "b", None, "d"]),
            "x": pa.array([1.5, None, 2.5, float("nan")]),
            "when": pa.array([dt.datetime(2024, 1, 2, 3, 4, 5, tzinfo=dt.UTC)] * 4),
            "day": pa.array([dt.date(2024, 1, 2)] * 4),
            "price": pa.array([Decimal("1.10")] * 4),
            "tags": pa.array([[dt.time(1, 2)]] * 4, pa.list_(pa.time64("us"))),
            "at": pa.array([{"when": dt.date(2024, 1, 2)}] * 4),
        }
    )
    pq.write_table(table, folder / "f.parquet")
    told = data("import", "f.parquet", "--key", "id", code=2)
    assert told["stored"] == 2
    assert [error["place"] for error in told["errors"]] == ["row 3", "key d"]
    assert "NaN" in told["errors"][1]["error"]
    with lakebed.open("lakebed") as lake:
        assert lake["a"] == {
            "id": "a",
            "x": 1.5,
            "when": "2024-01-02T03:04:05+00:00",
            "day": "2024-01-02",
            "price": "1.10",
            "tags": ["01:02:00"],
            "at": {"when": "2024-01-02"},
        }
        assert lake["b"]["x"] is None
    raw = (folder / "f.parquet").read_bytes()
    told = data("import", "-", "--format", "parquet", "--key", "id", input=raw, code=2)
    assert told["unchanged"] == 2


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("f.csv", b"a,a\n1,2\n", "a column twice"),
        ("f.csv", b'a\n"open\n', "line 2"),
        ("f.csv", b"a\n\xff\n", "not a CSV file in UTF-8"),
        ("f.json", b"{", "not a JSON file"),
        ("f.json", b"\xff", "not a JSON file"),
        ("f.json", b'{"key": "a", "value": 1}', "must hold an array"),
        ("f.parquet", b"PAR1 no", "not a Parquet file"),
        ("f.parquet", b"", "not a Parquet file"),
        ("f.txt", b"", "cannot tell the format"),
    ],
)
def test_a_file_that_is_not_what_it_says(
    cli: Cli, folder: Path, name: str, content: bytes, said: str
) -> None:
    (folder / name).write_bytes(content)
    result = cli("import", name, "--key", "a", code=2)
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_nothing_to_import(data: Data) -> None:
    assert data("import", "-", input="\n\n")["stored"] == 0
    assert data("import", "-", "--format", "csv", "--key", "a", input="")["stored"] == 0


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_key_column_that_is_not_there_is_told_once(cli: Cli, kind: str) -> None:
    table = pa.table({"faa": ["a", "b"], "n": [1, 2]})
    if kind == "csv":
        csv.write_csv(table, "t.csv")
    else:
        pq.write_table(table, "t.parquet")
    told = cli("import", f"t.{kind}", "--key", "fa", code=2).stderr
    assert told == "lakebed: the file has no column 'fa': did you mean 'faa'?\n"


def test_import_tells_what_came_twice(cli: Cli) -> None:
    cli("init")
    told = cli("import", "-", input='{"key": "a", "value": 1}\n{"key": "a", "value": 2}\n').stdout
    assert "1 replaced by a later row with the same key" in told


def test_copy(cli: Cli, data: Data) -> None:
    cli("put", "a", "1")
    cli("put", "b\x1b", '"x"')
    cli("snapshot", "create", "s")
    shown = dict(
        line.rsplit(maxsplit=1) for line in cli("copy", "lakebed", "two").stdout.splitlines()
    )
    assert (shown["copied"], shown["unchanged"]) == ("2", "0")
    assert data("copy", "lakebed", "two")["unchanged"] == 2
    assert data("copy", "lakebed", "three", "--history", "--snapshots")["snapshots"] == 1
    cli("--lake", "two", "put", "a", "2")
    assert "'a'" in cli("copy", "lakebed", "two", code=2).stderr
    assert data("copy", "lakebed", "two", "--on-conflict", "skip")["skipped"] == 1
    follow = ("copy", "lakebed", "mirror", "--follow", "--once", "--cursor", "seen")
    assert cli(*follow).stdout == "2 copied, 0 replaced, 0 removed, 0 unchanged\n"
    cli("rm", "a")
    assert data(*follow)["removed"] == 1
    assert data("--lake", "mirror", "ls")[0]["key"] == "b\x1b"
    assert "two lakes" in cli("copy", "lakebed", "lakebed", code=2).stderr
    assert "--follow" in cli("copy", "lakebed", "x", "--once", code=2).stderr
    assert "--history" in cli("copy", "lakebed", "x", "--follow", "--history", code=2).stderr
    assert "named" in cli("copy", "", "x", code=2).stderr
