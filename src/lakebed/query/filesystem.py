"""The lake's objects as DuckDB sees them: files that can be read, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn, Protocol

from fsspec import AbstractFileSystem

PROTOCOL = "lakebed"
_PATH = re.compile(r"(?:objects|packs)/[^./][^/]*(?:/[^./][^/]*)*\Z")
_NEVER_CHANGED = datetime(1970, 1, 1, tzinfo=UTC)


class Files(Protocol):
    """What reading takes of a storage; FileNotFoundError for a file that is gone."""

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes: ...

    def size(self, path: str) -> int: ...


def address(path: str) -> str:
    """How a query names a file of the storage."""
    return f"{PROTOCOL}://{path}"


class ReadOnlyFiles(AbstractFileSystem):  # type: ignore[misc]
    """`lakebed://` and the path of an object or a pack. It lists nothing and writes nothing."""

    protocol = PROTOCOL
    cachable = False

    def __init__(self, files: Files) -> None:
        super().__init__()
        self._files = files
        self._sizes: dict[str, int] = {}  # by path and by address; files never change
        self.missing: str | None = None
        """The last file that was asked for and is gone."""

    def open(self, path: str, mode: str = "rb", **options: object) -> _File:
        del options
        if mode != "rb":
            self._refuse()
        return _File(self, self._checked(path))

    def info(self, path: str, **options: object) -> Mapping[str, object]:
        del options
        name = self._checked(path)
        return {"name": name, "size": self.size_of(name), "type": "file"}

    def size(self, path: str) -> int:
        # Asked three times for each read: the details that fsspec would make for it take longer.
        size = self._sizes.get(path)
        return self.size_of(self._checked(path)) if size is None else size

    def glob(self, path: str, **options: object) -> list[str]:
        """The path itself: names of files are told by the catalog, never found by looking."""
        del options
        return [address(self._checked(path))]

    def modified(self, path: str) -> datetime:
        """Files never change."""
        del path
        return _NEVER_CHANGED

    def note_size(self, name: str, size: int) -> None:
        """That a file has been read to its end, at so many bytes: it is not asked for again."""
        self._sizes[name] = self._sizes[address(name)] = size

    def size_of(self, name: str) -> int:
        """The size of a file in bytes."""
        if name not in self._sizes:
            try:
                size = self._files.size(name)
            except FileNotFoundError:
                self.missing = name
                raise
            self.note_size(name, size)
        return self._sizes[name]

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        """A part of a file."""
        try:
            return self._files.read(name, offset, length)
        except FileNotFoundError:
            self.missing = name
            raise

    def _checked(self, path: str) -> str:
        name = path.removeprefix(f"{PROTOCOL}://")
        if not _PATH.match(name):
            raise PermissionError(f"{path!r} is no file of the lake")
        return name

    def _refuse(self, *arguments: object, **options: object) -> NoReturn:
        del arguments, options
        raise PermissionError("a query reads the lake and writes nothing")

    mkdir = makedirs = rm = rm_file = rmdir = mv = cp_file = touch = pipe_file = put_file = _refuse


class _File:
    """A file open for reading, as DuckDB uses one."""

    def __init__(self, files: ReadOnlyFiles, name: str) -> None:
        self._files = files
        self._name = name
        self._position = 0
        self.size = files.size_of(name)
        self.closed = False

    def seek(self, offset: int, whence: int = 0) -> int:
        base = {0: 0, 1: self._position, 2: self.size}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, length: int = -1) -> bytes:
        left = max(0, self.size - self._position)
        wanted = left if length < 0 else min(length, left)
        data = self._files.read_range(self._name, self._position, wanted) if wanted else b""
        self._position += len(data)
        return data

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *details: Any) -> None:
        self.close()
