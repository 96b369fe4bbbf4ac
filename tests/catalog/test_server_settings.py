"""Settings of a server, a user or a database change nothing of what a lake does."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import lakebed
from lakebed.errors import ConfigurationError, DependencyMissingError, StorageError
from tests.servers import MariaDBServer, Missing, PostgresServer, running_mariadb

_TEXT = "caf\N{LATIN SMALL LETTER E WITH ACUTE} \N{EARTH GLOBE EUROPE-AFRICA} \\ ' \" % AI the"
_BYTES = b"\x00\xff\\'\"\n"
_SHADOWS = """
CREATE SCHEMA IF NOT EXISTS shadows;
CREATE OR REPLACE FUNCTION shadows.one(bigint, bigint) RETURNS bigint LANGUAGE sql
    AS 'SELECT 1::bigint';
CREATE OR REPLACE AGGREGATE shadows.max(bigint) (SFUNC = shadows.one, STYPE = bigint);
CREATE OR REPLACE FUNCTION shadows.pg_advisory_xact_lock_shared(bigint) RETURNS void LANGUAGE sql
    AS 'SELECT 1/0';
CREATE OR REPLACE FUNCTION shadows.nextval(text) RETURNS bigint LANGUAGE sql AS 'SELECT 7::bigint';
GRANT USAGE ON SCHEMA shadows TO PUBLIC
"""

POSTGRES = [
    "bytea_output = escape",
    "standard_conforming_strings = off",
    "default_transaction_isolation = serializable",
    "default_transaction_isolation = 'repeatable read'",
    "search_path = shadows, pg_catalog",
    "search_path = shadows",
    "search_path = ''",
    "timezone = 'Asia/Kathmandu'",
    "datestyle = 'SQL, DMY'",
    "lock_timeout = 1",
    "idle_in_transaction_session_timeout = 1",
    "idle_session_timeout = 20",
    "client_encoding = latin1",
    "synchronous_commit = off",
    "plan_cache_mode = force_generic_plan",
    "plpgsql.extra_errors = 'all'",
    "plpgsql.variable_conflict = use_variable",
]
MARIADB = [
    "sql_mode = ''",
    "sql_mode = 'ORACLE'",
    "sql_mode = 'ANSI,NO_BACKSLASH_ESCAPES,PAD_CHAR_TO_FULL_LENGTH'",
    "sql_mode = 'EMPTY_STRING_IS_NULL'",
    "sql_mode = 'HIGH_NOT_PRECEDENCE'",
    "sql_mode = 'TRADITIONAL'",
    "sql_select_limit = 3",
    "sql_safe_updates = 1",
    "max_join_size = 10",
    "innodb_default_row_format = compact",
    "default_storage_engine = MyISAM",
    "character_set_server = latin1",
    "tx_isolation = 'SERIALIZABLE'",
    "autocommit = 0",
    "completion_type = 'CHAIN'",
    "time_zone = '+05:45'",
    "innodb_lock_wait_timeout = 1",
]


def work(catalog: dict[str, Any]) -> None:
    """What comes upon most statements."""
    with lakebed.open(catalog=catalog) as lake:
        lake.store("a", {"t": _TEXT}, {"t": _TEXT, "n": 1.5})
        lake.store("b", _BYTES)
        lake.store("empty", b"")
        assert (lake["a"], lake["b"], lake["empty"]) == ({"t": _TEXT}, _BYTES, b"")
        lake.store_batch([{"key": f"k{n}", "value": n, "metadata": {"n": n}} for n in range(6)])
        lake.store_batch([{"key": f"k{n}", "value": f"word{n}"} for n in range(4, 8)])
        assert len(lake) == len(list(lake)) == 11
        assert [entry.key for entry in lake.list(metadata_filter={"t": _TEXT})] == ["a"]
        found = lake.list(metadata_filter={"n": {"$gte": 2}})
        assert [entry.key for entry in found] == ["k2", "k3"]
        assert [hit.key for hit in lake.search("cafe")] == ["a"]
        assert [hit.key for hit in lake.search("AI")] == ["a"]
        assert [hit.key for hit in lake.search("word5")] == ["k5"]
        lake.create_snapshot("s")
        with lake.transaction() as tx:
            tx.store("c", 1)
            tx.delete("a")
        lake.delete("b")
        difference = lake.diff("s")
        assert [entry.key for entry in difference.added] == ["c"]
        assert [entry.key for entry in difference.removed] == ["a", "b"]
        assert lake.list().to_arrow().num_rows == 10
        lake.restore("s")
        lake.drop_snapshot("s")
        lake.purge("c")
        lake.maintain()
        assert dict(lake) == {
            "a": {"t": _TEXT}, "b": _BYTES, "empty": b"",
            **{f"k{n}": n if n < 4 else f"word{n}" for n in range(8)},
        }  # fmt: skip
        assert not lake.verify().problems


@pytest.fixture
def role(postgres_18: PostgresServer) -> Iterator[str]:
    """A user of a database of its own, which has the same name."""
    name = f"r{secrets.token_hex(6)}"
    postgres_18.execute(f"CREATE ROLE {name} LOGIN")
    postgres_18.execute(f"CREATE DATABASE {name} TEMPLATE template0 OWNER {name}")
    yield name
    postgres_18.execute(f"DROP DATABASE {name} WITH (FORCE)")
    postgres_18.execute(f"DROP ROLE {name}")


@pytest.mark.parametrize("setting", POSTGRES)
def test_postgres(postgres_18: PostgresServer, role: str, setting: str) -> None:
    if "shadows" in setting:
        postgres_18.execute(_SHADOWS, role)
    postgres_18.execute(f"ALTER ROLE {role} SET {setting}")
    work({"type": "postgres", "url": postgres_18.url(role, user=role)})


@pytest.mark.parametrize("setting", ["search_path = shadows, pg_catalog", "bytea_output = escape"])
def test_postgres_through_sqlalchemy(postgres_18: PostgresServer, role: str, setting: str) -> None:
    postgres_18.execute(_SHADOWS, role)
    postgres_18.execute(f"ALTER ROLE {role} SET {setting}")
    work({"type": "sqlalchemy", "url": postgres_18.url(role, user=role)})


@pytest.mark.parametrize("kind", ["postgres", "sqlalchemy"])
def test_rows_that_a_policy_hides(postgres_18: PostgresServer, role: str, kind: str) -> None:
    """Seen in part, a lake would lose what only others see."""
    catalog = {"type": kind, "url": postgres_18.url(role)}
    with lakebed.open(catalog=catalog) as lake:
        lake.store("mine", 1)
        lake.store("theirs", 2)
    postgres_18.execute(
        f"GRANT USAGE ON SCHEMA lakebed TO {role};"
        f"GRANT ALL ON ALL TABLES IN SCHEMA lakebed TO {role};"
        f"GRANT ALL ON ALL SEQUENCES IN SCHEMA lakebed TO {role};"
        "ALTER TABLE lakebed.entry ENABLE ROW LEVEL SECURITY;"
        "CREATE POLICY mine ON lakebed.entry USING (key = 'mine')",
        role,
    )
    with pytest.raises(StorageError, match=r"policy for table .*drop the policies"):
        lakebed.open(catalog={**catalog, "url": postgres_18.url(role, user=role)})


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_an_encoding_through_sqlalchemy(postgres_18: PostgresServer, encoding: str) -> None:
    name = f"e{secrets.token_hex(6)}"
    postgres_18.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING {encoding} LOCALE 'C'")
    with pytest.raises(ConfigurationError, match=rf"{encoding}.*UTF8"):
        lakebed.open(catalog={"type": "sqlalchemy", "url": postgres_18.url(name)})
    postgres_18.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def own_mariadb(
    require_server: Missing, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MariaDBServer]:
    """A server whose settings may be changed."""
    with running_mariadb(require_server, tmp_path_factory) as server:
        yield server


@pytest.mark.parametrize("setting", MARIADB)
def test_mariadb(own_mariadb: MariaDBServer, setting: str) -> None:
    url = own_mariadb.url(f"t{secrets.token_hex(6)}")
    name = setting.partition(" ")[0]
    ((before,),) = own_mariadb.execute(f"SELECT @@GLOBAL.{name}")
    own_mariadb.execute(f"SET GLOBAL {setting}")
    try:
        work({"type": "mariadb", "url": url})
    finally:
        own_mariadb.execute(f"SET GLOBAL {name} = {before!r}")


def test_a_mistyped_scheme_where_sqlalchemy_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    with pytest.raises(ConfigurationError, match="did you mean postgresql://"):
        lakebed.open(catalog="postgresq://u@127.0.0.1/d")
    with pytest.raises(DependencyMissingError, match=r"lakebed\[sqlalchemy\]"):
        lakebed.open(catalog="oracle://u@127.0.0.1/d")
    with pytest.raises(DependencyMissingError, match=r"lakebed\[mysql,sqlalchemy\]"):
        lakebed.open(catalog="mysql://u@127.0.0.1/d")
