"""What all capabilities of a lake share: its catalog, its storage, and reading an object."""

from __future__ import annotations

import os
import threading
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from lakebed.catalog.protocol import Catalog, CatalogReads
from lakebed.errors import CorruptionError, LakebedError, NotFoundError, ReadOnlyError
from lakebed.lake.entries.windows import contents_in_order
from lakebed.lake.entries.witness import Witness
from lakebed.lake.search.options import SearchOptions
from lakebed.model import EntryRow, Moment
from lakebed.objects.packs import Position, read_value, read_values
from lakebed.objects.store import ObjectStore, Range, ReadResult
from lakebed.values.codec import decode_value
from lakebed.values.hash import digest

if TYPE_CHECKING:
    from lakebed.lake.search.index import SearchIndex
    from lakebed.lake.sql.engine import QueryEngine

_WINDOW_BYTES = 64 * 1024 * 1024  # of objects that are read at once
MAX_INLINE_BYTES = 64 * 1024 * 1024
"""The largest value that a catalog keeps where there is no storage."""


class LakeBase:
    """The parts of a lake. Capabilities are mixed in, one file each."""

    read_only = False
    """Whether the lake was opened to be read: then nothing of it may be written anywhere."""

    def __init__(self, catalog: CatalogReads, objects: ObjectStore | None, *, name: str) -> None:
        self._catalog = catalog
        self._objects = objects
        self._witness = Witness()
        self.name = name

    @abstractmethod
    def _searcher(self) -> SearchIndex:
        """What searches the lake."""

    @abstractmethod
    def _embeds(self) -> bool:
        """Whether the lake was opened to search by meaning."""

    def _searched_moment(self) -> Moment | None:
        """The moment that is searched, None for the present."""
        return None

    def read_value(self, row: EntryRow) -> Any:
        """The value of an entry, checked against its hash."""
        data = row.inline_value
        if data is None or digest(data) != row.content_hash:
            data = self._read_checked(row)
        return decode_value(row.format, data)

    def read_content(self, row: EntryRow) -> bytes | LakebedError:
        """The stored bytes of an entry, checked against its hash, or the error that it gave."""
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
                f"the content of {row.key!r} ({row.hash_text()}) is damaged: "
                f"{len(data)} bytes at {place} have another hash"
            )
        return data

    def full_uri(self, uri: str | None, position: str | None) -> str | None:
        """The URI of content at a place in the storage, None if it lies in the catalog."""
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
            # A compaction may have moved the bytes, a collection removed them, since it was read.
            if place is None:
                raise NotFoundError(
                    f"the content of {row.key!r} as of version {row.version} has been collected "
                    "since"
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
            raise CorruptionError("the catalog names an object in a storage, but the lake has none")
        if uri is None:
            raise CorruptionError("the catalog names neither a file nor a pack for it")
        if position is None:
            return self._objects.read(uri)
        return read_value(self._objects, uri, Position.parse(position))

    def _read_values(self, rows: Iterable[EntryRow]) -> Iterator[tuple[str, Any]]:
        """The value of each row by key, or the error that reading it gave; packs are read once."""
        for row, data in self.read_contents(rows):
            yield row.key, self._decoded(row, data)

    def read_contents(
        self, rows: Iterable[EntryRow]
    ) -> Iterator[tuple[EntryRow, bytes | LakebedError]]:
        """The stored bytes of each row, or the error that reading it gave: objects side by side,
        packs by few reads."""
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
        """The value of each row, or the error that reading it gave, in the order of the rows; by
        windows, with at most some 100 MB of contents in memory at a time."""
        for row, data in contents_in_order(rows, self.read_contents):
            yield row, self._decoded(row, data)

    def _decoded(self, row: EntryRow, data: bytes | LakebedError) -> Any | LakebedError:
        try:
            return data if isinstance(data, LakebedError) else decode_value(row.format, data)
        except CorruptionError as error:
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
        """The bytes of a row of which this was read, or the error. What is gone or damaged may have
        moved, which reading it alone finds out."""
        if isinstance(data, LakebedError) and not isinstance(data, CorruptionError):
            return data
        try:
            return self._read_checked(row, data if isinstance(data, bytes) else None)
        except LakebedError as error:
            return error


def _windows(rows: Iterable[EntryRow]) -> Iterator[list[EntryRow]]:
    """Part rows into lists whose contents are read at once."""
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


class PresentLake(LakeBase):
    """What the writing capabilities share: a catalog that can be written, and its settings."""

    _catalog: Catalog

    def __init__(
        self,
        catalog: Catalog,
        objects: ObjectStore | None,
        *,
        name: str,
        inline_threshold: int,
        history: str,
        history_retention: int | None,
        lake_id: str,
        search: SearchOptions,
        read_only: bool = False,
    ) -> None:
        self.read_only = read_only
        super().__init__(catalog, objects, name=name)
        self._lake_id = lake_id
        self._search_options = search
        self._search_lock = threading.Lock()
        self._search_index: SearchIndex | None = None
        self._inline_threshold = inline_threshold
        self._history = history
        self._history_retention = history_retention  # microseconds, None for ever
        self._engines: dict[bool, QueryEngine] = {}
        self._query_settings: tuple[Any, ...] = ()
        self._ended = False

    def _embeds(self) -> bool:
        return self._search_options.embedder is not None

    def _searcher(self) -> SearchIndex:
        with self._search_lock:
            # A child has its parent's locks, some of them held by threads that it does not have.
            if self._search_index is None or self._search_index.pid != os.getpid():
                from lakebed.lake.search.index import open_index  # not for a first store

                self._search_index = open_index(
                    self._catalog,
                    self._objects,
                    self.read_contents,
                    self._search_options,
                    self._lake_id,
                    read_only=self.read_only,
                )
            return self._search_index

    def _must_write(self, call: str) -> None:
        """Refuse a call that writes, before it does anything."""
        if self.read_only:
            raise ReadOnlyError(
                f"{call} writes, and {self.name} was opened with read_only=True: open it without"
            )
