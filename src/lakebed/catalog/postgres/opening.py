"""Opens a Postgres catalog from its options."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lakebed.catalog.opened import CatalogOptions, OpenedCatalog, refuse_unknown
from lakebed.catalog.options import flag, number, seconds
from lakebed.catalog.postgres.catalog import DirectPostgresCatalog, PostgresCatalog
from lakebed.catalog.postgres.executor import PostgresExecutor
from lakebed.catalog.postgres.server import require_driver
from lakebed.clock import system_clock
from lakebed.errors import ConfigurationError

KNOWN = (
    "connection_string",
    "login",
    "schema",
    "min_size",
    "max_size",
    "timeout",
    "statement_timeout",
    "auto_migrate",
    "lazy",
    "pgbouncer",
)
_HOST = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(:[0-9]*)?")
_SCHEMA = re.compile(r"(?!.*\$\$)[A-Za-z_][A-Za-z0-9_$-]{0,62}")  # $$ would end a function's text


def open_postgres(given: Mapping[str, object], options: CatalogOptions) -> OpenedCatalog:
    """Open the catalog of `{"type": "postgres", "connection_string": …}`. All other options may be
    left out.

    `login`: a function that gives the `user` and `password` of each new connection, if they change.
    They win over the connection string. `schema` ("lakebed"): holds the tables of one lake.
    `min_size` (1), `max_size` (10): the number of connections in the pool. `timeout` (30): seconds
    to wait for a connection, and to repeat a call that lost one. `statement_timeout` (300): seconds
    to wait for the answer to a statement. `auto_migrate` (true): create and migrate the tables.
    `lazy` (false): connect at the first call. `pgbouncer` (false): the server is behind PgBouncer
    in transaction mode.

    Raises ConfigurationError for wrong options, and ConnectError if the server cannot be reached.
    """
    require_driver()
    refuse_unknown({name: None for name in given if name != "url"}, KNOWN)
    conninfo = given.get("url")
    if not isinstance(conninfo, str) or not conninfo.strip():
        raise ConfigurationError(
            "catalog.connection_string: expected postgresql://user@host/database"
        )
    schema = given.get("schema", "lakebed")
    if not isinstance(schema, str) or not _SCHEMA.fullmatch(schema) or schema.startswith("pg_"):
        raise ConfigurationError(
            f"catalog.schema is {schema!r}: expected up to 63 letters, digits, '_', '$' and '-' "
            "that begin with a letter or '_', not with 'pg_', and without '$$'"
        )
    least = number(given, "min_size", 1, least=0)
    most = number(given, "max_size", max(10, least), least=1)
    if most < least:
        raise ConfigurationError(f"catalog.max_size is {most}: expected min_size ({least}) or more")
    login = given.get("login")
    if login is not None and not callable(login):
        raise ConfigurationError("catalog.login: expected a function")
    pooled = flag(given, "pgbouncer", False)
    executor = PostgresExecutor(
        check_address(conninfo),
        login=login,
        schema=schema,
        min_size=least,
        max_size=most,
        timeout=seconds(given, "timeout", 30.0),
        statement_timeout=seconds(given, "statement_timeout", 300.0),
        lock_timeout=options.lock_timeout,
        pooled=pooled,
        clock=None if options.clock is system_clock else options.clock,
        mask=options.mask,
        read_only=options.read_only,
    )
    # Behind PgBouncer, sessions are shared. Nothing is prepared, and no signal is heard.
    kind = PostgresCatalog if pooled else DirectPostgresCatalog
    catalog = kind(executor, auto_migrate=flag(given, "auto_migrate", True))
    return OpenedCatalog(catalog, executor.server.shown, True, flag(given, "lazy", False))


def check_address(conninfo: str) -> str:
    """Return the connection string, if libpq reads it as it is meant.

    Otherwise raises ConfigurationError, which does not quote the string.
    """
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        conninfo_to_dict(conninfo)
    except ProgrammingError:  # its text may quote a password
        raise ConfigurationError(
            "catalog.connection_string is neither a URL, postgresql://user@host/database, nor "
            "libpq's host=… dbname=…, or has a parameter that libpq does not know"
        ) from None
    if _is_unclear(conninfo):
        raise ConfigurationError(
            "catalog.connection_string: its user or password has signs that end them in a URL: "
            "percent-encode them (urllib.parse.quote), or write host=… user='…' password='…'"
        )
    return conninfo


def _is_unclear(conninfo: str) -> bool:
    """Return whether the password in a URL has a raw `@`, `/`, `?` or `#`.

    libpq would take a part of such a password for the host, and show it in errors.
    """
    _, separator, rest = conninfo.partition("://")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    hosts = authority.rpartition("@")[2].split(",")
    return bool(separator) and (
        authority.count("@") > 1
        or rest.partition("?")[0].count("@") > authority.count("@")
        or not all(_HOST.fullmatch(host) for host in hosts)
    )
