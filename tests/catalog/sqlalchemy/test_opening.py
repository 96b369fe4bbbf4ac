"""Opening a catalog through SQLAlchemy: options, forks, and other tables beside it."""

from __future__ import annotations

import logging
import secrets
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

import lakebed
from lakebed.catalog.statements.executor import Transaction
from lakebed.errors import (
    CatalogError,
    ConfigurationError,
    ConnectError,
    ReadOnlyError,
)
from tests.lake.test_read_only import WRITES, fill, read_everything
from tests.servers import PASSWORD, MariaDBServer, free_port
from tests.waiting import until, within


@pytest.fixture(params=["sqlite", "mariadb"])
def at(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """A new place."""
    if request.param == "sqlite":
        return {"type": "sqlalchemy", "url": f"sqlite:///{tmp_path}/names.db"}
    server = request.getfixturevalue("mariadb")
    return {"type": "mariadb", "url": server.url(request.getfixturevalue("name"))}


def test_clients_race_to_create_it(at: dict[str, Any]) -> None:
    def client(number: int) -> str:
        with lakebed.open(catalog=at) as lake:
            lake.store(f"k{number}", number)
            return str(lake._catalog.settings({})["lake_id"])  # type: ignore[attr-defined]

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(client, range(8)))) == 1
    with lakebed.open(catalog=at) as lake:
        assert dict(lake) == {f"k{n}": n for n in range(8)}


def test_any_other_url_is_sqlalchemys(tmp_path: Path) -> None:
    with lakebed.open(catalog=f"duckdb:///{tmp_path}/names.db") as lake:
        lake.store("k", 1)
    with lakebed.open(
        catalog={"type": "sqlalchemy", "url": f"duckdb:///{tmp_path}/names.db"}
    ) as lake:
        assert lake["k"] == 1


@pytest.mark.parametrize(
    "url",
    [
        "sqlit:///names.db",
        "amqp://user:secret@host",
        "names.db",
        "host=h password=secret",
    ],
)
def test_a_url_that_nobody_knows(url: str) -> None:
    with pytest.raises(ConfigurationError, match="expected sqlite:///path") as caught:
        lakebed.open(catalog=url)
    assert "secret" not in str(caught.value)


def test_without_migration(at: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="auto_migrate"):
        lakebed.open(catalog={**at, "auto_migrate": False})
    lakebed.open(catalog=at).close()
    with lakebed.open(catalog={**at, "auto_migrate": False}) as lake:
        lake.store("a", 1)


def test_echo(at: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "sqlalchemy"):
        with lakebed.open(catalog=at) as lake:
            lake.store("silent", 1)
        assert not [r for r in caplog.records if "INSERT" in r.getMessage()]
        with lakebed.open(catalog={**at, "echo": True}) as lake:
            lake.store("loud", "a value of mine")
    said = [record.getMessage() for record in caplog.records]
    assert any("INSERT" in text for text in said)
    assert not any("a value of mine" in text for text in said)


def test_the_pool_is_exhausted(at: dict[str, Any]) -> None:
    with lakebed.open(catalog={**at, "pool_size": 1, "timeout": 0.3}) as lake:
        lake.store("k", 1)
        executor = lake._catalog._executor  # type: ignore[attr-defined]
        with (
            ThreadPoolExecutor(1) as pool,
            executor.connection(),
            pytest.raises(ConnectError, match="pool_size") as caught,
        ):
            pool.submit(lake.retrieve, "k").result()
        assert caught.value.error_type == "connection_timeout"
        assert lake["k"] == 1


def test_closing_drains(at: dict[str, Any]) -> None:
    """`close` waits for the calls at work, and keeps new ones away."""
    lake = lakebed.open(catalog=at)
    executor = lake._catalog._executor  # type: ignore[attr-defined]
    begun, order = threading.Event(), []

    def slow(tx: Transaction) -> object:
        begun.set()
        until(lambda: within(type(lake).close))
        row = tx.all("SELECT 1", {})[0][0]
        order.append("answered")
        return row

    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(executor.transact, slow)
        assert begun.wait(60)
        lake.close()
        order.append("closed")
        assert working.result() == 1
    assert order == ["answered", "closed"]
    with pytest.raises(CatalogError, match="closed"):
        lake.store("k", 1)
    lake.close()


def test_fork(at: dict[str, Any], tmp_path: Path) -> None:
    """A child opens connections of its own, whatever the parent's threads are doing."""
    code = f"""
import os, threading, lakebed
lake = lakebed.open(catalog={at!r})
lake.store("before", 1)
stop = threading.Event()
def work(name):
    number = 0
    while not stop.is_set():
        number += 1
        lake.store(f"{{name}}/{{number % 50}}", number)
        lake.retrieve("before")
threads = [threading.Thread(target=work, args=(name,)) for name in ("a", "b", "c")]
for thread in threads:
    thread.start()
children = []
for child in range(8):
    pid = os.fork()
    if pid == 0:
        for number in range(20):
            lake.store(f"child/{{child}}/{{number}}", lake["before"])
        os._exit(0)
    children.append(pid)
for pid in children:
    assert os.waitpid(pid, 0)[1] == 0
stop.set()
for thread in threads:
    thread.join()
assert not lake.verify().problems
print(len([key for key in lake if key.startswith("child/")]))
lake.close()
"""
    ran = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code],
        capture_output=True, text=True, cwd=tmp_path, timeout=120,
    )  # fmt: skip
    assert ran.stdout.strip() == "160", ran.stderr


def test_fork_inside_a_transaction(tmp_path: Path) -> None:
    """The child must not go on with its parent's transaction on a SQLite file."""
    code = f"""
import os, lakebed
lake = lakebed.open(catalog={{"type": "sqlalchemy", "url": "sqlite:///{tmp_path}/n.db"}})
lake.store("before", 1)
with lake._catalog._executor._write(patient=True, exclusive=False):
    pid = os.fork()
    if pid == 0:
        os._exit(0 if lake["before"] == 1 else 1)
    assert os.waitpid(pid, 0)[1] == 0
lake.store("after", 1)
print(len(lake))
"""
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=60
    )
    assert ran.stdout.strip() == "2", ran.stderr


# What MySQL and MariaDB answer


@pytest.mark.parametrize("option", ["colour=red", "ssl_ca=/not/there", "connect_timeout=long"])
def test_options_of_the_driver(mariadb: MariaDBServer, name: str, option: str) -> None:
    with pytest.raises(ConfigurationError, match=r"catalog\.url"):
        lakebed.open(catalog=f"{mariadb.url(name)}&{option}")


@pytest.mark.parametrize("scheme", ["mysql", "mariadb", "mysql+pymysql", "mariadb+pymysql"])
def test_a_password_of_any_signs(mariadb: MariaDBServer, name: str, scheme: str) -> None:
    user, password = (
        f"u{secrets.token_hex(4)}",
        'p@ss:/?#[]%&+ "\N{LATIN SMALL LETTER E WITH ACUTE}',
    )
    mariadb.execute(f"CREATE USER {user}@'127.0.0.1' IDENTIFIED BY '{password}'")
    mariadb.execute(f"GRANT ALL ON {name}.* TO {user}@'127.0.0.1'")
    url = mariadb.tcp_url(name, user).replace(PASSWORD, quote(password, safe=""))
    with lakebed.open(catalog=url.replace("mysql", scheme, 1)) as lake:
        lake.store("a", 1)


def test_read_only(mariadb: MariaDBServer, name: str, tmp_path: Path) -> None:
    """By a user who may only read."""
    with lakebed.open(catalog=mariadb.url(name), storage=str(tmp_path / "storage")) as lake:
        fill(lake)
        wanted = read_everything(lake)
    user = f"u{secrets.token_hex(4)}"
    mariadb.execute(f"CREATE USER {user}@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'")
    mariadb.execute(f"GRANT SELECT ON {name}.* TO {user}@'127.0.0.1'")
    with lakebed.open(catalog=mariadb.tcp_url(name, user), read_only=True) as lake:
        for write in WRITES.values():
            with pytest.raises(ReadOnlyError):
                write(lake)
        assert read_everything(lake) == wanted
    url = f"sqlite:///{tmp_path}/c.db"
    with pytest.raises(ConfigurationError, match="read_only"):
        lakebed.open(catalog={"type": "sqlalchemy", "url": url}, read_only=True)
    assert not (tmp_path / "c.db").exists()


def test_beside_other_tables(mariadb: MariaDBServer, name: str) -> None:
    mariadb.execute(f"CREATE TABLE {name}.orders (n int)")
    with lakebed.open(catalog=mariadb.url(name)) as lake:
        lake.store("a", 1)


def test_a_database_that_is_not_utf8(mariadb: MariaDBServer, name: str) -> None:
    """The tables bring their own character set, whatever the database's and the URL's."""
    mariadb.execute(f"ALTER DATABASE {name} CHARACTER SET latin1")
    text = "caf\N{LATIN SMALL LETTER E WITH ACUTE} \N{EARTH GLOBE EUROPE-AFRICA}"
    with lakebed.open(catalog=mariadb.url(name) + "&charset=latin1") as lake:
        lake.store(text, text, {"t": text})
        assert lake[text] == text
        assert next(iter(lake.list(metadata_filter={"t": text}))).metadata == {"t": text}
        assert [hit.key for hit in lake.search("cafe")] == [text]


def test_lazy() -> None:
    url = f"mysql://127.0.0.1:{free_port()}/x"
    lake = lakebed.open(catalog={"type": "mysql", "url": url, "timeout": 0.3, "lazy": True})
    with pytest.raises(ConnectError):
        lake.store("a", 1)
    lake.close()
