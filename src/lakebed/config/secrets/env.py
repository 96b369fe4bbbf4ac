"""Secrets in environment variables."""

from __future__ import annotations

import os
from typing import Literal

from pydantic import Field

from lakebed.config.fields import Text
from lakebed.config.secrets.base import Secrets
from lakebed.errors import ConfigurationError


class EnvSecrets(Secrets):
    """Environment variables."""

    source: Literal["env"] = "env"
    prefix: str = Field(
        default="",
        description="Put before each name: with `POSTGRES_`, `password` is "
        "POSTGRES_password or POSTGRES_PASSWORD.",
    )
    username_key: Text = Field(
        default="user", description="The name, after the prefix, of the variable with the user."
    )
    password_key: Text = Field(
        default="password",
        description="The name, after the prefix, of the variable with the password.",
    )

    def get(self, name: str) -> str:
        exact, capitals = self.prefix + name, self.prefix + name.upper()
        for variable in (exact, capitals):
            if variable in os.environ:
                return os.environ[variable]
        looked = exact if exact == capitals else f"{exact} or {capitals}"
        raise ConfigurationError(
            f"no secret {name!r} in source env: there is no environment variable {looked}"
        )
