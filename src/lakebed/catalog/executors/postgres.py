"""Postgres through psycopg: a pool of connections, several writers at once."""

from __future__ import annotations

import os
import random
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from lakebed.catalog.executors.base import Params, Row
from lakebed.catalog.executors.hiding import Mask
from lakebed.catalog.executors.postgres_errors import (
    EXHAUSTED,
    is_broken,
    is_repeatable,
    is_retired,
)
from lakebed.catalog.executors.postgres_server import Server
from lakebed.catalog.executors.postgres_transaction import (
    NOW,
    PostgresTransaction,
    convert,
    leave,
)
from lakebed.catalog.executors.postgres_writers import Writer, Writers
from lakebed.catalog.queries import load_queries, quoted
from lakebed.clock import Clock
from lakebed.errors import (
    CatalogError,
    ConnectError,
    LakebedError,
)

if TYPE_CHECKING:
    import psycopg
    from psycopg import Connection
    from psycopg_pool import ConnectionPool

    from lakebed.catalog.executors.postgres_connection import Watch, WatchedConnection

T = TypeVar("T")
_BRIEFLY = "50ms"  # how long a snapshot's request for the lock may hold up new writers
_GRACE = 2.0  # seconds that a server may take to say that a timeout has passed
_IDLE = "'60s'"  # how long a client that is gone without a word may keep its locks
_READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


class PostgresExecutor:
    """The tables in one schema of a Postgres database.

    `timeout` is how long a call waits for a connection, and how long it repeats what a lost one or
    a restarting server made fail; `lock_timeout` how long it waits for locks, and
    `statement_timeout` for the answer to a statement; all in seconds.
    `login` gives `user` and `password` of each new connection, which may change meanwhile.
    `pooled`: PgBouncer in transaction mode is in between, so nothing is left in a session.
    """

    dialect = "postgres"

    def __init__(
        self,
        conninfo: str,
        *,
        login: Callable[[], Mapping[str, str]] | None = None,
        schema: str = "lakebed",
        min_size: int = 1,
        max_size: int = 10,
        timeout: float = 30.0,
        lock_timeout: float = 60.0,
        statement_timeout: float = 300.0,
        pooled: bool = False,
        clock: Clock | None = None,
        mask: Mask = str,
    ) -> None:
        self.schema = schema
        self.timeout = timeout
        self.lock_timeout = lock_timeout
        self._statement_timeout = statement_timeout
        self.server = Server(conninfo, timeout, login=login, pooled=pooled, mask=mask)
        self._sizes = (min_size, max_size)
        self.pooled = pooled
        self._clock = clock
        self._queries = load_queries(self.dialect, schema)
        self._limit = f"{int(lock_timeout * 1000)}ms"
        self._begin_write = self._queries["begin_write"].replace("{timeout}", "'{}'")
        self._begin_exclusive = (
            self._queries["begin_exclusive"]
            .replace("{briefly}", f"'{_BRIEFLY}'")
            .replace("{timeout}", f"'{self._limit}'")
        )
        self._inherited: list[object] = []
        self._closed = False
        self._start()
        _executors.add(self)

    def _start(self) -> None:
        self._pool: ConnectionPool[Any] | None = None
        self._watch: Watch | None = None
        self.writers = Writers()
        self._opening = threading.Lock()
        self._local = threading.local()

    # Time

    def stamp(self) -> int | None:
        return self._clock() if self._clock else None

    def now(self) -> int:
        if self._clock:
            return self._clock()
        return int(self.fetch(NOW, {})[0][0])

    # Connections

    @contextmanager
    def connection(self) -> Iterator[Connection[Any]]:
        """A connection of the pool; errors of the driver leave as errors of ours."""
        import psycopg

        connection = self._take()
        try:
            yield connection
        except psycopg.Error as error:
            raise self._explain(connection, error) from error
        finally:
            self._give_back(connection)

    def _take(self) -> Connection[Any]:
        current: Connection[Any] | None = getattr(self._local, "connection", None)
        if current is not None:  # this thread is in a transaction, whose state is what it reads
            return current
        if self._closed:
            raise CatalogError("the lake is closed")
        from psycopg_pool import PoolTimeout

        pool = self._pool or self._open_pool()
        try:
            taken: Connection[Any] = pool.getconn(self.timeout)
        except PoolTimeout:
            raise self._no_connection() from None
        return taken

    def _give_back(self, connection: Connection[Any]) -> None:
        if self._pool is not None and connection is not getattr(self._local, "connection", None):
            self._pool.putconn(connection)

    def _explain(self, connection: Connection[Any], error: psycopg.Error) -> LakebedError:
        if is_retired(error):
            connection.close()
        return self.server.explain(error)

    def _open_pool(self) -> ConnectionPool[Any]:
        from lakebed.catalog.executors.postgres_connection import WarmPool, Watch

        with self._opening:
            if self._pool is None:
                self.server.probe()
                least, most = self._sizes
                self._watch = Watch(max(self._statement_timeout, self.lock_timeout) + _GRACE)
                pool = WarmPool(
                    self.server.conninfo,
                    hide=self.server.hiding.error,
                    kwargs=self.server.arguments if self.server.login else self.server.arguments(),
                    min_size=least,
                    max_size=most,
                    timeout=self.timeout,
                    configure=self._configure,
                    open=False,
                )
                pool.open()
                self._pool = pool
            return self._pool

    def _configure(self, connection: WatchedConnection) -> None:
        """Prepare a new connection; the session keeps nothing where sessions are shared."""
        from psycopg.types.numeric import Int8Dumper

        if self._watch:
            self._watch.add(connection)
        connection.adapters.register_dumper(int, Int8Dumper)
        if not self.pooled:
            connection.execute(
                "SET default_transaction_isolation = 'read committed'; "
                f"SET lock_timeout = {int(self.lock_timeout * 1000)}; "
                f"SET statement_timeout = {int(self._statement_timeout * 1000)}; "
                f"SET idle_in_transaction_session_timeout = {_IDLE}"
            )

    def _no_connection(self) -> LakebedError:
        """Why the pool gave none: the server's own answer, or that all are in use."""
        where = self.server.shown
        return self.server.refusal() or ConnectError(
            EXHAUSTED.format(where=where, most=self._sizes[1], timeout=self.timeout),
            "connection_timeout",
        )

    # Repeating what failed for a reason that passes

    def repeat(self, work: Callable[[], T]) -> T:
        """The result of `work`, repeated with growing pauses while it fails for such a reason."""
        try:
            return work()
        except LakebedError as error:
            # Within what is repeated as a whole, nothing is repeated by itself.
            if not is_repeatable(error) or getattr(self._local, "repeating", False):
                raise
            self._local.repeating = True
            try:
                return self._repeat(work, error)
            finally:
                self._local.repeating = False

    def _repeat(self, work: Callable[[], T], error: LakebedError) -> T:
        import tenacity

        if is_broken(error) and self._pool is not None:
            # Others of the pool are likely to be as dead; finding out one by one takes long.
            self._pool.check()
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(is_repeatable),
            wait=tenacity.wait_random_exponential(0.01, max=1.0),
            stop=tenacity.stop_after_delay(self.timeout),
            reraise=True,
        )
        return retrying(work)

    # Statements

    def fetch(self, sql: str, params: Params) -> Sequence[Row]:
        text = convert(sql)
        try:
            return self._fetch(text, params)
        except LakebedError as error:
            if not is_repeatable(error):
                raise
        return self.repeat(lambda: self._fetch(text, params))

    def _fetch(self, text: str, params: Params) -> Sequence[Row]:
        import psycopg

        connection = self._take()  # without the context manager, which takes as long as the pool
        try:
            return connection.execute(text, params, binary=True).fetchall()
        except psycopg.Error as error:
            raise self._explain(connection, error) from error
        finally:
            self._give_back(connection)

    @contextmanager
    def read(self) -> Generator[PostgresTransaction]:
        with self.connection() as connection:
            try:
                connection.execute(_READ)
                with self._inside(connection):
                    yield PostgresTransaction(connection, self._clock)
            finally:
                leave(connection)

    @contextmanager
    def settled(self) -> Generator[PostgresTransaction]:
        """A transaction that reads while no writer is at work."""
        with self.connection() as connection:
            try:
                self._begin(connection, patient=True, exclusive=True)
                with self._inside(connection):
                    yield PostgresTransaction(connection, self._clock)
            finally:
                leave(connection)

    @contextmanager
    def _inside(self, connection: Connection[Any]) -> Iterator[None]:
        """Whatever this thread runs meanwhile runs on this connection."""
        self._local.connection = connection
        try:
            yield
        finally:
            self._local.connection = None

    @contextmanager
    def write(
        self, *, patient: bool = True, exclusive: bool = False
    ) -> Generator[PostgresTransaction]:
        import psycopg

        lost: psycopg.Error | None = None
        with self.connection() as connection:
            writer = self.writers.of(connection)
            try:
                self._begin(connection, patient, exclusive)
                with self._inside(connection):
                    yield PostgresTransaction(connection, self._clock)
                try:
                    connection.execute(self._commit(writer), prepare=False)
                except psycopg.Error as error:
                    if not is_broken(error):
                        raise
                    lost = error
            finally:
                leave(connection)
        if lost:
            self.settle(writer, lost)

    def _begin(self, connection: Connection[Any], patient: bool, exclusive: bool) -> None:
        """Begin with the lake's lock: shared among writers, or exclusive.

        Whoever waits for the exclusive lock keeps new writers waiting, so it is asked for briefly,
        and again.
        """
        import psycopg

        if not exclusive:
            limit = self._limit if patient else _BRIEFLY
            connection.execute(self._begin_write.format(limit), prepare=False)
            return
        deadline = time.monotonic() + self.lock_timeout
        while True:
            try:
                connection.execute(self._begin_exclusive, prepare=False)
                return
            except psycopg.errors.LockNotAvailable:
                if time.monotonic() > deadline:
                    raise
                connection.rollback()
                time.sleep(random.uniform(0.005, 0.05))  # noqa: S311 - no secret

    def _commit(self, writer: Writer) -> bytes:
        writer.token += 1
        schema = quoted(self.schema)
        return f'SELECT {schema}."note_commit"({writer.id}, {writer.token}); COMMIT'.encode()

    def settle(self, writer: Writer, error: Exception) -> Row:
        """What the writer's last commit left if it happened, although its answer was lost; else the
        error that repeating may cure.

        Waits for a server that is still at it, and keeps a commit that arrives later from
        happening.
        """
        failure = self.server.explain(error)
        close = self._queries["close_writer"]
        try:
            rows = self._repeat(lambda: self._fetch(convert(close), {"id": writer.id}), failure)
        except LakebedError as unknown:
            raise ConnectError(
                f"the connection was lost during a commit, and whether it happened could not be "
                f"found out: {unknown}"
            ) from None
        if rows and rows[0][0] == writer.token:
            return rows[0]
        raise failure from error

    def scrub(self) -> bool:
        """Dead rows keep their bytes until VACUUM has passed, which the server does in its time."""
        return False

    def close(self) -> None:
        """Close the pool, after the calls at work have given their connections back."""
        with self._opening:
            self._closed = True
            pool = self._pool
        if pool is None or pool.closed:
            return
        deadline = time.monotonic() + self.timeout
        while time.monotonic() < deadline:
            stats = pool.get_stats()
            if stats["pool_available"] >= stats["pool_size"]:
                break
            time.sleep(0.01)
        pool.close()
        if self._watch:
            self._watch.stop()

    def after_fork_in_child(self) -> None:
        """Leave the parent's connections alone, and open own ones when asked."""
        if self._pool is not None:
            self._inherited.append(self._pool)  # closing them would end the parent's sessions
        self._start()


_executors: weakref.WeakSet[PostgresExecutor] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for executor in list(_executors):
        executor.after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
