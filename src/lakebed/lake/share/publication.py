"""The files of a publication: entries as one Parquet file, stored tables as copies beside it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import sha256

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lakebed.clock import from_micros
from lakebed.errors import CorruptionError, SerializationError
from lakebed.lake.arrow.entries import ENTRY_SCHEMA, hash_texts
from lakebed.lake.share.publication_place import ID, Hashing, pieces
from lakebed.model import EntryRow
from lakebed.objects.store import ObjectStore
from lakebed.values.encoded import Encoded, EncodedFile
from lakebed.values.parts import TABLE

CHUNK_BYTES = 16 << 20
"""How many bytes of metadata and contents are read at a time, while as many are written. A single
entry may take more."""

_CHUNK_ROWS = 20_000
_GROUP_BYTES = 4 << 20
"""The size of a row group in memory, in bytes. A search of the publication reads one per hit."""
_COPIED = ("key", "version", "content_hash", "format", "byte_size", "metadata", "expires_at",
           "created_at", "updated_at")  # fmt: skip
_UNSORTED = ("content_hash", "metadata", "value")
SCHEMA = pa.schema(
    [
        *(ENTRY_SCHEMA.field(name) for name in _COPIED),
        # `large_string` exists only in memory. The file has a single type for text.
        pa.field("value", pa.large_string()),
        pa.field("value_bytes", pa.large_binary()),
        pa.field("table_uri", pa.string()),
    ]
)


def chunks(pages: Iterable[Sequence[EntryRow]]) -> Iterator[Sequence[EntryRow]]:
    """Yield the entries in lists whose contents fit into memory.

    A page whose contents are all in the catalog is yielded unchanged. Other pages are joined, to
    read their contents in bulk, or split.
    """
    chunk: list[EntryRow] = []
    size = 0
    for page in pages:
        inline = [row.inline_value for row in page if row.inline_value is not None]
        if not chunk and len(inline) == len(page) and sum(map(len, inline)) <= CHUNK_BYTES:
            yield page
            continue
        taken = _memory(page)
        if chunk and (size + taken > CHUNK_BYTES or len(chunk) + len(page) > _CHUNK_ROWS):
            yield chunk
            chunk, size = [], 0
        if taken <= CHUNK_BYTES:
            chunk += page
            size += taken
        else:
            half = len(page) // 2
            yield from [page] if half == 0 else chunks([page[:half], page[half:]])
    if chunk:
        yield chunk


def _memory(rows: Iterable[EntryRow]) -> int:
    """Return how many bytes the metadata and contents of entries take in memory."""
    return sum(
        len(row.metadata) + (0 if row.format in ("parquet", TABLE) else row.byte_size)
        for row in rows
    )


class EntriesFile:
    """The Parquet file of the entries. It is complete once its block has ended without an error.

    A thread writes the file while the next entries are read.
    """

    def __init__(self, sink: Hashing, publication: str) -> None:
        self._writer = pq.ParquetWriter(
            sink,
            SCHEMA,
            compression="zstd",
            use_dictionary=["format", "expires_at", "created_at", "updated_at"],
            store_schema=False,  # the stored schema would have the types in memory
            write_page_checksum=True,
            # For the other columns, minimum and maximum are of no use to a reader.
            write_statistics=[name for name in SCHEMA.names if name not in _UNSORTED],
        )
        self._writer.add_key_value_metadata({ID: publication})
        self._held: list[pa.RecordBatch] = []  # batches that do not fill a row group yet
        self._thread = ThreadPoolExecutor(1, "lakebed-publish")
        self._writing: Future[None] | None = None

    def add(
        self,
        rows: Sequence[EntryRow],
        contents: Sequence[bytes],
        tables: Mapping[str, str],
    ) -> None:
        """Write entries. `contents`: their contents in the same order. `tables`: the URIs of their
        tables by key."""
        try:
            batch = _batch(rows, contents, tables)
        except pa.ArrowException as error:
            raise _refused(rows[0].key, rows[-1].key, error) from None
        self._held.append(batch)
        if sum(held.nbytes for held in self._held) >= _GROUP_BYTES:
            self._write_held()

    def _write_held(self) -> None:
        table, self._held = pa.Table.from_batches(self._held, SCHEMA), []
        self._wait()
        self._writing = self._thread.submit(self._write, table)

    def _write(self, table: pa.Table) -> None:
        groups = max(1, round(table.nbytes / _GROUP_BYTES))
        try:
            self._writer.write_table(table, row_group_size=-(-len(table) // groups))
        except pa.ArrowException as error:
            raise _refused(table["key"][0].as_py(), table["key"][-1].as_py(), error) from None

    def _wait(self) -> None:
        """Wait for the thread to finish writing, and raise its error."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def __enter__(self) -> EntriesFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            with self._thread:
                if kind is None:
                    if self._held:
                        self._write_held()
                    self._wait()
        finally:
            self._writer.close()


def _batch(
    rows: Sequence[EntryRow], contents: Sequence[bytes], tables: Mapping[str, str]
) -> pa.RecordBatch:
    # Build each column at once: making a record for each entry would take most of the time.
    key, version, metadata, expires_at, created_at, updated_at, *others = zip(*rows, strict=True)
    hashes, format, byte_size, *_ = others
    if all(one == "json" for one in format):
        texts, raw = _texts(contents), pa.nulls(len(rows), pa.large_binary())
    else:
        each = list(zip(contents, format, strict=True))
        texts = pa.array([v if f == "json" else None for v, f in each], pa.large_string())
        raw = pa.array([v if f == "bytes" else None for v, f in each], pa.large_binary())
    copied = (key, version, (), format, byte_size, metadata, expires_at, created_at, updated_at)
    fields = map(SCHEMA.field, _COPIED)
    arrays = [pa.array(c, field.type) for c, field in zip(copied, fields, strict=True)]
    arrays[_COPIED.index("content_hash")] = hash_texts(hashes)
    uris = pa.array(map(tables.get, key), pa.string(), size=len(rows))
    return pa.RecordBatch.from_arrays([*arrays, texts, raw, uris], schema=SCHEMA)


def _texts(contents: Sequence[bytes]) -> pa.LargeStringArray:
    """Return contents as one column. Building it from lengths takes a fifth of Arrow's own time."""
    ends = np.zeros(len(contents) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, contents), np.int64, len(contents)), out=ends[1:])
    buffers = pa.py_buffer(ends), pa.py_buffer(b"".join(contents))
    texts = pa.LargeStringArray.from_buffers(len(contents), *buffers)
    texts.validate(full=True)  # checks that the texts are UTF-8
    return texts


def _refused(first: str, last: str, error: pa.ArrowException) -> SerializationError:
    return SerializationError(
        f"cannot write the entries from {first!r} to {last!r} to Parquet: {error}"
    )


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
        """How many copies there are."""
        return len(self._paths)

    def add(self, row: EntryRow) -> str:
        """Copy the table of an entry, and return the URI of the copy."""
        return self._add(
            row.content_hash, lambda path: _copy_table(self._source, row, self._target, path)
        )

    def add_joined(self, encoded: Encoded | EncodedFile) -> str:
        """Write a table whose parts were joined, and return its URI."""

        def write(path: str) -> int:
            with self._target.open_write(path) as sink:
                sink.writelines(encoded.pieces())
            return encoded.byte_size

        return self._add(encoded.content_hash, write)

    def _add(self, content_hash: bytes, write: Callable[[str], int]) -> str:
        path = self._paths.get(content_hash)
        if path is None:
            path = f"{self._publication}/{content_hash.hex()}.parquet"
            self.byte_size += write(path)
            self._paths[content_hash] = path
        return self._target.uri(path)


def _copy_table(source: ObjectStore | None, row: EntryRow, target: ObjectStore, path: str) -> int:
    """Copy a stored table, and compare it with its hash. Return its size in bytes.

    Raises CorruptionError if the table is damaged. Then nothing is left at `path`.
    """
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
    """Return a new id: the time in readable form, and a unique suffix."""
    return f"{from_micros(now):%Y%m%dT%H%M%SZ}-{os.urandom(4).hex()}"
