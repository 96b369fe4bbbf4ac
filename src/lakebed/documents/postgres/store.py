"""The stores of documents in Postgres."""

from __future__ import annotations

from typing import Any

from lakebed.catalog.postgres.opening import check_address
from lakebed.catalog.postgres.server import Server, require_driver
from lakebed.config.providers.address import native_url
from lakebed.documents.async_store import AsyncMetadataStore
from lakebed.documents.options import count, flag, seconds, text
from lakebed.documents.postgres.backend import PostgresBackend
from lakebed.documents.postgres.blocking import BlockingPool
from lakebed.documents.postgres.pools import Limits
from lakebed.documents.postgres.server import DocumentServer
from lakebed.documents.store import MetadataStore
from lakebed.errors import ConfigurationError


class PostgresMetadataStore(MetadataStore):
    """Documents in a Postgres database, in the table `lakebed_metadata`.

    `url`: the server's address, also accepted as `connection_string`. Instead you can give `host`,
    `port`, `user`, `password`, `database`, `provider`, `credentials` and the other options of a
    Postgres catalog in the configuration. Without any of them, the environment names the server
    (`DATABASE_URL`, `POSTGRES_HOST` …).

    - `pool_size`, `max_overflow`: their sum is the most connections. A connection that is idle for
      ten minutes is closed, except the last one.
    - `schema`: the schema that holds the table.
    - `auto_migrate`: create the table, and migrate it to the version of this release.
    - `timeout`: how many seconds to wait for a connection, and for how many to repeat a call that
      fails for a temporary reason.
    - `statement_timeout`: how many seconds to wait for the answer to one statement.
    - `lock_timeout`: how many seconds to wait for a lock.
    - `pgbouncer`: set this if the connections go through PgBouncer in transaction mode.

    Raises ConfigurationError for an invalid option, and DependencyMissingError without the extra
    `postgres`.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        pool_size: int = 5,
        max_overflow: int = 5,
        schema: str = "public",
        auto_migrate: bool = True,
        timeout: float = 30.0,
        statement_timeout: float = 300.0,
        lock_timeout: float = 60.0,
        pgbouncer: bool = False,
        **server: Any,
    ) -> None:
        require_driver()
        limits = _limits(
            pool_size, max_overflow, timeout, lock_timeout, statement_timeout, pgbouncer
        )
        place, auto = _schema(schema), flag("auto_migrate", auto_migrate)
        pool = BlockingPool(_server(url, server, limits), limits)
        super().__init__(PostgresBackend(pool, place, auto_migrate=auto))


class AsyncPostgresMetadataStore(AsyncMetadataStore):
    """Documents in a Postgres database, for the coroutines of one event loop. It uses psycopg's
    async pool.

    The options are those of `PostgresMetadataStore`.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        pool_size: int = 5,
        max_overflow: int = 5,
        schema: str = "public",
        auto_migrate: bool = True,
        timeout: float = 30.0,
        statement_timeout: float = 300.0,
        lock_timeout: float = 60.0,
        pgbouncer: bool = False,
        **server: Any,
    ) -> None:
        require_driver()
        from lakebed.documents.postgres.waiting import WaitingPool  # loads the driver

        limits = _limits(
            pool_size, max_overflow, timeout, lock_timeout, statement_timeout, pgbouncer
        )
        place, auto = _schema(schema), flag("auto_migrate", auto_migrate)
        pool = WaitingPool(_server(url, server, limits), limits)
        super().__init__(PostgresBackend(pool, place, auto_migrate=auto))


def _limits(
    pool_size: object,
    max_overflow: object,
    timeout: object,
    lock_timeout: object,
    statement_timeout: object,
    pgbouncer: object,
) -> Limits:
    return Limits(
        count("pool_size", pool_size, least=1) + count("max_overflow", max_overflow, least=0),
        seconds("timeout", timeout),
        seconds("lock_timeout", lock_timeout),
        seconds("statement_timeout", statement_timeout),
        flag("pgbouncer", pgbouncer),
    )


def _server(url: object, given: dict[str, Any], limits: Limits) -> Server:
    options = {name: value for name, value in given.items() if value is not None}
    if isinstance(url, str) and not options:
        address = check_address(native_url(url) or url)
        return DocumentServer(address, limits.timeout, pooled=limits.pooled)
    # The address and the login are read like the configuration of a catalog.
    from lakebed.config.reading.loading import section_of, validate

    if url is not None:
        options["url"] = url
    settings = validate(section_of(options | {"backend": "postgres"})).settings
    catalog = settings.open_options()["catalog"]
    return DocumentServer(
        check_address(catalog["connection_string"]),
        limits.timeout,
        login=catalog.get("login"),
        pooled=limits.pooled,
    )


def _schema(schema: object) -> str:
    name = text("schema", schema)
    data = name.encode(errors="replace")
    if "\0" in name or data.decode() != name or len(data) > 63:
        raise ConfigurationError(
            "schema must be valid Unicode with at most 63 bytes and no NUL character, got "
            f"{name[:100]!r}"
        )
    return name
