"""Records as Arrow tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import pyarrow as pa

from lakebed.lake.diff import EntryChange
from lakebed.model import Entry, EntryRow
from lakebed.values.codec import encode_metadata

_TIME = pa.timestamp("us", "UTC")
ENTRY_SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("version", pa.int64(), nullable=False),
        pa.field("content_hash", pa.string(), nullable=False),
        pa.field("format", pa.string(), nullable=False),
        pa.field("byte_size", pa.int64(), nullable=False),
        pa.field("inlined", pa.bool_(), nullable=False),
        pa.field("storage_uri", pa.string()),
        pa.field("metadata", pa.string(), nullable=False),
        pa.field("expires_at", _TIME),
        pa.field("created_at", _TIME, nullable=False),
        pa.field("updated_at", _TIME, nullable=False),
    ]
)


_CHUNK = 10_000


FullUri = Callable[[str | None, str | None], str | None]
"""Gives the full URI of a path under the storage and a position in it; None where there is none."""


def columns_to_arrow(columns: pa.Table, uri: FullUri) -> pa.Table:
    """The table of a catalog's `listing_to_arrow` with the columns of `ENTRY_SCHEMA`."""
    paths, positions = columns["uri"], columns["position"]
    if paths.null_count == len(paths):
        uris = pa.nulls(len(paths), pa.string())
    else:
        uris = pa.array(map(uri, paths.to_pylist(), positions.to_pylist()), pa.string())
    return columns.append_column("storage_uri", uris).select(ENTRY_SCHEMA.names).cast(ENTRY_SCHEMA)


def rows_to_arrow(rows: Iterator[EntryRow], uri: FullUri) -> pa.Table:
    """Entries as a table with the columns of `ENTRY_SCHEMA`; metadata as JSON text.

    `uri` gives the full URI of a row whose content lies in the storage.
    """
    batches = []
    while chunk := list(islice(rows, _CHUNK)):
        # Column by column, without a record for each entry: five times as fast.
        key, version, metadata, expires_at, created_at, updated_at, *others = zip(
            *chunk, strict=True
        )
        hashes, format, byte_size, inline, paths, positions = others
        columns = [
            key,
            version,
            [f"sha256:{digest.hex()}" for digest in hashes],
            format,
            byte_size,
            [value is not None for value in inline],
            list(map(uri, paths, positions)),
            metadata,
            expires_at,
            created_at,
            updated_at,
        ]
        arrays = [pa.array(c, f.type) for c, f in zip(columns, ENTRY_SCHEMA, strict=True)]
        batches.append(pa.RecordBatch.from_arrays(arrays, schema=ENTRY_SCHEMA))
    return pa.Table.from_batches(batches, schema=ENTRY_SCHEMA).combine_chunks()


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
