"""A transaction on a connection of SQLAlchemy's pool."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from typing import TYPE_CHECKING

from lakebed.catalog.sqlalchemy.connection import Lent
from lakebed.catalog.statements.executor import Params, Row

if TYPE_CHECKING:
    from lakebed.catalog.sqlalchemy.database import Database


class SQLAlchemyTransaction:
    """One transaction on a connection. `Transaction` describes its calls."""

    __slots__ = ("_database", "_lent", "now")

    def __init__(self, lent: Lent, database: Database, now: Callable[[], int]) -> None:
        self._lent = lent
        self._database = database
        self.now = now

    def one(self, sql: str, params: Params) -> Row | None:
        row: Row | None = self._lent.execute(sql, params).fetchone()
        return row

    def all(self, sql: str, params: Params) -> Sequence[Row]:
        rows: Sequence[Row] = self._lent.execute(sql, params).fetchall()
        return rows

    def each(self, sql: str, params: Params) -> Generator[Row]:
        if not self._database.streams:
            yield from self.all(sql, params)
            return
        cursor = self._lent.proxied.cursor()  # other statements may run meanwhile
        try:
            self._lent.execute(sql, params, cursor)
            while rows := cursor.fetchmany(100):
                yield from rows
        finally:
            cursor.close()

    def run(self, sql: str, params: Params) -> int:
        return self._database.count(self._lent.execute(sql, params))

    def many(self, sql: str, params: Iterable[Params]) -> None:
        self._lent.execute_many(sql, params)

    def copy(self, table: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
        self._database.copy(self._lent, table, columns, rows)

    def insert(self, sql: str, params: Params) -> int | None:
        if self._database.returns:
            row = self.one(f'{sql} RETURNING "id"', params)
            return None if row is None else int(row[0])
        cursor = self._lent.execute(sql, params)
        return int(cursor.lastrowid) if cursor.rowcount > 0 else None

    def script(self, sql: str) -> None:
        self._lent.run(self._database.statements(sql))
