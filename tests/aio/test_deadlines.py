"""Who waits for a lock waits no longer than he wants to, and leaves nothing half done."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import psycopg
import pytest

from lakebed import aio
from lakebed.errors import LakebedError
from tests.aio.conftest import Run, within
from tests.aio.test_cancelling import entries, transact
from tests.waiting import LONG, in_time


def test_a_lock_of_sqlite_ends_with_the_timeout(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with aio.open(tmp_path / "lake", lock_timeout=LONG) as lake:
            await lake.store("a", 1)
            other = sqlite3.connect(tmp_path / "lake" / "catalog.db", isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            calls = [lake.store("a", 2), lake.delete("a"), lake.store_batch(entries("m"))]
            calls += [lake.store(f"k{n}", n) for n in range(5)]  # wait for those, not for SQLite
            with in_time():
                ended = await asyncio.gather(*map(within, calls), return_exceptions=True)
            for done in ended:
                assert isinstance(done, TimeoutError)
                assert not isinstance(done, LakebedError)
            other.execute("ROLLBACK")
            other.close()
            assert await lake.items() == [("a", 1)]

    run(main())


def test_a_lock_of_postgres_ends_with_the_timeout(run: Run, on_postgres: dict[str, Any]) -> None:
    where = on_postgres
    schema, url = where["catalog"]["schema"], where["catalog"]["url"]

    async def main() -> None:
        async with aio.open(**where, lock_timeout=LONG) as lake:
            await lake.store("a", 1)
            await lake.store("b", 1)
            other = psycopg.connect(url)
            other.execute(f'SELECT * FROM "{schema}"."entry" FOR UPDATE'.encode())  # noqa: S608
            both = [{"key": "a", "value": 2}, {"key": "b", "value": 2}]
            calls = [lake.store("a", 2), lake.delete("a"), lake.update({"a": 2})]
            calls += [lake.store_batch(both), transact(lake, "m", "a")]
            calls += [lake.store("b", n) for n in range(2, 7)]
            with in_time():
                ended = await asyncio.gather(*map(within, calls), return_exceptions=True)
            for done in ended:
                assert isinstance(done, TimeoutError), done
                assert not isinstance(done, LakebedError)
            other.close()
            found = dict(await lake.items())
            assert found["a"] == found["b"] == 1
            # No connection is lost: all ten of the pool can be had at once.
            async with asyncio.timeout(20):
                await asyncio.gather(*(lake.store(f"k{n}", n) for n in range(40)))

    run(main())


def test_snapshots_wait_no_longer_than_their_caller(run: Run, on_postgres: dict[str, Any]) -> None:
    """A snapshot asks for the lake's lock again and again, while a writer holds it."""
    where = on_postgres
    url = where["catalog"]["url"]

    async def main() -> None:
        async with aio.open(**where, lock_timeout=LONG) as lake:
            await lake.store("a", 1)
            begin = lake._lake._catalog._executor._begin_write
            other = psycopg.connect(url, autocommit=True)
            other.execute(begin.format("1s").encode(), prepare=False)
            with in_time(), pytest.raises(TimeoutError):
                await within(lake.create_snapshot("s"))
            other.close()
            assert await lake.snapshots() == []

    run(main())
