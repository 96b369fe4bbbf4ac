"""What SQLite's errors mean, in the words of Lakebed."""

from __future__ import annotations

import sqlite3

from lakebed.errors import (
    CatalogError,
    CorruptionError,
    LakebedError,
    LockTimeoutError,
    StorageError,
)

_READ_IT = "open it with read_only=True to read it all the same"


def explain(error: Exception, where: object, lock_timeout: float) -> LakebedError:
    """The error of ours that says what happened; `error` is sqlite3's."""
    code = getattr(error, "sqlite_errorcode", None)
    primary = None if code is None else code & 0xFF
    if is_busy(error):
        return locked(lock_timeout)
    if primary == sqlite3.SQLITE_FULL:
        return StorageError(
            f"cannot write to the catalog {where}: the disk is full; `lakebed free` makes room"
        )
    if primary in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return StorageError(f"cannot write to the catalog {where}: it is read-only; {_READ_IT}")
    if primary == sqlite3.SQLITE_CANTOPEN:
        return StorageError(
            f"cannot open the catalog {where}: the file or its folder is missing or not writable; "
            f"{_READ_IT}"
        )
    if primary in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return CorruptionError(f"the catalog {where} is damaged or no SQLite file: {error}")
    if code == sqlite3.SQLITE_IOERR_SHMSIZE:
        return StorageError(
            f"cannot open the catalog {where} to write: the disk is full; `lakebed free` makes "
            "room, and read_only=True reads it"
        )
    if primary == sqlite3.SQLITE_IOERR:
        return StorageError(f"the disk under the catalog {where} fails: {error}")
    return CatalogError(f"the catalog {where} failed: {error}")


def is_busy(error: Exception) -> bool:
    """Whether others hold a lock that was needed."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF == sqlite3.SQLITE_BUSY


def locked(lock_timeout: float) -> LockTimeoutError:
    """The error for a write lock that others hold."""
    return LockTimeoutError(
        f"the catalog's write lock was not free within {lock_timeout:g} seconds (lock_timeout)"
    )
