"""What a query may take: time, memory, room on the disk; and how the one who waits can leave."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest

import lakebed
from lakebed.duckdb import limits
from lakebed.duckdb.limits import Attended
from lakebed.errors import QueryError, ValidationError
from lakebed.lake.sql import engine as query_engine
from lakebed.lake.sql import rows as query_rows

COUNT = 20_000

ENDLESS = "SELECT sum(a.i * b.i) FROM range(10000000000) a(i), range(1000) b(i)"
STREAM = "SELECT i FROM range(100000000000) t(i) WHERE i % 101 = 5"
FETCHES: dict[str, Callable[[Any], object]] = {
    "fetchall": lambda result: result.fetchall(),
    "iterating": list,
    "arrow": lambda result: result.arrow(),
    "batches": lambda result: result.batches().read_all(),
    "df": lambda result: result.df(),
    "pl": lambda result: result.pl(),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("limits")
    with lakebed.open(folder / "lake") as lake:
        lake.store_batch({"key": f"{n:05}", "value": n} for n in range(COUNT))
        lake.store_batch({"key": f"p/{n}", "value": "y" * 5000} for n in range(1000))
    return folder


@pytest.fixture
def lake(folder: Path) -> Iterator[lakebed.Lake]:
    with lakebed.open(folder / "lake") as lake:
        yield lake


class Clock:
    """The time that queries are measured by."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(limits, "_now", clock)
    return clock


class Cancelled(Exception):
    """Raised in a thread from outside, as by a framework that gives up a request."""


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Is set once a call of DuckDB runs that others wait for."""
    event = threading.Event()
    run: Callable[..., object] = Attended.run

    def noted(attended: Attended, connection: Any, call: Callable[[], object], left: Any) -> object:
        def begun() -> object:
            event.set()
            return call()

        return run(attended, connection, begun, left)

    monkeypatch.setattr(Attended, "run", noted)
    return event


def is_usable(lake: lakebed.Lake) -> bool:
    return lake.sql("SELECT count(*) FROM entries").fetchall() == [(COUNT + 1000,)]


def let_pass(clock: Clock, running: threading.Event, seconds: float) -> None:
    """Let time pass once a call of DuckDB runs."""

    def wait() -> None:
        running.wait()
        clock.seconds += seconds

    running.clear()
    threading.Thread(target=wait).start()


@contextmanager
def passing(clock: Clock, running: threading.Event, seconds: float) -> Iterator[None]:
    """Let time pass whenever a call of DuckDB runs: the time between two calls does not count, and
    some fetches are many short calls."""
    over = threading.Event()

    def pass_on() -> None:
        while not over.is_set():
            running.wait()
            running.clear()
            clock.seconds += seconds

    running.clear()
    thread = threading.Thread(target=pass_on)
    thread.start()
    try:
        yield
    finally:
        over.set()
        running.set()
        thread.join()


def test_a_time_limit(lake: lakebed.Lake, clock: Clock, running: threading.Event) -> None:
    lake.query_settings(timeout=2.5)
    let_pass(clock, running, 2.5)
    with pytest.raises(QueryError, match=r"ended after 2\.5 seconds.*timeout="):
        lake.sql(ENDLESS)
    assert is_usable(lake)


@pytest.mark.parametrize("how", ["raw_sql", "execute", "to_pyarrow"])
def test_a_time_limit_of_ibis(lake: lakebed.Lake, how: str) -> None:
    """Of statements that take no room and would go on for hours."""
    endless = "WITH RECURSIVE t USING KEY (a) AS (SELECT 1 AS a UNION SELECT a FROM t) FROM t"
    product = "SELECT sum(a.range + b.range)::BIGINT AS a FROM range(9999999) a, range(9999999) b"
    lake.query_settings(timeout=0.2)
    backend = lake.ibis()
    expression = backend.sql(product, schema={"a": "int64"})
    with pytest.raises(QueryError, match=r"ended after 0\.2 seconds.*timeout="):
        getattr(backend, how)(endless if how == "raw_sql" else expression)
    assert backend.raw_sql("SELECT 1").fetchall() == [(1,)]
    assert is_usable(lake)


FEW = "SELECT range::BIGINT AS a FROM range(100000000000) WHERE range % 10000000 = 5"
"""Rows that come at once, and would go on to come for hours."""
IBIS_FETCHES: dict[str, Callable[[Any], object]] = {
    "all": lambda backend: backend.raw_sql(FEW).fetchall(),
    "table": lambda backend: backend.raw_sql(FEW).fetch_arrow_table(),
    "reader": lambda backend: backend.raw_sql(FEW).fetch_record_batch().read_all(),
    "batches": lambda backend: list(
        backend.to_pyarrow_batches(backend.sql(FEW, schema={"a": "int64"}))
    ),
}


@pytest.mark.parametrize("fetch", IBIS_FETCHES)
def test_a_time_limit_of_what_ibis_fetches(lake: lakebed.Lake, fetch: str) -> None:
    lake.query_settings(timeout=0.3)
    backend = lake.ibis()
    with pytest.raises(QueryError, match=r"ended after 0\.3 seconds.*timeout="):
        IBIS_FETCHES[fetch](backend)
    assert backend.raw_sql("SELECT 1 AS a").fetch_record_batch().read_all()["a"].to_pylist() == [1]
    assert is_usable(lake)


@pytest.mark.parametrize("fetch", FETCHES)
def test_a_time_limit_of_fetching(
    lake: lakebed.Lake, clock: Clock, running: threading.Event, fetch: str
) -> None:
    lake.query_settings(timeout=10)
    result = lake.sql(STREAM)
    assert result.fetchone() is not None
    clock.seconds += 100  # between two fetches it does not count
    assert result.fetchone() is not None
    with passing(clock, running, 10), pytest.raises(QueryError, match="timeout="):
        FETCHES[fetch](result)
    with pytest.raises(QueryError, match="closed"):
        result.fetchone()


def test_a_time_limit_of_loading(
    lake: lakebed.Lake, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are no more brought in once the time is over, nor is another who loads waited for."""
    lake.query_settings(timeout=10)
    engine = lake.query_engine()
    together = query_rows._together

    def slow(batches: Iterator[Any]) -> Iterator[Any]:
        clock.seconds += 10
        yield from together(batches)

    with monkeypatch.context() as patch:
        patch.setattr(query_rows, "_together", slow)
        with pytest.raises(QueryError, match="timeout="):
            lake.sql("SELECT count(key) FROM entries")
    held, let_go = threading.Event(), threading.Event()

    def load() -> None:
        with engine.loading():
            held.set()
            let_go.wait()

    thread = threading.Thread(target=load)
    thread.start()
    held.wait()

    def late() -> None:
        clock.seconds += 10
        raise_late()

    raise_late = limits.check
    with monkeypatch.context() as patch:
        patch.setattr(query_engine, "check", late)
        with pytest.raises(QueryError, match="timeout="):
            lake.sql("SELECT count(*) FROM entries")
    let_go.set()
    thread.join()
    assert is_usable(lake)


@pytest.mark.parametrize("timeout", [0, -1, True, "1", float("nan")])
def test_what_is_no_time_limit(lake: lakebed.Lake, timeout: Any) -> None:
    with pytest.raises(ValidationError, match="timeout is"):
        lake.query_settings(timeout=timeout)
    with pytest.raises(ValidationError, match="spill_limit is"):
        lake.query_settings(spill_limit=10)  # type: ignore[arg-type]


@pytest.mark.parametrize("query", [ENDLESS, STREAM])
def test_ctrl_c(lake: lakebed.Lake, running: threading.Event, query: str) -> None:
    def interrupt() -> None:
        running.wait()
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
    try:
        threading.Thread(target=interrupt).start()
        with pytest.raises(KeyboardInterrupt):
            lake.sql(query).fetchall()
    finally:
        signal.signal(signal.SIGINT, before)
    assert is_usable(lake)


def test_a_call_that_begins_after_it_was_given_up(
    lake: lakebed.Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupts that come before it begins are lost, so they go on until it ends."""
    run: Callable[..., object] = Attended.run
    begun, given_up, ended = threading.Event(), threading.Event(), threading.Event()
    looks = iter([lambda: None])

    def leave() -> None:
        """As Ctrl-C makes who waits, once the worker is there."""
        begun.wait()
        raise KeyboardInterrupt

    def late(attended: Attended, connection: Any, call: Callable[[], object], left: Any) -> object:
        def begins_late() -> object:
            begun.set()
            given_up.wait()
            try:
                return call()
            finally:
                ended.set()

        return run(attended, connection, begins_late, left)

    monkeypatch.setattr(limits, "_PATIENCE", 0.0)
    result = lake.sql(STREAM)
    with monkeypatch.context() as patch:
        patch.setattr(Attended, "run", late)
        patch.setattr(limits, "check", lambda: next(looks, leave)())
        with pytest.raises(KeyboardInterrupt):
            result.fetchall()
    assert not ended.is_set()
    given_up.set()
    assert ended.wait(60)
    assert is_usable(lake)


@pytest.mark.parametrize("query", [ENDLESS, STREAM])
def test_a_cancelled_thread(
    lake: lakebed.Lake, running: threading.Event, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    raised: list[BaseException] = []
    waiting, wait = threading.Event(), limits.wait

    def noted(futures: Any, seconds: float) -> Any:
        waiting.set()
        return wait(futures, seconds)

    # Before that, it may be in `Thread.start`, which turns an exception from outside into another.
    monkeypatch.setattr(limits, "wait", noted)

    def ask() -> None:
        try:
            lake.sql(query).fetchall()
        except Cancelled as error:
            raised.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    running.wait()
    waiting.wait()
    cancel = ctypes.pythonapi.PyThreadState_SetAsyncExc
    assert cancel(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(Cancelled)) == 1
    thread.join()
    assert len(raised) == 1
    assert is_usable(lake)


def test_one_long_step_is_left_to_itself(lake: lakebed.Lake) -> None:
    """DuckDB looks between two steps whether it was interrupted: nobody waits for that."""
    lake.query_settings(timeout=0.1, threads=1)
    with pytest.raises(QueryError, match="timeout="):
        lake.sql(
            "SELECT levenshtein(repeat('a', 30000 + i), repeat('b', 30000)) FROM range(1) t(i)"
        )
    attended = lake.query_engine().session._attended
    left = list(attended._left.values())
    lake.close()  # at once
    for future in left:
        with pytest.raises(duckdb.InterruptException):
            future.result()


LARGE = "SELECT list(i::VARCHAR || repeat('x', 50)) FROM range(20000000) t(i)"


@pytest.mark.parametrize("fetch", FETCHES)
def test_no_memory(lake: lakebed.Lake, fetch: str) -> None:
    lake.query_settings(memory_limit="60MB", threads=1)
    with pytest.raises(QueryError, match=r"query_settings\(memory_limit=") as caught:
        FETCHES[fetch](lake.sql(LARGE))
    assert "SET " not in str(caught.value)


@pytest.mark.parametrize("size", range(2, 14))
def test_no_memory_wherever_it_ends(lake: lakebed.Lake, size: int) -> None:
    """Reading the query, loading, placing values, running it: whatever fails of memory says so."""
    lake.query_settings(memory_limit=f"{size}MB", spill_limit="1MB", threads=1)
    query = "SELECT count(*), max(value), list(metadata) FROM documents"
    try:
        assert lake.sql(query).fetchall()
    except QueryError as error:
        assert "memory_limit" in str(error) or "cannot start" in str(error)  # noqa: PT017


def test_no_room_on_the_disk(lake: lakebed.Lake, tmp_path: Path) -> None:
    folder = tmp_path / "spill"
    folder.mkdir()
    text = "concat(md5(i || 'a'), md5(i || 'b'), md5(i || 'c'), md5(i || 'd'), md5(i || 'e'))"
    large = f"SELECT count(*) FROM (SELECT DISTINCT {text} FROM range(600000) t(i))"  # noqa: S608
    lake.query_settings(memory_limit="60MB", threads=1, temp_directory=folder, spill_limit="10MB")
    with pytest.raises(QueryError, match="spill_limit="):
        lake.sql(large)
    assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) <= 10_000_000
    lake.query_settings(memory_limit="60MB", threads=1, temp_directory=folder)
    assert lake.sql(large).fetchall() == [(600_000,)]


@pytest.mark.parametrize(("free", "shown"), [(5_000_000_000, 500_000_000), (10**13, 10**10)])
def test_what_is_spilled_is_bounded(
    lake: lakebed.Lake, monkeypatch: pytest.MonkeyPatch, free: int, shown: int
) -> None:
    usage = type("Usage", (), {"free": free})
    monkeypatch.setattr("lakebed.duckdb.session.shutil.disk_usage", lambda _: usage)
    lake.query_settings()
    wanted = duckdb.sql(f"SELECT format_bytes({shown})").fetchall()
    setting = lake.sql("SELECT current_setting('max_temp_directory_size')").fetchall()
    assert setting == wanted
