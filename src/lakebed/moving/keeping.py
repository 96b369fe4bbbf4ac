"""Keeping: backups of a lake, and the ways back from them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, closing
from datetime import datetime, timedelta

from lakebed.config.loading import load
from lakebed.config.opening import is_configuration_file
from lakebed.errors import ValidationError
from lakebed.lake.backup.manifest import BackupPoint, Manifest
from lakebed.lake.backup.place import BackupPlace, keep_apart, open_place
from lakebed.lake.backup.points import choose_point
from lakebed.lake.backup.pruning import PruneReport, prune
from lakebed.lake.backup.rebuilding import (
    RebuildReport,
    create_in_folder,
    rebuild,
    take_identity,
)
from lakebed.lake.backup.restoring import ContentsReport, RestoreReport, restore
from lakebed.lake.backup.restoring import restore_contents as put_contents_back
from lakebed.lake.backup.running import BackupReport, Verify, back_up
from lakebed.lake.checks import check_count, check_flag
from lakebed.lake.lake import Lake
from lakebed.lake.opening import History
from lakebed.model import Progress
from lakebed.moving.opening import LakePlace, opened_lake

Destination = str | os.PathLike[str] | Mapping[str, object]
"""Where backups are: a folder, a URI such as `s3://bucket/backups`, or a mapping with `uri` and the
options of its filesystem."""


def backup(
    lake: LakePlace,
    destination: Destination,
    *,
    history: bool = False,
    keep: int | None = None,
    verify: Verify = "new",
    progress: Progress | None = None,
) -> BackupReport:
    """Back up a lake as it is at this moment, beside the earlier points at the same destination.

        lakebed.backup("lakebed", "s3://backups/lakebed", keep=30)

    A point has the names of the moment, as `catalog.sqlite` and as Parquet, and shares its contents
    with the points before it: only contents that the newest of them lacks are read and written.
    They are moved as they are stored, and never decoded. At the end, what was written is read back
    and compared with its hash. A point is there when all of it is; a backup that was interrupted
    leaves the earlier ones as they were, and the next one uses what it has written.

    `lake`: an open lake, or what `lakebed.open` opens. Writers may go on meanwhile.
    `destination`: an empty folder or prefix of a bucket, or one with backups of this lake. Without
    options, one on the same kind of storage as the lake uses the lake's.
    `history`: also the snapshots with what they see, and all versions that the lake keeps.
    `keep`: remove all but so many points afterwards; see `prune_backups`.
    `verify`: `"new"` reads back what this backup wrote, `"all"` also reads what it shares with the
    point before, and writes again what is damaged there.
    `progress` is called with what is done, and how much there is.

    Raises ConflictError if the destination holds anything else, ConfigurationError if it overlaps
    the lake's storage, ReadOnlyError for a lake that can only be read (a snapshot keeps the moment
    meanwhile), CorruptionError for contents that are damaged in the lake or cannot be read back,
    and StorageError if a storage fails.
    """
    check_flag("history", history)
    if verify not in ("new", "all"):
        raise ValidationError(f"verify must be 'new' or 'all', got {verify!r}")
    if keep is not None:
        check_count("keep", keep, least=1)
    with opened_lake(lake) as source, closing(_place(destination, source)) as place:
        keep_apart(place, source)
        done = back_up(source, place, history=history, verify=verify, progress=progress)
        removed = [] if keep is None else prune(place, keep, progress).removed
    return BackupReport(**(dict(done) | {"removed": removed}))


def backups(destination: Destination, *, lake: LakePlace | None = None) -> list[BackupPoint]:
    """Return the points at a destination, the oldest first.

    `lake`: an open lake or a configuration, whose storage's options the destination uses.

    Raises NotFoundError if there are no backups, CorruptionError for a damaged point.
    """
    with closing(_place(destination, lake)) as place:
        return [point.point() for point in place.points()]


def prune_backups(
    destination: Destination,
    keep: int,
    *,
    lake: LakePlace | None = None,
    progress: Progress | None = None,
) -> PruneReport:
    """Remove all points but the newest `keep`, and the contents that none of these needs.

    Only files with the names of contents and points are deleted, and none that a kept point needs.
    While a backup runs at the destination, and for a day after one was killed, contents stay: the
    next call deletes them. `lake`: as for `backups`.

    Raises ValidationError unless `keep` is 1 or more, NotFoundError if there are no backups,
    CorruptionError if a kept point cannot tell what it needs: then nothing is deleted.
    """
    with closing(_place(destination, lake)) as place:
        return prune(place, keep, progress)


def restore_backup(
    destination: Destination,
    target: LakePlace,
    *,
    storage: str | None = None,
    point: str | None = None,
    at: datetime | None = None,
    progress: Progress | None = None,
) -> RestoreReport:
    """Restore a backup to an empty lake, on any catalog and storage.

        lakebed.restore_backup("s3://backups/lakebed", "restored")

    The lake is a new one with the same entries; its objects are its own. It comes with snapshots
    and versions if the point has them (`history`). A restore that was interrupted goes on when it
    is called again.

    `target`: an open lake, or what `lakebed.open` opens; one that does not exist is created.
    `storage`: the storage of a target that is created by the URL of its catalog.
    `point`: the id of a point, the newest by default.
    `at`: a datetime. Points with every version (`history`, of a lake with `history="all"`) give the
    entries as of that very time; others the last point before it. The report says which.
    `progress` is called with what is done, and how much there is.

    Raises ConflictError unless the target is empty, NotFoundError if there is no such point,
    CorruptionError for damaged contents, and what opening and writing lakes raise.
    """
    with closing(_place(destination, target)) as place:
        chosen, moment = choose_point(place, point, at)
        history, retention = _kept(chosen) if moment is None else (None, None)
        with opened_lake(
            target, storage=storage, history=history, history_retention=retention
        ) as goal:
            return restore(place, chosen, moment, goal, progress)


def restore_contents(
    destination: Destination, lake: LakePlace, *, progress: Progress | None = None
) -> ContentsReport:
    """Bring back contents that the storage of a lake has lost, while its catalog is whole.

    For a bucket that was lost, emptied in part, or rolled back by its provider. The storage is
    listed; each content that is not there is looked for in all points, the newest first, and
    written again. Names, versions and snapshots stay as they are. The report names the entries
    whose content no point has. `Lake.verify` finds what is damaged rather than missing.

    Raises NotFoundError if there are no backups or the lake has no storage, and what opening and
    writing lakes raise.
    """
    with opened_lake(lake) as goal, closing(_place(destination, goal)) as place:
        return put_contents_back(place, goal, progress)


def rebuild_catalog(
    destination: Destination,
    lake: str | os.PathLike[str] | Mapping[str, object],
    *,
    storage: str | None = None,
    point: str | None = None,
    found: str | None = None,
    progress: Progress | None = None,
) -> RebuildReport:
    """Rebuild the catalog of a lake that has lost it, and whose storage is there.

        lakebed.rebuild_catalog(backups, "postgresql://ada@db/memory", storage="s3://bucket/memory")

    The names are those of the newest point, or of the one given. A content stays where the storage
    has it, and is written again from the backup where it does not. The lake keeps its id and owns
    the storage afterwards, so a catalog that was not lost after all may only be read from then on.

    What was stored after the backup has no name. The report lists such contents, and the keys that
    the search index tells of; nothing is made up. For 30 days `maintain` does not look for files
    without a name, so that you can. With `found`, each gets the key of this prefix, its hash, a dot
    and its format.

    `lake`: the folder that has lost its `catalog.db`, or what names an empty catalog: its URL or a
    configuration. `storage`: of a lake that is named by the URL of its catalog.
    `progress` is called with the files and entries done.

    Raises ConflictError unless the catalog is empty or begun by the same call, NotFoundError if
    there is no such point, ConfigurationError and what opening and writing lakes raise.
    """
    if isinstance(lake, Lake):
        raise ValidationError("name the lake by its folder, URL or configuration")
    with closing(_place(destination, lake)) as place:
        chosen, _ = choose_point(place, point, None)
        history, retention = _kept(chosen)
        if not isinstance(lake, Mapping) and _is_folder(os.fspath(lake)):
            create_in_folder(os.fspath(lake), history, chosen.retention if retention else None)

        def catalog() -> AbstractContextManager[Lake]:
            return opened_lake(lake, storage=storage, history=history, history_retention=retention)

        with catalog() as new:
            take_identity(new, chosen)
        with catalog() as new:
            return rebuild(place, chosen, new, found, progress)


def _kept(point: Manifest) -> tuple[History | None, timedelta | None]:
    """Return what a lake must keep to have what a point has."""
    if point.history != "all":
        return None, None
    kept = point.retention
    return "all", None if kept is None else timedelta(microseconds=kept)


def _is_folder(lake: str) -> bool:
    return "://" not in lake and not is_configuration_file(lake)


def _place(destination: Destination, near: LakePlace | None) -> BackupPlace:
    """Open a destination, by default with the options of a lake's storage of the same kind."""

    def options(uri: str) -> Mapping[str, object]:
        if isinstance(near, Lake):
            return near._options_for(uri)
        if near is None or not (isinstance(near, Mapping) or is_configuration_file(near)):
            return {}
        settings = load(near).settings
        with settings.hiding():
            given = settings.open_options().get("storage")
        if isinstance(given, Mapping) and _scheme(given.get("uri")) == _scheme(uri):
            return {name: value for name, value in given.items() if name != "uri"}
        return {}

    return open_place(destination, options)


def _scheme(uri: object) -> str:
    return str(uri).partition("://")[0]
