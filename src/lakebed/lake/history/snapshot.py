"""What a snapshot tells of itself."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from lakebed.records import Report
from lakebed.values.tabular import Tabular

if TYPE_CHECKING:
    import pyarrow as pa


class Snapshot(Report):
    """A state of the lake that is kept under a name.

    `id` begins with `@`, which a name may not, and is never used again. `version` is the newest
    version that it sees; expiry is judged at `created_at` (UTC). `purged_at`: when `purge` last
    removed something that it saw, None if never.
    """

    id: str
    name: str
    version: int
    message: str | None
    author: str | None
    created_at: datetime
    purged_at: datetime | None


class SnapshotList(list[Snapshot], Tabular):
    """Snapshots, oldest first."""

    def to_arrow(self) -> pa.Table:
        """The snapshots as an Arrow table, oldest first.

        Columns: id, name (string), version (int64), message, author (string), created_at,
        purged_at (timestamp[us, UTC]).
        """
        import pyarrow as pa

        text, time = pa.string(), pa.timestamp("us", "UTC")
        schema = pa.schema(
            [
                pa.field("id", text, nullable=False),
                pa.field("name", text, nullable=False),
                pa.field("version", pa.int64(), nullable=False),
                pa.field("message", text),
                pa.field("author", text),
                pa.field("created_at", time, nullable=False),
                pa.field("purged_at", time),
            ]
        )
        return pa.Table.from_pylist([dict(made) for made in self], schema=schema)

    def _repr_html_(self) -> str:
        from lakebed.values.html import table

        names = ("name", "version", "created_at", "message", "author")
        title = f"{len(self)} snapshots, newest first"
        return table(title, names, ([made[name] for name in names] for made in reversed(self)))
