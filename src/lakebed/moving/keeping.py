"""Backups of a lake, and the ways to restore from them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, closing
from datetime import datetime, timedelta

from lakebed.config.opening import is_configuration_file
from lakebed.config.reading.loading import load
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
"""The place of backups: a folder, a URI such as `s3://bucket/backups`, or a mapping with `uri` and
the options of its filesystem."""


def backup(
    lake: LakePlace,
    destination: Destination,
    *,
    history: bool = False,
    keep: int | None = None,
    verify: Verify = "new",
    progress: Progress | None = None,
) -> BackupReport:
    """Back up a lake as it is now. Each backup adds a point to the earlier ones at its destination.

        lakebed.backup("lakebed", "s3://backups/lakebed", keep=30)

    A point holds the names of this moment, as `catalog.sqlite` and as Parquet. Points share
    contents: only contents that the newest point lacks are read and written. They are copied as
    stored bytes, and not decoded. At the end, what was written is read back and compared with its
    hash. A point exists only once it is complete. An interrupted backup does not change earlier
    points, and the next backup uses what it has written.

    `lake`: an open lake, or what `lakebed.open` opens. It can be written during the backup.
    `destination`: a folder or a prefix of a bucket that is empty or has backups of this lake. If it
    has no options, and is on the same kind of storage as the lake, it uses the lake's options.
    `history`: also back up the snapshots, and all versions that the lake keeps.
    `keep`: remove all but this many points afterwards; see `prune_backups`.
    `verify`: `"new"` (default) reads back what this backup wrote. `"all"` also reads what it shares
    with the previous point, and writes damaged contents again.
    `progress`: called with the number done, and the total (None if unknown).

    Raises ValidationError for a malformed argument, ConflictError if the destination holds anything
    else, ConfigurationError if it overlaps the lake's storage, ReadOnlyError if the lake is
    read-only (a backup creates a snapshot and drops it at the end), CorruptionError for contents
    that are damaged in the lake or cannot be read back, and StorageError if a storage fails.
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

    `destination`: as for `backup`.
    `lake`: an open lake or a configuration. The destination uses the options of its storage.

    Raises NotFoundError if there are no backups, CorruptionError for a damaged point, and
    StorageError if the storage fails.
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
    """Remove all points but the newest `keep`, and the contents that no kept point needs.

    Only files that are named as points and contents are deleted. While a backup runs at the
    destination, and for a day after one was killed, contents are kept, and a later call deletes
    them.

    `destination`, `lake`: as for `backups`.
    `keep`: the number of points to keep, 1 or more.
    `progress`: called with the number of files deleted, and the total.

    Raises ValidationError unless `keep` is 1 or more, NotFoundError if there are no backups, and
    CorruptionError if a kept point is damaged, so that its contents are unknown. Then nothing is
    deleted.
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

    The result is a new lake with the same entries and with objects of its own. It has snapshots and
    versions if the point has them (`history`). To continue an interrupted restore, call it again.

    `destination`: where the backups are, as for `backup`.
    `target`: an open lake, or what `lakebed.open` opens. If it does not exist, it is created.
    `storage`: the storage of the target, if that is named by the URL of its catalog.
    `point`: the id of a point. The newest by default.
    `at`: a datetime with a time zone; cannot be combined with `point`. If a point has every version
    (a backup with `history` of a lake with `history="all"`), the entries are restored as of exactly
    this time. Otherwise the last point before it is restored. The report says which.
    `progress`: called with the number done, and the total (None if unknown).

    Raises ValidationError for a malformed argument, ConflictError unless the target is empty,
    NotFoundError if there is no such point, CorruptionError for damaged contents, and what opening
    and writing lakes raise.
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
    """Restore contents that the storage of a lake has lost. The catalog must be intact.

    Use it if a bucket was lost, was emptied in part, or was rolled back by its provider. It lists
    the storage, looks for each missing content in all points, the newest first, and writes it
    again. Names, versions and snapshots do not change. The report names the entries whose content
    is in no point. To find damaged contents, call `Lake.verify`.

    `destination`: where the backups are, as for `backup`.
    `lake`: an open lake, or what `lakebed.open` opens.
    `progress`: called with the number of contents restored, and the number missing.

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
    """Rebuild the lost catalog of a lake whose storage still exists.

        lakebed.rebuild_catalog(backups, "postgresql://ada@db/memory", storage="s3://bucket/memory")

    The names come from a backup. Contents that are in the storage stay there. Contents that are
    missing are written again from the backup. The lake keeps its id and then owns the storage, so
    if the old catalog turns up again, it can only be read.

    Contents that were stored after the backup have no name. The report lists them, and the keys
    that the search index knows. For 30 days, `maintain` does not remove files without a name, so
    that you can look at them.

    `destination`: where the backups are, as for `backup`.
    `lake`: the folder that has lost its `catalog.db`, or the URL or configuration of an empty
    catalog.
    `storage`: the storage of the lake, if that is named by the URL of its catalog.
    `point`: the id of a point. The newest by default.
    `found`: a prefix. Each content without a name gets a key: this prefix, its hash, a dot and its
    format.
    `progress`: called with the number of files and entries done, and the total.

    Raises ValidationError for an open lake and for a lake without a storage, ConflictError unless
    the catalog is empty or was begun by the same call, NotFoundError if there is no such point,
    ConfigurationError if files of the lost catalog are in the way, and what opening and writing
    lakes raise.
    """
    if isinstance(lake, Lake):
        raise ValidationError("lake must be a folder, a URL or a configuration, got an open lake")
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
    """Return the `history` and the retention that a lake needs to keep what a point has."""
    if point.history != "all":
        return None, None
    kept = point.retention
    return "all", None if kept is None else timedelta(microseconds=kept)


def _is_folder(lake: str) -> bool:
    return "://" not in lake and not is_configuration_file(lake)


def _place(destination: Destination, near: LakePlace | None) -> BackupPlace:
    """Open a destination. By default it uses the options of the storage of the lake `near`, if both
    are of the same kind."""

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
