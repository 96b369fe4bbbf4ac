"""What the executor over SQLAlchemy asks of a kind of database."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from lakebed.catalog.sqlite.errors import locked
from lakebed.catalog.sqlite.scrubbing import DEAD_ROWS
from lakebed.catalog.statements.executor import Row
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
    from sqlalchemy.engine.interfaces import DBAPICursor, Dialect

    from lakebed.catalog.sqlalchemy.connection import Lent, Style


class Options(NamedTuple):
    """What a catalog is opened with. Times are in seconds: `timeout` for a connection,
    `lock_timeout` for locks, `statement_timeout` for a server's answer. `mask` makes of a text what
    may be shown of it. `read_only`: writing is refused."""

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
    can be lost, so each notes itself. `returns`: INSERT has a RETURNING. `inside`: the database
    works inside this process, so that a fork waits for it. `begin_new`: where the lake's lock is a
    row, the statements that begin a transaction while there is none; the last one gives 1.
    `together`: see `Lent`. `streams`: a result can be read on after another statement.
    """

    dialect: str
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
    end_new: Sequence[str] = ()
    driver = "install its dialect"

    def __init__(self, url: URL, options: Options) -> None:
        self.url = url
        self.options = options
        host, database = map(options.mask, (url.host or "", url.database or ""))
        self.shown = f"{url.get_backend_name()}://{host}/{database}"
        self.hiding = Hiding(options.mask, url.host or "")

    def engine(self, pool_size: int, echo: bool) -> Engine:
        """The pool of connections; each statement commits by itself outside a BEGIN of ours."""
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
        self, dialect: Dialect, _record: object, args: Sequence[Any], options: Mapping[str, Any]
    ) -> Any:
        """Connect, as the engine would; what an error names may be hidden, and the pool logs it."""
        try:
            return self.connect(dialect, args, options)
        except Exception as error:
            self.hiding.error(error)
            raise

    def connect(self, dialect: Dialect, args: Sequence[Any], options: Mapping[str, Any]) -> Any:
        """A new connection of the driver."""
        return dialect.connect(*args, **options)

    def arguments(self) -> dict[str, object]:
        """What the driver's connect takes besides the URL."""
        return {}

    def prepare(self, connection: Any) -> None:
        """Prepare a new connection of the driver."""
        del connection

    @abstractmethod
    def begin_write(self, patient: bool, exclusive: bool) -> Sequence[str]:
        """The statements that begin a transaction which holds the lake's lock."""

    @abstractmethod
    def explain(self, error: Exception) -> LakebedError:
        """The error of ours for one of the driver's."""

    def asks_again(self, error: Exception, exclusive: bool) -> bool:
        """Whether the lock may be had by asking again, in spite of this error."""
        del error, exclusive
        return False

    def roll_back(self, connection: Any) -> Sequence[str]:
        """The statements that end a transaction of a driver's connection without effect."""
        del connection
        return ("ROLLBACK",)

    def is_retired(self, error: Exception) -> bool:
        """Whether a connection that still works must not be used again."""
        del error
        return False

    def is_repeatable(self, error: BaseException) -> bool:
        """Whether nothing has happened, and asking again may succeed."""
        del error
        return False

    def stays_read_only(self, error: BaseException, fetch: Callable[[str], Sequence[Row]]) -> bool:
        """Whether a write was refused for a reason that does not pass; `fetch` gives the rows of a
        statement."""
        del error, fetch
        return False

    def locked(self) -> LockTimeoutError:
        """The error for a lock that others hold."""
        return locked(self.options.lock_timeout)

    def count(self, cursor: DBAPICursor) -> int:
        """How many rows a statement touched."""
        return cursor.rowcount

    def copy(self, lent: Lent, table: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
        """Bring many rows into a table."""
        lent.insert_rows(table, columns, rows)

    def statements(self, script: str) -> Iterator[str]:
        """The statements of a script."""
        lines = [line for line in script.splitlines() if not line.startswith("--")]
        for statement in "\n".join(lines).split(";"):
            if statement.strip():
                yield statement.strip()

    def scrub(self, *, thorough: bool) -> Sequence[str]:
        """Leave nothing of deleted rows in the database's files; where something may be left."""
        del thorough
        return (DEAD_ROWS,)


def patience(options: Options) -> int:
    """Whole seconds that a driver may take to connect."""
    return max(2, int(min(options.timeout, 10)))
