"""The time limit of a query, and a way to stop waiting for a query that does not end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TypeVar

import duckdb

from lakebed.errors import QueryError
from lakebed.leaving import has_left

_LOOK = 0.1  # seconds between two checks of a running query
_PATIENCE = 0.5  # seconds that an interrupted query gets to end before it is abandoned
_AGAIN = 0.02  # seconds between two interrupts; an interrupt before the query begins is lost
_WORKERS = 256

_now = time.monotonic

T = TypeVar("T")


class Allowance:
    """The time limit of a query, in seconds. None means no limit. The time between two fetches does
    not count."""

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._left = seconds
        self._until: float | None = None

    @contextmanager
    def spending(self) -> Iterator[None]:
        """Open a block whose time counts. `check` compares it with the limit."""
        if self._left is None or self._until is not None:
            yield
            return
        self._until = _now() + self._left
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)
            self._left = max(0.0, self._until - _now())
            self._until = None

    def check(self) -> None:
        """Raise QueryError once the time is spent."""
        if self._until is not None and _now() >= self._until:
            assert self._seconds is not None
            raise ended(self._seconds)


def ended(seconds: float) -> QueryError:
    """Return the error of a query that was ended by its time limit."""
    return QueryError(
        f"the query was ended after {seconds:g} seconds: give it more time with "
        "query_settings(timeout=…)"
    )


_current: ContextVar[Allowance | None] = ContextVar("allowance", default=None)


def check() -> None:
    """Raise QueryError if the query that this thread works for has used up its time, or if its
    caller has left."""
    if has_left():
        raise QueryError("the query was ended because its caller has left")
    allowance = _current.get()
    if allowance is not None:
        allowance.check()


class Attended:
    """Runs calls of DuckDB in worker threads, so that the caller can stop waiting: at a time limit,
    on Ctrl-C, or if an exception is raised in its thread from outside.

    In the caller's thread, DuckDB would turn Ctrl-C into its own error, or not notice it at all.
    """

    def __init__(self) -> None:
        self._workers = ThreadPoolExecutor(_WORKERS, thread_name_prefix="lakebed-query")
        self._left: dict[duckdb.DuckDBPyConnection, Future[object]] = {}

    def run(
        self,
        connection: duckdb.DuckDBPyConnection,
        call: Callable[[], T],
        left: Callable[[], object],
    ) -> T:
        """Return the result of a call that uses the connection. If the caller stops waiting, the
        call is interrupted, and `left` is called."""
        future = Future[T]()  # created before the call begins, because Ctrl-C may come at any time
        try:
            check()  # many calls that each end before the next check may use up the time together
            self._workers.submit(_fulfil, future, call)
            while not wait([future], _LOOK).done:
                check()
        except BaseException:
            self._stop(connection, future)
            left()
            raise
        return future.result()

    def _stop(self, connection: duckdb.DuckDBPyConnection, future: Future[T]) -> None:
        if future.cancel():  # it had not begun
            return
        until = time.monotonic() + _PATIENCE
        while not future.done() and time.monotonic() < until:
            connection.interrupt()
            wait([future], _AGAIN)
        if not future.done():  # it is in one long step, or it had not begun when we interrupted
            self._left[connection] = future  # type: ignore[assignment]
            self._workers.submit(_interrupt, connection, future)

    def close(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Close a connection. If an abandoned call still uses it, close it when that has ended."""
        future = self._left.get(connection)
        if future is None:
            connection.close()
        else:
            future.add_done_callback(lambda _: self._close_left(connection))

    def _close_left(self, connection: duckdb.DuckDBPyConnection) -> None:
        del self._left[connection]
        connection.close()

    def end(self, close: Callable[[], object]) -> None:
        """Accept no more calls, and call `close` once all abandoned calls have ended."""
        left = list(self._left.values())
        if left:
            self._workers.submit(lambda: (wait(left), close()))
        else:
            close()
        self._workers.shutdown(wait=False)


def _interrupt(connection: duckdb.DuckDBPyConnection, future: Future[T]) -> None:
    """Interrupt a call until it ends. Otherwise a call that nobody waits for could take more and
    more memory."""
    while not wait([future], _LOOK).done:
        with suppress(duckdb.ConnectionException):  # closed, because the call has just ended
            connection.interrupt()


def _fulfil(future: Future[T], call: Callable[[], T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001 - raised in the thread that waits for it
        future.set_exception(error)
    else:
        future.set_result(result)
