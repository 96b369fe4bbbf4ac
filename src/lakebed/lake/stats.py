"""What a lake holds, in numbers."""

from __future__ import annotations

from lakebed.lake.base import LakeBase
from lakebed.model import Report


class Stats(Report):
    """Totals over a lake; sizes in bytes as stored.

    | field | |
    | --- | --- |
    | `entries` | entries that are visible now |
    | `expired` | expired entries that await `cleanup_expired` |
    | `entry_bytes` | what the visible entries' contents would take one by one |
    | `objects`, `object_bytes` | distinct contents, and what they take |
    | `inline_objects`, `inline_bytes` | those of them that lie in the catalog |
    | `packs`, `snapshots` | how many there are |
    | `history` | earlier versions that are kept |
    | `deduplicated_bytes` | what the visible entries save by sharing contents |
    """

    entries: int
    expired: int
    entry_bytes: int
    objects: int
    object_bytes: int
    inline_objects: int
    inline_bytes: int
    packs: int
    snapshots: int
    history: int
    deduplicated_bytes: int


class Statistics(LakeBase):
    """The call that counts."""

    def stats(self) -> Stats:
        """Count what the lake holds. Reads every object's row: seconds on tens of millions."""
        totals = self._catalog.stats()._asdict()
        saved = totals["entry_bytes"] - totals.pop("used_bytes")
        return Stats(**totals, deduplicated_bytes=saved)
