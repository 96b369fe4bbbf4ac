"""What the SQL catalog asks of a database driver."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any, Protocol, TypeGuard, TypeVar

from lakebed.catalog.statements.dialect import Dialect
from lakebed.errors import ReadOnlyError

Params = Mapping[str, Any]
Row = tuple[Any, ...]
T = TypeVar("T")
Tx = TypeVar("Tx")


def refused(where: object) -> ReadOnlyError:
    """Return the error for a write to a catalog that was opened read-only."""
    return ReadOnlyError(
        f"cannot write to the catalog {where}: the lake was opened with read_only=True"
    )


def is_read_only(executor: object) -> bool:
    """Return whether an executor refuses every write transaction with ReadOnlyError. It says so by
    an attribute `read_only`, which an executor from outside need not have."""
    return bool(getattr(executor, "read_only", False))


def held(transaction: AbstractContextManager[Tx], begin: Callable[[Tx], T]) -> tuple[ExitStack, T]:
    """Open a transaction, and return what ends it and the result of `begin`. If `begin` raises, the
    transaction has ended."""
    with ExitStack() as stack:
        begun = begin(stack.enter_context(transaction))
        return stack.pop_all(), begun


class Transaction(Protocol):
    """An open transaction. SQL text has `:name` parameters."""

    def now(self) -> int:
        """Return the database's time in microseconds since the epoch."""
        ...

    def one(self, sql: str, params: Params) -> Row | None:
        """Return the first row, or None."""
        ...

    def all(self, sql: str, params: Params) -> Sequence[Row]:
        """Return all rows."""
        ...

    def each(self, sql: str, params: Params) -> Generator[Row]:
        """Yield the rows one by one. Close the generator if you do not need all of them."""
        ...

    def run(self, sql: str, params: Params) -> int:
        """Run a statement, and return how many rows it touched."""
        ...

    def many(self, sql: str, params: Iterable[Params]) -> None:
        """Run a statement once for each set of parameters."""
        ...

    def copy(self, table: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
        """Write many rows to a table, in the fastest way that the database has."""
        ...

    def script(self, sql: str) -> None:
        """Run several statements, separated by semicolons."""
        ...

    def insert(self, sql: str, params: Params) -> int | None:
        """Insert one row. Return its new id, or None if ON CONFLICT DO NOTHING did nothing."""
        ...


class Executor(Protocol):
    """Runs SQL on one database, from any thread and after a fork.

    Errors of the driver are raised as errors of `lakebed.errors`.
    """

    @property
    def dialect(self) -> Dialect:
        """How the database speaks SQL."""
        ...

    @property
    def schema(self) -> str | None:
        """The database schema that holds the tables, or None if the database has no schemas."""
        ...

    def now(self) -> int:
        """Return the database's time in microseconds since the epoch."""
        ...

    def stamp(self) -> int | None:
        """Return the value of `:now` in a single statement: the time, or None if the server fills
        it in."""
        ...

    def read(self, work: Callable[[Transaction], T], *, settled: bool = False) -> T:
        """Return the result of `work` in a transaction that only reads, and sees one state.

        `settled`: a state to which no version can be added that is lower than the highest one in
        it. `work` is called again if it fails for a reason that passes.
        """
        ...

    def reading(self, begin: Callable[[Transaction], T]) -> AbstractContextManager[T]:
        """Open such a transaction for as long as the block lasts. The block gets the result of
        `begin`, which is called again if it fails for a reason that passes."""
        ...

    def transact(
        self,
        work: Callable[[Transaction], T],
        *,
        exclusive: bool = False,
        patient: bool = True,
        brief: bool = False,
    ) -> T:
        """Return the result of `work` in a committed transaction that holds the write lock. If
        `work` raises, nothing has happened.

        `work` is called again if the transaction failed without any effect, for a reason that
        passes, and it finds the present state each time. If the answer to a commit is lost, this
        call finds out whether it happened, and acts accordingly.

        Where several clients may write at once, an `exclusive` transaction waits until none does,
        and lets none begin. `brief`: the work is so short that it may share its transaction with
        such work of other threads; it raises nothing but errors of `lakebed.errors`.

        Raises LockTimeoutError if the lock is not free in time, or, unless `patient`, at once.
        Raises ConnectError if it cannot be found out whether a commit has happened.
        """
        ...

    def fetch(self, sql: str, params: Params) -> Sequence[Row]:
        """Return all rows of a single read, outside a transaction. It is repeated as `read` is."""
        ...

    def scrub(self, *, thorough: bool = True) -> Sequence[str]:
        """Leave nothing of deleted rows in the database's own files. Return the places, in words,
        where something of them may be left. Unless `thorough`, do only what is quick and waits for
        nobody."""
        ...

    def close(self) -> None:
        """Close all connections. Later calls raise CatalogError."""
        ...


class Alters(Protocol):
    """An executor of a database in which a statement that changes tables ends its transaction, and
    with it the write lock."""

    def alter(self, work: Callable[[Transaction], T]) -> T:
        """Return the result of `work`, which makes or changes the tables. Until it has ended,
        nobody else makes or changes them, and `transact` has the write lock up to the first such
        statement.

        `work` may be called again after a part of it has happened. Raises what `transact` does.
        """
        ...


def alters(executor: object) -> TypeGuard[Alters]:
    """Return whether an executor is one that `Alters`. To answer isinstance, Python 3.12 and later
    load `inspect`, which takes longer than a first store."""
    return hasattr(executor, "alter")


class AutocommitExecutor(Executor, Protocol):
    """An executor that also runs statements outside any transaction of Lakebed."""

    def alone(self, sql: str, params: Params) -> Sequence[Row]:
        """Return the rows, if any, of a statement that is a transaction of its own. It is tried
        once."""
        ...
