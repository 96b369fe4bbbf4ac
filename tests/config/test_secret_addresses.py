"""No part of an address shows that may have come from a secret."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import yaml

import lakebed
from lakebed.ltm import LTMBackend
from tests.config.conftest import Write
from tests.config.test_secrecy import printed
from tests.conftest import PROJECT
from tests.servers import PostgresServer

PARTS = ("user", "password", "host", "port", "database")
ADDRESSED: dict[str, dict[str, Any]] = {
    "postgres": {name: f"{{{{ secrets.{name} }}}}" for name in PARTS},
    "sqlalchemy": {
        "url": "postgresql+psycopg://{{ secrets.user }}:{{ secrets.password }}"
        "@{{ secrets.host }}:{{ secrets.port }}/{{ secrets.database }}"
    },
}


@pytest.mark.parametrize("backend", ADDRESSED)
def test_a_server_that_goes_shows_no_address_from_secrets(
    write: Write,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    private_postgres: PostgresServer,
    backend: str,
) -> None:
    """A lake that is open names its server in its text and when the connection is lost: all parts
    of the address may have come from secrets."""
    caplog.set_level(logging.DEBUG)
    server = private_postgres
    database = server.create_database()
    server.execute("CREATE ROLE adacanary SUPERUSER LOGIN PASSWORD 'hunter2'")
    address = {
        "host": "localhost",
        "port": str(server.port),
        "user": "adacanary",
        "password": "hunter2",
        "database": database,
    }
    for name, value in address.items():
        monkeypatch.setenv(name.upper(), value)
    path = write(yaml.safe_dump({"backend": backend, "timeout": 1, **ADDRESSED[backend]}))
    canaries = (*address.values(), "127.0.0.1")

    def shown(act: Callable[[], object]) -> list[str]:
        text = printed(act).replace(str(PROJECT), "")
        return [
            f"{word}: {line}" for line in text.splitlines() for word in canaries if word in line
        ]

    with lakebed.open(path) as lake:
        lake.store("k", 1)
        lake.create_snapshot("s")
        for act in (
            lambda: lake,
            lambda: lake.name,
            lambda: lake.at("s"),
            lambda: LTMBackend(lake),
        ):
            assert not shown(act)
        server.execute(f"REVOKE ALL ON DATABASE {database} FROM PUBLIC")
        server.execute("ALTER ROLE adacanary NOSUPERUSER")
        server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname <> 'postgres'"
        )
        assert not shown(lambda: lake["k"])
        server.kill()
        for act in (
            lambda: lake["k"],
            lambda: lake.store("k", 2),
            lambda: lake.store_batch([{"key": "k", "value": 3}], atomic=False),
            lambda: lake.at("s")["k"],
            lambda: LTMBackend(lake).retrieve("k"),
        ):
            assert not shown(act)
        assert not shown(lambda: caplog.text)
