"""The lake's objects as DuckDB sees them: the files that a query was granted, and nothing else."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn, Protocol

from fsspec import AbstractFileSystem

PROTOCOL = "lakebed"
_NEVER_CHANGED = datetime(1970, 1, 1, tzinfo=UTC)
_GONE = "the file is gone"
_TRACE = re.compile(r"\n\nAt:\n(?:  .*\n)*")  # where in this process, which is nobody's business


class Files(Protocol):
    """What reading takes of a storage; FileNotFoundError for a file that is gone."""

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes: ...

    def size(self, path: str) -> int: ...


class Grant:
    """The right to read some files of the storage, until it is released.

    `address` is what SQL calls them, all together: drawn at random after the text of a query is
    known, so no text can name it. `paths` are in the order of DuckDB's `file_index`.
    """

    def __init__(self, files: ReadOnlyFiles, paths: Iterable[str]) -> None:
        self._files = files
        self.paths = sorted(set(paths))
        self.address = f"{PROTOCOL}://{secrets.token_hex(16)}"
        files.admit(self)

    def release(self) -> None:
        """From now on the address is no file."""
        self._files.dismiss(self)

    def __enter__(self) -> Grant:
        return self

    def __exit__(self, *details: object) -> None:
        self.release()


class ReadOnlyFiles(AbstractFileSystem):  # type: ignore[misc]
    """`lakebed://` and the address of a grant. It lists nothing and writes nothing.

    Whatever DuckDB is told to read by a name, it looks the name up with `glob`, and opens what that
    tells. `glob` knows the addresses of grants alone. What it tells are names that begin with a
    secret of the session, and stand in no text: they stay the same from query to query, so that
    DuckDB may keep what it has read.
    """

    protocol = PROTOCOL
    cachable = False

    def __init__(self, files: Files) -> None:
        super().__init__()
        self._files = files
        self._root = f"{PROTOCOL}://{secrets.token_hex(16)}/"
        self._grants: dict[str, Grant] = {}
        self._told = set[str]()  # names that may be opened: a query does so long after it began
        self._sizes: dict[str, int] = {}  # by path and by name; files never change

    def grant(self, paths: Iterable[str]) -> Grant:
        """Let queries read files of the storage, under an address that nobody can guess."""
        return Grant(self, paths)

    def admit(self, grant: Grant) -> None:
        """Make a grant known."""
        self._grants[grant.address] = grant

    def dismiss(self, grant: Grant) -> None:
        """Forget a grant; again does nothing."""
        self._grants.pop(grant.address, None)

    def glob(self, path: str, **options: object) -> list[str]:
        """The names of the files of a grant: none is ever found by looking."""
        del options
        grant = self._grants.get(path)
        if grant is None:
            self._deny()
        names = [self._root + path for path in grant.paths]
        self._told.update(names)
        return names

    def open(self, path: str, mode: str = "rb", **options: object) -> _File:
        del options
        if mode != "rb":
            self._refuse()
        return _File(self, self._checked(path))

    def info(self, path: str, **options: object) -> Mapping[str, object]:
        del options
        name = self._checked(path)
        return {"name": path, "size": self.size_of(name), "type": "file"}

    def size(self, path: str) -> int:
        # Asked three times for each read: the details that fsspec would make for it take longer.
        size = self._sizes.get(path)
        return self.size_of(self._checked(path)) if size is None else size

    def modified(self, path: str) -> datetime:
        """Files never change."""
        del path
        return _NEVER_CHANGED

    def note_size(self, path: str, size: int) -> None:
        """That a file has been read to its end, at so many bytes: it is not asked for again."""
        self._sizes[path] = self._sizes[self._root + path] = size

    def size_of(self, path: str) -> int:
        """The size of a file of the storage in bytes."""
        if path not in self._sizes:
            try:
                size = self._files.size(path)
            except FileNotFoundError:
                raise self._gone(path) from None
            self.note_size(path, size)
        return self._sizes[path]

    def read_range(self, path: str, offset: int, length: int) -> bytes:
        """A part of a file."""
        try:
            return self._files.read(path, offset, length)
        except FileNotFoundError:
            raise self._gone(path) from None

    def missing(self, text: str) -> str | None:
        """The file that an error of DuckDB's is about, if it is one that is gone."""
        # The error itself tells: what one query met with is never an answer to another.
        found = re.search(f"{re.escape(self._root)}(\\S+): {_GONE}", text)
        return found[1] if found else None

    def shown(self, text: str) -> str:
        """An error of DuckDB's without the names that are secret."""
        text = _TRACE.sub("", text.replace(self._root, ""))
        return re.sub(f"{PROTOCOL}://[0-9a-f]{{32}}", f"{PROTOCOL}://…", text)

    def _gone(self, path: str) -> FileNotFoundError:
        return FileNotFoundError(f"{self._root}{path}: {_GONE}")

    def _checked(self, path: str) -> str:
        """The path in the storage of a name that `glob` told."""
        if path not in self._told:
            self._deny()
        return path.removeprefix(self._root)

    def _deny(self) -> NoReturn:
        raise PermissionError("a query reads the tables of the lake, and no file by its name")

    def _refuse(self, *arguments: object, **options: object) -> NoReturn:
        del arguments, options
        raise PermissionError("a query reads the lake and writes nothing")

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

    def __exit__(self, *details: Any) -> None:
        self.close()
