"""Postgres over a network that fails, and behind a failover."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import lakebed
from lakebed.catalog.postgres.catalog import PostgresCommit
from lakebed.catalog.scan import Scan
from lakebed.catalog.statements.executor import Transaction
from lakebed.errors import ConnectError, LakebedError, StorageError
from lakebed.lake.lake import Lake
from lakebed.model import EntryRow
from tests.catalog import load
from tests.catalog.postgres.schemas import options
from tests.proxy import FaultyProxy, faulty_proxy
from tests.servers import PASSWORD, PostgresServer
from tests.waiting import PATIENCE, in_time


@pytest.fixture
def proxy(postgres_18: PostgresServer) -> Iterator[FaultyProxy]:
    with faulty_proxy(postgres_18.port) as opened:
        yield opened


def through(proxy: FaultyProxy, **others: Any) -> dict[str, Any]:
    return options(f"postgresql://postgres:{PASSWORD}@127.0.0.1:{proxy.port}/postgres", **others)


def run_load(lake: Lake, seconds: float, meanwhile: Callable[[], None]) -> list[list[Any]]:
    """Four threads of mixed load, and something that happens to them."""
    workers = [load.Worker(lake, str(n), seconds, faults=True) for n in range(4)]
    with ThreadPoolExecutor(5) as pool:
        running = [pool.submit(worker.run) for worker in workers]
        meanwhile()
        for future in running:
            future.result(120)
    return [[w.expected, w.snapshots, w.counts, w.errors] for w in workers]


def test_a_network_that_fails(
    postgres_18: PostgresServer, proxy: FaultyProxy, tmp_path: Path, soak: bool
) -> None:
    """Delayed, cut and half-closed at any moment: only documented errors, and nothing is lost."""
    catalog = through(proxy, max_size=4, timeout=10, statement_timeout=5)
    storage = str(tmp_path / "storage")
    rounds = 200 if soak else 15

    def fail() -> None:
        for number in range(rounds):
            time.sleep(0.35)
            proxy.delay = 0.02 if number % 3 == 0 else 0
            (proxy.cut if number % 2 else proxy.half_close)()
        proxy.delay = 0

    with lakebed.open(catalog=catalog, storage=storage, inline_threshold=1000) as lake:
        known = run_load(lake, rounds * 0.4, fail)
    direct = {**catalog, "url": postgres_18.url()}
    with lakebed.open(catalog=direct, storage=storage) as lake:
        load.check(lake, known)


@pytest.mark.parametrize("single", [True, False])
def test_the_answer_to_a_commit_is_lost(
    postgres_18: PostgresServer, proxy: FaultyProxy, single: bool
) -> None:
    """The commit happened, its answer never came: settled, neither repeated nor reported failed."""
    catalog = through(proxy, max_size=2, timeout=10)
    with lakebed.open(catalog=catalog) as lake:
        lake.store("k", 0)
        with lakebed.open(catalog={**catalog, "url": postgres_18.url()}) as other:
            for number in range(1, 6):
                proxy.lose_answers = True
                cutter = threading.Thread(
                    target=_cut_when_stored, args=(proxy, other, f"k{number}")
                )
                cutter.start()
                if single:
                    entry = lake.store(f"k{number}", number, {"n": number}, if_absent=True)
                    assert entry.created
                    assert entry.changed
                    found = other.entry(f"k{number}")
                    assert found is not None
                    assert {n: entry[n] for n in found} == dict(found)
                else:
                    with lake.transaction() as tx:
                        tx.store(f"k{number}", number, if_absent=True)
                        tx.store(f"other{number}", number, if_absent=True)
                cutter.join()
                assert lake[f"k{number}"] == number


def _cut_when_stored(proxy: FaultyProxy, other: Lake, key: str) -> None:
    deadline = time.monotonic() + 5
    while key not in other and time.monotonic() < deadline:
        time.sleep(0.005)
    proxy.lose_answers = False
    proxy.cut()


def test_a_request_that_never_arrives(proxy: FaultyProxy) -> None:
    """What swallows everything and stays silent is found out in time, and nothing has happened."""
    catalog = through(proxy, max_size=1)
    lakebed.open(catalog=catalog).close()  # making the tables may take longer
    catalog |= {"timeout": 2, "statement_timeout": 1}
    with lakebed.open(catalog=catalog, lock_timeout=1) as lake:
        lake.store("k", 0)
        proxy.swallow = True
        with in_time(30), pytest.raises(ConnectError) as caught:
            lake.retrieve("k")
        assert PASSWORD not in str(caught.value)
        proxy.swallow = False
        proxy.cut()
        start = time.monotonic()
        while time.monotonic() - start < PATIENCE:
            try:
                assert lake["k"] == 0
                return
            except ConnectError:  # the pool pauses between its attempts
                continue
        pytest.fail("the client has not recovered")


def test_the_connection_goes_when_all_rows_are_read(proxy: FaultyProxy) -> None:
    """Nothing is left open behind the error (pytest makes a failure of a ResourceWarning)."""

    def read(lake: Lake) -> None:
        executor = lake._catalog._executor  # type: ignore[attr-defined]
        with executor._read() as tx:
            rows = tx.each("SELECT n FROM generate_series(1, 2) n", {})
            assert [next(rows), next(rows)] == [(1,), (2,)]
            proxy.cut()
            next(rows, None)

    with lakebed.open(catalog=through(proxy, max_size=1)) as lake, pytest.raises(ConnectError):
        read(lake)


@contextmanager
def replica_of(primary: PostgresServer) -> Iterator[PostgresServer]:
    """A streaming replica, which confirms every commit of the primary."""
    folder = primary.folder / "replica"
    primary.run(
        "pg_basebackup", "--pgdata", str(folder / "data"), "--write-recovery-conf",
        "--host", str(primary.folder), "--port", str(primary.port), "--username", "postgres",
        "--checkpoint", "fast",
    )  # fmt: skip
    replica = PostgresServer(primary.binaries, folder, hot_standby="on")
    replica.start()
    primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
    primary.execute("SELECT pg_reload_conf()")
    try:
        yield replica
    finally:
        replica.stop()


def test_reading_all_at_once(proxy: FaultyProxy) -> None:
    """A listing as Arrow and a query read by COPY, which fails and waits like other statements."""
    catalog = through(proxy, timeout=2, statement_timeout=2)
    count = "SELECT count(*) FROM entries"
    with lakebed.open(catalog=catalog, lock_timeout=1) as lake:
        lake.store_batch({"key": str(n), "value": n} for n in range(1500))
        assert lake.list().to_arrow().num_rows == 1500
        for read in (lambda: lake.list().to_arrow().num_rows, lambda: lake.sql(count).fetchone()):
            proxy.cut()
            assert read() in (1500, (1500,))
        with in_time(30), pytest.raises(ConnectError):
            _scan_while_swallowed(lake, proxy)
        proxy.swallow = False
        proxy.close()
        with pytest.raises(ConnectError, match="no connection"):
            lake.sql(count)


def _scan_while_swallowed(lake: Lake, proxy: FaultyProxy) -> None:
    wanted = Scan("entries")
    with lake._catalog.scan([wanted]) as scan:
        proxy.swallow = True
        assert not list(scan.rows(wanted))


def test_failover(private_postgres: PostgresServer, tmp_path: Path) -> None:
    """The primary dies, its replica is promoted: clients that name both go on by themselves."""
    primary = private_postgres
    with replica_of(primary) as replica:
        url = (
            f"postgresql://postgres@/postgres?host={primary.folder},{replica.folder}"
            f"&port={primary.port},{replica.port}&target_session_attrs=read-write"
        )
        catalog = options(url, timeout=30)

        def fail() -> None:
            time.sleep(2)
            primary.kill()
            time.sleep(0.5)
            replica.execute("SELECT pg_promote()")

        storage = str(tmp_path / "storage")
        with lakebed.open(catalog=catalog, storage=storage, inline_threshold=1000) as lake:
            known = run_load(lake, 8, fail)
            load.check(lake, known)


def test_a_server_that_is_read_only(private_postgres: PostgresServer) -> None:
    """A replica: reads work, writes wait for its promotion, and say so if it does not come."""
    primary = private_postgres
    catalog = options(primary.url())
    with lakebed.open(catalog=catalog) as lake, replica_of(primary) as replica:
        lake.store("k", 1)
        there = {**catalog, "url": replica.url(), "timeout": 3}
        with lakebed.open(catalog=there) as reader:
            deadline = time.monotonic() + 60
            while "k" not in reader:  # confirmed means received, not yet shown
                assert time.monotonic() < deadline, replica.log()
                time.sleep(0.01)
            assert reader["k"] == 1
            with pytest.raises(StorageError, match="read-only"):
                reader.store("k", 2)
        with lakebed.open(catalog={**there, "timeout": 30}) as writer:
            promotion = threading.Timer(1, replica.execute, ["SELECT pg_promote()"])
            promotion.start()
            writer.store("k", 2)
            promotion.join()
            assert writer["k"] == 2


def test_nothing_shows_the_password(proxy: FaultyProxy) -> None:
    with lakebed.open(catalog=through(proxy, timeout=3)) as lake:
        shown = [repr(lake), lake.name]
        proxy.close()
        try:
            lake.retrieve("k")
        except LakebedError as error:
            shown += [repr(error), str(error), repr(error.__cause__)]
    assert len(shown) == 5
    assert not re.search(PASSWORD, " ".join(shown))


def test_an_entry_that_appears_while_its_expiry_is_to_be_kept(
    postgres_18: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There was no row to lock, so somebody else may make it in between."""
    at = options(postgres_18.url(), max_size=2)
    with lakebed.open(catalog=at) as lake, lakebed.open(catalog=at) as other:
        look, appeared = PostgresCommit._locked, []

        def late(self: PostgresCommit, key: str) -> EntryRow | None:
            found = look(self, key)
            if not appeared:
                appeared.append(other.store("k", 1, ttl=600))
            return found

        monkeypatch.setattr(PostgresCommit, "_locked", late)
        entry = lake.store("k", 2, keep_expiry=True)
        assert not entry.created
        assert entry.expires_at == appeared[0].expires_at
        assert other["k"] == 2


def test_nothing_is_repeated_inside_a_transaction(
    postgres_18: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connection stays dead, so only the whole can be repeated."""
    with lakebed.open(catalog=options(postgres_18.url(), max_size=2)) as lake:
        executor = lake._catalog._executor  # type: ignore[attr-defined]
        fetch, asked = executor._fetch, []
        monkeypatch.setattr(executor, "_fetch", lambda *args: (asked.append(1), fetch(*args))[1])
        attempts: list[int] = []

        def work(tx: Transaction) -> int:
            ((own,),) = tx.all("SELECT pg_backend_pid()", {})
            attempts.append(own)
            if len(attempts) == 1:
                postgres_18.execute(f"SELECT pg_terminate_backend({own})")
            ((found,),) = executor.fetch("SELECT pg_backend_pid()", {})
            return int(found)

        assert executor.transact(work) == attempts[1]
        assert len(asked) == len(attempts) == 2
