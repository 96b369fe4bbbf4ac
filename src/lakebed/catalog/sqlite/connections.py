"""The connections to a SQLite file: one for each thread, safe to fork."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from itertools import count
from typing import Any

from lakebed.catalog.identity import Identity, identity_of_file
from lakebed.catalog.opened import Durability
from lakebed.catalog.sqlite.errors import explain, is_busy, locked
from lakebed.catalog.statements.executor import Params, Row
from lakebed.catalog.statements.hiding import Mask
from lakebed.clock import Clock, system_clock
from lakebed.errors import CatalogError, LakebedError
from lakebed.leaving import acquire, has_left
from lakebed.observing import tell

PAGE_BYTES = 2048  # smaller pages make smaller commits: docs/design/sqlite.md
CACHE_KIB = 8192  # most of the pages that a search needs: docs/design/search.md
CHECKPOINT_PAGES = 8000  # a checkpoint costs two fsyncs, so it waits for about 16 MB of log
READ, WRITE = "BEGIN", "BEGIN IMMEDIATE"
_SOON, _LATER = 0.001, 0.02  # seconds between two tries to take a lock that others hold

_numbers = count()  # of the connections that this process has made
_connecting = threading.Lock()  # held while a connection is made, so that a fork waits


class SQLiteConnection(sqlite3.Connection):
    """A connection that the executor can refer to weakly.

    Its thread holds `lock` while it reads, so that a fork waits.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.lock = threading.RLock()
        self.number = next(_numbers)

    def __del__(self) -> None:
        if hasattr(self, "lock"):  # the connection was opened
            self.close()  # otherwise Python 3.13 warns


class _Owner:
    """Belongs to one thread, and closes its connection when the thread ends.

    The connection is part of a reference cycle. Without this class it would stay open until a
    garbage collection.
    """

    __slots__ = ("connection",)

    def __init__(self, connection: SQLiteConnection) -> None:
        self.connection = connection

    def __del__(self) -> None:
        self.connection.close()


class SQLiteConnections:
    """The connections to a SQLite file, or to a private database in memory if `path` is None.

    `lock_timeout` is in seconds. With durability "normal", a commit survives the death of the
    process. With "full", it also survives a loss of power.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None,
        *,
        durability: Durability = "normal",
        lock_timeout: float = 60.0,
        clock: Clock = system_clock,
        mask: Mask = str,
    ) -> None:
        self.now = clock
        self._path = path
        self._shown = ":memory:" if path is None else mask(os.fspath(path))
        self._durability = durability
        self._lock_timeout = lock_timeout
        self._closed = False
        self._start()
        _all.add(self)

    def _start(self) -> None:
        self._local = threading.local()
        self._open: weakref.WeakSet[SQLiteConnection] = weakref.WeakSet()
        self._gate = threading.Lock()
        # A database in memory has one connection. Every use of it takes the gate.
        self._shared = self._connect() if self._path is None else None

    def identity(self) -> Identity | None:
        """Return the place of the file, or None for a database in memory."""
        return None if self._path is None else identity_of_file(self._path)

    # A process that forks inside SQLite leaves SQLite's mutexes locked for ever in the child. Also,
    # SQLite remembers in the process which file locks it holds. A child inherits that memory but
    # not the locks. It would work without locks, and lose commits when the parent closes. So a fork
    # waits until no thread is inside SQLite. The child closes the inherited connections before it
    # opens its own. Between transactions, in WAL mode, such a close touches nothing that is shared,
    # because the parent's locks prevent it.

    def before_fork(self) -> list[SQLiteConnection]:
        """Wait for the transactions and reads of all threads, and let no new ones begin."""
        self._gate.acquire()
        connections = list(self._open)
        for connection in connections:
            connection.lock.acquire()
        return connections

    def after_fork_in_parent(self, connections: list[SQLiteConnection]) -> None:
        """Let all threads continue."""
        for connection in connections:
            connection.lock.release()
        self._gate.release()

    def after_fork_in_child(self, connections: list[SQLiteConnection]) -> None:
        """Close the inherited connections. New ones are opened when they are needed.

        A database in memory stays, as a copy.
        """
        if self._path is None:
            self.after_fork_in_parent(connections)
            return
        for connection in connections:
            connection.close()
        self._start()

    def _connect(self) -> SQLiteConnection:
        with _connecting:
            return self._make_connection()

    def _make_connection(self) -> SQLiteConnection:
        connection: SQLiteConnection | None = None
        try:
            connection = sqlite3.connect(
                self._path or ":memory:",
                timeout=self._lock_timeout,
                isolation_level=None,
                check_same_thread=False,
                factory=SQLiteConnection,
            )
            connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            if self._path is not None:
                self._use_log(connection)
            connection.execute("PRAGMA foreign_keys = ON")
            # Deleted values are overwritten. No cost of this could be measured.
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute("PRAGMA busy_timeout = 0")  # `_wait` does the waiting from here on
        except sqlite3.Error as error:
            if connection is not None:
                connection.close()  # otherwise its locks would last as long as the error
            raise self.translate(error) from error
        self._open.add(connection)
        return connection

    def _use_log(self, connection: sqlite3.Connection) -> None:
        """Switch to WAL, unless the database belongs to another program, which must not be
        changed."""
        tables = table_names(connection)
        level = "FULL" if self._durability == "full" else "NORMAL"
        # An empty file has nothing to lose. At durability "normal", the first checkpoint syncs what
        # the switch writes, like all commits before it.
        early = level if tables or level == "FULL" else "OFF"
        connection.execute(f"PRAGMA synchronous = {early}")
        if not is_foreign(tables):
            self._wait(connection, "PRAGMA journal_mode = WAL", {}, self._lock_timeout)
        connection.execute(f"PRAGMA synchronous = {level}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")

    def _wait(
        self, connection: sqlite3.Connection, sql: str, params: Params | Row, wait: float
    ) -> list[Row]:
        """Return the rows of a statement. Repeat it for up to `wait` seconds while others hold a
        lock.

        SQLite's own waiting tries less and less often, in the end ten times a second, even if the
        lock is free (docs/design/sqlite.md). It also does not wait for the lock that a switch to
        WAL needs.
        """
        start, busy = time.monotonic(), False
        while True:
            try:
                rows = connection.execute(sql, params).fetchall()
                if busy:
                    tell("lock.wait", time.monotonic() - start, "process")
                return rows
            except sqlite3.OperationalError as error:
                waited = time.monotonic() - start
                if not is_busy(error) or waited >= wait or has_left():
                    raise
                busy = True
                time.sleep(min(wait - waited, _LATER, max(_SOON, waited / 20)))

    def connection(self) -> SQLiteConnection:
        """Return the calling thread's connection."""
        if self._closed:
            raise CatalogError("the lake is closed")
        if self._shared is not None:
            return self._shared
        try:
            owner: _Owner = self._local.owner
        except AttributeError:
            owner = self._local.owner = _Owner(self._connect())
        return owner.connection

    def lock(self, gate: threading.Lock | threading.RLock, wait: float) -> float:
        """Queue with the other threads of this process. Return how many seconds of `wait` are left.

        Raises LockTimeoutError if the gate is not free within `wait` seconds.
        """
        if gate.acquire(blocking=False):
            return wait
        start = time.monotonic()
        if not acquire(gate, wait):
            raise locked(self._lock_timeout)
        waited = time.monotonic() - start
        tell("lock.wait", waited, "thread")
        return max(0.0, wait - waited)

    def begin(self, connection: sqlite3.Connection, sql: str, wait: float) -> None:
        """Start a transaction. Wait up to `wait` seconds for other processes."""
        self._wait(connection, sql, {}, wait)
        if sql == READ:  # read at once, so that no later statement has to wait
            self._wait(connection, "SELECT 1 FROM sqlite_master LIMIT 1", {}, wait)

    def close(self) -> None:
        self._closed = True
        with self._gate:
            for connection in list(self._open):
                with connection.lock:  # closing a connection during a read crashes the interpreter
                    connection.close()

    def translate(self, error: sqlite3.Error) -> LakebedError:
        """Return the error of `lakebed.errors` for an error of sqlite3."""
        if self._closed:
            return CatalogError("the lake is closed")
        return explain(error, self._shown, self._lock_timeout)


def table_names(connection: sqlite3.Connection) -> set[str]:
    """Return the names of the tables of a database."""
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    return {name for (name,) in rows}


def is_foreign(tables: set[str]) -> bool:
    """Return whether a database with these tables belongs to another program."""
    return bool(tables) and "lakebed_meta" not in tables


_all: weakref.WeakSet[SQLiteConnections] = weakref.WeakSet()
_quiet: list[tuple[SQLiteConnections, list[SQLiteConnection]]] = []


def _before_fork() -> None:
    _connecting.acquire()
    _quiet.extend((each, each.before_fork()) for each in list(_all))


def _after_fork_in_parent() -> None:
    for each, connections in _quiet:
        each.after_fork_in_parent(connections)
    _quiet.clear()
    _connecting.release()


def _after_fork_in_child() -> None:
    _connecting.release()
    for each, connections in _quiet:
        each.after_fork_in_child(connections)
    _quiet.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
