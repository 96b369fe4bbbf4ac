"""The settings of the catalogs `turso` and `litestream`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from lakebed.config.fields import (
    LocalPath,
    LocalPathOrUri,
    Model,
    Raw,
    Seconds,
    Secret,
    Text,
    YesNo,
    one_name,
    wrong,
)


class TursoOptions(Model):
    """A database of Turso, or of another libSQL server."""

    url: Secret = Field(
        description="`libsql://database-organization.turso.io`, or `http://host:port` for your own "
        "server."
    )
    auth_token: Secret | None = Field(
        None, description="The database's token. Also as `?authToken=` in the URL."
    )
    timeout: Seconds = Field(
        30.0, description="Seconds to wait for an answer, and to keep repeating a failed request."
    )
    auto_migrate: YesNo = Field(True, description="Create and migrate the tables.")

    @model_validator(mode="before")
    @classmethod
    def _synonyms(cls, raw: Raw) -> Raw:
        return one_name(raw, "url", "connection_string")

    @model_validator(mode="after")
    def _address_is_one(self) -> TursoOptions:
        from lakebed.catalog.hrana.server import address_of
        from lakebed.errors import ConfigurationError

        token = None if self.auth_token is None else self.auth_token.get_secret_value()
        try:
            address_of(self.url.get_secret_value(), token)
        except ConfigurationError as error:
            raise wrong(str(error).partition(": ")[2] or str(error), "url") from None
        return self

    def as_catalog(self) -> dict[str, object]:
        """The catalog as `lakebed.open` takes it."""
        token = (
            {} if self.auth_token is None else {"auth_token": self.auth_token.get_secret_value()}
        )
        return {
            "type": "turso",
            "url": self.url.get_secret_value(),
            **token,
            "timeout": self.timeout,
            "auto_migrate": self.auto_migrate,
        }


class TursoCatalog(TursoOptions):
    """Names in Turso, or in another libSQL server."""

    type: Literal["turso"]


class LitestreamOptions(Model):
    """A SQLite file that Litestream copies to a replica all the time. One node at a time."""

    path: LocalPath = Field(description="The file. Restored from the replica if it does not exist.")
    replica: LocalPathOrUri = Field(description="A folder, or `s3://bucket/prefix`.")
    endpoint_url: Text | None = Field(None, description="For a replica in S3.")
    region: Text | None = Field(None, description="For a replica in S3.")
    fence_ttl: Seconds = Field(
        60.0,
        description="Seconds after which another node may take over the replica of a dead node.",
    )
    fence_timeout: Seconds = Field(
        90.0, description="Seconds to wait until another node has given up the replica."
    )

    def as_catalog(self) -> dict[str, object]:
        """The catalog as `lakebed.open` takes it."""
        return {"type": "litestream"} | {
            name: value
            for name in LitestreamOptions.model_fields
            if (value := getattr(self, name)) is not None
        }


class LitestreamCatalog(LitestreamOptions):
    """Names in a SQLite file with a replica."""

    type: Literal["litestream"]
