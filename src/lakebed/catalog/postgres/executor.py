"""Postgres through psycopg: a pool of connections, several writers at once."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from lakebed.catalog.postgres.errors import (
    is_broken,
    is_repeatable,
    stays_read_only,
)
from lakebed.catalog.postgres.pool import PostgresConnections
from lakebed.catalog.postgres.server import Server
from lakebed.catalog.postgres.transaction import (
    NOW,
    PostgresTransaction,
    convert,
    leave,
)
from lakebed.catalog.postgres.writers import Writer
from lakebed.catalog.sqlite.scrubbing import DEAD_ROWS
from lakebed.catalog.statements.executor import Params, Row, refused
from lakebed.catalog.statements.hiding import Mask
from lakebed.catalog.statements.queries import load_queries, quoted
from lakebed.clock import Clock
from lakebed.errors import (
    ConnectError,
    LakebedError,
)
from lakebed.leaving import has_left, staying

if TYPE_CHECKING:
    import psycopg
    from psycopg import Connection


T = TypeVar("T")
_BRIEFLY = "50ms"  # how long a snapshot's request for the lock may hold up new writers
_READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


class PostgresExecutor(PostgresConnections):
    """The tables in one schema of a Postgres database.

    `timeout` is how long a call waits for a connection, and how long it repeats what a lost one or
    a restarting server made fail; `lock_timeout` how long it waits for locks, and
    `statement_timeout` for the answer to a statement; all in seconds.
    `login` gives `user` and `password` of each new connection, which may change meanwhile.
    `pooled`: PgBouncer in transaction mode is in between, so nothing is left in a session.
    `read_only`: writing is refused.
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
        read_only: bool = False,
    ) -> None:
        self.read_only = read_only
        super().__init__(
            Server(conninfo, timeout, login=login, pooled=pooled, mask=mask),
            sizes=(min_size, max_size),
            timeout=timeout,
            lock_timeout=lock_timeout,
            statement_timeout=statement_timeout,
            pooled=pooled,
        )
        self.schema = schema
        self._clock = clock
        self._queries = load_queries(self.dialect, schema)
        self._limit = f"{int(lock_timeout * 1000)}ms"
        self._begin_write = self._queries["begin_write"].replace("{timeout}", "'{}'")
        self._begin_exclusive = (
            self._queries["begin_exclusive"]
            .replace("{briefly}", f"'{_BRIEFLY}'")
            .replace("{timeout}", f"'{self._limit}'")
        )

    # Time

    def stamp(self) -> int | None:
        return self._clock() if self._clock else None

    def now(self) -> int:
        if self._clock:
            return self._clock()
        return int(self.fetch(NOW, {})[0][0])

    # Repeating what failed for a reason that passes

    def repeat(self, work: Callable[[], T]) -> T:
        """The result of `work`, repeated with growing pauses while it fails for such a reason."""
        try:
            return work()
        except LakebedError as error:
            # Within what is repeated as a whole, nothing is repeated by itself.
            if not is_repeatable(error) or getattr(self._local, "repeating", False):
                raise
            if stays_read_only(error, lambda sql: self._fetch(sql, {})):
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
        over = tenacity.stop_after_delay(self.timeout)
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(is_repeatable),
            wait=tenacity.wait_random_exponential(0.01, max=1.0),
            stop=lambda state: has_left() or over(state),
            reraise=True,
        )
        return retrying(work)

    # Statements

    def fetch(self, sql: str, params: Params) -> Sequence[Row]:
        return self.fetch_converted(convert(sql), params)

    def fetch_converted(self, text: str, params: Params | Sequence[object]) -> Sequence[Row]:
        """The same of a text that has the driver's parameters already."""
        try:
            return self._fetch(text, params)
        except LakebedError as error:
            if not is_repeatable(error):
                raise
        return self.repeat(lambda: self._fetch(text, params))

    def _fetch(self, text: str, params: Params | Sequence[object]) -> Sequence[Row]:
        import psycopg

        connection = self._take()  # without the context manager, which takes as long as the pool
        try:
            return connection.execute(text, params, binary=True).fetchall()
        except psycopg.Error as error:
            raise self._explain(connection, error) from error
        finally:
            self._give_back(connection)

    def alone(self, sql: str, params: Params) -> Sequence[Row]:
        """The rows, if any, of a statement that is a transaction of its own, tried once."""
        self._must_write()
        with self.connection() as connection:
            cursor = connection.execute(convert(sql), params or None, prepare=bool(params))
            return cursor.fetchall() if cursor.description else []

    def call(
        self, text: str, arguments: Callable[[Writer], Sequence[object]]
    ) -> tuple[Row, Row | None]:
        """The row of a statement that is a transaction of its own and notes itself as the writer's;
        or, if its answer was lost, what it noted."""
        import psycopg

        self._must_write()
        connection = self._take()
        try:
            writer = self.writers.of(connection)
            writer.token += 1
            (row,) = connection.execute(text, arguments(writer), binary=True).fetchall()
            return row, None
        except psycopg.Error as error:
            if not is_broken(error):
                raise self._explain(connection, error) from error
            lost = error
        finally:
            self._give_back(connection)
        return (), self.settle(writer, lost)

    def _must_write(self) -> None:
        if self.read_only:
            raise refused(self.server.shown)

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

        self._must_write()
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
                if time.monotonic() > deadline or has_left():
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
            with staying():  # else the commit might still come
                rows = self._repeat(lambda: self._fetch(convert(close), {"id": writer.id}), failure)
        except LakebedError as unknown:
            raise ConnectError(
                f"the connection was lost during a commit, and whether it happened could not be "
                f"found out: {unknown}"
            ) from None
        if rows and rows[0][0] == writer.token:
            return rows[0]
        raise failure from error

    def scrub(self, *, thorough: bool = True) -> Sequence[str]:
        """Nothing to do: VACUUM is the server's, in its time."""
        del thorough
        return (DEAD_ROWS,)
