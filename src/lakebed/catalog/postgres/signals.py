"""Signals by NOTIFY, on a separate connection. Those of the pool are for statements."""

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
    """Return the channel of a topic. The name of a channel has at most 63 bytes."""
    return f"lakebed_{sha256(f'{schema}/{topic}'.encode()).hexdigest()[:40]}"


@contextmanager
def listening(server: Server, listen: str) -> Iterator[Signals]:
    """Run a statement that listens. The block gets the signals, and may wait for them."""
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
            except psycopg.OperationalError:  # for example a restart: poll often from now on
                self.wakes = False
        Silence().wait(min(seconds, 0.25))
