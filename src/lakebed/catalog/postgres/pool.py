"""The connections of a Postgres catalog: a pool that is opened at its first use."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lakebed.catalog.postgres.errors import EXHAUSTED, SESSION, is_retired
from lakebed.catalog.postgres.server import Server
from lakebed.catalog.postgres.writers import Writers
from lakebed.errors import CatalogError, ConnectError, LakebedError
from lakebed.observing import tell
from lakebed.waiting import waiting

if TYPE_CHECKING:
    import psycopg
    from psycopg import Connection
    from psycopg_pool import ConnectionPool

    from lakebed.catalog.postgres.connection import Watch, WatchedConnection

_GRACE = 2.0  # seconds that a server may take to report a timeout
_IDLE = "'60s'"  # how long a client that vanished may keep its locks


class PostgresConnections:
    """A pool of connections to one server, for any thread and after a fork.

    A thread that is in a transaction always gets the transaction's connection. `sizes`: the
    smallest and the largest number of connections. Times are in seconds.
    """

    def __init__(
        self,
        server: Server,
        *,
        sizes: tuple[int, int],
        timeout: float,
        lock_timeout: float,
        statement_timeout: float,
        pooled: bool,
    ) -> None:
        self.server = server
        self.timeout = timeout
        self.lock_timeout = lock_timeout
        self.pooled = pooled
        self._statement_timeout = statement_timeout
        self._sizes = sizes
        self._inherited: list[object] = []
        self._closed = False
        self._start()
        _all.add(self)

    def _start(self) -> None:
        self._pool: ConnectionPool[Any] | None = None
        self._watch: Watch | None = None
        self.writers = Writers()
        self._opening = threading.Lock()
        self._local = threading.local()

    @contextmanager
    def connection(self) -> Iterator[Connection[Any]]:
        """Open a block with a connection of the pool.

        Errors of the driver become errors of `lakebed.errors`. Raises CatalogError once the pool is
        closed.
        """
        import psycopg

        connection = self._take()
        try:
            yield connection
        except psycopg.Error as error:
            raise self._explain(connection, error) from error
        finally:
            self._give_back(connection)

    def _take(self) -> Connection[Any]:
        current: Connection[Any] | None = getattr(self._local, "connection", None)
        if current is not None:  # this thread is in a transaction, and reads its state
            return current
        if self._closed:
            raise CatalogError("the lake is closed")
        from psycopg_pool import PoolTimeout

        pool = self._pool or self._open_pool()
        start = time.monotonic()
        try:
            taken: Connection[Any] = pool.getconn(self.timeout)
        except PoolTimeout:
            raise self._no_connection() from None
        tell("lock.wait", time.monotonic() - start, "connection")
        return taken

    def _give_back(self, connection: Connection[Any]) -> None:
        if self._pool is not None and connection is not getattr(self._local, "connection", None):
            self._pool.putconn(connection)

    def _explain(self, connection: Connection[Any], error: psycopg.Error) -> LakebedError:
        if is_retired(error):
            connection.close()
        return self.server.explain(error)

    def _open_pool(self) -> ConnectionPool[Any]:
        from lakebed.catalog.postgres.connection import WarmPool, Watch

        with self._opening:
            if self._pool is None:
                with waiting(f"no answer from {self.server.shown} yet"):
                    self.server.probe()
                least, most = self._sizes
                self._watch = Watch(max(self._statement_timeout, self.lock_timeout) + _GRACE)
                pool = WarmPool(
                    self.server.conninfo,
                    hide=self.server.hiding.error,
                    kwargs=self.server.arguments if self.server.login else self.server.arguments(),
                    min_size=least,
                    max_size=most,
                    timeout=self.timeout,
                    configure=self._configure,
                    open=False,
                )
                pool.open()
                self._pool = pool
            return self._pool

    def _configure(self, connection: WatchedConnection) -> None:
        """Prepare a new connection. If sessions are shared, nothing is set in them."""
        from psycopg.types.numeric import Int8Dumper

        if self._watch:
            self._watch.add(connection)
        connection.adapters.register_dumper(int, Int8Dumper)
        if not self.pooled:
            connection.execute(
                f"{SESSION}; SET default_transaction_isolation = 'read committed'; "
                f"SET lock_timeout = {int(self.lock_timeout * 1000)}; "
                f"SET statement_timeout = {int(self._statement_timeout * 1000)}; "
                f"SET idle_in_transaction_session_timeout = {_IDLE}"
            )

    def _no_connection(self) -> LakebedError:
        """Return the error for a pool that gave no connection.

        It is the server's own answer, or says that all connections are in use.
        """
        where = self.server.shown
        return self.server.refusal() or ConnectError(
            EXHAUSTED.format(where=where, most=self._sizes[1], timeout=self.timeout),
            "connection_timeout",
        )

    def close(self) -> None:
        """Close the pool, once running calls have returned their connections."""
        with self._opening:
            self._closed = True
            pool = self._pool
        if pool is None or pool.closed:
            return
        deadline = time.monotonic() + self.timeout
        while time.monotonic() < deadline:
            stats = pool.get_stats()
            if stats["pool_available"] >= stats["pool_size"]:
                break
            time.sleep(0.01)
        pool.close()
        if self._watch:
            self._watch.stop()

    def after_fork_in_child(self) -> None:
        """Leave the parent's connections alone. New ones are opened when they are needed."""
        if self._pool is not None:
            self._inherited.append(self._pool)  # closing the pool would end the parent's sessions
        self._start()


_all: weakref.WeakSet[PostgresConnections] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for connections in list(_all):
        connections.after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
