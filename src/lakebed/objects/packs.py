"""Packs: immutable Parquet files of many objects, each readable by one short byte range.

A pack has the columns `hash_prefix` (16 bytes), `format` and `value`, sorted by hash, in row groups
of about PAGE_BYTES. The values of a row group are one data page, encoded as PLAIN and compressed
with zstd. So the position of a value consists of the place of that page's body in the file, and the
place of the value in the decompressed page. Reading a value takes a range read, zstd and a slice,
and needs neither the footer nor pyarrow. Any Parquet reader can query the file. Measurements are in
docs/design/packs.md.
"""

# No `from __future__ import annotations`: a NamedTuple compiles annotations that are text, at each
# start.

import io
import re
import sys
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Protocol

from lakebed.errors import CorruptionError, StorageError
from lakebed.objects.store import Range, ReadResult
from lakebed.values.encoded import Encoded

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

MAX_VALUE_BYTES = 4 << 20
"""A larger value is an object of its own, because packing it saves nothing."""

PACK_BYTES = 64 << 20
"""The most bytes of values in one pack, before compression. Writing a pack keeps them in memory."""

PACK_OBJECTS = 65_536
"""The most objects in one pack, so that many tiny values take bounded memory too."""

PAGE_BYTES = 256 << 10
"""The most bytes of values in one row group, before compression. Reading one value decompresses the
whole row group."""

HASH_PREFIX_BYTES = 16
"""How much of each content hash a pack stores: enough to tell values apart. The whole hash can be
computed, because it is the SHA-256 of the value."""

_PAGE_ROWS = 8_192  # pyarrow would begin another page at 20,000
LENGTH_BYTES = 4  # PLAIN byte arrays: the length, little-endian, before each value
_MERGE_GAP = 64 << 10  # reading this many unused bytes is cheaper than another request
_MERGE_BYTES = 8 << 20
_WINDOW_BYTES = 64 << 20
_SANE_PAGE_BYTES = 64 << 20  # the size in a damaged frame header must not be allocated
_LEVEL = 3
_TWO_HEADERS = 34  # the Thrift header of a data page takes 17 bytes or more


class Position(NamedTuple):
    """A place in a pack, in bytes: the body of a page (`offset`, `length`), and the start of the
    value in the decompressed page, including its length prefix (`start`)."""

    offset: int
    length: int
    start: int

    def __str__(self) -> str:
        return f"{self.offset}-{self.length}-{self.start}"

    @classmethod
    def parse(cls, text: str) -> "Position":
        """Return the position that `str` wrote. Raises CorruptionError for any other text."""
        match = _position_form().match(text)
        if match is None:
            raise CorruptionError(f"{text!r} is not a place in a pack")
        offset, length, start = match.groups()
        return cls(int(offset), int(length), int(start))


@cache
def _position_form() -> re.Pattern[str]:
    return re.compile(r"(\d{1,15})-(\d{1,8})-(\d{1,8})\Z", re.ASCII)


class RangeReader(Protocol):
    """What reading a pack needs from a store. `read` returns `length` bytes from `offset`, or fewer
    at the end of a file."""

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes: ...

    def read_many(self, ranges: Sequence[Range]) -> list[ReadResult]: ...


class SizedReader(RangeReader, Protocol):
    """What reading the hashes of a pack needs from a store."""

    def size(self, path: str) -> int: ...


def write_pack(objects: Iterable[Encoded], sink: BinaryIO) -> dict[bytes, Position]:
    """Write objects as one pack into `sink`. Returns the position of each, by content hash.

    Objects with the same hash are written once. Raises ValueError if there are no objects, or for a
    value larger than MAX_VALUE_BYTES. An OSError of the sink passes through.
    """
    pages = list(_pages(objects))
    if not pages:
        raise ValueError("a pack must hold at least one object")
    chunks = _write_parquet(pages, sink)
    return {
        content_hash: Position(offset, length, start)
        for page, (offset, length) in zip(pages, chunks, strict=True)
        for content_hash, start in zip(page.hashes, page.starts, strict=True)
    }


def read_value(store: RangeReader, path: str, position: Position) -> bytes:
    """Read one value with one range read. Raises CorruptionError if there is no value at this
    position. The caller must check the hash. Errors of the store pass through."""
    body = store.read(path, position.offset, position.length)
    return _value(_decompress(body, path, position), path, position)


def read_values(
    store: RangeReader, wanted: Mapping[str, Iterable[Position]]
) -> Iterator[tuple[str, Position, ReadResult]]:
    """Read many values from packs, and yield each with its pack and position.

    Ranges that are close together are read as one. The ranges of all packs are read side by side.
    Each page is decompressed once. Keeps about 64 MiB of pages in memory.

    If a value cannot be read, its error is yielded in its place: FileNotFoundError for a missing
    pack, CorruptionError for a damaged value, or an error of the store.
    """
    runs = (
        run
        for path, positions in wanted.items()
        for run in _runs(path, sorted(set(positions), key=tuple))
    )
    for window in _windows(runs):
        for run, data in zip(window, store.read_many([run.range for run in window]), strict=True):
            yield from run.values(data)


class _Run(NamedTuple):
    """Positions of a pack that one read covers."""

    range: Range
    positions: list[Position]

    def values(self, data: ReadResult) -> Iterator[tuple[str, Position, ReadResult]]:
        """Yield the value at each position, or the error of reading the run."""
        path, first = self.range.path, self.range.offset
        if not isinstance(data, bytes):
            yield from ((path, position, data) for position in self.positions)
            return
        whole = memoryview(data)
        place, page = (-1, -1), b""
        for position in self.positions:
            offset, length, _ = position
            try:
                if (offset, length) != place:
                    at = offset - first
                    page = _decompress(whole[at : at + length], path, position)
                    place = (offset, length)
                result: ReadResult = _value(page, path, position)
            except CorruptionError as error:
                result = error
            yield path, position, result


def _windows(runs: Iterable[_Run]) -> Iterator[list[_Run]]:
    """Split runs into lists that are read together."""
    window: list[_Run] = []
    size = 0
    for run in runs:
        length = run.range.length or 0
        if window and size + length > _WINDOW_BYTES:
            yield window
            window, size = [], 0
        window.append(run)
        size += length
    if window:
        yield window


def pack_holds(store: SizedReader, path: str, hashes: Iterable[bytes]) -> bool:
    """Return whether a pack holds a value with one of these hashes, live or dead.

    Reads the footer, which has the range of hashes of each row group, and the column of hashes of
    the row groups that may hold one. Raises CorruptionError if the file is not a pack. Errors of
    the store pass through.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    wanted = {content_hash[:HASH_PREFIX_BYTES] for content_hash in hashes}
    ordered = sorted(wanted)
    try:
        file = pq.ParquetFile(pa.PythonFile(_StoredFile(store, path), mode="r"))
        groups = [n for n in range(file.num_row_groups) if _may_hold(file, n, ordered)]
        return any(
            prefix.as_py() in wanted
            for batch in file.iter_batches(columns=["hash_prefix"], row_groups=groups)
            for prefix in batch.column(0)
        )
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:  # an OSError for a file that is too short
        raise CorruptionError(f"{path} is not a pack: {error}") from None


def _may_hold(file: "pq.ParquetFile", group: int, ordered: Sequence[bytes]) -> bool:
    """Return whether one of the prefixes is between the smallest and the largest of a row group."""
    statistics = file.metadata.row_group(group).column(0).statistics
    if statistics is None or not statistics.has_min_max:
        return True
    at = bisect_left(ordered, statistics.min)
    return at < len(ordered) and ordered[at] <= statistics.max


class _StoredFile(io.RawIOBase):
    """A file of a store, as a Python file for pyarrow."""

    def __init__(self, store: SizedReader, path: str) -> None:
        self._store = store
        self._path = path
        self._size = store.size(path)
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        length = self._size - self._at if size < 0 else min(size, self._size - self._at)
        data = self._store.read(self._path, self._at, length) if length > 0 else b""
        self._at += len(data)
        return data


class _Page(NamedTuple):
    """The rows of one row group, and the start of each value in the page."""

    hashes: list[bytes]
    formats: list[str]
    values: list[bytes]
    starts: list[int]
    raw_bytes: int


def _pages(objects: Iterable[Encoded]) -> Iterator[_Page]:
    rows: list[Encoded] = []
    starts: list[int] = []
    size = 0
    unique = {item.content_hash: item for item in objects}
    for _, item in sorted(unique.items()):
        if len(item.data) > MAX_VALUE_BYTES:
            raise ValueError(f"a value of {len(item.data)} bytes is too large for a pack")
        taken = LENGTH_BYTES + len(item.data)
        if rows and (size + taken > PAGE_BYTES or len(rows) == _PAGE_ROWS):
            yield _page(rows, starts, size)
            rows, starts, size = [], [], 0
        rows.append(item)
        starts.append(size)
        size += taken
    if rows:
        yield _page(rows, starts, size)


def _page(rows: Sequence[Encoded], starts: list[int], size: int) -> _Page:
    return _Page(
        [row.content_hash for row in rows],
        [row.format for row in rows],
        [row.data for row in rows],
        starts,
        size,
    )


def _write_parquet(pages: Sequence[_Page], sink: BinaryIO) -> list[tuple[int, int]]:
    """Write each page as a row group. Returns the offset and length of the body of each."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    # Not nullable, so that the page holds only the values.
    schema = pa.schema(
        [
            pa.field("hash_prefix", pa.binary(HASH_PREFIX_BYTES), nullable=False),
            pa.field("format", pa.string(), nullable=False),
            pa.field("value", pa.binary(), nullable=False),
        ]
    )
    written: list[pq.FileMetaData] = []
    with pq.ParquetWriter(
        sink,
        schema,
        compression={"hash_prefix": "none", "format": "zstd", "value": "zstd"},
        compression_level={"format": _LEVEL, "value": _LEVEL},
        use_dictionary=False,
        column_encoding=dict.fromkeys(schema.names, "PLAIN"),
        write_statistics=["hash_prefix"],
        data_page_size=2 * max(PAGE_BYTES, MAX_VALUE_BYTES),  # one page a row group
        data_page_version="1.0",
        store_schema=False,
        metadata_collector=written,
    ) as writer:
        for page in pages:
            prefixes = [content_hash[:HASH_PREFIX_BYTES] for content_hash in page.hashes]
            formats = [format.encode() for format in page.formats]
            columns = map(_array, schema.types, (prefixes, formats, page.values))
            writer.write_batch(
                pa.RecordBatch.from_arrays([*columns], schema=schema), row_group_size=_PAGE_ROWS
            )
    return [
        page_body(written[0].row_group(index).column(2), page.raw_bytes)
        for index, page in enumerate(pages)
    ]


def _array(kind: "pa.DataType", values: Sequence[bytes]) -> "pa.Array":
    """Return a column of values. `pa.array` is not used, because it loads pandas if installed."""
    import numpy as np
    import pyarrow as pa

    data = pa.py_buffer(b"".join(values))
    if pa.types.is_fixed_size_binary(kind):
        return pa.Array.from_buffers(kind, len(values), [None, data])
    offsets = np.zeros(len(values) + 1, np.int32)
    np.cumsum([len(value) for value in values], out=offsets[1:])
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(offsets), data])


def page_body(chunk: "pa.parquet.ColumnChunkMetaData", raw_bytes: int) -> tuple[int, int]:
    """Return the offset and length of the body of a chunk's only page. The length of the page's
    header is the size of the chunk minus that of its values."""
    header = chunk.total_uncompressed_size - raw_bytes
    if not 0 < header < _TWO_HEADERS or chunk.has_dictionary_page:
        import pyarrow as pa

        raise StorageError(f"pyarrow {pa.__version__} has an unexpected layout of Parquet pages")
    return chunk.data_page_offset + header, chunk.total_compressed_size - header


def _runs(path: str, positions: Sequence[Position]) -> Iterator[_Run]:
    """Split sorted positions of a pack into runs, each of which one read covers."""
    run: list[Position] = []
    first = end = last = 0
    for position in positions:
        if run and position.offset == last:  # another value of the same page
            run.append(position)
            end = max(end, last + position.length)
            continue
        last, to = position.offset, position.offset + position.length
        if run and not (last <= end + _MERGE_GAP and to - first <= _MERGE_BYTES):
            yield _Run(Range(path, first, end - first), run)
            run, end = [], 0
        if not run:
            first = last
        run.append(position)
        end = max(end, to)
    if run:
        yield _Run(Range(path, first, end - first), run)


def _decompress(body: bytes | memoryview, path: str, position: Position) -> bytes:
    """Return the values of a page, decompressed."""
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd

    try:
        # None if the frame does not say, although the type stubs do not allow it.
        size: int | None = zstd.get_frame_info(body).decompressed_size
        if len(body) == position.length and size is not None and size <= _SANE_PAGE_BYTES:
            decompressor = zstd.ZstdDecompressor()
            page = decompressor.decompress(body, max_length=size)
            if len(page) == size and decompressor.eof and not decompressor.unused_data:
                return page
    except zstd.ZstdError as error:
        raise CorruptionError(f"the pack {path} is damaged at {position}: {error}") from None
    raise CorruptionError(f"the pack {path} is damaged or cut short at {position}")


def _value(page: bytes, path: str, position: Position) -> bytes:
    begin = position.start + LENGTH_BYTES
    end = begin + int.from_bytes(page[position.start : begin], "little")
    if not begin <= end <= len(page):
        raise CorruptionError(f"the pack {path} is damaged: it holds no value at {position}")
    return page[begin:end]
