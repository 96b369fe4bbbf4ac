"""What settings stand for, and what `auto` chooses."""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import lakebed
from lakebed.catalog import registry
from lakebed.catalog.sqlite.opening import open_sqlite
from lakebed.config.reading.loading import load
from lakebed.config.settings.catalogs import CATALOGS
from lakebed.errors import ConfigurationError, DependencyMissingError
from tests.config.conftest import Write, logs_in, opened_with, refused

POSTGRES = {
    "type": "postgres",
    "schema": "lakebed",
    "min_size": 1,
    "timeout": 30.0,
    "auto_migrate": True,
    "statement_timeout": 300.0,
    "pgbouncer": False,
}


def postgres(connection_string: str, **others: Any) -> dict[str, Any]:
    return POSTGRES | {"connection_string": connection_string} | others


def test_a_file_opens_its_lake(write: Write, folder: Path) -> None:
    path = write("settings: {ltm: {backend: duckdb, storage: data}}", "agent/memory.yml")
    with lakebed.open(path) as lake:
        lake.store("k", "x" * 10_000)
    with lakebed.open(str(path)) as lake:
        assert lake["k"] == "x" * 10_000
    assert (folder / "agent" / "data" / "catalog.db").is_file()
    with lakebed.open(folder / "agent" / "data") as lake:
        assert list(lake) == ["k"]


def test_a_mapping_opens_its_lake(folder: Path) -> None:
    with lakebed.open({"backend": "sqlite", "path": folder / "m.db", "history": "all"}) as lake:
        lake["k"] = 1
    assert (folder / "m.db").is_file()
    settings = {"settings": {"ltm": {"backend": "sqlite", "path": "m.db"}}}
    with lakebed.open(settings) as lake:
        assert lake["k"] == 1


@pytest.mark.parametrize(
    "beside",
    [
        {"catalog": "sqlite:///a"},
        {"storage": "a"},
        {"inline_threshold": 0},
        {"history": "all"},
        {"history_retention": 5},
        {"durability": "full"},
        {"lock_timeout": 1},
    ],
    ids=lambda beside: next(iter(beside)),
)
def test_nothing_stands_beside_a_configuration(write: Write, beside: dict[str, Any]) -> None:
    for where in (write("backend: ducklake"), {"backend": "ducklake"}):
        with pytest.raises(
            ConfigurationError, match=f"{next(iter(beside))} cannot be combined with"
        ):
            lakebed.open(where, **beside)


def test_paths_start_at_the_folder_of_the_file(write: Write, folder: Path) -> None:
    path = write("backend: duckdb\ncatalog: sqlite:///../n.db\nstorage: ~/data", "etc/l.yaml")
    found = opened_with(path)
    assert found["catalog"] == {"type": "sqlite", "path": str(folder / "n.db")}
    assert found["storage"] == {"uri": str(Path.home() / "data")}
    path = write("backend: sqlalchemy\nurl: sqlite+pysqlite:///n.db", "etc/l.yaml")
    assert opened_with(path)["catalog"]["url"] == f"sqlite+pysqlite:///{folder}/etc/n.db"


LOCAL = [
    ({}, {"where": "lakebed"}),
    ({"backend": "duckdb"}, {"where": "lakebed"}),
    ({"backend": "duckdb", "catalog": "sqlite"}, {"where": "lakebed"}),
    ({"backend": "duckdb", "storage": "data"}, {"where": "data"}),
    ({"catalog": "sqlite:///data/catalog.db", "storage": "data"}, {"where": "data"}),
    ({"backend": "ducklake"}, {"where": "lakebed"}),
    ({"backend": "ducklake", "path": "x/y"}, {"where": "x/y"}),
    ({"backend": "ducklake", "storage": "data"}, {"where": "data"}),
    (
        {"backend": "ducklake", "storage": "s3://b/p"},
        {"catalog": {"type": "sqlite", "path": "lakebed.db"}, "storage": {"uri": "s3://b/p"}},
    ),
    (
        {"backend": "ducklake", "path": "x", "catalog": "sqlite:///n.db"},
        {"catalog": {"type": "sqlite", "path": "n.db"}, "storage": {"uri": "x"}},
    ),
    (
        {"backend": "sqlite", "catalog": {"type": "sqlite", "path": "a.db"}},
        {"catalog": {"type": "sqlite", "path": "a.db"}},
    ),
    (
        {"backend": "sqlite", "catalog": "sqlite:///a.db"},
        {"catalog": {"type": "sqlite", "path": "a.db"}},
    ),
    ({"backend": "auto"}, {"where": "lakebed"}),
    ({"backend": "sqlite"}, {"catalog": {"type": "sqlite", "path": "lakebed.db"}}),
    ({"backend": "sqlite", "path": "a.db"}, {"catalog": {"type": "sqlite", "path": "a.db"}}),
    (
        {"backend": "sqlite", "url": "sqlite:///a.db"},
        {"catalog": {"type": "sqlite", "path": "a.db"}},
    ),
    (
        {"catalog": "sqlite:///n.db"},
        {"catalog": {"type": "sqlite", "path": "n.db"}, "storage": {"uri": "lakebed"}},
    ),
    (
        {"storage": "s3://b/p"},
        {"catalog": {"type": "sqlite", "path": "lakebed.db"}, "storage": {"uri": "s3://b/p"}},
    ),
]


@pytest.mark.parametrize(("settings", "expected"), LOCAL)
def test_local(settings: dict[str, Any], expected: dict[str, Any], folder: Path) -> None:
    def absolute(value: Any, name: str = "") -> Any:
        if isinstance(value, dict):
            return {key: absolute(item, key) for key, item in value.items()}
        plain = name in ("where", "path", "uri") and "://" not in value
        return str(folder / value) if plain else value

    assert opened_with(settings) == absolute(expected)


@pytest.mark.parametrize(
    "catalog", [":memory:", "sqlite://", {"type": "sqlite", "path": ":memory:"}]
)
def test_in_memory(catalog: Any) -> None:
    assert opened_with({"catalog": catalog}) == {
        "catalog": {"type": "sqlite", "path": ":memory:"},
    }
    with lakebed.open({"catalog": catalog, "storage": "memory://x"}) as lake:
        lake["k"] = "x" * 10_000


URL = "postgresql://u:p%40%3A%2F%23@h:5433/d?sslmode=require"


def test_postgres_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "POSTGRES_HOST" in refused({"catalog": "postgres"}).text
    for name, value in {"HOST": "h", "USER": "u", "PASSWORD": "%40:/@#' \\", "DB": "d"}.items():
        monkeypatch.setenv(f"POSTGRES_{name}", value)
    expected = postgres(r"host='h' dbname='d' user='u' password='%40:/@#\' \\'")
    assert opened_with({"catalog": "postgres", "storage": "s"})["catalog"] == expected
    assert opened_with({"backend": "postgres"})["catalog"] == expected
    monkeypatch.setenv("POSTGRES_PORT", "5433")
    assert "port='5433'" in str(opened_with({"catalog": {"type": "postgres"}}))
    for url in (URL, URL.replace("postgresql", "postgres"), URL.replace("://", "+psycopg://", 1)):
        monkeypatch.setenv("DATABASE_URL", url)
        assert opened_with({"backend": "postgres"})["catalog"] == postgres(URL)
    monkeypatch.setenv("DATABASE_URL", "mysql://h/d")
    assert "host='h'" in str(opened_with({"backend": "postgres"}))


@pytest.mark.parametrize(
    ("settings", "connection_string"),
    [
        ({"url": URL}, URL),
        ({"connection_string": "host=h dbname=d"}, "host=h dbname=d"),
        ({"host": "/run/pg", "port": "5433"}, "host='/run/pg' port='5433'"),
        (
            {"url": "postgresql://h/d", "user": "u@x", "password": "%40:/@#"},
            "postgresql://h/d?user=u%40x&password=%2540%3A%2F%40%23",
        ),
        (
            {"connection_string": "host=h", "password": "it's"},
            r"host=h password='it\'s'",
        ),
    ],
)
def test_postgres_addresses(settings: dict[str, Any], connection_string: str) -> None:
    psycopg = pytest.importorskip("psycopg")
    catalog = opened_with({"backend": "postgres", **settings})["catalog"]
    assert catalog == postgres(connection_string)
    parts = psycopg.conninfo.conninfo_to_dict(connection_string)
    for name in ("user", "password"):
        if name in settings:
            assert parts[name] == settings[name]


def test_catalogs_by_url() -> None:
    def catalog(url: str) -> Any:
        return opened_with({"catalog": url, "storage": "s"})["catalog"]

    assert catalog(URL) == postgres(URL)
    for kind, url in (
        ("mysql", "mysql+pymysql://u:p@h/d"),
        ("mariadb", "mariadb://u:p@h/d"),
        ("sqlalchemy", "postgresql+psycopg://h/d"),
        ("sqlalchemy", "oracle://h"),
    ):
        assert catalog(url)["type"] == kind
        assert catalog(url)["url"] == url


def test_lazy_goes_to_servers_alone() -> None:
    assert opened_with({"catalog": URL, "lazy": True})["catalog"] == postgres(URL, lazy=True)
    assert "lazy" not in opened_with({"catalog": "sqlite:///n.db", "lazy": True})["catalog"]


def test_settings_have_every_option_of_a_catalog() -> None:
    from lakebed.catalog.postgres import opening as postgres_opening
    from lakebed.catalog.sqlalchemy import opening as sqlalchemy

    # `login` is what `credentials` and `iam` come to.
    for opener, model, ours in (
        (postgres_opening, CATALOGS["postgres"], {"lazy", "login"}),
        (sqlalchemy, CATALOGS["sqlalchemy"], {"lazy"}),
    ):
        fields = {field.alias or name for name, field in model.model_fields.items()}
        assert set(opener.KNOWN) - fields == ours


def test_catalogs_from_outside(folder: Path) -> None:
    seen: list[Any] = []

    def opener(given: Any, options: registry.CatalogOptions) -> registry.OpenedCatalog:
        seen.append(dict(given))
        return open_sqlite(folder / "outside.db", options)

    assert "sqlite" in refused({"catalog": {"type": "mine"}}).text
    registry.register_catalog_backend("mine", opener, schemes=["mine"])
    for catalog in ("mine", {"type": "mine", "token": "CANARY", "size": 3}, "mine://u:CANARY@h"):
        with lakebed.open({"catalog": catalog, "storage": "s"}) as lake:
            lake["k"] = 1
        assert "CANARY" not in repr(load({"catalog": catalog}))
    assert seen == [{}, {"token": "CANARY", "size": 3}, {"url": "mine://u:CANARY@h"}]


def test_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"backend": "postgres", "host": "h"}
    settings["credentials"] = {"source": "env", "prefix": "PGX_"}
    assert refused(settings).text.endswith(
        "no secret 'user' in source env: there is no environment variable PGX_user or PGX_USER"
    )
    monkeypatch.setenv("PGX_USER", "ada")
    monkeypatch.setenv("PGX_password", "%40:/@#")
    assert logs_in(settings) == {"user": "ada", "password": "%40:/@#"}
    monkeypatch.setenv("PGX_password", "changed")
    assert logs_in(settings) == {"user": "ada", "password": "changed"}
    assert logs_in(settings | {"user": "x"}) == {"user": "x", "password": "changed"}
    assert refused(settings | {"password": "x"}).paths == ["password"]
    monkeypatch.delenv("PGX_password")
    assert refused({"settings": {"ltm": settings}}).paths == ["settings.ltm.credentials"]


def test_types_that_text_may_stand_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("N", "12")
    monkeypatch.setenv("YES", "True")
    found = load({"inline_threshold": "${N}", "lock_timeout": "1${N}.5", "lazy": "${YES}"}).settings
    assert (found.inline_threshold, found.lock_timeout, found.lazy) == (12, 112.5, True)
    kept = {"history": "all", "history_retention": timedelta(minutes=1)}
    assert load(kept).settings.history_retention == 60


def test_auto_logs_its_choice(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "lakebed.config")

    def chosen(**more: Any) -> tuple[str, str]:
        caplog.clear()
        found = load({"backend": "auto", **more})
        assert caplog.messages == [found.chosen]
        return found.settings.shown()["backend"], caplog.text

    assert chosen()[0] == "ducklake"
    assert chosen(storage="data")[0] == "duckdb"
    monkeypatch.setenv("POSTGRES_HOST", "h")
    assert chosen()[0] == "postgres"
    assert "POSTGRES_HOST is set" in caplog.text
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:CANARY@h/d")
    assert chosen()[0] == "postgres"
    assert chosen(storage="s3://b", history="all")[0] == "duckdb"
    assert "postgresql://u:***@h/d, because DATABASE_URL is set" in caplog.text
    assert "CANARY" not in caplog.text
    monkeypatch.delenv("POSTGRES_HOST")
    monkeypatch.setenv("DATABASE_URL", "mysql://u:CANARY@h/d")
    assert chosen()[0] == "sqlalchemy"
    assert "CANARY" not in caplog.text
    monkeypatch.setenv("DATABASE_URL", "sqlite:///a.db")
    assert chosen()[0] == "sqlite"
    assert refused({"backend": "auto", "catalog": "postgres"}).paths == ["catalog"]


def test_auto_does_not_settle_for_less(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """A database that is named and does not answer is an error, not a local lake."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://localhost:1/d?connect_timeout=2")
    with pytest.raises((lakebed.errors.ConnectError, DependencyMissingError)):
        lakebed.open({"backend": "auto"})
    assert not list(folder.iterdir())
