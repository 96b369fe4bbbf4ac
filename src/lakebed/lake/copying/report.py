"""What a copy did."""

from __future__ import annotations

from lakebed.records import Report


class CopyReport(Report):
    """What `lakebed.copy` did.

    | field | |
    | --- | --- |
    | `entries` | entries of the source under the prefix |
    | `copied` | those that the target did not have |
    | `replaced` | those that differed in the target, and were overwritten (`on_conflict`) |
    | `unchanged` | those that the target had already |
    | `skipped` | those that differ in the target, and were left as they are (`on_conflict`) |
    | `removed` | entries deleted from the target because the source had deleted them (`follow`) |
    | `bytes` | the size of the contents that were read, as stored |
    | `versions`, `snapshots` | earlier versions, and snapshots, that were copied |
    | `differing` | up to 100 keys that differ because somebody wrote them meanwhile |
    | `notes` | what the target cannot hold, in words; empty between lakes |
    | `cursor` | where the next `follow` continues; None for a copy |
    """

    entries: int
    copied: int
    replaced: int
    unchanged: int
    skipped: int
    removed: int
    bytes: int
    versions: int
    snapshots: int
    differing: list[str]
    notes: list[str]
    cursor: str | None
