"""Clients that bring one old catalog up to date at the same time, on each kind of server."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import lakebed
from lakebed.catalog.statements import migration
from lakebed.catalog.statements.dialect import Dialect
from lakebed.lake.lake import Lake

CLIENTS = 4
# What schema version 1 had instead of the tables of search and of parts, and of a partial index.
AGE = """
DROP TABLE {metadata_ended};
DROP TABLE {segment};
DROP TABLE {segment_queue};
DROP TABLE {segment_ended};
DROP TABLE {part};
CREATE TABLE {entry}_text (n INTEGER);
CREATE TABLE {text_unread} (n INTEGER);
DELETE FROM {lakebed_meta} WHERE "name" LIKE 'segments_%';
DELETE FROM {lakebed_meta} WHERE "name" = 'objects_moved';
INSERT INTO {lakebed_meta} ("name", "value") VALUES ('text_indexed', '0');
UPDATE {lakebed_meta} SET "value" = '1' WHERE "name" = 'schema_version';
"""


@pytest.fixture(params=["sqlite", "postgres", "sqlalchemy-postgres", "mariadb"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    if request.param == "sqlite":
        return {"type": "sqlite", "path": tmp_path / "catalog.db"}
    if request.param == "mariadb":
        server, name = request.getfixturevalue("mariadb"), f"old_{secrets.token_hex(6)}"
        server.execute(f"CREATE DATABASE {name}")
        return {"type": "mariadb", "url": server.url(name)}
    server = request.getfixturevalue("postgres_18")
    url = server.url(server.create_database())
    if request.param == "postgres":
        return {"type": "postgres", "connection_string": url}
    return {"type": "sqlalchemy", "url": url.replace("postgresql:", "postgresql+psycopg:")}


def age(lake: Lake) -> None:
    executor = lake._catalog._executor  # type: ignore[attr-defined]
    entry = executor.dialect.fill("{entry}", executor.schema)
    unread = entry.removesuffix("entry") + "text_unread"
    text = AGE.replace("{text_unread}", unread)
    if "bare_entries" in lake._catalog._queries:  # type: ignore[attr-defined]
        text += "DROP INDEX {entry}_bare;"
    script = executor.dialect.fill(text, executor.schema)
    executor.transact(lambda tx: tx.script(script), exclusive=True)


@pytest.fixture
def migrations(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The migrations that are run. Each client first finds an old schema, and then waits until all
    have found it."""
    run: list[int] = []
    read = Dialect.migration
    monkeypatch.setattr(Dialect, "migration", lambda *args: (run.append(args[-1]), read(*args))[1])
    found, first, barrier = migration._version, threading.local(), threading.Barrier(CLIENTS)

    def version(fetch: Callable[..., Any], queries: Any) -> int:
        number = found(fetch, queries)
        if not hasattr(first, "number"):
            first.number = number
            barrier.wait(120)
        return number

    monkeypatch.setattr(migration, "_version", version)
    return run


def test_one_of_many_clients_migrates(
    place: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    with lakebed.open(catalog=place) as lake:
        lake.store("old", "words to find", {"n": 1})
        age(lake)
    run: list[int] = request.getfixturevalue("migrations")

    def client(number: int) -> int:
        with lakebed.open(catalog=place) as lake:
            lake.store(f"new/{number}", number)
            return lake.search("words to find").total

    with ThreadPoolExecutor(CLIENTS) as pool:
        assert list(pool.map(client, range(CLIENTS))) == [1] * CLIENTS
    assert run == [2, 3, 4]
    request.getfixturevalue("monkeypatch").undo()
    with lakebed.open(catalog=place) as lake:
        assert dict(lake) == {"old": "words to find"} | {f"new/{n}": n for n in range(CLIENTS)}
        assert [entry.key for entry in lake.list(metadata_filter={"n": 1})] == ["old"]
        assert [entry.key for entry in lake.list(metadata_filter={"n": {"$ne": 2}})] == sorted(lake)
        assert not lake.verify().problems
