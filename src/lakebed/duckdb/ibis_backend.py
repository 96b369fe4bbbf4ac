"""The Ibis backend of a query session."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import duckdb
from ibis.backends.duckdb import Backend

from lakebed.duckdb.limits import ended
from lakebed.duckdb.session import Session

if TYPE_CHECKING:
    import pyarrow as pa


class _Limit:
    """The time limit of a query on a connection, in seconds. None means no limit. The time between
    two fetches does not count."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, seconds: float | None) -> None:
        self._connection = connection
        self._seconds = seconds
        self._left = seconds

    @contextmanager
    def working(self) -> Iterator[None]:
        """Open a block whose time counts. Raises QueryError if the limit is reached inside it."""
        if self._seconds is None or self._left is None:
            yield
            return
        ending = threading.Timer(self._left, self._connection.interrupt)
        ending.daemon = True
        begun = time.monotonic()
        ending.start()
        try:
            yield
        except duckdb.InterruptException as error:
            raise ended(self._seconds) from error
        finally:
            ending.cancel()
            self._left = max(0.0, self._left - (time.monotonic() - begun))


class _LimitedCursor:
    """A cursor of DuckDB. The time of its calls and of the batches that it returns is limited."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection, limit: _Limit) -> None:
        self._cursor = cursor
        self._limit = limit

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._cursor, name)
        if not callable(found):
            return found

        def limited(*args: Any, **kwargs: Any) -> Any:
            with self._limit.working():
                return found(*args, **kwargs)

        return limited

    def fetch_record_batch(self, rows_per_batch: int = 1_000_000) -> pa.RecordBatchReader:
        """Return the rows in batches. Each batch is computed when it is read."""
        import pyarrow as pa

        with self._limit.working():
            reader = self._cursor.fetch_record_batch(rows_per_batch)
        return pa.RecordBatchReader.from_batches(reader.schema, self._batches(reader))

    def _batches(self, reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        while True:
            try:
                with self._limit.working():
                    batch = reader.read_next_batch()
            except StopIteration:
                return
            yield batch


class LakeBackend(Backend):  # type: ignore[misc] # Ibis is untyped
    """Ibis' DuckDB backend on a schema of a query session.

    Tables of backends on the same session can be joined. Each thread has its own connection. The
    backend can read only what the session can read. A query that exceeds the time limit of the
    session raises QueryError.
    """

    def __init__(self, session: Session, schema: str) -> None:
        super().__init__()
        self._session = session
        self._schema = schema
        self._local = threading.local()
        self._can_reconnect = False
        self._con_args = (f"lakebed-{id(session)}",)
        # Ibis' own `_post_connect` sets this up; the session already has its settings.
        self._record_batch_readers_consumed: dict[str, bool] = {}
        self.con.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")

    @property
    def con(self) -> duckdb.DuckDBPyConnection:
        """The connection of this thread."""
        connection: duckdb.DuckDBPyConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._session.connect()
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {self._schema}")
            connection.execute(f"USE {self._schema}")
            self._local.connection = connection
        return connection

    def raw_sql(self, query: Any, **kwargs: Any) -> Any:
        """Return the cursor of a query. DuckDB computes its rows as they are fetched."""
        if self._session.timeout is None:
            return super().raw_sql(query, **kwargs)
        limit = _Limit(self.con, self._session.timeout)
        with limit.working():
            return _LimitedCursor(super().raw_sql(query, **kwargs), limit)

    def to_pyarrow(self, expr: Any, /, **kwargs: Any) -> Any:
        """Return the result of an expression as Arrow."""
        with _Limit(self.con, self._session.timeout).working():
            return super().to_pyarrow(expr, **kwargs)

    def execute(self, expr: Any, /, **kwargs: Any) -> Any:
        """Return the result of an expression as pandas or a scalar."""
        with _Limit(self.con, self._session.timeout).working():
            return super().execute(expr, **kwargs)

    def table(self, name: str, /, *, database: Any = None) -> Any:
        """Return the table with this name in our schema. A table of the same name in another schema
        is of another moment."""
        if database is None and name in self.list_tables(database=self._schema):
            database = self._schema
        return super().table(name, database=database)
