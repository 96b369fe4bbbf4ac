"""Copies between lakes and from or to other stores, and backups."""

from __future__ import annotations

from lakebed.errors import ValidationError
from lakebed.lake.checks import check_flag, check_prefix
from lakebed.lake.copying.entries import OnConflict
from lakebed.lake.copying.lakes import (
    ON_CONFLICT,
    copy_entries,
    copy_name,
    follow_lake,
    kept_moment,
)
from lakebed.lake.copying.past import copy_whole
from lakebed.lake.copying.report import CopyReport
from lakebed.lake.lake import Lake, Scope
from lakebed.model import Progress
from lakebed.moving.across import copy_across
from lakebed.moving.keeping import (
    backup,
    backups,
    prune_backups,
    rebuild_catalog,
    restore_backup,
    restore_contents,
)
from lakebed.moving.lakes import LakeStore
from lakebed.moving.outside import Outside
from lakebed.moving.places import Place, opened
from lakebed.values.hash import digest

__all__ = [
    "CopyReport",
    "Place",
    "as_lake",
    "backup",
    "backups",
    "copy",
    "follow",
    "opened",
    "prune_backups",
    "rebuild_catalog",
    "restore_backup",
    "restore_contents",
]


def copy(
    source: Place,
    target: Place,
    prefix: str = "",
    *,
    history: bool = False,
    snapshots: bool = False,
    on_conflict: OnConflict = "fail",
    progress: Progress | None = None,
) -> CopyReport:
    """Copy entries from one lake to another, or from or to a store of another kind.

        lakebed.copy("lakebed", "postgresql://ada@db.example.org/memory")
        lakebed.copy("langgraph+sqlite:///graph.db", "lakebed")

    A lake is copied as it was when the call began, with metadata, expiry and times. Between lakes,
    contents are copied as stored bytes and not decoded. To continue an interrupted copy, call it
    again: it does not read what the target already has. At the end, source and target are compared.

    `source`, `target`: an open lake or scope, or what `lakebed.open` opens; a target that does not
    exist is created. Or another store: `json:///folder` (a JSON file for each entry),
    `diskcache:///folder`, `langgraph+sqlite:///file.db` or `langgraph+postgresql://…` (with
    `?namespace=a/b`, the items below that namespace), `ltm+NAME://?option=value` (a registered
    backend of the LTM interface), a configuration file of such a backend, or an open backend or
    LangGraph store. Three slashes begin a relative path, four an absolute one. During the copy,
    nobody may write the copied keys of the target, or to a source that is not a lake.
    `prefix`: copy only keys that begin with it.
    `history`: also copy all versions that the source keeps.
    `snapshots`: also copy the snapshots, and the versions that they see.
    `on_conflict`: what happens to an entry that differs in the target. `"fail"` raises
    ConflictError before anything is written, `"skip"` keeps the target's entry, and `"replace"`
    overwrites it.
    `progress`: called with the number of entries done, and the total.

    `history` and `snapshots` need two whole lakes, not scopes, and a target that is empty or that
    the same copy has begun. With `history`, it must keep as much history as the source. Nobody else
    may use the target. Each version is stored again, in order and with its time, and gets a new
    number.

    If a target that is not a lake cannot hold an entry, because of its metadata for example,
    nothing is written. If it cannot keep something of all entries, such as their times, the
    report's `notes` say so.

    Raises ValidationError if source and target are the same lake, or if the target cannot hold an
    entry: the error then names keys and reasons. Raises ConflictError as `on_conflict` says, or if
    the target of `history` or `snapshots` has other entries; ReadOnlyError if the target's storage
    belongs to another catalog; DependencyMissingError, with the pip command, if a store's package
    is not installed; and what opening, reading and writing a lake raise.
    """
    check_prefix(prefix)
    whole = check_flag("history", history) | check_flag("snapshots", snapshots)
    if on_conflict not in ON_CONFLICT:
        raise ValidationError(
            f"on_conflict must be 'fail', 'skip' or 'replace', got {on_conflict!r}"
        )
    with opened(source, create=False) as origin:
        like = origin if history and isinstance(origin, Lake) else None
        with opened(target, like=like) as goal:
            if whole:
                lakes = _whole(origin), _whole(goal)
                return copy_whole(*lakes, prefix, history=history, progress=progress)
            if isinstance(origin, Lake) and isinstance(goal, Lake):
                return copy_entries(origin, goal, prefix, on_conflict, progress)
            return _copy_across(origin, goal, prefix, on_conflict, progress)


def follow(
    source: Place,
    target: Place,
    cursor: str | None = None,
    prefix: str = "",
    *,
    progress: Progress | None = None,
) -> CopyReport:
    """Bring a copy of a running lake up to date, and return where to continue.

        report = lakebed.follow("lakebed", target)  # everything, the first time
        report = lakebed.follow("lakebed", target, report.cursor)  # what changed since

    Applies what `Lake.changes` returns: stores what was added or changed, and deletes what was
    removed. Entries that differ in the target are replaced. Applying the same changes twice does no
    harm, so save the cursor after the call has returned.

    `source`, `target`: an open lake, or what `lakebed.open` opens.
    `cursor`: the `cursor` of the previous call's report, or None for the first call.
    `prefix`, `progress`: as for `copy`.

    Raises ValidationError if source or target is not a lake, NotFoundError if the cursor is gone,
    because it was not used for 30 days or a later one was, and what `copy` raises.
    """
    check_prefix(prefix)
    with opened(source, create=False) as origin, opened(target) as goal:
        return follow_lake(as_lake(origin), as_lake(goal), cursor, prefix, progress)


def as_lake(place: Lake | Outside) -> Lake:
    """Return the lake at a place. Raises ValidationError if it is another store."""
    if not isinstance(place, Lake):
        raise ValidationError(f"following needs two lakes: {place.name} is not a lake")
    return place


def _whole(place: Lake | Outside) -> Lake:
    if not isinstance(place, Lake):
        raise ValidationError(
            f"history and snapshots can be copied only between lakes: {place.name} is not a lake"
        )
    if isinstance(place, Scope):
        raise ValidationError(
            "history and snapshots can be copied only between whole lakes: give the lake of the "
            f"scope, with prefix={place.prefix!r}"
        )
    return place


def _copy_across(
    origin: Lake | Outside,
    goal: Lake | Outside,
    prefix: str,
    on_conflict: OnConflict,
    progress: Progress | None,
) -> CopyReport:
    target = LakeStore(goal) if isinstance(goal, Lake) else goal
    target.prepare()
    if not isinstance(origin, Lake):
        return copy_across(origin, target, prefix, on_conflict, progress)
    with kept_moment(origin, copy_name(digest(target.name.encode()).hex())) as (view, _):
        return copy_across(LakeStore(origin, view), target, prefix, on_conflict, progress)
