"""What is different about each database behind SQLAlchemy: connecting, locks, errors."""

from __future__ import annotations

import math
import sqlite3
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lakebed.catalog.executors import mysql_errors, postgres_errors
from lakebed.catalog.executors.base import Row
from lakebed.catalog.executors.hiding import Hiding, Mask
from lakebed.catalog.executors.postgres_server import check_encoding
from lakebed.catalog.executors.scrubbing import DEAD_ROWS, scrub_sqlite
from lakebed.catalog.executors.sqlite import (
    CACHE_KIB,
    CHECKPOINT_PAGES,
    PAGE_BYTES,
    is_foreign,
    table_names,
)
from lakebed.catalog.executors.sqlite_errors import explain, locked
from lakebed.catalog.queries import load_queries
from lakebed.clock import Clock, system_clock
from lakebed.errors import (
    CatalogError,
    ConfigurationError,
    ConnectError,
    DependencyMissingError,
    LakebedError,
    LockTimeoutError,
)

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.engine import URL
    from sqlalchemy.engine.interfaces import DBAPICursor, Dialect

    from lakebed.catalog.executors.sqlalchemy_connection import Lent, Style

_CONFLICTS = ("40001", "40P01")  # serialization failure, deadlock
_MYSQL_SESSION = (  # settings of a server that would change what SQL means, or leave rows out
    "SET SESSION sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION', "
    "SESSION sql_select_limit = 18446744073709551615, SESSION sql_safe_updates = 0, "
    "SESSION sql_big_selects = 1, SESSION completion_type = 0"
)
_GRACE = 2  # seconds that a server may take to say that a limit has passed

forking = threading.Lock()
"""Held while the process forks, and by what no fork may come into the middle of."""


class Options(NamedTuple):
    """What a catalog is opened with. Times are in seconds: `timeout` for a connection,
    `lock_timeout` for locks, `statement_timeout` for a server's answer. `mask` makes of a text what
    may be shown of it."""

    timeout: float = 30.0
    lock_timeout: float = 60.0
    statement_timeout: float = 300.0
    durability: str = "normal"
    schema: str = "lakebed"
    mask: Mask = str


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


class SQLiteDatabase(Database):
    """A SQLite file, prepared as the native catalog prepares it."""

    dialect = "sqlite"
    style: Style = "named"
    queues = True
    notes = False
    inside = True
    clock = staticmethod(system_clock)
    begin_read = ("BEGIN",)
    driver = "pip install 'lakebed[sqlalchemy]'"

    def __init__(self, url: URL, options: Options) -> None:
        super().__init__(url, options)
        path = url.database
        if not path or path == ":memory:" or path.startswith("file:"):
            raise ConfigurationError(
                "catalog.url: SQLite through SQLAlchemy takes the path of a file; for a lake in "
                "memory use catalog='sqlite://'"
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
        statement = ""
        for line in script.splitlines(keepends=True):
            statement += line
            if sqlite3.complete_statement(statement):
                yield statement
                statement = ""

    def scrub(self, *, thorough: bool) -> Sequence[str]:
        path, patience = str(self.url.database), self.options.lock_timeout

        def run(sql: str) -> Sequence[Row]:
            # A connection that is nobody else's: its waiting is set as the statement wants it.
            wait = patience if sql == "VACUUM" else 0
            try:
                with closing(sqlite3.connect(path, wait, isolation_level=None)) as connection:
                    return connection.execute(sql).fetchall()
            except sqlite3.Error as error:
                raise self.explain(error) from error

        return scrub_sqlite(run, path, patience, thorough=thorough)


class PostgresDatabase(Database):
    """A schema of a Postgres database, with the locks of the native catalog, through psycopg."""

    dialect = "postgres"
    returns = True
    now = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
    begin_read = ("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",)
    driver = "pip install 'lakebed[postgres,sqlalchemy]'"

    def __init__(self, url: URL, options: Options) -> None:
        super().__init__(url.set(drivername="postgresql+psycopg"), options)
        self.schema = options.schema
        queries = load_queries(self.dialect, self.schema)
        limit = f"'{int(options.lock_timeout * 1000)}ms'"
        self._write = queries["begin_write"]
        self._exclusive = queries["begin_exclusive"].replace("{briefly}", "'50ms'")
        self._exclusive = self._exclusive.replace("{timeout}", limit)
        self._limit = limit

    def arguments(self) -> dict[str, object]:
        return {
            "connect_timeout": _patience(self.options),
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

    def statements(self, script: str) -> Iterator[str]:
        yield script


class MySQLDatabase(Database):
    """A MySQL or MariaDB database, through PyMySQL."""

    dialect = "mysql"
    style: Style = "mysql"
    now = "SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))"
    begin_read = (
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
    )
    driver = "pip install 'lakebed[mysql,sqlalchemy]'"

    def __init__(self, url: URL, options: Options) -> None:
        super().__init__(url.set(drivername="mysql+pymysql"), options)
        if not url.database:
            raise ConfigurationError("catalog.url: expected a database, mysql://user@host/database")
        queries = load_queries(self.dialect)
        self._lock = queries["lock_writers"]
        seconds = str(math.ceil(options.lock_timeout))
        self.begin_new = ("START TRANSACTION", queries["lock_new"].replace("{seconds}", seconds))
        self.end_new = (queries["unlock_new"],)

    def arguments(self) -> dict[str, object]:
        from pymysql.constants import FIELD_TYPE
        from pymysql.converters import conversions

        seconds = max(1, math.ceil(self.options.lock_timeout))
        patience = _patience(self.options)
        # PyMySQL would send text in Latin-1.
        password = {"password": str(self.url.password).encode()} if self.url.password else {}
        return {
            **password,
            "charset": "utf8mb4",
            "connect_timeout": patience,
            "read_timeout": patience,  # of the greeting; `prepare` gives statements more
            "write_timeout": patience,
            # Keys and names are VARBINARY, so that they compare by their bytes.
            "conv": {**conversions, FIELD_TYPE.VAR_STRING: _text},
            "cursorclass": mysql_errors.checking_cursor(),
            "init_command": f"{_MYSQL_SESSION}, SESSION innodb_lock_wait_timeout = {seconds}, "
            f"SESSION lock_wait_timeout = {seconds}",
        }

    def connect(self, dialect: Dialect, args: Sequence[Any], options: Mapping[str, Any]) -> Any:
        # PyMySQL makes a TLS context for each, with locks of OpenSSL that a child would find taken
        # for ever.
        try:
            with forking:
                connection: Any = dialect.connect(*args, **options, defer_connect=True)
        except (TypeError, ValueError, OSError) as error:
            raise ConfigurationError(f"catalog.url: its options cannot be taken: {error}") from None
        connection.connect()
        return connection

    def prepare(self, connection: Any) -> None:
        limit = self.options.statement_timeout
        # The server's own limits come first; these are for one that says nothing more.
        silence = math.ceil(max(limit, self.options.lock_timeout)) + _GRACE
        connection._read_timeout = connection._write_timeout = silence
        is_mariadb = "mariadb" in str(connection.get_server_info()).lower()
        setting = (
            f"max_statement_time = {limit:.3f}"
            if is_mariadb
            else f"max_execution_time = {int(limit * 1000)}"
        )
        with connection.cursor() as cursor:
            cursor.execute(f"SET SESSION {setting}")
            cursor.execute("SELECT @@max_allowed_packet")
            ((connection.max_allowed_packet,),) = cursor.fetchall()

    def begin_write(self, patient: bool, exclusive: bool) -> Sequence[str]:
        del exclusive  # any writer is alone
        return [
            "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
            "START TRANSACTION",
            self._lock if patient and self.options.lock_timeout else f"{self._lock} NOWAIT",
        ]

    def asks_again(self, error: Exception, exclusive: bool) -> bool:
        del exclusive
        return mysql_errors.lacks_table(error)  # which another client has made by now

    def explain(self, error: Exception) -> LakebedError:
        return mysql_errors.explain(error, self.shown, self.options.lock_timeout)

    def is_repeatable(self, error: BaseException) -> bool:
        return mysql_errors.is_repeatable(error)


class PortableDatabase(Database):
    """Any other database, by the SQL that most understand; proven with DuckDB.

    Its dialect has ON CONFLICT, RETURNING, sequences and temporary tables, text compares by its
    bytes, and a transaction reads one state. The time is this machine's.
    """

    dialect = "portable"
    style: Style = "qmark"
    queues = True
    returns = True
    together = True
    streams = False
    isolation_level = None  # `prepare` asks for what drivers mostly do by themselves
    clock = staticmethod(system_clock)
    begin_read = ("BEGIN",)
    begin_new = ("BEGIN", "SELECT 1")

    def __init__(self, url: URL, options: Options) -> None:
        super().__init__(url, options)
        queries = load_queries(self.dialect)
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
        row = cursor.fetchone()  # DuckDB answers a change with its count
        return int(row[0]) if row else 0

    def explain(self, error: Exception) -> LakebedError:
        kind, text = type(error).__name__, (str(error).splitlines() or [""])[0]
        if "lock" in text.lower() and kind in ("IOException", "OperationalError"):
            return ConnectError(f"{self.shown} is in use by another process: {text}")
        if kind in ("OperationalError", "InterfaceError", "ConnectionException"):
            return ConnectError(f"no connection to {self.shown}: {text}")
        return CatalogError(f"{self.shown} failed: {text}")

    def is_repeatable(self, error: BaseException) -> bool:
        cause = error.__cause__
        state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
        conflict = type(cause).__name__ == "TransactionException" or state in _CONFLICTS
        return isinstance(error, LakebedError) and (
            conflict or (cause is not None and isinstance(error, ConnectError))
        )


def _patience(options: Options) -> int:
    """Whole seconds that a driver may take to connect."""
    return max(2, int(min(options.timeout, 10)))


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


_KINDS: dict[str, type[Database]] = {
    "sqlite": SQLiteDatabase,
    "postgresql": PostgresDatabase,
    "mysql": MySQLDatabase,
    "mariadb": MySQLDatabase,
}


def database_of(url: URL, options: Options) -> Database:
    """The database that a URL names."""
    return _KINDS.get(url.get_backend_name(), PortableDatabase)(url, options)
