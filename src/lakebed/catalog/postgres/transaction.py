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
    """One transaction on a connection; see `Transaction`."""

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

        # A cursor of the server, which may be left with rows unread.
        cursor = self._connection.cursor(f"each_{secrets.token_hex(4)}", binary=True)
        try:
            with cursor:
                cursor.execute(convert(sql), params)
                yield from cursor
        except psycopg.Error:
            cursor.close()  # if its CLOSE has failed, psycopg takes it for open, and warns of it
            raise

    def batches(self, sql: str, params: Params, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """The rows as Arrow."""
        from lakebed.catalog.postgres.copy import copy_batches

        return copy_batches(self._connection, convert(sql), params, schema)

    def state(self) -> object:
        """The same for two transactions only if they see the same rows."""
        # What tells which transactions a row must come from to be seen: exact, where the sequence
        # of versions is not (a number may be drawn long before its row is committed). Our own
        # reading takes no number of a transaction.
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
        """Run a binary COPY from the client; `types` of its columns."""
        with self._connection.cursor().copy(sql.encode()) as copy:
            copy.set_types(types)
            for row in rows:
                copy.write_row(row)

    def attempt(self, work: Callable[[], bool]) -> bool:
        """Whether the work was done; if it came upon a row that is there already, nothing of it."""
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
    """The text with the driver's parameters in place of `:name`."""
    return PARAMETER.sub(r"%(\1)s", sql.replace("%", "%%"))


def leave(connection: Connection[Any]) -> None:
    """End a transaction that has not been committed."""
    import psycopg
    from psycopg.pq import TransactionStatus

    if connection.closed or connection.info.transaction_status == TransactionStatus.IDLE:
        return
    try:
        connection.rollback()
    except psycopg.Error:
        connection.close()  # which ends it just as well
