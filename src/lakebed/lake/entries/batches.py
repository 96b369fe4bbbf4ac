"""Storing many entries in one call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

from lakebed.errors import LakebedError
from lakebed.lake.checks import check_iterable
from lakebed.lake.entries.batch_report import BatchReport
from lakebed.lake.entries.writing import Writing
from lakebed.model import Progress

if TYPE_CHECKING:
    from lakebed.lake.entries.batch_run import Batch

_WAITING = 5_000
"""Entries without a segment at which a batch builds some: a process's first search, which loads
NumPy too, would need half a second of processor time to build them."""


class Batches(Writing):
    """The call that stores many entries."""

    def store_batch(
        self,
        entries: Iterable[Mapping[str, Any]],
        *,
        atomic: bool = True,
        progress: Progress | None = None,
    ) -> BatchReport:
        """Store many entries, from a list or as a generator gives them.

        Each entry is a mapping with `key`, `value`, and optionally `metadata`, `ttl`, `expires_at`,
        which mean what they mean for `store`. The last entry of a key wins. `progress` is called
        with the entries read so far and their number, None if it is not known.

        `atomic`: all or none, visible at one moment. The first error is raised, with all errors by
        key in `errors`, and nothing is stored. Otherwise entries are stored 5,000 at a time, what
        cannot be stored is in the report's `errors`, and an error of the iterable leaves what came
        before it.

        Values above the inline threshold go to packs, files of up to 64 MiB that hold many, and
        tables to files of their own. Entries wait for their commit in a temporary file, so that
        memory stays bounded whatever their number: some 50 MiB where all values stay in the
        catalog, some 220 MiB where packs are written, and 100 MiB more while a large one builds
        the search index. Nothing is locked while the iterable or the
        storage is awaited; the commit holds the write lock for about ten seconds a million entries.
        """
        from lakebed.lake.entries.batch_run import Batch  # not for a first store

        return self._run_batch(Batch(self, atomic, progress), entries, atomic)

    def _run_batch(
        self, batch: Batch, entries: Iterable[Mapping[str, Any]], atomic: bool
    ) -> BatchReport:
        with closing(batch):
            self._must_write("store_batch")
            check_iterable("entries", entries)
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
        """Build the segments of a large batch with it, so that no search has to. One that fails
        leaves that to the next search or maintenance."""
        if not report.created + report.changed:
            return
        with suppress(LakebedError):  # the batch has happened
            if self._catalog.count_waiting(_WAITING) >= _WAITING:
                self._searcher().build_waiting()
