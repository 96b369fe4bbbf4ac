"""Reads contents out of the catalog, files and packs, and checks their hashes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from lakebed.catalog.protocol import CatalogReads
from lakebed.errors import CorruptionError, LakebedError
from lakebed.lake.contents.collected import CollectedError
from lakebed.lake.contents.windows import contents_in_order
from lakebed.lake.contents.witness import Witness
from lakebed.model import EntryRow
from lakebed.objects.packs import Position, read_value, read_values
from lakebed.objects.store import ObjectStore, Range, ReadResult
from lakebed.values.codec import decode_value
from lakebed.values.hash import digest
from lakebed.values.parts import TABLE, decode_parts

if TYPE_CHECKING:
    import pyarrow.parquet as pq

_WINDOW_BYTES = 64 * 1024 * 1024  # of objects that are read at once


class ContentReading:
    """Reads the contents that a catalog names. A lake and its views do it."""

    def __init__(self, catalog: CatalogReads, objects: ObjectStore | None) -> None:
        self._catalog = catalog
        self._objects = objects
        self._witness = Witness()

    def read_value(self, row: EntryRow) -> Any:
        """Return the value of an entry, checked against its hash.

        Raises CorruptionError if the content is damaged or missing, and StorageError if the storage
        fails.
        """
        data = row.inline_value
        if data is None or digest(data) != row.content_hash:
            data = self._read_checked(row)
        return self._decode(row, data)

    def _decode(self, row: EntryRow, data: bytes) -> Any:
        """Return the value of an entry, from the bytes of its content."""
        if row.format != TABLE:
            return decode_value(row.format, data)
        from lakebed.lake.contents.parts import read_whole  # loads pyarrow

        parts = self._catalog.parts((row.content_hash, TABLE))
        return read_whole(row, data, parts, self.read_contents)

    def read_content(self, row: EntryRow) -> bytes | LakebedError:
        """Return the stored bytes of an entry, checked against its hash, or the error from reading
        them."""
        return self._attempt(row)

    def _read_checked(self, row: EntryRow, data: bytes | None = None) -> bytes:
        try:
            return self._read_and_check(row, data)
        except CorruptionError:
            self._witness.missed((row.content_hash, row.format))
            raise

    def _read_and_check(self, row: EntryRow, data: bytes | None) -> bytes:
        if data is None:
            data = row.inline_value
        if data is None:
            data = self._read_object(row)
        if digest(data) != row.content_hash:
            place = self.full_uri(row.uri, row.position) or "the catalog"
            raise CorruptionError(
                f"the content of {row.key!r} ({row.hash_text()}) is damaged: the {len(data)} "
                f"bytes at {place} have another hash"
            )
        return data

    def full_uri(self, uri: str | None, position: str | None) -> str | None:
        """Return the URI of content in the storage, or None if the content is in the catalog."""
        if uri is None or self._objects is None:
            return None
        full = self._objects.uri(uri)
        return full if position is None else f"{full}#{position}"

    def _read_object(self, row: EntryRow) -> bytes:
        uri, position = row.uri, row.position
        while True:
            try:
                return self._read_place(uri, position)
            except FileNotFoundError:
                place = self._catalog.locate((row.content_hash, row.format))
            except CorruptionError as error:
                raise CorruptionError(
                    f"the content of {row.key!r} ({row.hash_text()}) is damaged: {error}"
                ) from error
            # Since the row was read, a compaction may have moved the bytes, or a collection
            # removed them.
            if place is None:
                raise CollectedError(
                    f"the content of {row.key!r} at version {row.version} was collected in the "
                    "meantime"
                )
            if place.inline_value is not None:
                return place.inline_value
            if place[1:] == (uri, position):
                break
            uri, position = place[1:]
        raise CorruptionError(
            f"the content of {row.key!r} ({row.hash_text()}) is missing: "
            f"no file at {self.full_uri(uri, position)}"
        )

    def _read_place(self, uri: str | None, position: str | None) -> bytes:
        if self._objects is None:
            raise CorruptionError(
                "the catalog names an object in a storage, but the lake has no storage"
            )
        if uri is None:
            raise CorruptionError("the catalog names neither a file nor a pack for the object")
        if position is None:
            return self._objects.read(uri)
        return read_value(self._objects, uri, Position.parse(position))

    def _read_values(self, rows: Iterable[EntryRow]) -> Iterator[tuple[str, Any]]:
        """Give the value of each row by key, or the error from reading it. A pack is read once."""
        for row, data in self.read_contents(rows):
            yield row.key, self._decoded(row, data)

    def read_contents(
        self, rows: Iterable[EntryRow]
    ) -> Iterator[tuple[EntryRow, bytes | LakebedError]]:
        """Give the stored bytes of each row, or the error from reading them. Objects are read side
        by side, packs with few reads."""
        packs = defaultdict[str, list[EntryRow]](list)
        files: list[EntryRow] = []
        for row in rows:
            inline = row.inline_value
            if inline is not None and digest(inline) == row.content_hash:
                yield row, inline
            elif row.uri is None or self._objects is None:
                yield row, self._attempt(row)
            elif row.position is None:
                files.append(row)
            else:
                packs[row.uri].append(row)
        if self._objects is not None:
            yield from self._read_files(self._objects, files)
            yield from self._read_packs(self._objects, packs)

    def read_in_order(
        self, rows: Iterable[EntryRow]
    ) -> Iterator[tuple[EntryRow, Any | LakebedError]]:
        """Give the value of each row, or the error from reading it, in the order of the rows.

        Rows are read in windows, which hold at most about 100 MB of contents in memory.
        """
        for row, data in contents_in_order(rows, self.read_contents):
            yield row, self._decoded(row, data)

    def count_rows(self, row: EntryRow) -> int | None:
        """Return how many rows a stored table has, or None for other values. For a table in the
        storage, only the end of its file is read."""
        if row.format == TABLE:
            return decode_parts(self._read_checked(row)).rows
        return int(self._footer(row).num_rows) if row.format == "parquet" else None

    def _footer(self, row: EntryRow) -> pq.FileMetaData:
        """Return the footer of a table that is one file or is in the catalog."""
        from lakebed.values.footers import TAIL_BYTES, read_footer  # loads pyarrow

        def read(offset: int, length: int) -> bytes:
            if uri is None or self._objects is None:
                return self._read_checked(row)[offset : offset + length]
            return self._objects.read(uri, offset, length)

        uri, length = row.uri, min(row.byte_size, TAIL_BYTES)
        try:
            return read_footer(read(row.byte_size - length, length), row.byte_size, read)
        except FileNotFoundError:  # moved, or gone: which a whole read finds out
            uri = None
            return read_footer(read(row.byte_size - length, length), row.byte_size, read)
        except CorruptionError as error:
            raise CorruptionError(
                f"the content of {row.key!r} ({row.hash_text()}) is damaged: {error}"
            ) from None

    def _decoded(self, row: EntryRow, data: bytes | LakebedError) -> Any | LakebedError:
        try:
            return data if isinstance(data, LakebedError) else self._decode(row, data)
        except LakebedError as error:
            return error

    def _read_files(
        self, objects: ObjectStore, rows: Iterable[EntryRow]
    ) -> Iterator[tuple[EntryRow, bytes | LakebedError]]:
        for some in _windows(rows):
            found = objects.read_many([Range(row.uri or "") for row in some])
            for row, data in zip(some, found, strict=True):
                yield row, self._attempt(row, data)

    def _read_packs(
        self, objects: ObjectStore, packs: Mapping[str, Iterable[EntryRow]]
    ) -> Iterator[tuple[EntryRow, bytes | LakebedError]]:
        wanted = dict[str, dict[Position, list[EntryRow]]]()
        for uri, rows in packs.items():
            places = wanted[uri] = defaultdict(list)
            for row in rows:
                try:
                    places[Position.parse(row.position or "")].append(row)
                except CorruptionError as error:
                    yield row, self._attempt(row, error)
        for uri, position, data in read_values(objects, wanted):
            for row in wanted[uri][position]:
                if isinstance(data, bytes) and digest(data) == row.content_hash:
                    yield row, data
                else:
                    yield row, self._attempt(row, data)

    def _attempt(self, row: EntryRow, data: ReadResult | None = None) -> bytes | LakebedError:
        """Return the bytes of a row, given what a read of many gave for it, or the error.

        A content that is missing or damaged may have moved. It is read once more on its own.
        """
        if isinstance(data, LakebedError) and not isinstance(data, CorruptionError):
            return data
        try:
            return self._read_checked(row, data if isinstance(data, bytes) else None)
        except LakebedError as error:
            return error


def _windows(rows: Iterable[EntryRow]) -> Iterator[list[EntryRow]]:
    """Split rows into lists whose contents are read at once."""
    window: list[EntryRow] = []
    size = 0
    for row in rows:
        if window and size + row.byte_size > _WINDOW_BYTES:
            yield window
            window, size = [], 0
        window.append(row)
        size += row.byte_size
    if window:
        yield window
