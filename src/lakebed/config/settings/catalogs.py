"""The settings of each catalog, and their short forms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    model_validator,
)

from lakebed.catalog.opened import MEMORY
from lakebed.catalog.registry import catalog_of_scheme, known_catalogs
from lakebed.config.fields import (
    Count,
    LocalPath,
    Model,
    Positive,
    Raw,
    Seconds,
    Secret,
    Text,
    YesNo,
    expand_path,
    one_name,
    or_text,
    wrong,
)
from lakebed.config.masking import guard, reveal
from lakebed.config.problems import quoted
from lakebed.config.providers.server import ServerOptions
from lakebed.config.settings.litestream import LitestreamCatalogSettings
from lakebed.config.settings.logs import (
    BlobSQLiteCatalogSettings,
    BucketCatalogSettings,
    D1CatalogSettings,
    DynamoDBCatalogSettings,
    FirestoreCatalogSettings,
    LogCatalogSettings,
    MongoDBCatalogSettings,
    RedisCatalogSettings,
)
from lakebed.config.settings.turso import TursoCatalogSettings
from lakebed.suggestions import suggestion

DEFAULT_FILE = "lakebed.db"
OUTSIDE = "outside"
_SQLITE = "sqlite://"
_POOL_SIZE = 10  # the default of Postgres's pool


class SQLiteOptions(Model):
    """A SQLite file."""

    path: LocalPath = Field(
        default=DEFAULT_FILE, description="The file, or `:memory:`. Also as `url: sqlite:///file`."
    )

    @model_validator(mode="before")
    @classmethod
    def _synonyms(cls, raw: Raw) -> Raw:
        raw = one_name(raw, "path", "url", "connection_string")
        path = raw.get("path")
        if isinstance(path, str) and path.startswith(_SQLITE):
            raw["path"] = sqlite_path(path)
        return raw

    def as_catalog(self) -> dict[str, object]:
        """The catalog as `lakebed.open` takes it."""
        return {"type": "sqlite", "path": self.path}


class PostgresOptions(ServerOptions):
    """A Postgres database."""

    schema_: Text = Field(
        "lakebed", alias="schema", description="The schema that holds the tables of the lake."
    )
    min_size: Count = Field(1, description="Connections that the pool keeps.")
    max_size: Positive | None = Field(
        None, description="The most connections: 10, or `min_size` if that is more."
    )
    pool_size: Positive | None = Field(
        None, description="SQLAlchemy's way to say `max_size`: `pool_size` + `max_overflow`."
    )
    max_overflow: Count | None = Field(None, description="See `pool_size`.")
    timeout: Seconds = Field(30.0, description="Seconds to wait for a connection.")
    statement_timeout: Seconds = Field(
        300.0, description="Seconds to wait for the answer to one statement."
    )
    auto_migrate: YesNo = Field(True, description="Create and migrate the tables.")
    pgbouncer: YesNo = Field(
        False, description="Set this if the connection goes through PgBouncer in transaction mode."
    )

    @model_validator(mode="after")
    def _sizes_fit(self) -> PostgresOptions:
        for name in ("pool_size", "max_overflow"):
            if getattr(self, name) is not None and self.max_size is not None:
                raise wrong("cannot be combined with max_size: give one of them", name)
        most = self._most()
        if most is not None and most < self.min_size:
            at = "max_size" if self.pool_size is None else "pool_size"
            raise wrong(f"expected min_size ({self.min_size}) or more", at)
        return self

    def _most(self) -> int | None:
        """Return the most connections, or None if no setting says so."""
        if self.pool_size is None and self.max_overflow is None:
            return self.max_size
        size = max(_POOL_SIZE, self.min_size) if self.pool_size is None else self.pool_size
        return size + (self.max_overflow or 0)

    def as_catalog(self) -> dict[str, object]:
        """The catalog as `lakebed.open` takes it."""
        login = self.login()
        more = {"max_size": self._most(), "login": login}
        return {name: value for name, value in more.items() if value is not None} | {
            "type": "postgres",
            "connection_string": self.address(),
            "schema": self.schema_,
            "min_size": self.min_size,
            "timeout": self.timeout,
            "statement_timeout": self.statement_timeout,
            "auto_migrate": self.auto_migrate,
            "pgbouncer": self.pgbouncer,
        }


class SQLAlchemyOptions(Model):
    """Any database that SQLAlchemy supports."""

    url: Secret = Field(description="SQLAlchemy's URL, such as `mysql+pymysql://user@host/db`.")
    pool_size: Positive = Field(5, description="Connections that are kept open.")
    echo: YesNo = Field(False, description="Log every statement.")
    timeout: Seconds = Field(30.0, description="Seconds to wait for a connection.")
    statement_timeout: Seconds = Field(
        300.0, description="Seconds to wait for a server's answer to one statement."
    )
    schema_: Text = Field(
        "lakebed",
        alias="schema",
        description="For a Postgres database: the schema that holds the tables.",
    )
    auto_migrate: YesNo = Field(True, description="Create and migrate the tables.")

    @model_validator(mode="before")
    @classmethod
    def _synonyms(cls, raw: Raw, info: ValidationInfo) -> Raw:
        raw = one_name(raw, "url", "connection_string")
        url = raw.get("url")
        if isinstance(url, str) and url.startswith("sqlite") and ":///" in url:
            dialect, _, path = url.partition(":///")
            if path and not path.startswith((MEMORY, "file:")):
                raw["url"] = f"{dialect}:///{expand_path(path, info)}"
        return raw

    def as_catalog(self) -> dict[str, object]:
        """The catalog as `lakebed.open` takes it."""
        return {
            "type": "sqlalchemy",
            "url": self.url.get_secret_value(),
            "pool_size": self.pool_size,
            "echo": self.echo,
            "timeout": self.timeout,
            "statement_timeout": self.statement_timeout,
            "schema": self.schema_,
            "auto_migrate": self.auto_migrate,
        }


class SQLiteCatalogSettings(SQLiteOptions):
    """Names in a SQLite file. This is the default."""

    type: Literal["sqlite"]


class PostgresCatalogSettings(PostgresOptions):
    """Names in Postgres."""

    type: Literal["postgres"]


class SQLAlchemyCatalogSettings(SQLAlchemyOptions):
    """Names in a database that SQLAlchemy supports. The types `mysql` and `mariadb` use it too."""

    type: Literal["sqlalchemy", "mysql", "mariadb"]

    def as_catalog(self) -> dict[str, object]:
        return super().as_catalog() | {"type": self.type}


class OutsideCatalogSettings(Model):
    """Names in a catalog of another package. Its options are not checked here."""

    model_config = ConfigDict(extra="allow")

    type: str

    @model_validator(mode="before")
    @classmethod
    def _guard(cls, raw: Raw) -> Raw:
        return {
            name: value if name == "type" else guard(value, name) for name, value in raw.items()
        }

    def as_catalog(self) -> dict[str, object]:
        """The catalog as `lakebed.open` takes it."""
        extra = {name: reveal(value) for name, value in (self.model_extra or {}).items()}
        return {"type": self.type, **extra}


CatalogSettings = (
    SQLiteCatalogSettings
    | PostgresCatalogSettings
    | SQLAlchemyCatalogSettings
    | TursoCatalogSettings
    | LitestreamCatalogSettings
    | LogCatalogSettings
    | OutsideCatalogSettings
)
"""The settings of any catalog."""

CATALOGS: dict[str, type[Model]] = {
    "sqlite": SQLiteCatalogSettings,
    "postgres": PostgresCatalogSettings,
    "sqlalchemy": SQLAlchemyCatalogSettings,
    "turso": TursoCatalogSettings,
    "litestream": LitestreamCatalogSettings,
    "dynamodb": DynamoDBCatalogSettings,
    "firestore": FirestoreCatalogSettings,
    "mongodb": MongoDBCatalogSettings,
    "d1": D1CatalogSettings,
    "redis": RedisCatalogSettings,
    "bucket": BucketCatalogSettings,
    "blob-sqlite": BlobSQLiteCatalogSettings,
}


def long_form(value: object) -> Raw:
    """Return the mapping that a word or a URL stands for."""
    if isinstance(value, Mapping):
        kind = value.get("type")
        if kind not in (known := known_catalogs()):
            said = "is missing" if kind is None else f"is {quoted(kind)}"
            raise wrong(f"{said}: {suggestion(str(kind or ''), known)}", "type")
        return dict(value)
    if not isinstance(value, str):
        raise wrong("expected a word such as postgres, a URL, or a mapping with type")
    if value in (known := known_catalogs()):
        return {"type": value}
    if value == MEMORY or value.startswith(_SQLITE):
        return {"type": "sqlite", "path": value}
    if "://" not in value:
        raise wrong(
            f"unknown catalog {quoted(value)}: {suggestion(value, known)}"
            " (for a SQLite file, write sqlite:///path)"
        )
    # As in lakebed.open: postgresql:// means the native catalog, unless it names a driver.
    return {"type": catalog_of_scheme(value.partition("://")[0]), "url": value}


def _tag(value: object) -> str:
    kind = value.get("type") if isinstance(value, Mapping) else getattr(value, "type", None)
    if kind in ("mysql", "mariadb"):
        return "sqlalchemy"
    return kind if isinstance(kind, str) and kind in CATALOGS else OUTSIDE


Catalog = Annotated[
    Annotated[
        Annotated[SQLiteCatalogSettings, Tag("sqlite")]
        | Annotated[PostgresCatalogSettings, Tag("postgres")]
        | Annotated[SQLAlchemyCatalogSettings, Tag("sqlalchemy")]
        | Annotated[TursoCatalogSettings, Tag("turso")]
        | Annotated[LitestreamCatalogSettings, Tag("litestream")]
        | Annotated[DynamoDBCatalogSettings, Tag("dynamodb")]
        | Annotated[FirestoreCatalogSettings, Tag("firestore")]
        | Annotated[MongoDBCatalogSettings, Tag("mongodb")]
        | Annotated[D1CatalogSettings, Tag("d1")]
        | Annotated[RedisCatalogSettings, Tag("redis")]
        | Annotated[BucketCatalogSettings, Tag("bucket")]
        | Annotated[BlobSQLiteCatalogSettings, Tag("blob-sqlite")]
        | Annotated[OutsideCatalogSettings, Tag(OUTSIDE)],
        Discriminator(_tag),
    ],
    BeforeValidator(long_form),
    or_text("sqlite or postgres, or a URL such as sqlite:///path or postgresql://host/db"),
]


def sqlite_path(url: str) -> str:
    """Return the path in `sqlite:///path`."""
    rest = url.removeprefix(_SQLITE)
    if rest in ("", "/", f"/{MEMORY}"):
        return MEMORY
    if not rest.startswith("/"):
        raise wrong("sqlite:// names a host: write sqlite:///path, with three slashes")
    return rest[1:]
