"""A transaction on a stream. A statement whose answer is not needed is sent with the next one."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Sequence
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING

from lakebed.catalog.hrana.protocol import Refusal, Result, Statement
from lakebed.catalog.hrana.server import GuessError
from lakebed.catalog.sqlite.script import statements
from lakebed.catalog.statements.executor import Params, Row
from lakebed.errors import CatalogError, LakebedError, StorageError

if TYPE_CHECKING:
    from lakebed.catalog.hrana.stream import Stream

LONGEST = 4.0  # seconds; after five, the server gives the write lock to another client
_ROWS = 200  # rows in one INSERT
_BYTES = 1 << 20  # of statements that wait to be sent
_WAITING = 500  # statements that wait to be sent
_PAGE = 20_000  # rows asked for at once if a result is too large for one answer
_TOO_LARGE = "RESPONSE_TOO_LARGE"
_CONTROL = ("SAVEPOINT", "RELEASE", "ROLLBACK TO")


class HranaTransaction:
    """A transaction. See `Transaction` for its calls.

    Nothing is sent before the first statement whose answer is needed. BEGIN is sent with that
    statement, and COMMIT with the last one.
    """

    def __init__(
        self,
        stream: Stream,
        begin: str,
        now: Callable[[], int],
        commit: Callable[[Stream, Sequence[Statement]], None] | None,
        *,
        number: int = 0,
        guesses: bool = False,
    ) -> None:
        """`commit`: sends the waiting statements and commits. It is None for a transaction that
        only reads. `number`: counts the write transactions of a client. `guesses`: whether the
        caller repeats the work after GuessError."""
        self._stream = stream
        self._commit = commit
        self._waiting = [Statement(begin)]
        self._bytes = 0
        self._began: float | None = None
        self._failed: LakebedError | None = None  # after it, nothing may be committed
        self._guessed = False  # whether the server has yet to confirm a guess
        self.number = number
        self.guesses = guesses
        self.committed = False
        self.now = now

    def __enter__(self) -> HranaTransaction:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None or self._commit is None:
            self._stream.close()  # rolls back
            if self._guessed and isinstance(error, LakebedError):
                raise GuessError(f"an error came of a guess: {error}") from error
        elif self._failed is not None:
            self._stream.close()
            raise self._failed
        elif self._began is not None or len(self._waiting) > 1:
            self._check_time()
            self._commit(self._stream, self._waiting)
            self.committed = True

    # Statements whose answers are needed now.

    def one(self, sql: str, params: Params) -> Row | None:
        rows = self.all(sql, params)
        return rows[0] if rows else None

    def all(self, sql: str, params: Params) -> Sequence[Row]:
        try:
            return self._send(Statement(sql, params))[0].rows
        except Refusal as error:
            if error.code != _TOO_LARGE:
                raise self._stream.server.explain(error) from error
        return self._paged(sql, params)

    def each(self, sql: str, params: Params) -> Generator[Row]:
        yield from self.all(sql, params)

    def run(self, sql: str, params: Params) -> int:
        if sql.startswith(_CONTROL):
            self.later(sql, params)
            return 0
        return self.together(Statement(sql, params))[0].changed

    def insert(self, sql: str, params: Params) -> int | None:
        (found,) = self.together(Statement(sql, params))
        return found.last_id if found.changed else None

    def together(self, *statements: Statement) -> list[Result]:
        """Return the results of several statements, in one request."""
        try:
            return self._send(*statements)
        except Refusal as error:
            raise self._stream.server.explain(error) from error

    # Statements that may wait.

    def later(self, sql: str, params: Params | Row) -> None:
        """Run a statement with the next one whose result is needed, or with the commit."""
        self._waiting.append(Statement(sql, params))
        values = params.values() if isinstance(params, dict) else params
        self._bytes += sum(len(value) for value in values if isinstance(value, (str, bytes)))
        if self._bytes > _BYTES or len(self._waiting) > _WAITING:
            self.together()

    def assume(self, *statements: Statement) -> None:
        """Run statements as `later` does. If one fails with GUESS, a guess was wrong.

        The request that sends them then raises GuessError.
        """
        self._waiting += statements
        self._guessed = True

    def many(self, sql: str, params: Iterable[Params]) -> None:
        for one in params:
            self.later(sql, one)

    def copy(self, table: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
        names = ", ".join(f'"{column}"' for column in columns)
        mark = f"({', '.join('?' * len(columns))})"
        coming = iter(rows)
        while some := list(islice(coming, _ROWS)):
            marks = ", ".join([mark] * len(some))
            # The names are the catalog's own, never a caller's.
            insert = f"INSERT INTO {table} ({names}) VALUES {marks}"  # noqa: S608
            self.later(insert, tuple(value for row in some for value in row))

    def script(self, sql: str) -> None:
        for statement in statements(sql):
            self.later(statement, {})

    # Sending.

    def _send(self, *statements: Statement) -> list[Result]:
        if self._failed is not None:
            raise self._failed
        self._check_time()
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        try:
            results = self._stream.send([*waiting, *statements])
        except Refusal as error:
            if error.code != _TOO_LARGE:
                self._failed = self._stream.server.explain(error)
            raise
        except LakebedError as error:
            self._failed = error
            raise
        self._guessed = False
        if self._began is None:
            self._began = time.monotonic()  # it has the lock now, for which it may have waited
        return results[len(waiting) :]

    def _check_time(self) -> None:
        """Raise an error if the server is about to end the transaction.

        The server would undo it, and would report that only at the commit.
        """
        if self._commit is None or self._began is None:
            return
        if time.monotonic() - self._began > LONGEST:
            raise CatalogError(
                f"{self._stream.server.shown} ends a transaction that holds the write lock for "
                "more than five seconds, and this one would take longer: nothing was written; "
                "store a large batch in parts, as atomic=False does"
            )

    def _paged(self, sql: str, params: Params) -> Sequence[Row]:
        """Return the rows of a result that one answer cannot hold."""
        rows: list[Row] = []
        page = _PAGE
        paged = f"SELECT * FROM ({sql}) LIMIT :page_rows OFFSET :page_start"  # noqa: S608
        while True:
            bounds = {**params, "page_rows": page, "page_start": len(rows)}
            try:
                some = self._send(Statement(paged, bounds))[0].rows
            except Refusal as error:
                if error.code != _TOO_LARGE:
                    raise self._stream.server.explain(error) from error
                if page == 1:
                    raise StorageError(
                        f"an entry is larger than an answer of {self._stream.server.shown} may be"
                    ) from error
                page = max(1, page // 4)
                continue
            rows += some
            if len(some) < page:
                return rows
