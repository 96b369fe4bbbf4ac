"""Reads a SQLite file without changing it, its folder, or the files beside it."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from tempfile import TemporaryDirectory
from types import TracebackType
from urllib.parse import quote

from lakebed.catalog.sqlite.connections import CACHE_KIB, READ, SQLiteConnection
from lakebed.catalog.sqlite.executor import SQLiteExecutor
from lakebed.catalog.sqlite.transaction import SQLiteTransaction
from lakebed.catalog.statements.executor import Params, Row, refused
from lakebed.clock import Clock, system_clock
from lakebed.errors import CatalogError, LakebedError, StorageError

_CHANGES = 10  # tries of a read while others write
_INDEX_BYTES = 32768  # the least size of a log's index
Stamp = tuple[object, ...]
"""A value that changes whenever another program writes to the file."""


class UntouchedFile:
    """How a connection reads a catalog that it must not change. `shown` names it in errors.

    - If the log has an index (`-shm`), the file is read as it is. Another process has it open, or
      was killed. SQLite keeps readers and writers apart.
    - If there is no log, the file is read as immutable. Writers do not notice such a reader, so the
      state of the file must be compared after each read.
    - If the log has no index, as in a copy, SQLite would have to create one. So file and log are
      copied to the system's folder for temporary files.
    """

    def __init__(self, path: str, shown: str) -> None:
        self._path = path
        self._shown = shown
        self._copy: TemporaryDirectory[str] | None = None
        self._copied: Stamp | None = None

    def stamp(self) -> Stamp:
        """Return the present state of the file and its log."""
        return self.state(), _state(f"{self._path}-wal"), self._is_shared()

    def state(self) -> Stamp:
        """Return the present state of the file alone."""
        return _state(self._path)

    def _is_shared(self) -> bool:
        # A shorter index is left by a process that had no disk space for it.
        return _state(f"{self._path}-shm")[1] >= _INDEX_BYTES

    def connect(self) -> tuple[str, Stamp | None, Stamp | None]:
        """Return the address to connect to, the file's stamp, and the state that reads rely on.

        The state is None if SQLite itself protects reads. Raises StorageError if there is no file,
        or if it cannot be copied.
        """
        if not os.path.exists(self._path):
            raise StorageError(
                f"there is no catalog {self._shown}, and read_only=True does not create one"
            )
        if self._is_shared():
            return f"file:{quote(self._path)}?mode=ro&readonly_shm=1", None, None
        stamp = self.stamp()
        _, log_bytes, _ = _state(f"{self._path}-wal")
        if not log_bytes:
            return f"file:{quote(self._path)}?immutable=1", stamp, self.state()
        return f"file:{quote(self._copied_path(stamp))}", stamp, None

    def _copied_path(self, stamp: Stamp) -> str:
        if self._copy is None or self._copied != stamp:
            self.close()
            self._copy = TemporaryDirectory(prefix="lakebed-read-")
            try:
                for end in ("", "-wal"):
                    shutil.copyfile(self._path + end, self._target(end))
            except OSError as error:
                self.close()
                raise StorageError(
                    f"cannot copy the catalog {self._shown}, whose log has no index, to a "
                    f"temporary folder: {error.strerror}"
                ) from error
            self._copied = stamp
        return self._target("")

    def _target(self, end: str) -> str:
        assert self._copy is not None
        return os.path.join(self._copy.name, f"catalog.db{end}")

    def close(self) -> None:
        """Remove the copy, if one was made."""
        copy, self._copy = self._copy, None
        if copy is not None:
            copy.cleanup()

    def leave(self) -> None:
        """Forget the copy, which belongs to another process."""
        copy, self._copy = self._copy, None
        if copy is not None:
            copy._finalizer.detach()  # type: ignore[attr-defined]


class _Reader(SQLiteConnection):
    """A connection, the stamp of the file when it was made, and the state that its reads rely
    on."""

    stamp: Stamp | None = None
    state: Stamp | None = None


class SQLiteReader(SQLiteExecutor):
    """A SQLite file that is read and never changed. Writes raise ReadOnlyError."""

    read_only = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        clock: Clock = system_clock,
        mask: Callable[[str], str],
    ) -> None:
        self._untouched = UntouchedFile(os.fspath(path), mask(os.fspath(path)))
        super().__init__(path, lock_timeout=0.0, clock=clock, mask=mask)

    def _make_connection(self) -> _Reader:
        uri, stamp, state = self._untouched.connect()
        connection: _Reader | None = None
        try:
            connection = sqlite3.connect(
                uri,
                timeout=0,
                isolation_level=None,
                check_same_thread=False,
                factory=_Reader,
                uri=True,
            )
            connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            connection.execute("PRAGMA query_only = ON")
        except sqlite3.Error as error:
            if connection is not None:
                connection.close()
            raise self.translate(error) from error
        connection.stamp, connection.state = stamp, state
        self._open.add(connection)
        return connection

    def connection(self) -> _Reader:
        """Return the calling thread's connection.

        It is a new one if the file was opened as immutable and others have written since.
        """
        connection = super().connection()
        assert isinstance(connection, _Reader)
        if connection.stamp is not None and connection.stamp != self._untouched.stamp():
            del self._local.owner
            return self.connection()
        return connection

    def is_torn(self, connection: _Reader) -> bool:
        """Return whether a file that was opened as immutable has changed.

        Then a read may have mixed two moments. A new log beside the file does not matter.
        """
        return connection.state is not None and connection.state != self._untouched.state()

    def fetch(self, sql: str, params: Params | Row) -> Sequence[Row]:
        for _ in range(_CHANGES):
            connection = self.connection()
            try:
                with connection.lock:
                    rows = connection.execute(sql, params).fetchall()
            except sqlite3.Error as error:
                if not self.is_torn(connection):
                    raise self.translate(error) from error
            else:
                if not self.is_torn(connection):
                    return rows
        raise self.overtaken()

    def overtaken(self) -> CatalogError:
        """Return the error for a read without locks during which others wrote."""
        return CatalogError(
            f"the catalog {self._shown} was written to while it was read with read_only=True: "
            "read it again"
        )

    def _read(self) -> SQLiteTransaction:
        return _Reading(self, READ, self.connection().lock, self._lock_timeout)

    def _write(self, wait: float) -> SQLiteTransaction:
        del wait
        raise refused(self._shown)

    def after_fork_in_child(self, connections: list[SQLiteConnection]) -> None:
        self._untouched.leave()
        super().after_fork_in_child(connections)

    def close(self) -> None:
        super().close()
        self._untouched.close()


class _Reading(SQLiteTransaction):
    """A transaction that fails if others wrote what it was reading."""

    __slots__ = ()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)
        executor, connection = self._connections, self._connection
        assert isinstance(executor, SQLiteReader)
        assert isinstance(connection, _Reader)
        if executor.is_torn(connection) and not isinstance(error, LakebedError):
            raise executor.overtaken()


def _state(path: str) -> tuple[int, int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return 0, 0, 0
    return found.st_ino, found.st_size, found.st_mtime_ns
