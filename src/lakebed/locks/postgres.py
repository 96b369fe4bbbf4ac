"""A lock in a Postgres table. The server's clock decides."""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, LiteralString

from lakebed.clock import Clock, system_clock
from lakebed.errors import (
    ConfigurationError,
    ConnectError,
    DependencyMissingError,
    LakebedError,
    StorageError,
)
from lakebed.locks.base import Lock

if TYPE_CHECKING:
    import psycopg
    from psycopg.sql import Composed

_CONNECT_SECONDS = 10
_STATEMENT_SECONDS = 30
_NOW: LiteralString = (
    "coalesce(%(now)s::bigint, (extract(epoch from clock_timestamp()) * 1000000)::bigint)"
)
_CREATE: LiteralString = """
CREATE TABLE IF NOT EXISTS {table} (
    name text COLLATE "C" PRIMARY KEY, token bigint NOT NULL, owner text, expires_at bigint NOT NULL
)"""
_TAKE: LiteralString = f"""
INSERT INTO {{table}} AS held (name, token, owner, expires_at)
VALUES (%(name)s, 1, %(owner)s, {_NOW} + %(ttl)s)
ON CONFLICT (name) DO UPDATE
    SET token = held.token + 1, owner = %(owner)s, expires_at = {_NOW} + %(ttl)s
    WHERE held.owner IS NULL OR held.owner = %(owner)s OR held.expires_at <= {_NOW}
RETURNING token"""  # noqa: S608 - our own words
_MINE: LiteralString = (
    f"name = %(name)s AND owner = %(owner)s AND token = %(token)s AND expires_at > {_NOW}"
)
_EXTEND: LiteralString = (
    f"UPDATE {{table}} SET expires_at = {_NOW} + %(ttl)s WHERE {_MINE} RETURNING token"  # noqa: S608
)
_FREE: LiteralString = (
    "UPDATE {table} SET owner = NULL WHERE name = %(name)s AND token = %(token)s RETURNING token"
)


class PostgresLock(Lock):
    """A lock in the table `lakebed_lock` of a Postgres database. The table is created if it does
    not exist.

    `connection_string`, `url`: `postgresql://user@host/database`, or libpq's `host=… dbname=…`.
    Give one of the two.
    `schema`: the schema that holds the table.

    The server's clock decides when a time to live has passed.

    Raises DependencyMissingError, with the pip command, if psycopg is not installed, and
    ConfigurationError for an invalid option.
    """

    def __init__(
        self,
        name: str,
        ttl: float | timedelta = 300,
        *,
        connection_string: str | None = None,
        url: str | None = None,
        schema: str = "public",
        clock: Clock = system_clock,
    ) -> None:
        super().__init__(name, ttl, clock=clock)
        try:
            import psycopg
            from psycopg.sql import SQL, Identifier
        except ImportError as error:
            raise DependencyMissingError(
                "locks in Postgres need the psycopg package: pip install 'lakebed[postgres]'"
            ) from error
        if not isinstance(schema, str) or not schema or "\0" in schema:
            raise ConfigurationError(f"schema must be the name of a schema, got {schema!r}")
        self._address = _address(connection_string, url)
        table = Identifier(schema, "lakebed_lock")
        self._take_sql, self._extend_sql, self._free_sql, self._create_sql = (
            SQL(text).format(table=table) for text in (_TAKE, _EXTEND, _FREE, _CREATE)
        )
        self._given_clock = None if clock is system_clock else clock
        self._psycopg = psycopg
        self._connection: psycopg.Connection[Any] | None = None
        self._closing: weakref.finalize[..., PostgresLock] | None = None
        self._connected_by = ""

    def _take(self, owner: str) -> int | None:
        return self._run(self._take_sql, owner)

    def _extend(self, owner: str, token: int) -> bool:
        return self._run(self._extend_sql, owner, token) is not None

    def _free(self, owner: str, token: int) -> bool:
        return self._run(self._free_sql, owner, token) is not None

    def close(self) -> None:
        self._connection = None
        if self._closing is not None:
            self._closing()

    def _run(self, sql: Composed, owner: str, token: int = 0) -> int | None:
        """Return the token that a statement returns, or None.

        After a lost connection, the statement is repeated once on a new one. That is safe, because
        every statement names its owner.
        """
        values = {
            "name": self.name, "owner": owner, "token": token, "ttl": self._micros,
            "now": self._given_clock() if self._given_clock else None,
        }  # fmt: skip
        reused = self._connection is not None and self._connected_by == owner
        try:
            return self._ask(sql, values)
        except (self._psycopg.errors.UndefinedTable, self._psycopg.errors.InvalidSchemaName):
            self._create()
            return self._run(sql, owner, token)
        except self._psycopg.Error as error:
            lost = self._connection is None or self._connection.closed
            self.close()
            if reused and lost:
                return self._run(sql, owner, token)
            raise self._explain(error) from error

    def _ask(self, sql: Composed, values: Mapping[str, object]) -> int | None:
        connection = self._connection
        if connection is None or connection.closed or self._connected_by != self._own_name():
            connection = self._connection = self._psycopg.connect(
                self._address,
                autocommit=True,
                prepare_threshold=None,  # for poolers
                connect_timeout=_CONNECT_SECONDS,
                tcp_user_timeout=_STATEMENT_SECONDS * 1000,
            )
            self._connected_by = self._own_name()
            self._closing = weakref.finalize(self, _close, connection, os.getpid())
        row = connection.execute(sql, values).fetchone()
        return None if row is None else int(row[0])

    def _create(self) -> None:
        assert self._connection is not None
        try:
            with self._connection.transaction():
                # Two clients that create the table at once would conflict in the server's own
                # tables.
                self._connection.execute("SELECT pg_advisory_xact_lock(hashtext('lakebed_lock'))")
                self._connection.execute(self._create_sql)
        except self._psycopg.Error as error:
            self.close()
            raise self._explain(error) from error

    def _explain(self, error: psycopg.Error) -> LakebedError:
        state = error.sqlstate or ""
        text = (error.diag.message_primary or str(error) or type(error).__name__).splitlines()[0]
        where = f"the server of the lock {self.name!r}"
        if state.startswith("28") or "password" in text or "authentication failed" in text:
            return ConnectError(f"{where} refuses the credentials: {text}", "auth_failed")
        if "timeout" in text or "timed out" in text:
            return ConnectError(f"{where} does not answer: {text}", "connection_timeout")
        if state == "3F000":
            return ConfigurationError(f"schema: {text}: create it first")
        if not state or state.startswith(("08", "57P")) or state == "53300":
            return ConnectError(f"no connection to {where}: {text}")
        return StorageError(f"{where} refuses: {text}")


def _close(connection: psycopg.Connection[Any], pid: int) -> None:
    """Close a connection, unless it is the parent's."""
    if pid == os.getpid():
        connection.close()


def _address(connection_string: str | None, url: str | None) -> str:
    """Return the address, if libpq can read it.

    An error does not quote it, because it may hold a password.
    """
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    if (connection_string is None) == (url is None):
        raise ConfigurationError(
            "give either connection_string or url: postgresql://user@host/database"
        )
    address = connection_string or url or ""
    try:
        if not address.strip():
            raise ProgrammingError
        conninfo_to_dict(address)
    except (ProgrammingError, AttributeError):
        raise ConfigurationError(
            "connection_string: expected postgresql://user@host/database or libpq's host=… dbname=…"
        ) from None
    return address
