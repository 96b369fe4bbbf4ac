"""A DuckDB database for the queries over one lake: its limits, its files, and its end."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

import duckdb

from lakebed.duckdb.filesystem import PROTOCOL, Files, ReadOnlyFiles
from lakebed.duckdb.limits import Allowance, Attended
from lakebed.errors import LakebedError, QueryError

ROWS = "lakebed_rows"
"""The schema of loaded rows. It is not on the search path, so a name without a schema never means
one of its tables."""

_CLOSED = (
    "the lake or its query session is closed: fetch the rows of a result before closing it, for "
    "example with arrow()"
)
_MEMORY = (
    "; give queries more memory with query_settings(memory_limit=…), or more disk space with "
    "spill_limit=…; with fewer threads=…, they need less of both"
)
_SPILLED = 10_000_000_000  # the default limit in bytes
_SHARE = 10  # the limit is at most a tenth of the free space

T = TypeVar("T")


class QuerySettings(NamedTuple):
    """The resources that a session may use.

    `threads`: the number of threads. None: one for each core.
    `memory_limit`: such as `"2GB"`. None: DuckDB's default, four fifths of the machine's memory.
    `temp_directory`: the folder in which the session creates its own folder, for data that does not
    fit into memory. None: the system's folder for temporary files.
    `timeout`: the seconds that a query may work. None: no limit.
    `spill_limit`: the most that the session's folder may hold, such as `"50GB"`. None: 10 GB, or a
    tenth of the free space there if that is less.
    """

    threads: int | None = None
    memory_limit: str | None = None
    temp_directory: str | os.PathLike[str] | None = None
    timeout: float | None = None
    spill_limit: str | None = None


class Session:
    """A DuckDB database in memory, with any number of connections.

    Without `external_access`, it can read only the files of the lake that were granted to a query.
    It can read no other file and use no network, and its settings cannot be changed. Because
    DuckDB has table functions that can do harm within these limits, `lakebed.duckdb.statement`
    checks the text of queries. `judge` returns a connection for this check, to a database without
    files.

    A session can be used from any thread, but each connection by one thread at a time. Raises
    QueryError if DuckDB refuses the settings.
    """

    def __init__(
        self,
        files: Files | None,
        settings: QuerySettings = QuerySettings(),  # noqa: B008 - immutable
        *,
        external_access: bool = False,
    ) -> None:
        self.pid = os.getpid()
        self._closing = threading.RLock()
        self._open: set[duckdb.DuckDBPyConnection] = set()
        self._folder: str | None = None
        self.files = None if files is None else ReadOnlyFiles(files)
        self.sound: set[str] = set()
        """The packs whose values were checked against their hashes."""
        self.timeout = settings.timeout
        self._attended = Attended()
        try:
            self._folder = tempfile.mkdtemp(prefix="lakebed-query-", dir=settings.temp_directory)
            # If the lake is never closed, the folder is removed when the process exits.
            weakref.finalize(self, _remove, self._folder, self.pid)
            self._database = duckdb.connect(":memory:", config=self._config(settings))
            # If this were part of the configuration, DuckDB would show it but not enforce it.
            spilled = settings.spill_limit or _spill_limit(self._folder)
            self._database.execute("SET max_temp_directory_size = ?", [spilled])
            self._judge = duckdb.connect(":memory:", config=_BARE)
        except (duckdb.Error, OSError) as error:
            self._remove_folder()
            raise QueryError(f"a query session cannot start: {error}") from error
        if self.files is not None:
            self._database.register_filesystem(self.files)
        self._database.execute(f"CREATE SCHEMA {ROWS}")
        self._database.execute("SET GLOBAL TimeZone = 'UTC'")
        # Files never change, so DuckDB need not check whether its caches are still valid.
        self._database.execute("SET GLOBAL parquet_metadata_cache = true")
        self._database.execute("SET GLOBAL validate_external_file_cache = 'NO_VALIDATION'")
        if not external_access:
            self._database.execute(f"SET allowed_directories = ['{PROTOCOL}://']")
            self._database.execute("SET enable_external_access = false")
            self._database.execute("SET lock_configuration = true")

    def _config(self, settings: QuerySettings) -> dict[str, str | bool | int | float | list[str]]:
        wanted: dict[str, str | bool | int | float | list[str]] = {
            "temp_directory": self._folder or "",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "python_enable_replacements": "false",  # hides the program's variables from queries
        }
        if settings.threads is not None:
            wanted["threads"] = settings.threads
        if settings.memory_limit is not None:
            wanted["memory_limit"] = settings.memory_limit
        return wanted

    def connect(self) -> duckdb.DuckDBPyConnection:
        """Return a new connection to the session's database. Pass it to `release` when done."""
        with self._closing:
            self.check_open()
            connection = self._database.cursor()
            self._open.add(connection)
        return connection

    def release(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Close a connection."""
        with self._closing:
            if connection not in self._open:
                return
            self._open.discard(connection)
        self._attended.close(connection)

    def judge(self) -> duckdb.DuckDBPyConnection:
        """Return a connection to a database without files, which parses queries."""
        with self._closing:
            self.check_open()
            return self._judge.cursor()

    def attend(
        self,
        connection: duckdb.DuckDBPyConnection,
        call: Callable[[], T],
        left: Callable[[], object] = lambda: None,
    ) -> T:
        """Return the result of a call that uses the connection and may take long. If the caller
        stops waiting, `left` is called."""
        return self._attended.run(connection, call, left)

    def allowance(self) -> Allowance:
        """Return the time limit of one query."""
        return Allowance(self.timeout)

    @property
    def closed(self) -> bool:
        """Whether the session has been closed."""
        return self._folder is None

    def close(self) -> None:
        """Close all connections, and remove the session's temporary folder."""
        with self._closing:
            if self.closed:
                return
            folder, self._folder = self._folder, None
            for connection in self._open:
                connection.interrupt()
                self._attended.close(connection)
            self._open.clear()
            self._judge.close()

        def end() -> None:
            self._database.close()  # waits for everything that runs on it
            shutil.rmtree(folder or "", ignore_errors=True)

        self._attended.end(end)

    def _remove_folder(self) -> None:
        if self._folder is not None:
            Path(self._folder).rmdir()

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Open a block that turns errors of DuckDB into QueryError."""
        try:
            yield
        except duckdb.Error as error:
            raise self.explain(error) from error

    def check_open(self) -> None:
        """Raise QueryError if the session is closed."""
        if self.closed:
            raise QueryError(_CLOSED)

    def explain(self, error: Exception) -> LakebedError:
        """Return our own error for one of DuckDB's."""
        if self.closed:
            return QueryError(_CLOSED)
        text = str(error)
        if self.files is not None:
            gone = self.files.missing(text)
            if gone is not None:
                return QueryError(
                    f"the query took longer than the grace period: {gone} was collected after the "
                    "query began; run it again"
                )
            text = self.files.shown(text)
        if isinstance(error, duckdb.OutOfMemoryException):
            # DuckDB suggests to change settings, but they are locked.
            text = text.partition("\n")[0] + _MEMORY
        return QueryError(text)


_BARE: dict[str, str | bool | int | float | list[str]] = {
    "threads": 1,
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
}


def _spill_limit(folder: str) -> str:
    free = shutil.disk_usage(folder).free
    return f"{min(_SPILLED, free // _SHARE)} bytes"


def _remove(folder: str, pid: int) -> None:
    if os.getpid() == pid:  # not in a forked child, which inherits the finalizer
        shutil.rmtree(folder, ignore_errors=True)
