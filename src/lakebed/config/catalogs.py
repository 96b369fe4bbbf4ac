"""The settings of each catalog, and the short forms that stand for them."""

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

from lakebed.catalog.registry import MEMORY, catalog_of_scheme, known_catalogs
from lakebed.config.fields import (
    Count,
    LocalPath,
    Model,
    Port,
    Positive,
    Raw,
    Seconds,
    Secret,
    Text,
    YesNo,
    expand_path,
    or_text,
    wrong,
)
from lakebed.config.masking import guard, reveal
from lakebed.config.postgres import (
    add_login,
    address_from_environment,
    connection_string,
)
from lakebed.config.problems import quoted, suggestion
from lakebed.config.secrets import create_secrets_backend
from lakebed.errors import ConfigurationError

DEFAULT_FILE = "lakebed.db"
OUTSIDE = "outside"
_SQLITE = "sqlite://"


class SecretsSettings(Model):
    """Where secrets come from."""

    source: Literal["env"] = Field(default="env", description="`env`: environment variables.")
    prefix: str = Field(
        default="",
        description="Stands before each name: with `POSTGRES_`, `password` is "
        "POSTGRES_password or POSTGRES_PASSWORD.",
    )


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


class PostgresOptions(Model):
    """A Postgres database. Without an address it comes from `DATABASE_URL`, or from
    `POSTGRES_HOST`, `POSTGRES_PORT`, `POSTGRES_USER`, `POSTGRES_PASSWORD` and `POSTGRES_DB`."""

    connection_string: Secret | None = Field(
        None, description="A URL (`postgresql://…`) or libpq's `host=… dbname=…`. Also as `url`."
    )
    host: Text | None = Field(None, description="Name, address, or folder of the socket.")
    port: Port | None = Field(None, description="5432 if left out.")
    user: Text | None = None
    password: Secret | None = Field(None, description="Any characters, as they are.")
    database: Text | None = None
    credentials: SecretsSettings | None = Field(
        None, description="Where the secrets `user` and `password` come from."
    )
    schema_: Text = Field("lakebed", alias="schema", description="Holds the tables of one lake.")
    min_size: Count = Field(1, description="Connections that the pool keeps.")
    max_size: Positive | None = Field(
        None, description="Connections that it opens at most: 10, or `min_size` if that is more."
    )
    timeout: Seconds = Field(30.0, description="Seconds to wait for a connection.")
    statement_timeout: Seconds = Field(
        300.0, description="Seconds to wait for the answer to one statement."
    )
    auto_migrate: YesNo = Field(True, description="Create and migrate the tables.")
    pgbouncer: YesNo = Field(False, description="PgBouncer, in transaction mode, is in between.")

    @model_validator(mode="before")
    @classmethod
    def _address(cls, raw: Raw) -> Raw:
        raw = one_name(raw, "connection_string", "url")
        raw = _with_credentials(raw)
        parts = [name for name in ("host", "port", "database") if raw.get(name) is not None]
        if raw.get("connection_string") is not None:
            if parts:
                raise wrong("is given beside connection_string: expected one of them", parts[0])
            return raw
        if raw.get("host") is not None:
            return raw
        found = address_from_environment()
        if found is None:
            raise wrong(
                "no address: give connection_string or host, or set DATABASE_URL "
                "(postgresql://…) or POSTGRES_HOST"
            )
        return found | {name: value for name, value in raw.items() if value is not None}

    def as_catalog(self) -> dict[str, object]:
        """The catalog as `lakebed.open` takes it."""
        password = self.password.get_secret_value() if self.password else None
        login = {"user": self.user, "password": password}
        if self.connection_string is None:
            server = {"host": self.host, "port": self.port, "database": self.database}
            whole = connection_string({**server, **login})
        else:
            whole = add_login(self.connection_string.get_secret_value(), login)
        limits = {} if self.max_size is None else {"max_size": self.max_size}
        return limits | {
            "type": "postgres",
            "connection_string": whole,
            "schema": self.schema_,
            "min_size": self.min_size,
            "timeout": self.timeout,
            "statement_timeout": self.statement_timeout,
            "auto_migrate": self.auto_migrate,
            "pgbouncer": self.pgbouncer,
        }


class SQLAlchemyOptions(Model):
    """Any database that SQLAlchemy knows."""

    url: Secret = Field(description="SQLAlchemy's URL, such as `mysql+pymysql://user@host/db`.")
    pool_size: Positive = Field(5, description="Connections that are kept open.")
    echo: YesNo = Field(False, description="Log every statement.")
    timeout: Seconds = Field(30.0, description="Seconds to wait for a connection.")
    statement_timeout: Seconds = Field(
        300.0, description="Seconds to wait for a server's answer to one statement."
    )
    schema_: Text = Field(
        "lakebed", alias="schema", description="Of a Postgres database: holds the tables."
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


class SQLiteCatalog(SQLiteOptions):
    """Names in a SQLite file: the default."""

    type: Literal["sqlite"]


class PostgresCatalog(PostgresOptions):
    """Names in Postgres."""

    type: Literal["postgres"]


class SQLAlchemyCatalog(SQLAlchemyOptions):
    """Names in a database that SQLAlchemy knows; `mysql` and `mariadb` are two of them."""

    type: Literal["sqlalchemy", "mysql", "mariadb"]

    def as_catalog(self) -> dict[str, object]:
        return super().as_catalog() | {"type": self.type}


class OutsideCatalog(Model):
    """Names in a catalog that another package has registered; all its options are its own."""

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


CATALOGS: dict[str, type[SQLiteCatalog | PostgresCatalog | SQLAlchemyCatalog]] = {
    "sqlite": SQLiteCatalog,
    "postgres": PostgresCatalog,
    "sqlalchemy": SQLAlchemyCatalog,
}


def long_form(value: object) -> Raw:
    """The mapping that a word or a URL stands for."""
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
            " (a SQLite file is written sqlite:///path)"
        )
    # As for lakebed.open: a plain postgresql:// is the native catalog, one with a driver is not.
    return {"type": catalog_of_scheme(value.partition("://")[0]) or "sqlalchemy", "url": value}


def _tag(value: object) -> str:
    kind = value.get("type") if isinstance(value, Mapping) else getattr(value, "type", None)
    if kind in ("mysql", "mariadb"):
        return "sqlalchemy"
    return kind if isinstance(kind, str) and kind in CATALOGS else OUTSIDE


Catalog = Annotated[
    Annotated[
        Annotated[SQLiteCatalog, Tag("sqlite")]
        | Annotated[PostgresCatalog, Tag("postgres")]
        | Annotated[SQLAlchemyCatalog, Tag("sqlalchemy")]
        | Annotated[OutsideCatalog, Tag(OUTSIDE)],
        Discriminator(_tag),
    ],
    BeforeValidator(long_form),
    or_text("sqlite or postgres, or a URL such as sqlite:///path or postgresql://host/db"),
]


def one_name(raw: Raw, name: str, *synonyms: str) -> Raw:
    """The settings with synonyms under one name; two of them at once are an error."""
    given = [synonym for synonym in (name, *synonyms) if raw.get(synonym) is not None]
    if len(given) > 1:
        raise wrong(f"is given beside {given[0]}: expected one of them", given[1])
    rest = {key: value for key, value in raw.items() if key not in synonyms}
    return rest | {name: raw[given[0]]} if given else rest


def sqlite_path(url: str) -> str:
    """The path in `sqlite:///path`."""
    rest = url.removeprefix(_SQLITE)
    if rest in ("", "/", f"/{MEMORY}"):
        return MEMORY
    if not rest.startswith("/"):
        raise wrong("sqlite:// names a host: write sqlite:///path, three slashes")
    return rest[1:]


def _with_credentials(raw: Raw) -> Raw:
    credentials = raw.get("credentials")
    if not isinstance(credentials, Mapping):
        return raw
    for name in ("user", "password"):
        if raw.get(name) is not None:
            raise wrong("is given beside credentials: expected one of them", name)
    settings = SecretsSettings.model_validate(credentials)
    try:
        source = create_secrets_backend(settings.source, prefix=settings.prefix)
        raw = {name: value for name, value in raw.items() if name != "credentials"}
        return raw | {name: source.get(name) for name in ("user", "password")}
    except ConfigurationError as error:
        raise wrong(str(error)) from None
