"""A DuckDB database that sees one lake: its limits, its files, and its end."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import duckdb

from lakebed.errors import LakebedError, QueryError
from lakebed.query.filesystem import PROTOCOL, Files, ReadOnlyFiles

_CLOSED = "the lake, or its query session, is closed: take a result's rows before, as with arrow()"


class QuerySettings(NamedTuple):
    """What a session may use.

    `threads`: None for one a core. `memory_limit`: such as `"2GB"`, None for DuckDB's own, four
    fifths of the machine's. `temp_directory`: the folder in which a session makes one of its own
    for what does not fit into memory; None for the system's.
    """

    threads: int | None = None
    memory_limit: str | None = None
    temp_directory: str | os.PathLike[str] | None = None


class Session:
    """A DuckDB database in memory, with as many connections as are asked for.

    A closed one (the default) reads the objects of the lake as `lakebed://…` and nothing else: no
    file, no network, no change of its settings. What its connections may *say* is for
    `lakebed.query.statement` to judge: DuckDB has table functions that do harm within these limits.
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
        self._closing = threading.Lock()
        self._open: set[duckdb.DuckDBPyConnection] = set()
        self._folder: str | None = None
        self.files = None if files is None else ReadOnlyFiles(files)
        self.sound: set[str] = set()
        """The packs whose values have been found to have their hashes."""
        try:
            self._folder = tempfile.mkdtemp(prefix="lakebed-query-", dir=settings.temp_directory)
            # For who never closes the lake: it goes with the process at the latest.
            weakref.finalize(self, _remove, self._folder, self.pid)
            self._database = duckdb.connect(":memory:", config=self._config(settings))
        except (duckdb.Error, OSError) as error:
            self._remove_folder()
            raise QueryError(f"a query session cannot start: {error}") from error
        if self.files is not None:
            self._database.register_filesystem(self.files)
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
            self._open.discard(connection)
        connection.close()

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
                connection.close()
            self._open.clear()
            self._database.close()
        shutil.rmtree(folder or "", ignore_errors=True)

    def _remove_folder(self) -> None:
        if self._folder is not None:
            Path(self._folder).rmdir()

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Errors of DuckDB leave as QueryError."""
        try:
            yield
        except duckdb.Error as error:
            raise self._explain(error) from error

    def check_open(self) -> None:
        """QueryError once the session is closed."""
        if self.closed:
            raise QueryError(_CLOSED)

    def forget_missing(self) -> None:
        """That a file is gone has been dealt with."""
        if self.files is not None:
            self.files.missing = None

    def _explain(self, error: duckdb.Error) -> LakebedError:
        if self.closed:
            return QueryError(_CLOSED)
        if self.files is not None and self.files.missing is not None:
            gone, self.files.missing = self.files.missing, None
            return QueryError(
                f"the query has outlived the grace period: {gone} has been collected since it "
                "began. Run it again"
            )
        return QueryError(str(error))


def _remove(folder: str, pid: int) -> None:
    if os.getpid() == pid:  # not in a child, which inherits what is to be done at the end
        shutil.rmtree(folder, ignore_errors=True)
