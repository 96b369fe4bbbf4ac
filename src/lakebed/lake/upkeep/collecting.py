"""Collection: remove unreferenced contents."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from itertools import islice

from lakebed.errors import ConfigurationError
from lakebed.lake.base import PresentLake
from lakebed.lake.checks import Deadline, check_flag, check_grace
from lakebed.lake.contents.uploading import LEASE_SECONDS
from lakebed.model import Progress
from lakebed.objects.names import is_ours, upload_of
from lakebed.records import Report

_STEP = 1000
GRACE = 3600.0
"""The seconds for which readers may still read unreferenced bytes."""
ORPHAN_GRACE = 86_400.0
"""The seconds after which an unknown file cannot be an upload under way."""


class CollectReport(Report):
    """The result of `collect`.

    | field | |
    | --- | --- |
    | `objects`, `object_bytes` | contents that nothing referred to, and their size as stored |
    | `orphans` | files that the catalog did not know, None if the storage was not listed |
    | `files` | files deleted from the storage |
    | `waiting` | files whose grace is not over yet |
    | `dry_run` | nothing was changed |
    """

    objects: int
    object_bytes: int
    orphans: int | None
    files: int
    waiting: int
    dry_run: bool


class CollectRun:
    """The options of one collection, and the objects and files that it has removed."""

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

    def report(self, orphans: int | None = None, waiting: int = 0) -> CollectReport:
        """Return the report."""
        return CollectReport(
            objects=self.objects,
            object_bytes=self.object_bytes,
            orphans=orphans,
            files=self.files,
            waiting=waiting,
            dry_run=self.dry_run,
        )


class Collecting(PresentLake):
    """The call `collect`."""

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

        The catalog forgets them at once. Their bytes are deleted `grace` seconds later, by a later
        call (with 0, by this one), so that readers can finish. Nothing that can still be read is
        removed. Any number of collectors and writers may run at once. The cost grows with the
        garbage.

        A crashed writer leaves files that the catalog does not know. They are found by listing the
        storage, which reads the names of all files. The storage is listed if the last listing was
        `orphan_grace` seconds ago, or if `orphans` is True. Only files older than `orphan_grace`
        seconds, with the endings of a lake's objects and packs, are removed. The listing also ends
        multipart uploads that a killed writer left unfinished a day ago.

        `dry_run` counts, and changes nothing. `progress` is called with the objects and files done.

        Raises ValidationError for a grace below 0, and StorageError if the storage fails. The work
        done by then is kept, and the next call continues.
        """
        waits = check_grace("grace", grace)
        orphan_waits = check_grace("orphan_grace", orphan_grace)
        listed = check_flag("orphans", orphans)
        run = CollectRun(check_flag("dry_run", dry_run), Deadline(), progress)
        if not run.dry_run:
            self._must_write("collect")
            self._must_own("collect")
        self._collect_names(run)
        return self._collect_files(run, waits, orphan_waits, orphans=listed)

    def _collect_names(self, run: CollectRun) -> None:
        """Turn uploads whose writer is gone, and unreferenced objects, into trash."""
        if not run.dry_run:
            while not run.deadline.passed() and self._catalog.lapse_leases(_STEP):
                pass
        run.objects, run.object_bytes = self._collect_objects(run)

    def _collect_files(
        self, run: CollectRun, waits: int, orphan_waits: int, *, orphans: bool
    ) -> CollectReport:
        found = None
        if self._objects is not None:
            if self._may_list(orphan_waits, asked=orphans) and not run.deadline.passed():
                found = self._collect_orphans(orphan_waits, run)
            run.files += self._empty_trash(self._catalog.now() - waits, run)
        waiting = self._catalog.trash()
        if run.dry_run:
            given_up = self._catalog.preview_collect() + (found or 0)
            waiting += given_up - run.files
            if waits == 0:
                run.files, waiting = run.files + given_up, waiting - given_up
        return run.report(found, waiting)

    def _collect_objects(self, run: CollectRun) -> tuple[int, int]:
        dry_run, progress = run.dry_run, run.progress
        objects = byte_size = 0
        after: int | None = -1
        while after is not None and not run.deadline.passed():
            step = self._catalog.collect(after, _STEP, dry_run=dry_run)
            objects, byte_size, after = (
                objects + step.objects,
                byte_size + step.byte_size,
                step.after,
            )
            if progress:
                progress(objects, None)
        return objects, byte_size

    def _may_list(self, orphan_waits: int, *, asked: bool) -> bool:
        """Return whether to look for files that the catalog does not know.

        True if that was `asked` for or is due. If other lakes share the root, such files may be
        theirs. Then return False, or raise ConfigurationError if it was `asked` for.
        """
        if not asked and self._catalog.orphans_listed() > self._catalog.now() - orphan_waits:
            return False
        others = [] if self._owner is None else self._owner.strangers()
        if others and asked:
            raise ConfigurationError(
                f"{len(others)} other lakes keep objects under the same storage ({others[0]}, …): "
                "files that this catalog does not know may be theirs, so collect without orphans, "
                "and give each lake a prefix of its own"
            )
        return not others

    def _collect_orphans(self, orphan_waits: int, run: CollectRun) -> int:
        """Turn old unknown files into trash."""
        started = self._catalog.now()
        found = 0
        files = self._old_files(started - orphan_waits)
        while paths := list(islice(files, _STEP)):
            # A file that is being written is beside its final name, which the catalog knows by its
            # lease.
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
                if file.modified <= horizon and is_ours(file.path):
                    yield file.path

    def _empty_trash(self, horizon: int, run: CollectRun) -> int:
        """Delete the trash from before `horizon`. Files go before their rows, so that a crash
        leaves no file without a row."""
        assert self._objects is not None
        files, after = 0, ""
        while not run.deadline.passed():
            paths = self._catalog.due_trash(horizon, after, _STEP)
            if not paths:
                break
            if not run.dry_run:
                self._must_own("deleting files")
                self._objects.delete(paths)
                self._catalog.forget_trash(paths)
            files, after = files + len(paths), paths[-1]
            if run.progress:
                run.progress(files, None)
        return files
