"""The catalog in SQLite."""

from __future__ import annotations

from lakebed.catalog.sql.batch import BatchCommit
from lakebed.catalog.sql.catalog import SQLCatalog
from lakebed.catalog.sqlite.executor import SQLiteExecutor
from lakebed.catalog.statements.executor import Transaction
from lakebed.model import EntryRow


class SQLiteCatalog(SQLCatalog):
    """`SQLCatalog` with faster ways to read an entry and to store a batch."""

    _executor: SQLiteExecutor

    def __init__(self, executor: SQLiteExecutor, *, auto_migrate: bool = True) -> None:
        super().__init__(executor, auto_migrate=auto_migrate)
        # Parameters by position save 5 % of the time.
        self._get_entry = self._queries["get_entry"].replace(":key", "?").replace(":now", "?")

    def get(self, key: str) -> EntryRow | None:
        rows = self._executor.fetch(self._get_entry, (key, self._executor.now()))
        return EntryRow._make(rows[0]) if rows else None

    def _begin_batch(self, tx: Transaction, now: int) -> BatchCommit:
        from lakebed.catalog.sqlite.batch import SQLiteBatch  # a first store must not import it

        return SQLiteBatch(tx, self._queries, now, keep_all=self._keep_all)
