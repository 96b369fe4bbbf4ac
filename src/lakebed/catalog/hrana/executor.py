"""Runs SQL on a libSQL server. A statement whose answer is needed costs a request."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from lakebed.catalog.hrana.protocol import Refusal, Statement
from lakebed.catalog.hrana.server import BusyError, LostError, Server, UndoneError
from lakebed.catalog.hrana.stream import Stream
from lakebed.catalog.hrana.transaction import HranaTransaction
from lakebed.catalog.sqlite.grouping import Grouping, RepeatError
from lakebed.catalog.statements.dialect import SQLITE
from lakebed.catalog.statements.executor import Params, Row, T, held, refused
from lakebed.clock import Clock
from lakebed.errors import (
    CatalogError,
    ConnectError,
    LakebedError,
    LockTimeoutError,
    RateLimitedError,
)
from lakebed.leaving import acquire, has_left

_READ, _WRITE = "BEGIN", "BEGIN IMMEDIATE"
_NOW = "SELECT CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)"
_RENEW = 600.0  # seconds until the server is asked for its time again
_DEAD_ROWS = (
    "the server's files and its copies of them, where deleted rows keep their bytes until their "
    "place is used again"
)
_MAKE_MARKS = """
CREATE TABLE IF NOT EXISTS writer ("id" TEXT NOT NULL PRIMARY KEY, "token" INTEGER NOT NULL)"""
# The last statement of a transaction before COMMIT. It fails unless the stored mark is that of this
# process's last known commit. So a commit that was given up and arrives late is undone.
_MARK = """
INSERT INTO writer ("id", "token")
VALUES (:id, CASE WHEN (SELECT "token" FROM writer WHERE "id" = :id) IS :before
                  THEN :token ELSE json('overtaken') END)
ON CONFLICT ("id") DO UPDATE SET "token" = excluded."token\""""
_SET_MARK = """
INSERT INTO writer ("id", "token") VALUES (:id, :token)
ON CONFLICT ("id") DO UPDATE SET "token" = excluded."token\""""
_TOUCH = 'CREATE TABLE IF NOT EXISTS lakebed_probe ("id" INTEGER)'  # is rolled back
_GET_MARK = 'SELECT "token" FROM writer WHERE "id" = :id'


class _UnsettledError(ConnectError):
    """It could not be found out whether a commit happened."""


class HranaExecutor:
    """A database of a libSQL server.

    `timeout`: seconds for which a call is repeated that fails for a temporary reason.
    `lock_timeout`: seconds for which a write waits for other writers. `clock`: gives the time in
    tests. Without it, the server's time counts. The server is asked now and then, and this
    machine's steady clock is used in between.
    """

    dialect = SQLITE
    schema = None

    def __init__(
        self,
        server: Server,
        *,
        timeout: float,
        lock_timeout: float,
        clock: Clock | None,
        read_only: bool = False,
    ) -> None:
        self.server = server
        self.read_only = read_only
        self._timeout = timeout
        self._lock_timeout = lock_timeout
        self._clock = clock
        self._closed = False
        self._local = threading.local()
        self._gate = threading.Lock()
        self._number = 0  # of the last write transaction
        self._grouping = Grouping(
            self._guessing,
            self._locked,
            lock_timeout,
            lambda error: isinstance(error, _UnsettledError),
        )
        self._looked: tuple[float, int] | None = None
        self._id = secrets.token_hex(16)
        self._last: int | None = None  # the token of its last commit

    # Time

    def now(self) -> int:
        if self._clock is not None:
            return self._clock()
        looked = self._looked
        if looked is None or time.monotonic() - looked[0] > _RENEW:
            return self.asked_now()
        return looked[1] + int((time.monotonic() - looked[0]) * 1_000_000)

    def asked_now(self) -> int:
        """Ask the server for its time. Return it in microseconds since the epoch."""
        if self._clock is not None:
            return self._clock()
        begin = time.monotonic()
        ((told,),) = self.fetch(_NOW, {})
        middle = begin + (time.monotonic() - begin) / 2
        self._looked = middle, told
        return int(told) + int((time.monotonic() - middle) * 1_000_000)

    def stamp(self) -> int:
        return self.now()

    # Statements

    def fetch(self, sql: str, params: Params) -> Sequence[Row]:
        return self._repeat(lambda: self._fetch(sql, params))

    def _fetch(self, sql: str, params: Params) -> Sequence[Row]:
        try:
            return self._stream().send([Statement(sql, params)], last=True)[0].rows
        except Refusal as error:
            if error.code != "RESPONSE_TOO_LARGE":
                raise self.server.explain(error) from error
        with self._read() as tx:
            return tx.all(sql, params)

    def _stream(self) -> Stream:
        if self._closed:
            raise CatalogError("the lake is closed")
        return Stream(self.server)

    def _read(self) -> HranaTransaction:
        return HranaTransaction(self._stream(), _READ, self.now, None)

    def read(self, work: Callable[[HranaTransaction], T], *, settled: bool = False) -> T:
        del settled  # a writer holds the write lock from drawing a version to its commit

        def once() -> T:
            with self._read() as tx:
                return work(tx)

        return self._repeat(once)

    @contextmanager
    def reading(self, begin: Callable[[HranaTransaction], T]) -> Iterator[T]:
        stack, begun = self._repeat(lambda: held(self._read(), begin))
        with stack:
            yield begun

    def transact(
        self,
        work: Callable[[HranaTransaction], T],
        *,
        exclusive: bool = False,
        patient: bool = True,
        brief: bool = False,
    ) -> T:
        del exclusive  # SQLite has one writer at a time anyway

        def once() -> T:
            if brief and patient:
                return self._grouping.run(work)
            with self._write(self._lock_timeout if patient else 0.0) as tx:
                return work(tx)

        return self._repeat(once, patient=patient)

    def _guessing(self, wait: float) -> AbstractContextManager[HranaTransaction]:
        return self._write(wait, guesses=True)

    @contextmanager
    def _write(self, wait: float, *, guesses: bool = False) -> Iterator[HranaTransaction]:
        if self.read_only:
            raise refused(self.server.shown)
        now = self.now()  # may take a request, which must not be made under the lock
        if not acquire(self._gate, wait):
            raise self._locked()
        try:
            self._number += 1
            tx = HranaTransaction(
                self._stream(),
                _WRITE,
                lambda: now,
                self._commit,
                number=self._number,
                guesses=guesses,
            )
            with tx:
                yield tx
        finally:
            self._gate.release()

    def try_to_write(self) -> None:
        """Take the write lock and release it. Raises the errors that a write would raise."""
        if self.read_only:
            raise refused(self.server.shown)
        stream = self._stream()
        try:
            # The server treats the statement as a write, although nothing remains of it.
            stream.send([Statement(_WRITE), Statement(_TOUCH)])
        except Refusal as error:
            raise self.server.explain(error) from error
        finally:
            stream.close()

    def _locked(self) -> LakebedError:
        return LockTimeoutError(
            f"the write lock of {self.server.shown} was not free within {self._lock_timeout:g} "
            "seconds (lock_timeout); nothing was written"
        )

    def _repeat(self, work: Callable[[], T], *, patient: bool = True) -> T:
        """Return the result of `work`. Repeat it while it fails temporarily and without any effect.

        Unless `patient`, waiting for another writer is not repeated. Inside a call that is repeated
        as a whole, nothing is repeated by itself.
        """
        if getattr(self._local, "repeating", False):  # the outer call repeats
            return work()
        self._local.repeating = True
        try:
            return self._insist(work, patient=patient)
        finally:
            self._local.repeating = False

    def _insist(self, work: Callable[[], T], *, patient: bool = True) -> T:
        """Return the result of `work`, as `_repeat` does, even inside a call that is repeated.

        The pauses between the tries grow.
        """
        start, pause = time.monotonic(), 0.02
        while True:
            try:
                return work()
            except RepeatError:  # no need to pause
                if time.monotonic() - start > self._lock_timeout or has_left():
                    raise self._locked() from None
            except (LostError, UndoneError, BusyError, RateLimitedError) as error:
                wait = getattr(error, "retry_after", None) or pause
                longest = self._timeout
                if isinstance(error, BusyError):
                    longest = self._lock_timeout if patient else 0.0
                if time.monotonic() + wait - start > longest or has_left():
                    raise
                time.sleep(wait)
                pause = min(pause * 2, 1.0)

    # Commits

    def _commit(self, stream: Stream, waiting: Sequence[Statement]) -> None:
        """Send the waiting statements and commit.

        The commit leaves a mark. If its answer is lost, the mark tells whether it happened.
        """
        token = max(time.time_ns() // 1000, (self._last or 0) + 1)
        mark = Statement(_MARK, {"id": self._id, "before": self._last, "token": token})
        make = [] if self._last else [Statement(_MAKE_MARKS)]
        try:
            stream.send([*waiting, *make, mark, Statement("COMMIT")], last=True)
        except Refusal as error:
            if "malformed JSON" not in str(error):
                raise self.server.explain(error) from error
            self._last = self._find_mark()
            raise UndoneError(f"a commit to {self.server.shown} was overtaken") from error
        except (LostError, UndoneError) as error:
            self._settle(token, error)
        self._last = token

    def _settle(self, token: int, error: LakebedError) -> None:
        """Return if the commit with this token happened. Otherwise raise, and it will never happen.

        This takes the write lock, so an earlier transaction has ended. It writes a new mark, which
        undoes a commit that is still on its way. Raises `_UnsettledError` if the server cannot be
        asked.
        """
        try:
            found = self._insist(lambda: self._fence(token))
        except LakebedError as unknown:
            raise _UnsettledError(
                f"the connection to {self.server.shown} was lost during a commit, and it is "
                f"unknown whether it happened: {unknown}"
            ) from error
        if found != token:
            raise UndoneError(f"a commit to {self.server.shown} did not happen: {error}") from error

    def _fence(self, token: int) -> object:
        """Return the present mark, read under the write lock. Unless it is `token`, write another
        one."""
        stream = self._stream()
        mine = {"id": self._id}
        look = [Statement(_WRITE), Statement(_MAKE_MARKS), Statement(_GET_MARK, mine)]
        try:
            rows = stream.send(look)[-1].rows
            found = rows[0][0] if rows else None
            if found != token:
                fence = Statement(_SET_MARK, {**mine, "token": token + 1})
                stream.send([fence, Statement("COMMIT")], last=True)
                self._last = token + 1
            return found
        except Refusal as error:
            raise self.server.explain(error) from error
        finally:
            stream.close()

    def _find_mark(self) -> int | None:
        rows = self.fetch(_GET_MARK, {"id": self._id})
        return int(rows[0][0]) if rows else None

    # Ending

    def scrub(self, *, thorough: bool = True) -> Sequence[str]:
        return (_DEAD_ROWS,) if thorough else ()

    def close(self) -> None:
        self._closed = True
        self.server.close()
