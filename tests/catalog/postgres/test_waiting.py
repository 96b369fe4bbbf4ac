"""How long calls wait on Postgres: for connections, locks, and answers."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import lakebed
from lakebed.errors import CatalogError, ConnectError, LockTimeoutError
from tests.catalog.postgres.schemas import options
from tests.servers import PostgresServer
from tests.waiting import until, within


def test_the_pool_is_exhausted(postgres_18: PostgresServer) -> None:
    with lakebed.open(catalog=options(postgres_18.url(), max_size=1)) as lake:
        lake.store("k", 1)
        executor = lake._catalog._executor  # type: ignore[attr-defined]
        executor.timeout = 0.3  # from now on: connecting may take longer
        with (
            ThreadPoolExecutor(1) as pool,
            executor.connection(),
            pytest.raises(ConnectError, match="max_size") as caught,
        ):
            pool.submit(lake.retrieve, "k").result()
        assert caught.value.error_type == "connection_timeout"
        assert lake["k"] == 1


def test_closing_drains(postgres_18: PostgresServer) -> None:
    """`close` waits for the calls at work, and keeps new ones away."""
    lake = lakebed.open(catalog=options(postgres_18.url(), max_size=4, timeout=60))
    executor = lake._catalog._executor  # type: ignore[attr-defined]
    begun, order = threading.Event(), []

    def slow() -> object:
        with executor.connection() as connection:
            begun.set()
            until(lambda: within(type(lake).close))
            row = connection.execute("SELECT 1").fetchone()
            order.append("answered")
            return row

    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(slow)
        assert begun.wait(60)
        lake.close()
        order.append("closed")
        assert working.result() == (1,)
    assert order == ["answered", "closed"]
    with pytest.raises(CatalogError, match="closed"):
        lake.store("k", 1)


def test_a_lock_that_is_held(postgres_18: PostgresServer) -> None:
    import psycopg

    catalog = options(postgres_18.url())
    with lakebed.open(catalog=catalog, lock_timeout=0.3) as lake:
        lake.store("k", 1)
        with psycopg.connect(postgres_18.url()) as blocker:
            blocker.execute(f"TABLE {catalog['schema']}.entry FOR UPDATE".encode())
            with pytest.raises(LockTimeoutError):
                lake.store("k", 2)
            lake.store("other", 1)
        with psycopg.connect(postgres_18.url()) as blocker:
            blocker.execute(f'LOCK TABLE "{catalog["schema"]}".snapshot'.encode())
            with pytest.raises(LockTimeoutError):
                lake.create_snapshot("s")
        lake.store("k", 2)


def test_a_snapshot_does_not_stall_writers(postgres_18: PostgresServer) -> None:
    """While a long writer holds the lock, a snapshot waits and other writers go on."""
    with lakebed.open(catalog=options(postgres_18.url(), max_size=4)) as lake:
        executor = lake._catalog._executor  # type: ignore[attr-defined]
        lake.store("warm", 0)
        with ThreadPoolExecutor(2) as pool:
            with executor._write(patient=True, exclusive=False) as tx:
                tx.all("SELECT 1", {})
                waiting = pool.submit(lake.create_snapshot, "s")
                longest = 0.0
                for number in range(30):
                    start = time.monotonic()
                    pool.submit(lake.store, f"k{number}", number).result()
                    longest = max(longest, time.monotonic() - start)
                assert not waiting.done()
            waiting.result(10)
        assert longest < 5  # not the writer's whole time
        assert len(lake.at("s")) == 31


def test_a_statement_that_takes_too_long(postgres_18: PostgresServer) -> None:
    catalog = options(postgres_18.url())
    lakebed.open(catalog=catalog).close()  # making the tables may take longer
    with lakebed.open(catalog={**catalog, "statement_timeout": 1}) as lake:
        executor = lake._catalog._executor  # type: ignore[attr-defined]
        with pytest.raises(CatalogError, match="cancelled a statement"):
            executor.fetch("SELECT pg_sleep(60)", {})
        lake.store("k", 1)


def test_deadlocks_are_repeated(postgres_18: PostgresServer) -> None:
    """Batches and transactions that take the same keys and contents in all orders."""
    with lakebed.open(catalog=options(postgres_18.url(), max_size=8)) as lake:

        def write(thread: int) -> None:
            for number in range(25):
                keys = [f"k{(number * 7 + n * thread) % 23}" for n in range(12)]
                if thread % 2:
                    lake.store_batch({"key": key, "value": [number % 3, key]} for key in keys)
                else:
                    with lake.transaction() as tx:
                        for key in reversed(keys):
                            tx.store(key, [number % 3, key[:2]])

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(write, range(6)))
        assert not lake.verify().problems
