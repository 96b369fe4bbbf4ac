"""What a query engine asks of a catalog: whole relations as Arrow, all of one moment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from lakebed.model import LAST_KEY, DiffRow, Moment

if TYPE_CHECKING:
    import pyarrow as pa

    from lakebed.filters import Filter

Column = tuple[str, Literal["text", "number", "bytes", "time"]]
ENTRY_COLUMNS: tuple[Column, ...] = (
    ("key", "text"),
    ("version", "number"),
    ("object_id", "number"),
    ("metadata", "text"),
    ("expires_at", "time"),
    ("created_at", "time"),
    ("updated_at", "time"),
    ("content_hash", "bytes"),
    ("format", "text"),
    ("byte_size", "number"),
    ("inline_value", "bytes"),
    ("uri", "text"),
    ("pack_id", "number"),
    ("position", "text"),
)
"""What a scan of entries gives. `pack_id` refers to the packs. An object that lies in neither
a file nor a pack lies inline, whether its value was asked for or not."""
WITHOUT_VALUES = frozenset(name for name, _ in ENTRY_COLUMNS if name != "inline_value")
OF_CONTENTS = frozenset(
    ("content_hash", "format", "byte_size", "inline_value", "uri", "pack_id", "position")
)
"""Columns of entries that a catalog keeps with their contents."""
VERSIONS: tuple[Column, ...] = (("version", "number"),)
COLUMNS: Mapping[str, tuple[Column, ...]] = {
    "entries": ENTRY_COLUMNS,
    "history": (*ENTRY_COLUMNS, ("end_version", "number"), ("ended_at", "time")),
    "objects": (
        ("content_hash", "bytes"),
        ("format", "text"),
        ("byte_size", "number"),
        ("uri", "text"),
        ("pack_id", "number"),
        ("position", "text"),
        ("created_at", "time"),
    ),
    "packs": (("id", "number"), ("uri", "text"), ("objects", "number")),
    "snapshots": (
        ("id", "text"),
        ("name", "text"),
        ("version", "number"),
        ("message", "text"),
        ("author", "text"),
        ("created_at", "time"),
        ("purged_at", "time"),
    ),
}


class Scan(NamedTuple):
    """Rows that a query wants.

    `moment`: entries as of it, None for now. `metadata_filter`: entries that cannot match may be
    left out. `columns`: those of entries, whose inline value is given if they are JSON. `above`:
    only those entries of now that have a higher version. `ordered`: entries of now by key, from a
    catalog that need not sort them for that; the others give them in any order. `limit`: only so
    many entries of now, the first by key; with `format` those of that format.
    """

    relation: Literal["entries", "history", "objects", "packs", "snapshots"]
    low: str = ""
    high: str = LAST_KEY
    moment: Moment | None = None
    metadata_filter: Filter | None = None
    columns: frozenset[str] = WITHOUT_VALUES
    above: int | None = None
    ordered: bool = False
    limit: int | None = None
    format: str | None = None

    def schema(self) -> pa.Schema:
        """The columns of the rows, as Arrow has them."""
        columns = COLUMNS[self.relation]
        if self.relation == "entries":
            columns = tuple(column for column in columns if column[0] in self.columns)
        return schema_of(columns)


class CatalogScan(Protocol):
    """A transaction of a catalog in which all rows are of one state.

    `now` is its time. `state` is the same for two transactions only if they see the same rows; None
    where the catalog cannot tell. `moved` is the same while no object was moved and nothing purged:
    what changes without a version.
    """

    @property
    def now(self) -> int: ...

    @property
    def state(self) -> object: ...

    @property
    def moved(self) -> object: ...

    def check(self, moment: Moment) -> None:
        """NotFoundError for a moment that is gone."""
        ...

    def standing(self, last: int) -> int | None:
        """How many entries of versions up to `last` there are, expired ones apart; None where
        others may come to be seen among them later."""
        ...

    def count(self, first: int, last: int) -> int:
        """How many of those entries have a version from `first` to `last`."""
        ...

    def holds(self, version: int, key: str, updated_at: int) -> bool:
        """Whether an entry of this version is there, and is this one."""
        ...

    def versions(self, first: int, last: int) -> Iterator[pa.RecordBatch]:
        """The versions of those entries, as the column `version`."""
        ...

    def rows(self, scan: Scan) -> Iterator[pa.RecordBatch]:
        """The rows, with the columns of `COLUMNS`. NotFoundError for a moment that is gone."""
        ...

    def total(self, moment: Moment | None) -> int:
        """How many entries there are, now or at a moment; errors as those of `rows`."""
        ...

    def diff(self, a: Moment, b: Moment | None, low: str, high: str) -> Iterator[DiffRow]:
        """The keys that differ between two moments (None is now)."""
        ...


def schema_of(columns: Sequence[Column]) -> pa.Schema:
    """The Arrow schema of columns: string, int64, binary, timestamp[us, UTC]."""
    import pyarrow as pa

    types = {
        "text": pa.string(),
        "number": pa.int64(),
        "bytes": pa.binary(),
        "time": pa.timestamp("us", "UTC"),
    }
    return pa.schema([(name, types[kind]) for name, kind in columns])
