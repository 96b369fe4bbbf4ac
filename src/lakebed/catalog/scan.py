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
    """The rows that a query needs.

    `moment`: entries as of this moment, None for now. `metadata_filter`: entries that cannot match
    may be left out. `columns`: the columns of entries. The inline value is given only for JSON.
    `above`: only present entries with a higher version. `ordered`: present entries in the order of
    keys, if the catalog need not sort them for that; otherwise in any order. `limit`: only so many
    present entries, the first by key; with `format`, only those of that format.
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
        """The Arrow schema of the rows."""
        columns = COLUMNS[self.relation]
        if self.relation == "entries":
            columns = tuple(column for column in columns if column[0] in self.columns)
        return schema_of(columns)


class CatalogScan(Protocol):
    """A transaction of a catalog in which all rows belong to one state.

    `now`: its time. `state`: the same for two transactions only if they see the same rows; None if
    the catalog cannot tell. `moved`: the same while no object was moved and nothing was purged,
    which changes rows without a new version.
    """

    @property
    def now(self) -> int: ...

    @property
    def state(self) -> object: ...

    @property
    def moved(self) -> object: ...

    def check(self, moment: Moment) -> None:
        """Raise NotFoundError for a moment that no longer exists."""
        ...

    def standing(self, last: int) -> int | None:
        """Return the number of entries with versions up to `last`, without expired ones. None if
        later writes may add entries with such versions."""
        ...

    def count(self, first: int, last: int) -> int:
        """Return how many of those entries have a version from `first` to `last`."""
        ...

    def holds(self, version: int, key: str, updated_at: int) -> bool:
        """Return whether an entry with this version, key and time of change exists."""
        ...

    def versions(self, first: int, last: int) -> Iterator[pa.RecordBatch]:
        """Give the versions of those entries, as the column `version`."""
        ...

    def rows(self, scan: Scan) -> Iterator[pa.RecordBatch]:
        """Give the rows, with the columns of `COLUMNS`. Raises NotFoundError for a moment that no
        longer exists."""
        ...

    def total(self, moment: Moment | None) -> int:
        """Return the number of entries, now or at a moment. Raises errors as `rows` does."""
        ...

    def diff(self, a: Moment, b: Moment | None, low: str, high: str) -> Iterator[DiffRow]:
        """Give the keys that differ between two moments (None is now)."""
        ...


def schema_of(columns: Sequence[Column]) -> pa.Schema:
    """Return the Arrow schema of columns: string, int64, binary, timestamp[us, UTC]."""
    import pyarrow as pa

    types = {
        "text": pa.string(),
        "number": pa.int64(),
        "bytes": pa.binary(),
        "time": pa.timestamp("us", "UTC"),
    }
    return pa.schema([(name, types[kind]) for name, kind in columns])
