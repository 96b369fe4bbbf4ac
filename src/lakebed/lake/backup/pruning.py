"""Pruning: remove old points, and the contents that no other point needs."""

from __future__ import annotations

from itertools import islice

from lakebed.lake.backup.place import BackupPlace
from lakebed.lake.checks import check_count
from lakebed.model import Progress
from lakebed.objects.store import StoredFile
from lakebed.records import Report

_STEP = 1000


class PruneReport(Report):
    """What `lakebed.prune_backups` did.

    | field | |
    | --- | --- |
    | `removed`, `kept` | the ids of the points |
    | `files`, `file_bytes` | files of contents that were deleted, and their size |
    | `waiting` | a backup is running, or was killed less than a day ago: no file was deleted |
    """

    removed: list[str]
    kept: list[str]
    files: int
    file_bytes: int
    waiting: bool


def prune(place: BackupPlace, keep: int, progress: Progress | None) -> PruneReport:
    """Remove all but the newest points. `lakebed.prune_backups` describes it."""
    check_count("keep", keep, least=1)
    points = place.points()
    with place.at_work("prune") as run:
        # Look in this order. So a file that a running backup needs is either seen as needed, or was
        # written too late to be listed (docs/design/backup.md).
        removed = [point.id for point in points[:-keep]]
        place.remove_points(removed)
        there, unfinished = place.contents(), place.unfinished()
        others = run.others()
        run.put_aside(others)
        kept = place.points()
        files = list[StoredFile]()
        if not others.alive("backup"):
            needed = set[str]().union(*(place.files_of(point) for point in kept))
            files = [file for path, file in there.items() if path not in needed]
            ids = {point.id for point in kept}
            place.store.delete(
                path
                for point_id, paths in unfinished.items()
                if point_id not in ids
                for path in paths
            )
            _delete(place, files, progress)
    return PruneReport(
        removed=removed,
        kept=[point.id for point in kept],
        files=len(files),
        file_bytes=sum(file.byte_size for file in files),
        waiting=others.alive("backup"),
    )


def _delete(place: BackupPlace, files: list[StoredFile], progress: Progress | None) -> None:
    waiting = iter(files)
    done = 0
    while some := [file.path for file in islice(waiting, _STEP)]:
        place.store.delete(some)
        done += len(some)
        if progress:
            progress(done, len(files))
