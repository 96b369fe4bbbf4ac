"""The settings of the catalog `turso`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from lakebed.config.fields import Model, Raw, Seconds, Secret, YesNo, one_name, wrong


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


class TursoCatalogSettings(TursoOptions):
    """Names in Turso, or in another libSQL server."""

    type: Literal["turso"]
