"""Store entries of another lake. Their contents are copied as bytes and never decoded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import islice

from lakebed.catalog.protocol import StagedRow
from lakebed.errors import LakebedError
from lakebed.lake.contents.reading import ContentReading
from lakebed.lake.contents.windows import contents_in_order
from lakebed.lake.copying.tables import store_table
from lakebed.lake.entries.batch_report import BatchReport
from lakebed.lake.entries.batch_run import CHUNK, Batch
from lakebed.lake.entries.batches import Batches
from lakebed.lake.entries.staging import in_memory
from lakebed.lake.lake import Lake
from lakebed.model import EntryRow
from lakebed.values.encoded import Encoded, EncodedFile
from lakebed.values.parts import TABLE

_PAGE = 1000


class _CopyingBatch(Batch):
    def take(self, row: EntryRow, data: bytes | None, *, timed: bool) -> None:
        """Stage an entry of another lake, with its times.

        `data`: the content, or None if this lake holds it already.
        """
        lake = self._lake
        encoded: Encoded | EncodedFile | None = None
        if data is not None:
            encoded = Encoded(row.format, data, row.content_hash)
            if lake._objects is None:
                encoded = in_memory(encoded)
        # A lake that keeps all history finds versions by their times, and this copy is a version
        # that begins now, not when the source's did.
        updated_at = row.updated_at if timed or lake._history != "all" else None
        self._stage(
            StagedRow(
                row.key, row.content_hash, row.format, row.byte_size,
                None if encoded is None else lake._inline_data(encoded),
                None, None, row.metadata, None, row.expires_at, row.created_at, updated_at,
            ),
            encoded,
        )  # fmt: skip
        if self._staged >= CHUNK:
            self._commit()


def store_contents(lake: Batches, contents: Iterable[tuple[EntryRow, bytes]]) -> None:
    """Store entries of another store with their contents, 5,000 in a transaction.

    The contents must have the hashes in the rows. Keys, metadata, times and expiry are taken from
    the rows. But in a lake that keeps all history, `updated_at` is the time of the copy.
    """
    with closing(_CopyingBatch(lake, atomic=False, progress=None)) as batch:
        for row, data in contents:
            batch.take(row, data, timed=False)
        report = _finished(batch)
    lake._index_batch(report)


def store_rows(
    source: ContentReading,
    target: Lake,
    rows: Iterable[EntryRow],
    *,
    timed: bool = False,
    private: bool = False,
) -> int:
    """Store entries of one lake in another, as `store_contents` does. Tables of parts are stored
    one by one. Return the size in bytes of the contents that were read.

    Raises the first error from reading a content.

    `timed`: always take `updated_at` from the rows. The caller sets the target's clock by them.
    `private`: nobody else uses the target. Then nobody can delete the contents that it holds, so
    they are not read again. And nobody searches it, so nothing is indexed.
    """
    size = 0
    with closing(_CopyingBatch(target, atomic=False, progress=None)) as batch:

        def wanted() -> Iterator[EntryRow]:
            coming = iter(rows)
            while page := list(islice(coming, _PAGE)):
                known = target._catalog.known((row.content_hash, row.format) for row in page)
                for row in page:
                    if (row.content_hash, row.format) in known:
                        batch.take(row, None, timed=timed)
                    else:
                        yield row

        for row, data in contents_in_order(wanted() if private else rows, source.read_contents):
            if isinstance(data, LakebedError):
                raise data
            size += len(data)
            if row.format == TABLE:
                size += store_table(source, target, row, data, timed=timed)
            else:
                batch.take(row, data, timed=timed)
        report = _finished(batch)
    if not private:
        target._index_batch(report)
    return size


def _finished(batch: Batch) -> BatchReport:
    """Commit the rest of a batch. Raises the first error of an entry."""
    report = batch.finish()
    if report.errors:
        raise next(iter(report.errors.values()))
    return report
