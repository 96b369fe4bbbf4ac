"""put, get, ls, rm."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import lakebed
from tests.cli.conftest import Cli

Data = Callable[..., Any]


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("Ada", "Ada"),
        ('"Ada"', "Ada"),
        ("42", 42),
        ("1e22", 1e22),
        ("-0.0", -0.0),
        (str(10**30), 10**30),
        ("true", True),
        ("null", None),
        ('{"b": [1, {"c": "é"}], "a": ""}', {"a": "", "b": [1, {"c": "é"}]}),
        ("", ""),
        ("not {json", "not {json"),
        ("NaN", "NaN"),
        ("-Infinity", "-Infinity"),
        ("two\nlines", "two\nlines"),
    ],
)
def test_put_parses_json_or_stores_text(cli: Cli, argument: str, value: object) -> None:
    cli("put", "k", "--", argument)
    with lakebed.open("lakebed") as lake:
        assert repr(lake["k"]) == repr(value)
    assert json.loads(cli("get", "k").stdout) == value


@pytest.mark.parametrize("argument", ['{"a": 1', "[draft] notes", '"open', ' {"a": NaN}'])
def test_what_begins_like_json_and_is_not_is_refused(cli: Cli, argument: str) -> None:
    said = cli("put", "k", "--", argument, code=2).stderr
    assert "begins like JSON but is not" in said
    assert "--text" in said
    assert not Path("lakebed").exists()
    cli("put", "k", "--text", "--", argument)
    with lakebed.open("lakebed") as lake:
        assert lake["k"] == argument


def test_put_forced_to_text_or_bytes(cli: Cli) -> None:
    cli("put", "text", "42", "--text")
    cli("put", "raw", "42", "--bytes")
    with lakebed.open("lakebed") as lake:
        assert lake["text"] == "42"
        assert lake["raw"] == b"42"


@pytest.mark.parametrize(
    ("options", "content", "value"),
    [
        ((), b'{"a": 1}\n', {"a": 1}),
        ((), "größer\n".encode(), "größer\n"),
        (("--text",), b'{"a": 1}\n', '{"a": 1}\n'),
        (("--bytes",), b"\xff\x00\n", b"\xff\x00\n"),
    ],
)
def test_put_from_file_and_standard_input(
    cli: Cli, folder: Path, options: tuple[str, ...], content: bytes, value: object
) -> None:
    (folder / "value").write_bytes(content)
    cli("put", "file", "--file", "value", *options)
    cli("put", "dash", "-", *options, input=content)
    cli("put", "file dash", "--file", "-", *options, input=content)
    with lakebed.open("lakebed") as lake:
        assert list(lake.values()) == [value] * 3


def test_put_tells_what_it_did(cli: Cli, data: Data) -> None:
    assert cli("put", "a", "1").stdout == "created a (1 byte)\n"
    assert cli("put", "a", "1").stdout == "unchanged a (1 byte)\n"
    assert cli("put", "a", "22").stdout == "updated a (2 bytes)\n"
    assert cli("put", "b", "22").stdout == "created b (2 bytes, content was stored already)\n"
    told = data("put", "b", "22", "--metadata", '{"m": [1]}')
    assert told["key"] == "b"
    assert told["metadata"] == {"m": [1]}
    assert (told["created"], told["changed"], told["deduplicated"]) == (False, True, True)
    with lakebed.open("lakebed") as lake:
        entry = lake.entry("b")
        assert entry is not None
        assert told["version"] == entry.version
        assert told["content_hash"] == entry.content_hash


def test_put_with_expiry(data: Data) -> None:
    before = datetime.now(UTC)
    told = data("put", "a", "1", "--ttl", "3600.5")
    left = datetime.fromisoformat(told["expires_at"]) - before
    assert timedelta(seconds=3600) < left < timedelta(seconds=3700)
    told = data("put", "a", "1", "--expires-at", "2091-05-01T14:00:00+02:00")
    assert told["expires_at"] == "2091-05-01T12:00:00+00:00"
    assert data("put", "a", "1")["expires_at"] is None


def test_put_under_conditions(cli: Cli, data: Data) -> None:
    entry = data("put", "a", "1", "--if-absent")
    error = cli("put", "a", "2", "--if-absent", code=2).stderr
    assert "'a' is there already" in error
    data("put", "a", "2", "--if-match", entry["content_hash"])
    cli("put", "a", "3", "--if-match", entry["content_hash"], code=2)
    assert cli("get", "a").stdout == "2\n"


def test_get_prints_one_line_of_json(cli: Cli) -> None:
    cli("put", "a", '{"b": ["x", "ü"],\n "a": 1}')
    assert cli("get", "a").stdout == '{"a": 1, "b": ["x", "ü"]}\n'
    assert cli("get", "a", "--json").stdout == '{"a": 1, "b": ["x", "ü"]}\n'


def test_get_bytes(cli: Cli, data: Data, folder: Path) -> None:
    raw = bytes(range(256)) * 40  # above the inline threshold
    cli("put", "raw", "-", "--bytes", input=raw)
    assert cli("get", "raw").stdout_bytes == raw
    assert base64.b64decode(data("get", "raw")["value_base64"]) == raw
    assert cli("get", "raw", "--output", "out").stdout == ""
    assert (folder / "out").read_bytes() == raw
    assert data("get", "raw", "-o", "out") == {"output": "out", "byte_size": len(raw)}


def test_get_json_into_a_file(cli: Cli, folder: Path) -> None:
    cli("put", "a", '{"n": 1}')
    (folder / "out").write_text("before")
    (folder / "link").symlink_to("out")
    cli("get", "a", "--output", "link")
    assert (folder / "link").is_symlink()
    assert (folder / "out").read_text() == '{"n": 1}\n'
    assert {path.name for path in folder.iterdir()} == {"lakebed", "link", "out"}


def test_get_of_a_missing_key(cli: Cli, data: Data) -> None:
    cli("init")
    result = cli("get", "a", code=1)
    said = "lakebed: no entry with the key 'a' (`lakebed ls` lists the keys)\n"
    assert (result.stdout, result.stderr) == ("", said)
    cli("get", "a", "--entry", code=1)
    assert json.loads(cli("get", "a", "--json", code=1).stderr) == {
        "error": "no entry with the key 'a'",
        "error_type": "not_found",
    }
    assert cli("get", "a", "--default", '{"b": 1}').stdout == '{"b": 1}\n'
    assert cli("get", "a", "--default", "none yet").stdout == '"none yet"\n'
    assert data("get", "a", "--default", "") == ""


def test_get_entry(cli: Cli, data: Data) -> None:
    cli("put", "a", "x" * 5000, "--metadata", '{"m": 1}', "--ttl", "60")
    shown = cli("get", "a", "--entry").stdout
    assert "byte_size     5,002\n" in shown
    assert 'metadata      {"m": 1}\n' in shown
    assert "storage_uri   file:///" in shown
    with lakebed.open("lakebed") as lake:
        entry = lake.entry("a")
        assert entry is not None
        told = data("get", "a", "--entry")
        assert told.keys() == set(entry)
        assert told["expires_at"] == entry.expires_at.isoformat()
        assert told["storage_uri"] == entry.storage_uri


def test_ls(cli: Cli, data: Data) -> None:
    for number in range(5):
        cli("put", f"n/{number}", "0", "--metadata", f'{{"n": {number}}}')
    cli("put", "other", "0")
    every = [f"n/{number}" for number in range(5)]
    assert cli("ls").stdout.split() == [*every, "other"]
    assert cli("ls", "n/").stdout.split() == every
    assert cli("ls", "n/", "--limit", "2").stdout.split() == every[:2]
    assert cli("ls", "--limit", "2", "--after", "n/3").stdout.split() == ["n/4", "other"]
    assert cli("ls", "--filter", '{"n": {"$gte": 3}}').stdout.split() == every[3:]
    assert cli("ls", "nothing").stdout == ""
    assert data("ls", "nothing") == []
    assert [entry["key"] for entry in data("ls", "n/", "--limit", "1")] == ["n/0"]
    entries = data("ls", "n/")
    assert [entry["metadata"]["n"] for entry in entries] == [0, 1, 2, 3, 4]
    with lakebed.open("lakebed") as lake:
        assert entries[0].keys() == set(lake.entry("n/0") or ())


def test_ls_long(cli: Cli) -> None:
    cli("put", "a", "1", "--metadata", '{"m": "é"}', "--ttl", "7205")
    cli("put", "b", "-", "--bytes", input=b"x" * 2000)
    first, second = cli("ls", "--long").stdout.splitlines()
    assert first.split()[:3] == ["1", "byte", "json"]
    assert first.endswith('in 2 h   a  {"m": "é"}')
    assert second.split()[:3] == ["2.0", "kB", "bytes"]
    assert second.endswith("-        b  {}")
    assert f"{datetime.now(UTC):%Y-%m-%d}" in second
    assert cli("ls", "-l").stdout == cli("ls", "--long").stdout


def test_ls_keeps_control_characters_from_the_terminal(cli: Cli, data: Data) -> None:
    key = "a\n\x1b[31mb\x9b"
    cli("put", key, "1")
    assert cli("ls").stdout == "a\\n\\x1b[31mb\\x9b\n"
    assert data("ls")[0]["key"] == key
    cli("rm", key)


def test_rm(cli: Cli, data: Data) -> None:
    for key in "abcd":
        cli("put", key, "1")
    assert cli("rm", "a").stdout == "deleted a\n"
    result = cli("rm", "a", "b", code=1)
    assert result.stdout == "deleted b\n"
    assert result.stderr == "lakebed: no entry with the key 'a'\n"
    assert data("rm", "c", "zz", code=1) == {"deleted": ["c"], "missing": ["zz"]}
    assert data("rm", "d") == {"deleted": ["d"], "missing": []}
    assert data("ls") == []


def test_a_key_that_looks_like_an_option(cli: Cli) -> None:
    cli("put", "--", "--json", "-5")
    assert cli("get", "--", "--json").stdout == "-5\n"
