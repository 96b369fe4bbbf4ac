"""What the SQL catalog asks of a driver."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from lakebed.errors import ReadOnlyError

Params = Mapping[str, Any]
Row = tuple[Any, ...]
T = TypeVar("T")


def refused(where: object) -> ReadOnlyError:
    """The error for a write to a catalog that was opened to be read."""
    return ReadOnlyError(
        f"cannot write to the catalog {where}: the lake was opened with read_only=True"
    )


def is_read_only(executor: object) -> bool:
    """Whether an executor refuses every write transaction, with ReadOnlyError: its attribute
    `read_only`, which one from outside need not have."""
    return bool(getattr(executor, "read_only", False))


class Transaction(Protocol):
    """An open transaction. SQL text has `:name` parameters."""

    def now(self) -> int:
        """The database's time in microseconds since the epoch."""
        ...

    def one(self, sql: str, params: Params) -> Row | None:
        """The first row."""
        ...

    def all(self, sql: str, params: Params) -> Sequence[Row]:
        """All rows."""
        ...

    def each(self, sql: str, params: Params) -> Generator[Row]:
        """The rows one by one, for whom may need a few only: close it then."""
        ...

    def run(self, sql: str, params: Params) -> int:
        """Run a statement; how many rows it touched."""
        ...

    def many(self, sql: str, params: Iterable[Params]) -> None:
        """Run a statement for each set of parameters."""
        ...

    def copy(self, table: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
        """Bring many rows into a table, the fastest way that the database has."""
        ...

    def script(self, sql: str) -> None:
        """Run several statements, parted by semicolons."""
        ...

    def insert(self, sql: str, params: Params) -> int | None:
        """Insert one row; its new id, or None where ON CONFLICT DO NOTHING did nothing."""
        ...


class Executor(Protocol):
    """Runs SQL on one database, from any thread and after a fork.

    Driver errors leave as errors of `lakebed.errors`.
    """

    @property
    def dialect(self) -> str:
        """Names the folder of `catalog_sql` whose queries override the portable ones."""
        ...

    @property
    def schema(self) -> str | None:
        """The database's schema that holds the tables; None where there are no schemas."""
        ...

    def now(self) -> int:
        """The database's time in microseconds since the epoch."""
        ...

    def stamp(self) -> int | None:
        """What `:now` takes in a single statement: the time, or None where the server tells."""
        ...

    def read(self) -> AbstractContextManager[Transaction]:
        """A transaction in which all reads see one state."""
        ...

    def write(
        self, *, patient: bool = True, exclusive: bool = False
    ) -> AbstractContextManager[Transaction]:
        """A transaction that holds the write lock; commits at the end, rolls back on an error.

        Where several may write at once, an `exclusive` one waits until no other does, and keeps
        others waiting.

        LockTimeoutError if the lock is not free in time, at once if not `patient`.
        """
        ...

    def fetch(self, sql: str, params: Params) -> Sequence[Row]:
        """All rows of a single read, outside a transaction."""
        ...

    def repeat(self, work: Callable[[], T]) -> T:
        """The result of `work`, done again for a while if it failed, without any effect, for a
        reason that passes."""
        ...

    def scrub(self, *, thorough: bool = True) -> Sequence[str]:
        """Leave nothing of deleted rows in the database's own files: the places, in words, where
        something of them may be left. If not `thorough`, only what is quick and waits for nobody.
        """
        ...

    def close(self) -> None:
        """Close all connections. Later calls raise."""
        ...
