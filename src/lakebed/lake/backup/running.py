"""Back up a lake: write a new point, which shares contents with earlier ones."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from lakebed.catalog.opened import CatalogOptions
from lakebed.catalog.protocol import TakesHistory
from lakebed.catalog.sqlite.opening import open_sqlite
from lakebed.errors import CorruptionError, LakebedError, ValidationError
from lakebed.lake.backup.known import all_objects, as_entry, content_of, take_contents
from lakebed.lake.backup.manifest import Manifest, Past
from lakebed.lake.backup.place import BackupPlace, Run, new_point_id
from lakebed.lake.backup.points import opened_point
from lakebed.lake.backup.writing import export, put_point
from lakebed.lake.copying.entries import EntryCopy
from lakebed.lake.copying.lakes import BACKING_UP, backup_name, kept_moment
from lakebed.lake.copying.past import tell_past
from lakebed.lake.lake import Lake, Scope
from lakebed.lake.opening import assemble
from lakebed.lake.ownership import BESIDE
from lakebed.lake.upkeep.collecting import CollectRun
from lakebed.model import Content, ObjectRow, Progress
from lakebed.objects.finding import contents_of
from lakebed.objects.names import upload_of
from lakebed.objects.store import StoredFile
from lakebed.records import Report

Verify = Literal["new", "all"]
_PAGE = 1000
_NAMED = 5


class BackupReport(Report):
    """What `lakebed.backup` did.

    | field | |
    | --- | --- |
    | `point` | the id of the new point |
    | `entries`, `snapshots`, `versions` | how many of each the point has |
    | `objects`, `byte_size` | the number of its distinct contents, and their size |
    | `new_objects`, `new_bytes` | contents not in the point before, and the size of their files |
    | `resumed` | how many of these an unfinished backup had written already |
    | `damaged` | contents that were damaged in the point before, and were written again |
    | `verified` | contents that were read back and have the right hash |
    | `removed` | ids of older points that were removed (`keep`) |
    """

    point: str
    entries: int
    snapshots: int
    versions: int
    objects: int
    byte_size: int
    new_objects: int
    new_bytes: int
    resumed: int
    damaged: int
    verified: int
    removed: list[str]


def back_up(
    lake: Lake, place: BackupPlace, *, history: bool, verify: Verify, progress: Progress | None
) -> BackupReport:
    """Write a point. `lakebed.backup` describes it."""
    if isinstance(lake, Scope):
        raise ValidationError("a scope cannot be backed up: back up its lake")
    lake._must_write("backup")  # a snapshot holds the lake's state meanwhile
    place.prepare(lake)
    with (
        place.at_work("backup") as run,
        tempfile.TemporaryDirectory(prefix="lakebed-backup-") as folder,
    ):

        def advance(done: int, total: int | None) -> None:
            run.renew()
            if progress:
                progress(done, total)

        resumable = _look_around(lake, run)
        with _working_lake(lake, place, Path(folder)) as work:
            backup = _Backup(lake, place, run, work, history, advance)
            backup.take_known(resumable=resumable, check=verify == "all")
            backup.copy()
            return backup.finish(Path(folder))


def _look_around(lake: Lake, run: Run) -> bool:
    """Remove the snapshots that dead backups have left in the lake.

    Return whether this backup can use the files of unfinished backups: there are some, and no prune
    is running that may delete them.
    """
    others = run.others()
    for dead in others.dead & others.backups | others.left:
        kept = lake._catalog.find_snapshot(backup_name(dead))
        if kept is not None:
            lake._catalog.drop_snapshot(kept.id)
    run.forget(others)
    return bool(others.backups) and not others.alive("prune")


@contextmanager
def _working_lake(lake: Lake, place: BackupPlace, folder: Path) -> Iterator[Lake]:
    """Open a new lake for the block. Its names are in a local file, and its contents in the place.

    No content is inline, so that points can share all of them.
    """
    opened = open_sqlite(folder / "work.db", CatalogOptions())
    history: Literal["snapshots", "all"] = "all" if lake._history == "all" else "snapshots"
    with assemble(opened, place.another_store(), BESIDE, 0, history, auto_maintain="off") as work:
        yield work


class _Backup:
    """One backup. `work` is the lake that becomes the point."""

    def __init__(
        self,
        lake: Lake,
        place: BackupPlace,
        run: Run,
        work: Lake,
        history: bool,
        advance: Progress,
    ) -> None:
        self._lake = lake
        self._place = place
        self._run = run
        self._work = work
        self._advance = advance
        self._past: Past = (
            "none" if not history else "all" if lake._history == "all" else "snapshots"
        )
        self._before = set[str]()  # the files of the point before this one
        self._number = 1
        self._resumed = self._damaged = self._verified = 0

    def take_known(self, *, resumable: bool, check: bool) -> None:
        """Register the contents of the newest point in the working lake, if their files exist.

        `resumable`: also register the contents of unfinished backups. `check`: read the contents of
        the newest point, and leave out damaged ones.
        """
        files, points = self._place.contents(), self._place.points()
        sizes = {path: file.byte_size for path, file in files.items()}
        if points:
            self._number = points[-1].number + 1
            needed = self._place.files_of(points[-1])
            self._before = {path for path, size in needed.items() if sizes.get(path) == size}
            with opened_point(self._place, points[-1]) as newest:
                rows = [*all_objects(newest)]
                there = [row for row in rows if row.uri is None or row.uri in self._before]
                if check:
                    there = [*self._readable(newest, there)]
                self._damaged = len(rows) - len(there)
                take_contents(self._work, map(content_of, there), sizes)
        if resumable:
            named = set[str]().union(*(self._place.files_of(point) for point in points))
            left = [file for path, file in files.items() if path not in named]
            self._resumed = take_contents(self._work, self._left_behind(left), sizes)

    def copy(self) -> None:
        """Copy the lake as it is at this moment into the working lake."""
        name = backup_name(self._run.id)
        with kept_moment(self._lake, name, BACKING_UP) as (view, kept):
            assert kept is not None
            self._kept = kept
            if self._past == "none":
                copy = EntryCopy(view, self._work, "fail", self._advance, private=True)
                copy.run(view.list().rows(), len(view))
                self._done = copy.report(copy.verify(view.list().rows()))
            else:
                self._done = tell_past(
                    self._lake, view, kept, self._work, "", self._advance, private=True
                )
        if self._done.differing:
            raise CorruptionError(
                f"the backup of {self._done.differing[0]!r} differs from the lake"
            )

    def finish(self, folder: Path) -> BackupReport:
        """Write the point. First check that all files which it needs exist."""
        self._forget_unneeded()
        objects, now = [*all_objects(self._work)], self._place.contents()
        needed = {row.uri for row in objects if row.uri is not None}
        if lost := sorted(needed - now.keys()):
            uri = self._place.store.uri(lost[0])
            raise CorruptionError(f"{uri} has vanished: run the backup again")
        new = [row for row in objects if row.uri is not None and row.uri not in self._before]
        self._read_back(new)
        sizes = {path: now[path].byte_size for path in sorted(needed)}
        manifest = self._manifest(objects, export(self._work, folder, sizes, self._past != "none"))
        put_point(self._place, folder, manifest)
        if not self._run.is_alive():  # a prune may not have seen this point
            self._place.remove_points([manifest.id])
            raise self._run.lost()
        return BackupReport(
            point=manifest.id,
            entries=manifest.entries,
            snapshots=manifest.snapshots,
            versions=manifest.versions,
            objects=manifest.objects,
            byte_size=manifest.byte_size,
            new_objects=len(new),
            new_bytes=sum(size for path, size in sizes.items() if path not in self._before),
            resumed=self._resumed,
            damaged=self._damaged,
            verified=self._verified,
            removed=[],
        )

    def _manifest(self, objects: list[ObjectRow], files: dict[str, str]) -> Manifest:
        assert isinstance(self._work._catalog, TakesHistory)
        return Manifest(
            id=new_point_id(self._kept.created_at),
            created_at=self._kept.created_at,
            lake=self._lake.name,
            lake_id=self._lake._lake_id,
            version=self._kept.version,
            history=self._past,
            retention=self._lake._history_retention,
            entries=self._done.entries,
            snapshots=self._done.snapshots,
            versions=self._done.versions,
            objects=len(objects),
            byte_size=sum(row.byte_size for row in objects),
            files=files,
            number=self._number,
            since=self._work._catalog.history_since(),
        )

    def _readable(self, newest: Lake, rows: Iterable[ObjectRow]) -> Iterator[ObjectRow]:
        """Yield the contents that match their hash."""
        by_id = {(row.content_hash, row.format): row for row in rows}
        for done, (row, data) in enumerate(newest.read_contents(map(as_entry, by_id.values()))):
            if not isinstance(data, LakebedError):
                self._verified += 1
                yield by_id[row.content_hash, row.format]
            if done % _PAGE == 0:
                self._advance(done, len(by_id))

    def _left_behind(self, files: list[StoredFile]) -> Iterator[Content]:
        """Yield the contents in the files of an unfinished backup."""
        for number, file in enumerate(files, 1):
            with suppress(CorruptionError, FileNotFoundError):  # then its contents are copied again
                packed = file.path.startswith("packs/")
                if upload_of(file.path) == file.path and (packed or self._place.is_whole(file)):
                    yield from contents_of(self._place.store, file.path, file.byte_size)
            self._advance(number, len(files))

    def _forget_unneeded(self) -> None:
        """Remove the rows of contents that the point does not name.

        Their bytes stay, because other points need them.
        """
        self._work._collect_names(CollectRun())
        while paths := self._work._catalog.due_trash(self._work._catalog.now(), "", _PAGE):
            self._work._catalog.forget_trash(paths)

    def _read_back(self, rows: list[ObjectRow]) -> None:
        """Compare contents with their hashes. Raises CorruptionError, naming the first few that are
        missing or damaged."""
        wrong = list[LakebedError]()
        for done, (_, data) in enumerate(self._work.read_contents(map(as_entry, rows))):
            if isinstance(data, LakebedError):
                wrong.append(data)
            if done % _PAGE == 0:
                self._advance(done, len(rows))
        if wrong:
            named = "; ".join(map(str, wrong[:_NAMED]))
            raise CorruptionError(f"{len(wrong)} contents cannot be read back: {named}")
        self._verified += len(rows)
