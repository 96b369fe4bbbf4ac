"""Any database that SQLAlchemy knows, over SQL text: its pool and drivers, no query builder."""

from __future__ import annotations

import os
import re
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any

from lakebed.catalog.executors.base import Params, Row, T
from lakebed.catalog.executors.sqlalchemy_databases import Database, database_of
from lakebed.clock import Clock
from lakebed.errors import CatalogError, ConnectError, LakebedError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine import URL, CursorResult

_PARAMETER = re.compile(r"(?<!:):([a-z]\w*)")
_NAME = re.compile(r'"(\w+)"')
_ROWS_AT_ONCE = 1000


class SQLAlchemyExecutor:
    """The tables of a lake in the database of a SQLAlchemy URL.

    `timeout` is how long a call waits for a connection, and how long it repeats what failed for a
    reason that passes; `lock_timeout` how long it waits for locks; both in seconds.
    """

    pooled = True  # nothing is kept in a session

    def __init__(
        self,
        url: URL,
        *,
        pool_size: int = 5,
        echo: bool = False,
        timeout: float = 30.0,
        lock_timeout: float = 60.0,
        durability: str = "normal",
        schema: str = "lakebed",
        clock: Clock | None = None,
    ) -> None:
        self.database: Database = database_of(url, lock_timeout, durability, schema)
        self.dialect = self.database.dialect
        self.schema = self.database.schema
        self.shown = self.database.shown
        self.timeout = timeout
        self.lock_timeout = lock_timeout
        self._clock = clock or self.database.clock
        self._engine: Engine = self.database.engine(pool_size, echo, timeout)
        self._style = self.database.style
        self._gate = threading.Lock() if self.database.queues else None
        self._local = threading.local()
        self._closed = False
        _executors.add(self)

    # Time

    def stamp(self) -> int | None:
        return self._clock() if self._clock else None

    def now(self) -> int:
        if self._clock:
            return self._clock()
        return int(self.fetch(self.database.now, {})[0][0])

    # Connections

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection of the pool, or this thread's while it is in a transaction; errors of the
        driver leave as errors of ours."""
        from sqlalchemy import exc

        current: Connection | None = getattr(self._local, "connection", None)
        if current is not None:
            yield current
            return
        if self._closed:
            raise CatalogError("the lake is closed")
        try:
            with self._engine.connect() as connection:
                yield connection
        except exc.TimeoutError:
            raise ConnectError(
                f"no connection to {self.shown} became free within {self.timeout:g} seconds "
                "(pool_size)",
                "connection_timeout",
            ) from None
        except exc.DBAPIError as error:
            raise self.database.explain(error.orig or error) from (error.orig or error)
        except exc.SQLAlchemyError as error:
            # Its text may hold parameters.
            raise CatalogError(f"{self.shown} failed: {type(error).__name__}") from None

    def repeat(self, work: Callable[[], T]) -> T:
        """The result of `work`, repeated with growing pauses while it fails for such a reason."""
        try:
            return work()
        except LakebedError as error:
            if not self.database.is_repeatable(error):
                raise
        import tenacity

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(self.database.is_repeatable),
            wait=tenacity.wait_random_exponential(0.01, max=1.0),
            stop=tenacity.stop_after_delay(self.timeout),
            reraise=True,
        )
        return retrying(work)

    # Statements

    def fetch(self, sql: str, params: Params) -> Sequence[Row]:
        if getattr(self._local, "connection", None) is not None:
            return self._fetch(sql, params)
        return self.repeat(lambda: self._fetch(sql, params))

    def _fetch(self, sql: str, params: Params) -> Sequence[Row]:
        with self.connection() as connection:
            return self.execute(connection, sql, params).fetchall()

    @contextmanager
    def read(self) -> Generator[SQLAlchemyTransaction]:
        with self.connection() as connection:
            try:
                self._run(connection, self.database.begin_read)
                with self._inside(connection):
                    yield SQLAlchemyTransaction(self, connection)
            finally:
                self._roll_back(connection)

    @contextmanager
    def write(
        self, *, patient: bool = True, exclusive: bool = False
    ) -> Generator[SQLAlchemyTransaction]:
        with self._queue(patient), self.connection() as connection:
            new = False
            try:
                new = self._begin(connection, patient, exclusive)
                with self._inside(connection):
                    yield SQLAlchemyTransaction(self, connection)
                self._commit(connection)
            except BaseException:
                self._roll_back(connection)
                raise
            finally:
                if new and not connection.invalidated:
                    self._run(connection, self.database.end_new)

    def _begin(self, connection: Connection, patient: bool, exclusive: bool) -> bool:
        """Begin with the lake's lock; where waiting for it holds others up, asked for briefly.

        Where that lock is a row and there are no tables yet: with the lock of a lake to be, and
        then True.
        """
        from sqlalchemy import exc

        deadline = time.monotonic() + self.lock_timeout
        while True:
            try:
                self._run(connection, self.database.begin_write(patient, exclusive))
                return False
            except exc.DBAPIError as error:
                if self.database.is_new(error.orig):
                    row = self.execute(connection, self.database.begin_new, {}).fetchone()
                    if row is None or row[0] != 1:
                        raise self.database.locked() from None
                    return True
                asks = self.database.asks_again(error.orig, exclusive)
                if not asks or time.monotonic() > deadline:
                    raise
            self._roll_back(connection)
            time.sleep(0.02)

    def _commit(self, connection: Connection) -> None:
        from sqlalchemy import exc

        try:
            self._run(connection, ["COMMIT"])
        except exc.DBAPIError as error:
            if not error.connection_invalidated:
                raise
            raise ConnectError(
                f"the connection to {self.shown} was lost during a commit: whether it happened is "
                "unknown"
            ) from None  # without the driver's error, so that it is not repeated

    @contextmanager
    def _queue(self, patient: bool) -> Iterator[None]:
        """Where waiting writers are not served in their order, those of this process queue here."""
        if self._gate is None or getattr(self._local, "connection", None) is not None:
            yield
            return
        if not self._gate.acquire(timeout=self.lock_timeout if patient else 0):
            raise self.database.locked()
        try:
            yield
        finally:
            self._gate.release()

    def _roll_back(self, connection: Connection) -> None:
        from sqlalchemy import exc

        if connection.invalidated:
            return
        try:
            self._run(connection, self.database.roll_back(connection))
        except exc.DBAPIError:
            connection.invalidate()  # which ends the transaction just as well

    def execute(self, connection: Connection, sql: str, params: Params) -> CursorResult[Any]:
        """Run a statement with `:name` parameters."""
        text, names = convert(sql, self._style)
        values = dict(params) if names is None else tuple(params[name] for name in names)
        return connection.exec_driver_sql(text, values or None)

    def execute_many(self, connection: Connection, sql: str, rows: Iterable[Params]) -> None:
        """Run a statement with each set of parameters."""
        text, names = convert(sql, self._style)
        found = iter(rows)
        while chunk := list(islice(found, _ROWS_AT_ONCE)):
            if names is None:
                values: list[Any] = [dict(row) for row in chunk]
            else:
                values = [tuple(row[name] for name in names) for row in chunk]
            connection.exec_driver_sql(text, values)

    def _run(self, connection: Connection, statements: Iterable[str]) -> None:
        for statement in statements:
            self.execute(connection, statement, {}).close()

    @contextmanager
    def _inside(self, connection: Connection) -> Iterator[None]:
        """Whatever this thread runs meanwhile runs on this connection."""
        self._local.connection = connection
        try:
            yield
        finally:
            self._local.connection = None

    def scrub(self) -> bool:
        """Dead rows keep their bytes until the server reuses their place."""
        return self.database.scrub(self.fetch)

    def close(self) -> None:
        self._closed = True
        self._engine.dispose()

    def after_fork_in_child(self) -> None:
        """Leave the parent's connections alone, and open own ones when asked."""
        self._engine.dispose(close=False)
        self._local = threading.local()
        if self._gate is not None:
            self._gate = threading.Lock()


class SQLAlchemyTransaction:
    """One transaction on a connection; see `Transaction`."""

    __slots__ = ("_connection", "_executor")

    def __init__(self, executor: SQLAlchemyExecutor, connection: Connection) -> None:
        self._executor = executor
        self._connection = connection

    def now(self) -> int:
        return self._executor.now()

    def one(self, sql: str, params: Params) -> Row | None:
        result = self._executor.execute(self._connection, sql, params)
        row = result.fetchone()
        result.close()
        return None if row is None else tuple(row)

    def all(self, sql: str, params: Params) -> Sequence[Row]:
        return self._executor.execute(self._connection, sql, params).fetchall()

    def each(self, sql: str, params: Params) -> Generator[Row]:
        result = self._executor.execute(self._connection, sql, params)
        try:
            yield from result
        finally:
            result.close()

    def run(self, sql: str, params: Params) -> int:
        result = self._executor.execute(self._connection, sql, params)
        count = result.rowcount
        result.close()
        return count

    def many(self, sql: str, params: Iterable[Params]) -> None:
        self._executor.execute_many(self._connection, sql, params)

    def copy(self, table: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
        names = ", ".join(f'"{column}"' for column in columns)
        marks = ", ".join(f":{column}" for column in columns)
        sql = f"INSERT INTO {table} ({names}) VALUES ({marks})"  # noqa: S608 - names of ours
        self.many(sql, (dict(zip(columns, row, strict=True)) for row in rows))

    def insert(self, sql: str, params: Params) -> int | None:
        if self._executor.dialect == "postgres":
            row = self.one(f'{sql} RETURNING "id"', params)
            return None if row is None else int(row[0])
        result = self._executor.execute(self._connection, sql, params)
        created = result.rowcount > 0
        number = result.lastrowid
        result.close()
        return int(number) if created else None

    def script(self, sql: str) -> None:
        for statement in self._executor.database.statements(sql):
            self._executor.execute(self._connection, statement, {}).close()


@lru_cache(maxsize=1024)
def convert(sql: str, style: str) -> tuple[str, tuple[str, ...] | None]:
    """The text with the driver's parameters in place of `:name`, and their order if it counts."""
    if style == "named":
        return sql, None
    if style == "mysql":
        sql = _NAME.sub(r"`\1`", sql)
    if style in ("pyformat", "mysql"):
        return _PARAMETER.sub(r"%(\1)s", sql.replace("%", "%%")), None
    return _PARAMETER.sub("?", sql), tuple(_PARAMETER.findall(sql))


_executors: weakref.WeakSet[SQLAlchemyExecutor] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for executor in list(_executors):
        executor.after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
