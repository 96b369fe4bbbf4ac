"""Read the files of a publication. Each is compared with the manifest."""

from __future__ import annotations

import io
import mmap
import re
import tempfile
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lakebed.errors import (
    ConfigurationError,
    ConflictError,
    CorruptionError,
    LakebedError,
    NotFoundError,
    StorageError,
)
from lakebed.lake.share.publication import SCHEMA
from lakebed.lake.share.publication_place import (
    ENTRIES_FILE,
    PublicationPlace,
    pieces,
    publication_of,
    read_footer,
)
from lakebed.model import EntryRow
from lakebed.objects.local import LocalStore
from lakebed.objects.store import ObjectStore, Range
from lakebed.search.checking import check
from lakebed.search.format import UnreadableSegmentError
from lakebed.search.segment import Segment
from lakebed.values.hash import digest

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_SEGMENT = re.compile(r"([0-9a-f]{64})\.segment")
_GROUPS = 16  # row groups that are fetched side by side, usually of 4 MB each
# The errors that pyarrow raises, and those that hostile rows cause.
_MALFORMED = (pa.ArrowException, CorruptionError, OSError, ValueError, TypeError, LookupError,
              AttributeError, OverflowError)  # fmt: skip


class PublishedFiles:
    """One publication: its open segments, and the rows of its entries."""

    def __init__(self, place: PublicationPlace) -> None:
        """Open a publication. Raises NotFoundError if there is none, ConfigurationError if it was
        written without `search`, and CorruptionError if a file is damaged."""
        self._place = place
        try:
            self._size = place.target.size(ENTRIES_FILE)
            footer = read_footer(place.target, self._size)
        except FileNotFoundError:
            raise NotFoundError(f"no publication at {place.target.uri('')}") from None
        publication = publication_of(footer)
        if footer is None or publication is None:
            raise CorruptionError(f"{self.uri} is damaged, or is not part of a publication")
        self._footer, self._publication = footer, publication
        self.segments = [self._open(name) for name in self._names()]
        found, wanted = sum(map(len, self.segments)), footer.num_rows
        if found != wanted:
            if not self.segments:
                raise ConfigurationError(
                    f"the publication at {place.target.uri('')} has no search index: publish it "
                    "with search=True"
                )
            self.fail(f"its search index has {found:,} entries, {self.uri} has {wanted:,}")

    @property
    def uri(self) -> str:
        """The URI of the entries' file."""
        return self._place.target.uri(ENTRIES_FILE)

    # Segments

    def _names(self) -> list[str]:
        manifest = self._place.manifest(self._publication)
        if manifest is None:
            self.fail(f"its manifest is missing or damaged, beside {self.uri}")
        return sorted(filter(_SEGMENT.fullmatch, manifest))

    def _open(self, name: str) -> Segment:
        store, path = self._place.tables, f"{self._publication}/{name}"
        try:
            with _as_file(store, path) as file:
                if f"{file_digest(file, 'sha256').hexdigest()}.segment" != name:
                    self.fail(f"{store.uri(path)} is damaged: its hash is wrong")
                data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            segment = Segment(data)
            check(segment)
        except FileNotFoundError:
            self.fail(f"{store.uri(path)} is missing")
        except (UnreadableSegmentError, ValueError) as error:
            self.fail(f"{store.uri(path)} cannot be read: {error}")
        except OSError as error:
            raise StorageError(f"cannot read {store.uri(path)}: {error.strerror}") from error
        return segment

    # Entries

    def rows(self, wanted: Sequence[tuple[str, int]]) -> list[EntryRow]:
        """Return the rows of entries in the given order. `wanted`: their keys and versions."""
        groups = defaultdict[int, list[str]](list)
        try:
            for key, _ in wanted:
                groups[max(bisect_right(self._firsts, key) - 1, 0)].append(key)
            found = {row.key: row for row in self._read(list(groups.items()))}
        except _MALFORMED as error:
            self.fail(f"{self.uri} cannot be read: {error!r}")
        rows = []
        for key, version in wanted:
            row = found.get(key)
            if row is None or row.version != version or not _is_whole(row):
                self.fail(f"{self.uri} is damaged: its entry {key!r} is missing or was changed")
            rows.append(row)
        return rows

    @cached_property
    def _firsts(self) -> list[str]:
        """The first key of each row group."""
        groups = map(self._footer.row_group, range(self._footer.num_row_groups))
        return [group.column(0).statistics.min for group in groups]

    def _read(self, groups: Sequence[tuple[int, list[str]]]) -> Iterator[EntryRow]:
        """Yield the rows of some keys. `groups`: the row groups, each with its keys."""
        for start in range(0, len(groups), _GROUPS):
            some = groups[start : start + _GROUPS]
            ranges = [self._range(number) for number, _ in some]
            parts = self._place.target.read_many(ranges)
            for (number, keys), wanted, data in zip(some, ranges, parts, strict=True):
                if not isinstance(data, bytes):
                    raise data
                file = pq.ParquetFile(
                    _Part(data, wanted.offset, self._size),
                    metadata=self._footer,
                    page_checksum_verification=True,
                )
                yield from self._rows_of(file, number, keys)

    def _rows_of(
        self, file: pq.ParquetFile, number: int, keys: Sequence[str]
    ) -> Iterator[EntryRow]:
        # Reading the column of values takes nearly all of the time, so threads would not help.
        table = file.read_row_group(number, columns=SCHEMA.names, use_threads=False)
        places = pc.index_in(pa.array(keys, pa.string()), table["key"].combine_chunks())
        table = table.take(places.drop_null())
        for name in ("expires_at", "created_at", "updated_at"):
            place = table.schema.get_field_index(name)
            table = table.set_column(place, name, table[name].cast(pa.int64()))
        return map(self._row, table.to_pylist())

    def _range(self, number: int) -> Range:
        """Return the byte range of a row group."""
        group = self._footer.row_group(number)
        columns = [group.column(place) for place in range(group.num_columns)]
        starts = [column.dictionary_page_offset or column.data_page_offset for column in columns]
        ends = [s + c.total_compressed_size for s, c in zip(starts, columns, strict=True)]
        if not 0 <= min(starts) <= max(ends) <= self._size:
            raise ValueError("its footer leads outside")
        return Range(ENTRIES_FILE, min(starts), max(ends) - min(starts))

    def _row(self, row: dict[str, Any]) -> EntryRow:
        content_hash = bytes.fromhex(row["content_hash"].removeprefix("sha256:"))
        inline, uri = None, None
        if row["format"] == "json":
            inline = row["value"].encode()
        elif row["format"] == "bytes":
            inline = row["value_bytes"]
        else:  # the publication may have been copied, so use the file beside the manifest
            uri = f"{self._publication}/{content_hash.hex()}.parquet"
        return EntryRow(
            row["key"],
            row["version"],
            row["metadata"],
            row["expires_at"],
            row["created_at"],
            row["updated_at"],
            content_hash,
            row["format"],
            row["byte_size"],
            inline,
            uri,
            None,
        )

    def content(self, row: EntryRow) -> bytes:
        """Return the stored bytes of an entry, checked against their hash."""
        if row.inline_value is not None:
            return row.inline_value
        assert row.uri is not None
        try:
            data = self._place.tables.read(row.uri)
        except FileNotFoundError:
            self.fail(f"the table of {row.key!r} is missing: no file at {self.full_uri(row.uri)}")
        if digest(data) != row.content_hash:
            self.fail(f"the table of {row.key!r} is damaged, at {self.full_uri(row.uri)}")
        return data

    def full_uri(self, uri: str) -> str:
        """Return the URI of a table."""
        return self._place.tables.uri(uri)

    def fail(self, problem: str) -> NoReturn:
        """Raise CorruptionError, or ConflictError if another publication has replaced this one."""
        try:
            size = self._place.target.size(ENTRIES_FILE)
            found = publication_of(read_footer(self._place.target, size))
        except (FileNotFoundError, LakebedError):
            found = self._publication
        if found not in (None, self._publication):
            raise ConflictError(
                f"the publication at {self._place.target.uri('')} was replaced since it was "
                "opened: open it again"
            )
        raise CorruptionError(problem)


def _is_whole(row: EntryRow) -> bool:
    """Return whether a row is complete, and its content, if inline, has the right hash."""
    if None in (row.metadata, row.byte_size, row.created_at, row.updated_at):
        return False
    if row.inline_value is None:
        return row.uri is not None
    return digest(row.inline_value) == row.content_hash


class _Part(io.RawIOBase):
    """A file of which only a part is in memory."""

    def __init__(self, data: bytes, offset: int, size: int) -> None:
        self._data, self._offset, self._size = data, offset, size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = base + offset
        return self._position

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        start = self._position - self._offset
        if start < 0:
            raise ValueError("its footer leads outside")
        data = self._data[start : start + len(view)]
        view[: len(data)] = data
        self._position += len(data)
        return len(data)


@contextmanager
def _as_file(store: ObjectStore, path: str) -> Iterator[io.BufferedIOBase]:
    """Open a file of the storage as a local file that can be mapped into memory."""
    if isinstance(store, LocalStore):
        with Path(store.full_path(path)).open("rb") as file:
            yield file
        return
    with tempfile.TemporaryFile() as copy:
        for piece in pieces(store, path, store.size(path)):
            copy.write(piece)
        copy.flush()
        copy.seek(0)
        yield cast(io.BufferedIOBase, copy)
