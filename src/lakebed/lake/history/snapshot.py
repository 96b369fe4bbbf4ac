"""What a snapshot tells of itself."""

from __future__ import annotations

from datetime import datetime

from lakebed.model import Report


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


class SnapshotList(list[Snapshot]):
    """Snapshots, oldest first."""

    def _repr_html_(self) -> str:
        from lakebed.values.html import table

        names = ("name", "version", "created_at", "message", "author")
        title = f"{len(self)} snapshots, newest first"
        return table(title, names, ([made[name] for name in names] for made in reversed(self)))
