"""The databases behind SQLAlchemy, with their own ways to connect, lock and report errors."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakebed.catalog.identity import Identity, identity_of_file
from lakebed.catalog.postgres import errors as postgres_errors
from lakebed.catalog.postgres.identity import identity_in_postgres
from lakebed.catalog.postgres.server import check_encoding
from lakebed.catalog.sqlalchemy.database import Database, DatabaseOptions, patience
from lakebed.catalog.sqlalchemy.mysql import MySQLDatabase
from lakebed.catalog.sqlite.connections import (
    CACHE_KIB,
    CHECKPOINT_PAGES,
    PAGE_BYTES,
    is_foreign,
    table_names,
)
from lakebed.catalog.sqlite.errors import explain
from lakebed.catalog.sqlite.script import statements
from lakebed.catalog.sqlite.scrubbing import scrub_sqlite
from lakebed.catalog.statements.dialect import PORTABLE, POSTGRES, SQLITE
from lakebed.catalog.statements.executor import Params, Row
from lakebed.clock import system_clock
from lakebed.errors import (
    CatalogError,
    ConfigurationError,
    ConnectError,
    LakebedError,
    ValidationError,
)

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.engine import URL
    from sqlalchemy.engine.interfaces import DBAPICursor

    from lakebed.catalog.sqlalchemy.connection import Style

_CONFLICTS = ("40001", "40P01")  # serialization_failure, deadlock_detected


class SQLiteDatabase(Database):
    """A SQLite file, with the settings of the native catalog."""

    dialect = SQLITE
    style: Style = "named"
    queues = True
    notes = False
    inside = True
    clock = staticmethod(system_clock)
    begin_read = ("BEGIN",)
    driver = "pip install 'lakebed[sqlalchemy]'"

    def __init__(self, url: URL, options: DatabaseOptions) -> None:
        super().__init__(url, options)
        path = url.database
        if not path or path.startswith("file:"):
            raise ConfigurationError(
                "catalog.url: SQLite through SQLAlchemy takes the path of a file, or "
                "sqlite:///:memory:"
            )
        self.url = url.set(database=str(Path(path).absolute()))
        self.shown = f"sqlite:///{options.mask(str(self.url.database))}"
        self._patient = f"PRAGMA busy_timeout = {int(options.lock_timeout * 1000)}"

    def arguments(self) -> dict[str, object]:
        return {"timeout": self.options.lock_timeout}

    def prepare(self, connection: Any) -> None:
        level = "FULL" if self.options.durability == "full" else "NORMAL"
        settings = [f"page_size = {PAGE_BYTES}", f"cache_size = -{CACHE_KIB}"]
        if not is_foreign(table_names(connection)):
            settings.append("journal_mode = WAL")
        settings += [
            f"synchronous = {level}",
            f"wal_autocheckpoint = {CHECKPOINT_PAGES}",
            "foreign_keys = ON",
            "secure_delete = ON",
        ]
        for setting in settings:
            connection.execute(f"PRAGMA {setting}").close()

    def identity(self, fetch: Callable[[str, Params], Sequence[Row]]) -> Identity | None:
        del fetch
        return identity_of_file(str(self.url.database))

    def begin_write(self, patient: bool, exclusive: bool) -> Sequence[str]:
        del exclusive
        if patient:
            return ("BEGIN IMMEDIATE",)
        return "PRAGMA busy_timeout = 0", "BEGIN IMMEDIATE", self._patient

    def roll_back(self, connection: Any) -> Sequence[str]:
        return ("ROLLBACK", self._patient) if connection.in_transaction else (self._patient,)

    def explain(self, error: Exception) -> LakebedError:
        return explain(error, self.options.mask(str(self.url.database)), self.options.lock_timeout)

    def statements(self, script: str) -> Iterator[str]:
        return statements(script)

    def scrub(self, *, thorough: bool) -> Sequence[str]:
        path, wait_most = str(self.url.database), self.options.lock_timeout

        def run(sql: str) -> Sequence[Row]:
            # Nobody else uses this connection, so its time-out can be set for the statement.
            wait = wait_most if sql == "VACUUM" else 0
            try:
                connection = sqlite3.connect(path, timeout=wait, isolation_level=None)
                with closing(connection):
                    return connection.execute(sql).fetchall()
            except sqlite3.Error as error:
                raise self.explain(error) from error

        return scrub_sqlite(run, path, wait_most, thorough=thorough)


class PostgresDatabase(Database):
    """A schema of a Postgres database through psycopg, with the locks of the native catalog."""

    dialect = POSTGRES
    returns = True
    now = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
    begin_read = ("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",)
    driver = "pip install 'lakebed[postgres,sqlalchemy]'"

    def __init__(self, url: URL, options: DatabaseOptions) -> None:
        super().__init__(url.set(drivername="postgresql+psycopg"), options)
        self.schema = options.schema
        queries = self.dialect.queries(self.schema)
        limit = f"'{int(options.lock_timeout * 1000)}ms'"
        self._write = queries["begin_write"]
        self._exclusive = queries["begin_exclusive"].replace("{briefly}", "'50ms'")
        self._exclusive = self._exclusive.replace("{timeout}", limit)
        self._limit = limit

    def arguments(self) -> dict[str, object]:
        return {
            "connect_timeout": patience(self.options),
            "client_encoding": "utf8",
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 30_000,
        }

    def prepare(self, connection: Any) -> None:
        from psycopg.types.numeric import Int8Dumper

        check_encoding(connection, self.shown)
        connection.adapters.register_dumper(int, Int8Dumper)
        limit = int(self.options.statement_timeout * 1000)
        connection.execute(f"{postgres_errors.SESSION}; SET statement_timeout = {limit}")

    def identity(self, fetch: Callable[[str, Params], Sequence[Row]]) -> Identity:
        return identity_in_postgres(fetch, self.schema)

    def begin_write(self, patient: bool, exclusive: bool) -> Sequence[str]:
        if exclusive:
            return self._exclusive.split(";")
        return self._write.replace("{timeout}", self._limit if patient else "'50ms'").split(";")

    def asks_again(self, error: Exception, exclusive: bool) -> bool:
        return exclusive and getattr(error, "sqlstate", None) == "55P03"

    def is_retired(self, error: Exception) -> bool:
        return postgres_errors.is_retired(error)

    def explain(self, error: Exception) -> LakebedError:
        return postgres_errors.explain(error, self.shown)

    def is_repeatable(self, error: BaseException) -> bool:
        return postgres_errors.is_repeatable(error)

    def stays_read_only(self, error: BaseException, fetch: Callable[[str], Sequence[Row]]) -> bool:
        return postgres_errors.stays_read_only(error, fetch)

    def statements(self, script: str) -> Iterator[str]:
        yield script


class PortableDatabase(Database):
    """Any other database, with portable SQL. Tested with DuckDB.

    The database must support ON CONFLICT, RETURNING, sequences and temporary tables. It must
    compare text by its bytes, and a transaction must read one state. The time is this machine's.
    """

    dialect = PORTABLE
    style: Style = "qmark"
    queues = True
    returns = True
    together = True
    streams = False
    isolation_level = None  # `prepare` sets what most drivers do by default
    clock = staticmethod(system_clock)
    begin_read = ("BEGIN",)
    begin_new = ("BEGIN",)

    def __init__(self, url: URL, options: DatabaseOptions) -> None:
        super().__init__(url, options)
        queries = self.dialect.queries()
        self._lock = queries["lock_writers"]
        self._check = queries["compares_by_bytes"]

    def engine(self, pool_size: int, echo: bool) -> Engine:
        engine = super().engine(pool_size, echo)
        if engine.dialect.paramstyle in ("format", "pyformat"):
            self.style = "pyformat"
        return engine

    def prepare(self, connection: Any) -> None:
        if hasattr(connection, "autocommit"):
            connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(self._check)
        if cursor.fetchone()[0] != 1:
            raise ConfigurationError(
                f"{self.shown} does not compare text by its bytes, as a lake's keys are: give the "
                "catalog a database with a binary collation"
            )

    def begin_write(self, patient: bool, exclusive: bool) -> Sequence[str]:
        del patient, exclusive
        return "BEGIN", self._lock

    def count(self, cursor: DBAPICursor) -> int:
        if cursor.rowcount >= 0:
            return cursor.rowcount
        row = cursor.fetchone()  # DuckDB answers a change with a row that holds its count
        return int(row[0]) if row else 0

    def explain(self, error: Exception) -> LakebedError:
        kind, text = type(error).__name__, (str(error).splitlines() or [""])[0]
        if "lock" in text.lower() and kind in ("IOException", "OperationalError"):
            return ConnectError(f"{self.shown} is in use by another process: {text}")
        if kind in ("OperationalError", "InterfaceError", "ConnectionException"):
            return ConnectError(f"no connection to {self.shown}: {text}")
        if kind in ("IntegrityError", "ConstraintException"):
            return ValidationError(f"{self.shown} refuses the entry: {text}")
        return CatalogError(f"{self.shown} failed: {text}")

    def is_repeatable(self, error: BaseException) -> bool:
        cause = error.__cause__
        state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
        conflict = type(cause).__name__ == "TransactionException" or state in _CONFLICTS
        return isinstance(error, LakebedError) and (
            conflict or (cause is not None and isinstance(error, ConnectError))
        )


_KINDS: dict[str, type[Database]] = {
    "sqlite": SQLiteDatabase,
    "postgresql": PostgresDatabase,
    "mysql": MySQLDatabase,
    "mariadb": MySQLDatabase,
}


def database_of(url: URL, options: DatabaseOptions) -> Database:
    """Return the database that a URL names."""
    return _KINDS.get(url.get_backend_name(), PortableDatabase)(url, options)
