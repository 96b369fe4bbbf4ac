"""Moving between lakes, from and to other stores, and backups."""

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
    """Copy entries from one lake to another, or from and to another kind of store.

        lakebed.copy("lakebed", "postgresql://ada@db.example.org/memory")
        lakebed.copy("langgraph+sqlite:///graph.db", "lakebed")

    Contents are moved by their hash and never decoded. Metadata, expiry and times are kept. The
    copy shows the source as it was when the copy began. To continue an interrupted copy, call it
    again: entries that the target already has are not read. At the end both are compared.

    `source`, `target`: open lakes or scopes, or what `lakebed.open` opens. A target that does not
    exist is created. Do not write to the target under these keys meanwhile. One of the two may be
    another kind of store: `json:///folder` (a JSON file for each entry), `diskcache:///folder`,
    `langgraph+sqlite:///file.db` and `langgraph+postgresql://…` (`?namespace=a/b`: below that),
    `ltm+NAME://?option=value` (a registered backend of the LTM interface), a configuration file of
    such a backend, or an open backend or store of LangGraph's. Three slashes begin a relative path,
    four an absolute one. Nobody should write to such a source meanwhile.
    `prefix`: only keys that begin with it.
    `snapshots`: also copy the snapshots, with what they see. `history`: also all versions that the
    source keeps. Both need whole lakes, and a target that is empty or was begun by the same copy,
    and that nobody else uses. Each version is stored anew, in its order and with its time; it gets
    another number.
    `on_conflict`: what happens to an entry that differs in the target. `"fail"` raises
    ConflictError before anything is written, `"skip"` keeps the target's, `"replace"` overwrites
    it.
    `progress` is called with the entries looked at, and how many there are.

    If another kind of store cannot hold an entry, the copy is refused before anything is written,
    with keys and reasons. The report's `notes` say what the store does not keep of any entry, such
    as times.

    Raises ValidationError for a lake that would be copied to itself, for entries that the target
    cannot hold, and for the history of a scope. Raises ConflictError, DependencyMissingError, with
    the pip command, if a store's package is not installed, ReadOnlyError for a target whose storage
    belongs to another catalog, and what opening, reading and writing raise.
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
    """Bring a copy of a running lake up to date, and tell where to continue.

        report = lakebed.follow("lakebed", target)  # everything, the first time
        report = lakebed.follow("lakebed", target, report.cursor)  # what changed since

    Applies what `Lake.changes` tells: stores what was added or changed, deletes what was removed.
    Applying the same changes twice does no harm, so store the cursor when the call has returned.

    `cursor`: of the report of the call before, None at first. Other arguments and errors as for
    `copy`; entries that the target has otherwise are replaced.

    Raises NotFoundError for a cursor that is gone.
    """
    check_prefix(prefix)
    with opened(source, create=False) as origin, opened(target) as goal:
        return follow_lake(as_lake(origin), as_lake(goal), cursor, prefix, progress)


def as_lake(place: Lake | Outside) -> Lake:
    """Return what is at a place, if it is a lake. Raises ValidationError if not."""
    if not isinstance(place, Lake):
        raise ValidationError(f"following needs two lakes: {place.name} is not a lake")
    return place


def _whole(place: Lake | Outside) -> Lake:
    if not isinstance(place, Lake):
        raise ValidationError(
            f"history and snapshots can be copied between lakes only, and {place.name} has none"
        )
    if isinstance(place, Scope):
        raise ValidationError(
            "history and snapshots can be copied between whole lakes only: give the lake of the "
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
