"""A diff as an Arrow table."""

from __future__ import annotations

from itertools import islice

import pyarrow as pa

from lakebed.lake.arrow.changes import DIFF_SCHEMA, changes_to_arrow
from lakebed.lake.history.diff_spool import KINDS, DiffSpool
from lakebed.model import Progress

_CHUNK = 10_000


def diff_to_arrow(spool: DiffSpool, progress: Progress | None) -> pa.Table:
    """The differences in a spool as a table with the columns of `DIFF_SCHEMA`."""
    batches, done, total = list[pa.RecordBatch](), 0, sum(map(spool.count, KINDS))
    for kind in KINDS:
        rows = spool.rows(kind)
        while chunk := list(islice(rows, _CHUNK)):
            batches.append(changes_to_arrow(chunk))
            done += len(chunk)
            if progress:
                progress(done, total)
    return pa.Table.from_batches(batches, schema=DIFF_SCHEMA)
