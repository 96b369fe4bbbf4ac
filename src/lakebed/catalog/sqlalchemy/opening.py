"""Opens a catalog in a database that SQLAlchemy supports."""

from __future__ import annotations

from collections.abc import Mapping

from lakebed.catalog.opened import MEMORY, CatalogOptions, OpenedCatalog, refuse_unknown
from lakebed.catalog.options import flag, number, seconds, text
from lakebed.catalog.postgres.catalog import PostgresCatalog
from lakebed.catalog.sql.catalog import SQLCatalog
from lakebed.catalog.sqlite.opening import open_sqlite
from lakebed.catalog.statements.dialect import POSTGRES
from lakebed.clock import system_clock
from lakebed.errors import ConfigurationError, DependencyMissingError

KNOWN = (
    "url",
    "schema",
    "pool_size",
    "echo",
    "timeout",
    "statement_timeout",
    "auto_migrate",
    "lazy",
)


def open_mysql(given: Mapping[str, object], options: CatalogOptions) -> OpenedCatalog:
    """Open the catalog of `{"type": "mysql", "url": …}`, or of type "mariadb".

    `open_sqlalchemy` describes the options and errors.
    """
    url = given.get("url")
    if not isinstance(url, str) or not url.startswith(("mysql", "mariadb")):
        raise ConfigurationError("catalog.url: expected mysql://user@host/database")
    return open_sqlalchemy(given, options)


def open_sqlalchemy(given: Mapping[str, object], options: CatalogOptions) -> OpenedCatalog:
    """Open the catalog of `{"type": "sqlalchemy", "url": …}`. All other options may be left out.

    `pool_size` (5): the most connections. `echo` (false): log every statement. `timeout` (30):
    seconds to wait for a connection, and to repeat a call that fails temporarily.
    `statement_timeout` (300): seconds to wait for a server's answer. `schema` ("lakebed"): the
    schema of a Postgres database. `auto_migrate` (true): create and migrate the tables. `lazy`
    (false): connect at the first call.

    Raises ConfigurationError for wrong options, DependencyMissingError if a package is missing, and
    ConnectError if the server cannot be reached.
    """
    try:
        from sqlalchemy import make_url
        from sqlalchemy.exc import ArgumentError
    except ImportError as error:
        mysql = str(given.get("url")).startswith(("mysql", "mariadb"))
        extras = "mysql,sqlalchemy" if mysql else "sqlalchemy"
        raise DependencyMissingError(
            f"this catalog needs the sqlalchemy package: pip install 'lakebed[{extras}]'"
        ) from error
    from lakebed.catalog.sqlalchemy.database import DatabaseOptions
    from lakebed.catalog.sqlalchemy.executor import SQLAlchemyExecutor

    refuse_unknown(given, KNOWN)
    address = given.get("url")
    try:
        if not isinstance(address, str):
            raise ArgumentError
        url = make_url(address)
    except (ArgumentError, ValueError):  # its text may quote a password
        raise ConfigurationError(
            "catalog.url: expected SQLAlchemy's URL, such as mysql+pymysql://user@host/database"
        ) from None
    if url.get_backend_name() == "sqlite" and url.database in (None, "", MEMORY):
        return open_sqlite(None, options)  # one connection, without a pool
    if options.read_only and url.get_backend_name() == "sqlite":
        raise ConfigurationError(
            "read_only: SQLAlchemy's driver writes beside the file that it reads: open it by "
            "catalog='sqlite:///…' or type 'sqlite'"
        )
    executor = SQLAlchemyExecutor(
        url,
        DatabaseOptions(
            timeout=seconds(given, "timeout", 30.0),
            lock_timeout=options.lock_timeout,
            statement_timeout=seconds(given, "statement_timeout", 300.0),
            durability=options.durability,
            schema=text(given, "schema", "lakebed"),
            mask=options.mask,
            read_only=options.read_only,
        ),
        pool_size=number(given, "pool_size", 5),
        echo=flag(given, "echo", False),
        clock=None if options.clock is system_clock else options.clock,
    )
    auto_migrate = flag(given, "auto_migrate", True)
    kind = PostgresCatalog if executor.dialect is POSTGRES else SQLCatalog
    catalog = kind(executor, auto_migrate=auto_migrate)
    return OpenedCatalog(catalog, executor.shown, True, flag(given, "lazy", False))
