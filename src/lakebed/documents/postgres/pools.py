"""The calls that documents need of connections to Postgres. All of them are coroutines. Those of
the blocking pool never wait."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from lakebed.catalog.postgres.server import Server
from lakebed.values.json import decode

if TYPE_CHECKING:
    from psycopg import AsyncConnection, Connection

Rows = Sequence[Sequence[Any]]
CLOSED = "the store is closed"


class Limits(NamedTuple):
    """The most connections, and how many seconds to wait for a connection, for a lock, and for the
    answer to a statement. `pooled`: the connections go through PgBouncer in transaction mode."""

    connections: int
    timeout: float
    lock_timeout: float
    statement_timeout: float
    pooled: bool


class Session(ABC):
    """A connection that one caller holds for a while."""

    @abstractmethod
    async def fetch(self, sql: str, params: Sequence[Any] = ()) -> Rows:
        """Return the rows of a statement, an empty list if it returns none."""

    @abstractmethod
    async def many(self, sql: str, params: Sequence[Sequence[Any]]) -> None:
        """Run a statement once for each of the parameters."""

    @abstractmethod
    async def script(self, sql: str) -> None:
        """Run statements without parameters."""

    @abstractmethod
    async def give_back(self) -> None:
        """Return the connection to the pool. An unfinished transaction ends. A second call does
        nothing."""


class Pool(ABC):
    """Connections to one server, opened when they are first needed. The driver's errors become
    Lakebed's."""

    blocking: bool
    server: Server
    timeout: float

    @abstractmethod
    async def fetch(self, sql: str, params: Sequence[Any] = ()) -> Rows:
        """Return the rows of a statement, which runs in a transaction of its own."""

    @abstractmethod
    async def session(self) -> Session:
        """Take a connection from the pool. The caller must give it back."""

    @abstractmethod
    async def sleep(self, seconds: float) -> None:
        """Wait."""

    @abstractmethod
    async def check(self) -> None:
        """Replace dead connections."""

    @abstractmethod
    async def close(self) -> None:
        """Close all connections."""


def prepare(connection: Connection[Any] | AsyncConnection[Any]) -> None:
    """Make a new connection read JSON exactly, with integers distinct from other numbers."""
    from psycopg.types.json import set_json_loads
    from psycopg.types.numeric import Int8Dumper

    set_json_loads(_loads, connection)
    connection.adapters.register_dumper(int, Int8Dumper)


def _loads(data: str | bytes) -> Any:
    return decode(data.encode() if isinstance(data, str) else data)
