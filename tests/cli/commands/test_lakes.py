"""Which lake; init, stats; version and help."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lakebed
from lakebed.catalog.sql import estimating
from lakebed.cli.opening import is_absent
from lakebed.lake.upkeep.maintenance import maintain_in_turn
from tests.cli.conftest import Cli
from tests.servers import PostgresServer

Data = Callable[..., Any]


def test_init(cli: Cli, data: Data, folder: Path) -> None:
    assert cli("init").stdout == f"made a lake: sqlite:///{folder}/lakebed/catalog.db\n"
    assert cli("init").stdout.startswith("the lake exists already: ")
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
        "lakebed: no lake at lakebed: create one with `lakebed init`, "
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


def test_stats_for_prometheus(cli: Cli) -> None:
    cli("put", "a", "x" * 1000)
    lines = cli("stats", "--prometheus").stdout.splitlines()
    assert lines[0] == "# TYPE lakebed_entries gauge"
    with lakebed.open("lakebed") as lake:
        assert lines[1] == f'lakebed_entries{{lake="{lake.name}"}} 1'
        assert f'lakebed_object_bytes{{lake="{lake.name}"}} 1002' in lines


def test_upkeep_for_prometheus(cli: Cli) -> None:
    def figures() -> dict[str, float]:
        lines = cli("stats", "--prometheus").stdout.splitlines()
        found = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name.partition("{")[0]: float(value) for name, _, value in found}

    cli("put", "a", "1")
    before = figures()
    assert before["lakebed_upkeep_failed"] == 0
    assert "lakebed_upkeep_last_run_timestamp_seconds" not in before
    with lakebed.open("lakebed") as lake:
        began = lake._catalog.now()
        maintain_in_turn(lake, 1.0)
        ended = lake._catalog.now()
    after = figures()
    at = after["lakebed_upkeep_last_run_timestamp_seconds"] * 1_000_000
    assert began - 1000 <= at <= ended + 1000
    assert 0 <= after["lakebed_upkeep_last_run_duration_seconds"] <= (ended - began) / 1e6 + 0.001


def test_init_on_a_server(cli: Cli, data: Data, postgres_18: PostgresServer, folder: Path) -> None:
    """Whether the lake was there, only the server knows."""
    url = postgres_18.url()
    text = f"catalog: {{type: postgres, url: '{url}', schema: made_by_init}}\n"
    (folder / "lake.yaml").write_text(text)
    assert cli("--lake", "lake.yaml", "init").stdout.startswith("made a lake: ")
    assert cli("--lake", "lake.yaml", "init").stdout.startswith("the lake exists already: ")
    assert data("--lake", "lake.yaml", "init")["created"] is False


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


def test_a_replica_may_hold_a_lake_without_a_file(tmp_path: Path) -> None:
    lines = ["backend: litestream", f"path: {tmp_path}/names.db"]
    (tmp_path / "lakebed.yaml").write_text("\n".join([*lines, f"replica: {tmp_path}/replica"]))
    assert not is_absent(str(tmp_path / "lakebed.yaml"))
    (tmp_path / "other.yaml").write_text(f"backend: sqlite\npath: {tmp_path}/names.db\n")
    assert is_absent(str(tmp_path / "other.yaml"))
