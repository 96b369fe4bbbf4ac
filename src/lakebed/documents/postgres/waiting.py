"""Connections for coroutines: psycopg's async pool."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.pq import TransactionStatus
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from lakebed.catalog.postgres.errors import EXHAUSTED, SESSION, is_retired
from lakebed.catalog.postgres.server import Server, check_encoding
from lakebed.documents.postgres.pools import CLOSED, Limits, Pool, Rows, Session, prepare
from lakebed.errors import CatalogError, ConnectError, LakebedError

if TYPE_CHECKING:
    from psycopg import AsyncConnection

_GRACE = 2.0  # seconds that a server may take to report a timeout


class _Connection(psycopg.AsyncConnection[Any]):
    def __repr__(self) -> str:
        # psycopg's own repr names host, user and database, and its pool logs that.
        return f"<{type(self).__name__} at {id(self):#x}>"


class _MaskingPool(AsyncConnectionPool[_Connection]):
    """A pool that logs errors without secrets. `hide`: a function that removes them."""

    def __init__(self, *args: Any, hide: Callable[[Exception], None], **options: Any) -> None:
        super().__init__(*args, connection_class=_Connection, **options)
        self._hide = hide

    async def _connect(self, timeout: float | None = None) -> _Connection:
        try:
            return await super()._connect(timeout)
        except Exception as error:
            self._hide(error)
            raise


class _Session(Session):
    def __init__(self, pool: WaitingPool, connection: AsyncConnection[Any]) -> None:
        self._pool = pool
        self._connection = connection
        self._given_back = False

    async def fetch(self, sql: str, params: Sequence[Any] = ()) -> Rows:
        async with self._pool.explaining(self._connection):
            cursor = await self._connection.execute(sql, params, binary=True)
            return await cursor.fetchall() if cursor.description else []

    async def many(self, sql: str, params: Sequence[Sequence[Any]]) -> None:
        async with self._pool.explaining(self._connection):
            await self._connection.cursor().executemany(sql, params)

    async def script(self, sql: str) -> None:
        async with self._pool.explaining(self._connection):
            await self._connection.execute(sql.encode(), prepare=False)

    async def give_back(self) -> None:
        if self._given_back:
            return
        self._given_back = True
        connection = self._connection
        if not connection.closed and connection.info.transaction_status != TransactionStatus.IDLE:
            try:
                await connection.rollback()
            except psycopg.Error:
                await connection.close()  # this also ends the statement
        await self._pool.put(connection)


class WaitingPool(Pool):
    """Connections for the coroutines of one event loop."""

    blocking = False

    def __init__(self, server: Server, limits: Limits) -> None:
        self.server = server
        self.timeout = limits.timeout
        self._limits = limits
        self._pool: _MaskingPool | None = None
        self._opening = asyncio.Lock()
        self._closed = False

    async def fetch(self, sql: str, params: Sequence[Any] = ()) -> Rows:
        connection = await self._take()
        try:
            async with self.explaining(connection):
                cursor = await connection.execute(sql, params, binary=True)
                return await cursor.fetchall() if cursor.description else []
        finally:
            await self.put(connection)

    async def session(self) -> Session:
        return _Session(self, await self._take())

    @asynccontextmanager
    async def explaining(self, connection: AsyncConnection[Any]) -> AsyncIterator[None]:
        """Turn the driver's errors in the block into Lakebed's, and limit the time it waits."""
        try:
            limit = max(self._limits.statement_timeout, self._limits.lock_timeout) + _GRACE
            async with asyncio.timeout(limit):
                yield
        except psycopg.Error as error:
            if is_retired(error):
                await connection.close()
            raise self.server.explain(error) from error
        except TimeoutError:
            await connection.close()
            raise ConnectError(
                f"{self.server.shown} has not answered for {limit:g} seconds", "connection_timeout"
            ) from None

    async def put(self, connection: AsyncConnection[Any]) -> None:
        """Return a connection to the pool."""
        assert self._pool is not None
        assert isinstance(connection, _Connection)
        await self._pool.putconn(connection)

    async def _take(self) -> _Connection:
        if self._closed:
            raise CatalogError(CLOSED)
        pool = self._pool or await self._open()
        try:
            return await pool.getconn(self.timeout)
        except PoolTimeout:
            raise await self._no_connection() from None

    async def _open(self) -> _MaskingPool:
        async with self._opening:
            if self._pool is None:
                await self._probe()
                pool = _MaskingPool(
                    self.server.conninfo,
                    hide=self.server.hiding.error,
                    kwargs=self._arguments,
                    min_size=1,
                    max_size=self._limits.connections,
                    timeout=self.timeout,
                    configure=self._configure,
                    open=False,
                )
                await pool.open()
                self._pool = pool
            return self._pool

    async def _arguments(self) -> dict[str, Any]:
        if self.server.login is None:
            return self.server.arguments()
        return await asyncio.to_thread(self.server.arguments)  # this may ask a service

    async def _probe(self) -> None:
        """Connect once without the pool, whose error would not say why there is no connection."""
        arguments = await self._arguments()
        try:
            connection = await psycopg.AsyncConnection.connect(self.server.conninfo, **arguments)
        except psycopg.Error as error:
            raise self.server.explain(error) from None
        async with connection:
            check_encoding(connection, self.server.shown)

    async def _no_connection(self) -> LakebedError:
        refused = await asyncio.to_thread(self.server.refusal)
        return refused or ConnectError(
            EXHAUSTED.format(
                where=self.server.shown, most=self._limits.connections, timeout=self.timeout
            ),
            "connection_timeout",
        )

    async def _configure(self, connection: _Connection) -> None:
        prepare(connection)
        if not self._limits.pooled:
            await connection.execute(
                f"{SESSION}; SET default_transaction_isolation = 'read committed'; "
                f"SET lock_timeout = {int(self._limits.lock_timeout * 1000)}; "
                f"SET statement_timeout = {int(self._limits.statement_timeout * 1000)}; "
                "SET idle_in_transaction_session_timeout = '60s'"
            )

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def check(self) -> None:
        if self._pool is not None:
            await self._pool.check()

    async def close(self) -> None:
        self._closed = True
        if self._pool is not None:
            await self._pool.close()
