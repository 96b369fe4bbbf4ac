"""Threads that write at once share a transaction, and nothing else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from lakebed.catalog.sqlite.executor import SQLiteExecutor
from lakebed.catalog.sqlite.transaction import SQLiteTransaction
from lakebed.errors import CatalogError, ConflictError, LockTimeoutError, ValidationError

Work = Callable[[SQLiteTransaction], Any]
OTHERS = 7


class Traced(SQLiteExecutor):
    """Counts the transactions that were committed."""

    commits = 0

    def _make_connection(self) -> Any:
        connection = super()._make_connection()
        connection.set_trace_callback(self._trace)
        return connection

    def _trace(self, sql: str) -> None:
        self.commits += sql == "COMMIT"


@pytest.fixture(params=["file", "memory"])
def executor(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Traced]:
    path = tmp_path / "catalog.db" if request.param == "file" else None
    executor = Traced(path, lock_timeout=20)
    executor.transact(lambda tx: tx.script("CREATE TABLE numbers (number INTEGER PRIMARY KEY);"))
    yield executor
    executor.close()


def add(number: int, error: BaseException | None = None) -> Work:
    def work(tx: SQLiteTransaction) -> int:
        tx.run("INSERT INTO numbers VALUES (:number)", {"number": number})
        if error is not None:
            raise error
        return number

    return work


def numbers(executor: SQLiteExecutor) -> list[int]:
    return [n for (n,) in executor.fetch("SELECT number FROM numbers ORDER BY 1", {})]


def queue(executor: SQLiteExecutor, works: list[Work]) -> list[Future[Any]]:
    """Commit the works from a thread each, all queued while somebody else writes."""
    pool = ThreadPoolExecutor(len(works))
    with executor._write(20):
        futures = []
        for count, work in enumerate(works, 1):
            futures.append(pool.submit(executor.transact, work, brief=True))
            while len(executor._grouping._jobs) < count:
                time.sleep(0.001)
    pool.shutdown()
    return futures


def test_queued_work_shares_a_transaction(executor: Traced) -> None:
    before = executor.commits
    futures = queue(executor, [add(n) for n in range(OTHERS)])
    assert [future.result() for future in futures] == list(range(OTHERS))
    assert numbers(executor) == list(range(OTHERS))
    assert executor.commits - before == 2  # theirs, and the one that they waited for


def test_who_is_alone_has_its_own(executor: Traced) -> None:
    before = executor.commits
    assert executor.transact(add(1), brief=True) == 1
    assert executor.commits - before == 1


def test_a_conflict_concerns_nobody_else(executor: Traced) -> None:
    works = [add(n, ConflictError("no") if n in (0, 3) else None) for n in range(OTHERS)]
    futures = queue(executor, works)
    for n, future in enumerate(futures):
        if n in (0, 3):
            with pytest.raises(ConflictError, match="no"):
                future.result()
        else:
            assert future.result() == n
    assert numbers(executor) == [1, 2, 4, 5, 6]


def test_a_failing_transaction_is_tried_job_by_job(executor: Traced) -> None:
    def broken(tx: SQLiteTransaction) -> None:
        tx.run("INSERT INTO nowhere VALUES (1)", {})

    works: list[Work] = [add(0), add(1), broken, add(3), add(1)]
    futures = queue(executor, works)
    assert [futures[n].result() for n in (0, 1, 3)] == [0, 1, 3]
    for n, error in ((2, CatalogError), (4, ValidationError)):
        with pytest.raises(error):
            futures[n].result()
    assert numbers(executor) == [0, 1, 3]


@pytest.mark.parametrize("culprit", [0, 2])
def test_an_interrupted_leader_leaves_the_others_their_turn(executor: Traced, culprit: int) -> None:
    interrupted = threading.Event()

    def once(tx: SQLiteTransaction) -> int:
        add(culprit)(tx)
        if not interrupted.is_set():
            interrupted.set()
            raise KeyboardInterrupt
        return culprit

    works = [once if n == culprit else add(n) for n in range(4)]
    futures = queue(executor, works)
    assert isinstance(futures[0].exception(), KeyboardInterrupt)  # it hit who led: the first
    assert [future.result() for future in futures[1:]] == [1, 2, 3]
    assert numbers(executor) == [1, 2, 3]
    assert executor.transact(add(9), brief=True) == 9


def test_waiting_ends_and_leaves_nothing_behind(executor: Traced) -> None:
    executor._lock_timeout = executor._grouping._timeout = 0.1
    pool = ThreadPoolExecutor(3)
    with executor._write(20):
        futures = [pool.submit(executor.transact, add(n), brief=True) for n in range(3)]
        for future in futures:
            with pytest.raises(LockTimeoutError):
                future.result()
    assert numbers(executor) == []
    assert executor.transact(add(9), brief=True) == 9
    assert numbers(executor) == [9]
    pool.shutdown()


def test_many_threads_lose_nothing(executor: Traced) -> None:
    each = 100

    def work(first: int) -> list[int]:
        return [executor.transact(add(first + n), brief=True) for n in range(each)]

    with ThreadPoolExecutor(OTHERS) as pool:
        done = list(pool.map(work, range(0, OTHERS * each, each)))
    assert sorted(chain.from_iterable(done)) == numbers(executor) == list(range(OTHERS * each))
    assert not executor._grouping.busy
