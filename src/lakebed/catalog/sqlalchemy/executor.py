"""Any database that SQLAlchemy knows, over SQL text: its pool and drivers, no query builder."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NoReturn

from lakebed.catalog.sqlalchemy.connection import Lent, Writer
from lakebed.catalog.sqlalchemy.database import Database, Options
from lakebed.catalog.sqlalchemy.databases import database_of
from lakebed.catalog.sqlalchemy.mysql import forking
from lakebed.catalog.sqlalchemy.transaction import SQLAlchemyTransaction
from lakebed.catalog.statements.executor import Params, Row, T, refused
from lakebed.catalog.statements.queries import load_queries
from lakebed.clock import Clock
from lakebed.errors import CatalogError, ConnectError, LakebedError

if TYPE_CHECKING:
    from sqlalchemy import Engine, PoolProxiedConnection
    from sqlalchemy.engine import URL

_BRIEF = 0.02  # seconds between two requests for a lock that others would queue behind
_DRAIN = 0.005


class SQLAlchemyExecutor:
    """The tables of a lake in the database of a SQLAlchemy URL.

    `pool_size`: connections at most. For how long it waits and repeats: see `Options`.
    """

    pooled = True  # nothing is kept in a session

    def __init__(
        self,
        url: URL,
        options: Options | None = None,
        *,
        pool_size: int = 5,
        echo: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self._options = options or Options()
        self.database: Database = database_of(url, self._options)
        self.dialect = self.database.dialect
        self.schema = self.database.schema
        self.shown = self.database.shown
        self.read_only = self._options.read_only
        self._clock = clock or self.database.clock
        self._pool_size = pool_size
        self._engine: Engine = self.database.engine(pool_size, echo)
        self._error: type[Exception] = self._engine.dialect.loaded_dbapi.Error
        self._log = self._engine.logger.info if echo else None
        self._queries = load_queries(self.dialect, self.schema)
        self._reached = False
        self._closed = False
        self._start()
        _executors.add(self)

    def _start(self) -> None:
        self._gate = threading.Lock() if self.database.queues else None
        self._local = threading.local()

    # Time

    def stamp(self) -> int | None:
        return self._clock() if self._clock else None

    def now(self) -> int:
        if self._clock:
            return self._clock()
        return int(self.fetch(self.database.now, {})[0][0])

    # Connections

    @contextmanager
    def connection(self) -> Iterator[Lent]:
        """A connection of the pool, or this thread's while it is in a transaction; errors of the
        driver leave as errors of ours."""
        lent = self._take()
        try:
            yield lent
        except self._error as error:
            self._fail(lent, error)
        finally:
            self._give_back(lent)

    def _take(self) -> Lent:
        current: Lent | None = getattr(self._local, "lent", None)
        if current is not None:
            return current
        if self._closed:
            raise CatalogError("the lake is closed")
        database = self.database
        return Lent(self._check_out(), database.style, self._log, together=database.together)

    def _check_out(self) -> PoolProxiedConnection:
        from sqlalchemy import exc

        try:
            proxied = self._engine.raw_connection()
        except exc.TimeoutError:
            raise ConnectError(
                f"no connection to {self.shown} became free within {self._options.timeout:g} "
                "seconds (pool_size)",
                "connection_timeout",
            ) from None
        except (self._error, exc.DBAPIError) as error:
            cause = getattr(error, "orig", error)
            failure = self._explain(cause)
            # Not repeated at the beginning: it is more likely to be a slip than an outage.
            raise failure from (cause if self._reached else None)
        except exc.SQLAlchemyError as error:
            # Its text may hold parameters.
            raise CatalogError(f"{self.shown} failed: {type(error).__name__}") from None
        self._reached = True
        return proxied

    def _give_back(self, lent: Lent) -> None:
        if lent is not getattr(self._local, "lent", None):
            lent.proxied.close()

    def _fail(self, lent: Lent, error: Exception) -> NoReturn:
        """Raise the error of ours; a connection that is lost does not go back to the pool."""
        if self._is_lost(lent, error) or self.database.is_retired(error):
            lent.drop()
        raise self._explain(error) from error

    def _explain(self, error: Exception) -> LakebedError:
        return self.database.hiding.explained(error, self.database.explain)

    def _is_lost(self, lent: Lent, error: Exception) -> bool:
        if not lent.proxied.is_valid:
            return True
        dialect = self._engine.dialect
        return isinstance(error, dialect.loaded_dbapi.Error) and dialect.is_disconnect(
            error, lent.proxied, lent.cursor
        )

    def repeat(self, work: Callable[[], T]) -> T:
        """The result of `work`, repeated with growing pauses while it fails for such a reason."""
        try:
            return work()
        except LakebedError as error:
            # Within what is repeated as a whole, nothing is repeated by itself.
            if not self.database.is_repeatable(error) or getattr(self._local, "repeating", False):
                raise
            if self.database.stays_read_only(error, lambda sql: self._fetch(sql, {})):
                raise
        self._local.repeating = True
        try:
            return self._repeat(work)
        finally:
            self._local.repeating = False

    def _repeat(self, work: Callable[[], T]) -> T:
        import tenacity

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(self.database.is_repeatable),
            wait=tenacity.wait_random_exponential(0.01, max=1.0),
            stop=tenacity.stop_after_delay(self._options.timeout),
            reraise=True,
        )
        return retrying(work)

    # Statements

    def fetch(self, sql: str, params: Params) -> Sequence[Row]:
        if getattr(self._local, "lent", None) is not None:
            return self._fetch(sql, params)
        return self.repeat(lambda: self._fetch(sql, params))

    def _fetch(self, sql: str, params: Params) -> Sequence[Row]:
        lent = self._take()  # without the context manager, which takes as long as the statement
        try:
            rows: Sequence[Row] = lent.execute(sql, params).fetchall()
        except self._error as error:
            self._fail(lent, error)
        finally:
            self._give_back(lent)
        return rows

    def alone(self, sql: str, params: Params) -> Sequence[Row]:
        """The rows, if any, of a statement that is a transaction of its own, tried once."""
        if self.read_only:
            raise refused(self.shown)
        with self.connection() as lent:
            cursor = lent.execute(sql, params)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def read(self) -> Generator[SQLAlchemyTransaction]:
        with self.connection() as lent:
            try:
                lent.run(self.database.begin_read)
                with self._inside(lent):
                    yield SQLAlchemyTransaction(lent, self.database, self.now)
            finally:
                self._roll_back(lent)

    @contextmanager
    def settled(self) -> Generator[SQLAlchemyTransaction]:
        """A transaction that reads while no writer is at work."""
        with self._queue(True), self.connection() as lent:
            try:
                self._begin(lent, patient=True, exclusive=True)
                with self._inside(lent):
                    yield SQLAlchemyTransaction(lent, self.database, self.now)
            finally:
                self._roll_back(lent)

    @contextmanager
    def write(
        self, *, patient: bool = True, exclusive: bool = False
    ) -> Generator[SQLAlchemyTransaction]:
        if self.read_only:
            raise refused(self.shown)
        lost: Exception | None = None
        with self._queue(patient), self.connection() as lent:
            new = False
            try:
                new = self._begin(lent, patient, exclusive)
                with self._inside(lent):
                    yield SQLAlchemyTransaction(lent, self.database, self.now)
                lost = self._commit(lent)
            except BaseException:
                self._roll_back(lent)
                raise
            finally:
                if new and lent.proxied.is_valid:
                    lent.run(self.database.end_new)
            writer = lent.writer if lost else None
        if lost and writer:
            self._settle(writer, lost)

    def _begin(self, lent: Lent, patient: bool, exclusive: bool) -> bool:
        """Begin with the lake's lock; where waiting for it holds others up, asked for briefly.

        Where that lock is a row and there are no tables yet: with the lock of a lake to be, and
        then True.
        """
        database, deadline = self.database, time.monotonic() + self._options.lock_timeout
        while True:
            try:
                lent.run(database.begin_write(patient, exclusive))
                return False
            except self._error as error:
                if self._is_lost(lent, error):
                    raise
                self._roll_back(lent)
                if database.begin_new and self._is_new(lent):
                    lent.run(database.begin_new)
                    if lent.cursor.fetchone() != (1,):
                        raise database.locked() from None
                    return True
                if not database.asks_again(error, exclusive) or time.monotonic() > deadline:
                    raise
            time.sleep(_BRIEF)

    def _is_new(self, lent: Lent) -> bool:
        """Whether there is no lake yet, and so no row for a lock."""
        return not lent.execute(self._queries["table_names"], {}).fetchall()

    @contextmanager
    def _queue(self, patient: bool) -> Iterator[None]:
        """Where waiting writers are not served in their order, those of this process queue here."""
        if self._gate is None or getattr(self._local, "lent", None) is not None:
            yield
            return
        if not self._gate.acquire(timeout=self._options.lock_timeout if patient else 0):
            raise self.database.locked()
        try:
            yield
        finally:
            self._gate.release()

    def _roll_back(self, lent: Lent) -> None:
        if not lent.proxied.is_valid:
            return
        try:
            lent.run(self.database.roll_back(lent.proxied.driver_connection))
        except self._error:
            lent.drop()  # which ends the transaction just as well

    @contextmanager
    def _inside(self, lent: Lent) -> Iterator[None]:
        """Whatever this thread runs meanwhile runs on this connection."""
        self._local.lent = lent
        try:
            yield
        finally:
            self._local.lent = None

    # Commits whose answer was lost

    def _commit(self, lent: Lent) -> Exception | None:
        """Commit, with a note in the same transaction; the error if the answer was lost."""
        if self.database.notes:
            writer = lent.writer
            writer.token += 1
            note = {"id": writer.id, "token": writer.token, "now": self.stamp()}
            lent.execute(self._queries["note_commit"], note)
        try:
            lent.run(("COMMIT",))
        except self._error as error:
            if not self._is_lost(lent, error):
                raise
            lent.drop()
            return error
        return None

    def _settle(self, writer: Writer, error: Exception) -> None:
        """Nothing if that commit happened; else the error that repeating may cure.

        Whoever gets the lake's lock knows that the writer which held it is done, so the note tells.
        """
        failure = self._explain(error)
        try:
            token = self._repeat(lambda: self._last_token(writer))
        except LakebedError as unknown:
            raise ConnectError(
                f"the connection to {self.shown} was lost during a commit, and whether it happened "
                f"could not be found out: {unknown}"
            ) from None
        if token != writer.token:
            raise failure from error

    def _last_token(self, writer: Writer) -> int | None:
        with self.settled() as tx:
            row = tx.one(self._queries["last_commit"], {"id": writer.id})
        return row[0] if row else None

    # Ending and forking

    def scrub(self, *, thorough: bool = True) -> Sequence[str]:
        return self.database.scrub(thorough=thorough)

    def close(self) -> None:
        """Let no call begin, wait for those at work, and close all connections."""
        self._closed = True
        deadline = time.monotonic() + self._options.timeout
        mine = getattr(self._local, "lent", None) is not None
        while self._engine.pool.checkedout() > mine and time.monotonic() < deadline:  # type: ignore[attr-defined]
            time.sleep(_DRAIN)
        self._engine.dispose()

    def before_fork(self) -> list[PoolProxiedConnection]:
        """Where the database works inside this process: all connections, once nobody has them."""
        if not self.database.inside or self._closed:
            return []
        mine: Lent | None = getattr(self._local, "lent", None)
        taken = [] if mine is None else [mine.proxied]
        while len(taken) < self._pool_size:
            try:
                taken.append(self._check_out())
            except ConnectError:  # somebody is at work for longer than `timeout`
                continue
            except LakebedError:  # no file, so nobody is in it
                break
        return taken if mine is None else taken[1:]

    def after_fork_in_child(self, taken: Sequence[PoolProxiedConnection]) -> None:
        """Leave the parent's connections alone, and open own ones when asked.

        SQLite's are closed first: it remembers file locks that a child does not have.
        """
        mine: Lent | None = getattr(self._local, "lent", None)
        if self.database.inside and mine is not None:
            mine.drop()
        for proxied in taken:
            proxied.invalidate()
        self._engine.dispose(close=False)
        self._start()


_executors: weakref.WeakSet[SQLAlchemyExecutor] = weakref.WeakSet()
_quiet: list[tuple[SQLAlchemyExecutor, list[PoolProxiedConnection]]] = []


def _before_fork() -> None:
    forking.acquire()
    _quiet.extend((executor, executor.before_fork()) for executor in list(_executors))


def _after_fork_in_parent() -> None:
    with ExitStack() as ending:
        ending.callback(forking.release)
        for _, taken in _quiet:
            for proxied in taken:
                proxied.close()
        _quiet.clear()


def _after_fork_in_child() -> None:
    for executor, taken in _quiet:
        executor.after_fork_in_child(taken)
    _quiet.clear()
    forking.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
