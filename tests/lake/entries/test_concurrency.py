"""Many processes and threads on one lake: no lost write, no "database is locked"."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

import lakebed
from lakebed.catalog.sqlite import connections
from lakebed.catalog.sqlite.connections import SQLiteConnections
from lakebed.catalog.statements.dialect import sql_folder
from lakebed.catalog.statements.migration import SCHEMA_VERSION
from lakebed.errors import LockTimeoutError
from lakebed.lake.lake import Lake
from tests.lake.processes import run_together, start
from tests.waiting import until, within

PROCESSES = 8

INCREMENT = """
import lakebed
from lakebed.errors import ConflictError

def increment(lake, key):
    while True:
        entry = lake.entry(key)
        try:
            if entry is None:
                lake.store(key, 1, if_absent=True)
            else:
                lake.store(key, entry.value + 1, if_match=entry.content_hash)
            return
        except ConflictError:
            continue
"""


def test_eight_writing_processes(tmp_path: Path) -> None:
    times = 40
    code = f"""
with lakebed.open(folder + "/lake") as lake:
    for n in range({times}):
        increment(lake, f"own/{{number}}")
        increment(lake, "shared")
        lake.store(f"many/{{number}}/{{n}}", "x" * (n * 500))
        with lake.transaction() as tx:
            tx.store(f"pair/{{number}}/a", n)
            tx.store(f"pair/{{number}}/b", n)
"""
    run_together(code, tmp_path, PROCESSES, before=INCREMENT)
    with lakebed.open(tmp_path / "lake") as lake:
        found = dict(lake)
        stats = lake.stats()
    assert found["shared"] == PROCESSES * times
    for number in range(PROCESSES):
        assert found[f"own/{number}"] == times
        assert found[f"pair/{number}/a"] == found[f"pair/{number}/b"] == times - 1
        assert [found[f"many/{number}/{n}"] for n in range(times)] == [
            "x" * (n * 500) for n in range(times)
        ]
    assert stats.entries == 1 + PROCESSES * (1 + times + 2)


def test_pairs_are_never_seen_torn(tmp_path: Path) -> None:
    code = """
import lakebed
with lakebed.open(folder + "/lake") as lake:
    for n in range(150):
        if number < 2:
            with lake.transaction() as tx:
                tx.store("pair/a", [number, n])
                tx.store("pair/b", [number, n])
        else:
            values = [entry.value for entry in lake.list("pair/")]
            assert not values or values[0] == values[1], values
"""
    run_together(code, tmp_path, 4)


def test_threads_in_processes(tmp_path: Path) -> None:
    code = """
from concurrent.futures import ThreadPoolExecutor
with lakebed.open(folder + "/lake") as lake:
    def work(thread):
        for _ in range(15):
            increment(lake, "shared")
            increment(lake, f"{number}/{thread}")
            assert lake.retrieve("shared") > 0
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
"""
    run_together(code, tmp_path, 3, before=INCREMENT)
    with lakebed.open(tmp_path / "lake") as lake:
        found = dict(lake)
    assert found.pop("shared") == 3 * 4 * 15
    assert found == {f"{number}/{thread}": 15 for number in range(3) for thread in range(4)}


@pytest.mark.parametrize("where", ["file", ":memory:"])
def test_threads(tmp_path: Path, where: str) -> None:
    with lakebed.open(tmp_path / "lake" if where == "file" else where) as lake:

        def work(thread: int) -> None:
            for n in range(50):
                lake.store(f"{thread}/{n}", "x" * n * 200)
                assert lake[f"{thread}/{n}"] == "x" * n * 200
                if n % 2:
                    lake.delete(f"{thread}/{n}")
                lake.setdefault("once", thread)
            assert len(list(lake.list(f"{thread}/"))) == 25

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
        assert len(lake) == 8 * 25 + 1


def test_connections_of_ended_threads_are_closed(tmp_path: Path) -> None:
    with lakebed.open(tmp_path / "lake") as lake:
        lake.store("a", 1)
        before = _open_files(tmp_path)
        for _ in range(20):
            thread = threading.Thread(target=lake.retrieve, args=("a",))
            thread.start()
            thread.join()
        assert _open_files(tmp_path) <= before + 3  # the last thread's may await its collection
    assert _open_files(tmp_path) == 0


def _open_files(folder: Path) -> int:
    links = Path("/proc/self/fd").iterdir()
    return sum(str(link.readlink()).startswith(str(folder)) for link in links if link.is_symlink())


def test_many_processes_make_one_lake(tmp_path: Path) -> None:
    code = """
with lakebed.open(folder + "/lake") as lake:
    lake.store(f"{number}", number)
    rows = lake._catalog._executor.fetch("SELECT value FROM lakebed_meta WHERE name='lake_id'", {})
    print(rows[0][0])
"""
    for attempt in range(3):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        ids = run_together(code, folder, PROCESSES, before="import lakebed")
        assert len(set(ids)) == 1
        with lakebed.open(folder / "lake") as lake:
            assert dict(lake) == {str(number): number for number in range(PROCESSES)}


def test_many_processes_migrate_one_lake(tmp_path: Path) -> None:
    """A migration that would fail if it ran twice."""
    with lakebed.open(tmp_path / "lake") as lake:
        lake.store("a", 1)
    newer = shutil.copytree(sql_folder(), tmp_path / "sql")
    folder = newer / "sqlite" / "migrations"
    folder.mkdir(exist_ok=True)
    (folder / f"{SCHEMA_VERSION + 1:04}_test.sql").write_text(
        "CREATE TABLE added (n INTEGER);\nINSERT INTO added VALUES (1);\n"
        "UPDATE entry SET metadata = '{\"migrated\":true}' WHERE key = 'a';\n"
    )
    before = """
import sys, lakebed
from lakebed.catalog.statements import dialect, migration
migration.SCHEMA_VERSION += 1
dialect.sql_folder = lambda: sys.argv[1] + "/sql"
"""
    code = """
with lakebed.open(folder + "/lake") as lake:
    assert lake.entry("a").metadata == {"migrated": True}
    lake.store(f"{number}", number)
"""
    run_together(code, tmp_path, PROCESSES, before=before)
    with closing(sqlite3.connect(tmp_path / "lake" / "catalog.db")) as db:
        assert db.execute("SELECT * FROM added").fetchall() == [(1,)]
        assert db.execute("SELECT count(*) FROM entry").fetchone() == (1 + PROCESSES,)
        version = "SELECT value FROM lakebed_meta WHERE name = 'schema_version'"
        assert db.execute(version).fetchone() == (SCHEMA_VERSION + 1,)


LIMIT = 1.0
WRITES: dict[str, Callable[[Lake], object]] = {
    "store": lambda lake: lake.store("a", 2),
    "large": lambda lake: lake.store("a", "x" * 10_000),
    "delete": lambda lake: lake.delete("a"),
    "cleanup": lambda lake: lake.cleanup_expired(),
    "transaction": lambda lake: _in_transaction(lake),
    "batch": lambda lake: lake.store_batch([{"key": "a", "value": 2}]),
}


def _in_transaction(lake: Lake) -> None:
    with lake.transaction() as tx:
        tx.store("a", 2)
        tx.store("b", "x" * 10_000)


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Lake]:
    """A lake whose write lock another connection holds."""
    with lakebed.open(tmp_path / "lake", lock_timeout=LIMIT) as lake:
        lake.store("a", 1, ttl=1e-6)
        lake.store("a", 1)
        lake.store("old", 1, ttl=1e-6)
        with closing(sqlite3.connect(tmp_path / "lake" / "catalog.db")) as other:
            other.execute("BEGIN IMMEDIATE")
            yield lake


@pytest.mark.parametrize("name", WRITES)
def test_lock_timeout(locked: Lake, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    passed = [0.0]

    def sleep(seconds: float) -> None:
        passed[0] += seconds

    clock = SimpleNamespace(monotonic=lambda: passed[0], sleep=sleep)
    monkeypatch.setattr(connections, "time", clock)
    with pytest.raises(LockTimeoutError, match=r"\b1 seconds") as caught:
        WRITES[name](locked)
    assert passed[0] == pytest.approx(LIMIT)
    assert caught.value.error_type == "lock_timeout"
    assert isinstance(caught.value, TimeoutError)
    assert dict(locked) == {"a": 1}


def test_lock_timeout_of_threads(locked: Lake) -> None:
    """Threads queue for the lock of their process first: that counts as well."""

    def write(number: int) -> float:
        start = time.monotonic()
        with pytest.raises(LockTimeoutError):
            locked.store(f"{number}", 1)
        return time.monotonic() - start

    with ThreadPoolExecutor(4) as pool:
        waits = list(pool.map(write, range(4)))
    assert max(waits) < 3 * LIMIT  # one after another they would take four times as long


def test_reads_do_not_wait(tmp_path: Path) -> None:
    with lakebed.open(tmp_path / "lake", lock_timeout=120) as lake:
        lake.store("a", 1)
        with closing(sqlite3.connect(tmp_path / "lake" / "catalog.db")) as other:
            other.execute("BEGIN IMMEDIATE")
            assert lake["a"] == 1
            assert [e.key for e in lake.list(metadata_filter={"x": {"$exists": False}})] == ["a"]
            assert lake.stats().entries == 1


def test_a_filter_does_not_wait_for_the_index(tmp_path: Path) -> None:
    with lakebed.open(tmp_path / "lake", lock_timeout=120) as lake:
        lake.store_batch({"key": f"{n}", "value": n, "metadata": {"n": n}} for n in range(2_000))
        with closing(sqlite3.connect(tmp_path / "lake" / "catalog.db")) as other:
            other.execute("BEGIN IMMEDIATE")
            assert [e.key for e in lake.list(metadata_filter={"n": 7})] == ["7"]
        assert [e.key for e in lake.list(metadata_filter={"n": 7})] == ["7"]


def test_no_wait_at_all(tmp_path: Path) -> None:
    with lakebed.open(tmp_path / "lake", lock_timeout=0) as lake:
        lake.store("a", 1)
        with closing(sqlite3.connect(tmp_path / "lake" / "catalog.db")) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(LockTimeoutError):
                lake.store("a", 2)
        lake.store("a", 3)
        assert lake["a"] == 3


def test_a_write_goes_on_when_the_lock_is_free(tmp_path: Path) -> None:
    with lakebed.open(tmp_path / "lake", lock_timeout=30) as lake:
        lake.store("a", 1)
        with (
            closing(sqlite3.connect(tmp_path / "lake" / "catalog.db")) as other,
            ThreadPoolExecutor(4) as pool,
        ):
            other.execute("BEGIN IMMEDIATE")
            writes = [pool.submit(lake.store, f"{n}", n) for n in range(4)]
            until(lambda: within(SQLiteConnections._wait))
            assert not any(write.done() for write in writes)
            other.execute("ROLLBACK")
            assert all(write.result(timeout=30).created for write in writes)
        assert len(lake) == 5


def test_waiting_for_the_lock_can_be_interrupted(tmp_path: Path) -> None:
    code = """
import sys, threading, lakebed
from lakebed.catalog.sqlite.connections import SQLiteConnections
from tests.waiting import until, within

def tell():
    until(lambda: within(SQLiteConnections._wait))
    print("waits", flush=True)

with lakebed.open(sys.argv[1], lock_timeout=600) as lake:
    threading.Thread(target=tell, daemon=True).start()
    lake.store("a", 2)
"""
    lakebed.open(tmp_path / "lake").close()
    with closing(sqlite3.connect(tmp_path / "lake" / "catalog.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        waiting = start(code, tmp_path / "lake")
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == "waits\n"
        waiting.send_signal(signal.SIGINT)
        _, said = waiting.communicate(timeout=60)
    assert said.rstrip().endswith("KeyboardInterrupt")


HOLDER = """
import fcntl, os, sys
with open(sys.argv[1] + "-shm", "r+b") as shared:
    fcntl.lockf(shared, fcntl.LOCK_EX, 1, 120)  # who writes
    fcntl.lockf(shared, fcntl.LOCK_EX, 1, 122)  # who recovers
    os.pwrite(shared.fileno(), bytes(96), 0)
    print("recovers", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("read", ["fetch", "transaction"])
def test_reads_wait_for_a_recovery(tmp_path: Path, read: str) -> None:
    """Another process recovers the log, as one does that finds it left by a killed one."""
    with lakebed.open(tmp_path / "lake", lock_timeout=60) as lake, ThreadPoolExecutor(1) as pool:
        lake.store("a", 1)
        executor = cast(Any, lake._catalog)._executor

        def look() -> int:
            if read == "fetch":
                return int(executor.fetch("SELECT count(*) FROM entry", {})[0][0])
            with executor.reading(lambda tx: tx) as tx:
                return int(tx.all("SELECT count(*) FROM entry", {})[0][0])

        assert pool.submit(look).result() == 1
        holder = start(HOLDER, tmp_path / "lake" / "catalog.db")
        assert holder.stdout is not None
        assert holder.stdout.readline() == "recovers\n"
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            executor._wait(executor.connection(), "SELECT count(*) FROM entry", {}, 0)
        looking = pool.submit(look)
        until(lambda: within(SQLiteConnections._wait))
        assert not looking.done()
        holder.communicate()
        assert looking.result(timeout=60) == 1


def test_closing_while_others_work(tmp_path: Path) -> None:
    """They finish or hear that the lake is closed; nothing else."""
    lake = lakebed.open(tmp_path / "lake")
    acknowledged = [0] * 4

    def work(thread: int) -> str:
        try:
            while True:
                lake.store(f"{thread}", acknowledged[thread] + 1)
                acknowledged[thread] += 1
                assert lake.retrieve(f"{thread}") == acknowledged[thread]
                list(lake.list())
        except lakebed.LakebedError as error:
            return str(error)

    with ThreadPoolExecutor(4) as pool:
        working = pool.map(work, range(4))
        while min(acknowledged) < 5:
            time.sleep(0.001)
        lake.close()
        assert set(working) == {"the lake is closed"}
    with lakebed.open(tmp_path / "lake") as lake:
        assert dict(lake) == {f"{thread}": n for thread, n in enumerate(acknowledged)}
