"""The settings of a lake: one model per backend. The reference and the JSON Schema are generated
from them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from lakebed.catalog.opened import MEMORY
from lakebed.config.fields import (
    LocalPath,
    LocalPathOrUri,
    Model,
    Raw,
    one_name,
    or_text,
    wrong,
)
from lakebed.config.masking import guard, reveal
from lakebed.config.settings.base import InlineSettings, Settings, lazily
from lakebed.config.settings.catalogs import (
    DEFAULT_FILE,
    Catalog,
    CatalogSettings,
    PostgresOptions,
    SQLAlchemyOptions,
    SQLiteCatalogSettings,
    SQLiteOptions,
    long_form,
    sqlite_path,
)
from lakebed.config.settings.litestream import LitestreamOptions
from lakebed.config.settings.logs import (
    BlobSQLiteSettings,
    BucketSettings,
    D1Settings,
    DynamoDBSettings,
    FirestoreSettings,
    MongoDBSettings,
    RedisSettings,
)
from lakebed.config.settings.turso import TursoOptions
from lakebed.lake.opening import CATALOG_FILE, DEFAULT_FOLDER


class StorageSettings(Model):
    """Where the contents are kept. All other keys are options of the fsspec filesystem, such as
    `endpoint_url`, `key` and `secret` for S3."""

    model_config = ConfigDict(extra="allow")

    uri: LocalPathOrUri = Field(
        description="A folder, or a URI that fsspec knows: `s3://bucket/prefix`."
    )

    @model_validator(mode="before")
    @classmethod
    def _nothing_of_ours(cls, raw: Raw) -> Raw:
        for name in ("backend", "catalog", *Settings.model_fields):
            if name in raw:
                raise wrong("is not an option of a storage: write it beside storage", name)
        return {name: value if name == "uri" else guard(value, name) for name, value in raw.items()}

    @model_validator(mode="after")
    def _local_takes_no_options(self) -> StorageSettings:
        if self.folder is not None and self.model_extra:
            named = ", ".join(sorted(self.model_extra))
            raise wrong(f"a local folder has no options, got {named}")
        return self

    @model_validator(mode="after")
    def _options_are_known(self) -> StorageSettings:
        if self.model_extra:
            from lakebed.objects.opening import wrong_options

            extra = {name: reveal(value) for name, value in self.model_extra.items()}
            for name, problem in wrong_options(self.uri, extra).items():
                raise wrong(problem, name)
        return self

    @property
    def folder(self) -> str | None:
        """The folder, or None if the storage is not on this machine."""
        return _folder(self.uri)

    def as_storage(self) -> dict[str, object]:
        """Return the storage as `lakebed.open` takes it."""
        extra = {name: reveal(value) for name, value in (self.model_extra or {}).items()}
        return {"uri": self.uri, **extra}


def _folder(uri: str) -> str | None:
    path = uri.removeprefix("file://")
    return None if "://" in path else path


def _path_of(catalog: Raw) -> object:
    """Return the path of a SQLite catalog before it is validated, or None if no path is given."""
    named = one_name(catalog, "path", "url", "connection_string").get("path")
    return sqlite_path(named) if isinstance(named, str) and "://" in named else named


def _long_storage(value: object) -> Raw:
    if isinstance(value, (str, os.PathLike)):
        return {"uri": os.fspath(value)}
    if not isinstance(value, Mapping):
        raise wrong("expected a path, a URI such as s3://bucket/prefix, or a mapping with uri")
    return dict(value)


Storage = Annotated[
    StorageSettings,
    BeforeValidator(_long_storage),
    or_text("a folder, or a URI: s3://bucket/prefix"),
]


class SQLiteSettings(SQLiteOptions, InlineSettings):
    """All values inline in a SQLite file."""

    backend: Literal["sqlite"]


class PostgresSettings(PostgresOptions, InlineSettings):
    """All values inline in a Postgres database."""

    backend: Literal["postgres"]


class SQLAlchemySettings(SQLAlchemyOptions, InlineSettings):
    """All values inline in any database that SQLAlchemy knows."""

    backend: Literal["sqlalchemy"]


class TursoSettings(TursoOptions, InlineSettings):
    """All values inline in a database of Turso, or of another libSQL server."""

    backend: Literal["turso"]


class LitestreamSettings(LitestreamOptions, InlineSettings):
    """All values inline in a SQLite file that Litestream copies to a replica all the time."""

    backend: Literal["litestream"]


class DuckDBSettings(Settings):
    """Names in a catalog, large contents in the lake, which DuckDB queries."""

    backend: Literal["duckdb"]
    catalog: Catalog = Field(
        default_factory=lambda: SQLiteCatalogSettings(type="sqlite"),
        description=f"Keeps the names. Left out: SQLite, in the storage's folder, or in "
        f"`{DEFAULT_FILE}` if the storage is not a folder.",
    )
    storage: Storage | None = Field(
        None,
        description=f"Keeps the contents. Left out: the folder `{DEFAULT_FOLDER}`, "
        "or none if the catalog is in memory.",
    )

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, raw: Raw) -> Raw:
        return _with_both(raw)

    @model_validator(mode="after")
    def _lasts(self) -> DuckDBSettings:
        _check_lasting(self.catalog, self.storage)
        return self

    def place(self) -> dict[str, Any]:
        return _place_of(self.catalog, self.storage, self.lazy)


def _with_both(raw: Raw) -> Raw:
    """Return the settings with a catalog and a storage, filling in the one that is missing."""
    try:
        catalog = long_form(raw.get("catalog", "sqlite"))
        path = _path_of(catalog) if catalog["type"] == "sqlite" else ""
    except PydanticCustomError:  # the field's own check raises the error, with its place
        return raw
    storage = raw.get("storage", None if path == MEMORY else DEFAULT_FOLDER)
    if path is None:
        uri = storage.get("uri") if isinstance(storage, Mapping) else storage
        folder = _folder(os.fspath(uri)) if isinstance(uri, (str, os.PathLike)) else None
        catalog["path"] = DEFAULT_FILE if folder is None else f"{folder}/{CATALOG_FILE}"
    return raw | {"catalog": catalog, "storage": storage}


def _check_lasting(catalog: CatalogSettings, storage: StorageSettings | None) -> None:
    lasting = not (isinstance(catalog, SQLiteCatalogSettings) and catalog.path == MEMORY)
    if lasting and storage is not None and storage.uri.startswith("memory://"):
        raise wrong(
            "memory:// is lost when the process ends, but the catalog is kept: use a "
            "persistent storage, or catalog: ':memory:'",
            "storage",
        )


def _place_of(
    catalog: CatalogSettings, storage: StorageSettings | None, lazy: bool
) -> dict[str, Any]:
    folder = None if storage is None else storage.folder
    # A folder that also holds its catalog is a lake that can be moved.
    beside = None if folder is None else f"{folder}/{CATALOG_FILE}"
    if isinstance(catalog, SQLiteCatalogSettings) and catalog.path == beside:
        return {"where": folder}
    return {
        "catalog": lazily(catalog.as_catalog(), lazy),
        "storage": None if storage is None else storage.as_storage(),
    }


class DuckLakeSettings(Settings):
    """The local default: a folder with a SQLite catalog and the contents.

    It is not the format of the DuckDB extension DuckLake (see *Moving to Lakebed*).
    """

    backend: Literal["ducklake"]
    path: LocalPath | None = Field(
        None, description=f"The folder. Left out: `{DEFAULT_FOLDER}`, or the folder in `storage`."
    )
    catalog: Catalog | None = Field(None, description="Keeps the names, in place of the folder.")
    storage: Storage | None = Field(None, description="Keeps the contents, in place of the folder.")

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, raw: Raw) -> Raw:
        if raw.get("catalog") is None and raw.get("storage") is None:
            return {"path": DEFAULT_FOLDER} | raw
        path = raw.get("path")
        if path is not None and raw.get("storage") is not None:
            raise wrong("cannot be combined with storage: give one of them", "path")
        folder = {} if path is None else {"storage": path}
        return _with_both({key: value for key, value in raw.items() if key != "path"} | folder)

    @model_validator(mode="after")
    def _lasts(self) -> DuckLakeSettings:
        if self.catalog is not None:
            _check_lasting(self.catalog, self.storage)
        return self

    def place(self) -> dict[str, Any]:
        if self.catalog is None:
            return {"where": self.path}
        return _place_of(self.catalog, self.storage, self.lazy)


class AutoSettings(Settings):
    """Chosen from the environment: the first service that it names (`DATABASE_URL`,
    `POSTGRES_HOST`, `TURSO_DATABASE_URL` …), else the local folder. The choice is logged."""

    backend: Literal["auto"]
    storage: Storage | None = Field(
        None, description="Keeps the contents. Left out: a database keeps all values inline."
    )

    def place(self) -> dict[str, Any]:
        raise AssertionError("the backend was not chosen")


BACKENDS: dict[str, type[Settings]] = {
    "sqlite": SQLiteSettings,
    "postgres": PostgresSettings,
    "sqlalchemy": SQLAlchemySettings,
    "turso": TursoSettings,
    "litestream": LitestreamSettings,
    "dynamodb": DynamoDBSettings,
    "firestore": FirestoreSettings,
    "mongodb": MongoDBSettings,
    "d1": D1Settings,
    "redis": RedisSettings,
    "bucket": BucketSettings,
    "blob-sqlite": BlobSQLiteSettings,
    "duckdb": DuckDBSettings,
    "ducklake": DuckLakeSettings,
    "auto": AutoSettings,
}
