"""What documents written for other systems say, word for word: each is taken, or explained."""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import lakebed
from lakebed import create_catalog_backend
from lakebed.cli.app import app
from lakebed.errors import (
    ConfigurationError,
    ConnectError,
    NotFoundError,
    SerializationError,
    ValidationError,
)
from lakebed.ltm import create_ltm_backend
from tests.config.conftest import Write, opened_with, works
from tests.servers import PASSWORD, MariaDBServer, PostgresServer
from tests.waiting import until

# backend: sqlalchemy with catalog: {type: sqlalchemy, url}


def test_sqlalchemy_with_a_catalog(write: Write, folder: Path) -> None:
    path = write(
        """
        settings:
          ltm:
            backend: sqlalchemy
            catalog:
              type: sqlalchemy
              url: sqlite:///memory.db
              pool_size: 3
        """
    )
    works(lakebed.open(path))
    assert (folder / "memory.db").is_file()
    with create_ltm_backend(
        "sqlalchemy", catalog={"type": "sqlalchemy", "url": "sqlite:///memory.db", "pool_size": 3}
    ) as memory:
        assert memory.retrieve("k")["found"]
    checked = CliRunner().invoke(app, ["config", "check", str(path)])
    assert checked.output == f"{path}: ok, backend sqlalchemy\n"


def test_the_catalog_of_an_inline_backend(mariadb: MariaDBServer, folder: Path) -> None:
    url = mariadb.url("words_of_others")
    works(lakebed.open({"backend": "sqlalchemy", "catalog": {"type": "mariadb", "url": url}}))
    works(lakebed.open({"backend": "sqlalchemy", "catalog": url}))
    works(lakebed.open({"backend": "sqlite", "catalog": {"type": "sqlite", "path": "a.db"}}))
    assert (folder / "a.db").is_file()


# backend: ducklake with storage or catalog of one's own


def test_ducklake_with_a_storage_of_ones_own(write: Write, folder: Path) -> None:
    works(lakebed.open(write("backend: ducklake\nstorage: contents")))
    assert (folder / "contents" / "catalog.db").is_file()
    assert not (folder / "lakebed").exists()


def test_ducklake_with_a_catalog_of_ones_own(folder: Path, postgres_18: PostgresServer) -> None:
    url = postgres_18.url(postgres_18.create_database())
    works(lakebed.open({"backend": "ducklake", "catalog": {"type": "postgres", "url": url}}))
    assert list((folder / "lakebed").rglob("*.json"))
    assert not (folder / "lakebed" / "catalog.db").exists()
    with create_ltm_backend("ducklake", catalog="sqlite:///names.db", storage="contents") as memory:
        assert memory.store("k", "x" * 10_000)["storage_uri"].startswith(f"file://{folder}/cont")
    assert (folder / "names.db").is_file()


# sqlite:///:memory: through SQLAlchemy in both factories


def test_sqlite_in_memory_through_sqlalchemy(folder: Path) -> None:
    with create_ltm_backend("sqlalchemy", url="sqlite:///:memory:") as memory:
        assert memory.store("k", 1)["success"]
        assert memory.retrieve("k")["value"] == 1
        assert memory.search("k")["success"]
    with create_catalog_backend("sqlalchemy", url="sqlite:///:memory:") as backend:
        backend.store_batch([{"key": "k", "value": 1}])
        assert backend.get_entry("k") is not None
    with create_catalog_backend("sqlalchemy", url="sqlite:///:memory:") as backend:
        assert backend.get_entry("k") is None  # each is its own
    assert not list(folder.iterdir())


# provider, host, credentials in create_catalog_backend and lakebed.open(catalog={…})


def test_a_server_s_options_in_python(
    postgres_18: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = postgres_18.create_database()
    monkeypatch.setenv("MEMORY_USER", "postgres")
    monkeypatch.setenv("MEMORY_PASSWORD", PASSWORD)
    options: dict[str, Any] = {
        "provider": "self-hosted",
        "host": "127.0.0.1",
        "port": postgres_18.port,
        "database": name,
        "credentials": {"source": "env", "prefix": "MEMORY_"},
    }
    with create_catalog_backend("postgres", **options) as backend:
        backend.store_batch([{"key": "k", "value": 1}])
    with lakebed.open(catalog={"type": "postgres", **options}) as lake:
        assert lake["k"] == 1
    with lakebed.open(catalog={"type": "postgres", **options, "lazy": True}) as lake:
        assert lake["k"] == 1
    monkeypatch.setenv("POSTGRES_HOST", str(postgres_18.folder))
    monkeypatch.setenv("POSTGRES_PORT", str(postgres_18.port))
    monkeypatch.setenv("POSTGRES_USER", "postgres")
    monkeypatch.setenv("POSTGRES_DB", name)
    with create_catalog_backend("postgres") as backend:  # as in YAML: from the environment
        assert "k" in list(backend)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"provider": "awz", "host": "h"}, "catalog.provider: 'awz' is unknown"),
        ({"host": "h", "credentials": {"source": "gpc"}}, "catalog.credentials.source: is 'gpc'"),
        ({"host": "h", "pasword": "CANARY"}, "catalog.pasword: unknown key: did you mean 'pass"),
        ({"provider": "aws", "host": "h", "iam": True}, "catalog.user: is missing"),
    ],
)
def test_a_server_s_wrong_options_in_python(options: dict[str, Any], words: str) -> None:
    for act in (
        lambda: create_catalog_backend("postgres", **options),
        lambda: lakebed.open(catalog={"type": "postgres", **options}),
    ):
        with pytest.raises(ConfigurationError) as caught:
            act()
        assert words in str(caught.value)
        assert "CANARY" not in str(caught.value)


# pool_size and max_overflow on postgres


def test_pool_size_and_max_overflow(postgres_18: PostgresServer) -> None:
    def most(**options: Any) -> Any:
        settings = {"backend": "postgres", "host": "h", **options}
        catalog: Any = opened_with(settings)["catalog"]
        return catalog.get("max_size")

    assert most(pool_size=5, max_overflow=10) == 15
    assert most(pool_size=5) == 5
    assert most(max_overflow=3) == 13
    assert most() is None
    url = postgres_18.url(postgres_18.create_database())
    works(lakebed.open({"backend": "postgres", "url": url, "pool_size": 2, "max_overflow": 1}))
    works(lakebed.open(catalog={"type": "postgres", "url": url, "pool_size": 2, "max_overflow": 1}))
    options: dict[str, Any] = {"url": url, "pool_size": 1, "max_overflow": 0, "timeout": 0.5}
    with create_catalog_backend("postgres", **options) as backend, ThreadPoolExecutor() as pool:
        executor: Any = backend.lake._catalog
        ready, end = threading.Event(), threading.Event()

        def hold() -> None:
            with executor._executor.reading(lambda tx: tx):
                ready.set()
                end.wait(30)

        holding = pool.submit(hold)
        try:
            assert ready.wait(30)
            with pytest.raises(ConnectError, match="all 1 of the pool are in use"):
                backend.health_check()
        finally:
            end.set()
            holding.result()
        backend.health_check()


# CatalogBackend.store_batch(entries, atomic=True), list_entries(prefix=None), content_hash


@pytest.fixture(params=["sqlite", "postgres"])
def backend(request: pytest.FixtureRequest, folder: Path) -> Iterator[Any]:
    options: dict[str, Any] = {"type": "sqlite", "path": "names.db"}
    if request.param == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres_18")
        options = {"type": "postgres", "url": server.url(), "schema": f"t{secrets.token_hex(6)}"}
    with create_catalog_backend(**options, storage=str(folder / "storage")) as opened:
        yield opened


def test_a_batch_of_a_catalog(backend: Any) -> None:
    small, large = b"content", b"x" * 10_000
    there = backend.lake.store("large", large)
    tracked = {"content_hash": "sha256:" + hashlib.sha256(small).hexdigest()}
    report = backend.store_batch(
        [
            {"key": "value", "value": 1},
            {"key": "inline", **tracked, "inlined_value": small, "metadata": {"n": 1}},
            {"key": "by hash", "content_hash": there.content_hash},
            {
                "key": "by place",
                "content_hash": there.content_hash,
                "storage_uri": there.storage_uri,
                "byte_size": 10_000,
                "ttl": 3600,
            },
        ],
        atomic=True,
    )
    assert (report["stored"], report["created"], report["failed"]) == (4, 4, 0)
    found = backend.list_entries(prefix=None)
    assert [entry["key"] for entry in found] == ["by hash", "by place", "inline", "large", "value"]
    assert found[2]["content_hash"] == tracked["content_hash"]
    assert found[2]["metadata"] == {"n": 1}
    assert found[1]["expires_at"] is not None
    values = backend.retrieve_batch(["by hash", "by place", "inline"])
    assert values == {"by hash": large, "by place": large, "inline": small}
    assert not backend.lake.verify().problems


def test_a_batch_of_a_catalog_is_atomic_or_not(backend: Any) -> None:
    entries: list[Any] = [
        {"key": "a", "value": 1},
        {"key": "b", "content_hash": "sha256:" + "0" * 64},
        {"key": "c", "content_hash": "md5:0"},
        {"key": "d", "content_hash": "sha256:" + "0" * 64, "value": 1},
        {"key": "e", "value": {1}},
    ]
    with pytest.raises(NotFoundError, match="no content with the hash") as caught:
        backend.store_batch(entries)
    assert sorted(caught.value.errors) == ["b", "c", "d", "e"]
    assert backend.list_entries() == []
    report = backend.store_batch(iter(entries), atomic=False)
    assert (report["stored"], report["failed"]) == (1, 4)
    kinds = {key: type(error) for key, error in report["errors"].items()}
    assert kinds == {
        "b": NotFoundError,
        "c": ValidationError,
        "d": ValidationError,
        "e": SerializationError,
    }
    assert [entry["key"] for entry in backend.list_entries(prefix=None)] == ["a"]


def test_cleanup_of_a_catalog(backend: Any) -> None:
    backend.store_batch([{"key": f"k{n}", "value": n, "ttl": 0.001} for n in range(7)])
    until(lambda: not backend.list_entries())
    assert backend.cleanup_expired(batch_size=100)["deleted"] == 7


# IntegrityError as validation_error


TRIGGER = """
CREATE TRIGGER forbid BEFORE INSERT ON entry WHEN NEW.key = 'no'
BEGIN SELECT RAISE(ABORT, 'forbidden'); END
"""


@pytest.mark.parametrize(
    "kind", ["sqlite", "postgres", "sqlite by SQLAlchemy", "postgres by SQLAlchemy", "mariadb"]
)
def test_an_integrity_error(kind: str, request: pytest.FixtureRequest) -> None:
    """A rule of the database's owner refuses an entry, and nothing else."""
    forbid: Callable[[], object]
    if kind == "mariadb":
        name = f"t{secrets.token_hex(6)}"
        maria: MariaDBServer = request.getfixturevalue("mariadb")
        backend, options = "sqlalchemy", {"url": maria.url(name)}
        rule = f"ALTER TABLE {name}.lakebed_entry ADD CONSTRAINT forbid CHECK (`key` <> 'no')"
        forbid = partial(maria.execute, rule)
    elif "postgres" in kind:
        server: PostgresServer = request.getfixturevalue("postgres_18")
        name = server.create_database()
        url = server.url(name)
        backend, options = "postgres", {"url": url}
        if "SQLAlchemy" in kind:
            url = url.replace("postgresql:", "postgresql+psycopg:")
            backend, options = "sqlalchemy", {"url": url}
        rule = "ALTER TABLE lakebed.entry ADD CONSTRAINT forbid CHECK (key <> 'no')"
        forbid = partial(server.execute, rule, name)
    else:
        backend, options = "sqlite", {"path": "a.db"}
        if "SQLAlchemy" in kind:
            backend, options = "sqlalchemy", {"url": "sqlite:///a.db"}

        def forbid() -> None:
            with closing(sqlite3.connect("a.db")) as connection, connection:
                connection.execute(TRIGGER)

    with create_ltm_backend(backend, **options) as memory:
        assert memory.store("yes", 1)["success"]
        forbid()
        result = memory.store("no", 1)
        assert result["error_type"] == "validation_error", result
        assert "refuses the entry" in result["error"]
        assert memory.store("still", 1)["success"]
        assert not memory.retrieve("no")["found"]
        batch = memory.store_batch([{"key": "a", "value": 1}, {"key": "no", "value": 1}])
        assert batch["error_type"] == "validation_error"
        assert not memory.retrieve("a")["found"]
