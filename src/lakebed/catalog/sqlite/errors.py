"""Translates SQLite's errors into those of `lakebed.errors`."""

from __future__ import annotations

import sqlite3

from lakebed.errors import (
    CatalogError,
    CorruptionError,
    LakebedError,
    LockTimeoutError,
    StorageError,
    ValidationError,
)

_READ_IT = "to read it all the same, open it with read_only=True"


def explain(error: Exception, where: object, lock_timeout: float) -> LakebedError:
    """Return the error of `lakebed.errors` for an error of sqlite3."""
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
        return CorruptionError(f"the catalog {where} is damaged, or not a SQLite file: {error}")
    if primary == sqlite3.SQLITE_CONSTRAINT:
        return ValidationError(f"the catalog {where} refuses the entry: {error}")
    if code == sqlite3.SQLITE_IOERR_SHMSIZE:
        return StorageError(
            f"cannot open the catalog {where} to write: the disk is full; `lakebed free` makes "
            "room, and read_only=True reads it"
        )
    if primary == sqlite3.SQLITE_IOERR:
        return StorageError(f"the disk under the catalog {where} fails: {error}")
    return CatalogError(f"the catalog {where} failed: {error}")


def is_busy(error: Exception) -> bool:
    """Return whether another connection holds a lock that was needed."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF == sqlite3.SQLITE_BUSY


def locked(lock_timeout: float) -> LockTimeoutError:
    """Return the error for a write lock that another connection holds."""
    return LockTimeoutError(
        f"the catalog's write lock was not free within {lock_timeout:g} seconds (lock_timeout)"
    )
