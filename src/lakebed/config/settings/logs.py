"""The settings of catalogs that are a shared log in a service without SQL."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, Field, model_validator

from lakebed.catalog.log.stores.address import BUCKET, LOCK_TTL, in_url, inner_uri
from lakebed.config.fields import (
    LocalPathOrUri,
    Model,
    Raw,
    Seconds,
    Secret,
    Text,
    one_name,
    wrong,
)
from lakebed.config.masking import guard, reveal
from lakebed.config.settings.base import InlineSettings
from lakebed.errors import ConfigurationError


class LogOptions(Model):
    """The options of every shared log.

    `_type`: the catalog's type. `_in_url`: the options that its URL holds. `_own`: all of its
    options.
    """

    _type: ClassVar[str]
    _in_url: ClassVar[tuple[str, ...]] = ()
    _own: ClassVar[tuple[str, ...]]

    max_staleness: Seconds = Field(
        0.0, description="Seconds for which a read does not ask whether others have written."
    )
    timeout: Seconds = Field(10.0, description="Seconds to wait for the answer to a request.")

    @model_validator(mode="before")
    @classmethod
    def _from_url(cls, raw: Raw) -> Raw:
        if not cls._in_url:
            return one_name(raw, "url", "connection_string")
        raw = one_name(raw, "url", "connection_string", "path")
        try:
            return in_url(raw, *cls._in_url)
        except ConfigurationError as error:
            raise wrong(error.message.partition(": ")[2] or error.message, "url") from None

    def as_catalog(self) -> dict[str, object]:
        """The catalog as `lakebed.open` takes it."""
        given = {name: getattr(self, name) for name in (*self._own, "max_staleness", "timeout")}
        return {"type": self._type} | {
            name: reveal(value) for name, value in given.items() if value is not None
        }


class DynamoDBOptions(LogOptions):
    """A table of Amazon DynamoDB."""

    _type = "dynamodb"
    _in_url = ("table", "prefix")
    _own = ("table", "prefix", "region", "endpoint_url")

    table: Text = Field(description="The first call creates it if it does not exist.")
    prefix: Text = Field("lakebed", description="Tells the lakes in a table apart.")
    region: Text | None = Field(None, description="Left out: taken from the environment.")
    endpoint_url: Text | None = Field(
        None, description="The address of a server that is not Amazon's."
    )


class FirestoreOptions(LogOptions):
    """A collection of Google's Firestore."""

    _type = "firestore"
    _in_url = ("project", "collection")
    _own = ("collection", "project", "database")

    collection: Text = Field("agent_memory", description="Holds one lake.")
    project: Text | None = Field(None, description="Left out: taken from the environment.")
    database: Text | None = Field(None, description="Left out: `(default)`.")


class MongoDBOptions(LogOptions):
    """A collection of MongoDB."""

    _type = "mongodb"
    _own = ("url", "collection")

    url: Secret = Field(description="`mongodb://host/database`, or `mongodb+srv://…`.")
    collection: Text = Field("lakebed", description="Holds one lake.")


class D1Options(LogOptions):
    """A database of Cloudflare D1."""

    _type = "d1"
    _in_url = ("account_id", "database_id")
    _own = ("account_id", "database_id", "api_token", "endpoint_url", "worker_url", "prefix")

    account_id: Text | None = Field(None, description="Left out if there is a `worker_url`.")
    database_id: Text | None = Field(None, description="Left out if there is a `worker_url`.")
    api_token: Secret | None = Field(
        None,
        description=(
            "The token of Cloudflare, or of the Worker. Left out: the variable "
            "`CLOUDFLARE_API_TOKEN`."
        ),
    )
    endpoint_url: Text | None = Field(
        None, description="The address of a server that is not Cloudflare's."
    )
    worker_url: Text | None = Field(
        None, description="The address of a Worker in front of the database."
    )
    prefix: Text = Field("lakebed", description="Tells the lakes in a database apart.")

    @model_validator(mode="after")
    def _one_way(self) -> D1Options:
        for name in ("account_id", "database_id", "endpoint_url"):
            given = getattr(self, name) is not None
            if given and self.worker_url is not None:
                raise wrong("cannot be combined with worker_url: give one of them", name)
            if not given and self.worker_url is None and name != "endpoint_url":
                raise wrong("is missing", name)
        return self


class RedisOptions(LogOptions):
    """Keys in Redis."""

    _type = "redis"
    _own = ("url", "prefix")

    url: Secret = Field(description="`redis://user:password@host:port/0`, or `rediss://…` for TLS.")
    prefix: Text | None = Field(
        None,
        description="Tells the lakes on a server apart. Left out: as in the URL, or `lakebed`.",
    )


class FileOptions(Model):
    """The options of logs in folders and buckets. All other keys are options of the filesystem."""

    model_config = ConfigDict(extra="allow")

    max_staleness: Seconds = Field(
        0.0, description="Seconds for which a read does not ask whether others have written."
    )

    def _more(self) -> dict[str, object]:
        extra = {name: reveal(value) for name, value in (self.model_extra or {}).items()}
        return {"max_staleness": self.max_staleness, **extra}


class BucketOptions(FileOptions):
    """A shared log of files in a folder or a bucket. All other keys are options of the fsspec
    filesystem, as for `storage`."""

    uri: LocalPathOrUri | None = Field(
        None,
        description="A folder, or a URI: `s3://bucket/prefix`, `gs://…`, `az://…`. Left out: the "
        "lake's own storage.",
    )

    @model_validator(mode="before")
    @classmethod
    def _synonyms(cls, raw: Raw) -> Raw:
        raw = one_name(raw, "uri", "url", "connection_string", "path")
        uri = raw.get("uri")
        if isinstance(uri, str) and uri.startswith(BUCKET):
            raw["uri"] = inner_uri(uri)
        return _guarded(raw, cls)

    def as_catalog(self) -> dict[str, object]:
        """The catalog as `lakebed.open` takes it."""
        uri = {} if self.uri is None else {"uri": self.uri}
        return {"type": "bucket", **uri, **self._more()}


class BlobSQLiteOptions(FileOptions):
    """SQLite on a bucket: the same log as `bucket`, with a lock that avoids lost races. All other
    keys are options of the fsspec filesystem, as for `storage`."""

    blob_uri: LocalPathOrUri = Field(
        description="A folder, or a URI: `s3://bucket/prefix`, `gs://…`, `az://…`."
    )
    lock_backend: Literal["none", "redis", "dynamodb", "firestore"] = Field(
        "none", description="Where the lock is kept that is held during each commit."
    )
    lock_ttl: Seconds = Field(
        LOCK_TTL, description="Seconds after which a dead client loses the lock."
    )
    lock_options: dict[str, Any] = Field(
        default_factory=dict,
        description="Options of the lock: `url` (Redis), `table` (DynamoDB), `collection` "
        "(Firestore).",
    )

    @model_validator(mode="before")
    @classmethod
    def _synonyms(cls, raw: Raw) -> Raw:
        raw = _guarded(one_name(raw, "blob_uri", "uri", "url", "path"), cls)
        lock = raw.get("lock_options")
        if isinstance(lock, dict):
            raw["lock_options"] = {name: guard(value, name) for name, value in lock.items()}
        return raw

    def as_catalog(self) -> dict[str, object]:
        """The catalog as `lakebed.open` takes it."""
        return {
            "type": "blob-sqlite",
            "blob_uri": self.blob_uri,
            "lock_backend": self.lock_backend,
            "lock_ttl": self.lock_ttl,
            "lock_options": {name: reveal(value) for name, value in self.lock_options.items()},
            **self._more(),
        }


def _guarded(raw: Raw, model: type[Model]) -> Raw:
    """Return the settings, with options of the filesystem that may be secret hidden."""
    known = (*model.model_fields, "type", "backend", *InlineSettings.model_fields)
    return {name: value if name in known else guard(value, name) for name, value in raw.items()}


class RedisCatalogSettings(RedisOptions):
    """Names in keys of Redis."""

    type: Literal["redis"]


class BucketCatalogSettings(BucketOptions):
    """Names as a shared log of files, in the lake's own storage or in another folder or bucket."""

    type: Literal["bucket"]


class BlobSQLiteCatalogSettings(BlobSQLiteOptions):
    """Names in SQLite on a bucket."""

    type: Literal["blob-sqlite"]


class DynamoDBCatalogSettings(DynamoDBOptions):
    """Names in a table of Amazon DynamoDB."""

    type: Literal["dynamodb"]


class FirestoreCatalogSettings(FirestoreOptions):
    """Names in a collection of Google's Firestore."""

    type: Literal["firestore"]


class MongoDBCatalogSettings(MongoDBOptions):
    """Names in a collection of MongoDB."""

    type: Literal["mongodb"]


class D1CatalogSettings(D1Options):
    """Names in a database of Cloudflare D1."""

    type: Literal["d1"]


LogCatalogSettings = (
    DynamoDBCatalogSettings
    | FirestoreCatalogSettings
    | MongoDBCatalogSettings
    | D1CatalogSettings
    | RedisCatalogSettings
    | BucketCatalogSettings
    | BlobSQLiteCatalogSettings
)


class DynamoDBSettings(DynamoDBOptions, InlineSettings):
    """All values inline, in a table of Amazon DynamoDB."""

    backend: Literal["dynamodb"]


class FirestoreSettings(FirestoreOptions, InlineSettings):
    """All values inline, in a collection of Google's Firestore."""

    backend: Literal["firestore"]


class MongoDBSettings(MongoDBOptions, InlineSettings):
    """All values inline, in a collection of MongoDB."""

    backend: Literal["mongodb"]


class D1Settings(D1Options, InlineSettings):
    """All values inline, in a database of Cloudflare D1."""

    backend: Literal["d1"]


class RedisSettings(RedisOptions, InlineSettings):
    """All values inline, in keys in Redis."""

    backend: Literal["redis"]


class BucketSettings(BucketOptions, InlineSettings):
    """All values inline, in files in a folder or a bucket."""

    backend: Literal["bucket"]

    @model_validator(mode="after")
    def _has_a_place(self) -> BucketSettings:
        if self.uri is None:
            raise wrong("is missing", "uri")
        return self


class BlobSQLiteSettings(BlobSQLiteOptions, InlineSettings):
    """All values inline, in SQLite on a bucket."""

    backend: Literal["blob-sqlite"]
