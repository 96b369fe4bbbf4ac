"""Keeping clean: removing what has expired."""

from __future__ import annotations

from lakebed.lake.checks import check_count
from lakebed.lake.collecting import CollectReport
from lakebed.lake.compacting import CompactReport
from lakebed.lake.purging import Purging
from lakebed.model import Progress, Report


class CleanupReport(Report):
    """What `cleanup_expired` did: entries removed, and expired entries that remain."""

    deleted: int
    remaining: int


class MaintenanceReport(Report):
    """What `maintain` did: expired entries and versions of the history that it removed, and the
    reports of `compact` and `collect`."""

    expired: int
    history: int
    compacted: CompactReport
    collected: CollectReport


_PRUNE_CHUNK = 500
_FLUSH_AGE = 7 * 86_400.0


class Maintenance(Purging):
    """The calls that keep a lake clean."""

    def cleanup_expired(
        self, batch_size: int = 1000, *, progress: Progress | None = None
    ) -> CleanupReport:
        """Remove the entries that had expired when the call began, `batch_size` in a transaction.

        They are invisible from the moment of their expiry; this gives their space back. Snapshots
        that see them still do. `progress` is called with the entries removed and those to remove.
        """
        check_count("batch_size", batch_size, least=1)
        total, deleted = self._catalog.expired(), 0
        while deleted < total:
            removed = self._catalog.expire(min(batch_size, total - deleted))
            if not removed:  # others clean up as well
                break
            deleted += removed
            if progress:
                progress(deleted, total)
        return CleanupReport(deleted=deleted, remaining=self._catalog.expired())

    def maintain(
        self, max_bytes: int | None = None, *, progress: Progress | None = None
    ) -> MaintenanceReport:
        """All that keeps a lake clean, in the right order: fit for a cron job.

        Removes what has expired, and history that no snapshot sees and no retention keeps; brings
        the text index up to date; moves inline values that are a week old to packs, and rewrites
        worn packs; collects garbage. Short transactions, safe to interrupt and to run beside
        everything else. `max_bytes` limits the values that compaction moves.
        """
        cleanup = self.cleanup_expired(progress=progress)
        horizon = self._catalog.now() - (self._history_retention or 0)
        pruned = 0
        if self._history != "all" or self._history_retention is not None:
            after: int | None = 0
            while after is not None:
                removed, after = self._catalog.prune(horizon, after, _PRUNE_CHUNK)
                pruned += removed
        self._catalog.tidy_search(self._read_values)
        compacted = self.compact(max_bytes, older_than=_FLUSH_AGE, progress=progress)
        return MaintenanceReport(
            expired=cleanup.deleted,
            history=pruned,
            compacted=compacted,
            collected=self.collect(progress=progress),
        )
