"""The catalog in SQLite."""

from __future__ import annotations

from collections.abc import Sequence

from lakebed.catalog.sql.catalog import SQLCatalog
from lakebed.catalog.sqlite.executor import SQLiteExecutor
from lakebed.model import Change, Outcome, Upload


class SQLiteCatalog(SQLCatalog):
    """`SQLCatalog` where threads that commit at the same time share a transaction."""

    _executor: SQLiteExecutor

    def commit(self, changes: Sequence[Change], uploads: Sequence[Upload] = ()) -> list[Outcome]:
        return self._executor.commit(lambda tx: self._begin(tx, tx.now()).run(changes, uploads))
