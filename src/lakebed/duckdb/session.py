"""A DuckDB database that sees one lake: its limits, its files, and its end."""

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
"""The schema of loaded rows. It is on no search path: a name without a schema is none of them."""

_CLOSED = "the lake, or its query session, is closed: take a result's rows before, as with arrow()"
_MEMORY = (
    "; query_settings(memory_limit=…) gives queries more memory, spill_limit=… more room on the "
    "disk, and fewer threads= need less of both"
)
_SPILLED = 10_000_000_000  # bytes at most, unless told otherwise
_SHARE = 10  # … and at most one tenth of what is free

T = TypeVar("T")


class QuerySettings(NamedTuple):
    """What a session may use.

    `threads`: None for one a core. `memory_limit`: such as `"2GB"`, None for DuckDB's own, four
    fifths of the machine's. `temp_directory`: the folder in which a session makes one of its own
    for what does not fit into memory; None for the system's. `timeout`: the seconds that a query
    may work, None for as long as it takes. `spill_limit`: how much may lie in that folder; None for
    10 GB, or a tenth of what is free there if that is less.
    """

    threads: int | None = None
    memory_limit: str | None = None
    temp_directory: str | os.PathLike[str] | None = None
    timeout: float | None = None
    spill_limit: str | None = None


class Session:
    """A DuckDB database in memory, with as many connections as are asked for.

    A closed one (the default) reads the files of the lake that were granted to a query, and nothing
    else: no other file, no network, no change of its settings. What its connections may *say* is
    for `lakebed.duckdb.statement` to judge: DuckDB has table functions that do harm within these
    limits. `judge` is a connection for that, to a database that has no files at all.
    Safe to use from any thread; each connection is for one thread at a time. QueryError if the
    settings are none that DuckDB takes.
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
        """The packs whose values have been found to have their hashes."""
        self.timeout = settings.timeout
        self._attended = Attended()
        try:
            self._folder = tempfile.mkdtemp(prefix="lakebed-query-", dir=settings.temp_directory)
            # For who never closes the lake: it goes with the process at the latest.
            weakref.finalize(self, _remove, self._folder, self.pid)
            self._database = duckdb.connect(":memory:", config=self._config(settings))
            # As a part of the configuration DuckDB shows it and does not keep to it.
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
        # Files never change: what DuckDB keeps of them needs no look whether it is still true.
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
            "python_enable_replacements": "false",  # else a query sees the program's variables
        }
        if settings.threads is not None:
            wanted["threads"] = settings.threads
        if settings.memory_limit is not None:
            wanted["memory_limit"] = settings.memory_limit
        return wanted

    def connect(self) -> duckdb.DuckDBPyConnection:
        """A connection of its own to the session's database; give it to `release` in the end."""
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
        """A connection to a database without files, which reads what a query says."""
        with self._closing:
            self.check_open()
            return self._judge.cursor()

    def attend(
        self,
        connection: duckdb.DuckDBPyConnection,
        call: Callable[[], T],
        left: Callable[[], object] = lambda: None,
    ) -> T:
        """The result of a call that uses the connection and may take long: the caller can leave,
        for which `left` is called."""
        return self._attended.run(connection, call, left)

    def allowance(self) -> Allowance:
        """The time that a query may take."""
        return Allowance(self.timeout)

    @property
    def closed(self) -> bool:
        """Whether it has been closed."""
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
            self._database.close()  # waits for all that runs on it
            shutil.rmtree(folder or "", ignore_errors=True)

        self._attended.end(end)

    def _remove_folder(self) -> None:
        if self._folder is not None:
            Path(self._folder).rmdir()

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Errors of DuckDB leave as QueryError."""
        try:
            yield
        except duckdb.Error as error:
            raise self.explain(error) from error

    def check_open(self) -> None:
        """QueryError once the session is closed."""
        if self.closed:
            raise QueryError(_CLOSED)

    def explain(self, error: Exception) -> LakebedError:
        """The error of ours for one of DuckDB's."""
        if self.closed:
            return QueryError(_CLOSED)
        text = str(error)
        if self.files is not None:
            gone = self.files.missing(text)
            if gone is not None:
                return QueryError(
                    f"the query has outlived the grace period: {gone} has been collected since it "
                    "began. Run it again"
                )
            text = self.files.shown(text)
        if isinstance(error, duckdb.OutOfMemoryException):
            # What DuckDB proposes are settings, which are locked.
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
    if os.getpid() == pid:  # not in a child, which inherits what is to be done at the end
        shutil.rmtree(folder, ignore_errors=True)
