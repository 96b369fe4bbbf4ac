"""Objects in a local folder. After a crash or a power loss, all files in it are complete."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import BinaryIO, NoReturn

from lakebed.errors import CorruptionError, StorageError
from lakebed.objects.names import inside, temporary_path
from lakebed.objects.places import Site, local_site
from lakebed.objects.store import Range, ReadResult, StoredFile, read_each
from lakebed.paths import absolute

_PIECE = 1 << 24
_FIRST = 1 << 16  # bytes to read before asking for the size; most files are smaller
_DAMAGE = {errno.EIO, errno.EISDIR, errno.ELOOP, errno.ENOTDIR}
"""Errors that mean that one file is damaged, and not that the storage fails."""


class LocalStore:
    """Files under `root`, which is created by the first write.

    A write goes to a temporary name, is fsynced and renamed, and its folder is fsynced. So an entry
    is committed only after its bytes are on disk.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._root = absolute(os.path.expanduser(root))

    def uri(self, path: str) -> str:
        from urllib.parse import quote

        return "file://" + quote(f"{self._root}/{path}")

    def site(self) -> Site:
        return local_site(self._root)

    def write(self, path: str, data: bytes) -> None:
        with self.open_write(path) as file:
            file.write(data)

    def write_new(self, path: str, data: bytes) -> bool:
        """Write a file unless one exists at this path. Returns whether it was written.

        The complete file gets a second name in one step, which cannot replace another file.
        """
        target = f"{self._root}/{inside(path)}"
        folder, temporary = os.path.dirname(target), temporary_path(target)
        try:
            self._make_folder(folder)
            try:
                with open(temporary, "xb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                os.link(temporary, target)
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(temporary)
            _fsync_folder(folder)
        except FileExistsError:
            return False
        except OSError as error:
            self._fail("write", path, error)
        return True

    @contextmanager
    def open_write(self, path: str) -> Iterator[BinaryIO]:
        target = f"{self._root}/{inside(path)}"
        folder, temporary = os.path.dirname(target), temporary_path(target)
        try:
            self._make_folder(folder)
            file = open(temporary, "xb")  # noqa: SIM115 - closed below, whatever happens
        except OSError as error:
            self._fail("write", path, error)
        try:
            with file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.rename(temporary, target)
            _fsync_folder(folder)
        except BaseException as error:
            with suppress(OSError):  # the caller gets the first error
                os.unlink(temporary)
            if isinstance(error, OSError):
                self._fail("write", path, error)
            raise

    def _make_folder(self, folder: str) -> None:
        """Create a folder and fsync its parent, up to the first parent that exists."""
        if os.path.isdir(folder):
            return
        parent = os.path.dirname(folder)
        self._make_folder(parent)
        os.makedirs(folder, exist_ok=True)
        _fsync_folder(parent)

    def full_path(self, path: str) -> str:
        """Return the absolute path of a file."""
        return f"{self._root}/{path}"

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        try:
            # No file object: creating one takes as long as reading.
            handle = os.open(f"{self._root}/{inside(path)}", os.O_RDONLY)
            try:
                if length is None:
                    return _read_rest(handle, offset)
                return os.pread(handle, length, offset)
            finally:
                os.close(handle)
        except FileNotFoundError:
            raise
        except OSError as error:
            self._fail("read", path, error)

    def read_many(self, ranges: Sequence[Range]) -> list[ReadResult]:
        return read_each(self, ranges)

    def size(self, path: str) -> int:
        try:
            return os.stat(f"{self._root}/{inside(path)}").st_size
        except FileNotFoundError:
            raise
        except OSError as error:
            self._fail("read", path, error)

    def delete(self, paths: Iterable[str]) -> None:
        for path in paths:
            try:
                os.unlink(f"{self._root}/{inside(path)}")
            except FileNotFoundError:
                continue
            except OSError as error:
                self._fail("delete", path, error)

    def list(self, prefix: str) -> Iterator[StoredFile]:
        """Yield all files in a folder. Links to folders are not followed, because they may lead to
        somebody else's files."""
        if prefix and os.path.islink(f"{self._root}/{prefix}"):
            return
        for folder, _, names in os.walk(f"{self._root}/{prefix}"):
            for name in names:
                full = f"{folder}/{name}"
                try:
                    status = os.lstat(full)  # of a link itself, not of its target
                except FileNotFoundError:  # deleted or renamed since it was listed
                    continue
                path = os.path.relpath(full, self._root).replace(os.sep, "/")
                yield StoredFile(path, status.st_size, status.st_mtime_ns // 1000)

    def abandon_uploads(self, before: int) -> int:
        """Do nothing: a killed writer leaves an ordinary file here."""
        del before
        return 0

    def close(self) -> None:
        """Do nothing: no file is held open."""

    def _fail(self, verb: str, path: str, error: OSError) -> NoReturn:
        if verb == "read" and error.errno in _DAMAGE:
            place = f"{self._root}/{path}"
            raise CorruptionError(f"{place} cannot be read: {error.strerror}") from error
        reasons = {
            errno.ENOSPC: "the disk is full",
            errno.EDQUOT: "the disk quota is used up",
            errno.EACCES: "permission denied",
            errno.EPERM: "permission denied",
            errno.EROFS: "the file system is read-only",
        }
        reason = reasons.get(error.errno or 0, error.strerror or str(error))
        raise StorageError(f"cannot {verb} {path} under {self._root}: {reason}") from error


def _read_rest(handle: int, offset: int) -> bytes:
    """Return the bytes of a file from `offset` to its end."""
    data = os.pread(handle, _FIRST, offset)
    if len(data) < _FIRST and not os.pread(handle, 1, offset + len(data)):
        return data
    size = os.fstat(handle).st_size - offset
    data = os.pread(handle, max(size, 0) + 1, offset)
    if len(data) == size:
        return data
    parts = [data]  # the file grows or shrinks, or is too large for one read
    while data:
        offset += len(data)
        data = os.pread(handle, _PIECE, offset)
        parts.append(data)
    return b"".join(parts)


def _fsync_folder(folder: str) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
