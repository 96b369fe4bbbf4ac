"""backup, backups, prune-backups, restore-backup, restore-contents, rebuild-catalog."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lakebed
from tests.cli.conftest import Cli

Data = Callable[..., Any]
LARGE = "large " * 2000


def test_backup_and_back(cli: Cli, data: Data) -> None:
    with lakebed.open("lakebed") as lake:
        lake["a"] = LARGE
        lake["b"] = 1
    first = data("backup", "kept")
    assert (first["entries"], first["new_objects"], first["verified"]) == (2, 2, 2)
    cli("put", "b", "2")
    shown = cli("backup", "kept", "--history", "--verify-all").stdout
    assert dict(line.rsplit("  ", 1) for line in shown.splitlines())["new objects"].strip() == "1"
    points = data("backups", "kept")
    assert [point["history"] for point in points] == ["none", "snapshots"]
    assert points[0]["id"] in cli("backups", "kept").stdout

    assert data("--lake", "new", "restore-backup", "kept")["entries"] == 2
    assert cli("--lake", "new", "get", "b").stdout == "2\n"
    named = ("restore-backup", "kept", "--point", points[0]["id"])
    assert "moment" in cli("--lake", "old", *named).stdout
    assert cli("--lake", "old", "get", "b").stdout == "1\n"
    assert "empty" in cli("--lake", "lakebed", *named, code=2).stderr
    assert "at is 'noon'" in cli("restore-backup", "kept", "--at", "noon", code=2).stderr
    assert data("--lake", "x", "restore-backup", "kept", "--at", "2099-01-01T00:00Z")["copied"] == 2

    assert data("prune-backups", "kept", "--keep", "1")["removed"] == [points[0]["id"]]
    assert "kept" in cli("prune-backups", "kept", "--keep", "1", "--yes").stdout
    assert "1 or more" in cli("prune-backups", "kept", "--keep", "0", "--yes", code=2).stderr
    assert "no backups" in cli("backups", "nowhere", code=1).stderr


def test_what_is_lost_is_named(cli: Cli, data: Data) -> None:
    with lakebed.open("lakebed") as lake:
        lake["a"] = LARGE
    cli("backup", "kept")
    with lakebed.open("lakebed") as lake:
        lake["later"] = "later " + LARGE
    shutil.rmtree("lakebed/objects")
    told = cli("restore-contents", "kept", code=2).stdout
    assert "lost: later" in told
    assert data("restore-contents", "kept", code=2)["lost_keys"] == ["later"]
    cli("put", "later", "later " + LARGE)
    for path in Path("lakebed").glob("catalog.db*"):
        path.unlink()
    shown = cli("rebuild-catalog", "kept").stdout
    assert "without a name: file://" in shown
    assert cli("get", "a").stdout == f'"{LARGE}"\n'
    told = data("rebuild-catalog", "kept", "--found", "found/")
    assert (told["named"], told["entries"]) == (1, 1)
    assert "found/" in cli("ls").stdout
    anew = ("--lake", "sqlite:///anew.db", "rebuild-catalog", "kept", "--storage", "lakebed")
    assert data(*anew)["in_storage"] == 1
