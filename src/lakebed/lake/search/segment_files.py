"""The bytes of segments: read where they lie, or from a folder of copies that may be deleted."""

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
from lakebed.search.segment import Segment

_COPIED_BYTES = 1 << 20
"""What takes less is fetched anew by each process rather than kept in a file."""


class DamagedSegmentError(CorruptionError):
    """The bytes of a segment are missing, or not those that were written.

    The lake catches it, and builds the segment anew.
    """


def cache_folder(given: str | None) -> str:
    """Where copies of segments are kept: as configured, in `$XDG_CACHE_HOME/lakebed`, or in
    `~/.cache/lakebed`."""
    if given is not None:
        return os.path.abspath(os.path.expanduser(given))
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join("~", ".cache")
    return os.path.join(os.path.expanduser(base), "lakebed")


class SegmentFiles:
    """Opens the segments of one lake."""

    def __init__(
        self, catalog: Catalog, objects: ObjectStore | None, folder: str, lake_id: str
    ) -> None:
        self._catalog = catalog
        self._objects = objects
        self._folder = os.path.join(folder, lake_id)

    def open(self, row: SegmentRow) -> Segment:
        """The segment of a row. FileNotFoundError if the row is gone by now, DamagedSegmentError if
        its bytes are not what they should be, UnreadableSegmentError for another format."""
        return Segment(self._bytes(row))

    def check(self, row: SegmentRow) -> str | None:
        """What is wrong with the bytes where they lie, copies aside; None if nothing is."""
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
            return _map(row, copy)
        data = self._fetch(row)
        view = _checked(row, memoryview(data))
        if len(data) < _COPIED_BYTES:
            return view
        with suppress(OSError, ValueError):  # a folder that cannot be written is no reason to fail
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
            raise DamagedSegmentError(f"the segment {row.id} lies in a storage, and there is none")
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
        """Delete the copies of segments that are no longer the lake's."""
        known = {f"{row.id}.segment" for row in rows}
        with suppress(OSError):
            for name in os.listdir(self._folder):
                if name not in known and not name.startswith("."):
                    os.unlink(os.path.join(self._folder, name))


def _map(row: SegmentRow, path: str) -> memoryview:
    with open(path, "rb") as file:
        # Read rather than mapped while it is hashed: so no page of it counts as this process's own.
        size = os.fstat(file.fileno()).st_size
        _compare(row, size, file_digest(file, "sha256").digest())
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _checked(row: SegmentRow, data: memoryview) -> memoryview:
    _compare(row, len(data), sha256(data).digest())
    return data


def _compare(row: SegmentRow, size: int, content_hash: bytes) -> None:
    if size != row.byte_size or content_hash != row.content_hash:
        raise DamagedSegmentError(f"{size} bytes with another hash, {row.byte_size} were written")
