"""A database that fails as a test has planned."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, TypeVar

from lakebed.catalog.statements.dialect import Dialect
from lakebed.catalog.statements.executor import Executor, Params, Row, Transaction
from lakebed.errors import CatalogError
from lakebed.testing.faults import Crash

DatabaseFault = Literal["fail", "lose", "crash"]
T = TypeVar("T")


class FaultyExecutor:
    """An `Executor` around another one. One of its calls fails as a test has planned.

    A call is a statement, or the begin or commit of a transaction.

    | fault | the call |
    | --- | --- |
    | `fail` | raises CatalogError and does nothing |
    | `lose` | does its work, then raises CatalogError, as if the answer was lost |
    | `crash` | raises `Crash` before it does anything. No clean-up code catches `Crash` |

    `calls`: the names of the calls since `plan`.
    """

    def __init__(self, inner: Executor) -> None:
        self._inner = inner
        self._number: int | None = None
        self._fault: DatabaseFault = "fail"
        self.calls: list[str] = []

    def plan(self, number: int | None = None, fault: DatabaseFault = "fail") -> None:
        """Choose the call that fails by its number: 0 is the next one. None: no call fails."""
        self._number = number
        self._fault = fault
        self.calls = []

    @contextmanager
    def call(self, name: str) -> Iterator[None]:
        """Count the call in the block. Fail if it was chosen."""
        chosen = len(self.calls) == self._number
        self.calls.append(name)
        if chosen:
            self._break(name)
        yield
        if chosen:
            raise CatalogError(f"injected: no answer to {name}")

    def _break(self, name: str) -> None:
        if self._fault == "crash":
            raise Crash(name)
        if self._fault == "fail":
            raise CatalogError(f"injected: {name} failed")

    @property
    def dialect(self) -> Dialect:
        return self._inner.dialect

    @property
    def schema(self) -> str | None:
        return self._inner.schema

    def now(self) -> int:
        return self._inner.now()

    def stamp(self) -> int | None:
        return self._inner.stamp()

    def read(self, work: Callable[[Transaction], T], *, settled: bool = False) -> T:
        with self.call("begin"):
            return self._inner.read(lambda tx: work(_FaultyTransaction(self, tx)), settled=settled)

    @contextmanager
    def reading(self, begin: Callable[[Transaction], T]) -> Iterator[T]:
        with (
            self.call("begin"),
            self._inner.reading(lambda tx: begin(_FaultyTransaction(self, tx))) as begun,
        ):
            yield begun

    def transact(
        self,
        work: Callable[[Transaction], T],
        *,
        exclusive: bool = False,
        patient: bool = True,
        brief: bool = False,
    ) -> T:
        lost = False

        def run(tx: Transaction) -> T:
            nonlocal lost
            result = work(_FaultyTransaction(self, tx))
            lost = len(self.calls) == self._number
            self.calls.append("commit")
            if lost:
                self._break("commit")
            return result

        with self.call("begin"):
            pass
        result = self._inner.transact(run, exclusive=exclusive, patient=patient, brief=brief)
        if lost:
            raise CatalogError("injected: no answer to commit")
        return result

    def fetch(self, sql: str, params: Params) -> Sequence[Row]:
        with self.call(sql):
            return self._inner.fetch(sql, params)

    def scrub(self, *, thorough: bool = True) -> Sequence[str]:
        with self.call("scrub"):
            return self._inner.scrub(thorough=thorough)

    def close(self) -> None:
        self._inner.close()


class _FaultyTransaction:
    def __init__(self, executor: FaultyExecutor, inner: Transaction) -> None:
        self._call = executor.call
        self._inner = inner

    def now(self) -> int:
        return self._inner.now()

    def one(self, sql: str, params: Params) -> Row | None:
        with self._call(sql):
            return self._inner.one(sql, params)

    def all(self, sql: str, params: Params) -> Sequence[Row]:
        with self._call(sql):
            return self._inner.all(sql, params)

    def each(self, sql: str, params: Params) -> Generator[Row]:
        with self._call(sql):
            return self._inner.each(sql, params)

    def run(self, sql: str, params: Params) -> int:
        with self._call(sql):
            return self._inner.run(sql, params)

    def many(self, sql: str, params: Iterable[Params]) -> None:
        with self._call(sql):
            self._inner.many(sql, params)

    def copy(self, table: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
        with self._call(f"copy to {table}"):
            self._inner.copy(table, columns, rows)

    def script(self, sql: str) -> None:
        with self._call(sql):
            self._inner.script(sql)

    def insert(self, sql: str, params: Params) -> int | None:
        with self._call(sql):
            return self._inner.insert(sql, params)
