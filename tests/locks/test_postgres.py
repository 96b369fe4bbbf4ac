"""Locks in Postgres, by its own clock and by one that is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from lakebed.errors import ConfigurationError, ConnectError, StorageError
from lakebed.locks import Lock, create_lock
from lakebed.testing import LockConformance
from tests.locks.processes import LockProcesses
from tests.servers import PostgresServer, free_port


@pytest.fixture
def name(postgres_18: PostgresServer) -> str:
    return postgres_18.create_database()


@pytest.fixture
def database(postgres_18: PostgresServer, name: str) -> str:
    return postgres_18.url(name)


class TestPostgres(LockConformance):
    @pytest.fixture
    def place(self, database: str) -> str:
        return database

    def create(self, place: Any, name: str, ttl: Any, **options: Any) -> Lock:
        return create_lock("postgres", name, ttl, connection_string=place, **options)


class TestPostgresClock(LockConformance, LockProcesses):
    kind = "postgres"
    takes_clock = False

    @pytest.fixture
    def place(self, database: str) -> str:
        return database

    @pytest.fixture
    def options(self, place: str) -> Mapping[str, object]:
        return {"url": place}

    def create(self, place: Any, name: str, ttl: Any, **options: Any) -> Lock:
        return create_lock("postgres", name, ttl, url=place, **options)


def test_a_connection_that_is_lost_is_made_anew(database: str, postgres_18: PostgresServer) -> None:
    with create_lock("postgres", "a", url=database) as lock:
        postgres_18.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE query LIKE '%held.token%' AND pid <> pg_backend_pid()"
        )
        lock.refresh()


def test_errors(name: str, database: str, postgres_18: PostgresServer) -> None:
    with pytest.raises(ConfigurationError, match="create it first"):
        create_lock("postgres", "a", url=database, schema="none").acquire()
    with pytest.raises(ConfigurationError, match="connection_string or url"):
        create_lock("postgres", "a")
    for bad in ("", "nonsense secret", "postgresql://me:secret@[bad/x"):
        with pytest.raises(ConfigurationError, match="connection_string: expected") as caught:
            create_lock("postgres", "a", url=bad)
        assert "secret" not in str(caught.value)
    with pytest.raises(ConnectError, match="no connection to the server of the lock 'a'"):
        create_lock("postgres", "a", url=f"postgresql://127.0.0.1:{free_port()}/x").acquire()
    wrong = postgres_18.url(tcp=True).replace("s3cret-of-tests", "s3cret-but-wrong")
    with pytest.raises(ConnectError, match="credentials") as refused:
        create_lock("postgres", "a", url=wrong).acquire()
    assert refused.value.error_type == "auth_failed"
    assert "s3cret" not in str(refused.value)
    postgres_18.execute("CREATE ROLE nobody_much LOGIN", name)
    try:
        poor = database.replace("postgres@", "nobody_much@")
        with pytest.raises(StorageError, match="refuses: permission denied"):
            create_lock("postgres", "a", url=poor).acquire()
    finally:
        postgres_18.execute("DROP ROLE nobody_much")
