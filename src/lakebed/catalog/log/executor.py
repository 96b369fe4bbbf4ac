"""SQLite over a shared log. A transaction runs in this process's copy; putting its pages as the
next item of the log commits it.

A commit first runs in SQLite, and is hidden from readers at once. Its pages are put as `log/<n+1>`.
If no other item has that number, the commit is shown. If another client was faster, the commit is
dropped, the other clients' commits are pulled, and the work is repeated. docs/design/log.md
"""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import TracebackType

from lakebed.catalog.log.cache import CacheFile, Position, open_cache
from lakebed.catalog.log.copy import LocalCopy
from lakebed.catalog.log.guard import Guard
from lakebed.catalog.log.log import Log
from lakebed.catalog.log.store import LogStore
from lakebed.catalog.sqlite.connections import READ, WRITE, SQLiteConnection
from lakebed.catalog.sqlite.errors import is_busy, locked
from lakebed.catalog.sqlite.executor import SQLiteExecutor
from lakebed.catalog.sqlite.grouping import Grouping, RepeatError
from lakebed.catalog.sqlite.transaction import SQLiteTransaction
from lakebed.catalog.statements.executor import Params, Row, T, refused
from lakebed.clock import Clock, system_clock
from lakebed.errors import CatalogError, LakebedError
from lakebed.leaving import has_left
from lakebed.locks import Lock

_LONGEST_PUT = 20.0  # seconds for which a put that fails is repeated, if lock_timeout allows
_LONGEST_PAUSE = 0.05  # seconds before lost work is done again


class LogExecutor(SQLiteExecutor):
    """A copy of the catalog in a local file, and the log that it is a copy of.

    `connect` opens the log's store, once in each process. `shown` names it for people. `place`
    tells it from all others; the copy lies in `folder`. `max_staleness`: seconds for which a read
    does not ask whether there is something new. `lazy`: the store is opened when it is first used.
    `lock` makes one that is held during commits; without it they are as right.
    """

    def __init__(
        self,
        connect: Callable[[], LogStore],
        *,
        shown: str,
        place: str,
        folder: str,
        max_staleness: float = 0.0,
        lock_timeout: float = 60.0,
        clock: Clock = system_clock,
        read_only: bool = False,
        lazy: bool = False,
        lock: Callable[[], Lock] | None = None,
    ) -> None:
        self._make_lock = lock
        self._connect_store = connect
        self._place = place
        self._folder = folder
        self._max_staleness = max_staleness
        self.read_only = read_only
        super().__init__("", lock_timeout=lock_timeout, clock=clock)
        self._shown = shown
        if not lazy:
            self.copy  # noqa: B018 - a store that cannot be opened says so now

    def identity(self) -> None:
        """Return None: the file is one of many copies, and the place of the log has many names."""
        return

    def _start(self) -> None:
        super()._start()
        self._cache: CacheFile | None = None
        self._copy: LocalCopy | None = None
        self._opening = threading.Lock()
        self._window = threading.Lock()  # held while readers might see what is not settled
        self._windows = 0  # how often it was opened or closed: odd while it is open
        self._asked = float("-inf")  # when nothing was newer than the copy
        self._contended = self._just_pulled = False
        self.is_fresh = False
        """Whether the write transaction that has begun runs on what is surely the present state."""
        self.guard = Guard(self._make_lock, self._place)
        self.is_outdated = False
        """Whether the connection that has committed knows tables that are not there."""
        self._unsettled: LakebedError | None = None

    # The file.

    @property
    def copy(self) -> LocalCopy:
        """This process's copy. It is opened at the first use."""
        copy = self._copy
        return copy if copy is not None else self._open_copy()

    def _open_copy(self) -> LocalCopy:
        with self._opening:
            if self._closed:
                raise CatalogError("the lake is closed")
            if self._copy is None:
                store = self._connect_store()
                log = Log(store, min(self._lock_timeout, _LONGEST_PUT))
                with ExitStack() as undo:
                    undo.callback(log.close)
                    cache = open_cache(self._folder, self._place)
                    undo.callback(cache.release, None)
                    self._path = cache.path
                    self._copy = LocalCopy(cache, log, self._connect)
                    self._asked = self._copy.as_of
                    undo.pop_all()
        return self._copy

    def _use_log(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA synchronous = OFF")  # the store keeps it: this is a copy
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")  # nothing unsettled reaches the file

    def connection(self) -> SQLiteConnection:
        if self._copy is None:
            self._open_copy()  # before the first connection to it
        return super().connection()

    def reconnect(self) -> None:
        """Give the calling thread a new connection when it next asks for one."""
        del self._local.owner

    # Reading.

    def refresh(self) -> None:
        """Pull the commits of others, unless that was done within `max_staleness`."""
        start = time.monotonic()
        copy = self.copy
        oldest = min(start - self._max_staleness, getattr(self._local, "since", start))
        if self._asked >= oldest:
            return
        if copy.has_newer():
            self.lock(self._gate, self._lock_timeout)
            try:
                copy.pull()
            finally:
                self._gate.release()
        self._asked = max(self._asked, start)

    @contextmanager
    def opening(self) -> Iterator[None]:
        """A block whose reads see what was in the log when the copy was opened, or later. So they
        need not ask again one by one."""
        self._local.since = self.copy.as_of
        try:
            yield
        finally:
            del self._local.since

    def fetch(self, sql: str, params: Params | Row) -> Sequence[Row]:
        try:
            connection: SQLiteConnection = self._local.owner.connection
        except AttributeError:
            connection = self.connection()
        if self._closed:
            raise CatalogError("the lake is closed")
        if time.monotonic() - self._asked > self._max_staleness and not connection.in_transaction:
            self.refresh()
        windows = self._windows
        if not windows & 1:
            try:
                with connection.lock:
                    rows = connection.execute(sql, params).fetchall()
            except sqlite3.Error as error:
                if not is_busy(error):
                    raise self.translate(error) from error
            else:
                if self._windows == windows:
                    return rows
        # A commit was going on meanwhile: what was read may be of it, and it may lose.
        with self._read_copy() as tx:
            return tx.all(sql, params)  # type: ignore[arg-type]

    def _read(self) -> SQLiteTransaction:
        if not self.connection().in_transaction:
            self.refresh()
        return self._read_copy()

    def _read_copy(self) -> SQLiteTransaction:
        """A transaction that reads without asking whether there is something new."""
        return super()._read()

    def begin(self, connection: sqlite3.Connection, sql: str, wait: float) -> None:
        if sql == READ:
            with self._window:  # no transaction begins to read what is not settled
                super().begin(connection, sql, wait)
        else:
            self.guard.acquire(wait)
            with ExitStack() as undo:
                undo.callback(self.guard.release)
                self.is_fresh = self._prepare()
                super().begin(connection, sql, wait)
                undo.pop_all()

    # Writing.

    def _write(self, wait: float) -> SQLiteTransaction:
        if self.read_only:
            raise refused(self._shown)
        return _Commit(self, WRITE, self._gate, wait)

    def _group(self) -> Grouping[SQLiteTransaction]:
        return Grouping(
            self._write,
            lambda: locked(self._lock_timeout),
            self._lock_timeout,
            lambda error: error is self._unsettled,
        )

    def transact(self, work: Callable[[SQLiteTransaction], T], **how: bool) -> T:
        wait = self._lock_timeout if how.get("patient", True) else 0.0
        return self._repeat(lambda: super(LogExecutor, self).transact(work, **how), wait)

    def _repeat(self, work: Callable[[], T], wait: float) -> T:
        """Return the result of `work`. Repeat it for up to `wait` seconds as long as other clients
        are faster."""
        end, pause = time.monotonic() + wait, 0.001
        while True:
            try:
                return work()
            except RepeatError:
                if time.monotonic() >= end or has_left():
                    raise locked(self._lock_timeout) from None
            time.sleep(pause * random.random())  # noqa: S311
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _prepare(self) -> bool:
        """Before a transaction, under the gate: return whether the copy is surely up to date. If
        others write as well, asking first is cheaper than losing."""
        copy = self.copy
        if self._just_pulled or not self._contended:
            self._just_pulled = False
            return False
        start = time.monotonic()
        self._contended = copy.pull()
        self._asked = start
        return True

    def check(self) -> None:
        """After a transaction that put nothing, under the gate: raise RepeatError if it ran on an
        old state."""
        start = time.monotonic()
        if self.copy.pull():
            self._contended = self._just_pulled = True
            raise RepeatError("others have written meanwhile")
        self._asked = start

    def publish(self, connection: sqlite3.Connection, sql: str) -> bool:
        """Run a statement that commits, under the gate, and put its pages. Returns whether there
        were any.

        Raises RepeatError if another client was faster. After any other error, it is unknown
        whether the commit happened.
        """
        copy, start = self.copy, time.monotonic()
        with self._window:
            self._windows += 1
            try:
                hidden = copy.hide(lambda: connection.execute(sql))
            finally:
                self._windows += 1
        if hidden is None:
            return False
        won = False
        try:
            won = copy.put(hidden)
        except LakebedError as error:
            self._unsettled = error
            raise
        finally:
            self.is_outdated = not won and copy.changes_schema(hidden)
        if not won:
            copy.pull()
            self._contended = self._just_pulled = True
            raise RepeatError("another client was faster")
        self._asked = start
        self._settled()
        return True

    def _settled(self) -> None:
        """After each commit, under the gate."""

    # For bases.

    def vacuum(self) -> None:
        """Rewrite the database, as a commit."""
        connection = self.connection()
        self.lock(self._gate, self._lock_timeout)
        try:
            self.copy.pull()
            self.publish(connection, "VACUUM")
        except sqlite3.Error as error:
            raise self.translate(error) from error
        finally:
            self.is_outdated = False
            self._gate.release()
            self.reconnect()  # the tables have moved, or have not

    def image(self) -> tuple[Position, bytes]:
        """Return the whole present database, and its position in the log."""
        connection = self.connection()
        self.lock(self._gate, self._lock_timeout)
        try:
            position = self.copy.position
            reading = self._read_copy().__enter__()
        finally:
            self._gate.release()
        try:
            return position, connection.serialize()
        finally:
            reading.__exit__(None, None, None)

    def empty_log(self) -> None:
        """Remove all earlier states from the log of the copy."""
        self.lock(self._gate, self._lock_timeout)
        try:
            self.copy.checkpoint()
        finally:
            self._gate.release()

    def after_fork_in_child(self, connections: list[SQLiteConnection]) -> None:
        copy = self._copy
        if copy is not None:
            copy.leave()
        super().after_fork_in_child(connections)

    def close(self) -> None:
        super().close()
        self.guard.close()
        with self._opening:  # a thread may be at it
            copy, self._copy = self._copy, None
        if copy is not None:
            copy.close()


class _Commit(SQLiteTransaction):
    """A transaction whose commit is a put."""

    __slots__ = ("_is_fresh", "_is_outdated")

    _connections: LogExecutor

    def __enter__(self) -> SQLiteTransaction:
        super().__enter__()
        self._is_fresh = self._connections.is_fresh
        self._is_outdated = False
        return self

    def _commit(self) -> None:
        executor = self._connections
        try:
            if not executor.publish(self._connection, "COMMIT") and not self._is_fresh:
                executor.check()
        finally:
            self._is_outdated, executor.is_outdated = executor.is_outdated, False
            executor.guard.release()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._connections.guard.release()
        if isinstance(error, LakebedError) and not self._is_fresh:
            # A condition that did not hold may hold in the present state.
            try:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                self._connections.check()
            except BaseException as failure:
                super().__exit__(type(failure), failure, None)
                raise
        try:
            super().__exit__(kind, error, trace)
        finally:
            if self._is_outdated:
                self._connections.reconnect()
