"""snapshot, diff, history, restore, and reading the past."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import lakebed
from lakebed.cli.app import app
from tests.cli.conftest import Cli

Data = Callable[..., Any]


@pytest.fixture
def changed(cli: Cli) -> None:
    """A lake with a snapshot `then`, one entry changed since, one added, one removed."""
    cli("put", "p/changed", '{"a": 1, "b": [1, 2], "gone": 0, "long": "%s"}' % ("x" * 100))
    cli("put", "p/removed", "1")
    cli("put", "kept", "1")
    cli("snapshot", "create", "then", "--message", "a message", "--author", "Ada")
    cli("put", "p/changed", '{"a": "1", "b": [1, 3], "long": "y"}', "--metadata", '{"m": 1}')
    cli("put", "p/added", "22")
    cli("rm", "p/removed")


def test_snapshots(cli: Cli, data: Data) -> None:
    cli("init")
    assert cli("snapshot", "list").stdout == ""
    assert data("snapshot", "list") == []
    made = data("snapshot", "create", "one", "-m", "why", "--author", "Ada")
    assert (made["name"], made["message"], made["author"]) == ("one", "why", "Ada")
    assert made["id"].startswith("@")
    assert cli("snapshot", "create", "two").stdout.startswith("created snapshot two (@")
    assert "'two'" in cli("snapshot", "create", "two", code=2).stderr
    assert "must not begin with '@'" in cli("snapshot", "create", "@no", code=2).stderr
    assert "must not be empty" in cli("snapshot", "create", "", code=2).stderr
    assert [found["name"] for found in data("snapshot", "list")] == ["one", "two"]
    first, second = cli("snapshot", "list").stdout.splitlines()
    assert first.endswith(f"one  {made['id']}  Ada  why")
    assert " two  @" in second
    assert cli("snapshot", "drop", made["id"]).stdout == f"dropped snapshot {made['id']}\n"
    assert data("snapshot", "drop", "two") == {"dropped": "two"}
    assert "'two'" in cli("snapshot", "drop", "two", code=1).stderr


@pytest.mark.usefixtures("changed")
def test_diff_for_people(cli: Cli) -> None:
    *lines, totals = cli("diff", "then").stdout.splitlines()
    assert totals == "1 added, 1 changed, 1 removed"
    assert lines[:2] == ["+ p/added  2 bytes", "~ p/changed  content, metadata"]
    assert lines[-1] == "- p/removed  1 byte"
    assert set(lines[2:-1]) == {
        """    root['a']: 1 → "1\"""",
        "    root['b'][1]: 2 → 3",
        f"""    root['long']: "{"x" * 58}… → "y\"""",
        "    root['gone']: removed 0",
        '    metadata: {} → {"m": 1}',
    }
    assert cli("diff", "then", "--brief").stdout.splitlines() == [*lines[:2], lines[-1], totals]
    assert cli("diff", "then", "then").stdout == "0 added, 0 changed, 0 removed\n"
    assert "1 removed" in cli("diff", "then", "--prefix", "p/r").stdout
    cli("snapshot", "create", "later")
    assert cli("diff", "then", "later").stdout == cli("diff", "then").stdout
    assert cli("diff", "later", "then", "--brief").stdout.splitlines()[0] == "+ p/removed  1 byte"
    assert "'nope'" in cli("diff", "then", "nope", code=1).stderr


@pytest.mark.usefixtures("changed")
def test_diff_of_bytes(cli: Cli) -> None:
    cli("put", "kept", "-", "--bytes", input=b"12345")
    shown = cli("diff", "then", "--prefix", "kept").stdout
    assert 'format: "json" → "bytes"' in shown
    assert "byte size: 1 → 5" in shown


@pytest.mark.usefixtures("changed")
def test_diff_for_programs(data: Data) -> None:
    told = data("diff", "then")
    assert [entry["key"] for entry in told["added"]] == ["p/added"]
    assert [entry["key"] for entry in told["removed"]] == ["p/removed"]
    (change,) = told["changed"]
    assert change["key"] == change["before"]["key"] == "p/changed"
    assert change["after"]["metadata"] == {"m": 1}
    assert change["details"]["type_changes"]["root['a']"]["old_type"] == "int"
    assert told["summary"]["changed"] == 1
    assert "details" not in data("diff", "then", "--brief")["changed"][0]
    assert data("diff", "then", "then")["changed"] == []


@pytest.mark.usefixtures("changed")
def test_reading_the_past(cli: Cli, data: Data) -> None:
    assert cli("get", "p/removed", "--at", "then").stdout == "1\n"
    cli("get", "p/added", "--at", "then", code=1)
    assert cli("get", "p/added", "--at", "then", "--default", "0").stdout == "0\n"
    assert data("get", "p/changed", "--entry", "--at", "then")["metadata"] == {}
    assert cli("ls", "--at", "then").stdout.split() == ["kept", "p/changed", "p/removed"]
    assert cli("ls", "p/", "--at", "then", "--limit", "1").stdout == "p/changed\n"
    assert "'nope'" in cli("get", "kept", "--at", "nope", code=1).stderr
    assert "history='all'" in cli("get", "kept", "--at", "1", code=2).stderr


def test_reading_any_moment(cli: Cli, data: Data) -> None:
    cli("init", "--history", "all")
    first = data("put", "a", "1")
    cli("put", "a", "2")
    assert cli("get", "a", "--at", str(first["version"])).stdout == "1\n"
    assert cli("get", "a", "--at", first["updated_at"]).stdout == "1\n"
    cli("snapshot", "create", "1")  # a snapshot of that name comes first
    cli("put", "a", "3")
    assert cli("get", "a", "--at", "1").stdout == "2\n"
    assert cli("diff", "1", "3", "--brief").stdout.splitlines()[0] == "~ a  content"


@pytest.mark.usefixtures("changed")
def test_history(cli: Cli, data: Data) -> None:
    result = cli("history", "p/changed")
    newest, oldest = result.stdout.splitlines()
    assert " to now " in newest
    assert newest.endswith('{"m": 1}')
    assert " to 2" in oldest
    assert "not kept" in result.stderr
    told = data("history", "p/changed")
    assert [version["ended_at"] is None for version in told["versions"]] == [True, False]
    assert "not kept" in told["note"]
    assert "'nope'" in cli("history", "nope", code=1).stderr


@pytest.mark.usefixtures("changed")
def test_restore(cli: Cli, data: Data) -> None:
    planned = cli("restore", "then", "--dry-run").stdout
    assert "+ p/removed  1 byte" in planned
    assert data("ls", "p/added") != []
    told = data("restore", "then", "--prefix", "p/a", "--yes")
    assert told["summary"]["removed"] == 1
    assert told["snapshot"].startswith("before-restore-")
    assert cli("ls").stdout.split() == ["kept", "p/changed"]
    shown = cli("restore", "then", "--yes").stdout
    undo = shown.splitlines()[-1].removeprefix("restored then; undo with: lakebed ")
    assert cli("diff", "then").stdout == "0 added, 0 changed, 0 removed\n"
    cli(*undo.split(), "--yes")
    assert cli("ls").stdout.split() == ["kept", "p/changed"]
    assert data("restore", "then", "--dry-run")["snapshot"] is None


@pytest.mark.usefixtures("changed")
def test_restore_does_not_act_unasked(cli: Cli) -> None:
    assert "add --yes" in cli("restore", "then", code=2).stderr
    assert "add --yes" not in cli("restore", "never", code=1).stderr
    result = CliRunner().invoke(app, ["restore", "then", "--json"])
    assert json.loads(result.stderr)["error_type"] == "validation_error"
    with lakebed.open("lakebed") as lake:
        assert len(lake.snapshots()) == 1


def test_restore_counts_what_has_expired(cli: Cli) -> None:
    cli("put", "brief", "1", "--ttl", "0.5")
    cli("snapshot", "create", "then")
    cli("rm", "brief")
    with lakebed.open("lakebed") as lake:
        while lake.at("then").entry("brief") and not lake.restore("then", dry_run=True).expired:
            pass
    assert "1 entry of the snapshot expired since" in cli("restore", "then", "--yes").stdout


def test_watch(cli: Cli, data: Data, tmp_path: Path) -> None:
    cli("put", "a", "1")
    seen = str(tmp_path / "seen")
    assert cli("watch", "--cursor", seen, "--once").stdout == ""  # from now on
    cli("put", "b\x1b", '"new"')
    cli("put", "a", "2")
    lines = cli("watch", "--cursor", seen, "--once").stdout.splitlines()
    assert lines == ["~ a  1 byte", "+ b\\x1b  5 bytes"]
    cli("rm", "a")
    (line,) = cli("watch", "--cursor", seen, "--once", "--json").stdout.splitlines()
    change = json.loads(line)
    assert (change["key"], change["change"], change["after"]) == ("a", "removed", None)
    assert change["before"]["byte_size"] == 1
    assert cli("watch", "--once", "--all", "--prefix", "b").stdout == "+ b\\x1b  5 bytes\n"
    cursors = [made["name"] for made in data("snapshot", "list")]
    assert len(cursors) == 2  # those of the file: the last one that was used, and the next
    assert (tmp_path / "seen").read_text() == f"{cursors[-1]}\n"
    for cursor in cursors:
        cli("snapshot", "drop", cursor)
    assert "is gone" in cli("watch", "--cursor", seen, "--once", code=1).stderr
    (tmp_path / "seen").write_text("nonsense")
    assert "since is 'nonsense'" in cli("watch", "--cursor", seen, "--once", code=2).stderr
