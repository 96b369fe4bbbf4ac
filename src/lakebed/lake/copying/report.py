"""The report of a copy."""

from __future__ import annotations

from lakebed.records import Report


class CopyReport(Report):
    """What `lakebed.copy` did.

    | field | |
    | --- | --- |
    | `entries` | how many entries the source has under the prefix |
    | `copied` | how many the target did not have |
    | `replaced` | how many differed in the target and were overwritten (`on_conflict`) |
    | `unchanged` | how many the target had already |
    | `skipped` | how many differ in the target and were left as they are (`on_conflict`) |
    | `removed` | how many were deleted because the source had deleted them (`follow`) |
    | `bytes` | the size of the contents that were read, as stored |
    | `versions`, `snapshots` | how many earlier versions and snapshots were copied |
    | `differing` | up to 100 keys that differ because somebody wrote them meanwhile |
    | `notes` | texts on what the target cannot hold; empty between lakes |
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
