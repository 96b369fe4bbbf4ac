"""The files of a publication: entries as one Parquet file, stored tables as copies beside it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256

import pyarrow as pa
import pyarrow.parquet as pq

from lakebed.clock import from_micros
from lakebed.errors import CorruptionError, SerializationError
from lakebed.lake.share.publication_place import ID, Hashing, pieces
from lakebed.lake.sql.arrow import ENTRY_SCHEMA
from lakebed.model import EntryRow
from lakebed.objects.store import ObjectStore

CHUNK_BYTES = 32 << 20
"""The most bytes of metadata and contents in memory at a time. A single entry may take more."""

_CHUNK_ROWS = 20_000
_GROUP_BYTES = 4 << 20
"""The bytes of a row group in memory. A search of the publication reads one for each hit."""
_COPIED = ("key", "version", "content_hash", "format", "byte_size", "metadata", "expires_at",
           "created_at", "updated_at")  # fmt: skip
SCHEMA = pa.schema(
    [
        *(ENTRY_SCHEMA.field(name) for name in _COPIED),
        # Large only in memory: the file has one type of text.
        pa.field("value", pa.large_string()),
        pa.field("value_bytes", pa.large_binary()),
        pa.field("table_uri", pa.string()),
    ]
)


def chunks(rows: Iterable[EntryRow]) -> Iterator[list[EntryRow]]:
    """Split entries into chunks whose contents fit into memory."""
    chunk: list[EntryRow] = []
    size = 0
    for row in rows:
        taken = len(row.metadata) + (0 if row.format == "parquet" else row.byte_size)
        if chunk and (size + taken > CHUNK_BYTES or len(chunk) == _CHUNK_ROWS):
            yield chunk
            chunk, size = [], 0
        chunk.append(row)
        size += taken
    if chunk:
        yield chunk


class EntriesFile:
    """The Parquet file of the entries. It is complete when its block has ended."""

    def __init__(self, sink: Hashing, publication: str) -> None:
        self._writer = pq.ParquetWriter(
            sink,
            SCHEMA,
            compression="zstd",
            store_schema=False,  # it would contain the large types
            write_page_checksum=True,
        )
        self._writer.add_key_value_metadata({ID: publication})

    def add(
        self, rows: Sequence[EntryRow], contents: dict[str, bytes], tables: dict[str, str]
    ) -> None:
        """Write entries. `contents` and `tables` hold their contents and the URIs of their tables,
        by key."""
        values = [contents.get(row.key) for row in rows]
        as_json = [row.format == "json" for row in rows]
        columns: list[Sequence[object]] = [
            [row.key for row in rows],
            [row.version for row in rows],
            [row.hash_text() for row in rows],
            [row.format for row in rows],
            [row.byte_size for row in rows],
            [row.metadata for row in rows],
            [row.expires_at for row in rows],
            [row.created_at for row in rows],
            [row.updated_at for row in rows],
            [value if json else None for value, json in zip(values, as_json, strict=True)],
            [None if json else value for value, json in zip(values, as_json, strict=True)],
            [tables.get(row.key) for row in rows],
        ]
        arrays = [pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)]
        try:
            table = pa.Table.from_arrays(arrays, schema=SCHEMA)
            group = len(rows) * _GROUP_BYTES // max(table.nbytes, 1)
            self._writer.write_table(table, row_group_size=max(group, 1))
        except pa.ArrowException as error:
            raise SerializationError(
                f"cannot write the entries from {rows[0].key!r} to {rows[-1].key!r} to Parquet: "
                f"{error}"
            ) from None

    def __enter__(self) -> EntriesFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()


class Tables:
    """The copies of stored tables in the folder of a publication. Each content is copied once."""

    def __init__(self, source: ObjectStore | None, target: ObjectStore, publication: str) -> None:
        self._source = source
        self._target = target
        self._publication = publication
        self._paths: dict[bytes, str] = {}
        self.byte_size = 0

    def hashes(self) -> dict[str, str]:
        """Return the hashes of the copies, by their names beside the manifest."""
        return {
            path.rpartition("/")[2]: content_hash.hex()
            for content_hash, path in self._paths.items()
        }

    @property
    def count(self) -> int:
        """The number of copies."""
        return len(self._paths)

    def add(self, rows: Iterable[EntryRow]) -> dict[str, str]:
        """Copy the tables of entries. Returns the URI of each copy, by key."""
        uris = {}
        for row in rows:
            path = self._paths.get(row.content_hash)
            if path is None:
                path = f"{self._publication}/{row.content_hash.hex()}.parquet"
                self.byte_size += _copy_table(self._source, row, self._target, path)
                self._paths[row.content_hash] = path
            uris[row.key] = self._target.uri(path)
        return uris


def _copy_table(source: ObjectStore | None, row: EntryRow, target: ObjectStore, path: str) -> int:
    """Copy a stored table, and check it against its hash. Returns its size in bytes. Raises
    CorruptionError if it is damaged; nothing is then left at `path`."""
    hashing, size = sha256(), 0
    with target.open_write(path) as sink:
        for piece in _pieces(source, row):
            hashing.update(piece)
            size += len(piece)
            sink.write(piece)
        if hashing.digest() != row.content_hash:
            raise CorruptionError(
                f"the content of {row.key!r} ({row.hash_text()}) is damaged: "
                f"{size} bytes have another hash"
            )
    return size


def _pieces(source: ObjectStore | None, row: EntryRow) -> Iterator[bytes]:
    if row.inline_value is not None:
        yield row.inline_value
        return
    assert source is not None
    assert row.uri is not None
    try:
        yield from pieces(source, row.uri, row.byte_size)
    except FileNotFoundError:
        raise CorruptionError(
            f"the content of {row.key!r} ({row.hash_text()}) is missing: "
            f"no file at {source.uri(row.uri)}"
        ) from None


def new_publication(now: int) -> str:
    """Return a new id: the time, for people to read, and a unique suffix."""
    return f"{from_micros(now):%Y%m%dT%H%M%SZ}-{os.urandom(4).hex()}"
