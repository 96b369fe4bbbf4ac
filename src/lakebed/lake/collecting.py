"""Collection: removing the contents that nothing refers to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING

from lakebed.catalog.protocol import Catalog
from lakebed.lake.base import PresentLake
from lakebed.lake.checks import Deadline, check_grace
from lakebed.lake.staging import LEASE_SECONDS
from lakebed.model import Progress, Report
from lakebed.objects.names import upload_of
from lakebed.objects.store import ObjectStore

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

_STEP = 1000
GRACE = 3600.0
"""Seconds that readers have to finish with bytes that nothing refers to any more."""
ORPHAN_GRACE = 86_400.0
"""Seconds after which a file that the catalog does not know is no upload in progress."""


class CollectReport(Report):
    """What `collect` did, or would do.

    | field | |
    | --- | --- |
    | `objects`, `object_bytes` | contents that nothing referred to, and their size as stored |
    | `orphans` | files that the catalog did not know, None if the storage was not listed |
    | `files` | files deleted from the storage |
    | `waiting` | files that wait out their grace |
    | `dry_run` | nothing was changed |
    """

    objects: int
    object_bytes: int
    orphans: int | None
    files: int
    waiting: int
    dry_run: bool


class CollectRun:
    """How one collection goes about it, and the objects and files that it has removed."""

    def __init__(
        self,
        dry_run: bool = False,
        deadline: Deadline | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.dry_run = dry_run
        self.deadline = deadline or Deadline()
        self.progress = progress
        self.objects = self.object_bytes = self.files = 0

    def advanced(self) -> None:
        """Tell how far it has come."""
        if self.progress:
            self.progress(self.objects + self.files, None)


class Emptying:
    """Empties the trash: bytes first, so that a crash forgets none.

    A step of deletes runs in a thread, beside what the caller does until the next one: the catalog
    and the storage each keep a core, or a network, waiting.
    """

    def __init__(self, catalog: Catalog, objects: ObjectStore, run: CollectRun) -> None:
        self._catalog = catalog
        self._objects = objects
        self._run = run
        self._pool: ThreadPoolExecutor | None = None
        self._deleting: tuple[Sequence[str], Future[None]] | None = None

    def __enter__(self) -> Emptying:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def advance(self, horizon: int) -> bool:
        """End the step that is under way, and begin one with what became trash by `horizon`; False
        if there is nothing left."""
        self.settle()
        paths = self._catalog.due_trash(horizon, "", _STEP)
        if paths:
            if self._pool is None:
                from concurrent.futures import ThreadPoolExecutor

                self._pool = ThreadPoolExecutor(1, "lakebed-delete")
            self._deleting = paths, self._pool.submit(self._objects.delete, paths)
        return bool(paths)

    def settle(self) -> None:
        """End the step that is under way."""
        if self._deleting is None:
            return
        (paths, deleting), self._deleting = self._deleting, None
        deleting.result()
        self._catalog.forget_trash(paths)
        self._run.files += len(paths)
        self._run.advanced()


class Collecting(PresentLake):
    """The call that collects garbage."""

    def collect(
        self,
        grace: float | timedelta = GRACE,
        orphan_grace: float | timedelta = ORPHAN_GRACE,
        *,
        dry_run: bool = False,
        orphans: bool = False,
        progress: Progress | None = None,
    ) -> CollectReport:
        """Remove contents that no entry, no snapshot and no kept version refers to.

        Their names go at once, their bytes `grace` seconds later (by a later call; with 0 in this
        one), so that whoever is reading them can finish. Never removes what anyone can name, and
        any number of collectors and writers may run at once. Cost grows with the garbage.

        Files that the catalog does not know, which a crashed writer leaves, are found by listing
        the storage: only if that was last done `orphan_grace` seconds ago, or `orphans` asks for
        it, and only files older than `orphan_grace`. The listing reads the names of all files. It
        also ends uploads in parts that a killed writer left unfinished a day ago.

        `dry_run` counts and changes nothing. `progress` is called with the objects and files done.

        Raises ValidationError for a grace below 0, StorageError if the storage fails; what is done
        by then is done, and calling again goes on.
        """
        waits = check_grace("grace", grace)
        orphan_waits = check_grace("orphan_grace", orphan_grace)
        run = CollectRun(dry_run, Deadline(), progress)
        if waits or dry_run or self._objects is None:
            self._collect_names(run)
        else:
            with Emptying(self._catalog, self._objects, run) as emptying:
                self._collect_names(run, lambda: emptying.advance(self._catalog.now()))
                emptying.settle()
        return self._collect_files(run, waits, orphan_waits, orphans=orphans)

    def _collect_names(
        self, run: CollectRun, after_step: Callable[[], object] = lambda: None
    ) -> None:
        """Uploads whose writer is gone, and objects that nothing refers to, become trash."""
        if not run.dry_run:
            while not run.deadline.passed() and self._catalog.lapse_leases(_STEP):
                pass
        self._collect_objects(run, after_step)

    def _collect_files(
        self, run: CollectRun, waits: int, orphan_waits: int, *, orphans: bool
    ) -> CollectReport:
        found = None
        if self._objects is not None:
            if (orphans or self._listing_is_due(orphan_waits)) and not run.deadline.passed():
                found = self._collect_orphans(orphan_waits, run)
            self._empty_trash(self._catalog.now() - waits, run)
        return CollectReport(
            objects=run.objects,
            object_bytes=run.object_bytes,
            orphans=found,
            files=run.files,
            waiting=self._catalog.trash() - (run.files if run.dry_run else 0),
            dry_run=run.dry_run,
        )

    def _collect_objects(
        self, run: CollectRun, after_step: Callable[[], object] = lambda: None
    ) -> None:
        after: int | None = -1
        while after is not None and not run.deadline.passed():
            step = self._catalog.collect(after, _STEP, dry_run=run.dry_run)
            after = step.after
            run.objects += step.objects
            run.object_bytes += step.byte_size
            run.advanced()
            after_step()

    def _listing_is_due(self, orphan_waits: int) -> bool:
        return self._catalog.orphans_listed() <= self._catalog.now() - orphan_waits

    def _collect_orphans(self, orphan_waits: int, run: CollectRun) -> int:
        """Files that are old and unknown become trash."""
        started = self._catalog.now()
        found = 0
        files = self._old_files(started - orphan_waits)
        while paths := list(islice(files, _STEP)):
            # What is being written lies beside its name, which the catalog knows by its lease.
            uploads = defaultdict[str, list[str]](list)
            for path in paths:
                uploads[upload_of(path)].append(path)
            unknown = [path for name in self._catalog.unknown(uploads) for path in uploads[name]]
            if unknown and not run.dry_run:
                self._catalog.add_trash(unknown)
            found += len(unknown)
            if run.deadline.passed():
                return found
        if not run.dry_run:
            assert self._objects is not None
            self._objects.abandon_uploads(started - max(orphan_waits, round(LEASE_SECONDS * 1e6)))
            self._catalog.note_orphans_listed(started)
        return found

    def _old_files(self, horizon: int) -> Iterator[str]:
        assert self._objects is not None
        for prefix in ("objects", "packs"):
            for file in self._objects.list(prefix):
                if file.modified <= horizon:
                    yield file.path

    def _empty_trash(self, horizon: int, run: CollectRun) -> None:
        """Delete what became trash by then."""
        assert self._objects is not None
        if run.dry_run:
            after = ""
            while paths := self._catalog.due_trash(horizon, after, _STEP):
                run.files, after = run.files + len(paths), paths[-1]
            return
        with Emptying(self._catalog, self._objects, run) as emptying:
            while not run.deadline.passed() and emptying.advance(horizon):
                pass
            emptying.settle()
