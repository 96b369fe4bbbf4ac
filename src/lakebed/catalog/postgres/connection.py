"""Connections to Postgres on which no statement can wait for ever."""

from __future__ import annotations

import os
import socket
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any, TypeVar

import psycopg
from psycopg_pool import ConnectionPool

from lakebed.leaving import current

T = TypeVar("T")

_CANCEL = 5.0  # seconds to tell the server to cancel


class WatchedConnection(psycopg.Connection[Any]):
    """A connection that knows how long it has been waiting for its server."""

    asked: float | None = None

    def wait(self, gen: Generator[Any, Any, T], *args: Any, **options: Any) -> T:
        self.asked = time.monotonic()
        call = current.get()
        if call is not None:
            call.waits(self._cancel)
        try:
            return super().wait(gen, *args, **options)
        finally:
            if call is not None:
                call.waits(None)
            self.asked = None

    def _cancel(self) -> None:
        """Have the server end the statement that this connection waits for.

        Called from another thread.
        """
        with suppress(psycopg.Error):  # the next check cancels again
            self.cancel_safe(timeout=_CANCEL)

    def __repr__(self) -> str:
        # psycopg's text names host, user and database, and its pool logs that text.
        return f"<{type(self).__name__} at {id(self):#x}>"

    def cut(self) -> None:
        """End the connection from another thread. This wakes the thread that waits on it."""
        with socket.socket(fileno=os.dup(self.fileno())) as copy:
            copy.shutdown(socket.SHUT_RDWR)


class _NewestFirst(deque[Any]):
    """A queue that gives back the newest item first."""

    popleft = deque.pop


class WarmPool(ConnectionPool[WatchedConnection]):
    """A pool that prefers the connection that was used last.

    The server process and the statements of that connection are warm. psycopg's own pool uses all
    connections in turn, which made reads by one thread half as fast. `hide`: masks secrets in an
    error, because the pool logs it.
    """

    def __init__(self, *args: Any, hide: Callable[[Exception], None], **options: Any) -> None:
        super().__init__(*args, connection_class=WatchedConnection, **options)
        self._pool = _NewestFirst()
        self._hide = hide

    def _connect(self, timeout: float | None = None) -> WatchedConnection:
        try:
            return super()._connect(timeout)
        except Exception as error:
            self._hide(error)
            raise


class Watch:
    """Cuts connections that have waited longer than `limit` seconds for an answer.

    The timeouts of the server and of TCP do not help against a proxy that acknowledges data and
    then drops it.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._connections: weakref.WeakSet[WatchedConnection] = weakref.WeakSet()
        self._stopped = threading.Event()
        threading.Thread(target=self._run, name="lakebed-watch", daemon=True).start()

    def add(self, connection: WatchedConnection) -> None:
        """Watch a connection from now on."""
        self._connections.add(connection)

    def stop(self) -> None:
        """Stop watching."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(min(self._limit / 4, 1.0)):
            latest = time.monotonic() - self._limit
            for connection in list(self._connections):
                asked = connection.asked
                if asked is not None and asked < latest and not connection.closed:
                    connection.cut()
