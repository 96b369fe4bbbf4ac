"""Signals by NOTIFY, on a connection of their own: those of the pool are for statements."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from lakebed.catalog.postgres.server import Server
from lakebed.catalog.signals import Signals, Silence

if TYPE_CHECKING:
    from psycopg import Connection


def channel_of(schema: str | None, topic: str) -> str:
    """The channel of a topic: names of channels have 63 bytes."""
    return f"lakebed_{sha256(f'{schema}/{topic}'.encode()).hexdigest()[:40]}"


@contextmanager
def listening(server: Server, listen: str) -> Iterator[Signals]:
    """Listen by a statement, until the block ends."""
    import psycopg

    try:
        connection = psycopg.connect(server.conninfo, **server.arguments())
    except psycopg.Error as error:
        raise server.explain(error) from None
    with closing(connection):
        connection.execute(listen.encode(), prepare=False)
        yield _Notifications(connection)


class _Notifications:
    def __init__(self, connection: Connection[Any]) -> None:
        self._connection = connection
        self.wakes = True

    def wait(self, seconds: float) -> None:
        import psycopg

        if self.wakes:
            try:
                for _ in self._connection.notifies(timeout=max(0.0, seconds), stop_after=1):
                    pass
                return
            except psycopg.OperationalError:  # the server restarts, say: those who wait look often
                self.wakes = False
        Silence().wait(min(seconds, 0.25))
