"""Differences as Arrow batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from lakebed.model import DiffRow, EntryRow

_TEXT = pa.string()
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


def changes_to_arrow(rows: Sequence[DiffRow]) -> pa.RecordBatch:
    """Differences of any kind with the columns of `DIFF_SCHEMA`, in their order."""
    before, after = zip(*rows, strict=True)
    some = [one or other or _nothing() for one, other in zip(after, before, strict=True)]
    change = [
        "changed" if one and other else "added" if other else "removed" for one, other in rows
    ]
    columns = [pa.array([row.key for row in some], _TEXT), pa.array(change, _TEXT)]
    arrays = [*columns, *_side(before), *_side(after)]
    return pa.RecordBatch.from_arrays(arrays, schema=DIFF_SCHEMA)


def _side(rows: Sequence[EntryRow | None]) -> Iterator[pa.Array]:
    """The columns of one side of differences."""
    yield pa.array([row and row.hash_text() for row in rows], _TEXT)
    yield pa.array([row and row.byte_size for row in rows], pa.int64())
    yield pa.array([row and row.metadata for row in rows], _TEXT)
    yield pa.array([row and row.expires_at for row in rows], _TIME)
    yield pa.array([row and row.updated_at for row in rows], _TIME)


def _nothing() -> EntryRow:
    raise AssertionError("a difference has a row on one side at least")
