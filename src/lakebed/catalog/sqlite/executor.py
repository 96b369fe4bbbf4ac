"""SQLite through the standard library: one connection a thread, one writer at a time."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import count
from types import TracebackType
from typing import TYPE_CHECKING, Any

from lakebed.catalog.opened import Durability
from lakebed.catalog.sqlite.errors import explain, is_busy, locked
from lakebed.catalog.sqlite.grouping import Grouping
from lakebed.catalog.sqlite.scrubbing import scrub_sqlite
from lakebed.catalog.statements.executor import Params, Row, T, Transaction
from lakebed.catalog.statements.hiding import Mask
from lakebed.clock import Clock, system_clock
from lakebed.errors import CatalogError, LakebedError
from lakebed.leaving import acquire, has_left

if TYPE_CHECKING:
    import pyarrow as pa

PAGE_BYTES = 2048  # smaller pages make smaller commits: docs/design/sqlite.md
CACHE_KIB = 8192  # most of what looking up a search's matches touches: docs/design/search.md
CHECKPOINT_PAGES = 8000  # a checkpoint costs two fsyncs; about 16 MB of log pay for them
READ, WRITE = "BEGIN", "BEGIN IMMEDIATE"
_SOON, _LATER = 0.001, 0.02  # seconds between two looks at a lock that others hold

_numbers = count()  # of the connections that this process has made
_connecting = threading.Lock()  # held while a connection is made: a fork waits for it


class _Connection(sqlite3.Connection):
    """A connection that the executor can hold weakly.

    `lock` is held while its thread reads: a fork waits for it.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.lock = threading.RLock()
        self.number = next(_numbers)

    def __del__(self) -> None:
        if hasattr(self, "lock"):  # it was opened
            self.close()  # else Python 3.13 warns


class _Owner:
    """What a thread holds: closes its connection when the thread ends. (The connection itself is
    part of a reference cycle, so it would stay open until the garbage collector comes by.)"""

    __slots__ = ("connection",)

    def __init__(self, connection: _Connection) -> None:
        self.connection = connection

    def __del__(self) -> None:
        self.connection.close()


class SQLiteExecutor:
    """A SQLite file, or a private database in memory if `path` is None.

    `lock_timeout` is in seconds. With durability "normal" a commit survives the death of the
    process, with "full" also a loss of power.
    """

    dialect = "sqlite"
    schema = None
    read_only = False

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
        _executors.add(self)

    def _start(self) -> None:
        self._local = threading.local()
        self._open: weakref.WeakSet[_Connection] = weakref.WeakSet()
        self._gate = threading.Lock()
        self._grouping = self._group()
        # A database in memory is one connection, and its every use takes the gate.
        self._shared = self._connect() if self._path is None else None

    # A process that forks inside SQLite leaves its child SQLite's mutexes locked for ever. And
    # SQLite remembers per process which file locks it holds, while a child inherits that memory but
    # not the locks: it would work without them, and lose commits when the parent closes. So a fork
    # waits until no thread is inside SQLite, and the child closes what it inherited before it opens
    # connections of its own. (Between transactions, in WAL mode, such a close touches nothing that
    # is shared: it finds the parent's locks in its way.)

    def before_fork(self) -> list[_Connection]:
        """Wait for the transactions and reads of all threads, and keep new ones waiting."""
        self._gate.acquire()
        connections = list(self._open)
        for connection in connections:
            connection.lock.acquire()
        return connections

    def after_fork_in_parent(self, connections: list[_Connection]) -> None:
        """Go on."""
        for connection in connections:
            connection.lock.release()
        self._gate.release()

    def after_fork_in_child(self, connections: list[_Connection]) -> None:
        """Open connections anew when asked; what is in memory stays, as a copy."""
        if self._path is None:
            self.after_fork_in_parent(connections)
            self._grouping = self._group()
            return
        for connection in connections:
            connection.close()
        self._start()

    def _connect(self) -> _Connection:
        with _connecting:
            return self._make_connection()

    def _make_connection(self) -> _Connection:
        connection: _Connection | None = None
        try:
            connection = sqlite3.connect(
                self._path or ":memory:",
                timeout=self._lock_timeout,
                isolation_level=None,
                check_same_thread=False,
                factory=_Connection,
            )
            connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            if self._path is not None:
                self._use_log(connection)
            connection.execute("PRAGMA foreign_keys = ON")
            # Deleted values are overwritten, which costs nothing that could be measured.
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute("PRAGMA busy_timeout = 0")  # from now on `_wait` waits
        except sqlite3.Error as error:
            if connection is not None:
                connection.close()  # its locks would last as long as the error is kept
            raise self.translate(error) from error
        self._open.add(connection)
        return connection

    def _use_log(self, connection: sqlite3.Connection) -> None:
        """Switch to WAL, unless the database is somebody else's: then nothing may be changed."""
        tables = table_names(connection)
        level = "FULL" if self._durability == "full" else "NORMAL"
        # An empty file has nothing to lose. What the switch writes to it at durability normal is
        # synced by the first checkpoint, as all commits before that are.
        early = level if tables or level == "FULL" else "OFF"
        connection.execute(f"PRAGMA synchronous = {early}")
        if not is_foreign(tables):
            self._wait(connection, "PRAGMA journal_mode = WAL", {}, self._lock_timeout)
        connection.execute(f"PRAGMA synchronous = {level}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")

    def _wait(
        self, connection: sqlite3.Connection, sql: str, params: Params | Row, wait: float
    ) -> list[Row]:
        """The rows of a statement, run again while others hold a lock that it needs, up to `wait`
        seconds. SQLite would look ever more seldom, in the end ten times a second, while the lock
        is free (docs/design/sqlite.md), and not wait at all for the one that a switch to WAL needs.
        """
        start = time.monotonic()
        while True:
            try:
                return connection.execute(sql, params).fetchall()
            except sqlite3.OperationalError as error:
                waited = time.monotonic() - start
                if not is_busy(error) or waited >= wait or has_left():
                    raise
                time.sleep(min(wait - waited, _LATER, max(_SOON, waited / 20)))

    def connection(self) -> _Connection:
        """The calling thread's connection."""
        if self._closed:
            raise CatalogError("the lake is closed")
        if self._shared is not None:
            return self._shared
        try:
            owner: _Owner = self._local.owner
        except AttributeError:
            owner = self._local.owner = _Owner(self._connect())
        return owner.connection

    def fetch(self, sql: str, params: Params | Row) -> Sequence[Row]:
        connection = self.connection()
        try:
            with connection.lock if self._shared is None else self._gate:
                try:
                    return connection.execute(sql, params).fetchall()
                except sqlite3.OperationalError as error:
                    if not is_busy(error):
                        raise
                return self._wait(connection, sql, params, self._lock_timeout)
        except sqlite3.Error as error:
            raise self.translate(error) from error

    def stamp(self) -> int:
        return self.now()

    def repeat(self, work: Callable[[], T]) -> T:
        return work()  # it waits for its locks itself, and nothing else passes

    def read(self) -> SQLiteTransaction:
        gate = self._gate if self._shared is not None else self.connection().lock
        return SQLiteTransaction(self, READ, gate, self._lock_timeout)

    def write(self, *, patient: bool = True, exclusive: bool = False) -> SQLiteTransaction:
        del exclusive  # SQLite knows no other writers
        return self._write(self._lock_timeout if patient else 0.0)

    def _write(self, wait: float) -> SQLiteTransaction:
        return SQLiteTransaction(self, WRITE, self._gate, wait)

    def _group(self) -> Grouping:
        return Grouping(self._write, lambda: locked(self._lock_timeout), self._lock_timeout)

    def commit(self, work: Callable[[Transaction], T]) -> T:
        """The result of `work` in a committed write transaction, which other threads may share."""
        if self._grouping.busy or self._gate.locked():
            return self._grouping.run(work)
        with self.write() as tx:
            return work(tx)

    def lock(self, gate: threading.Lock | threading.RLock, wait: float) -> float:
        """Queue with the other threads of this process; the seconds left of `wait`."""
        if gate.acquire(blocking=False):
            return wait
        start = time.monotonic()
        if not acquire(gate, wait):
            raise locked(self._lock_timeout)
        return max(0.0, wait - (time.monotonic() - start))

    def begin(self, connection: sqlite3.Connection, sql: str, wait: float) -> None:
        """Start a transaction, and wait for other processes up to `wait` seconds."""
        self._wait(connection, sql, {}, wait)
        if sql == READ:  # begin to read, so that no later statement has to wait
            self._wait(connection, "SELECT 1 FROM sqlite_master LIMIT 1", {}, wait)

    def scrub(self, *, thorough: bool = True) -> Sequence[str]:
        if self._path is None:
            return ()
        return scrub_sqlite(
            lambda sql: self.fetch(sql, {}), self._path, self._lock_timeout, thorough=thorough
        )

    def close(self) -> None:
        self._closed = True
        with self._gate:
            for connection in list(self._open):
                with connection.lock:  # a connection closed under a read crashes the interpreter
                    connection.close()

    def translate(self, error: sqlite3.Error) -> LakebedError:
        """The error of ours that says what happened."""
        if self._closed:
            return CatalogError("the lake is closed")
        return explain(error, self._shown, self._lock_timeout)


class SQLiteTransaction:
    """One transaction on the thread's connection; see `Transaction`."""

    __slots__ = ("_begin", "_connection", "_cursor", "_executor", "_gate", "_wait")

    def __init__(
        self,
        executor: SQLiteExecutor,
        begin: str,
        gate: threading.Lock | threading.RLock,
        wait: float,
    ) -> None:
        self._executor = executor
        self._begin = begin
        self._gate = gate
        self._wait = wait

    def __enter__(self) -> SQLiteTransaction:
        executor = self._executor
        self._connection = executor.connection()
        self._cursor = self._connection.cursor()  # one for all statements, which come one by one
        wait = executor.lock(self._gate, self._wait)
        try:
            executor.begin(self._connection, self._begin, wait)
        except BaseException as error:
            self._gate.release()
            if isinstance(error, sqlite3.Error):
                raise executor.translate(error) from error
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self._cursor.execute("COMMIT")
        except BaseException as failure:
            error = failure
            raise
        finally:
            try:
                if error is not None and self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
            finally:
                self._gate.release()
                if isinstance(error, sqlite3.Error):
                    raise self._executor.translate(error) from error

    def now(self) -> int:
        return self._executor.now()

    def one(self, sql: str, params: Params) -> Row | None:
        row: Row | None = self._cursor.execute(sql, params).fetchone()
        return row

    def all(self, sql: str, params: Params) -> Sequence[Row]:
        return self._cursor.execute(sql, params).fetchall()

    def each(self, sql: str, params: Params) -> Generator[Row]:
        cursor = self._connection.execute(sql, params)
        try:
            yield from cursor
        finally:
            cursor.close()

    def batches(self, sql: str, params: Params, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """The rows as Arrow."""
        from lakebed.catalog.sql.scanning import BATCH, chunk_batches

        # Not row by row: fetching in chunks takes two thirds of the time.
        with closing(self._connection.execute(sql, params)) as cursor:
            yield from chunk_batches(iter(lambda: cursor.fetchmany(BATCH), []), schema)

    def state(self) -> object:
        """The same for two transactions only if they see the same rows."""
        # The first number tells of other connections' commits, the second of this one's.
        connection = self._connection
        ((version,),) = connection.execute("PRAGMA data_version").fetchall()
        return connection.number, version, connection.total_changes

    def run(self, sql: str, params: Params) -> int:
        return self._cursor.execute(sql, params).rowcount

    def many(self, sql: str, params: Iterable[Params]) -> None:
        self._cursor.executemany(sql, params)

    def copy(self, table: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
        names = ", ".join(f'"{column}"' for column in columns)
        marks = ", ".join("?" * len(columns))
        # The names are the catalog's own, never a caller's.
        insert = f"INSERT INTO {table} ({names}) VALUES ({marks})"  # noqa: S608
        self._cursor.executemany(insert, rows)

    def fill(self, sql: str, rows: Iterable[Row]) -> int:
        """Run a statement with a `?` for each column of a row; how many rows it has written."""
        return self._cursor.executemany(sql, rows).rowcount

    def insert(self, sql: str, params: Params) -> int | None:
        cursor = self._cursor.execute(sql, params)
        return cursor.lastrowid if cursor.rowcount else None

    def script(self, sql: str) -> None:
        """Run several statements inside this transaction."""
        statement = ""
        for line in sql.splitlines(keepends=True):
            statement += line
            if sqlite3.complete_statement(statement):
                self._cursor.execute(statement)
                statement = ""


def table_names(connection: sqlite3.Connection) -> set[str]:
    """The tables of a database."""
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    return {name for (name,) in rows}


def is_foreign(tables: set[str]) -> bool:
    """Whether a database with these tables is somebody else's, in which nothing may be changed."""
    return bool(tables) and "lakebed_meta" not in tables


_executors: weakref.WeakSet[SQLiteExecutor] = weakref.WeakSet()


_quiet: list[tuple[SQLiteExecutor, list[_Connection]]] = []


def _before_fork() -> None:
    _connecting.acquire()
    _quiet.extend((executor, executor.before_fork()) for executor in list(_executors))


def _after_fork_in_parent() -> None:
    for executor, connections in _quiet:
        executor.after_fork_in_parent(connections)
    _quiet.clear()
    _connecting.release()


def _after_fork_in_child() -> None:
    _connecting.release()
    for executor, connections in _quiet:
        executor.after_fork_in_child(connections)
    _quiet.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
