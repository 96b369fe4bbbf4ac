"""One transaction of SQLite."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from types import TracebackType
from typing import TYPE_CHECKING

from lakebed.catalog.sqlite.connections import SQLiteConnections
from lakebed.catalog.sqlite.script import statements
from lakebed.catalog.statements.executor import Params, Row

if TYPE_CHECKING:
    import pyarrow as pa


class SQLiteTransaction:
    """A transaction on the thread's connection. `Transaction` describes its calls."""

    __slots__ = ("_begin", "_connection", "_connections", "_cursor", "_gate", "_wait")

    def __init__(
        self,
        connections: SQLiteConnections,
        begin: str,
        gate: threading.Lock | threading.RLock,
        wait: float,
    ) -> None:
        self._connections = connections
        self._begin = begin
        self._gate = gate
        self._wait = wait

    def __enter__(self) -> SQLiteTransaction:
        connections = self._connections
        self._connection = connections.connection()
        self._cursor = self._connection.cursor()  # for all statements, which run one by one
        wait = connections.lock(self._gate, self._wait)
        try:
            connections.begin(self._connection, self._begin, wait)
        except BaseException as error:
            self._gate.release()
            if isinstance(error, sqlite3.Error):
                raise connections.translate(error) from error
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self._commit()
        except BaseException as failure:
            error = failure
            raise
        finally:
            try:
                if error is not None and self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
            finally:
                self._gate.release()
                if isinstance(error, sqlite3.Error):
                    raise self._connections.translate(error) from error

    def _commit(self) -> None:
        self._cursor.execute("COMMIT")

    def now(self) -> int:
        return self._connections.now()

    def one(self, sql: str, params: Params) -> Row | None:
        row: Row | None = self._cursor.execute(sql, params).fetchone()
        return row

    def all(self, sql: str, params: Params) -> Sequence[Row]:
        return self._cursor.execute(sql, params).fetchall()

    def each(self, sql: str, params: Params) -> Generator[Row]:
        cursor = self._connection.execute(sql, params)
        try:
            yield from cursor
        finally:
            cursor.close()

    def batches(self, sql: str, params: Params, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """Yield the rows as Arrow batches."""
        from lakebed.catalog.sql.scanning import BATCH, chunk_batches

        # Fetching in chunks takes two thirds of the time of fetching row by row.
        with closing(self._connection.execute(sql, params)) as cursor:
            yield from chunk_batches(iter(lambda: cursor.fetchmany(BATCH), []), schema)

    def state(self) -> object:
        """Return a value that is equal for two transactions only if they see the same rows."""
        # The first number changes with the commits of other connections, the second with our own.
        connection = self._connection
        ((version,),) = connection.execute("PRAGMA data_version").fetchall()
        return connection.number, version, connection.total_changes

    def run(self, sql: str, params: Params) -> int:
        return self._cursor.execute(sql, params).rowcount

    def many(self, sql: str, params: Iterable[Params]) -> None:
        self._cursor.executemany(sql, params)

    def copy(self, table: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
        names = ", ".join(f'"{column}"' for column in columns)
        marks = ", ".join("?" * len(columns))
        # The names are the catalog's own, never a caller's.
        insert = f"INSERT INTO {table} ({names}) VALUES ({marks})"  # noqa: S608
        self._cursor.executemany(insert, rows)

    def fill(self, sql: str, rows: Iterable[Row]) -> int:
        """Run a statement with a `?` for each column, once for each row. Return how many rows it
        wrote."""
        return self._cursor.executemany(sql, rows).rowcount

    def insert(self, sql: str, params: Params) -> int | None:
        cursor = self._cursor.execute(sql, params)
        return cursor.lastrowid if cursor.rowcount else None

    def script(self, sql: str) -> None:
        """Run several statements inside this transaction."""
        for statement in statements(sql):
            self._cursor.execute(statement)
