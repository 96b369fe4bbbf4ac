"""SQLite through the standard library: one connection for each thread, one writer at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from lakebed.catalog.sqlite.connections import READ, WRITE, SQLiteConnection, SQLiteConnections
from lakebed.catalog.sqlite.errors import is_busy, locked
from lakebed.catalog.sqlite.grouping import Grouping
from lakebed.catalog.sqlite.scrubbing import scrub_sqlite
from lakebed.catalog.sqlite.transaction import SQLiteTransaction
from lakebed.catalog.statements.dialect import SQLITE
from lakebed.catalog.statements.executor import Params, Row, T
from lakebed.clock import Clock, system_clock


class SQLiteExecutor(SQLiteConnections):
    """A SQLite file, or a private database in memory. `SQLiteConnections` describes the options."""

    dialect = SQLITE
    schema = None
    read_only = False

    def _start(self) -> None:
        super()._start()
        self._grouping = self._group()

    def after_fork_in_child(self, connections: list[SQLiteConnection]) -> None:
        super().after_fork_in_child(connections)
        self._grouping = self._group()

    def use_clock(self, clock: Clock | None) -> Clock | None:
        before, self.now = self.now, clock or system_clock
        return before

    def stamp(self) -> int:
        return self.now()

    def fetch(self, sql: str, params: Params | Row) -> Sequence[Row]:
        connection = self.connection()
        try:
            with connection.lock if self._shared is None else self._gate:
                try:
                    return connection.execute(sql, params).fetchall()
                except sqlite3.OperationalError as error:
                    if not is_busy(error):
                        raise
                return self._wait(connection, sql, params, self._lock_timeout)
        except sqlite3.Error as error:
            raise self.translate(error) from error

    def read(self, work: Callable[[SQLiteTransaction], T], *, settled: bool = False) -> T:
        del settled  # a writer holds the write lock from drawing a version to its commit
        with self._read() as tx:
            return work(tx)

    @contextmanager
    def reading(self, begin: Callable[[SQLiteTransaction], T]) -> Iterator[T]:
        with self._read() as tx:
            yield begin(tx)

    def transact(
        self,
        work: Callable[[SQLiteTransaction], T],
        *,
        exclusive: bool = False,
        patient: bool = True,
        brief: bool = False,
    ) -> T:
        del exclusive  # SQLite has one writer at a time anyway
        if brief and patient and (self._grouping.busy or self._gate.locked()):
            return self._grouping.run(work)
        with self._write(self._lock_timeout if patient else 0.0) as tx:
            return work(tx)

    def _read(self) -> SQLiteTransaction:
        gate = self._gate if self._shared is not None else self.connection().lock
        return SQLiteTransaction(self, READ, gate, self._lock_timeout)

    def _write(self, wait: float) -> SQLiteTransaction:
        return SQLiteTransaction(self, WRITE, self._gate, wait)

    def _group(self) -> Grouping[SQLiteTransaction]:
        return Grouping(self._write, lambda: locked(self._lock_timeout), self._lock_timeout)

    def scrub(self, *, thorough: bool = True) -> Sequence[str]:
        if self._path is None:
            return ()
        return scrub_sqlite(
            lambda sql: self.fetch(sql, {}), self._path, self._lock_timeout, thorough=thorough
        )
