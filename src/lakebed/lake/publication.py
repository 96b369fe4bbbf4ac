"""The files of a publication: entries as one Parquet file, stored tables as copies beside it."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from hashlib import sha256
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from lakebed.clock import from_micros, system_clock
from lakebed.errors import ConflictError, CorruptionError, LakebedError, SerializationError
from lakebed.lake.arrow import ENTRY_SCHEMA
from lakebed.model import EntryRow
from lakebed.objects.store import ObjectStore

ENTRIES_FILE = "entries.parquet"
CHUNK_BYTES = 32 << 20
"""Metadata and contents, in bytes, that are in memory at a time; a single entry may take more."""

_CHUNK_ROWS = 50_000
_PIECE = 8 << 20
_LEFTOVER_SECONDS = 86_400
_ID = b"lakebed_publication"
# Of a Parquet file, the last bytes: the length of the footer, little-endian, and PAR1.
_TAIL = 8
_COPIED = ("key", "version", "content_hash", "format", "byte_size", "metadata", "expires_at",
           "created_at", "updated_at")  # fmt: skip
SCHEMA = pa.schema(
    [
        *(ENTRY_SCHEMA.field(name) for name in _COPIED),
        # Large in memory only: in the file all text is alike.
        pa.field("value", pa.large_string()),
        pa.field("value_bytes", pa.large_binary()),
        pa.field("table_uri", pa.string()),
    ]
)


def chunks(rows: Iterable[EntryRow]) -> Iterator[list[EntryRow]]:
    """Part entries so that the contents of a part fit into memory."""
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
    """The Parquet file of the entries, whole when its block has ended."""

    def __init__(self, sink: BinaryIO, publication: str) -> None:
        self._writer = pq.ParquetWriter(
            sink,
            SCHEMA,
            compression="zstd",
            store_schema=False,  # it would say "large"
        )
        self._writer.add_key_value_metadata({_ID: publication})

    def add(
        self, rows: Sequence[EntryRow], contents: dict[str, bytes], tables: dict[str, str]
    ) -> None:
        """Write entries, with their contents or the URIs of their tables by key."""
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
            self._writer.write_table(pa.Table.from_arrays(arrays, schema=SCHEMA))
        except pa.ArrowException as error:
            raise SerializationError(
                f"entries from {rows[0].key!r} to {rows[-1].key!r} do not go into Parquet: {error}"
            ) from None

    def __enter__(self) -> EntriesFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()


class Tables:
    """The copies of stored tables, each content once, in a folder of their publication."""

    def __init__(self, source: ObjectStore | None, target: ObjectStore, publication: str) -> None:
        self._source = source
        self._target = target
        self._publication = publication
        self._paths: dict[bytes, str] = {}
        self.byte_size = 0

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._paths)

    def add(self, rows: Iterable[EntryRow]) -> dict[str, str]:
        """Copy the tables of entries; the URI of each copy, by key."""
        uris = {}
        for row in rows:
            path = self._paths.get(row.content_hash)
            if path is None:
                path = f"{self._publication}/{row.content_hash.hex()}.parquet"
                self.byte_size += _copy_table(self._source, row, self._target, path)
                self._paths[row.content_hash] = path
            uris[row.key] = self._target.uri(path)
        return uris

    def discard(self) -> None:
        """Delete the copies, because something has failed; that is what the caller is to hear."""
        with suppress(LakebedError):  # else the next publication removes them
            self._target.delete(self._paths.values())


def _copy_table(source: ObjectStore | None, row: EntryRow, target: ObjectStore, path: str) -> int:
    """Copy a stored table, checked against its hash; its size in bytes. CorruptionError if it is
    damaged, and then nothing is left under `path`."""
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
        for offset in range(0, row.byte_size, _PIECE):
            yield source.read(row.uri, offset, min(_PIECE, row.byte_size - offset))
    except FileNotFoundError:
        raise CorruptionError(
            f"the content of {row.key!r} ({row.hash_text()}) is missing: "
            f"no file at {source.uri(row.uri)}"
        ) from None


def find_publication(target: ObjectStore) -> str | None:
    """The id of the publication that is there, None if nothing is. ConflictError for anything
    else."""
    found = None
    for file in target.list(""):
        name = file.path.rpartition("/")[2]
        if name.startswith(f".{ENTRIES_FILE}.") and name.endswith(".tmp"):
            continue  # of a publication that is under way, or was killed
        if file.path != ENTRIES_FILE:
            raise ConflictError(
                f"{target.uri('')} holds {file.path!r}, which is no part of a publication: "
                "publish to a place of its own"
            )
        found = _publication_id(target, file.byte_size)
        if found is None:
            raise ConflictError(
                f"{target.uri(ENTRIES_FILE)} is not of a publication: publish to a place of its own"
            )
    return found


def _publication_id(target: ObjectStore, size: int) -> str | None:
    """What the footer of the entries' file says, read without the rest of it."""
    tail = target.read(ENTRIES_FILE, max(0, size - _TAIL), _TAIL)
    length = int.from_bytes(tail[:4], "little") + _TAIL
    if not tail.endswith(b"PAR1") or length > size:
        return None
    footer = target.read(ENTRIES_FILE, size - length, length)
    try:
        metadata = pq.read_metadata(io.BytesIO(b"PAR1" + footer)).metadata or {}
    except pa.ArrowException:
        return None
    publication = metadata.get(_ID)
    return None if publication is None else publication.decode()


def new_publication(now: int) -> str:
    """An id that is used once: the time, for people, and what makes it unique."""
    return f"{from_micros(now):%Y%m%dT%H%M%SZ}-{os.urandom(4).hex()}"


def remove_leftovers(tables: ObjectStore, keep: set[str | None]) -> None:
    """Delete the tables of publications that are neither in `keep` nor younger than a day: those
    may be under way."""
    files = list(tables.list(""))
    newest = dict[str, int]()
    for file in files:
        folder = file.path.partition("/")[0]
        newest[folder] = max(newest.get(folder, 0), file.modified)
    horizon = system_clock() - _LEFTOVER_SECONDS * 1_000_000  # as the storage tells times
    old = {name for name, modified in newest.items() if modified < horizon} - keep
    tables.delete(file.path for file in files if file.path.partition("/")[0] in old)
