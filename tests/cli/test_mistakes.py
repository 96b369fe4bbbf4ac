"""What a user does wrong is told in one line, with exit code 2, and never as a traceback."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli

Data = Callable[..., Any]

MISTAKES: list[tuple[tuple[str, ...], str]] = [
    (("nothing",), "No such command 'nothing'"),
    (("--lakes", "x", "ls"), "No such option: --lakes"),
    (("get",), "Missing argument 'KEY'"),
    (("put", "k"), "VALUE: a value or --file is required"),
    (("put", "k", "v", "--file", "file"), "--file: cannot be combined with VALUE"),
    (("put", "k", "v", "extra"), "unexpected extra argument"),
    (("put", "", "v"), "key must not be empty"),
    (("put", "a\0b", "v"), "NUL"),
    (("put", "k" * 1025, "v"), "at most 1024"),
    (("put", "k\udcff", "v"), "lone surrogate"),
    (("put", "k", "v\udcff"), "lone surrogate"),
    (("put", "k", '"\\ud800"'), "lone surrogate"),
    (("put", "k", "[" * 101 + "]" * 101), "nested too deeply"),
    (("put", "k", "[" * 9999 + "]" * 9999), "nested too deeply"),
    (("put", "k", "v", "--metadata", "[1]"), "expected a JSON object"),
    (("put", "k", "v", "--metadata", "{"), "not JSON"),
    (("put", "k", "v", "--metadata", '{"a": "\\u0000"}'), "NUL"),
    (("put", "k", "v", "--ttl", "0"), "ttl must be more than 0 seconds"),
    (("put", "k", "v", "--ttl", "nan"), "got nan seconds"),
    (("put", "k", "v", "--ttl", "soon"), "--ttl"),
    (("put", "k", "v", "--expires-at", "tomorrow"), "ISO 8601 with a zone"),
    (("put", "k", "v", "--expires-at", "2091-01-01"), "ISO 8601 with a zone"),
    (("put", "k", "v", "--ttl", "5", "--expires-at", "2091-01-01T00:00:00Z"), "cannot be combined"),
    (("put", "k", "v", "--if-match", "abc"), "sha256:"),
    (("put", "k", "v", "--text", "--bytes"), "--bytes: cannot be combined with --text"),
    (("put", "k", "--file", "missing"), "missing: No such file or directory"),
    (("put", "k", "--file", "."), "directory"),
    (("put", "k", "--file", "latin1"), "add --bytes"),
    (("touch", "k"), "--ttl, --expires-at and --never: one of them is required"),
    (("touch", "k", "--ttl", "5", "--never"), "--never: cannot be combined"),
    (("get", "k", "--output", "no/such/folder/file"), "no/such/folder/file: No such file"),
    (("get", "k", "--entry", "--output", "x"), "cannot be combined with --output or --default"),
    (("get", "k", "--entry", "--default", "1"), "cannot be combined with --output or --default"),
    (("get", ""), "key must not be empty"),
    (("ls", "--filter", "{"), "not JSON"),
    (("ls", "--filter", '{"a": {"$near": 1}}'), "$near"),
    (("ls", "--filter", '{"a": {"$gt": [1]}}'), "$gt"),
    (("ls", "--limit", "-1"), "limit must be 0 or more, got -1"),
    (("ls", "--limit", "many"), "--limit"),
    (("ls", "--after", ""), "after must not be empty"),
    (("ls", "a\0"), "NUL"),
    (("rm",), "Missing argument"),
    (("rm", ""), "key must not be empty"),
    (("import", "missing.ndjson"), "missing.ndjson: No such file"),
    (("import", "file"), "cannot tell the format"),
    (("import", "file", "--format", "xml"), "--format"),
    (("import", "file", "--format", "csv"), "name of its key column"),
    (("import", "."), "cannot tell the format"),
    (("export", "--output", "."), "."),
    (("cleanup-expired", "--batch-size", "0"), "batch_size must be 1 or more, got 0"),
    (("init", "--inline-threshold", "-1"), "inline_threshold must be 0 or more, got -1"),
    (("init", "--history", "some"), "--history"),
    (("init", "--history-retention", "5"), "requires history='all'"),
    (("snapshot",), "Missing command"),
    (("snapshot", "create", ""), "name must not be empty"),
    (("snapshot", "create", "x" * 256), "at most 255"),
    (("demo", "folder"), "not a lake of the demo"),
    (("demo", "lakebed"), "not a lake of the demo"),
    (("demo", "file"), "not a lake of the demo"),
    (("--lake", "file", "ls"), "a lake needs a folder"),
    (("--lake", "folder", "ls"), "no lake at folder"),
    (("--lake", "folder", "init"), "is not a lake: it holds other files"),
    (("--lake", "missing.yaml", "ls"), "missing.yaml"),
    (("--lake", "s3://bucket/prefix", "ls"), "s3://"),
    (("--lake", "mongo://user:secret@host/db", "ls"), "mongo"),
    (("--lake", "damaged", "ls"), "damaged"),
    (("--lake", "host=db user=u password=secret", "ls"), "where must be a folder"),
    (("backup", "s3://key:secret@bucket/prefix"), "must not contain credentials"),
    (("relocate", "gs://key:secret@bucket"), "keeps its objects in that folder"),
    (("copy", "lakebed", "lakebed"), "source and target must be two lakes"),
    (("import", "missing.csv"), "missing.csv: No such file"),
    (("sql", ""), "expected a query"),
]


@pytest.fixture
def mess(cli: Cli, folder: Path) -> None:
    """A lake with one entry, and things that are no lake."""
    cli("put", "k", "v")
    cli("snapshot", "create", "there")
    (folder / "file").write_text("text")
    (folder / "latin1").write_bytes(b"\xe9")
    (folder / "folder").mkdir()
    (folder / "folder" / "mine").write_text("mine")
    (folder / "damaged").mkdir()
    (folder / "damaged" / "catalog.db").write_bytes(b"no database" * 1000)


@pytest.mark.usefixtures("mess")
@pytest.mark.parametrize(("arguments", "said"), MISTAKES, ids=lambda value: str(value)[:40])
def test_mistakes(cli: Cli, folder: Path, arguments: tuple[str, ...], said: str) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir() if path.is_file()}
    result = cli(*arguments, code=2)
    assert said in result.stderr
    assert result.stderr.startswith("lakebed: ")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    assert "secret" not in result.stderr
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert cli("ls").stdout == "k\n"
    told = json.loads(cli(*arguments, "--json", code=2).stderr)
    assert told.keys() == {"error", "error_type"}
    if said not in ("No such option: --lakes", "Missing command"):
        assert said in told["error"]  # those two never come to the command that has --json


@pytest.mark.parametrize(
    ("arguments", "code", "error_type"),
    [
        (("get", "missing"), 1, "not_found"),
        (("put", "k"), 2, "validation_error"),
        (("put", "k", "2", "--if-absent"), 2, "conflict"),
        (("put", "k", '"\\ud800"'), 2, "serialization_error"),
        (("--lake", "other", "get", "k"), 2, "configuration_error"),
        (("put", "k", "--file", "missing"), 2, "storage_error"),
        (("--lake", "damaged", "ls"), 2, "corruption_error"),
        (("get", "k", "--at", "missing"), 1, "not_found"),
        (("snapshot", "create", "there"), 2, "conflict"),
    ],
)
@pytest.mark.usefixtures("mess")
def test_errors_for_programs(
    cli: Cli, arguments: tuple[str, ...], code: int, error_type: str
) -> None:
    result = cli(*arguments, "--json", code=code)
    assert json.loads(result.stderr)["error_type"] == error_type
    assert result.stdout == ""
