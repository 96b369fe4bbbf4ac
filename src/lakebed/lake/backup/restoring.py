"""Restore a point of a backup as a lake, or bring back contents that a lake has lost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from lakebed.clock import from_micros
from lakebed.errors import ConflictError, LakebedError, NotFoundError
from lakebed.lake.backup.known import all_objects, as_entry, in_pages
from lakebed.lake.backup.manifest import Manifest
from lakebed.lake.backup.place import BackupPlace, keep_apart
from lakebed.lake.backup.points import opened_point
from lakebed.lake.copying.entries import EntryCopy, state_of
from lakebed.lake.copying.past import copy_whole
from lakebed.lake.copying.report import CopyReport
from lakebed.lake.history.snapshots import LakeView
from lakebed.lake.lake import Lake
from lakebed.model import ContentId, ObjectRow, Progress
from lakebed.records import Report
from lakebed.values.encoded import Encoded

_PAGE = 1000
_TOGETHER = 32


class RestoreReport(Report):
    """What `lakebed.restore_backup` did.

    | field | |
    | --- | --- |
    | `point` | the id of the point |
    | `moment` | the time whose state the lake has now |
    | `entries` | how many entries the lake has now |
    | `copied`, `unchanged` | how many of them this call wrote, and how many an earlier try |
    | `snapshots`, `versions` | how many snapshots and earlier versions were restored |
    | `bytes` | the size of the contents that were read, as stored |
    | `differing` | up to 100 keys that differ because somebody wrote them meanwhile |
    """

    point: str
    moment: datetime
    entries: int
    copied: int
    unchanged: int
    snapshots: int
    versions: int
    bytes: int
    differing: list[str]


class ContentsReport(Report):
    """What `lakebed.restore_contents` did.

    | field | |
    | --- | --- |
    | `objects` | the number of contents that the lake keeps in its storage |
    | `missing` | how many of them had no file, or one of another size |
    | `restored`, `bytes` | how many came back from the backup, and their size |
    | `points` | the ids of the points from which they came |
    | `lost_keys` | keys of entries whose content no point has |
    | `lost_earlier` | keys of earlier versions whose content no point has |
    """

    objects: int
    missing: int
    restored: int
    bytes: int
    points: list[str]
    lost_keys: list[str]
    lost_earlier: list[str]


def restore(
    place: BackupPlace,
    point: Manifest,
    at: datetime | None,
    target: Lake,
    progress: Progress | None,
) -> RestoreReport:
    """Restore a point into an empty lake. `lakebed.restore_backup` describes it."""
    target._must_write("restore_backup")
    keep_apart(place, target)
    with opened_point(place, point) as source:
        if at is None and point.history != "none":
            done = copy_whole(source, target, "", history=point.history == "all", progress=progress)
        else:
            done = _restore_present(source if at is None else source.at(at), target, progress)
    return RestoreReport(
        point=point.id,
        moment=from_micros(point.created_at) if at is None else at,
        entries=done.entries,
        copied=done.copied,
        unchanged=done.unchanged,
        snapshots=done.snapshots,
        versions=done.versions,
        bytes=done.bytes,
        differing=done.differing,
    )


def _restore_present(
    source: Lake | LakeView, target: Lake, progress: Progress | None
) -> CopyReport:
    _check_empty(source, target)
    copy = EntryCopy(source, target, "fail", progress)
    copy.run(source.list().rows(), len(source))
    return copy.report(copy.verify(source.list().rows()))


def _check_empty(source: Lake | LakeView, target: Lake) -> None:
    """Raise ConflictError if a lake is not empty, unless all it holds comes from an interrupted
    restore of the same point."""
    stats = target.stats()
    if not (stats.entries or stats.expired or stats.history or stats.snapshots):
        return
    for page in in_pages(target.list().rows(), _PAGE):
        wanted = {row.key: row for row in source._catalog.get_many([row.key for row in page])}
        for row in page:
            other = wanted.get(row.key)
            if other is None or state_of(other) != state_of(row):
                raise ConflictError(
                    f"a backup can be restored only to an empty lake, and {target.name} holds "
                    f"{row.key!r}: name a new lake"
                )
    if stats.history or stats.snapshots:
        raise ConflictError(
            f"a backup can be restored only to an empty lake, and {target.name} has snapshots or "
            "history: name a new lake"
        )


def restore_contents(place: BackupPlace, lake: Lake, progress: Progress | None) -> ContentsReport:
    """Restore the lost contents of a storage. `lakebed.restore_contents` describes it."""
    lake._must_write("restore_contents")
    if lake._objects is None:
        raise NotFoundError(f"{lake.name} has no storage, so it cannot have lost contents")
    keep_apart(place, lake)
    looked, lost = _missing(lake)
    missing = len(lost)
    restored = size = 0
    points = list[str]()
    for point in reversed(place.points()):
        if not lost:
            break
        before = restored
        with opened_point(place, point) as source:
            known = [row for row in all_objects(source) if (row.content_hash, row.format) in lost]
            for found in in_pages(_readable(source, known), _TOGETHER):
                _put_back(lake, found)
                for content in found:
                    del lost[content.id]
                    restored, size = restored + 1, size + content.byte_size
                if progress:
                    progress(restored, missing)
        if restored > before:
            points.append(point.id)
    keys, earlier = set[str](), set[str]()
    for row in lost.values():
        for name in lake._catalog.names(row.id):
            (keys if name.end_version is None else earlier).add(name.key)
    return ContentsReport(
        objects=looked,
        missing=missing,
        restored=restored,
        bytes=size,
        points=points,
        lost_keys=sorted(keys),
        lost_earlier=sorted(earlier - keys),
    )


def _missing(lake: Lake) -> tuple[int, dict[ContentId, ObjectRow]]:
    """Return how many contents the storage should have, and those whose file is missing."""
    assert lake._objects is not None
    there = {
        file.path: file.byte_size
        for folder in ("objects", "packs")
        for file in lake._objects.list(folder)
    }
    looked, lost = 0, dict[ContentId, ObjectRow]()
    for row in all_objects(lake):
        if row.uri is None:
            continue
        looked += 1
        size = there.get(row.uri)
        if size is None or (row.position is None and size != row.byte_size):
            lost[row.content_hash, row.format] = row
    return looked, lost


def _readable(source: Lake, rows: Iterable[ObjectRow]) -> Iterator[Encoded]:
    """Yield those contents of a point that are intact."""
    for row, data in source.read_contents(map(as_entry, rows)):
        if not isinstance(data, LakebedError):
            yield Encoded(row.format, data, row.content_hash)


def _put_back(lake: Lake, contents: Sequence[Encoded]) -> None:
    for content in contents:
        lake._witness.missed(content.id)
    lake._put_inline([content for content in contents if _is_small(lake, content)])
    lake._mend(content for content in contents if not _is_small(lake, content))


def _is_small(lake: Lake, content: Encoded) -> bool:
    return lake._inline_data(content) is not None
