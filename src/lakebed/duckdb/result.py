"""The result of a query."""

from __future__ import annotations

import html
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import duckdb

from lakebed.duckdb.limits import Allowance
from lakebed.duckdb.session import Session
from lakebed.errors import LakebedError, QueryError
from lakebed.values.json import decode_text
from lakebed.values.tabular import require

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

# DuckDB 2 copies rows to turn them into Arrow, and warns. `batches` avoids the copy if it can.
warnings.filterwarnings("ignore", "Arrow output on a DB-API result", UserWarning, append=True)

T = TypeVar("T")
Row = tuple[Any, ...]
_OTHERS = (TypeError, ValueError, RuntimeError, ArithmeticError, MemoryError)
_SHOWN_ROWS = 20
_SHOWN_CHARACTERS = 200
_CHUNK = 1000
_ATTEMPTS = 5  # tries to find out why a query failed


class QueryResult:
    """The rows of a query.

    `fetchone`, `fetchmany`, `fetchall` and iteration read each row once, from first to last, when
    it is needed. `arrow`, `df`, `pl` and `batches` return all rows. If some rows were fetched
    before, the query runs again over the same state of the lake. `columns` are the names of the
    columns, `types` their DuckDB types as text.

    All methods raise QueryError if the query fails or exceeds its time limit, if the lake or the
    result was closed, or if a file that the query needs was collected. The result can be used from
    any thread, by one thread at a time.
    """

    def __init__(
        self,
        session: Session,
        connection: duckdb.DuckDBPyConnection,
        execute: Callable[[], object],
        done: Callable[[], None],
        allowance: Allowance,
        again: Callable[[], duckdb.DuckDBPyRelation] | None = None,
    ) -> None:
        """`again`: runs the query again and returns its rows. Only for queries that change
        nothing."""
        self._session = session
        self._connection = connection
        self._execute = execute
        self._again = again
        self._done = done
        self._allowance = allowance
        self._closed = False
        self._lock = threading.RLock()
        self._ahead: list[Row] = []  # fetched already, to print them
        self._fetched = False
        try:
            with self._fetching():
                self._run(execute)
        except BaseException:
            self._closed = True  # the caller releases the connection
            raise
        description = connection.description or []
        self.columns = [column[0] for column in description]
        self.types = [str(column[1]) for column in description]

    @contextmanager
    def _fetching(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with self._lock, self._session.errors():
            if self._closed:
                raise QueryError("the result is closed")
            self._session.check_open()
            try:
                with self._allowance.spending():
                    yield self._connection
            except duckdb.InterruptException as error:
                raise self._find_reason(error) from error
            except LakebedError:
                raise
            except _OTHERS as error:  # from DuckDB's binding, for a parameter or a value
                raise QueryError(str(error) or "no memory is left") from error

    def _run(self, call: Callable[[], T]) -> T:
        """Return the result of a call of DuckDB. If the caller stops waiting, the QueryResult is
        closed."""
        return self._session.attend(self._connection, call, self.close)

    def _find_reason(self, error: Exception) -> Exception:
        """Find out why a stream failed.

        If another thread of DuckDB failed, the thread that reads may only learn that it was
        interrupted (DuckDB's pull request 25902). So the query runs again.
        """
        self._session.check_open()  # closing the session interrupts queries too
        for _ in range(_ATTEMPTS):
            try:
                self._run(self._exhaust)
            except duckdb.InterruptException:
                continue
            except duckdb.Error as reason:
                return reason
            break
        return error

    def _exhaust(self) -> None:
        self._execute()
        while self._connection.fetchmany(_CHUNK):
            pass

    def fetchone(self) -> Row | None:
        """Return the next row as a tuple; None at the end. Raises QueryError if the query fails."""
        rows = self.fetchmany(1)
        return rows[0] if rows else None

    def fetchmany(self, size: int = _CHUNK) -> list[Row]:
        """Return a list of at most `size` next rows, as tuples. At the end, the list is empty.
        Raises QueryError if the query fails."""
        with self._fetching() as connection:
            self._fetched = True
            rows, self._ahead = self._ahead[:size], self._ahead[size:]
            if len(rows) < size:
                missing = size - len(rows)
                rows += self._run(lambda: connection.fetchmany(missing))
        return rows

    def fetchall(self) -> list[Row]:
        """Return a list of all rows that were not fetched yet, as tuples. Raises QueryError if the
        query fails."""
        with self._fetching() as connection:
            self._fetched = True
            rows, self._ahead = self._ahead, []
            return rows + self._run(connection.fetchall)

    def __iter__(self) -> Iterator[Row]:
        while rows := self.fetchmany():
            yield from rows

    def arrow(self) -> pa.Table:
        """Return all rows as a pyarrow Table. Raises QueryError if the query fails."""
        with self._fetching() as connection:
            self._rewind()
            return self._run(connection.to_arrow_table)

    def batches(self, rows: int = 50_000) -> pa.RecordBatchReader:
        """Return all rows as a pyarrow RecordBatchReader, in batches of about `rows` rows.

        Raises QueryError if the query fails. Reading the batches may raise it too.
        """
        with self._fetching() as connection:
            again, abort = self._again, getattr(connection, "abort", None)
            if again is not None and abort is not None:
                # Otherwise DuckDB 2 would copy all rows at once, beyond any limit of memory.
                self._fetched, self._ahead = True, []
                self._run(abort)
                reader = self._run(lambda: again().to_arrow_reader(rows))
            else:
                self._rewind()
                reader = self._run(lambda: connection.to_arrow_reader(rows))
        import pyarrow as pa

        return pa.RecordBatchReader.from_batches(reader.schema, self._each(reader))

    def _each(self, reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        while True:
            with self._fetching():
                try:
                    batch = self._run(lambda: next(reader, None))
                except (pa.ArrowException, OSError) as error:  # DuckDB's error, passed on by Arrow
                    reason: Exception = error
                    if "interrupted" in str(error).lower():
                        reason = self._find_reason(error)
                    raise self._session.explain(reason) from error
            if batch is None:
                return
            yield batch

    def df(self, *, decode_json: bool = True) -> pd.DataFrame:
        """Return all rows as a pandas DataFrame.

        `decode_json`: columns of DuckDB's type JSON hold decoded values: dicts, lists, strings,
        numbers. If False, they hold the JSON text.

        Raises QueryError if the query fails, and DependencyMissingError, with the pip command, if
        pandas is not installed.
        """
        require("pandas")
        import pandas as pd

        with self._fetching() as connection:
            self._rewind()
            frame: pd.DataFrame = self._run(connection.df)
        if decode_json:
            for place, kind in enumerate(self.types):
                if kind == "JSON":
                    texts = frame.iloc[:, place]
                    values = [decode_text(t) if isinstance(t, str) else None for t in texts]
                    frame.isetitem(place, pd.Series(values, texts.index, object))
        return frame

    def pl(self) -> pl.DataFrame:
        """Return all rows as a polars DataFrame.

        Raises QueryError if the query fails or polars cannot hold its result, and
        DependencyMissingError, with the pip command, if polars is not installed.
        """
        require("polars")
        import polars as pl

        table = self.arrow()
        try:
            frame = pl.from_arrow(table)
        except pl.exceptions.PolarsError as error:
            raise QueryError(f"polars cannot hold this result: {error}") from error
        assert isinstance(frame, pl.DataFrame)
        return frame

    def _rewind(self) -> None:
        if self._fetched:
            self._run(self._execute)
        self._fetched, self._ahead = True, []

    def close(self) -> None:
        """Release the connection and the files of the result. Later calls raise QueryError."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._done()

    def __del__(self) -> None:
        if hasattr(self, "_lock"):
            self.close()

    def _shown(self) -> tuple[list[Row], bool]:
        """Return the next rows, and whether there are more. The rows can still be fetched."""
        rows = self.fetchmany(_SHOWN_ROWS + 1)
        with self._lock:
            self._ahead = rows + self._ahead
        return rows[:_SHOWN_ROWS], len(rows) > _SHOWN_ROWS

    def __repr__(self) -> str:
        rows, more = self._shown()
        lines = [", ".join(self.columns), *(", ".join(map(_short, row)) for row in rows)]
        return "\n  ".join(["<QueryResult", *lines, *["…"] * more]) + ">"

    def _repr_html_(self) -> str:
        from lakebed.values.html import table

        rows, more = self._shown()
        note = "… and more rows" if more else None
        return table("", self.columns, rows, limit=len(rows), more=note, show=_cell)


def _cell(value: object) -> str:
    return html.escape(_short(value))


def _short(value: object) -> str:
    text = "NULL" if value is None else str(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"
