"""Files in a local folder, under their own names.

    <root>/reports/may.pdf      a file, which other programs can read
    <root>/.lakebed/about/      content types, metadata and checksums
    <root>/.lakebed/uploads/    uploads that are not complete yet
    <root>/.lakebed/locks/      locks: one writer at a time for each path
    <root>/.lakebed/rules.json  the lifecycle rules

A write becomes visible by one rename, after its bytes, metadata and checksum are on disk. The
metadata of a file are stored under its size and the time of its last change. So they never describe
other bytes, such as those of a killed writer or of another program.
"""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from hashlib import sha256
from pathlib import Path

from lakebed.errors import (
    ConfigurationError,
    ConflictError,
    CorruptionError,
    LakebedError,
    StorageError,
)
from lakebed.objects.files.about import About, Abouts
from lakebed.objects.files.folders import (
    OURS,
    check_inside,
    failing,
    fsync_folder,
    make_folder,
    walk,
    write_whole,
)
from lakebed.objects.files.rules import expired, from_json, only_expiry, to_json
from lakebed.objects.files.store import (
    Condition,
    FileRow,
    Headers,
    Method,
    Page,
    Rule,
    Signed,
    page_of,
)
from lakebed.paths import absolute

_PIECE = 1 << 22


class LocalFiles:
    """Files under `root`, which is created by the first write."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._root = absolute(os.path.expanduser(root))
        self._ours = f"{self._root}/{OURS}"
        self._about = Abouts(f"{self._ours}/about")
        self.name = self._root

    def put(self, path: str, data: bytes, headers: Headers, condition: Condition) -> FileRow:
        upload = self.begin(path, len(data), len(data), headers, condition)
        try:
            upload.send(0, data)
            return upload.complete()
        except BaseException:
            upload.abort()
            raise

    def begin(
        self, path: str, size: int | None, part_size: int, headers: Headers, condition: Condition
    ) -> LocalUpload:
        del size, part_size
        with failing("write", path):
            self._check_place(path)
            folder = f"{self._ours}/uploads"
            make_folder(folder)
            return LocalUpload(
                folder, path, lambda temporary, digest: self._commit(
                    path, temporary, headers, condition, digest
                ),
            )  # fmt: skip

    def _full(self, path: str) -> str:
        return f"{self._root}/{path}"

    def _check_place(self, path: str) -> None:
        check_inside(self._root, path)
        if os.path.isdir(self._full(path)):
            raise ConflictError(f"{path!r} is a folder: there are files under {path + '/'!r}")

    @contextmanager
    def _locked(self, *paths: str) -> Iterator[None]:
        """Open a block during which no other process or thread writes to these paths."""
        import fcntl

        folder = f"{self._ours}/locks"
        make_folder(folder)
        with ExitStack() as stack:
            for name in sorted({sha256(path.encode()).hexdigest()[:2] for path in paths}):
                handle = os.open(f"{folder}/{name}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
                stack.callback(os.close, handle)  # releases the lock
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def _commit(
        self, path: str, temporary: str, headers: Headers, condition: Condition, digest: bytes
    ) -> FileRow:
        with failing("write", path), self._locked(path):
            self._check_place(path)
            old = _status(self._full(path))
            if condition.if_absent and old is not None:
                raise condition.refused(path)
            if condition.if_match is not None and (old is None or _etag(old) != condition.if_match):
                raise condition.refused(path)
            # Always later than that of the replaced file, so that no etag is used twice.
            now = max(time.time_ns(), 0 if old is None else old.st_mtime_ns + 1)
            os.utime(temporary, ns=(now, now))
            new = os.stat(temporary)
            self._about.write(
                path, new, About(headers.content_type, dict(headers.metadata), digest)
            )
            self._place(temporary, path)
            if old is not None:
                self._about.forget(path, old)
            return self._row(path, new)  # read now: the next writer removes the metadata

    def _place(self, temporary: str, path: str) -> None:
        target = self._full(path)
        folder = os.path.dirname(target)
        while True:
            try:
                make_folder(folder)
                os.rename(temporary, target)
            except FileNotFoundError:  # the folder was empty, and was removed
                if not os.path.exists(temporary):
                    raise
                continue
            except (NotADirectoryError, FileExistsError):
                raise ConflictError(
                    f"cannot write {path!r}: one of its folders is a file"
                ) from None
            fsync_folder(folder)
            return

    def _row(self, path: str, status: os.stat_result) -> FileRow:
        about = self._about.read(path, status)
        return FileRow(
            path,
            status.st_size,
            _etag(status),
            status.st_mtime_ns // 1000,
            about.content_type,
            about.metadata,
            checksum=None if about.digest is None else ("sha256", about.digest),
        )

    @contextmanager
    def _opened(self, path: str) -> Iterator[tuple[int, FileRow]]:
        """Open a block with the handle and the row of a file. The row describes exactly the bytes
        that the handle reads."""
        with failing("read", path):
            check_inside(self._root, path)
            while True:
                handle = os.open(self._full(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    status = os.fstat(handle)
                    if not stat.S_ISREG(status.st_mode):
                        raise FileNotFoundError(path)
                    row = self._row(path, status)
                    now = _status(self._full(path))
                    if row.checksum is None and now is not None and _etag(now) != row.etag:
                        continue  # replaced between the two calls
                    yield handle, row
                    return
                finally:
                    os.close(handle)

    def stat(self, path: str) -> FileRow:
        with self._opened(path) as (_, row):
            return row

    def whole(self, path: str) -> tuple[FileRow, bytes]:
        with self._opened(path) as (handle, row):
            data = _read(handle, 0, row.byte_size)
        if row.checksum is not None and sha256(data).digest() != row.checksum[1]:
            raise CorruptionError(f"{self._full(path)} differs from what was written")
        return row, data

    def range(self, path: str, start: int, end: int, etag: str) -> bytes:
        with self._opened(path) as (handle, row):
            if row.etag != etag:
                raise ConflictError(f"the file at {path!r} was replaced while it was read")
            return _read(handle, start, min(end, row.byte_size))

    def remove(self, path: str) -> bool:
        with failing("delete", path):
            check_inside(self._root, path)
            if _status(self._full(path)) is None:
                return False
            with self._locked(path):
                return self._remove(path)

    def _remove(self, path: str) -> bool:
        """Delete a file. Returns whether it existed."""
        full = self._full(path)
        old = _status(full)
        if old is None:
            return False
        os.unlink(full)
        self._forget(path, old)
        return True

    def _forget(self, path: str, status: os.stat_result) -> None:
        """Remove the metadata of a deleted file, and its folders if they are empty now."""
        folder = os.path.dirname(self._full(path))
        fsync_folder(folder)
        self._about.forget(path, status)
        with suppress(OSError):  # not empty, or gone already
            while folder != self._root:
                os.rmdir(folder)
                folder = os.path.dirname(folder)

    def remove_each(self, paths: Sequence[str]) -> dict[str, LakebedError]:
        errors: dict[str, LakebedError] = {}
        for path in paths:
            try:
                self.remove(path)
            except LakebedError as error:
                errors[path] = error
        return errors

    def page(self, prefix: str, delimiter: str | None, after: str, limit: int) -> Page:
        with failing("list", prefix):
            fold = delimiter == "/"
            return page_of(self._rows(prefix, after, fold=fold), prefix, delimiter, after, limit)

    def _rows(self, prefix: str, after: str, *, fold: bool = False) -> Iterator[FileRow | str]:
        for path, status in walk(self._root, prefix, after, fold=fold):
            yield path if status is None else self._row(path, status)

    def copy(self, source: str, target: str) -> FileRow:
        with self._opened(source) as (handle, row):
            headers = Headers(row.content_type or "", row.metadata)
            upload = self.begin(target, row.byte_size, _PIECE, headers, Condition())
            try:
                for number, start in enumerate(range(0, row.byte_size, _PIECE)):
                    upload.send(number, _read(handle, start, min(start + _PIECE, row.byte_size)))
                return upload.complete()
            except BaseException:
                upload.abort()
                raise

    def move(self, source: str, target: str) -> FileRow:
        with failing("move", source):
            check_inside(self._root, source)
            with self._locked(source, target):
                self._check_place(target)
                status, old = _status(self._full(source)), _status(self._full(target))
                if status is None:
                    raise FileNotFoundError(source)
                about = self._about.read(source, status)
                if about.digest is not None:
                    self._about.write(target, status, about)
                self._place(self._full(source), target)
                if old is not None:
                    self._about.forget(target, old)
                self._forget(source, status)
                return self._row(target, status)

    def sign_for(self, path: str, seconds: int, method: Method) -> Signed:
        del path, seconds, method
        raise ConfigurationError("presign needs a bucket: a file in a local folder has no URL")

    def rules(self) -> list[Rule]:
        with failing("read", "the rules"):
            try:
                text = Path(f"{self._ours}/rules.json").read_text("utf-8")
            except FileNotFoundError:
                return []
        return [from_json(rule) for rule in json.loads(text)]

    def set_rules(self, rules: Sequence[Rule]) -> None:
        text = json.dumps([to_json(rule) for rule in only_expiry(rules, "files in a folder")])
        with failing("write", "the rules"):
            make_folder(self._ours)
            write_whole(f"{self._ours}/rules.json", text.encode())

    def abandon(self, before: int) -> int:
        aborted = 0
        with failing("delete", "unfinished uploads"):
            for entry in _entries(f"{self._ours}/uploads"):
                with suppress(FileNotFoundError):  # completed meanwhile
                    if entry.stat(follow_symlinks=False).st_mtime_ns // 1000 < before:
                        os.unlink(entry.path)
                        aborted += 1
            self._about.tidy(before, self._is_current)
        return aborted

    def _is_current(self, path: str, name: Callable[[os.stat_result], str], found: str) -> bool:
        status = _status(self._full(path))
        return status is not None and name(status) == found

    def expire(self, now: int) -> int:
        rules, count = self.rules(), 0
        for row in self._rows("", "") if rules else ():
            if not isinstance(row, str) and expired([row], rules, now):
                with failing("delete", row.path), self._locked(row.path):
                    status = _status(self._full(row.path))
                    if status is not None and _etag(status) == row.etag:
                        count += self._remove(row.path)
        return count

    def close(self) -> None:
        """Do nothing: no file is held open."""


class LocalUpload:
    """An upload to a temporary file. `commit` moves the file to its place."""

    width = 1  # the checksum takes the bytes in order

    def __init__(self, folder: str, path: str, commit: Callable[[str, bytes], FileRow]) -> None:
        self._path, self._commit = path, commit
        self._temporary = f"{folder}/{os.urandom(16).hex()}"
        self._hash = sha256()
        self._file = open(self._temporary, "xb", buffering=0)  # noqa: SIM115 - closed below

    def send(self, number: int, data: bytes) -> None:
        del number
        with failing("write", self._path):
            view = memoryview(data)
            while view:
                view = view[self._file.write(view) :]
            self._hash.update(data)

    def complete(self) -> FileRow:
        with failing("write", self._path):
            os.fsync(self._file.fileno())
            self._file.close()
        return self._commit(self._temporary, self._hash.digest())

    def abort(self) -> None:
        self._file.close()
        with suppress(FileNotFoundError):
            os.unlink(self._temporary)


def _status(full: str) -> os.stat_result | None:
    """Return the status of a file. Return None if it does not exist, or is a folder or a link."""
    try:
        status = os.lstat(full)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def _etag(status: os.stat_result) -> str:
    return f"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"


def _read(handle: int, start: int, end: int) -> bytes:
    parts = []
    while start < end:
        data = os.pread(handle, end - start, start)
        if not data:
            raise StorageError("a file became shorter while it was read")
        parts.append(data)
        start += len(data)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except FileNotFoundError:
        return []
