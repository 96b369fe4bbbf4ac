"""What a server refuses, and errors that say what to do."""

from __future__ import annotations

import secrets
import socket
from typing import Any

import pytest

import lakebed
from lakebed.errors import (
    CatalogError,
    ConfigurationError,
    ConnectError,
    LakebedError,
    StorageError,
)
from tests.servers import PASSWORD, MariaDBServer, free_port
from tests.tracebacks import all_text
from tests.waiting import LONG, in_time


def test_a_newer_schema(mariadb: MariaDBServer, name: str) -> None:
    lakebed.open(catalog=mariadb.url(name)).close()
    mariadb.execute(
        f"UPDATE {name}.lakebed_meta SET value = '99' WHERE name = 'schema_version'"  # noqa: S608
    )
    with pytest.raises(CatalogError, match="newer Lakebed"):
        lakebed.open(catalog=mariadb.url(name))


def test_wrong_password(mariadb: MariaDBServer, name: str) -> None:
    user = mariadb.create_user(f"u{secrets.token_hex(4)}", "ALL ON *.*")
    url = mariadb.tcp_url(name, user)
    lakebed.open(catalog=url).close()
    with pytest.raises(ConnectError, match="refuses the credentials") as caught:
        lakebed.open(catalog=url.replace(PASSWORD, "wr0ng-one"))
    assert caught.value.error_type == "auth_failed"
    assert "wr0ng-one" not in all_text(caught.value)


def test_nobody_listens() -> None:
    """Said at once, whatever the timeout; later on it would be waited for."""
    url = f"mysql://u:{PASSWORD}@127.0.0.1:{free_port()}/x"
    with in_time(), pytest.raises(ConnectError) as caught:
        lakebed.open(catalog={"type": "mysql", "url": url, "timeout": LONG})
    assert caught.value.error_type == "connection_error"
    assert PASSWORD not in all_text(caught.value)


def test_a_host_that_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"mysql://u:{PASSWORD}@127.0.0.1:{silent.getsockname()[1]}/x"
        with pytest.raises(ConnectError) as caught:
            lakebed.open(catalog={"type": "mysql", "url": url, "timeout": 1})
    assert caught.value.error_type == "connection_timeout"


def test_no_database(mariadb: MariaDBServer, name: str) -> None:
    url = mariadb.url(name).replace(name, "nowhere")
    with pytest.raises(ConfigurationError, match="create it first"):
        lakebed.open(catalog=url)


def test_rights(mariadb: MariaDBServer, name: str) -> None:
    user = mariadb.create_user(f"u{secrets.token_hex(4)}", f"SELECT ON {name}.*")
    theirs = mariadb.tcp_url(name, user)
    with pytest.raises(StorageError, match=r"lacks a right.*CREATE"):
        lakebed.open(catalog=theirs)
    with lakebed.open(catalog=mariadb.url(name)) as lake:
        lake.store("a", 1, {"n": 1})
    with lakebed.open(catalog=theirs) as lake:  # may read
        assert lake["a"] == 1
        assert [e.key for e in lake.list(metadata_filter={"n": 1})] == ["a"]
        with pytest.raises(StorageError, match="lacks a right"):
            lake.store("b", 1)


def test_no_right_to_the_database(mariadb: MariaDBServer, name: str) -> None:
    user = mariadb.create_user(f"u{secrets.token_hex(4)}", "")
    with pytest.raises(ConnectError, match=name) as caught:
        lakebed.open(catalog=mariadb.tcp_url(name, user))
    assert caught.value.error_type == "auth_failed"


def test_no_right_to_temporary_tables(mariadb: MariaDBServer, name: str) -> None:
    user = mariadb.create_user(f"u{secrets.token_hex(4)}", f"ALL ON {name}.*")
    with lakebed.open(catalog=mariadb.tcp_url(name, user)):
        mariadb.execute(f"REVOKE CREATE TEMPORARY TABLES ON {name}.* FROM {user}@'127.0.0.1'")
    with (
        lakebed.open(catalog=mariadb.tcp_url(name, user)) as lake,
        pytest.raises(LakebedError, match=r"lacks a right.*GRANT.*CREATE TEMPORARY TABLES"),
    ):
        lake.store_batch([{"key": "a", "value": 1}])


def test_no_database_in_the_url(mariadb: MariaDBServer, name: str) -> None:
    with pytest.raises(ConfigurationError, match="expected a database"):
        lakebed.open(catalog=mariadb.url(name).replace(name, ""))


def test_more_than_a_packet(mariadb: MariaDBServer, name: str) -> None:
    """Said at once: the server would cut the connection, which would be tried again and again."""
    with lakebed.open(catalog=mariadb.url(name)) as lake:
        lake.store("a", 1)
        executor = lake._catalog._executor  # type: ignore[attr-defined]
        with executor.connection() as lent:
            limit = lent.proxied.max_allowed_packet
        with pytest.raises(StorageError, match="max_allowed_packet"):
            lake.store("b", b"\xff" * limit)
        text = "\N{EARTH GLOBE EUROPE-AFRICA}" * (limit // 4)
        with pytest.raises(StorageError, match="max_allowed_packet"):
            executor.fetch("SELECT :text", {"text": text})
        lake.store("b", 1)
        assert dict(lake) == {"a": 1, "b": 1}


@pytest.mark.parametrize("table", ["lakebed_meta", "lakebed_entry"])
def test_a_table_of_somebody_else(mariadb: MariaDBServer, name: str, table: str) -> None:
    mariadb.execute(f"CREATE TABLE {name}.{table} (n int)")
    mariadb.execute(f"CREATE TABLE {name}.orders (n int)")
    with pytest.raises(ConfigurationError, match=rf"{table}, which is not Lakebed's"):
        lakebed.open(catalog=mariadb.url(name))
    tables = mariadb.execute(
        f"SELECT table_name FROM information_schema.tables WHERE table_schema = '{name}'"  # noqa: S608
    )
    assert sorted(tables) == [(table,), ("orders",)]


def test_a_server_that_is_read_only(private_mariadb: MariaDBServer) -> None:
    user = private_mariadb.create_user("writer", "SELECT, INSERT, UPDATE, DELETE, CREATE ON *.*")
    private_mariadb.execute(f"GRANT DROP, ALTER ON *.* TO {user}@'127.0.0.1'")
    private_mariadb.execute(f"GRANT CREATE TEMPORARY TABLES ON *.* TO {user}@'127.0.0.1'")
    private_mariadb.execute(f"GRANT REFERENCES ON *.* TO {user}@'127.0.0.1'")
    private_mariadb.url("lake")
    with lakebed.open(catalog=private_mariadb.tcp_url("lake", user)) as lake:
        lake.store("k", 1)
        private_mariadb.execute("SET GLOBAL read_only = 1")
        assert lake["k"] == 1
        with pytest.raises(StorageError, match="read-only"):
            lake.store("k", 2)
        private_mariadb.execute("SET GLOBAL read_only = 0")
        lake.store("k", 2)


def test_a_statement_that_takes_too_long(mariadb: MariaDBServer, name: str) -> None:
    catalog = {"type": "mariadb", "url": mariadb.url(name), "statement_timeout": 0.5}
    with lakebed.open(catalog=catalog) as lake:
        executor = lake._catalog._executor  # type: ignore[attr-defined]
        with pytest.raises(CatalogError, match="statement_timeout"):
            executor.fetch("SELECT count(*) FROM seq_1_to_100000000 WHERE seq * 3 = 1", {})
        lake.store("k", 1)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"pool_size": 0}, "pool_size"),
        ({"timeout": "long"}, "timeout"),
        ({"statement_timeout": 0}, "statement_timeout"),
        ({"lazy": "yes"}, "lazy"),
        ({"poolsize": 3}, "unknown option 'poolsize'"),
        ({"url": "postgresql://u:hush@h/"}, "mysql://"),
        ({"url": "mysql://u:hush@h:port/"}, "url"),
        ({"url": ""}, "url"),
    ],
)
def test_malformed(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        lakebed.open(catalog={"type": "mysql", "url": "mysql://u@127.0.0.1:1/x", **given})
    assert "hush" not in all_text(caught.value)


def test_nothing_shows_the_password(mariadb: MariaDBServer, name: str) -> None:
    user = mariadb.create_user(f"u{secrets.token_hex(4)}", "ALL ON *.*")
    with lakebed.open(catalog=mariadb.tcp_url(name, user)) as lake:
        shown = [repr(lake), lake.name]
        executor = lake._catalog._executor  # type: ignore[attr-defined]
        with pytest.raises(LakebedError) as caught:
            executor.fetch("SELECT nothing", {})
        shown.append(all_text(caught.value))
    assert PASSWORD not in " ".join(shown)
