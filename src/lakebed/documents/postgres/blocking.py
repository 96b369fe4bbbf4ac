"""Blocking connections. They come from the same pool as those of a catalog."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lakebed.catalog.postgres.pool import PostgresConnections
from lakebed.catalog.postgres.server import Server
from lakebed.catalog.postgres.transaction import leave
from lakebed.documents.postgres.pools import CLOSED, Limits, Pool, Rows, Session, prepare
from lakebed.errors import CatalogError

if TYPE_CHECKING:
    from psycopg import Connection

    from lakebed.catalog.postgres.connection import WatchedConnection


class _Connections(PostgresConnections):
    """The pool of a catalog, with the calls that documents need."""

    def _configure(self, connection: WatchedConnection) -> None:
        super()._configure(connection)
        prepare(connection)

    def take(self) -> Connection[Any]:
        if self._closed:
            raise CatalogError(CLOSED)
        return self._take()

    def run(self, connection: Connection[Any], sql: str, params: Sequence[Any]) -> Rows:
        import psycopg

        try:
            cursor = connection.execute(sql, params, binary=True)
            return cursor.fetchall() if cursor.description else []
        except psycopg.Error as error:
            raise self._explain(connection, error) from error

    def fetch(self, sql: str, params: Sequence[Any]) -> Rows:
        connection = self.take()
        try:
            return self.run(connection, sql, params)
        finally:
            self._give_back(connection)

    def many(self, connection: Connection[Any], sql: str, params: Sequence[Sequence[Any]]) -> None:
        import psycopg

        try:
            connection.cursor().executemany(sql, params)
        except psycopg.Error as error:
            raise self._explain(connection, error) from error

    def script(self, connection: Connection[Any], sql: str) -> None:
        import psycopg

        try:
            connection.execute(sql.encode(), prepare=False)
        except psycopg.Error as error:
            raise self._explain(connection, error) from error

    def give_back(self, connection: Connection[Any]) -> None:
        leave(connection)
        self._give_back(connection)

    def check(self) -> None:
        if self._pool is not None:
            self._pool.check()


class _Session(Session):
    def __init__(self, connections: _Connections) -> None:
        self._connections = connections
        self._connection = connections.take()
        self._given_back = False

    async def fetch(self, sql: str, params: Sequence[Any] = ()) -> Rows:
        return self._connections.run(self._connection, sql, params)

    async def many(self, sql: str, params: Sequence[Sequence[Any]]) -> None:
        self._connections.many(self._connection, sql, params)

    async def script(self, sql: str) -> None:
        self._connections.script(self._connection, sql)

    async def give_back(self) -> None:
        if not self._given_back:
            self._given_back = True
            self._connections.give_back(self._connection)


class BlockingPool(Pool):
    """Connections for programs without an event loop, for any thread and also after a fork."""

    blocking = True

    def __init__(self, server: Server, limits: Limits) -> None:
        self.server = server
        self.timeout = limits.timeout
        self._connections = _Connections(
            server,
            sizes=(1, limits.connections),
            timeout=limits.timeout,
            lock_timeout=limits.lock_timeout,
            statement_timeout=limits.statement_timeout,
            pooled=limits.pooled,
        )

    async def fetch(self, sql: str, params: Sequence[Any] = ()) -> Rows:
        return self._connections.fetch(sql, params)

    async def session(self) -> Session:
        return _Session(self._connections)

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    async def check(self) -> None:
        self._connections.check()

    async def close(self) -> None:
        self._connections.close()
