"""The base class for the kinds of databases behind SQLAlchemy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from lakebed.catalog.identity import Identity
from lakebed.catalog.sqlite.errors import locked
from lakebed.catalog.sqlite.scrubbing import DEAD_ROWS
from lakebed.catalog.statements.dialect import Dialect
from lakebed.catalog.statements.executor import Params, Row
from lakebed.catalog.statements.hiding import Hiding, Mask
from lakebed.clock import Clock
from lakebed.errors import (
    ConfigurationError,
    DependencyMissingError,
    LakebedError,
    LockTimeoutError,
)

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.engine import URL
    from sqlalchemy.engine.interfaces import DBAPICursor
    from sqlalchemy.engine.interfaces import Dialect as EngineDialect

    from lakebed.catalog.sqlalchemy.connection import Lent, Style


class DatabaseOptions(NamedTuple):
    """The options of a catalog.

    Times are in seconds. `timeout`: to wait for a connection. `lock_timeout`: to wait for locks.
    `statement_timeout`: to wait for a server's answer. `mask`: hides secrets in a text.
    `read_only`: refuse all writes.
    """

    timeout: float = 30.0
    lock_timeout: float = 60.0
    statement_timeout: float = 300.0
    durability: str = "normal"
    schema: str = "lakebed"
    mask: Mask = str
    read_only: bool = False


class Database(ABC):
    """A kind of database, as the executor uses it.

    `queues`: the writers of one process queue before they ask for the lock. `notes`: the answer to
    a commit can be lost, so each commit leaves a note. `returns`: INSERT supports RETURNING.
    `inside`: the database runs inside this process, so a fork waits for it. `begin_new`: the
    statements that begin a transaction in a new lake, if the lock is a row that does not exist yet.
    `lock_schema` and `unlock_schema`: the statements around a change of tables that keep other
    clients from changing them, for databases in which such a change commits. The last statement of
    `lock_schema` returns 1. `together`: see `Lent`. `streams`: a result can be read further after
    another statement has run.
    """

    dialect: Dialect
    schema: str | None = None
    style: Style = "pyformat"
    queues = False
    notes = True
    returns = False
    inside = False
    together = False
    streams = True
    isolation_level: str | None = "AUTOCOMMIT"
    clock: Clock | None = None
    now = ""
    begin_read: Sequence[str] = ()
    begin_new: Sequence[str] = ()
    lock_schema: Sequence[str] = ()
    unlock_schema: Sequence[str] = ()
    driver = "install its dialect"

    def __init__(self, url: URL, options: DatabaseOptions) -> None:
        self.url = url
        self.options = options
        host, database = map(options.mask, (url.host or "", url.database or ""))
        self.shown = f"{url.get_backend_name()}://{host}/{database}"
        self.hiding = Hiding(options.mask, url.host or "")

    def engine(self, pool_size: int, echo: bool) -> Engine:
        """Return the pool of connections.

        Outside a BEGIN of Lakebed, each statement commits by itself.
        """
        from sqlalchemy import create_engine, event, exc

        level = {"isolation_level": self.isolation_level} if self.isolation_level else {}
        try:
            engine = create_engine(
                self.url,
                pool_size=pool_size,
                max_overflow=0,
                pool_timeout=self.options.timeout,
                pool_use_lifo=True,
                pool_reset_on_return=None,  # our transactions have ended by then
                echo=echo,
                hide_parameters=True,
                connect_args=self.arguments(),
                **level,
            )
        except exc.NoSuchModuleError:
            raise ConfigurationError(
                f"catalog.url: {self.url.drivername}:// is not a known catalog: expected "
                "sqlite:///path, postgresql://host/database, mysql://host/database, or a dialect "
                "of SQLAlchemy that is installed"
            ) from None
        except (TypeError, ValueError) as error:  # about the URL's options
            raise ConfigurationError(f"catalog.url: {error}") from None
        except ImportError as error:
            raise DependencyMissingError(
                f"the catalog {self.shown} needs the package {error.name}: {self.driver}"
            ) from error
        event.listen(engine, "connect", lambda connection, _: self.prepare(connection))
        event.listen(engine, "do_connect", self._connect)
        return engine

    def _connect(
        self,
        dialect: EngineDialect,
        _record: object,
        args: Sequence[Any],
        options: Mapping[str, Any],
    ) -> Any:
        """Connect as the engine would. Secrets in an error are hidden, because the pool logs it."""
        try:
            return self.connect(dialect, args, options)
        except Exception as error:
            self.hiding.error(error)
            raise

    def connect(
        self, dialect: EngineDialect, args: Sequence[Any], options: Mapping[str, Any]
    ) -> Any:
        """Return a new connection of the driver."""
        return dialect.connect(*args, **options)

    def arguments(self) -> dict[str, object]:
        """Return the arguments of the driver's connect that are not in the URL."""
        return {}

    def prepare(self, connection: Any) -> None:
        """Prepare a new connection of the driver."""
        del connection

    def identity(self, fetch: Callable[[str, Params], Sequence[Row]]) -> Identity | None:
        """Return which database this is, and on which server, or None if that cannot be told.

        `fetch`: gives the rows of a query.
        """
        del fetch
        return None

    @abstractmethod
    def begin_write(self, patient: bool, exclusive: bool) -> Sequence[str]:
        """Return the statements that begin a transaction with the lake's lock."""

    @abstractmethod
    def explain(self, error: Exception) -> LakebedError:
        """Return the error of `lakebed.errors` for an error of the driver."""

    def asks_again(self, error: Exception, exclusive: bool) -> bool:
        """Return whether, despite this error, another request may get the lock."""
        del error, exclusive
        return False

    def roll_back(self, connection: Any) -> Sequence[str]:
        """Return the statements that roll back the transaction of a driver's connection."""
        del connection
        return ("ROLLBACK",)

    def is_retired(self, error: Exception) -> bool:
        """Return whether a working connection must not be used again."""
        del error
        return False

    def is_repeatable(self, error: BaseException) -> bool:
        """Return whether nothing has happened and another try may succeed."""
        del error
        return False

    def stays_read_only(self, error: BaseException, fetch: Callable[[str], Sequence[Row]]) -> bool:
        """Return whether a write was refused for a lasting reason. `fetch`: gives the rows of a
        query."""
        del error, fetch
        return False

    def locked(self) -> LockTimeoutError:
        """Return the error for a lock that another client holds."""
        return locked(self.options.lock_timeout)

    def count(self, cursor: DBAPICursor) -> int:
        """Return how many rows a statement touched."""
        return cursor.rowcount

    def copy(self, lent: Lent, table: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
        """Write many rows to a table."""
        lent.insert_rows(table, columns, rows)

    def statements(self, script: str) -> Iterator[str]:
        """Return the statements of a script."""
        lines = [line for line in script.splitlines() if not line.startswith("--")]
        for statement in "\n".join(lines).split(";"):
            if statement.strip():
                yield statement.strip()

    def scrub(self, *, thorough: bool) -> Sequence[str]:
        """Remove deleted rows from the database's files. Return, in words, where some may
        remain."""
        del thorough
        return (DEAD_ROWS,)


def patience(options: DatabaseOptions) -> int:
    """Return the whole seconds that a driver may take to connect, from 2 to 10."""
    return max(2, int(min(options.timeout, 10)))
