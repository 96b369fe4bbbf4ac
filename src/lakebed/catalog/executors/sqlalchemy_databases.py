"""What is different about each database behind SQLAlchemy: connecting, locks, errors."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakebed.catalog.executors import mysql_errors, postgres_errors
from lakebed.catalog.executors.base import Params, Row
from lakebed.catalog.executors.sqlite import (
    CACHE_KIB,
    CHECKPOINT_PAGES,
    PAGE_BYTES,
    explain,
    is_foreign,
    locked,
)
from lakebed.catalog.queries import load_queries
from lakebed.clock import Clock, system_clock
from lakebed.errors import (
    ConfigurationError,
    DependencyMissingError,
    LakebedError,
    LockTimeoutError,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine import URL

Fetch = Callable[[str, Params], Sequence[Row]]


class Database:
    """A kind of database. `queues`: writers of one process queue before they ask for its lock."""

    dialect: str
    schema: str | None = None
    style = "pyformat"
    queues = False
    clock: Clock | None = None
    now = ""
    begin_read: Sequence[str] = ()
    begin_new = ""
    end_new: Sequence[str] = ()
    driver: str

    def __init__(self, url: URL, lock_timeout: float, durability: str, schema: str) -> None:
        del schema  # for those that have schemas
        self.url = url
        self.lock_timeout = lock_timeout
        self.durability = durability
        self.shown = f"{url.get_backend_name()}://{url.host or ''}/{url.database or ''}"

    def engine(self, pool_size: int, echo: bool, timeout: float) -> Engine:
        """The pool of connections; each statement commits by itself outside a BEGIN of ours."""
        from sqlalchemy import create_engine, event, exc

        try:
            engine = create_engine(
                self.url,
                pool_size=pool_size,
                max_overflow=0,
                pool_timeout=timeout,
                echo=echo,
                hide_parameters=True,
                isolation_level="AUTOCOMMIT",
                skip_autocommit_rollback=True,
                connect_args=self.arguments(timeout),
            )
        except exc.NoSuchModuleError as error:
            raise ConfigurationError(f"catalog.url: {error}") from None
        except ImportError as error:
            raise DependencyMissingError(
                f"the catalog {self.shown} needs the package {error.name}: {self.driver}"
            ) from error
        event.listen(engine, "connect", lambda connection, _: self.prepare(connection))
        return engine

    def arguments(self, timeout: float) -> dict[str, Any]:
        """What the driver's connect takes besides the URL."""
        del timeout
        return {}

    def prepare(self, connection: Any) -> None:
        """Prepare a new connection of the driver."""

    def begin_write(self, patient: bool, exclusive: bool) -> Sequence[str]:
        """The statements that begin a transaction which holds the lake's lock."""
        raise NotImplementedError

    def is_new(self, error: BaseException | None) -> bool:
        """Whether the table is missing whose row is the lake's lock."""
        del error
        return False

    def asks_again(self, error: BaseException | None, exclusive: bool) -> bool:
        """Whether the lock has been asked for only briefly."""
        del error, exclusive
        return False

    def roll_back(self, connection: Connection) -> Sequence[str]:
        """The statements that end a transaction without effect, if there is one."""
        del connection
        return ["ROLLBACK"]

    def explain(self, error: BaseException) -> LakebedError:
        """The error of ours for one of the driver's."""
        raise NotImplementedError

    def is_repeatable(self, error: BaseException) -> bool:
        """Whether nothing has happened, and asking again may succeed."""
        del error
        return False

    def locked(self) -> LockTimeoutError:
        """The error for a lock that others hold."""
        return locked(self.lock_timeout)

    def statements(self, script: str) -> Iterator[str]:
        """The statements of a script."""
        lines = [line for line in script.splitlines() if not line.startswith("--")]
        for statement in "\n".join(lines).split(";"):
            if statement.strip():
                yield statement.strip()

    def scrub(self, fetch: Fetch) -> bool:
        """Leave nothing of deleted rows in the database's files, if that can be done."""
        del fetch
        return False


class SQLiteDatabase(Database):
    """A SQLite file, prepared as the native catalog prepares it."""

    dialect = "sqlite"
    style = "named"
    queues = True
    clock = staticmethod(system_clock)
    begin_read = ("BEGIN",)
    driver = "pip install 'lakebed[sqlalchemy]'"

    def __init__(self, url: URL, lock_timeout: float, durability: str, schema: str) -> None:
        super().__init__(url, lock_timeout, durability, schema)
        path = url.database
        if not path or path == ":memory:" or path.startswith("file:"):
            raise ConfigurationError(
                "catalog.url: SQLite through SQLAlchemy takes the path of a file; for a lake in "
                "memory use catalog='sqlite://'"
            )
        self.url = url.set(database=str(Path(path).absolute()))
        self.shown = f"sqlite:///{self.url.database}"

    def arguments(self, timeout: float) -> dict[str, Any]:
        del timeout
        return {"timeout": self.lock_timeout}

    def prepare(self, connection: Any) -> None:
        level = "FULL" if self.durability == "full" else "NORMAL"
        settings = [f"page_size = {PAGE_BYTES}", f"cache_size = -{CACHE_KIB}"]
        if not is_foreign(connection):
            settings.append("journal_mode = WAL")
        settings += [
            f"synchronous = {level}",
            f"wal_autocheckpoint = {CHECKPOINT_PAGES}",
            "foreign_keys = ON",
            "secure_delete = ON",
        ]
        for setting in settings:
            connection.execute(f"PRAGMA {setting}").close()

    def begin_write(self, patient: bool, exclusive: bool) -> Sequence[str]:
        del exclusive
        wait = int(self.lock_timeout * 1000) if patient else 0
        return [f"PRAGMA busy_timeout = {wait}", "BEGIN IMMEDIATE"]

    def roll_back(self, connection: Connection) -> Sequence[str]:
        inside = getattr(connection.connection.driver_connection, "in_transaction", False)
        return ["ROLLBACK"] if inside else []

    def explain(self, error: BaseException) -> LakebedError:
        assert isinstance(error, Exception)
        return explain(error, self.url.database, self.lock_timeout)

    def statements(self, script: str) -> Iterator[str]:
        statement = ""
        for line in script.splitlines(keepends=True):
            statement += line
            if sqlite3.complete_statement(statement):
                yield statement
                statement = ""

    def scrub(self, fetch: Fetch) -> bool:
        return not fetch("PRAGMA wal_checkpoint(TRUNCATE)", {})[0][0]


class PostgresDatabase(Database):
    """A schema of a Postgres database, with the locks of the native catalog, through psycopg."""

    dialect = "postgres"
    now = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
    begin_read = ("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",)
    driver = "pip install 'lakebed[postgres,sqlalchemy]'"

    def __init__(self, url: URL, lock_timeout: float, durability: str, schema: str) -> None:
        super().__init__(url.set(drivername="postgresql+psycopg"), lock_timeout, durability, schema)
        self.schema = schema
        queries = load_queries(self.dialect, schema)
        limit = f"'{int(lock_timeout * 1000)}ms'"
        self._write = queries["begin_write"]
        self._exclusive = queries["begin_exclusive"].replace("{briefly}", "'50ms'")
        self._exclusive = self._exclusive.replace("{timeout}", limit)
        self._limit = limit

    def arguments(self, timeout: float) -> dict[str, Any]:
        return {"connect_timeout": max(2, int(min(timeout, 10))), "client_encoding": "utf8"}

    def prepare(self, connection: Any) -> None:
        from psycopg.types.numeric import Int8Dumper

        connection.adapters.register_dumper(int, Int8Dumper)

    def begin_write(self, patient: bool, exclusive: bool) -> Sequence[str]:
        if exclusive:
            return self._exclusive.split(";")
        return self._write.replace("{timeout}", self._limit if patient else "'50ms'").split(";")

    def asks_again(self, error: BaseException | None, exclusive: bool) -> bool:
        return exclusive and getattr(error, "sqlstate", None) == "55P03"

    def explain(self, error: BaseException) -> LakebedError:
        assert isinstance(error, Exception)
        return postgres_errors.explain(error, self.shown)

    def is_repeatable(self, error: BaseException) -> bool:
        return postgres_errors.is_repeatable(error)

    def statements(self, script: str) -> Iterator[str]:
        yield script


class MySQLDatabase(Database):
    """A MySQL or MariaDB database, through PyMySQL."""

    dialect = "mysql"
    style = "mysql"
    now = "SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))"
    begin_read = (
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
    )
    driver = "pip install 'lakebed[mysql,sqlalchemy]'"

    def __init__(self, url: URL, lock_timeout: float, durability: str, schema: str) -> None:
        super().__init__(url.set(drivername="mysql+pymysql"), lock_timeout, durability, schema)
        queries = load_queries(self.dialect)
        self._lock = queries["lock_writers"]
        self.begin_new = queries["lock_new"].replace("{seconds}", str(math.ceil(lock_timeout)))
        self.end_new = (queries["unlock_new"],)

    def arguments(self, timeout: float) -> dict[str, Any]:
        from pymysql.constants import FIELD_TYPE
        from pymysql.converters import conversions

        seconds = max(1, math.ceil(self.lock_timeout))
        return {
            "charset": "utf8mb4",
            "connect_timeout": max(2, int(min(timeout, 10))),
            # Keys and names are VARBINARY, so that they compare by their bytes.
            "conv": {**conversions, FIELD_TYPE.VAR_STRING: _text},
            "init_command": "SET SESSION innodb_lock_wait_timeout = "
            f"{seconds}, SESSION lock_wait_timeout = {seconds}",
        }

    def begin_write(self, patient: bool, exclusive: bool) -> Sequence[str]:
        del exclusive  # any writer is alone
        return [
            "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
            "START TRANSACTION",
            self._lock if patient and self.lock_timeout else f"{self._lock} NOWAIT",
        ]

    def is_new(self, error: BaseException | None) -> bool:
        return mysql_errors.code_of(error) == mysql_errors.NO_TABLE

    def explain(self, error: BaseException) -> LakebedError:
        return mysql_errors.explain(error, self.shown, self.lock_timeout)

    def is_repeatable(self, error: BaseException) -> bool:
        return mysql_errors.is_repeatable(error)


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


_KINDS: dict[str, type[Database]] = {
    "sqlite": SQLiteDatabase,
    "postgresql": PostgresDatabase,
    "mysql": MySQLDatabase,
    "mariadb": MySQLDatabase,
}


def database_of(url: URL, lock_timeout: float, durability: str, schema: str) -> Database:
    """The database that a URL names; ConfigurationError for one that we have no SQL for."""
    kind = _KINDS.get(url.get_backend_name())
    if kind is None:
        raise ConfigurationError(
            f"catalog.url: {url.get_backend_name()} is no database that this version knows: "
            f"expected {', '.join(sorted(_KINDS))}"
        )
    return kind(url, lock_timeout, durability, schema)
