"""Find out whether a commit happened if its answer was lost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from lakebed.catalog.postgres.errors import is_broken, is_repeatable
from lakebed.documents.backend import Key, OvertakenError
from lakebed.documents.postgres.pools import Pool, Session
from lakebed.errors import ConnectError, LakebedError

NOTE = "pg_current_xact_id()::text, pg_postmaster_start_time()::text, now()::text"
"""The columns that a write returns about its transaction, for `Note`."""
_STATUS = "SELECT pg_xact_status(%s::text::xid8), pg_postmaster_start_time()::text"
_OUR_ROW = """SELECT FROM {table} WHERE "collection" = %s AND "doc_id" = %s
 AND xmin::text::bigint = %s::text::bigint %% 4294967296 AND "updated_at" = %s::text::timestamptz"""
_FUTURE = "22023"  # the error code for a number that the server, after a crash, does not know
_PAUSE = 0.05  # seconds


class Outcome(Enum):
    """What became of a transaction whose commit was not answered."""

    WRITTEN = "written"
    LOST = "lost"
    UNKNOWN = "unknown"


class Note(NamedTuple):
    """What is needed to find out whether a transaction has happened: its number, when its server
    started, its own time, and a document that it writes (None if it only deletes)."""

    xid: str
    started: str
    time: str
    key: Key | None

    @classmethod
    def of(cls, row: Sequence[str], key: Key | None) -> Note:
        """Return the note in a row that a write has returned."""
        xid, started, at = row
        return cls(xid, started, at, key)


async def commit(session: Session, pool: Pool, table: str, note: Note | None) -> None:
    """Commit the transaction of a session.

    If the connection is lost meanwhile, find out whether the commit happened. Raises OvertakenError
    if it did not, and ConnectError if that cannot be known. `note`: None for a transaction that
    wrote nothing.
    """
    try:
        await session.script("COMMIT")
    except LakebedError as error:
        if note is None or not is_broken(error):
            raise
        await session.give_back()
        await pool.check()
        await _settle(pool, table, note, error)


async def _settle(pool: Pool, table: str, note: Note, lost: LakebedError) -> None:
    deadline = time.monotonic() + pool.timeout
    while True:
        try:
            outcome = await _outcome(pool, table, note)
        except LakebedError as error:
            if not is_repeatable(error) or time.monotonic() > deadline:
                raise _unknown(error) from error.__cause__
            outcome = None
        if outcome is not None:
            break
        await pool.sleep(_PAUSE)
    if outcome is Outcome.UNKNOWN:
        raise _unknown(lost)
    if outcome is Outcome.LOST:
        raise OvertakenError(
            f"the connection was lost during a commit, and nothing was written: {lost}"
        )


async def _outcome(pool: Pool, table: str, note: Note) -> Outcome | None:
    """Return what became of a transaction, or None while it is still in progress."""
    try:
        ((status, started),) = await pool.fetch(_STATUS, (note.xid,))
    except LakebedError as error:
        if getattr(error.__cause__, "sqlstate", None) == _FUTURE:
            return Outcome.LOST
        raise
    if status == "in progress":
        return None
    if status != "committed":
        return Outcome.LOST
    # A server that crashed and restarted may have reused the number.
    if started == note.started or await _is_there(pool, table, note):
        return Outcome.WRITTEN
    return Outcome.UNKNOWN


async def _is_there(pool: Pool, table: str, note: Note) -> bool:
    if note.key is None:
        return False
    values = (*note.key, note.xid, note.time)
    return bool(await pool.fetch(_OUR_ROW.format(table=table), values))


def _unknown(error: LakebedError) -> ConnectError:
    return ConnectError(
        f"the connection was lost during a commit, and it is unknown whether it happened: {error}"
    )
