"""Any database that SQLAlchemy supports, over SQL text: its pool and drivers, no query builder."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lakebed.catalog.identity import Identity
from lakebed.catalog.sqlalchemy.connection import Lent
from lakebed.catalog.sqlalchemy.database import DatabaseOptions
from lakebed.catalog.sqlalchemy.databases import database_of
from lakebed.catalog.sqlalchemy.pool import SQLAlchemyConnections
from lakebed.catalog.sqlalchemy.transaction import SQLAlchemyTransaction
from lakebed.catalog.statements.executor import Params, Row, T, held, refused
from lakebed.catalog.statements.writer import Writer
from lakebed.clock import Clock
from lakebed.errors import ConnectError, LakebedError
from lakebed.waiting import waiting

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

_BRIEF = 0.02  # seconds between two tries to get a lock, if waiting would delay others


class SQLAlchemyExecutor(SQLAlchemyConnections):
    """The tables of a lake in the database of a SQLAlchemy URL.

    `pool_size`: the most connections. `DatabaseOptions` describes the times that it waits.
    """

    def __init__(
        self,
        url: URL,
        options: DatabaseOptions | None = None,
        *,
        pool_size: int = 5,
        echo: bool = False,
        clock: Clock | None = None,
    ) -> None:
        options = options or DatabaseOptions()
        database = database_of(url, options)
        super().__init__(database, options, pool_size=pool_size, echo=echo)
        self.dialect = database.dialect
        self.schema = database.schema
        self.read_only = options.read_only
        self._clock = clock or database.clock
        self._queries = self.dialect.queries(self.schema)

    def _start(self) -> None:
        super()._start()
        self._gate = threading.Lock() if self.database.queues else None

    # Time

    def use_clock(self, clock: Clock | None) -> Clock | None:
        before, self._clock = self._clock, clock
        return before

    def stamp(self) -> int | None:
        return self._clock() if self._clock else None

    def now(self) -> int:
        if self._clock:
            return self._clock()
        return int(self.fetch(self.database.now, {})[0][0])

    def identity(self) -> Identity | None:
        """Return which database this is, and on which server."""
        return self.database.identity(self.fetch)

    # Repeating what failed temporarily.

    def _repeated(self, work: Callable[[], T]) -> T:
        """Return the result of `work`. Repeat it, with growing pauses, while it fails
        temporarily."""
        try:
            return work()
        except LakebedError as failed:
            error = failed
            # Inside a call that is repeated as a whole, nothing is repeated by itself.
            repeating = self._is_inside or getattr(self._local, "repeating", False)
            if repeating or not self.database.is_repeatable(error):
                raise
            if self.database.stays_read_only(error, lambda sql: self._fetch(sql, {})):
                raise
        self._local.repeating = True
        try:
            return self._repeat(work, error)
        finally:
            self._local.repeating = False

    def _repeat(self, work: Callable[[], T], error: LakebedError) -> T:
        import tenacity

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(self.database.is_repeatable),
            wait=tenacity.wait_random_exponential(0.01, max=1.0),
            stop=tenacity.stop_after_delay(self._options.timeout),
            reraise=True,
        )
        with waiting(f"{error}; trying for {self._options.timeout:.0f} s"):
            return retrying(work)

    # Statements.

    def fetch(self, sql: str, params: Params) -> Sequence[Row]:
        return self._repeated(lambda: self._fetch(sql, params))

    def _fetch(self, sql: str, params: Params) -> Sequence[Row]:
        lent = self._take()  # the context manager would cost as much as the statement
        try:
            rows: Sequence[Row] = lent.execute(sql, params).fetchall()
        except self._error as error:
            self._fail(lent, error)
        finally:
            self._give_back(lent)
        return rows

    def alone(self, sql: str, params: Params) -> Sequence[Row]:
        """Return the rows, if any, of a statement that is its own transaction. It is tried once."""
        if self.read_only:
            raise refused(self.shown)
        with self.connection() as lent:
            cursor = lent.execute(sql, params)
            return cursor.fetchall() if cursor.description else []

    def read(self, work: Callable[[SQLAlchemyTransaction], T], *, settled: bool = False) -> T:
        def once() -> T:
            with self._settled() if settled else self._read() as tx:
                return work(tx)

        return self._repeated(once)

    @contextmanager
    def reading(self, begin: Callable[[SQLAlchemyTransaction], T]) -> Generator[T]:
        stack, begun = self._repeated(lambda: held(self._read(), begin))
        with stack:
            yield begun

    def transact(
        self,
        work: Callable[[SQLAlchemyTransaction], T],
        *,
        exclusive: bool = False,
        patient: bool = True,
        brief: bool = False,
    ) -> T:
        del brief  # threads do not share transactions here

        def once() -> T:
            with self._write(patient=patient, exclusive=exclusive) as tx:
                return work(tx)

        if self.read_only:
            raise refused(self.shown)
        return self._repeated(once)

    @contextmanager
    def _read(self) -> Generator[SQLAlchemyTransaction]:
        with self.connection() as lent:
            try:
                lent.run(self.database.begin_read)
                with self._inside(lent):
                    yield SQLAlchemyTransaction(lent, self.database, self.now)
            finally:
                self._roll_back(lent)

    @contextmanager
    def _settled(self) -> Generator[SQLAlchemyTransaction]:
        """Open a transaction that reads while nobody writes."""
        with self._queue(True), self.connection() as lent:
            try:
                self._begin(lent, patient=True, exclusive=True)
                with self._inside(lent):
                    yield SQLAlchemyTransaction(lent, self.database, self.now)
            finally:
                self._roll_back(lent)

    def alter(self, work: Callable[[SQLAlchemyTransaction], T]) -> T:
        """Return the result of `work`, which creates or changes tables. See `Alters`."""

        def once() -> T:
            with self._write(patient=True, exclusive=True, alters=True) as tx:
                return work(tx)

        return self._repeated(once)

    @contextmanager
    def _write(
        self, *, patient: bool, exclusive: bool, alters: bool = False
    ) -> Generator[SQLAlchemyTransaction]:
        lost: Exception | None = None
        with self._queue(patient), self.connection() as lent, self._schema_lock(lent, alters):
            try:
                if alters and self.database.begin_new and self._is_new(lent):
                    lent.run(self.database.begin_new)
                else:
                    self._begin(lent, patient, exclusive)
                with self._inside(lent):
                    yield SQLAlchemyTransaction(lent, self.database, self.now)
                lost = self._commit(lent)
            except BaseException:
                self._roll_back(lent)
                raise
            writer = lent.writer if lost else None
        if lost and writer:
            self._settle(writer, lost)

    @contextmanager
    def _schema_lock(self, lent: Lent, wanted: bool) -> Iterator[None]:
        """Hold the lock for changing tables, if it is wanted and the database needs one."""
        if not wanted or not self.database.lock_schema:
            yield
            return
        lent.run(self.database.lock_schema)
        if lent.cursor.fetchone() != (1,):
            raise self.database.locked()
        try:
            yield
        finally:
            if lent.proxied.is_valid:  # otherwise the lock has ended with the connection
                lent.run(self.database.unlock_schema)

    def _begin(self, lent: Lent, patient: bool, exclusive: bool) -> None:
        """Begin a transaction with the lake's lock.

        If waiting for the lock would delay others, each wait is brief, and repeated.
        """
        database, deadline = self.database, time.monotonic() + self._options.lock_timeout
        while True:
            try:
                lent.run(database.begin_write(patient, exclusive))
                return
            except self._error as error:
                if self._is_lost(lent, error):
                    raise
                self._roll_back(lent)
                if not database.asks_again(error, exclusive) or time.monotonic() > deadline:
                    raise
            time.sleep(_BRIEF)

    def _is_new(self, lent: Lent) -> bool:
        """Return whether there is no lake yet, and so no row to lock."""
        return not lent.execute(self._queries["table_names"], {}).fetchall()

    @contextmanager
    def _queue(self, patient: bool) -> Iterator[None]:
        """Queue the writers of this process, if the database does not serve them in order."""
        if self._gate is None or self._is_inside:
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
            lent.drop()  # which also ends the transaction

    # Commits whose answer was lost.

    def _commit(self, lent: Lent) -> Exception | None:
        """Commit, with a note in the same transaction. Return the error if the answer is lost."""
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
        """Return if the writer's last commit happened. Otherwise raise an error that allows a
        repetition.

        The note tells. It is read under the lake's lock, so the writer that held the lock has
        ended.
        """
        failure = self._explain(error)
        try:
            token = self._repeat(lambda: self._last_token(writer), failure)
        except LakebedError as unknown:
            raise ConnectError(
                f"the connection to {self.shown} was lost during a commit, and whether it happened "
                f"could not be found out: {unknown}"
            ) from None
        if token != writer.token:
            raise failure from error

    def _last_token(self, writer: Writer) -> int | None:
        with self._settled() as tx:
            row = tx.one(self._queries["last_commit"], {"id": writer.id})
        return row[0] if row else None

    # Ending and forking.

    def scrub(self, *, thorough: bool = True) -> Sequence[str]:
        return self.database.scrub(thorough=thorough)
