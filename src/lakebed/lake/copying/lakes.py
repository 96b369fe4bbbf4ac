"""Copy from one open lake to another."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from lakebed.errors import ValidationError
from lakebed.lake.checks import check_prefix
from lakebed.lake.copying.entries import EntryCopy, OnConflict
from lakebed.lake.copying.report import CopyReport
from lakebed.lake.history.snapshots import LakeView
from lakebed.lake.lake import Lake
from lakebed.model import EntryRow, Progress, SnapshotRow

ON_CONFLICT: tuple[OnConflict, ...] = ("fail", "skip", "replace")
BACKING_UP = "while a backup runs"
_COPYING = "while lakebed.copy runs"
_KEEPS = re.compile(r"(copy-to|backup)-[0-9a-f]+")


def copy_entries(
    source: Lake,
    target: Lake,
    prefix: str,
    on_conflict: OnConflict,
    progress: Progress | None,
) -> CopyReport:
    """Copy the entries under a prefix as they are at one moment. See `lakebed.copy`."""
    check_pair(source, target)
    low, high = check_prefix(prefix)
    copy = EntryCopy(source, target, on_conflict, progress)
    with kept_moment(source, copy_name(target._lake_id)) as (view, _):
        if on_conflict == "fail" and target._catalog.count(low, high):
            copy.check(view.list(prefix).rows())
        copy.run(view.list(prefix).rows(), view._catalog.count(low, high))
        return copy.report(copy.verify(view.list(prefix).rows()))


def copy_name(to: str) -> str:
    """Return the name of the snapshot that keeps the state of a source during a copy.

    `to`: the id of the target.
    """
    return f"copy-to-{to[:16]}"


def backup_name(run_id: str) -> str:
    """Return the name of the snapshot that keeps the state of a source during a backup."""
    return f"backup-{run_id}"


def keeps_moment(snapshot: SnapshotRow) -> bool:
    """Return whether a snapshot was made by a copy or a backup that is running or was killed.

    Such a snapshot is not part of the lake's past.
    """
    return snapshot.message in (_COPYING, BACKING_UP) and bool(_KEEPS.fullmatch(snapshot.name))


@contextmanager
def kept_moment(
    source: Lake, name: str, message: str = _COPYING
) -> Iterator[tuple[Lake | LakeView, SnapshotRow | None]]:
    """Keep the state of the source in a snapshot with this name, until the block ends.

    Yields a view of the source, and the snapshot. If the source was opened read-only, no snapshot
    can be made. Then yields the source and None, and each read sees the source as it is then.
    """
    if source.read_only:
        yield source, None
        return
    kept = source._catalog.create_snapshot(
        f"@{os.urandom(8).hex()}", name, message, None, replace=True
    )
    try:
        yield source.at(kept.id), kept
    finally:
        source._catalog.drop_snapshot(kept.id)


def follow_lake(
    source: Lake, target: Lake, cursor: str | None, prefix: str, progress: Progress | None
) -> CopyReport:
    """Bring a copy up to date with what changed since a cursor. See `lakebed.follow`."""
    check_pair(source, target)
    copy = EntryCopy(source, target, "replace", progress)
    changes = source.changes(cursor, prefix)
    removed = list[str]()

    def rows() -> Iterable[EntryRow]:
        for change in changes:
            if change.after is None:
                removed.append(change.key)
            else:
                yield change.after._row

    copy.run(rows(), None)
    copy.remove(removed)
    return copy.report([], cursor=changes.cursor)


def check_pair(source: Lake, target: Lake) -> None:
    """Raise an error if a lake would be copied onto itself, or the target cannot be written."""
    target._must_write("copy")
    if source._lake_id == target._lake_id:
        raise ValidationError(
            f"source and target must be two lakes, got {source.name} twice"
            if source.name == target.name
            else f"source and target must be two lakes, but {source.name} and {target.name} are "
            "the same lake"
        )
