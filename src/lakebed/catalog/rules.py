"""The rules of a commit: what a change does to the entry that is there.

Nothing here asks a database. A commit row by row does what `decide` says. The statements for whole
batches and the functions in Postgres say the same in SQL, and tests hold them to it.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from lakebed.errors import ConflictError
from lakebed.model import Change, Delete, EntryRow, Put

EVERY_VERSION = 2**62
"""In place of the newest snapshot's version, where all history is kept."""


class Decision(NamedTuple):
    """What a change writes.

    `kind`: what happens to the row of the key. Unless it is "nothing", a version is drawn.
    `changed`: whether readers see a difference. `created`: whether there is an entry now and was
    none before. `kept`: whether the row that goes stays in the history. `expires_at`,
    `created_at`: those of the new row, in microseconds.
    """

    kind: Literal["nothing", "create", "replace", "delete"]
    changed: bool
    created: bool
    kept: bool
    expires_at: int | None
    created_at: int


def decide(change: Change, state: EntryRow | None, now: int, newest_snapshot: int) -> Decision:
    """Return what a change writes.

    `state`: the row of its key, expired or not. `now`: the time of the commit. `newest_snapshot`:
    the version of the newest snapshot, 0 if there is none, or EVERY_VERSION. Raises ConflictError
    if a condition of the change does not hold.
    """
    alive = state if is_visible(state, now) else None
    if change.if_match is not None and (alive is None or alive.content_hash != change.if_match):
        raise ConflictError(
            f"if_match: {change.key!r} "
            + ("is not there" if alive is None else "has other content by now")
        )
    kept = state is not None and is_kept(state, newest_snapshot)
    if isinstance(change, Delete):
        kind: Literal["nothing", "delete"] = "nothing" if state is None else "delete"
        return Decision(kind, alive is not None, False, kept, None, now)
    if change.if_absent and alive is not None:
        raise ConflictError(f"if_absent: {change.key!r} is there already")
    expires_at = _expiry(change, alive, now)
    if alive is None:
        return Decision("create" if state is None else "replace", True, True, kept, expires_at, now)
    if _value(alive) == (*change.content.id, change.metadata, expires_at):
        return Decision("nothing", False, False, False, expires_at, alive.created_at)
    return Decision("replace", True, False, kept, expires_at, alive.created_at)


def is_visible(row: EntryRow | None, now: int) -> bool:
    """Return whether there is an entry that has not expired."""
    return row is not None and (row.expires_at is None or row.expires_at > now)


def is_kept(row: EntryRow, newest_snapshot: int) -> bool:
    """Return whether a row that is replaced or deleted stays in the history."""
    return row.version <= newest_snapshot


def _expiry(put: Put, alive: EntryRow | None, now: int) -> int | None:
    if put.keep_expiry and alive is not None:
        return alive.expires_at
    return put.expires_at if put.ttl is None else now + put.ttl


def _value(row: EntryRow) -> tuple[object, ...]:
    return row.content_hash, row.format, row.metadata, row.expires_at
