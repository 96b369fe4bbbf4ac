"""A lock in a SQLite file, for the processes of one machine."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import timedelta

from lakebed.clock import Clock, system_clock
from lakebed.errors import ConfigurationError, LockTimeoutError, StorageError
from lakebed.locks.base import Lock
from lakebed.paths import absolute

_BUSY_SECONDS = 10.0  # a transaction takes milliseconds, but a disk may be slow
_CREATE = """
CREATE TABLE IF NOT EXISTS "lakebed_lock" (
    "name" TEXT NOT NULL PRIMARY KEY, "token" INTEGER NOT NULL,
    "owner" TEXT, "expires_at" INTEGER NOT NULL
)"""
_TAKE = """
INSERT INTO "lakebed_lock" ("name", "token", "owner", "expires_at") VALUES (:name, 1, :owner, :end)
ON CONFLICT ("name") DO UPDATE
    SET "token" = "token" + 1, "owner" = :owner, "expires_at" = :end
    WHERE "owner" IS NULL OR "owner" = :owner OR "expires_at" <= :now
RETURNING "token\""""
_MINE = '"name" = :name AND "owner" = :owner AND "token" = :token AND "expires_at" > :now'
_EXTEND = f'UPDATE "lakebed_lock" SET "expires_at" = :end WHERE {_MINE}'  # noqa: S608 - our own
_FREE = 'UPDATE "lakebed_lock" SET "owner" = NULL WHERE "name" = :name AND "token" = :token'


class SQLiteLock(Lock):
    """A lock in a SQLite file, which the processes of one machine share.

    `path`: the file. It is created if it does not exist, and may hold any number of locks. It must
    not be on a network file system.

    The machine's clock decides when a time to live has passed.

    Raises ConfigurationError if `path` is not a path.
    """

    def __init__(
        self,
        name: str,
        ttl: float | timedelta = 300,
        *,
        path: str | os.PathLike[str],
        clock: Clock = system_clock,
    ) -> None:
        super().__init__(name, ttl, clock=clock)
        if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
            raise ConfigurationError(f"path must be the path of a SQLite file, got {path!r}")
        self._path = absolute(os.path.expanduser(path))  # noqa: PTH111 - as paths are elsewhere

    def _take(self, owner: str) -> int | None:
        with self._transaction() as connection:
            row = connection.execute(_TAKE, self._values(owner)).fetchone()
        return None if row is None else int(row[0])

    def _extend(self, owner: str, token: int) -> bool:
        with self._transaction() as connection:
            return bool(connection.execute(_EXTEND, self._values(owner, token)).rowcount)

    def _free(self, owner: str, token: int) -> bool:
        with self._transaction() as connection:
            return bool(connection.execute(_FREE, self._values(owner, token)).rowcount)

    def _values(self, owner: str, token: int = 0) -> Mapping[str, object]:
        now = self._clock()  # read inside the transaction, because waiting for it took time
        return {
            "name": self.name, "owner": owner, "token": token,
            "now": now, "end": now + self._micros,
        }  # fmt: skip

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Open a block with a connection for one transaction. The connection does not outlive the
        block, so that a fork inherits no open one."""
        try:
            with closing(
                sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None)
            ) as connection:
                connection.execute("PRAGMA synchronous = FULL")  # a token must never be given twice
                connection.execute("BEGIN IMMEDIATE")
                connection.execute(_CREATE)
                yield connection
                connection.execute("COMMIT")
        except sqlite3.Error as error:
            code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
            if code == sqlite3.SQLITE_BUSY:
                raise LockTimeoutError(
                    f"the file of the lock {self.name!r}, {self._path}, was not free within "
                    f"{_BUSY_SECONDS:g} seconds"
                ) from error
            raise StorageError(f"the file of the lock {self.name!r}, {self._path}: {error}") from (
                error
            )
