"""Keeping clean: removing what has expired."""

from __future__ import annotations

from datetime import timedelta

from lakebed.lake.checks import Deadline, check_count, check_flag, check_grace
from lakebed.lake.upkeep.collecting import GRACE, ORPHAN_GRACE, CollectReport, CollectRun
from lakebed.lake.upkeep.compacting import CompactReport, CompactRun
from lakebed.lake.upkeep.purging import Purging
from lakebed.model import Progress, Report


class CleanupReport(Report):
    """What `cleanup_expired` did: entries removed, and expired entries that remain (with `dry_run`
    all of them do)."""

    deleted: int
    remaining: int


class MaintenanceReport(Report):
    """What `maintain` did.

    | field | |
    | --- | --- |
    | `expired`, `history` | expired entries, and versions of the history, that it removed |
    | `compacted`, `collected` | the reports of `compact` and `collect` |
    | `finished` | it came to the end: neither limit stopped it |
    | `dry_run` | nothing was changed; counts are of what there is to do now |
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
"""Microseconds that an inline value stays where it is read fastest."""


class Maintenance(Purging):
    """The calls that keep a lake clean."""

    def cleanup_expired(
        self,
        batch_size: int = 1000,
        *,
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> CleanupReport:
        """Remove the entries that had expired when the call began, `batch_size` in a transaction.

        They are invisible from the moment of their expiry; this gives their space back. Snapshots
        that see them still do. `dry_run` counts them only. `progress` is called with the entries
        removed and those to remove.
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
            if not removed:  # others clean up as well
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
        """All that keeps a lake clean, in the right order: fit for a cron job.

        Removes what has expired, history that no snapshot sees and no retention keeps, and contents
        that nothing refers to by then; moves inline values that are a week old to packs, and
        rewrites worn packs; deletes the files whose grace is over; brings the indexes of text and
        metadata up to date. Short transactions, safe to interrupt and to run beside everything
        else.

        `max_bytes` limits the values that compaction moves, `max_seconds` the whole: it ends after
        the step that is under way then, at most a pack of 64 MiB, and the next run goes on.
        `dry_run` changes nothing and counts what there is to do now (what expires has to go before
        its contents count as garbage).

        Raises ValidationError for a limit below 0, StorageError and LockTimeoutError if the lake
        cannot be written; what is done by then is done.
        """
        limit = None if max_bytes is None else check_count("max_bytes", max_bytes)
        deadline = Deadline(max_seconds)
        if check_flag("dry_run", dry_run):
            expired = self._catalog.expired()
        else:
            self._must_write("maintain")
            expired = self._expire(_EXPIRE_CHUNK, deadline, progress)
        pruned = self._prune(deadline, dry_run)
        collecting = CollectRun(dry_run, deadline, progress)
        self._collect_names(collecting)  # before the compaction, which need not move garbage then
        if self._objects is not None and not dry_run:
            # Of earlier runs: what follows may take all the time that there is, run after run.
            collecting.files = self._empty_trash(self._catalog.now() - _GRACE, collecting)
        compacting = CompactRun(limit, progress, deadline=deadline, dry_run=dry_run)
        compacted = self._compact(_FLUSH_AGE, compacting)
        collected = self._collect_files(collecting, _GRACE, _ORPHAN_GRACE, orphans=False)
        if not dry_run:
            # After what nobody else does: a search catches up by itself.
            if not deadline.passed():
                self._searcher().tidy(deadline.passed, progress)
                self._catalog.tidy_metadata(deadline.passed)
            self._catalog.scrub(thorough=False)  # of what a purge had to leave
        return MaintenanceReport(
            expired=expired,
            history=pruned,
            compacted=compacted,
            collected=collected,
            finished=not compacting.stopped and not deadline.passed(),
            dry_run=dry_run,
        )

    def _prune(self, deadline: Deadline, dry_run: bool) -> int:
        """Forget the versions that no snapshot sees and no retention keeps."""
        if self._history == "all" and self._history_retention is None:
            return 0
        horizon = self._catalog.now() - (self._history_retention or 0)
        pruned = 0
        after: int | None = 0
        while after is not None and not deadline.passed():
            removed, after = self._catalog.prune(horizon, after, _PRUNE_CHUNK, dry_run=dry_run)
            pruned += removed
        return pruned
