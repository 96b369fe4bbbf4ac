"""The catalog in libSQL."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Literal

from lakebed.catalog.hrana.commit import WiredCommit
from lakebed.catalog.hrana.executor import HranaExecutor
from lakebed.catalog.hrana.memory import Memory
from lakebed.catalog.sql.catalog import SQLCatalog
from lakebed.catalog.sql.commit import Commit
from lakebed.catalog.statements.executor import Transaction
from lakebed.errors import LakebedError
from lakebed.model import Collected

_WEEK = 7 * 86_400_000_000
# Removes the marks of processes that ended long ago. A token is the time of its commit.
_DROP_MARKS = 'DELETE FROM writer WHERE "token" < :before'


class HranaCatalog(SQLCatalog):
    """`SQLCatalog` with one or two requests per store.

    A store takes two requests if the client must ask the server first. Threads that commit at the
    same time share a transaction.
    """

    _executor: HranaExecutor

    def __init__(self, executor: HranaExecutor, *, auto_migrate: bool = True) -> None:
        super().__init__(executor, auto_migrate=auto_migrate)
        self._memory = Memory()
        # The server has no temporary tables. Under the write lock, no one else uses an ordinary
        # one.
        create = self._queries["create_staged"]
        create = create.replace("CREATE TEMP TABLE", "CREATE TABLE")
        self._queries = {**self._queries, "create_staged": create}

    def now(self) -> int:
        return self._executor.asked_now()

    def examine(self) -> Iterator[tuple[str, Literal["ok", "note", "wrong"], str]]:
        """Check whether the token may write."""
        try:
            self._executor.try_to_write()
            yield "rights", "ok", "read and write"
        except LakebedError as error:
            state: Literal["note", "wrong"] = "note" if self._executor.read_only else "wrong"
            yield "rights", state, str(error)

    def _begin(self, tx: Transaction, now: int) -> Commit:
        return WiredCommit(tx, self._queries, now, self._memory, keep_all=self._keep_all)

    def collect(self, after: int, limit: int, *, dry_run: bool = False) -> Collected:
        if not dry_run and after <= 0:
            marks = {"before": time.time_ns() // 1000 - _WEEK}
            self._executor.transact(lambda tx: tx.later(_DROP_MARKS, marks))
        return super().collect(after, limit, dry_run=dry_run)
