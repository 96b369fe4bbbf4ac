"""Remove expired entries, and run all upkeep in the right order."""

from __future__ import annotations

import threading
from datetime import timedelta

from lakebed.catalog.capabilities import capabilities_of
from lakebed.lake.checks import Deadline, check_count, check_flag, check_grace
from lakebed.lake.upkeep.collecting import GRACE, ORPHAN_GRACE, CollectReport, CollectRun
from lakebed.lake.upkeep.compacting import CompactReport, CompactRun
from lakebed.lake.upkeep.purging import Purging
from lakebed.model import Progress
from lakebed.records import Report


class CleanupReport(Report):
    """The result of `cleanup_expired`: removed entries, and expired entries that remain.

    With `dry_run`, all of them remain.
    """

    deleted: int
    remaining: int


class MaintenanceReport(Report):
    """The result of `maintain`.

    | field | |
    | --- | --- |
    | `expired`, `history` | expired entries, and versions of the history, that it removed |
    | `compacted`, `collected` | the reports of `compact` and `collect` |
    | `finished` | the call did everything: no limit stopped it |
    | `dry_run` | nothing was changed; the counts are what there is to do now |
    """

    expired: int
    history: int
    compacted: CompactReport
    collected: CollectReport
    finished: bool
    dry_run: bool


_PRUNE_CHUNK = 500
_EXPIRE_CHUNK = 1000
_GRACE = check_grace("grace", GRACE)
_ORPHAN_GRACE = check_grace("orphan_grace", ORPHAN_GRACE)
_FLUSH_AGE = 7 * 86_400_000_000
"""The microseconds for which an inline value stays in the catalog, where it is read fastest."""


class Maintenance(Purging):
    """The calls that keep a lake clean."""

    def cleanup_expired(
        self,
        batch_size: int = 1000,
        *,
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> CleanupReport:
        """Remove the entries that had expired when the call began.

        Entries are invisible from the moment of their expiry. This call frees their space.
        Snapshots still see them. `batch_size`: the number of entries in a transaction. `dry_run`:
        only count them. `progress` is called with the entries removed and the entries to remove.
        """
        check_count("batch_size", batch_size, least=1)
        dry = check_flag("dry_run", dry_run)
        if not dry:
            self._must_write("cleanup_expired")
        deleted = 0 if dry else self._expire(batch_size, Deadline(), progress)
        return CleanupReport(deleted=deleted, remaining=self._catalog.expired())

    def _expire(self, batch_size: int, deadline: Deadline, progress: Progress | None) -> int:
        total, deleted = self._catalog.expired(), 0
        while deleted < total and not deadline.passed():
            removed = self._catalog.expire(min(batch_size, total - deleted))
            if not removed:  # other clients have removed the rest
                break
            deleted += removed
            if progress:
                progress(deleted, total)
        return deleted

    def maintain(
        self,
        max_bytes: int | None = None,
        *,
        max_seconds: float | timedelta | None = None,
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> MaintenanceReport:
        """Do all upkeep in the right order, for example from a cron job.

        This removes expired entries, cursors of `changes` that were not used for 30 days, history
        that no snapshot sees and no retention keeps, and contents that are then unreferenced. It
        moves inline values that are a week old to packs, and rewrites worn packs. It deletes the
        files whose grace is over, and brings the indexes of words and metadata up to date. Steps
        that the catalog does not support are left out. Transactions are short. The call may be
        interrupted, and may run beside everything else.

        `max_bytes` limits the bytes of values that compaction moves. `max_seconds` limits the whole
        call. It then ends after the present step, at most a pack of 64 MiB, and the next run
        continues. `dry_run` changes nothing, and counts what there is to do now. (Expired entries
        must be removed before their contents count as garbage.)

        Raises ValidationError for a limit below 0, and StorageError or LockTimeoutError if the lake
        cannot be written. The work done by then is kept.
        """
        limit = None if max_bytes is None else check_count("max_bytes", max_bytes)
        deadline = Deadline(max_seconds)
        return self._maintain(limit, deadline, check_flag("dry_run", dry_run), progress)

    def _maintain(
        self,
        limit: int | None,
        deadline: Deadline,
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> MaintenanceReport:
        able = capabilities_of(self._catalog)
        if dry_run:
            expired = self._catalog.expired()
        else:
            self._must_write("maintain")
            self._must_own("maintain")
            expired = self._expire(_EXPIRE_CHUNK, deadline, progress)
        if not dry_run:
            self._drop_cursors()
        pruned = self._prune(deadline, dry_run) if "versions" in able else 0
        collecting = CollectRun(dry_run, deadline, progress)
        if "collection" in able:  # collect first, so that compaction does not move garbage
            self._collect_before(collecting)
        compacting = CompactRun(limit, progress, deadline=deadline, dry_run=dry_run)
        if "compaction" in able:
            self._compact(_FLUSH_AGE, compacting)
        collected = collecting.report()
        if "collection" in able:
            collected = self._collect_files(collecting, _GRACE, _ORPHAN_GRACE, orphans=False)
        if not dry_run:
            # Do this last, because a search would also catch up by itself.
            if not deadline.passed():
                self._searcher().tidy(deadline.passed, progress)
                self._catalog.tidy_metadata(deadline.passed)
            self._catalog.scrub(thorough=False)  # erases the rows that a purge had to leave
        return MaintenanceReport(
            expired=expired,
            history=pruned,
            compacted=compacting.report(),
            collected=collected,
            finished=not compacting.stopped and not deadline.passed(),
            dry_run=dry_run,
        )

    def _collect_before(self, run: CollectRun) -> None:
        """Collect names, and the files of earlier runs.

        This comes early, because the later steps may take all the time of each run.
        """
        self._collect_names(run)
        if self._objects is not None and not run.dry_run:
            run.files = self._empty_trash(self._catalog.now() - _GRACE, run)

    def _drop_cursors(self) -> None:
        from lakebed.lake.history.feed import unused_cursors  # not needed for a first store

        for row in unused_cursors(self._catalog.snapshots(), self._catalog.now()):
            self._catalog.drop_snapshot(row.id)

    def _prune(self, deadline: Deadline, dry_run: bool) -> int:
        """Remove the versions that no snapshot sees and no retention keeps."""
        if self._history == "all" and self._history_retention is None:
            return 0
        horizon = self._catalog.now() - (self._history_retention or 0)
        pruned = 0
        after: int | None = 0
        while after is not None and not deadline.passed():
            removed, after = self._catalog.prune(horizon, after, _PRUNE_CHUNK, dry_run=dry_run)
            pruned += removed
        return pruned


def maintain_in_turn(
    lake: Maintenance,
    every: float,
    max_bytes: int | None = None,
    *,
    max_seconds: float | None = None,
    stop: threading.Event | None = None,
) -> MaintenanceReport | None:
    """Maintain a lake as one of several processes that do so every `every` seconds.

    Returns None if another process is maintaining it, or has done so recently. `stop`: ends the run
    between two transactions when it is set. With it, the run also rests between slices of work. The
    other arguments and errors are those of `Lake.maintain`.
    """
    from lakebed.lake.upkeep.turns import take_turn

    turn = take_turn(lake._catalog, round(every * 1_000_000), max_seconds=max_seconds, stop=stop)
    if turn is None:
        return None
    with turn:
        done = lake._maintain(max_bytes, turn)
        turn.did = {
            "expired": done.expired,
            "history": done.history,
            "flushed": done.compacted.flushed,
            "repacked": done.compacted.repacked,
            "objects": done.collected.objects,
            "files": done.collected.files,
        }
    return done
