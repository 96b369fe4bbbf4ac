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

    `pool_size`: connections that are kept open. `echo`: log every statement. All of them may stand
    in a mapping `catalog` too, `{"type": "sqlalchemy", "url": …}`.
    """

    def __init__(
        self,
        url: str | None = None,
        pool_size: int = 5,
        echo: bool = False,
        lazy: bool = False,
        **options: object,
    ) -> None:
        options |= {"url": url, "echo": echo or None, "lazy": lazy}
        if pool_size != 5:  # else `catalog`, if given, may say it
            options["pool_size"] = pool_size
        super().__init__(_lake("sqlalchemy", **options))


class TursoBackend(LTMBackend):
    """All values inline in a database of Turso, or of another libSQL server.

    `url`: `libsql://database-organization.turso.io`. `auth_token`: the database's token.
    """

    def __init__(
        self,
        url: str | None = None,
        auth_token: str | None = None,
        lazy: bool = False,
        **options: object,
    ) -> None:
        options |= {"url": url, "auth_token": auth_token, "lazy": lazy}
        super().__init__(_lake("turso", **options))


class LitestreamBackend(LTMBackend):
    """All values inline in a SQLite file that Litestream copies to a replica all the time.

    `path`: the file. `replica`: a folder, or `s3://bucket/prefix`. With `durability="full"` a call
    returns when the replica has what it stored.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        replica: str | os.PathLike[str] | None = None,
        **options: object,
    ) -> None:
        super().__init__(_lake("litestream", path=path, replica=replica, **options))


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
    """The local default under its own name: a folder with a SQLite catalog and the contents.

    `catalog` and `storage` of your own replace those in the folder.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, **options: object) -> None:
        super().__init__(_lake("ducklake", path=path, **options))


class DynamoDBBackend(LTMBackend):
    """All values inline, in a table of Amazon DynamoDB, which is made if there is none.

    `region` and the credentials come from the
    environment if left out. `prefix` tells the memories in one table apart.
    """

    def __init__(
        self,
        table: str = "lakebed",
        region: str | None = None,
        endpoint_url: str | None = None,
        **options: object,
    ) -> None:
        options |= {"table": table, "region": region, "endpoint_url": endpoint_url}
        super().__init__(_lake("dynamodb", **options))


class FirestoreBackend(LTMBackend):
    """All values inline, in a collection of Google's Firestore.

    `project` and the credentials come from the environment if left out.
    """

    def __init__(
        self, collection: str = "agent_memory", project: str | None = None, **options: object
    ) -> None:
        super().__init__(_lake("firestore", collection=collection, project=project, **options))


class MongoDBBackend(LTMBackend):
    """All values inline, in a collection (`lakebed`) of the database that `url` names."""

    def __init__(self, url: str | None = None, **options: object) -> None:
        super().__init__(_lake("mongodb", url=url, **options))


class D1Backend(LTMBackend):
    """All values inline, in a database of Cloudflare D1.

    `account_id` and `database_id`, or `worker_url`. `api_token` comes from CLOUDFLARE_API_TOKEN if
    left out.
    """

    def __init__(
        self,
        account_id: str | None = None,
        database_id: str | None = None,
        api_token: str | None = None,
        endpoint_url: str | None = None,
        lazy: bool = False,
        **options: object,
    ) -> None:
        options |= {"account_id": account_id, "database_id": database_id, "api_token": api_token}
        super().__init__(_lake("d1", endpoint_url=endpoint_url, lazy=lazy, **options))


class RedisBackend(LTMBackend):
    """All values inline, in keys of the Redis that `url` names, under `prefix`."""

    def __init__(
        self, url: str | None = None, prefix: str | None = None, **options: object
    ) -> None:
        super().__init__(_lake("redis", url=url, prefix=prefix, **options))


class BucketBackend(LTMBackend):
    """All values inline, in files in the folder or bucket that `uri` names.

    Other options may be those of its filesystem, such as `endpoint_url`.
    """

    def __init__(self, uri: str | os.PathLike[str] | None = None, **options: object) -> None:
        super().__init__(_lake("bucket", uri=uri, **options))


class BlobSQLiteBackend(LTMBackend):
    """All values inline, in SQLite on the folder or bucket that `blob_uri` names.

    `lock_backend`: `redis`, `dynamodb`, `firestore` or `none`, for a lock that spares lost races;
    `lock_ttl` in seconds; `lock_options`: what the lock takes, such as `url`.
    """

    def __init__(
        self,
        blob_uri: str | os.PathLike[str] | None = None,
        lock_backend: str | None = None,
        lock_ttl: float | None = None,
        **options: object,
    ) -> None:
        options |= {"blob_uri": blob_uri, "lock_backend": lock_backend, "lock_ttl": lock_ttl}
        super().__init__(_lake("blob-sqlite", **options))
