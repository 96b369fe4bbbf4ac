"""The change feed: what changed since a reader last looked.

A cursor is a snapshot that belongs to one reader. The changes are what differs between the
reader's last snapshot and a new one, so none can be skipped, however many clients write, and a key
that changed often is told once. Versions could not serve: on Postgres they are not in the order of
the commits (docs/design/change-feed.md).
"""

from __future__ import annotations

import heapq
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import ClassVar, Literal, Protocol

from lakebed.clock import to_micros
from lakebed.errors import NotFoundError, ValidationError
from lakebed.lake.history.diff import Diff
from lakebed.lake.history.snapshot import Snapshot
from lakebed.model import SnapshotRow
from lakebed.records import Entry, Record

KEPT_DAYS = 30
"""How long an unused cursor is kept, at least."""
_DAY = 86_400_000_000  # microseconds
_PREFIX = "changes-"
_CURSOR = re.compile(rf"(?:^|/){_PREFIX}([0-9a-f]{{16}})-([0-9]{{10}})-[0-9a-f]{{8}}\Z")
"""Groups: the reader, and how many looks it has taken."""

ChangeKind = Literal["added", "changed", "removed"]


class FeedChange(Record):
    """One change: the key, what happened (`added`, `changed` or `removed`), and the entry `before`
    and `after`, each None where the key was not there."""

    __slots__ = ("_after", "_before")
    FIELDS: ClassVar[tuple[str, ...]] = ("key", "change", "before", "after")

    def __init__(self, before: Entry | None, after: Entry | None) -> None:
        self._before, self._after = before, after

    @property
    def key(self) -> str:
        entry = self._after or self._before
        assert entry is not None
        return entry.key

    @property
    def change(self) -> ChangeKind:
        if self._before is None:
            return "added"
        return "removed" if self._after is None else "changed"

    @property
    def before(self) -> Entry | None:
        return self._before

    @property
    def after(self) -> Entry | None:
        return self._after


class Changes(Iterator[FeedChange]):
    """The changes since a cursor, in key order; to be iterated once.

    `cursor`: what the next call continues from. Store it when the changes are dealt with: a reader
    that fails before that asks with its old cursor again, and is told these changes again.
    """

    def __init__(self, changes: Iterator[FeedChange], cursor: str) -> None:
        self._changes = changes
        self.cursor = cursor

    def __next__(self) -> FeedChange:
        return next(self._changes)

    def __repr__(self) -> str:
        return f"<Changes up to {self.cursor}>"


class _Listed(Protocol):
    def list(self, prefix: str = "") -> Iterable[Entry]: ...


class Feeding(Protocol):
    """What the feed asks of its lake."""

    def create_snapshot(self, name: str, *, message: str) -> Snapshot: ...

    def drop_snapshot(self, snapshot: Snapshot) -> None: ...

    def snapshots(self) -> Sequence[Snapshot]: ...

    def diff(self, a: Snapshot, b: Snapshot | None = None, *, prefix: str = "") -> Diff: ...

    def at(self, moment: Snapshot) -> _Listed: ...


def read_changes(
    lake: Feeding,
    since: str | None,
    prefix: str,
    differs: Callable[[Snapshot], bool],
    now: int,
) -> Changes:
    """Return the changes since a cursor, and move its reader on.

    `differs` tells whether anything differs between a snapshot and now. `now` is the catalog's time
    in microseconds.
    """
    if since is None:
        made = _move_on(lake, os.urandom(8).hex(), 0)
        return Changes((FeedChange(None, entry) for entry in lake.at(made).list(prefix)), made.name)
    reader, looks = _parts_of(since)
    then = _let_go(lake, since, reader, looks)
    if now - to_micros(then.created_at) < _DAY and not differs(then):
        return Changes(iter(()), since)
    made = _move_on(lake, reader, looks + 1)
    return Changes(_differences(lake.diff(then, made, prefix=prefix)), made.name)


def unused_cursors(snapshots: Iterable[SnapshotRow], now: int) -> list[SnapshotRow]:
    """Return the cursors that nobody has used for `KEPT_DAYS`, those of scopes included. A cursor
    in use is never as old: its reader gets a new one each day, even if nothing changes."""
    horizon = now - KEPT_DAYS * _DAY
    return [row for row in snapshots if row.created_at < horizon and _CURSOR.search(row.name)]


def _parts_of(cursor: object) -> tuple[str, int]:
    """Return the reader of a cursor, and how many looks it had taken before."""
    if not isinstance(cursor, str):
        raise ValidationError(f"since must be a cursor, got {type(cursor).__name__}")
    found = _CURSOR.match(cursor)
    if found is None:
        raise ValidationError(
            f"since is {cursor!r}: expected the `cursor` of an earlier call of changes(), or None "
            "to begin"
        )
    return found[1], int(found[2])


def _move_on(lake: Feeding, reader: str, looks: int) -> Snapshot:
    name = f"{_PREFIX}{reader}-{looks:010}-{os.urandom(4).hex()}"
    return lake.create_snapshot(name, message="a cursor of changes()")


def _let_go(lake: Feeding, cursor: str, reader: str, looks: int) -> Snapshot:
    """Find the snapshot of a cursor, and drop those of earlier looks. The others stay: the reader
    was told of them, and may still come back with one."""
    mine = _cursors_of(lake, reader)
    found = [made for made in mine if made.name == cursor]
    if not found:
        raise NotFoundError(
            f"the cursor {cursor!r} is gone: one that is not used is kept for {KEPT_DAYS} days, "
            "and using a later one ends it. Begin again with since=None"
        )
    for made in mine:
        if _parts_of(made.name)[1] < looks:
            _drop(lake, made)
    return found[0]


def forget_reader(lake: Feeding, cursor: str) -> None:
    """Drop all cursors of a reader that will not come back."""
    for made in _cursors_of(lake, _parts_of(cursor)[0]):
        _drop(lake, made)


def _cursors_of(lake: Feeding, reader: str) -> list[Snapshot]:
    return [made for made in lake.snapshots() if made.name.startswith(f"{_PREFIX}{reader}-")]


def _drop(lake: Feeding, made: Snapshot) -> None:
    with suppress(NotFoundError):  # somebody else was faster
        lake.drop_snapshot(made)


def _differences(diff: Diff) -> Iterator[FeedChange]:
    added = (FeedChange(None, entry) for entry in diff.added)
    removed = (FeedChange(entry, None) for entry in diff.removed)
    changed = (FeedChange(change.before, change.after) for change in diff.changed)
    return heapq.merge(added, changed, removed, key=lambda change: change.key.encode())
