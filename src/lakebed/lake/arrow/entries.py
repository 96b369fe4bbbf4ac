"""Entries as Arrow tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lakebed.catalog.protocol import Scannable
from lakebed.catalog.scan import COLUMNS, Scan, schema_of
from lakebed.model import EntryRow, Progress

_TEXT = pa.string()
_TIME = pa.timestamp("us", "UTC")
_HASH_MARK = b"sha256:"
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


_HASH = ENTRY_SCHEMA.get_field_index("content_hash")
_HASHED = ENTRY_SCHEMA.set(_HASH, pa.field("content_hash", pa.binary(), nullable=False))
_CHUNK = 10_000

FullUri = Callable[[str | None, str | None], str | None]
"""Gives the full URI of a path under the storage and a position in it; None where there is none."""


def scan_to_arrow(
    catalog: Scannable, wanted: Scan, uri: FullUri, progress: Progress | None, total: int
) -> pa.Table:
    """Return a scan of entries as a table with the columns of `ENTRY_SCHEMA`, in key order, as of
    one moment.

    `progress` is called with the rows read so far and `total`.
    """
    of_packs = Scan("packs")
    with catalog.scan([of_packs, wanted]) as scan:
        packs = pa.Table.from_batches(scan.rows(of_packs), schema_of(COLUMNS["packs"]))
        batches, done = list[pa.RecordBatch](), 0
        for rows in scan.rows(wanted):
            batches.append(_finished(rows, packs, uri))
            done += len(rows)
            if progress:
                progress(done, max(done, total))
    table = pa.Table.from_batches(batches, _HASHED)
    del batches
    order = None if _is_ordered(table["key"]) else pc.sort_indices(table["key"])
    columns = table.columns
    del table
    if order is not None:  # a server would sort rows as wide as these on disk
        for place in range(len(columns)):  # only one is in memory twice
            columns[place] = columns[place].take(order)
            pa.default_memory_pool().release_unused()
    hashes = columns[_HASH].chunks
    columns[_HASH] = pa.chunked_array(
        (
            hash_texts(chunk.slice(start, _CHUNK).to_pylist())
            for chunk in hashes
            for start in range(0, len(chunk), _CHUNK)
        ),
        _TEXT,
    )
    return pa.Table.from_arrays(columns, schema=ENTRY_SCHEMA)


def _is_ordered(keys: pa.ChunkedArray) -> bool:
    """Return whether keys come in the order of their bytes."""
    chunks = [chunk for chunk in keys.chunks if len(chunk)]
    if any(a[-1].as_py() > b[0].as_py() for a, b in pairwise(chunks)):
        return False
    return all(
        pc.all(pc.less_equal(chunk[:-1], chunk[1:]), min_count=0).as_py() for chunk in chunks
    )


def _finished(rows: pa.RecordBatch, packs: pa.Table, uri: FullUri) -> pa.RecordBatch:
    """Rows of a scan with the columns of `ENTRY_SCHEMA`, and hashes that are no texts yet."""
    in_packs = packs["uri"].take(pc.index_in(rows["pack_id"], value_set=packs["id"]))
    paths = pc.coalesce(rows["uri"], in_packs.combine_chunks())
    columns = dict(zip(rows.schema.names, rows.columns, strict=True))
    columns["inlined"] = paths.is_null()
    if paths.null_count == len(paths):
        columns["storage_uri"] = pa.nulls(len(paths), _TEXT)
    else:
        uris = map(uri, paths.to_pylist(), rows["position"].to_pylist())
        columns["storage_uri"] = pa.array(uris, _TEXT)
    arrays = [columns[name] for name in ENTRY_SCHEMA.names]
    return pa.RecordBatch.from_arrays(arrays, schema=_HASHED)


def hash_texts(hashes: Sequence[bytes]) -> pa.StringArray:
    """Content hashes as entries have them, `sha256:` and hexadecimal digits."""
    digits = b"".join(hashes).hex().encode()
    texts = np.empty((len(hashes), len(_HASH_MARK) + 64), np.uint8)
    texts[:, : len(_HASH_MARK)] = np.frombuffer(_HASH_MARK, np.uint8)
    texts[:, len(_HASH_MARK) :] = np.frombuffer(digits, np.uint8).reshape(-1, 64)
    ends = np.arange(0, texts.size + 1, texts.shape[1], dtype=np.int32)
    return pa.StringArray.from_buffers(len(hashes), pa.py_buffer(ends), pa.py_buffer(texts))


def rows_to_arrow(
    pages: Iterable[Sequence[EntryRow]], uri: FullUri, progress: Progress | None, total: int | None
) -> pa.Table:
    """Return pages of entries as a table with the columns of `ENTRY_SCHEMA`, with metadata as JSON
    text.

    `uri` gives the full URI of a row whose content is in the storage. `progress` is called with the
    rows read so far and `total`.
    """
    batches, done = list[pa.RecordBatch](), 0
    for page in filter(None, pages):
        # Column by column, without a record for each entry: five times as fast.
        key, version, metadata, expires_at, created_at, updated_at, *others = zip(
            *page, strict=True
        )
        hashes, format, byte_size, inline, paths, positions = others
        columns: list[Sequence[object]] = [
            key, version, (), format, byte_size, [value is not None for value in inline],
            list(map(uri, paths, positions)), metadata, expires_at, created_at, updated_at,
        ]  # fmt: skip
        arrays = [pa.array(c, f.type) for c, f in zip(columns, ENTRY_SCHEMA, strict=True)]
        arrays[_HASH] = hash_texts(hashes)
        batches.append(pa.RecordBatch.from_arrays(arrays, schema=ENTRY_SCHEMA))
        done += len(page)
        if progress:
            progress(done, total and max(done, total))
    return pa.Table.from_batches(batches, schema=ENTRY_SCHEMA)
