"""Makes room in a lake whose disk is full, where SQLite can write nothing."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager

from lakebed.catalog.opened import CatalogOptions
from lakebed.catalog.sqlite.catalog import SQLiteCatalog
from lakebed.catalog.sqlite.executor import SQLiteExecutor
from lakebed.catalog.sqlite.opening import open_sqlite
from lakebed.errors import ConfigurationError, LockTimeoutError, StorageError
from lakebed.lake.checks import Deadline, check_prefix
from lakebed.lake.lake import Lake
from lakebed.lake.opening import CATALOG_FILE, DEFAULT_FOLDER, assemble
from lakebed.lake.opening import open as open_lake
from lakebed.lake.upkeep.collecting import CollectRun
from lakebed.model import Delete
from lakebed.objects.opening import open_store
from lakebed.paths import absolute
from lakebed.records import Report

_STEP = 1000
_PIECE = 1 << 20
_LOCKS, _LOCK_BYTES = 0x40000000, 512  # where SQLite's locks lie in a file


class FreeReport(Report):
    """What `free` did.

    | field | |
    | --- | --- |
    | `entries` | entries removed: under the prefixes, and expired |
    | `catalog_bytes` | by how much the catalog's files shrank |
    | `files` | files of contents deleted, and |
    | `file_bytes` | their size in bytes |
    """

    entries: int
    catalog_bytes: int
    files: int
    file_bytes: int


def free(
    where: str | os.PathLike[str] = DEFAULT_FOLDER,
    *,
    delete: str | None = None,
    purge: str | None = None,
    scratch: str | os.PathLike[str] | None = None,
) -> FreeReport:
    """Make room in a local lake whose disk is full, so that it can be opened and written again.

    On a full disk SQLite can change nothing, and cannot even delete. So the catalog is copied to
    `scratch`, a folder on another disk with room for it twice (left out, the system's folder for
    temporary files). Garbage and what has expired are removed there, and the catalog is written
    back in its place, no larger than it was. Then the bytes that nothing refers to are deleted at
    once, without grace.

    `where`: the folder of the lake, which nobody may have open. `delete`: also delete the entries
    whose keys begin with this, as `Lake.delete` does; snapshots keep what they see. `purge`: also
    remove these from history and every snapshot, as `Lake.purge` does. Packs that hold others too
    are rewritten by the next `maintain`.

    Raises ConfigurationError if there is no lake, LockTimeoutError if somebody has it open, and
    StorageError if `scratch` has no room. Nothing is changed then. If it is interrupted while the
    catalog is written back, the error names the copy, which is whole: put it in its place.
    """
    folder = absolute(os.path.expanduser(os.fspath(where)))
    path = os.path.join(folder, CATALOG_FILE)
    if not os.path.exists(path):
        raise ConfigurationError(f"{folder} is not a lake: it holds no {CATALOG_FILE}")
    ranges = {
        name: check_prefix(prefix)
        for name, prefix in (("delete", delete), ("purge", purge))
        if prefix is not None
    }
    with _alone(path) as handle:
        before = _size(path)
        work = tempfile.mkdtemp(prefix="lakebed-free-", dir=scratch)
        copy = os.path.join(work, CATALOG_FILE)
        try:
            _copy(path, copy)
            small, entries = _shrink(copy, folder, ranges)
        except BaseException:
            shutil.rmtree(work)
            raise
        _put_back(handle, path, small)
        shutil.rmtree(work)
        after = _size(path)
    files, file_bytes = _delete_trash(folder)
    try:
        with open_lake(folder) as lake:
            lake.collect(grace=0)  # their rows
    except StorageError as error:
        raise StorageError(
            f"too little was found to remove ({before - after + file_bytes} bytes): name what may "
            f"go by delete or purge ({error})"
        ) from error
    return FreeReport(
        entries=entries, catalog_bytes=before - after, files=files, file_bytes=file_bytes
    )


@contextmanager
def _alone(path: str) -> Iterator[int]:
    """A handle on the catalog's file while nobody else may open it."""
    handle = os.open(path, os.O_RDWR)
    try:
        # A lock of this handle, where there is such a one: one of the process would not keep out
        # its own connections.
        kind, wanted = getattr(fcntl, "F_OFD_SETLK", fcntl.F_SETLK), (fcntl.F_WRLCK, os.SEEK_SET)
        try:
            fcntl.fcntl(handle, kind, struct.pack("hhqqi4x", *wanted, _LOCKS, _LOCK_BYTES, 0))
        except OSError:
            raise LockTimeoutError(
                f"somebody has the catalog {path} open: close it everywhere before `free`"
            ) from None
        yield handle
    finally:
        os.close(handle)


def _copy(path: str, copy: str) -> None:
    try:
        shutil.copyfile(path, copy)
        if os.path.exists(f"{path}-wal"):
            shutil.copyfile(f"{path}-wal", f"{copy}-wal")
    except OSError as error:
        raise StorageError(
            f"cannot copy the catalog to {os.path.dirname(copy)}: {error.strerror}; name a folder "
            "on another disk (scratch)"
        ) from error


def _shrink(copy: str, folder: str, ranges: dict[str, tuple[str, str]]) -> tuple[str, int]:
    """Remove what there is to remove from the copy; where what is left lies, without gaps, and how
    many entries went."""
    small = f"{copy}-small"
    opened = open_sqlite(copy, CatalogOptions())
    with assemble(opened, open_store(folder), "") as lake:
        removed = lake.cleanup_expired().deleted
        if "delete" in ranges:
            removed += _delete(lake, *ranges["delete"])
        if "purge" in ranges:
            while (step := lake._catalog.purge(*ranges["purge"], _STEP)).entries or step.versions:
                removed += step.entries
        lake._prune(Deadline(), False)
        lake._collect_names(CollectRun())
        assert isinstance(opened.catalog, SQLiteCatalog)
        executor: SQLiteExecutor = opened.catalog._executor
        # Not in place, which takes room wherever SQLite keeps temporary files.
        executor.fetch("VACUUM INTO :small", {"small": small})
    return small, removed


def _delete(lake: Lake, low: str, high: str) -> int:
    removed = 0
    while rows := lake._catalog.page(low, high, _STEP)[0]:
        lake._catalog.commit([Delete(row.key) for row in rows])
        removed += len(rows)
    return removed


def _put_back(handle: int, path: str, copy: str) -> None:
    """Write the copy over the catalog, in the blocks that it has."""
    with open(copy, "rb") as file:
        os.fsync(file.fileno())
        try:
            # First the log, which belongs to what the file was. The copy has no log.
            for end in ("-wal", "-shm"):
                if os.path.exists(path + end):
                    os.unlink(path + end)
            offset = 0
            while piece := file.read(_PIECE):
                offset += os.pwrite(handle, piece, offset)
            os.ftruncate(handle, offset)
            os.fsync(handle)
        except BaseException as error:
            raise StorageError(
                f"the catalog {path} could not be written back: {error!r}; {copy} is whole: copy "
                f"it to {path}, with no -wal and -shm beside it"
            ) from error


def _delete_trash(folder: str) -> tuple[int, int]:
    """Delete the files that the catalog has given up, without writing to it; how many and their
    size."""
    files = byte_size = 0
    reader = open_sqlite(os.path.join(folder, CATALOG_FILE), CatalogOptions(read_only=True)).catalog
    with closing(reader), closing(open_store(folder)) as store:
        after = ""
        while paths := reader.due_trash(reader.now(), after, _STEP):
            for path in paths:
                try:
                    byte_size += store.size(path)
                except FileNotFoundError:
                    continue
                files += 1
            store.delete(paths)
            after = paths[-1]
    return files, byte_size


def _size(path: str) -> int:
    return sum(os.stat(path + end).st_size for end in ("", "-wal") if os.path.exists(path + end))
