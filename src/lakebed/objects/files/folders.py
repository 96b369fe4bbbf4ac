"""Folders and files on a disk: durable writes, listings in order, and no way out by a link."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from lakebed.errors import StorageError, ValidationError

OURS = ".lakebed"
"""The name of the folder under a root that belongs to Lakebed."""

_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EROFS: "the file system is read-only",
    errno.ENAMETOOLONG: "the file system does not take names this long",
}


@contextmanager
def failing(verb: str, path: str) -> Iterator[None]:
    """Open a block that turns OSErrors into those of a file store: FileNotFoundError if the file
    does not exist, otherwise StorageError."""
    try:
        yield
    except OSError as error:
        missing = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP)
        if verb in ("read", "delete") and error.errno in missing:
            raise FileNotFoundError(path) from None
        if isinstance(error, FileNotFoundError) and verb != "write":
            raise
        reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
        raise StorageError(f"cannot {verb} {path!r}: {reason}") from error


def check_inside(root: str, path: str) -> None:
    """Raise ValidationError if links lead a path out of the root."""
    folder = os.path.dirname(f"{root}/{path}")
    base = os.path.realpath(root)
    if folder != root and not f"{os.path.realpath(folder)}/".startswith(f"{base}/"):
        raise ValidationError(f"path {path!r} leads out of the storage through a link")


def make_folder(folder: str) -> None:
    """Create a folder and fsync its parent, up to the first parent that exists."""
    if os.path.isdir(folder):
        return
    parent = os.path.dirname(folder)
    make_folder(parent)
    os.makedirs(folder, exist_ok=True)
    fsync_folder(parent)


def fsync_folder(folder: str) -> None:
    """Make the names in a folder durable."""
    with suppress(FileNotFoundError):  # the folder was removed meanwhile
        handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_whole(place: str, data: bytes) -> None:
    """Write a small file. Others see either the old file or the whole new one."""
    temporary = f"{place}.{os.urandom(4).hex()}.tmp"
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, place)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    fsync_folder(os.path.dirname(place))


def walk(
    root: str, prefix: str, after: str, *, fold: bool = False
) -> Iterator[tuple[str, os.stat_result | None]]:
    """Yield the paths under a root that begin with a prefix and may come after `after`, each with
    its status, in the order of their bytes.

    With `fold`, a folder below the prefix is one path, which ends with a slash and has no status.
    Links are left out.
    """
    return _walk(root, "", prefix, after.encode(), fold)


def _walk(
    root: str, folder: str, prefix: str, after: bytes, fold: bool
) -> Iterator[tuple[str, os.stat_result | None]]:
    try:
        with os.scandir(f"{root}/{folder}") as found:
            entries = [
                (f"{folder}{entry.name}{'/' if is_folder else ''}", is_folder)
                for entry in found
                if not entry.is_symlink() and (folder or entry.name != OURS) and is_text(entry.name)
                for is_folder in [entry.is_dir(follow_symlinks=False)]
            ]
    except (FileNotFoundError, NotADirectoryError):
        return
    entries.sort(key=lambda entry: entry[0].encode())
    for path, is_folder in entries:
        if not is_folder:
            if path.startswith(prefix) and path.encode() > after:
                with suppress(FileNotFoundError):  # deleted meanwhile
                    yield path, os.lstat(f"{root}/{path}")
            continue
        encoded = path.encode()
        if not (path.startswith(prefix) or prefix.startswith(path)):
            continue
        if encoded < after and not after.startswith(encoded):
            continue  # all its paths come before
        inside = _walk(root, path, prefix, after, fold)
        if fold and path.startswith(prefix) and path != prefix:
            if next(inside, None) is not None:
                yield path, None
        else:
            yield from inside


def is_text(name: str) -> bool:
    """Return whether a name on the disk is valid UTF-8. A path cannot name other files."""
    return not any("\ud800" <= char <= "\udfff" for char in name)
