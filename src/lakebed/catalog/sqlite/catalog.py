"""The catalog in SQLite."""

from __future__ import annotations

from collections.abc import Sequence

from lakebed.catalog.sql.batch import BatchCommit
from lakebed.catalog.sql.catalog import SQLCatalog
from lakebed.catalog.sqlite.executor import SQLiteExecutor
from lakebed.catalog.statements.executor import Transaction
from lakebed.model import Change, EntryRow, Outcome, Upload


class SQLiteCatalog(SQLCatalog):
    """`SQLCatalog` where threads that commit at the same time share a transaction."""

    _executor: SQLiteExecutor

    def __init__(self, executor: SQLiteExecutor, *, auto_migrate: bool = True) -> None:
        super().__init__(executor, auto_migrate=auto_migrate)
        # By position: a twentieth of the reading.
        self._get_entry = self._queries["get_entry"].replace(":key", "?").replace(":now", "?")

    def get(self, key: str) -> EntryRow | None:
        rows = self._executor.fetch(self._get_entry, (key, self._executor.now()))
        return EntryRow._make(rows[0]) if rows else None

    def commit(self, changes: Sequence[Change], uploads: Sequence[Upload] = ()) -> list[Outcome]:
        return self._executor.commit(lambda tx: self._begin(tx, tx.now()).run(changes, uploads))

    def _begin_batch(self, tx: Transaction, now: int) -> BatchCommit:
        from lakebed.catalog.sqlite.batch import SQLiteBatch  # not for a first store

        return SQLiteBatch(tx, self._queries, now, keep_all=self._keep_all)
