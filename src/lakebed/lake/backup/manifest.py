"""The description of a point of a backup."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Literal, NamedTuple

from lakebed.clock import from_micros
from lakebed.errors import CatalogError, CorruptionError
from lakebed.records import Report

FORMAT = 1
CATALOG = "catalog.sqlite"
ENTRIES = "entries.parquet"
HISTORY = "history.parquet"
SNAPSHOTS = "snapshots.parquet"
FILES = "files.parquet"
MANIFEST = "point.json"

Past = Literal["none", "snapshots", "all"]


class BackupPoint(Report):
    """A point of a backup: the lake as it was at one moment.

    | field | |
    | --- | --- |
    | `id` | the name of the point: its time, and four random bytes |
    | `created_at` | the moment, by the lake's clock |
    | `lake` | the name of the lake's catalog |
    | `entries` | the number of entries |
    | `history` | `none`; `snapshots`: snapshots and their versions; `all`: also every version |
    | `snapshots`, `versions` | the number of snapshots, and of earlier versions |
    | `objects`, `byte_size` | the number of distinct contents, and their size |
    """

    id: str
    created_at: datetime
    lake: str
    entries: int
    history: Past
    snapshots: int
    versions: int
    objects: int
    byte_size: int


class Manifest(NamedTuple):
    """The content of `point.json`. Times are in microseconds.

    `retention`: how long the lake keeps replaced versions, or None for ever. `version`: the lake's
    number for the moment. `files`: the SHA-256 of the point's other files, by name. `number`: the
    order of the points of a place, independent of clocks. `since`: versions from before this time
    may be missing.
    """

    id: str
    created_at: int
    lake: str
    lake_id: str
    version: int
    history: Past
    retention: int | None
    entries: int
    snapshots: int
    versions: int
    objects: int
    byte_size: int
    files: Mapping[str, str]
    number: int = 0
    since: int = 0

    def text(self) -> str:
        """Return the text of the file."""
        return json.dumps({"format": FORMAT, **self._asdict()}, indent=1)

    @classmethod
    def read(cls, data: bytes, where: str) -> Manifest:
        """Return the manifest in the bytes of a file.

        Raises CorruptionError if they are not a manifest, and CatalogError if its format is newer.
        """
        try:
            found = json.loads(data)
            known = found.pop("format")
            if known == FORMAT:
                return cls(**found)
        except (ValueError, TypeError, KeyError, AttributeError):
            raise CorruptionError(f"{where} is damaged: it does not describe a backup") from None
        raise CatalogError(
            f"{where} has the format {known}, and this release reads {FORMAT}: use a newer one"
        )

    def point(self) -> BackupPoint:
        """Return the point as callers get it."""
        shown = {name: value for name, value in self._asdict().items() if name in _SHOWN}
        return BackupPoint(**(shown | {"created_at": from_micros(self.created_at)}))


_SHOWN = frozenset(BackupPoint.FIELDS)
