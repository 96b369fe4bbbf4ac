"""config check, show, schema; doctor: as the shell calls them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

import lakebed
from lakebed.cli.app import app
from lakebed.errors import ConfigurationError
from tests.config.conftest import Write
from tests.servers import PostgresServer

Cli = Callable[..., Result]


@pytest.fixture
def cli() -> Cli:
    def run(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(app, arguments, prog_name="lakebed", catch_exceptions=False)
        assert result.exit_code == code, (result.stdout, result.stderr)
        return result

    return run


def findings(result: Result) -> dict[str, tuple[str, str]]:
    return {
        found["check"]: (found["state"], found["detail"]) for found in json.loads(result.stdout)
    }


def test_check(cli: Cli, write: Write) -> None:
    write("backend: sqlite")
    assert cli("config", "check").stdout == "lakebed.yaml: ok, backend sqlite\n"
    assert json.loads(cli("config", "check", "--json").stdout)["ok"] is True
    bad = str(write("backend: sqlite\npth: a\nlazy: 7", "bad.yaml"))
    shown = cli("config", "check", bad, code=2)
    assert shown.stderr.splitlines() == [
        f"{bad}:2:1: pth: unknown key: did you mean 'path'?",
        f"{bad}:3:1: lazy: expected true or false, got a whole number",
    ]
    problems = json.loads(cli("config", "check", bad, "--json", code=2).stdout)["problems"]
    assert problems[0]["path"] == "pth"
    assert (problems[1]["line"], problems[1]["column"]) == (3, 1)
    assert cli("config", "check", "no.yaml", code=2).stderr == (
        "lakebed: no configuration file no.yaml\n"
    )


def test_the_lake_option_names_the_file(
    cli: Cli, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(write("backend: sqlite", "other.yaml"))
    assert f"{path}: ok" in cli("--lake", path, "config", "check").stdout
    monkeypatch.setenv("LAKEBED", path)
    assert "backend: sqlite" in cli("config", "show").stdout


def test_what_is_shown_is_in_effect(cli: Cli, write: Write, folder: Path) -> None:
    write("settings:\n  ltm:\n    backend: duckdb\n    storage: data\n    history: all\n")
    shown = yaml.safe_load(cli("config", "show").stdout)
    assert shown == json.loads(cli("config", "show", "--json").stdout)
    assert shown["catalog"] == {"type": "sqlite", "path": str(folder / "data" / "catalog.db")}
    with lakebed.open(shown) as lake:
        lake["k"] = 1
    assert cli("--lake", "lakebed.yaml", "get", "k").stdout == "1\n"


def test_reading_commands_make_no_lake(cli: Cli, write: Write, folder: Path) -> None:
    for text in ("backend: duckdb\nstorage: data", "backend: sqlite\npath: a.db"):
        write(text)
        shown = cli("--lake", "lakebed.yaml", "ls", code=2)
        assert "no lake at lakebed.yaml" in shown.stderr
        assert [path.name for path in folder.iterdir()] == ["lakebed.yaml"]


def test_schema(cli: Cli) -> None:
    assert json.loads(cli("config", "schema").stdout)["title"] == "Lakebed configuration"


def test_doctor_before_and_after_the_first_store(cli: Cli, write: Write, folder: Path) -> None:
    write("backend: duckdb\nstorage: data")
    before = findings(cli("--lake", "lakebed.yaml", "doctor", "--json"))
    assert before["catalog"][0] == before["storage"][0] == before["lake"][0] == "note"
    assert not (folder / "data").exists()
    cli("--lake", "lakebed.yaml", "put", "k", "1")
    after = findings(cli("--lake", "lakebed.yaml", "doctor", "--json"))
    assert {state for state, _ in after.values()} == {"ok"}
    assert after["lake"][1] == "1 entry, 1 object, 0 snapshots"
    assert not list((folder / "data").rglob("*.probe"))


def test_the_file_in_the_folder_is_used_and_said(cli: Cli, write: Write, folder: Path) -> None:
    write("backend: sqlite\npath: memory.db")
    put = cli("put", "k", "1")
    assert put.stderr == "config: lakebed.yaml\n"
    assert (folder / "memory.db").exists()
    assert json.loads(cli("get", "k").stdout) == 1
    with lakebed.open() as lake:
        assert lake["k"] == 1
    assert "lakebed.yaml: backend sqlite" in cli("doctor").stdout
    assert cli("--lake", "other", "put", "k", "2").stderr == ""
    assert (folder / "other" / "catalog.db").exists()


def test_a_lake_beside_the_file_is_a_question(cli: Cli, write: Write, folder: Path) -> None:
    cli("put", "k", "1")
    write("backend: sqlite\npath: memory.db")
    assert "name the one that you want" in cli("get", "k", code=2).stderr
    with pytest.raises(ConfigurationError, match=r"'lakebed\.yaml' or 'lakebed'"):
        lakebed.open()
    assert not (folder / "memory.db").exists()
    assert cli("--lake", "lakebed", "get", "k").stdout == "1\n"
    assert cli("config", "check").stdout == "lakebed.yaml: ok, backend sqlite\n"
    write("backend: ducklake")  # which means that folder
    assert cli("get", "k").stdout == "1\n"


def test_doctor_of_a_database_without_a_lake(cli: Cli, postgres_18: PostgresServer) -> None:
    url = postgres_18.url(postgres_18.create_database(), tcp=True)
    found = findings(cli("--lake", url, "doctor", "--json"))
    assert found["lake"] == ("note", "no lake yet: the first store creates it")


BROKEN: dict[str, tuple[dict[str, Any], str, str]] = {
    "a setting": ({"backend": "sqlit"}, "configuration", "did you mean 'sqlite'?"),
    "a variable": ({"storage": "${NOPE}"}, "configuration", "NOPE is not set"),
    "a server": (
        {"backend": "postgres", "url": "postgresql://u@127.0.0.1:1/d"},
        "catalog",
        "no connection to postgresql://",
    ),
    "a file that is no catalog": ({"backend": "sqlite", "path": "text.db"}, "lake", "text.db"),
    "a package": ({"storage": "s3x://b"}, "storage", "s3x"),
    "a storage that is a file": ({"storage": "text.db", "catalog": ":memory:"}, "storage", ""),
}


@pytest.mark.parametrize("name", BROKEN)
def test_doctor_says_what_is_wrong(cli: Cli, write: Write, folder: Path, name: str) -> None:
    settings, check, words = BROKEN[name]
    (folder / "text.db").write_text("no catalog " * 500)
    write(yaml.safe_dump(settings))
    found = findings(cli("--lake", "lakebed.yaml", "doctor", "--json", code=2))
    state, detail = found[check]
    assert state == "wrong"
    assert words in detail
    assert "!! " in cli("--lake", "lakebed.yaml", "doctor", code=2).stdout


def test_doctor_of_postgres(
    cli: Cli, write: Write, postgres_18: PostgresServer, folder: Path
) -> None:
    database = postgres_18.create_database()
    url = postgres_18.url(database, tcp=True)
    write(yaml.safe_dump({"catalog": url, "storage": str(folder / "data")}))
    before = findings(cli("--lake", "lakebed.yaml", "doctor", "--json"))
    assert before["catalog"][0] == "ok"
    assert before["lake"][0] == "note"
    assert not postgres_18.execute("SELECT 1 FROM pg_tables WHERE schemaname = 'lakebed'", database)
    cli("--lake", "lakebed.yaml", "put", "k", '"' + "x" * 9000 + '"')
    after = findings(cli("--lake", "lakebed.yaml", "doctor", "--json"))
    assert {state for state, _ in after.values()} == {"ok"}
    write(yaml.safe_dump({"catalog": url, "storage": str(folder / "other")}))
    (folder / "other").mkdir()
    disagreeing = findings(cli("--lake", "lakebed.yaml", "doctor", "--json", code=2))
    assert disagreeing["lake"][0] == "wrong"
    assert "storage" in disagreeing["lake"][1]
