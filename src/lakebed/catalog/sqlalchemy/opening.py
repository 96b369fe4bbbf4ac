"""The catalog in a database that SQLAlchemy knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from lakebed.catalog.opened import CatalogOptions, OpenedCatalog, refuse_unknown
from lakebed.catalog.options import flag, number, seconds, text
from lakebed.catalog.postgres.catalog import PostgresCatalog
from lakebed.catalog.postgres.executor import PostgresExecutor
from lakebed.catalog.sql.resilience import ResilientCatalog
from lakebed.clock import system_clock
from lakebed.errors import ConfigurationError, DependencyMissingError

_KNOWN = (
    "url",
    "schema",
    "pool_size",
    "echo",
    "timeout",
    "statement_timeout",
    "auto_migrate",
    "lazy",
)
SQLAlchemyCatalog = ResilientCatalog
"""Writers take turns; Postgres has a class of its own."""


def open_mysql(given: Mapping[str, object], options: CatalogOptions) -> OpenedCatalog:
    """The catalog of `{"type": "mysql", "url": …}`, or "mariadb": as `open_sqlalchemy`, for a URL
    of these."""
    url = given.get("url")
    if not isinstance(url, str) or not url.startswith(("mysql", "mariadb")):
        raise ConfigurationError("catalog.url: expected mysql://user@host/database")
    return open_sqlalchemy(given, options)


def open_sqlalchemy(given: Mapping[str, object], options: CatalogOptions) -> OpenedCatalog:
    """The catalog of `{"type": "sqlalchemy", "url": …}`; all others are optional:

    `pool_size` (5): connections. `echo` (false): log every statement. `timeout` (30): seconds to
    wait for a connection, and to repeat what failed for a reason that passes; `statement_timeout`
    (300): for a server's answer to one statement. `schema` ("lakebed"): of a Postgres database.
    `auto_migrate` (true): create and migrate the tables. `lazy` (false): no connection before the
    first call.
    """
    try:
        from sqlalchemy import make_url
        from sqlalchemy.exc import ArgumentError
    except ImportError as error:
        raise DependencyMissingError(
            "this catalog needs the sqlalchemy package: pip install 'lakebed[sqlalchemy]'"
        ) from error
    from lakebed.catalog.sqlalchemy.database import Options
    from lakebed.catalog.sqlalchemy.executor import SQLAlchemyExecutor

    refuse_unknown(given, _KNOWN)
    address = given.get("url")
    try:
        if not isinstance(address, str):
            raise ArgumentError
        url = make_url(address)
    except (ArgumentError, ValueError):  # its text may quote a password
        raise ConfigurationError(
            "catalog.url: expected SQLAlchemy's URL, such as mysql+pymysql://user@host/database"
        ) from None
    if options.read_only and url.get_backend_name() == "sqlite":
        raise ConfigurationError(
            "read_only: SQLAlchemy's driver writes beside the file that it reads: open it by "
            "catalog='sqlite:///…' or type 'sqlite'"
        )
    executor = SQLAlchemyExecutor(
        url,
        Options(
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
    catalog: ResilientCatalog
    if executor.dialect == "postgres":
        over = cast(PostgresExecutor, executor)
        catalog = PostgresCatalog(over, auto_migrate=auto_migrate)
    else:
        catalog = SQLAlchemyCatalog(executor, auto_migrate=auto_migrate)
    return OpenedCatalog(catalog, executor.shown, True, flag(given, "lazy", False))
