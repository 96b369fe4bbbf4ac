"""Differences as an Arrow table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pyarrow as pa

from lakebed.values.codec import encode_metadata

if TYPE_CHECKING:
    from lakebed.lake.history.change import EntryChange
    from lakebed.model import Entry

_TIME = pa.timestamp("us", "UTC")
_SIDE = [
    ("content_hash", pa.string()),
    ("byte_size", pa.int64()),
    ("metadata", pa.string()),
    ("expires_at", _TIME),
    ("updated_at", _TIME),
]
DIFF_SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("change", pa.string(), nullable=False),
        *(pa.field(f"{side}_{name}", kind) for side in ("before", "after") for name, kind in _SIDE),
    ]
)


def diff_to_arrow(
    added: Iterable[Entry], changed: Iterable[EntryChange], removed: Iterable[Entry]
) -> pa.Table:
    """The differences as a table with the columns of `DIFF_SCHEMA`."""
    rows = [
        *(("added", None, entry) for entry in added),
        *(("changed", change.before, change.after) for change in changed),
        *(("removed", entry, None) for entry in removed),
    ]
    return pa.Table.from_pylist([_diff_row(*row) for row in rows], schema=DIFF_SCHEMA)


def _diff_row(change: str, before: Entry | None, after: Entry | None) -> dict[str, object]:
    row: dict[str, object] = {"change": change}
    for side, entry in (("before", before), ("after", after)):
        if entry is not None:
            row["key"] = entry.key
            row |= {f"{side}_{name}": entry[name] for name, _ in _SIDE}
            row[f"{side}_metadata"] = encode_metadata(entry.metadata)
    return row
