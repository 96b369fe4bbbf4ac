"""One transaction on a connection to Postgres."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from lakebed.catalog.statements.dialect import quoted
from lakebed.catalog.statements.executor import Params, Row
from lakebed.clock import Clock

if TYPE_CHECKING:
    import pyarrow as pa
    from psycopg import Connection

NOW = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
PARAMETER = re.compile(r"(?<!:):([a-z]\w*)")


class PostgresTransaction:
    """One transaction on a connection. `Transaction` describes its calls."""

    __slots__ = ("_clock", "_connection")

    def __init__(self, connection: Connection[Any], clock: Clock | None) -> None:
        self._connection = connection
        self._clock = clock

    def now(self) -> int:
        if self._clock:
            return self._clock()
        return int(self.all(NOW, {})[0][0])

    def one(self, sql: str, params: Params) -> Row | None:
        row: Row | None = self._connection.execute(convert(sql), params, binary=True).fetchone()
        return row

    def all(self, sql: str, params: Params) -> Sequence[Row]:
        return self._connection.execute(convert(sql), params, binary=True).fetchall()

    def each(self, sql: str, params: Params) -> Generator[Row]:
        import psycopg

        # A cursor on the server, which may be closed before all rows are read.
        cursor = self._connection.cursor(f"each_{secrets.token_hex(4)}", binary=True)
        try:
            with cursor:
                cursor.execute(convert(sql), params)
                yield from cursor
        except psycopg.Error:
            cursor.close()  # if CLOSE failed, psycopg believes that it is open, and would warn
            raise

    def batches(self, sql: str, params: Params, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """Yield the rows as Arrow batches."""
        from lakebed.catalog.postgres.copy import copy_batches

        return copy_batches(self._connection, convert(sql), params, schema)

    def state(self) -> object:
        """Return a value that is equal for two transactions only if they see the same rows."""
        # The snapshot names the transactions whose rows are visible, so it is exact. The sequence
        # of versions is not: a number may be drawn long before its row is committed. Reading draws
        # no transaction number, so it does not change the snapshot.
        return self.all("SELECT pg_current_snapshot()::text", {})[0][0]

    def run(self, sql: str, params: Params) -> int:
        return self._connection.execute(convert(sql), params).rowcount

    def many(self, sql: str, params: Iterable[Params]) -> None:
        self._connection.cursor().executemany(convert(sql), params)

    def copy(self, table: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
        names = ", ".join(map(quoted, columns))
        cursor = self._connection.cursor()
        cursor.execute(f"SELECT {names} FROM {table} LIMIT 0")  # noqa: S608 - names of ours
        types = [column.type_code for column in cursor.description or ()]
        self.copy_in(f"COPY {table} ({names}) FROM STDIN (FORMAT binary)", types, rows)

    def copy_in(self, sql: str, types: Sequence[int | str], rows: Iterable[Row]) -> None:
        """Run a binary COPY from the client. `types`: the types of its columns."""
        with self._connection.cursor().copy(sql.encode()) as copy:
            copy.set_types(types)
            for row in rows:
                copy.write_row(row)

    def attempt(self, work: Callable[[], bool]) -> bool:
        """Do some work, and return True. If a row exists already, undo the work and return
        False."""
        import psycopg

        try:
            with self._connection.transaction():
                return work()
        except psycopg.errors.UniqueViolation:
            return False

    def insert(self, sql: str, params: Params) -> int | None:
        row = self.one(f'{sql} RETURNING "id"', params)
        return None if row is None else int(row[0])

    def script(self, sql: str) -> None:
        self._connection.execute(sql.encode(), prepare=False)


@lru_cache(maxsize=512)
def convert(sql: str) -> str:
    """Return the text with the driver's parameters in place of `:name`."""
    return PARAMETER.sub(r"%(\1)s", sql.replace("%", "%%"))


def leave(connection: Connection[Any]) -> None:
    """Roll back a transaction that has not been committed."""
    import psycopg
    from psycopg.pq import TransactionStatus

    if connection.closed or connection.info.transaction_status == TransactionStatus.IDLE:
        return
    try:
        connection.rollback()
    except psycopg.Error:
        connection.close()  # which also ends the transaction
