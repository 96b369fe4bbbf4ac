"""The backends by name. Each is a choice of catalog and storage for the same adapter."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from lakebed.lake import opening
from lakebed.lake.lake import Lake
from lakebed.ltm.adapter import LTMBackend


def _lake(backend: str, **options: object) -> Lake | Callable[[], Lake]:
    """Open the lake that the options name. With `lazy`, return a function that opens it.

    The options are checked at once in both cases. References in them are not replaced: loading a
    configuration has done so already.
    """
    from lakebed.config.reading.loading import section_of, validate

    given = {name: value for name, value in options.items() if value is not None}
    settings = validate(section_of(given | {"backend": backend})).settings

    def connect() -> Lake:
        return opening.open(**settings.open_options())

    return connect if settings.lazy else connect()


class SQLiteBackend(LTMBackend):
    """All values inline in a SQLite file.

    `path`: the file, or `":memory:"`. All backends also take `history`, `history_retention`,
    `durability`, `lock_timeout`, `read_only` and `lazy`, as in the configuration. All raise
    ConfigurationError for invalid options, and what `lakebed.open` raises unless they are `lazy`.
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

    `pool_size`: how many connections stay open. `echo`: log every statement. You can also give all
    of them in a mapping, as `catalog={"type": "sqlalchemy", "url": …}`.
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
        if pool_size != 5:  # the default must not override the one in `catalog`
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
    """All values inline in a SQLite file that Litestream copies to a replica continuously.

    `path`: the file. `replica`: a folder, or `s3://bucket/prefix`. With `durability="full"` a
    store returns only when the replica has the change.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        replica: str | os.PathLike[str] | None = None,
        **options: object,
    ) -> None:
        super().__init__(_lake("litestream", path=path, replica=replica, **options))


class DuckDBBackend(LTMBackend):
    """Names in a catalog, large contents in a storage. DuckDB queries both.

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
    """A local folder with a SQLite catalog and the contents, as `lakebed.open()` makes it.

    `path`: the folder. `catalog` and `storage`, if given, replace those in the folder.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, **options: object) -> None:
        super().__init__(_lake("ducklake", path=path, **options))


class DynamoDBBackend(LTMBackend):
    """All values inline in a table of Amazon DynamoDB.

    `table`: its name. The table is created if it does not exist. `region` and the credentials come
    from the environment if left out. `prefix` separates memories that share a table.
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
    """All values inline in a collection of Google's Firestore.

    `project` and the credentials come from the environment if left out.
    """

    def __init__(
        self, collection: str = "agent_memory", project: str | None = None, **options: object
    ) -> None:
        super().__init__(_lake("firestore", collection=collection, project=project, **options))


class MongoDBBackend(LTMBackend):
    """All values inline in the collection `lakebed` of the MongoDB database that `url` names."""

    def __init__(self, url: str | None = None, **options: object) -> None:
        super().__init__(_lake("mongodb", url=url, **options))


class D1Backend(LTMBackend):
    """All values inline in a database of Cloudflare D1.

    Give `account_id` and `database_id`, or `worker_url`. `api_token` comes from the environment
    variable CLOUDFLARE_API_TOKEN if left out.
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
    """All values inline in the Redis server that `url` names, in keys that begin with `prefix`."""

    def __init__(
        self, url: str | None = None, prefix: str | None = None, **options: object
    ) -> None:
        super().__init__(_lake("redis", url=url, prefix=prefix, **options))


class BucketBackend(LTMBackend):
    """All values inline in files, in the folder or bucket that `uri` names.

    Options of its filesystem, such as `endpoint_url`, can be given too.
    """

    def __init__(self, uri: str | os.PathLike[str] | None = None, **options: object) -> None:
        super().__init__(_lake("bucket", uri=uri, **options))


class BlobSQLiteBackend(LTMBackend):
    """All values inline in a SQLite database, kept in the folder or bucket that `blob_uri` names.

    `lock_backend`: `redis`, `dynamodb`, `firestore` or `none`. A lock avoids lost races between
    writers, and is not needed for correctness. `lock_ttl`: its lease in seconds. `lock_options`: a
    mapping of the lock's own options, such as `url`.
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
