"""The settings of a lake, with one model for each backend. The reference and the JSON Schema are
generated from them."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, PrivateAttr, model_validator
from pydantic_core import PydanticCustomError

from lakebed.catalog.opened import MEMORY
from lakebed.config.catalogs import (
    DEFAULT_FILE,
    Catalog,
    PostgresOptions,
    SQLAlchemyOptions,
    SQLiteCatalog,
    SQLiteOptions,
    long_form,
    sqlite_path,
)
from lakebed.config.fields import (
    Count,
    LocalPath,
    LocalPathOrUri,
    Model,
    Raw,
    Seconds,
    YesNo,
    one_name,
    or_text,
    wrong,
)
from lakebed.config.masking import Options, guard, hiding, mask, reveal, without
from lakebed.config.secrets.env import EnvSecrets
from lakebed.config.secrets.settings import SecretsSettings
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
            from lakebed.objects.opening import unknown_options

            for name, problem in unknown_options(self.uri, self.model_extra).items():
                raise wrong(problem, name)
        return self

    @property
    def folder(self) -> str | None:
        """The folder, if it is on this machine."""
        return _folder(self.uri)

    def as_storage(self) -> dict[str, object]:
        """The storage as `lakebed.open` takes it."""
        extra = {name: reveal(value) for name, value in (self.model_extra or {}).items()}
        return {"uri": self.uri, **extra}


def _folder(uri: str) -> str | None:
    path = uri.removeprefix("file://")
    return None if "://" in path else path


def _path_of(catalog: Raw) -> object:
    """The path of a SQLite catalog before it is validated. None if no path is given."""
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


class SearchSettings(Model):
    """How the lake is searched."""

    embedder: Literal["minilm", "e5"] | None = Field(
        None,
        description="The model that makes vectors, for a search by meaning. Needs the extra "
        "`embed`. All clients of a lake must use the same.",
    )
    cache: LocalPath | None = Field(
        None,
        description="The folder for copies of the search index, safe to delete; "
        "`~/.cache/lakebed` if left out.",
    )


class Settings(Model):
    """What every backend takes."""

    inline_threshold: Count | None = Field(
        None,
        description="Values of up to this many bytes stay in the catalog; 4096 if left out. Fixed "
        "when the lake is created.",
    )
    history: Literal["snapshots", "all"] | None = Field(
        None,
        description="Which replaced versions are kept: those that snapshots see (`snapshots`, the "
        "default), or `all`. Fixed when the lake is created.",
    )
    history_retention: Seconds | None = Field(
        None,
        description="With `history: all`, how long to keep them: seconds, or text such as `30d`. "
        "For ever if left out. Fixed when the lake is created.",
    )
    durability: Literal["normal", "full"] = Field(
        "normal", description="`full` waits for the disk at each commit of a SQLite catalog."
    )
    lock_timeout: Seconds = Field(60.0, description="Seconds that a write waits for others.")
    search: SearchSettings = Field(
        default_factory=lambda: SearchSettings(embedder=None, cache=None),
        description="How the lake is searched.",
    )
    read_only: YesNo = Field(
        False,
        description="Open the lake read-only: touch no file and refuse every call that writes. For "
        "archives, read-only disks and users without rights to write.",
    )
    lazy: YesNo = Field(
        False,
        description="Connect with the first call. Applies to the LTM interface, and to "
        "`lakebed.open` if the catalog is a server.",
    )
    secrets: SecretsSettings = Field(
        default_factory=lambda: EnvSecrets(),
        description="Where `{{ secrets.name }}` is looked up.",
    )

    @model_validator(mode="after")
    def _retention_needs_history(self) -> Settings:
        if self.history_retention is not None and self.history != "all":
            raise wrong("requires history: all", "history_retention")
        if self.history_retention == 0:
            raise wrong("expected more than 0 seconds", "history_retention")
        return self

    # The values that replaced `{{ secrets.… }}`: never shown.
    _secrets: frozenset[str] = PrivateAttr(frozenset())

    def hide(self, secrets: frozenset[str]) -> None:
        """Never show these values in the text of the settings."""
        self._secrets = secrets

    @property
    def secret_values(self) -> frozenset[str]:
        """The values that replaced `{{ secrets.… }}`."""
        return self._secrets

    def mask(self, text: str) -> str:
        """Return the text with these values masked."""
        return str(without(text, self._secrets))

    def hiding(self) -> AbstractContextManager[None]:
        """A block that removes these values from the text of every error that leaves it."""
        return hiding(self._secrets)

    def options(self) -> Options:
        """Return the settings in effect as keyword arguments of a backend, secrets included."""
        return Options(self.model_dump(by_alias=True, exclude_none=True), self._secrets)

    def shown(self) -> dict[str, object]:
        """Return the settings in effect as plain data, with secrets masked. Settings without a
        value are left out."""
        shown = without(mask(self.model_dump(by_alias=True, exclude_none=True)), self._secrets)
        assert isinstance(shown, dict)
        return {"backend": shown.pop("backend")} | shown

    def __repr_args__(self) -> Iterator[tuple[str | None, object]]:
        yield from self.shown().items()

    @abstractmethod
    def place(self) -> dict[str, Any]:
        """`where`, or `catalog` and `storage`, as `lakebed.open` takes them."""

    def open_options(self) -> dict[str, Any]:
        """All keyword arguments of `lakebed.open`."""
        return self.place() | {
            "inline_threshold": self.inline_threshold,
            "history": self.history,
            "history_retention": self.history_retention,
            "durability": self.durability,
            "lock_timeout": self.lock_timeout,
            "embedder": self.search.embedder,
            "cache": self.search.cache,
            **({"read_only": True} if self.read_only else {}),
        }


def _lazily(catalog: dict[str, object], lazy: bool) -> dict[str, object]:
    return catalog | {"lazy": True} if lazy and catalog["type"] != "sqlite" else catalog


class InlineSettings(Settings):
    """A backend that consists of a catalog only."""

    @abstractmethod
    def as_catalog(self) -> dict[str, object]:
        """The catalog as `lakebed.open` takes it."""

    def place(self) -> dict[str, Any]:
        return {"catalog": _lazily(self.as_catalog(), self.lazy)}


class SQLiteSettings(SQLiteOptions, InlineSettings):
    """All values inline in a SQLite file."""

    backend: Literal["sqlite"]


class PostgresSettings(PostgresOptions, InlineSettings):
    """All values inline in a Postgres database."""

    backend: Literal["postgres"]


class SQLAlchemySettings(SQLAlchemyOptions, InlineSettings):
    """All values inline in any database that SQLAlchemy knows."""

    backend: Literal["sqlalchemy"]


class DuckDBSettings(Settings):
    """Names in a catalog, large contents in the lake, which DuckDB queries."""

    backend: Literal["duckdb"]
    catalog: Catalog = Field(
        default_factory=lambda: SQLiteCatalog(type="sqlite"),
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
        try:
            catalog = long_form(raw.get("catalog", "sqlite"))
            path = _path_of(catalog) if catalog["type"] == "sqlite" else ""
        except PydanticCustomError:  # the field's own check tells, and where
            return raw
        storage = raw.get("storage", None if path == MEMORY else DEFAULT_FOLDER)
        if path is None:
            uri = storage.get("uri") if isinstance(storage, Mapping) else storage
            folder = _folder(os.fspath(uri)) if isinstance(uri, (str, os.PathLike)) else None
            catalog["path"] = DEFAULT_FILE if folder is None else f"{folder}/{CATALOG_FILE}"
        return raw | {"catalog": catalog, "storage": storage}

    @model_validator(mode="after")
    def _lasts(self) -> DuckDBSettings:
        lasting = not (isinstance(self.catalog, SQLiteCatalog) and self.catalog.path == MEMORY)
        if lasting and self.storage is not None and self.storage.uri.startswith("memory://"):
            raise wrong(
                "memory:// is lost when the process ends, but the catalog is kept: use a "
                "persistent storage, or catalog: ':memory:'",
                "storage",
            )
        return self

    def place(self) -> dict[str, Any]:
        folder = None if self.storage is None else self.storage.folder
        # A folder with its own catalog is a lake that can be moved.
        beside = None if folder is None else f"{folder}/{CATALOG_FILE}"
        if isinstance(self.catalog, SQLiteCatalog) and self.catalog.path == beside:
            return {"where": folder}
        storage = None if self.storage is None else self.storage.as_storage()
        return {"catalog": _lazily(self.catalog.as_catalog(), self.lazy), "storage": storage}


class DuckLakeSettings(Settings):
    """The local default under its own name: a folder with a SQLite catalog and the contents.

    It is not the format of the DuckDB extension DuckLake (see *Moving to Lakebed*).
    """

    backend: Literal["ducklake"]
    path: LocalPath = Field(DEFAULT_FOLDER, description="The folder.")

    def place(self) -> dict[str, Any]:
        return {"where": self.path}


class AutoSettings(Settings):
    """Chosen from the environment: `DATABASE_URL` or `POSTGRES_HOST` names the catalog. Without
    them it is the local folder. The choice is logged."""

    backend: Literal["auto"]
    storage: Storage | None = Field(
        None, description="Keeps the contents. Left out: with a database all values are inline."
    )

    def place(self) -> dict[str, Any]:
        raise AssertionError("the backend was not chosen")


BACKENDS: dict[str, type[Settings]] = {
    "sqlite": SQLiteSettings,
    "postgres": PostgresSettings,
    "sqlalchemy": SQLAlchemySettings,
    "duckdb": DuckDBSettings,
    "ducklake": DuckLakeSettings,
    "auto": AutoSettings,
}
