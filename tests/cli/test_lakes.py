"""Which lake; init, stats; version and help."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lakebed
from lakebed.catalog.sql import estimating
from tests.cli.conftest import Cli

Data = Callable[..., Any]


def test_init(cli: Cli, data: Data, folder: Path) -> None:
    assert cli("init").stdout == f"made a lake: sqlite:///{folder}/lakebed/catalog.db\n"
    assert cli("init").stdout.startswith("a lake is there already: ")
    assert data("init") == {"lake": f"sqlite:///{folder}/lakebed/catalog.db", "created": False}
    assert data("--lake", "other", "init")["created"] is True


def test_init_with_settings(cli: Cli, data: Data) -> None:
    cli("init", "--history", "all", "--history-retention", "3600", "--inline-threshold", "0")
    cli("put", "a", "1")
    cli("put", "a", "2")
    assert data("get", "a", "--entry")["inlined"] is False
    assert [version["version"] for version in data("history", "a")["versions"]] == [2, 1]
    assert "created with 'all'" in cli("init", "--history", "snapshots", code=2).stderr


def test_the_lake_is_named_by_option_or_environment(
    cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli("--lake", "a", "put", "k", '"in a"')
    monkeypatch.setenv("LAKEBED", str(folder / "b"))
    cli("put", "k", '"in b"')
    assert cli("get", "k").stdout == '"in b"\n'
    assert cli("--lake", "a", "get", "k").stdout == '"in a"\n'
    assert {path.name for path in folder.iterdir()} == {"a", "b"}


def test_the_lake_is_named_by_the_url_of_a_catalog(cli: Cli, folder: Path) -> None:
    url = "sqlite:///names.db"
    error = cli("--lake", url, "ls", code=2).stderr
    assert f"`lakebed --lake {url} init`" in error
    assert list(folder.iterdir()) == []
    cli("--lake", url, "put", "k", "1")
    assert cli("--lake", url, "get", "k").stdout == "1\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("get", "k"),
        ("get", "k", "--default", "1"),
        ("ls",),
        ("rm", "k"),
        ("export",),
        ("stats",),
        ("cleanup-expired",),
        ("maintain",),
        ("compact",),
        ("collect",),
        ("verify",),
        ("purge", "k", "--yes"),
        ("search", "k"),
        ("snapshot", "create", "s"),
        ("snapshot", "list"),
        ("snapshot", "drop", "s"),
        ("diff", "s"),
        ("history", "k"),
        ("restore", "s", "--yes"),
    ],
)
def test_only_some_commands_make_a_lake(cli: Cli, folder: Path, arguments: tuple[str, ...]) -> None:
    (folder / "empty").mkdir()
    error = cli(*arguments, code=2).stderr
    assert error == (
        "lakebed: no lake at lakebed: make one with `lakebed init`, "
        "or name another with --lake or LAKEBED\n"
    )
    assert "`lakebed --lake empty init`" in cli("--lake", "empty", *arguments, code=2).stderr
    assert [path.name for path in folder.rglob("*")] == ["empty"]


def test_stats(cli: Cli, data: Data) -> None:
    cli("put", "a", "x" * 1000)
    cli("put", "b", "x" * 1000)
    cli("put", "gone", "1", "--ttl", "0.000001")
    told = data("stats")
    with lakebed.open("lakebed") as lake:
        assert told == {"lake": lake.name, **lake.stats()}
    assert (told["entries"], told["expired"], told["objects"]) == (2, 1, 2)
    shown = dict(line.split(maxsplit=1) for line in cli("stats").stdout.splitlines())
    assert shown["entries"] == "2"
    assert "deduplicated bytes  1.0 kB\n" in cli("stats").stdout


def test_stats_that_are_estimated(cli: Cli, data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    with lakebed.open("lakebed") as lake:
        lake.store_batch({"key": f"{n}", "value": f"text {n}"} for n in range(60))
        monkeypatch.setattr(estimating, "COUNTED", 50)
        monkeypatch.setattr(estimating, "_REACH", 40)
        assert data("stats") == {"lake": lake.name, **lake.stats()}
        assert data("stats")["estimated"]
        assert "objects             about " in cli("stats").stdout
        assert data("stats", "--exact") == {"lake": lake.name, **lake.stats(exact=True)}
        assert "objects             60\n" in cli("stats", "--exact").stdout


def test_version_and_help(cli: Cli) -> None:
    assert cli("--version").stdout == f"lakebed {lakebed.__version__}\n"
    assert cli("--help").stdout == cli().stdout
    assert "cleanup-expired" in cli("-h").stdout
