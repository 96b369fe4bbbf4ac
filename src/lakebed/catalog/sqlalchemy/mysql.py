"""MySQL and MariaDB behind SQLAlchemy: sessions, locks, and gaps of PyMySQL."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from lakebed.catalog.identity import Identity
from lakebed.catalog.sqlalchemy import mysql_errors
from lakebed.catalog.sqlalchemy.database import Database, DatabaseOptions, patience
from lakebed.catalog.statements.dialect import MYSQL
from lakebed.catalog.statements.executor import Params, Row
from lakebed.errors import ConfigurationError, LakebedError

if TYPE_CHECKING:
    from pymysql.cursors import Cursor
    from sqlalchemy.engine import URL
    from sqlalchemy.engine.interfaces import Dialect

    from lakebed.catalog.sqlalchemy.connection import Style

_SESSION = (  # a server's settings could change what SQL means, or omit rows
    "SET SESSION sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION', "
    "SESSION sql_select_limit = 18446744073709551615, SESSION sql_safe_updates = 0, "
    "SESSION sql_big_selects = 1, SESSION completion_type = 0"
)
_SERVER = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('server_uuid', 'server_uid')"
_GRACE = 2  # seconds that a server may take to report a time-out

forking = threading.Lock()
"""Held while the process forks, and by code that no fork may interrupt."""


class MySQLDatabase(Database):
    """A MySQL or MariaDB database, through PyMySQL."""

    dialect = MYSQL
    begin_new = ("START TRANSACTION",)
    style: Style = "mysql"
    now = "SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))"
    begin_read = (
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
    )
    driver = "pip install 'lakebed[mysql,sqlalchemy]'"

    def __init__(self, url: URL, options: DatabaseOptions) -> None:
        super().__init__(url.set(drivername="mysql+pymysql"), options)
        if not url.database:
            raise ConfigurationError("catalog.url: expected a database, mysql://user@host/database")
        queries = self.dialect.queries()
        self._lock = queries["lock_writers"]
        seconds = str(math.ceil(options.lock_timeout))
        self.lock_schema = (queries["lock_schema"].replace("{seconds}", seconds),)
        self.unlock_schema = (queries["unlock_schema"],)

    def arguments(self) -> dict[str, object]:
        from pymysql.constants import FIELD_TYPE
        from pymysql.converters import conversions

        seconds = max(1, math.ceil(self.options.lock_timeout))
        limit = patience(self.options)
        # Otherwise, PyMySQL would send text in Latin-1.
        password = {"password": str(self.url.password).encode()} if self.url.password else {}
        return {
            **password,
            "charset": "utf8mb4",
            "connect_timeout": limit,
            "read_timeout": limit,  # for the greeting; `prepare` allows more for statements
            "write_timeout": limit,
            # Keys and names are VARBINARY, so they compare by their bytes.
            "conv": {**conversions, FIELD_TYPE.VAR_STRING: _text},
            "cursorclass": _checking_cursor(),
            "init_command": f"{_SESSION}, SESSION innodb_lock_wait_timeout = {seconds}, "
            f"SESSION lock_wait_timeout = {seconds}",
        }

    def connect(self, dialect: Dialect, args: Sequence[Any], options: Mapping[str, Any]) -> Any:
        # PyMySQL makes a TLS context for each connection. A forked child would find OpenSSL's locks
        # taken for ever.
        try:
            with forking:
                connection: Any = dialect.connect(*args, **options, defer_connect=True)
        except (TypeError, ValueError, OSError) as error:
            raise ConfigurationError(f"catalog.url: its options cannot be taken: {error}") from None
        connection.connect()
        return connection

    def prepare(self, connection: Any) -> None:
        limit = self.options.statement_timeout
        # The server's own limits come first. These are for a server that no longer answers.
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

    def identity(self, fetch: Callable[[str, Params], Sequence[Row]]) -> Identity:
        # The server's unique number. MySQL and MariaDB name it differently, and a replica has its
        # own.
        found = fetch(_SERVER, {})
        server = "/".join(f"{name}={value}" for name, value in sorted(found))
        place = f"mysql:{self.url.database}"
        return Identity(f"{place}#{server}", place)

    def begin_write(self, patient: bool, exclusive: bool) -> Sequence[str]:
        del exclusive  # every writer is alone anyway
        return [
            "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
            "START TRANSACTION",
            self._lock if patient and self.options.lock_timeout else f"{self._lock} NOWAIT",
        ]

    def explain(self, error: Exception) -> LakebedError:
        return mysql_errors.explain(error, self.shown, self.options.lock_timeout)

    def is_repeatable(self, error: BaseException) -> bool:
        return mysql_errors.is_repeatable(error)


@cache
def _checking_cursor() -> type[Cursor]:
    """Return a class of cursors that refuse a statement larger than the server accepts.

    The server would close the connection without an answer, which looks like a lost connection.
    """
    from pymysql.cursors import Cursor
    from pymysql.err import OperationalError

    class CheckingCursor(Cursor):  # type: ignore[misc]  # PyMySQL has no types
        def _query(self, q: str | bytes) -> int:  # every statement goes through this method
            limit = getattr(self.connection, "max_allowed_packet", None)
            if limit and _size(q, limit) >= limit - 1:  # one byte names the command
                raise OperationalError(1153, "the statement is larger than max_allowed_packet")
            return int(super()._query(q))

    return CheckingCursor


def _size(statement: str | bytes, limit: int) -> int:
    """Return the statement's size in bytes. It is exact only near the limit."""
    if isinstance(statement, str) and len(statement) * 4 >= limit:
        statement = statement.encode("utf-8", "surrogateescape")
    return len(statement)


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
