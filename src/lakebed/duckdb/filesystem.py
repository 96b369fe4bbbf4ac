"""A filesystem that shows DuckDB only the files of the lake that were granted to a query."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import NoReturn, Protocol

from fsspec import AbstractFileSystem

PROTOCOL = "lakebed"
_NEVER_CHANGED = datetime(1970, 1, 1, tzinfo=UTC)
_GONE = "the file is gone"
_NONE: Mapping[str, str] = {}
_TRACE = re.compile(r"\n\nAt:\n(?:  .*\n)*")  # a traceback of this process, which is not shown


class Files(Protocol):
    """What reading needs from a storage. Raises FileNotFoundError for a missing file."""

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes: ...

    def size(self, path: str) -> int: ...


class Grant:
    """The right to read some files of the storage, until it is released.

    `address` stands for all of these files in SQL. It is drawn at random after the text of the
    query is known, so the text cannot contain it. `paths` are in the order of DuckDB's
    `file_index`. `folders`: the folders that DuckDB sees before some of the paths.
    """

    def __init__(
        self, files: ReadOnlyFiles, paths: Iterable[str], folders: Mapping[str, str] = _NONE
    ) -> None:
        self._files = files
        names = {folders.get(path, "") + path: path for path in paths}
        self.names = sorted(names)
        self.paths = [names[name] for name in self.names]
        self.address = f"{PROTOCOL}://{secrets.token_hex(16)}"
        files.admit(self)

    def release(self) -> None:
        """Make the address invalid from now on."""
        self._files.dismiss(self)

    def __enter__(self) -> Grant:
        return self

    def __exit__(self, *details: object) -> None:
        self.release()


class ReadOnlyFiles(AbstractFileSystem):  # type: ignore[misc]
    """The filesystem of `lakebed://`. It knows only the addresses of grants, and refuses to list or
    write files.

    DuckDB looks up every name in a query with `glob`, and opens the names that `glob` returns. The
    returned names begin with a secret of the session, so a query cannot contain them. They stay the
    same from query to query, so that DuckDB can cache what it has read.
    """

    protocol = PROTOCOL
    cachable = False

    def __init__(self, files: Files) -> None:
        super().__init__()
        self._files = files
        self._root = f"{PROTOCOL}://{secrets.token_hex(16)}/"
        self._grants: dict[str, Grant] = {}
        # The paths of the names that may be opened. A query opens them long after it began.
        self._told = dict[str, str]()
        self._sizes: dict[str, int] = {}  # by path and by name; files never change

    def grant(self, paths: Iterable[str], folders: Mapping[str, str] = _NONE) -> Grant:
        """Let queries read files of the storage, at an address that nobody can guess. `folders`:
        folders that exist only for DuckDB, which sees them before some of the paths."""
        return Grant(self, paths, folders)

    def admit(self, grant: Grant) -> None:
        """Register a grant."""
        self._grants[grant.address] = grant

    def dismiss(self, grant: Grant) -> None:
        """Remove a grant. Doing so again does nothing."""
        self._grants.pop(grant.address, None)

    def glob(self, path: str, **options: object) -> list[str]:
        """Return the names of the files of a grant. This is the only way to find a file."""
        del options
        grant = self._grants.get(path)
        if grant is None:
            self._deny()
        names = [self._root + name for name in grant.names]
        self._told.update(zip(names, grant.paths, strict=True))
        return names

    def open(self, path: str, mode: str = "rb", **options: object) -> _File:
        del options
        if mode != "rb":
            self._refuse()
        return _File(self, self._checked(path))

    def info(self, path: str, **options: object) -> Mapping[str, object]:
        del options
        return {"name": path, "size": self.size_of(self._checked(path)), "type": "file"}

    def size(self, path: str) -> int:
        # Called three times for each read: faster than fsspec's own way through `info`.
        size = self._sizes.get(path)
        return self.size_of(self._checked(path)) if size is None else size

    def modified(self, path: str) -> datetime:
        """Return a fixed time, because files never change."""
        del path
        return _NEVER_CHANGED

    def note_size(self, path: str, size: int) -> None:
        """Remember the size of a file, so that the storage is not asked for it again."""
        self._sizes[path] = self._sizes[self._root + path] = size

    def size_of(self, path: str) -> int:
        """Return the size of a file of the storage in bytes."""
        if path not in self._sizes:
            try:
                size = self._files.size(path)
            except FileNotFoundError:
                raise self._gone(path) from None
            self.note_size(path, size)
        return self._sizes[path]

    def read_range(self, path: str, offset: int, length: int) -> bytes:
        """Read a part of a file."""
        try:
            return self._files.read(path, offset, length)
        except FileNotFoundError:
            raise self._gone(path) from None

    def missing(self, text: str) -> str | None:
        """Return the missing file that an error of DuckDB is about, or None."""
        # Taken from the error itself, so that queries cannot get each other's errors.
        found = re.search(f"{re.escape(self._root)}(\\S+): {_GONE}", text)
        return found[1] if found else None

    def shown(self, text: str) -> str:
        """Return the text of an error of DuckDB without the secret names."""
        text = _TRACE.sub("", text.replace(self._root, ""))
        return re.sub(f"{PROTOCOL}://[0-9a-f]{{32}}", f"{PROTOCOL}://…", text)

    def _gone(self, path: str) -> FileNotFoundError:
        return FileNotFoundError(f"{self._root}{path}: {_GONE}")

    def _checked(self, path: str) -> str:
        """Return the path in the storage of a name that `glob` has returned."""
        found = self._told.get(path)
        if found is None:
            self._deny()
        return found

    def _deny(self) -> NoReturn:
        raise PermissionError("a query can read the tables of the lake, but not files by name")

    def _refuse(self, *arguments: object, **options: object) -> NoReturn:
        del arguments, options
        raise PermissionError("a query can read the lake, but not write")

    mkdir = makedirs = rm = rm_file = rmdir = mv = cp_file = touch = pipe_file = put_file = _refuse


class _File:
    """A file open for reading, as DuckDB uses one."""

    def __init__(self, files: ReadOnlyFiles, path: str) -> None:
        self._files = files
        self._path = path
        self._position = 0
        self.size = files.size_of(path)
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
        data = self._files.read_range(self._path, self._position, wanted) if wanted else b""
        self._position += len(data)
        return data

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()
