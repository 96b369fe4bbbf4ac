"""What the executor over SQLAlchemy asks of a kind of database."""

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


class Options(NamedTuple):
    """What a catalog is opened with. Times are in seconds: `timeout` for a connection,
    `lock_timeout` for locks, `statement_timeout` for a server's answer. `mask` removes from a text
    what must not be shown. `read_only`: writing is refused."""

    timeout: float = 30.0
    lock_timeout: float = 60.0
    statement_timeout: float = 300.0
    durability: str = "normal"
    schema: str = "lakebed"
    mask: Mask = str
    read_only: bool = False


class Database(ABC):
    """What the executor asks of a kind of database.

    `queues`: writers of one process queue before they ask for its lock. `notes`: a commit's answer
    can be lost, so each commit notes itself. `returns`: INSERT has a RETURNING. `inside`: the
    database works inside this process, so a fork waits for it. `begin_new`: where the lake's lock
    is a row, the statements that begin a transaction while there is none. `lock_schema` and
    `unlock_schema`: where changing a table commits, the statements around it that keep others from
    doing so; the last one of `lock_schema` gives 1. `together`: see `Lent`. `streams`: a result can
    be read on after another statement.
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

    def __init__(self, url: URL, options: Options) -> None:
        self.url = url
        self.options = options
        host, database = map(options.mask, (url.host or "", url.database or ""))
        self.shown = f"{url.get_backend_name()}://{host}/{database}"
        self.hiding = Hiding(options.mask, url.host or "")

    def engine(self, pool_size: int, echo: bool) -> Engine:
        """Return the pool of connections. Each statement commits by itself outside a BEGIN of
        Lakebed."""
        from sqlalchemy import create_engine, event, exc

        level = {"isolation_level": self.isolation_level} if self.isolation_level else {}
        try:
            engine = create_engine(
                self.url,
                pool_size=pool_size,
                max_overflow=0,
                pool_timeout=self.options.timeout,
                pool_use_lifo=True,
                pool_reset_on_return=None,  # a transaction of ours ends before
                echo=echo,
                hide_parameters=True,
                connect_args=self.arguments(),
                **level,
            )
        except exc.NoSuchModuleError:
            raise ConfigurationError(
                f"catalog.url: {self.url.drivername}:// is no catalog that is known here: expected "
                "sqlite:///path, postgresql://host/database, mysql://host/database, or a dialect "
                "of SQLAlchemy that is installed"
            ) from None
        except (TypeError, ValueError) as error:  # of the URL's options
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
        """Connect as the engine would. Parts of an error may have to be hidden, since the pool logs
        it."""
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
        """Return what the driver's connect takes besides the URL."""
        return {}

    def prepare(self, connection: Any) -> None:
        """Prepare a new connection of the driver."""
        del connection

    def identity(self, fetch: Callable[[str, Params], Sequence[Row]]) -> Identity | None:
        """Return which database this is, and where, if it can tell. `fetch` gives the rows of a
        query."""
        del fetch
        return None

    @abstractmethod
    def begin_write(self, patient: bool, exclusive: bool) -> Sequence[str]:
        """Return the statements that begin a transaction which holds the lake's lock."""

    @abstractmethod
    def explain(self, error: Exception) -> LakebedError:
        """Return the error of Lakebed for one of the driver's."""

    def asks_again(self, error: Exception, exclusive: bool) -> bool:
        """Return whether the lock may be had by asking again, in spite of this error."""
        del error, exclusive
        return False

    def roll_back(self, connection: Any) -> Sequence[str]:
        """Return the statements that end a transaction of a driver's connection without effect."""
        del connection
        return ("ROLLBACK",)

    def is_retired(self, error: Exception) -> bool:
        """Return whether a connection that still works must not be used again."""
        del error
        return False

    def is_repeatable(self, error: BaseException) -> bool:
        """Return whether nothing has happened, and asking again may succeed."""
        del error
        return False

    def stays_read_only(self, error: BaseException, fetch: Callable[[str], Sequence[Row]]) -> bool:
        """Return whether a write was refused for a reason that does not pass. `fetch` gives the
        rows of a statement."""
        del error, fetch
        return False

    def locked(self) -> LockTimeoutError:
        """Return the error for a lock that others hold."""
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
        """Leave nothing of deleted rows in the database's files. Return where something may be
        left."""
        del thorough
        return (DEAD_ROWS,)


def patience(options: Options) -> int:
    """Return the whole seconds that a driver may take to connect."""
    return max(2, int(min(options.timeout, 10)))
