"""Ibis over a query session."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import duckdb
from ibis.backends.duckdb import Backend

from lakebed.query.limits import ended
from lakebed.query.session import Session


class LakeBackend(Backend):  # type: ignore[misc] # Ibis is untyped
    """Ibis' DuckDB backend on a schema of a query session.

    Backends on one session count as one: their tables join. Each thread has a connection of its
    own. Reads what the session reads, and nothing else. What takes longer than the session's
    queries may is a QueryError.
    """

    def __init__(self, session: Session, schema: str) -> None:
        super().__init__()
        self._session = session
        self._schema = schema
        self._local = threading.local()
        self._can_reconnect = False
        self._con_args = (f"lakebed-{id(session)}",)
        # What Ibis' own `_post_connect` sets up; the settings there are the session's already.
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

    @contextmanager
    def _limited(self) -> Iterator[None]:
        """Ends what this thread does on its connection when its time is over."""
        seconds = self._session.timeout
        if seconds is None:
            yield
            return
        ending = threading.Timer(seconds, self.con.interrupt)
        ending.daemon = True
        ending.start()
        try:
            yield
        except duckdb.InterruptException as error:
            raise ended(seconds) from error
        finally:
            ending.cancel()

    def raw_sql(self, query: Any, **kwargs: Any) -> Any:
        """The cursor of a query, which has ended when this returns."""
        with self._limited():
            return super().raw_sql(query, **kwargs)

    def to_pyarrow(self, expr: Any, /, **kwargs: Any) -> Any:
        """The result of an expression as Arrow."""
        with self._limited():
            return super().to_pyarrow(expr, **kwargs)

    def execute(self, expr: Any, /, **kwargs: Any) -> Any:
        """The result of an expression as pandas or a scalar."""
        with self._limited():
            return super().execute(expr, **kwargs)

    def table(self, name: str, /, *, database: Any = None) -> Any:
        """A table by its name, told apart from those of the same name at other moments."""
        if database is None and name in self.list_tables(database=self._schema):
            database = self._schema
        return super().table(name, database=database)
