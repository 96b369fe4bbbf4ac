"""Postgres through psycopg: a pool of connections, with several writers at once."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from lakebed.catalog.identity import Identity
from lakebed.catalog.postgres.errors import (
    is_broken,
    is_repeatable,
    stays_read_only,
)
from lakebed.catalog.postgres.identity import identity_in_postgres
from lakebed.catalog.postgres.pool import PostgresConnections
from lakebed.catalog.postgres.server import Server
from lakebed.catalog.postgres.transaction import (
    NOW,
    PostgresTransaction,
    convert,
    leave,
)
from lakebed.catalog.sqlite.scrubbing import DEAD_ROWS
from lakebed.catalog.statements.dialect import POSTGRES, quoted
from lakebed.catalog.statements.executor import Params, Row, held, refused
from lakebed.catalog.statements.hiding import Mask
from lakebed.catalog.statements.writer import Writer
from lakebed.clock import Clock
from lakebed.errors import (
    ConnectError,
    LakebedError,
)
from lakebed.leaving import has_left, staying
from lakebed.waiting import waiting

if TYPE_CHECKING:
    import psycopg
    from psycopg import Connection


T = TypeVar("T")
_BRIEFLY = "50ms"  # how long a snapshot that waits for the lock may delay new writers
_READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


class PostgresExecutor(PostgresConnections):
    """The tables in one schema of a Postgres database.

    Times are in seconds. `timeout`: how long a call waits for a connection, and how long it is
    repeated after a lost connection or a restart of the server. `lock_timeout`: how long it waits
    for locks. `statement_timeout`: how long it waits for the answer to a statement. `login`: gives
    the `user` and `password` of each new connection. `pooled`: the server is behind PgBouncer in
    transaction mode, so nothing is left in a session. `read_only`: refuse all writes.
    """

    dialect = POSTGRES

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
        self._queries = self.dialect.queries(schema)
        self._limit = f"{int(lock_timeout * 1000)}ms"
        self._begin_write = self._queries["begin_write"].replace("{timeout}", "'{}'")
        self._begin_exclusive = (
            self._queries["begin_exclusive"]
            .replace("{briefly}", f"'{_BRIEFLY}'")
            .replace("{timeout}", f"'{self._limit}'")
        )

    # Time

    def use_clock(self, clock: Clock | None) -> Clock | None:
        before, self._clock = self._clock, clock
        return before

    def stamp(self) -> int | None:
        return self._clock() if self._clock else None

    def now(self) -> int:
        if self._clock:
            return self._clock()
        return int(self.fetch(NOW, {})[0][0])

    def identity(self) -> Identity:
        """Return which database this is, and on which server."""
        return identity_in_postgres(self.fetch, self.schema)

    # Repeating what failed temporarily.

    def _repeated(self, work: Callable[[], T]) -> T:
        """Return the result of `work`. Repeat it, with growing pauses, while it fails
        temporarily."""
        try:
            return work()
        except LakebedError as error:
            # Inside a call that is repeated as a whole, nothing is repeated by itself.
            if not is_repeatable(error) or self._is_inside or self._is_repeating:
                raise
            if stays_read_only(error, lambda sql: self._fetch(sql, {})):
                raise
            self._local.repeating = True
            try:
                return self._repeat(work, error)
            finally:
                self._local.repeating = False

    @property
    def _is_inside(self) -> bool:
        """Return whether this thread is in a transaction. It ends if anything in it fails."""
        return getattr(self._local, "connection", None) is not None

    @property
    def _is_repeating(self) -> bool:
        return getattr(self._local, "repeating", False)

    def _repeat(self, work: Callable[[], T], error: LakebedError) -> T:
        import tenacity

        if is_broken(error) and self._pool is not None:
            # The pool's other connections are probably dead too. Finding out one by one takes long.
            self._pool.check()
        over = tenacity.stop_after_delay(self.timeout)
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(is_repeatable),
            wait=tenacity.wait_random_exponential(0.01, max=1.0),
            stop=lambda state: has_left() or over(state),
            reraise=True,
        )
        with waiting(f"{error}; trying for {self.timeout:.0f} s"):
            return retrying(work)

    # Statements.

    def fetch(self, sql: str, params: Params) -> Sequence[Row]:
        return self.fetch_converted(convert(sql), params)

    def fetch_converted(self, text: str, params: Params | Sequence[object]) -> Sequence[Row]:
        """Return the rows of a statement that already has the driver's parameters."""
        try:
            return self._fetch(text, params)
        except LakebedError as error:
            if self._is_inside or not is_repeatable(error):
                raise
        return self._repeated(lambda: self._fetch(text, params))

    def _fetch(self, text: str, params: Params | Sequence[object]) -> Sequence[Row]:
        import psycopg

        connection = self._take()  # the context manager would cost as much as the pool
        try:
            return connection.execute(text, params, binary=True).fetchall()
        except psycopg.Error as error:
            raise self._explain(connection, error) from error
        finally:
            self._give_back(connection)

    def alone(self, sql: str, params: Params) -> Sequence[Row]:
        """Return the rows, if any, of a statement that is its own transaction. It is tried once."""
        self._must_write()
        with self.connection() as connection:
            cursor = connection.execute(convert(sql), params or None, prepare=bool(params))
            return cursor.fetchall() if cursor.description else []

    def call(
        self, text: str, arguments: Callable[[Writer], Sequence[object]]
    ) -> tuple[Row, Row | None]:
        """Return the row of a statement that is its own transaction, in one round trip.

        The statement also notes its commit for the writer. If its answer is lost, the note is
        returned. It is repeated as in `transact`.
        """
        self._must_write()
        return self._repeated(lambda: self._call(text, arguments))

    def _call(
        self, text: str, arguments: Callable[[Writer], Sequence[object]]
    ) -> tuple[Row, Row | None]:
        import psycopg

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
        return (), self._settle(writer, lost)

    def _must_write(self) -> None:
        if self.read_only:
            raise refused(self.server.shown)

    def read(self, work: Callable[[PostgresTransaction], T], *, settled: bool = False) -> T:
        def once() -> T:
            with self._read(settled=settled) as tx:
                return work(tx)

        return self._repeated(once)

    @contextmanager
    def reading(self, begin: Callable[[PostgresTransaction], T]) -> Generator[T]:
        stack, begun = self._repeated(lambda: held(self._read(), begin))
        with stack:
            yield begun

    def transact(
        self,
        work: Callable[[PostgresTransaction], T],
        *,
        exclusive: bool = False,
        patient: bool = True,
        brief: bool = False,
    ) -> T:
        del brief  # several clients write at once anyway

        def once() -> T:
            with self._write(patient=patient, exclusive=exclusive) as tx:
                return work(tx)

        self._must_write()
        return self._repeated(once)

    @contextmanager
    def _read(self, *, settled: bool = False) -> Generator[PostgresTransaction]:
        with self.connection() as connection:
            try:
                if settled:  # while nobody writes, because versions come from a sequence
                    self._begin(connection, patient=True, exclusive=True)
                else:
                    connection.execute(_READ)
                with self._inside(connection):
                    yield PostgresTransaction(connection, self._clock)
            finally:
                leave(connection)

    @contextmanager
    def _inside(self, connection: Connection[Any]) -> Iterator[None]:
        """Open a block in which this thread's statements run on this connection."""
        self._local.connection = connection
        try:
            yield
        finally:
            self._local.connection = None

    @contextmanager
    def _write(self, *, patient: bool, exclusive: bool) -> Generator[PostgresTransaction]:
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
            self._settle(writer, lost)

    def _begin(self, connection: Connection[Any], patient: bool, exclusive: bool) -> None:
        """Begin a transaction with the lake's lock, shared with other writers or exclusive.

        Waiting for the exclusive lock blocks new writers. So each wait is brief, and repeated.
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

    def _settle(self, writer: Writer, error: Exception) -> Row:
        """Return the note of the writer's last commit, if it happened although its answer was lost.

        Otherwise raises an error after which the work may be repeated. Waits while the server is
        still working on the commit, and prevents a commit that arrives later.
        """
        failure = self.server.explain(error)
        close = self._queries["close_writer"]
        try:
            with staying():  # otherwise the commit might still arrive
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
        """Do nothing: the server vacuums in its own time."""
        del thorough
        return (DEAD_ROWS,)
