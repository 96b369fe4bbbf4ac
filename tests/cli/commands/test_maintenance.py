"""cleanup-expired, maintain, compact, collect, verify, purge."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lakebed
from tests.cli.conftest import Cli
from tests.waiting import until

Data = Callable[..., Any]


def files(folder: Path) -> list[Path]:
    return [path for path in (folder / "lakebed").rglob("*.*") if path.parent.name != "lakebed"]


def test_cleanup_expired(cli: Cli, data: Data) -> None:
    for key in "abcde":
        cli("put", key, "1", "--ttl", "0.000001")
    cli("put", "kept", "1")
    until(lambda: cli("ls").stdout == "kept\n")
    assert data("cleanup-expired", "--dry-run") == {"deleted": 0, "remaining": 5}
    assert cli("cleanup-expired", "--dry-run").stdout == "would remove 5 expired entries\n"
    assert data("cleanup-expired", "--batch-size", "2") == {"deleted": 5, "remaining": 0}
    assert cli("cleanup-expired").stdout == "removed 0 expired entries, 0 remain\n"
    assert cli("ls").stdout == "kept\n"


def test_compact(cli: Cli, data: Data) -> None:
    for key in "abc":
        cli("put", key, key * 100)
    assert data("compact", "--older-than", "3600")["flushed"] == 0
    assert data("compact", "--dry-run")["flushed"] == 3
    assert data("compact", "--max-bytes", "1")["flushed"] == 0
    assert data("compact", "--max-bytes", "110")["flushed"] == 1
    assert data("compact")["flushed"] == 2
    assert "flushed         0\n" in cli("compact").stdout
    assert cli("get", "b").stdout == f'"{"b" * 100}"\n'


def test_collect(cli: Cli, data: Data, folder: Path) -> None:
    cli("put", "a", "x" * 5000)
    cli("put", "a", "1")
    assert len(files(folder)) == 1
    planned = data("collect", "--dry-run")
    assert (planned["objects"], planned["object_bytes"], planned["dry_run"]) == (1, 5002, True)
    told = data("collect")
    assert (told["objects"], told["files"], told["waiting"]) == (1, 0, 1)
    assert len(files(folder)) == 1
    assert "files         1\n" in cli("collect", "--grace", "0").stdout
    assert files(folder) == []


def test_collect_orphans(data: Data, folder: Path) -> None:
    with lakebed.open("lakebed") as lake:
        lake.store("a", "x" * 5000)
    (known,) = files(folder)
    orphan = known.with_name(known.name.replace("-", "-0"))
    orphan.write_bytes(b"left by a crash")
    told = data("collect", "--orphans", "--orphan-grace", "0", "--grace", "0")
    assert (told["orphans"], told["files"]) == (1, 1)
    assert files(folder) == [known]


def test_maintain(cli: Cli, data: Data) -> None:
    cli("put", "a", "1", "--ttl", "0.000001")
    until(lambda: cli("ls").stdout == "")
    told = data("maintain", "--max-bytes", "1000")
    assert told["expired"] == 1
    assert told["compacted"].keys() >= {"flushed", "repacked"}
    assert told["collected"]["dry_run"] is False
    shown = cli("maintain").stdout
    assert "compacted packs written   0\n" in shown
    assert "collected files" in shown
    assert "finished                  yes\n" in shown


def test_maintain_can_be_looked_at_and_limited(cli: Cli, data: Data, folder: Path) -> None:
    cli("put", "a", "x" * 5000)
    cli("put", "a", "1", "--ttl", "0.000001")
    cli("put", "b", "2")
    until(lambda: cli("ls").stdout == "b\n")
    before = files(folder)
    planned = data("maintain", "--dry-run")
    assert (planned["expired"], planned["collected"]["objects"]) == (1, 1)
    assert (planned["dry_run"], planned["finished"]) == (True, True)
    assert files(folder) == before
    told = data("maintain", "--max-seconds", "0")
    assert (told["expired"], told["collected"]["objects"], told["finished"]) == (0, 0, False)
    assert data("maintain", "--max-seconds", "60")["expired"] == 1


def test_verify(cli: Cli, data: Data, folder: Path) -> None:
    cli("put", "whole", "1")
    assert data("verify") == {"objects": 1, "byte_size": 1, "problems": []}
    assert cli("verify", "--sample", "1").stdout.endswith("problems   0\n")
    cli("put", "broken", "x" * 5000)
    (damaged,) = files(folder)
    damaged.write_bytes(damaged.read_bytes().replace(b"x", b"y", 1))
    shown = cli("verify", code=2).stdout
    assert "broken" in shown
    assert shown.endswith("problems   1\n")
    (problem,) = data("verify", "--repair", code=2)["problems"]
    assert (problem["kind"], problem["entry_keys"]) == ("damaged", ["broken"])
    assert problem["repaired"] is False


@pytest.fixture
def seen(cli: Cli) -> None:
    """Three keys, a snapshot that sees two of them."""
    cli("put", "p/1", "secret" * 1000)
    cli("put", "q", "1")
    cli("snapshot", "create", "s")
    cli("put", "p/2", "2")


@pytest.mark.usefixtures("seen")
def test_purge(cli: Cli, data: Data, folder: Path) -> None:
    planned = data("purge", "p/1", "--dry-run")
    assert (planned["entries"], planned["files"], planned["snapshots"]) == (1, 1, ["s"])
    planned = data("purge", "--prefix", "p/", "--dry-run")
    assert (planned["entries"], planned["snapshots"], planned["dry_run"]) == (2, ["s"], True)
    shown = cli("purge", "p/2", "--dry-run").stdout
    assert shown.startswith("would forget 1 entry and 0 earlier versions\n")
    assert "snapshots        -\n" in shown
    assert cli("ls").stdout.split() == ["p/1", "p/2", "q"]
    told = data("purge", "p/1", "--yes")
    assert (told["entries"], told["files"], told["snapshots"]) == (1, 1, ["s"])
    assert files(folder) == []
    cli("get", "p/1", "--at", "s", code=1)
    assert re.search(r"  s  @\w+  purged 2\d{3}-", cli("snapshot", "list").stdout)
    shown = cli("purge", "--prefix", "p/", "--yes").stdout
    assert shown.startswith("forgot 1 entry and 0 earlier versions\n")
    assert "may remain in backups" in shown
    assert cli("ls").stdout == "q\n"


@pytest.mark.usefixtures("seen")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "KEY: a key or --prefix is required"),
        (("p/1", "--prefix", "p/"), "--prefix: cannot be combined with KEY"),
        (("p/1",), "add --yes"),
        (("p/1", "--json"), "add --yes"),
        (("--prefix", "", "--yes"), "prefix"),
    ],
)
def test_purge_does_not_act_unasked(cli: Cli, arguments: tuple[str, ...], said: str) -> None:
    assert said in cli("purge", *arguments, code=2).stderr
    assert cli("ls").stdout.split() == ["p/1", "p/2", "q"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("compact", "--max-bytes", "-1"),
        ("compact", "--older-than", "-1"),
        ("collect", "--grace", "-1"),
        ("collect", "--orphan-grace", "-1"),
        ("verify", "--sample", "0"),
        ("verify", "--sample", "1.5"),
        ("maintain", "--max-bytes", "-1"),
        ("maintain", "--max-seconds", "-1"),
        ("cleanup-expired", "--batch-size", "0"),
    ],
)
def test_numbers_out_of_range(cli: Cli, arguments: tuple[str, ...]) -> None:
    cli("init")
    assert " must be " in cli(*arguments, code=2).stderr
