"""Removes the bytes of deleted rows from a database's own files, or says where they may remain."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

from lakebed.catalog.statements.executor import Row
from lakebed.errors import LakebedError, StorageError

DEAD_ROWS = (
    "the catalog's tables, where deleted rows keep their bytes until the server uses their place "
    "again (VACUUM and the like), and the server's own logs"
)
_GAPS = (
    "the catalog's file, in whose pages SQLite may have left parts of rows that it moved: its "
    "VACUUM removes them"
)
_LOG = "the catalog's log, which others are reading: maintain() empties it once they finish"
_LOG_ON_FULL_DISK = (
    "the catalog's log, which could not be written back, as on a full disk: maintain() empties it "
    "once there is room"
)
VACUUM_BYTES = 64 << 20
"""The largest file, in bytes, that VACUUM rewrites in well under a second. Nobody can write during
a VACUUM."""

_PAUSE = 0.02


def scrub_sqlite(
    run: Callable[[str], Sequence[Row]],
    path: str | os.PathLike[str],
    patience: float,
    *,
    thorough: bool,
) -> list[str]:
    """Empty SQLite's log. Return, in words, the places where deleted rows may remain.

    `thorough`: first rewrite a file of moderate size, and try for `patience` seconds. SQLite moves
    rows between pages, which leaves copies that `secure_delete` does not reach. `run`: runs a
    statement without waiting for readers, because that would keep writers waiting.
    """
    left = []
    if thorough and not (os.path.getsize(path) <= VACUUM_BYTES and _vacuum(run)):
        left.append(_GAPS)
    end = time.monotonic() + patience
    try:
        while run("PRAGMA wal_checkpoint(TRUNCATE)")[0][0]:
            if not thorough or time.monotonic() >= end:
                return [*left, _LOG]
            time.sleep(_PAUSE)
    except StorageError:  # a full disk; the rows are removed nevertheless
        return [*left, _LOG_ON_FULL_DISK]
    return left


def _vacuum(run: Callable[[str], Sequence[Row]]) -> bool:
    try:
        run("VACUUM")
    except LakebedError:  # for example a full disk or a lock; nothing has changed
        return False
    return True
