"""Opening a Postgres catalog: options, rights, and errors that say what to do."""

from __future__ import annotations

import secrets
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import lakebed
from lakebed.errors import (
    CatalogError,
    ConfigurationError,
    ConnectError,
    CorruptionError,
    DependencyMissingError,
    LakebedError,
    ReadOnlyError,
    StorageError,
)
from tests.lake.test_read_only import WRITES, fill, read_everything
from tests.servers import PASSWORD, PostgresServer, free_port
from tests.tracebacks import all_text


@pytest.fixture
def at(postgres_18: PostgresServer) -> dict[str, Any]:
    return {"type": "postgres", "url": postgres_18.url(), "schema": f"t{secrets.token_hex(6)}"}


def test_clients_race_to_create_it(at: dict[str, Any]) -> None:
    def client(number: int) -> str:
        with lakebed.open(catalog=at) as lake:
            lake.store(f"k{number}", number)
            return str(lake._catalog.settings({})["lake_id"])  # type: ignore[attr-defined]

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(client, range(8)))) == 1
    with lakebed.open(catalog=at) as lake:
        assert dict(lake) == {f"k{n}": n for n in range(8)}


def test_lakes_in_one_database(at: dict[str, Any]) -> None:
    other = {**at, "schema": at["schema"] + "-2"}
    with lakebed.open(catalog=at) as a, lakebed.open(catalog=other) as b:
        a.store("k", "a")
        b.store("k", "b")
        b.create_snapshot("s")
        assert (a["k"], b["k"]) == ("a", "b")
        assert not a.snapshots()


def test_without_migration(at: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="auto_migrate"):
        lakebed.open(catalog={**at, "auto_migrate": False})
    lakebed.open(catalog=at).close()
    with lakebed.open(catalog={**at, "auto_migrate": False}) as lake:
        lake.store("a", 1)


def test_lazy(at: dict[str, Any]) -> None:
    nowhere = {**at, "url": f"postgresql://127.0.0.1:{free_port()}/x", "timeout": 0.3}
    lake = lakebed.open(catalog={**nowhere, "lazy": True})
    with pytest.raises(ConnectError):
        lake.store("a", 1)
    lake.close()
    with lakebed.open(catalog={**at, "lazy": True}, inline_threshold=7) as lake:
        lake.store("a", 1)
        assert lake["a"] == 1
    lake = lakebed.open(catalog={**at, "lazy": True}, inline_threshold=8)
    with pytest.raises(ConfigurationError, match="inline_threshold"):
        lake.retrieve("a")
    lake.close()
    lakebed.open(catalog={**at, "lazy": True}).close()


def test_a_newer_schema(postgres_18: PostgresServer, at: dict[str, Any]) -> None:
    lakebed.open(catalog=at).close()
    postgres_18.execute(
        f"UPDATE {at['schema']}.lakebed_meta SET value = '99' "  # noqa: S608 - a name of ours
        "WHERE name = 'schema_version'"
    )
    with pytest.raises(CatalogError, match="newer Lakebed"):
        lakebed.open(catalog=at)


def test_the_sequence_lies_behind(postgres_18: PostgresServer, at: dict[str, Any]) -> None:
    with lakebed.open(catalog=at) as lake:
        for number in range(10):
            newest = lake.store("a", number).version
    postgres_18.execute(f"SELECT setval('{at['schema']}.version', 1)")
    with lakebed.open(catalog=at) as lake:
        assert lake.store("b", 1).version > newest


def test_wrong_password(postgres_18: PostgresServer, at: dict[str, Any]) -> None:
    url = postgres_18.url(tcp=True).replace(PASSWORD, "wr0ng-one")
    with pytest.raises(ConnectError, match="refuses the credentials") as caught:
        lakebed.open(catalog={**at, "url": url})
    assert caught.value.error_type == "auth_failed"
    assert "wr0ng-one" not in all_text(caught.value)


def test_no_server(at: dict[str, Any]) -> None:
    url = f"postgresql://u:{PASSWORD}@127.0.0.1:{free_port()}/x"
    with pytest.raises(ConnectError) as caught:
        lakebed.open(catalog={**at, "url": url, "timeout": 0.3})
    assert caught.value.error_type == "connection_error"
    assert PASSWORD not in all_text(caught.value)


def test_no_database(postgres_18: PostgresServer, at: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="create it first"):
        lakebed.open(catalog={**at, "url": postgres_18.url("nowhere")})


def test_not_utf8(postgres_18: PostgresServer, at: dict[str, Any]) -> None:
    postgres_18.execute("CREATE DATABASE latin TEMPLATE template0 ENCODING LATIN1 LOCALE 'C'")
    with pytest.raises(ConfigurationError, match="UTF8"):
        lakebed.open(catalog={**at, "url": postgres_18.url("latin")})


def test_rights(postgres_18: PostgresServer, at: dict[str, Any]) -> None:
    role, schema = f"r{secrets.token_hex(4)}", at["schema"]
    postgres_18.execute(f"CREATE ROLE {role} LOGIN")
    theirs = {**at, "url": postgres_18.url(user=role)}
    with pytest.raises(StorageError, match=r"permission denied.*GRANT CREATE ON DATABASE"):
        lakebed.open(catalog=theirs)
    with lakebed.open(catalog=at) as lake:
        lake.store("a", 1, {"n": 1})
    postgres_18.execute(f"GRANT USAGE ON SCHEMA {schema} TO {role}")
    postgres_18.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}")
    with lakebed.open(catalog=theirs) as lake:  # may read
        assert lake["a"] == 1
        assert [e.key for e in lake.list(metadata_filter={"n": 1})] == ["a"]
        assert lake.sql("SELECT count(*) FROM entries").fetchall() == [(1,)]
        with pytest.raises(StorageError, match=r"permission denied.*GRANT SELECT, INSERT"):
            lake.store("b", 1)
        with pytest.raises(StorageError, match=r"sequence version; GRANT USAGE, SELECT ON ALL SEQ"):
            lake.create_snapshot("s")


@pytest.mark.parametrize(
    ("lacking", "grant"),
    [
        ("SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema}", "SELECT, INSERT"),
        ("USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {schema}", "USAGE, SELECT ON ALL SEQUENCES"),
        ("EXECUTE ON ALL FUNCTIONS IN SCHEMA {schema}", "EXECUTE ON ALL FUNCTIONS"),
        ("TEMPORARY ON DATABASE {database}", "TEMPORARY ON DATABASE"),
        ("USAGE ON SCHEMA {schema}", "USAGE ON SCHEMA"),
    ],
)
def test_a_right_that_is_lacking(
    postgres_18: PostgresServer, at: dict[str, Any], lacking: str, grant: str
) -> None:
    database, role = postgres_18.create_database(), f"r{secrets.token_hex(4)}"
    at = {**at, "url": postgres_18.url(database)}
    with lakebed.open(catalog=at) as lake:
        lake.store("a", 1)
    rights = [
        "USAGE ON SCHEMA {schema}",
        "SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema}",
        "USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {schema}",
        "EXECUTE ON ALL FUNCTIONS IN SCHEMA {schema}",
        "TEMPORARY ON DATABASE {database}",
    ]
    names = {"schema": at["schema"], "database": database}
    postgres_18.execute(f"CREATE ROLE {role} LOGIN; REVOKE ALL ON DATABASE {database} FROM PUBLIC")
    postgres_18.execute(
        f"GRANT CONNECT ON DATABASE {database} TO {role};"
        f"REVOKE ALL ON ALL FUNCTIONS IN SCHEMA {at['schema']} FROM PUBLIC",
        database,
    )
    for right in rights:
        if right != lacking:
            postgres_18.execute(f"GRANT {right.format(**names)} TO {role}", database)
    theirs = {**at, "url": postgres_18.url(database, user=role)}
    with (
        pytest.raises(StorageError, match=rf"lacks a right: permission denied .*GRANT {grant}"),
        lakebed.open(catalog=theirs) as lake,
    ):
        lake.store_batch([{"key": "a", "value": 2}])
    postgres_18.execute(f"GRANT {lacking.format(**names)} TO {role}", database)
    with lakebed.open(catalog=theirs) as lake:
        lake.store_batch([{"key": "a", "value": 2}])
        lake.store("b", 1)
    postgres_18.execute(f"DROP DATABASE {database} WITH (FORCE)")
    postgres_18.execute(f"DROP ROLE {role}")


def test_a_schema_that_stands_ready(postgres_18: PostgresServer, at: dict[str, Any]) -> None:
    """Who may fill it needs no right to make others."""
    role = f"r{secrets.token_hex(4)}"
    postgres_18.execute(f"CREATE ROLE {role} LOGIN; CREATE SCHEMA {at['schema']}")
    postgres_18.execute(f"GRANT USAGE, CREATE ON SCHEMA {at['schema']} TO {role}")
    with lakebed.open(catalog={**at, "url": postgres_18.url(user=role)}) as lake:
        lake.store("a", 1)
        assert lake["a"] == 1


def test_transactions_that_are_read_only(postgres_18: PostgresServer, at: dict[str, Any]) -> None:
    role = f"r{secrets.token_hex(4)}"
    postgres_18.execute(f"CREATE ROLE {role} LOGIN; GRANT pg_read_all_data TO {role}")
    postgres_18.execute(f"ALTER ROLE {role} SET default_transaction_read_only = on")
    with lakebed.open(catalog=at) as lake:
        lake.store("a", "a word", {"n": 1})
    theirs = {**at, "url": postgres_18.url(user=role), "timeout": 0.3}
    with lakebed.open(catalog=theirs) as lake:
        assert [hit.key for hit in lake.search("word", metadata_filter={"n": 1})] == ["a"]
        with pytest.raises(StorageError, match="default_transaction_read_only"):
            lake.store("a", 2)


@pytest.mark.parametrize("type_", ["postgres", "sqlalchemy"])
def test_a_write_that_no_waiting_helps(
    postgres_18: PostgresServer, at: dict[str, Any], type_: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is no standby that may be promoted, so nothing is tried again."""
    role = f"r{secrets.token_hex(4)}"
    postgres_18.execute(f"CREATE ROLE {role} LOGIN; GRANT pg_read_all_data TO {role}")
    postgres_18.execute(f"ALTER ROLE {role} SET default_transaction_read_only = on")
    lakebed.open(catalog=at).close()
    url = postgres_18.url(user=role)
    if type_ == "sqlalchemy":
        url = url.replace("postgresql://", "postgresql+psycopg://")
    with lakebed.open(catalog={**at, "type": type_, "url": url, "timeout": 300}) as lake:
        executor: Any = lake._catalog._executor  # type: ignore[attr-defined]
        monkeypatch.setattr(executor, "_repeat", lambda *_: pytest.fail("it is tried again"))
        for write in (
            lambda: lake.store("a", 2),
            lambda: lake.store_batch([{"key": "a", "value": 2}]),
            lambda: lake.create_snapshot("s"),
        ):
            with pytest.raises(StorageError, match="read_only=True"):
                write()


@pytest.mark.parametrize("type_", ["postgres", "sqlalchemy"])
def test_read_only(
    postgres_18: PostgresServer, at: dict[str, Any], type_: str, tmp_path: Path
) -> None:
    """By a user who may only read, and who may not take part in the lake's locks by writing."""
    role = f"r{secrets.token_hex(4)}"
    postgres_18.execute(f"CREATE ROLE {role} LOGIN; GRANT pg_read_all_data TO {role}")
    postgres_18.execute(f"ALTER ROLE {role} SET default_transaction_read_only = on")
    storage = str(tmp_path / "storage")
    with lakebed.open(catalog=at, storage=storage, history="all") as lake:
        fill(lake)
        version = lake.store("last", 1).version
        lake.delete("last")
        wanted = read_everything(lake)
    url = postgres_18.url(user=role)
    if type_ == "sqlalchemy":
        url = url.replace("postgresql://", "postgresql+psycopg://")
    theirs = {**at, "type": type_, "url": url}
    for lazy in (False, True):
        with lakebed.open(catalog={**theirs, "lazy": lazy}, read_only=True) as lake:
            for write in WRITES.values():
                with pytest.raises(ReadOnlyError):
                    write(lake)
            assert read_everything(lake) == wanted
            assert lake.at(version)["last"] == 1
    empty = {**theirs, "schema": f"t{secrets.token_hex(6)}"}
    with pytest.raises(ConfigurationError, match="without read_only"):
        lakebed.open(catalog=empty, read_only=True)


@pytest.mark.parametrize(
    "thing",
    [
        "SEQUENCE {schema}.version",
        "TYPE {schema}.entry AS (n int)",
        "DOMAIN {schema}.pack AS int",
        "FUNCTION {schema}.now_micros() RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint'",
    ],
)
def test_something_of_our_names(
    postgres_18: PostgresServer, at: dict[str, Any], thing: str
) -> None:
    postgres_18.execute(f"CREATE SCHEMA {at['schema']}")
    postgres_18.execute(f"CREATE {thing.format(schema=at['schema'])}")
    with pytest.raises(ConfigurationError, match=r"already exists.*schema of its own"):
        lakebed.open(catalog=at)


@pytest.mark.parametrize("lost", ["lake_id", "segments_indexed", "metadata_indexed", "history"])
def test_a_setting_is_lost(postgres_18: PostgresServer, at: dict[str, Any], lost: str) -> None:
    lakebed.open(catalog=at).close()
    postgres_18.execute(
        f"DELETE FROM {at['schema']}.lakebed_meta WHERE name = '{lost}'"  # noqa: S608
    )
    with pytest.raises(CorruptionError, match=rf"lacks .*{lost}|{lost}. is missing"):
        lakebed.open(catalog=at)


def test_tables_of_somebody_else(postgres_18: PostgresServer, at: dict[str, Any]) -> None:
    postgres_18.execute(f"CREATE SCHEMA {at['schema']}")
    postgres_18.execute(f"CREATE TABLE {at['schema']}.entry (n int)")
    with pytest.raises(ConfigurationError, match="other tables"):
        lakebed.open(catalog=at)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"schema": 'a"b'}, "schema"),
        ({"schema": "pg_mine"}, "schema"),
        ({"schema": "a$$b"}, r"without '\$\$'"),
        ({"max_size": 0}, "max_size"),
        ({"min_size": 5, "max_size": 4}, "max_size"),
        ({"timeout": "long"}, "timeout"),
        ({"lazy": "yes"}, "lazy"),
        ({"maxsize": 3}, "maxsize: unknown key"),
        ({"url": ""}, "connection_string"),
        ({"url": "postgresql://u:hush@[h/"}, "connection_string"),
    ],
)
def test_malformed(at: dict[str, Any], given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        lakebed.open(catalog={**at, **given})
    assert "hush" not in all_text(caught.value)


def test_no_driver(tmp_path: Path) -> None:
    code = """
import sys
sys.modules["psycopg"] = None
import lakebed
try:
    lakebed.open(catalog="postgresql://x/y")
except lakebed.errors.DependencyMissingError as error:
    print(error)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert "pip install 'lakebed[postgres]'" in ran.stdout, ran.stderr
    assert issubclass(DependencyMissingError, ImportError)


def test_fork(at: dict[str, Any], tmp_path: Path) -> None:
    """A child opens connections of its own; the parent's stay whole."""
    code = f"""
import os, lakebed
lake = lakebed.open(catalog={at!r})
lake.store("before", 1)
child = os.fork()
if child == 0:
    for number in range(20):
        lake.store(f"child/{{number}}", lake["before"])
    os._exit(0)
for number in range(20):
    lake.store(f"parent/{{number}}", number)
assert os.waitpid(child, 0)[1] == 0
print(len(lake))
lake.close()
"""
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=60
    )
    assert ran.stdout.strip() == "41", ran.stderr


def test_writers_that_are_gone_are_forgotten(
    postgres_18: PostgresServer, at: dict[str, Any]
) -> None:
    rows = f"{at['schema']}.writer"
    with lakebed.open(catalog=at) as lake:
        lake.store("a", 1)
        postgres_18.execute(f"INSERT INTO {rows} VALUES (1, 1, false, 0)")  # noqa: S608
        lake.collect()
    assert not postgres_18.execute(f"SELECT 1 FROM {rows} WHERE id = 1")  # noqa: S608
    assert postgres_18.execute(f"SELECT 1 FROM {rows}")  # noqa: S608 - a name of ours


def test_closed(at: dict[str, Any]) -> None:
    lake = lakebed.open(catalog=at)
    lake.close()
    lake.close()
    with pytest.raises(LakebedError, match="closed"):
        lake.retrieve("a")
