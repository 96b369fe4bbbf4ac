"""Stores many entries in one call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

from lakebed.errors import LakebedError
from lakebed.lake.checks import check_entries
from lakebed.lake.entries.batch_report import BatchReport
from lakebed.lake.entries.writing import Writing
from lakebed.model import Progress

if TYPE_CHECKING:
    from lakebed.lake.entries.batch_run import Batch

_WAITING = 10_001
"""The number of entries without a segment from which on a batch builds segments. To build them
takes three times as long as to store them, so a batch of 10,000 leaves that to the first search."""


class Batches(Writing):
    """The call that stores many entries."""

    def store_batch(
        self,
        entries: Iterable[Mapping[str, Any]],
        *,
        atomic: bool = True,
        progress: Progress | None = None,
    ) -> BatchReport:
        """Store many entries, from a list or a generator.

        Each entry is a mapping with `key`, `value`, and optionally `metadata`, `ttl` and
        `expires_at`, which have the same meaning as for `store`. The last entry of a key wins.
        `progress` is called with the number of entries read so far and their total, which is None
        if it is not known.

        `atomic`: store all entries or none, visible at one moment. The first error is raised, with
        all errors by key in `errors`, and nothing is stored. If it is False, entries are stored
        5,000 at a time. The report's `errors` has those that cannot be stored, and an error of the
        iterable leaves earlier entries stored.

        Values above the inline threshold go to packs, which are files of up to 64 MiB for many
        values. Each table has its own file. Entries wait for their commit in a temporary file, so
        memory stays bounded whatever their number: about 50 MiB if all values stay in the catalog,
        about 220 MiB if packs are written, and 100 MiB more while a large batch builds the search
        index. Nothing is locked while the call waits for the iterable or the storage. The commit
        holds the write lock for about ten seconds per million entries.
        """
        from lakebed.lake.entries.batch_run import Batch  # not for a first store

        return self._run_batch(Batch(self, atomic, progress), entries, atomic)

    def _run_batch(
        self, batch: Batch, entries: Iterable[Mapping[str, Any]], atomic: bool
    ) -> BatchReport:
        with closing(batch):
            self._must_write("store_batch")
            check_entries(entries)
            try:
                batch.read(entries)
            except Exception:
                if not atomic:
                    batch.finish()
                raise
            report = batch.finish()
        self._index_batch(report)
        return report

    def _index_batch(self, report: BatchReport) -> None:
        """Build the segments of a large batch, so that no search has to.

        If that fails, the next search or maintenance builds them.
        """
        if not report.created + report.changed:
            return
        with suppress(LakebedError):  # the batch is committed
            if self._catalog.count_waiting(_WAITING) >= _WAITING:
                self._searcher().build_waiting()
