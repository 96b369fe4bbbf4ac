"""The backends by name. Each is a choice of catalog and storage for the same adapter."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from lakebed.lake import opening
from lakebed.lake.lake import Lake
from lakebed.ltm.adapter import LTMBackend


def _lake(backend: str, **options: object) -> Lake | Callable[[], Lake]:
    """Open the lake that options name; with `lazy`, return a function that opens it.

    In both cases options are checked at once. References in them are not replaced: a configuration
    has done so already.
    """
    from lakebed.config.loading import section_of, validate

    given = {name: value for name, value in options.items() if value is not None}
    settings = validate(section_of(given | {"backend": backend})).settings

    def connect() -> Lake:
        return opening.open(**settings.open_options())

    return connect if settings.lazy else connect()


class SQLiteBackend(LTMBackend):
    """All values inline in a SQLite file.

    `path`: the file, or `":memory:"`. All backends also take `history`, `history_retention`,
    `durability`, `lock_timeout`, `read_only` and `lazy`, as in the configuration.
    """

    def __init__(self, path: str | os.PathLike[str] = "lakebed.db", **options: object) -> None:
        super().__init__(_lake("sqlite", path=path, **options))


class PostgresBackend(LTMBackend):
    """All values inline in a Postgres database.

    `connection_string`: a URL, or libpq's `host=… dbname=…`. If it is left out, give `host`,
    `port`, `user`, `password` and `database`, or set the address in the environment
    (`DATABASE_URL`, `POSTGRES_HOST` …). `schema`, `max_size` and others are as in the
    configuration.
    """

    def __init__(self, connection_string: str | None = None, **options: object) -> None:
        super().__init__(_lake("postgres", connection_string=connection_string, **options))


class SQLAlchemyBackend(LTMBackend):
    """All values inline in any database that SQLAlchemy knows, by its URL.

    `pool_size`: connections that are kept open. `echo`: log every statement.
    """

    def __init__(
        self,
        url: str | None = None,
        pool_size: int = 5,
        echo: bool = False,
        lazy: bool = False,
        **options: object,
    ) -> None:
        options |= {"url": url, "pool_size": pool_size, "echo": echo, "lazy": lazy}
        super().__init__(_lake("sqlalchemy", **options))


class DuckDBBackend(LTMBackend):
    """Names in a catalog, large contents in a storage, which DuckDB queries.

    `catalog` and `storage` are as in the configuration. The default is the local folder `lakebed`.
    """

    def __init__(
        self,
        catalog: str | Mapping[str, object] | None = None,
        storage: str | os.PathLike[str] | Mapping[str, object] | None = None,
        **options: object,
    ) -> None:
        super().__init__(_lake("duckdb", catalog=catalog, storage=storage, **options))


class DuckLakeBackend(LTMBackend):
    """The local default under its own name: a folder with a SQLite catalog and the contents."""

    def __init__(self, path: str | os.PathLike[str] = "lakebed", **options: object) -> None:
        super().__init__(_lake("ducklake", path=path, **options))
