"""The bytes of segments, read where they are or from a folder of copies that may be deleted."""

from __future__ import annotations

import mmap
import os
import tempfile
from contextlib import suppress
from hashlib import file_digest, sha256

from lakebed.catalog.protocol import Catalog
from lakebed.catalog.search_rows import SegmentRow
from lakebed.errors import CorruptionError, StorageError
from lakebed.objects.local import LocalStore
from lakebed.objects.store import ObjectStore
from lakebed.observing import tell
from lakebed.search.segment import Segment

_COPIED_BYTES = 1 << 20
"""A smaller segment is fetched by each process, not kept in a file. In bytes."""


class DamagedSegmentError(CorruptionError):
    """The bytes of a segment are missing, or not the ones that were written.

    The lake catches this error, and builds the segment again.
    """


class SegmentFiles:
    """Opens the segments of one lake."""

    def __init__(
        self, catalog: Catalog, objects: ObjectStore | None, folder: str, lake_id: str
    ) -> None:
        self._catalog = catalog
        self._objects = objects
        self._folder = os.path.join(folder, lake_id)

    def open(self, row: SegmentRow) -> Segment:
        """Open the segment of a row.

        Raises FileNotFoundError if the row is gone, DamagedSegmentError if the bytes are wrong, and
        UnreadableSegmentError for another format.
        """
        return Segment(self._bytes(row))

    def check(self, row: SegmentRow) -> str | None:
        """Return what is wrong with the stored bytes, or None. Copies are not checked."""
        try:
            _checked(row, memoryview(self._fetch(row)))
        except FileNotFoundError:
            return "missing"
        except CorruptionError as error:
            return str(error)
        return None

    def _bytes(self, row: SegmentRow) -> memoryview:
        if isinstance(self._objects, LocalStore) and row.uri is not None:
            return self._map_object(row, self._objects.full_path(row.uri))
        copy = os.path.join(self._folder, f"{row.id}.segment")
        with suppress(OSError, ValueError, DamagedSegmentError):
            mapped = _map(row, copy)
            tell("cache", 1, "segments")
            return mapped
        tell("cache", 0, "segments")
        data = self._fetch(row)
        view = _checked(row, memoryview(data))
        if len(data) < _COPIED_BYTES:
            return view
        with suppress(OSError, ValueError):  # do not fail if the folder cannot be written
            self._keep(copy, data)
            return _map(row, copy)
        return view

    def _map_object(self, row: SegmentRow, path: str) -> memoryview:
        try:
            return _map(row, path)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error.strerror}") from error

    def _fetch(self, row: SegmentRow) -> bytes:
        if row.uri is None:
            data = self._catalog.segment_bytes(row.id)
            if data is None:
                raise FileNotFoundError(row.id)
            return data
        if self._objects is None:
            raise DamagedSegmentError(
                f"the segment {row.id} is in a storage, but the lake has no storage"
            )
        return self._objects.read(row.uri)

    def _keep(self, path: str, data: bytes) -> None:
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=self._folder, prefix=".", suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.replace(temporary, path)
        except OSError:
            os.unlink(temporary)
            raise

    def forget_others(self, rows: list[SegmentRow]) -> None:
        """Delete the copies of segments that the lake no longer has."""
        known = {f"{row.id}.segment" for row in rows}
        with suppress(OSError):
            for name in os.listdir(self._folder):
                if name not in known and not name.startswith("."):
                    os.unlink(os.path.join(self._folder, name))


def _map(row: SegmentRow, path: str) -> memoryview:
    with open(path, "rb") as file:
        # Hashed by reading, not by mapping: mapped pages would count as memory of this process.
        size = os.fstat(file.fileno()).st_size
        _compare(row, size, file_digest(file, "sha256").digest())
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _checked(row: SegmentRow, data: memoryview) -> memoryview:
    _compare(row, len(data), sha256(data).digest())
    return data


def _compare(row: SegmentRow, size: int, content_hash: bytes) -> None:
    if size != row.byte_size or content_hash != row.content_hash:
        raise DamagedSegmentError(f"{size} bytes with another hash, {row.byte_size} were written")
