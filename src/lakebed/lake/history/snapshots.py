"""Snapshots: keep a state, compare, look back, go back."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from lakebed.clock import from_micros, to_micros
from lakebed.errors import ConflictError, NotFoundError, ValidationError
from lakebed.lake.base import PresentLake
from lakebed.lake.checks import check_count, check_flag, check_key, check_prefix
from lakebed.lake.entries.batch_reading import BatchReading
from lakebed.lake.entries.stats import Statistics
from lakebed.lake.history.snapshot import Snapshot, SnapshotList
from lakebed.lake.history.versions import History, Version
from lakebed.lake.searching import Searching
from lakebed.lake.sql.table_calls import table, tables
from lakebed.model import DiffRow, Moment, Progress, SnapshotRow

if TYPE_CHECKING:
    import ibis.expr.types as ir
    from ibis.backends.duckdb import Backend

    from lakebed.duckdb.result import QueryResult
    from lakebed.lake.history.diff import Diff, Restored
    from lakebed.lake.history.diff_spool import DiffSpool
    from lakebed.lake.history.feed import Changes
    from lakebed.lake.history.watch import Watch

MAX_NAME_BYTES = 255
_CONTROL = r"[\x00-\x1f\x7f]"
_ID = r"@[0-9a-f]{16}\Z"


class LakeView(BatchReading, Searching, Statistics, Mapping[str, Any]):
    """A lake as it was at a moment: the calls and the mapping of a lake that read.

    The calls raise NotFoundError once the snapshot is dropped, or the history pruned.
    """

    def __init__(self, lake: Snapshots, moment: Moment, shown: str) -> None:
        super().__init__(
            lake._catalog.at(moment),
            lake._objects,
            name=f"{lake.name} at {shown}",
            search=lake._search,
        )
        self._witness = lake._witness
        self.read_only = lake.read_only
        self._lake = lake
        self._moment = moment

    def _searched_moment(self) -> Moment:
        return self._moment

    def sql(
        self, query: str, params: Sequence[object] | Mapping[str, object] | None = None
    ) -> QueryResult:
        """Return the result of a SELECT over the tables `entries` and `documents` as of the moment.
        As `Lake.sql`."""
        engine = self._lake._queries.engine()
        return engine.run(query, params, self._lake._resolve, self._scores, self._moment)

    def ibis(self) -> Backend:
        """Return an Ibis backend with the tables `entries` and `documents` as of the moment. As
        `Lake.ibis`, with whose tables they join."""
        return self._lake._queries.stored_tables().ibis(self._moment)

    def table(self, key: str) -> ir.Table:
        """Return a table that was stored at the moment. As `Lake.table`."""
        return table(self._catalog, self._lake._queries.stored_tables(), key, self._moment)

    def tables(self, prefix: str = "", *, widen: bool = False, key_column: str = "key") -> ir.Table:
        """Return the tables that were stored under a prefix at the moment. As `Lake.tables`."""
        stored = self._lake._queries.stored_tables()
        return tables(stored, prefix, self._moment, widen=widen, key_column=key_column)

    def __repr__(self) -> str:
        return f"<LakeView of {self.name}>"

    __eq__ = object.__eq__
    __hash__ = object.__hash__


class Snapshots(PresentLake):
    """The calls on snapshots."""

    def create_snapshot(
        self,
        name: str | None = None,
        *,
        message: str | None = None,
        author: str | None = None,
        replace: bool = False,
    ) -> Snapshot:
        """Keep the present state of the lake under a name. Costs one row, whatever the lake's size.

        `name`: 1 to 255 bytes of text without control characters that does not begin with `@`. Left
        out, the snapshot is called `snapshot-<UTC time>`. `replace`: if another snapshot has the
        name, drop it in the same transaction. What only it kept is lost then.

        Raises ConflictError if the name is taken, unless `replace` is given, and ValidationError
        for a malformed name, and for a message or an author that is not a string or holds NUL.
        """
        self._must_write("create_snapshot")
        if name is None:
            name = f"snapshot-{from_micros(self._catalog.now()):%Y%m%dT%H%M%S.%fZ}"
        _check_name(name)
        check_flag("replace", replace)
        for field, text in (("message", message), ("author", author)):
            if text is not None:
                _check_text(field, text)
        return _snapshot(
            self._catalog.create_snapshot(_new_id(), name, message, author, replace=replace)
        )

    def watch(
        self,
        name: str | None = None,
        *,
        prefix: str = "",
        replace: bool = False,
        message: str | None = None,
        author: str | None = None,
    ) -> Watch:
        """Keep the state before a block of work, to see what the block changed and to undo it.

            with lake.watch("run") as run:
                agent.work(lake)
            print(run.diff)
            run.undo()

        The snapshot is made when the block begins, and stays. `name`, `replace`, `message` and
        `author` are as for `create_snapshot`. `prefix`: look at, and undo, only the keys that begin
        with it.

        Raises what `create_snapshot` raises, when the block begins.
        """
        from lakebed.lake.history.watch import Watch  # not for a first store

        check_prefix(prefix)
        make = partial(self.create_snapshot, name, message=message, author=author, replace=replace)
        return Watch(self, make, prefix)

    def snapshots(self) -> SnapshotList:
        """Return all snapshots, the oldest first."""
        return SnapshotList(map(_snapshot, self._catalog.snapshots()))

    def drop_snapshot(self, snapshot: str | Snapshot) -> None:
        """Remove a snapshot, by its name or id. `maintain` removes what only it kept.

        Views of it raise NotFoundError from then on. Raises NotFoundError if it does not exist.
        """
        self._must_write("drop_snapshot")
        row = self._find(snapshot)
        if not self._catalog.drop_snapshot(row.id):
            raise _no_snapshot(row.name)

    def at(self, moment: str | Snapshot | datetime | int) -> LakeView:
        """Return the lake as it was at a moment: read-only, with the calls of a lake that read.

        `moment`: a snapshot, its name or its id. In a lake with `history="all"` also a time (an
        aware datetime) or a version. Expiry is judged at that moment.

        Raises NotFoundError for a snapshot that does not exist and for history that is not kept.
        """
        found, shown = self._moment(moment)
        return LakeView(self, found, shown)

    def diff(
        self,
        a: str | Snapshot | datetime | int,
        b: str | Snapshot | datetime | int | None = None,
        *,
        prefix: str = "",
        progress: Progress | None = None,
    ) -> Diff:
        """Return what differs between two moments, or a moment and now: added, changed and removed.

        `a`, `b`: as for `at`. Without `b`, `a` is compared with now. `prefix`: only keys that begin
        with it. The cost grows with what happened between the two, not with the lake. `progress` is
        called with the differences found so far and their total, which is None until it is known.
        """
        from lakebed.lake.history.diff import Diff  # not for a first store
        from lakebed.lake.history.diff_spool import DiffSpool

        low, high = check_prefix(prefix)
        first, first_name = self._moment(a)
        second, second_name = (None, "now") if b is None else self._moment(b)
        spool = DiffSpool(self._catalog.diff(first, second, low, high), progress)
        return Diff(spool, self, (first_name, second_name))

    def changes(self, since: str | None = None, prefix: str = "") -> Changes:
        """Return what changed since a cursor, for caches, copies and whatever else follows a lake.

            changes = lake.changes(cursor)  # None: everything that is there, as `added`
            for change in changes:
                apply(change.key, change.change, change.after)
            cursor = changes.cursor  # keep it for the next call

        The result is iterated once. It has, in key order, changes with `key`, `change` (`added`,
        `changed` or `removed`), `before` and `after` (entries, or None where the key does not
        exist). No change is ever skipped, whoever writes at the same time. A key that changed
        several times is told once, with its last state. What expired counts as removed.

        `since`: the `cursor` of an earlier call. It is a string that survives restarts, and may be
        used again until a later one is used. It belongs to one reader. It is a snapshot, called
        `changes-…`, which costs a row and keeps what was replaced since. `maintain` drops one that
        was not used for 30 days. `prefix`: only keys that begin with it.

        Raises ValidationError for a malformed cursor, and NotFoundError for one that is gone.
        """
        from lakebed.lake.history.feed import read_changes  # not for a first store

        self._must_write("changes")
        low, high = check_prefix(prefix)

        def differs(then: Snapshot) -> bool:
            """Return whether anything differs. The first difference is enough."""
            moment, _ = self._moment(then)
            with closing(self._catalog.diff(moment, None, low, high)) as rows:
                return next(rows, None) is not None

        return read_changes(self, since, prefix, differs, self._catalog.now())

    def restore(
        self, snapshot: str | Snapshot, *, prefix: str = "", dry_run: bool = False
    ) -> Restored:
        """Make the lake, or the keys that begin with `prefix`, what it was at a snapshot.

        It happens at one moment. First the present is kept as a snapshot `before-restore-<UTC
        time>`, which the result names, so a restore can be undone by another. Entries of the
        snapshot whose expiry has passed since stay away, and the result counts them. The cost grows
        with the changes. `dry_run` changes nothing, and returns the diff that would be applied.
        """
        from lakebed.lake.history.diff import Restored  # not for a first store
        from lakebed.lake.history.diff_spool import DiffSpool

        if not check_flag("dry_run", dry_run):
            self._must_write("restore")
        low, high = check_prefix(prefix)
        row = self._find(snapshot)
        collected: list[DiffSpool] = []

        def collect(rows: Iterator[DiffRow]) -> None:
            collected.append(DiffSpool(rows))

        if dry_run:
            expired = self._catalog.preview_restore(row.moment(), low, high, collect)
            return Restored(collected[-1], self, ("now", row.name), None, expired)
        stamp = self._catalog.now()
        while True:
            name = f"before-restore-{from_micros(stamp):%Y%m%dT%H%M%S.%fZ}"
            try:
                kept, expired = self._catalog.restore(
                    row.moment(), low, high, (_new_id(), name), collect
                )
            except ConflictError:  # another restore has taken the name of this microsecond
                stamp += 1
                continue
            return Restored(collected[-1], self, (name, row.name), kept.name, expired)

    def history(self, key: str, *, limit: int | None = None, before: int | None = None) -> History:
        """Return the versions of a key that are kept, the newest first, or nothing if there are
        none.

        `limit`: the most versions to return. `before`: only versions below this number; with the
        number of the last one, a call goes on where an earlier one ended.

        With `history="snapshots"` these are the current version and those that a snapshot sees,
        which the result's `note` says. Raises ValidationError for a limit or version below 0.
        """
        wanted = None if limit is None else min(check_count("limit", limit), sys.maxsize // 2)
        below = None if before is None else min(check_count("before", before), sys.maxsize // 2)
        rows = self._catalog.history(check_key(key), wanted, below)
        note = None
        if self._history != "all":
            note = "between snapshots, replaced versions are not kept (history='snapshots')"
        return History([Version(row, self) for row in rows], note)

    def _moment(self, moment: object) -> tuple[Moment, str]:
        """Return a moment as callers name it, and how to show it."""
        if isinstance(moment, (str, Snapshot)):
            row = self._find(moment)
            return row.moment(), row.name
        if isinstance(moment, datetime):
            if moment.utcoffset() is None:
                raise ValidationError("the time must have a time zone (an aware datetime)")
            return self._catalog.moment(time=to_micros(moment)), moment.isoformat()
        version = check_count("version", moment)
        return self._catalog.moment(version=version), f"version {version}"

    def _resolve(self, moment: object) -> Moment:
        return self._moment(moment)[0]

    def _find(self, snapshot: object) -> SnapshotRow:
        name = snapshot.id if isinstance(snapshot, Snapshot) else snapshot
        if not isinstance(name, str):
            raise ValidationError(
                f"snapshot must be a name, an id or a Snapshot, got {type(name).__name__}"
            )
        if not name.startswith("@"):
            _check_name(name)
        elif not re.match(_ID, name):
            raise ValidationError(f"{name!r} is not the id of a snapshot")
        row = self._catalog.find_snapshot(name)
        if row is None:
            raise _no_snapshot(name)
        return row


def _check_name(name: object) -> None:
    text = _check_text("name", name)
    if not text:
        raise ValidationError("name must not be empty")
    if text.startswith("@"):
        raise ValidationError(f"name must not begin with '@', which marks ids, got {text!r}")
    if re.search(_CONTROL, text):
        raise ValidationError(f"name must not contain control characters, got {text!r}")
    size = len(text.encode())
    if size > MAX_NAME_BYTES:
        raise ValidationError(f"name must take at most {MAX_NAME_BYTES} bytes, got {size}")


def _check_text(field: str, text: object) -> str:
    """Return text that every catalog can hold."""
    if not isinstance(text, str):
        raise ValidationError(f"{field} must be a string, got {type(text).__name__}")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValidationError(f"{field} must not hold a lone surrogate, got {text!r}") from None
    if "\0" in text:
        raise ValidationError(f"{field} must not hold a NUL character, got {text!r}")
    return text


def _new_id() -> str:
    return f"@{os.urandom(8).hex()}"


def _snapshot(row: SnapshotRow) -> Snapshot:
    purged_at = None if row.purged_at is None else from_micros(row.purged_at)
    times = {"created_at": from_micros(row.created_at), "purged_at": purged_at}
    return Snapshot(**(row._asdict() | times))


def _no_snapshot(name: str) -> NotFoundError:
    return NotFoundError(f"no snapshot with the name or id {name!r}")
