"""SQLite over a shared log.

A transaction runs in this process's copy of the database. SQLite commits it first, and the commit
is hidden from readers at once. Its pages are then put as the item `log/<n+1>`. If no other item has
that number, the transaction is committed, and readers see it. If another client was faster, the
transaction is dropped, the other client's commits are pulled, and the work is repeated. See
docs/design/log.md.
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

_LONGEST_PUT = 20.0  # seconds for which a failing put is repeated; lock_timeout may be less
_LONGEST_PAUSE = 0.05  # seconds between two tries of work that lost a race


class LogExecutor(SQLiteExecutor):
    """A log, and this process's copy of it in a local file.

    `connect` opens the log's store, once in each process. `shown`: the store's name in messages.
    `place`: text that no other log has. `folder`: holds the copy. `max_staleness`: seconds for
    which reads use the copy without asking for new commits. `lazy`: open the store at the first
    use. `lock`: makes a lock that is held during commits. Commits are correct without it, but may
    lose races more often.
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
        """Return None. The file is one of many copies, and the log's place may have many names."""
        return

    def _start(self) -> None:
        super()._start()
        self._cache: CacheFile | None = None
        self._copy: LocalCopy | None = None
        self._opening = threading.Lock()
        self._window = threading.Lock()  # held while readers could see an unsettled commit
        self._windows = 0  # counts when it opens and closes, so it is odd while open
        self._asked = float("-inf")  # the last time at which the log had nothing newer
        self._contended = self._just_pulled = False
        self.is_fresh = False
        """Whether the present write transaction is known to run on the newest state."""
        self.guard = Guard(self._make_lock, self._place)
        self.is_outdated = False
        """Whether the committing connection knows tables that do not exist."""
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
        connection.execute("PRAGMA synchronous = OFF")  # a copy: the store is durable
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")  # no unsettled page reaches the file

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
        """Open a block whose reads accept the state at which the copy was opened, or a later one.

        So these reads need not ask the log again.
        """
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
        # A commit was under way. The rows may come from it, and it may still lose.
        with self._read_copy() as tx:
            return tx.all(sql, params)  # type: ignore[arg-type]

    def _read(self) -> SQLiteTransaction:
        if not self.connection().in_transaction:
            self.refresh()
        return self._read_copy()

    def _read_copy(self) -> SQLiteTransaction:
        """Return a transaction that reads the copy without asking for new commits."""
        return super()._read()

    def begin(self, connection: sqlite3.Connection, sql: str, wait: float) -> None:
        if sql == READ:
            with self._window:  # no transaction begins to read an unsettled commit
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
        """Return the result of `work`. Repeat it, for up to `wait` seconds, while it loses races.

        Raises LockTimeoutError after that time.
        """
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
        """Pull new commits before a transaction, if others write as well: this is cheaper than
        losing.

        Returns whether the copy is known to be up to date. Called under the gate.
        """
        copy = self.copy
        if self._just_pulled or not self._contended:
            self._just_pulled = False
            return False
        start = time.monotonic()
        self._contended = copy.pull()
        self._asked = start
        return True

    def check(self) -> None:
        """Raise RepeatError if a transaction that put nothing ran on an old state.

        Called after the transaction, under the gate.
        """
        start = time.monotonic()
        if self.copy.pull():
            self._contended = self._just_pulled = True
            raise RepeatError("others have written meanwhile")
        self._asked = start

    def publish(self, connection: sqlite3.Connection, sql: str) -> bool:
        """Run a statement that commits, and put the pages that it changed. Return whether there
        were any.

        Called under the gate. Raises RepeatError if another client was faster. After any other
        error, it is unknown whether the commit happened.
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
        """Do what follows a commit. Called after each commit, under the gate."""

    # For bases.

    def vacuum(self) -> None:
        """Rewrite the database without its free pages, as a commit."""
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
            self.reconnect()  # the tables may have moved

    def image(self) -> tuple[Position, bytes]:
        """Return the position in the log, and the whole database at that position."""
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
        """Remove all earlier states from the copy's write-ahead log."""
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
        with self._opening:  # another thread may be opening it
            copy, self._copy = self._copy, None
        if copy is not None:
            copy.close()


class _Commit(SQLiteTransaction):
    """A transaction that commits by putting an item in the log."""

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
            # A condition that failed on an old state may hold in the newest one.
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
