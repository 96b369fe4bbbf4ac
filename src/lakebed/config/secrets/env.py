"""Secrets in environment variables."""

from __future__ import annotations

import os
from typing import Literal

from pydantic import Field

from lakebed.config.fields import Text
from lakebed.config.secrets.base import Secrets
from lakebed.errors import ConfigurationError

_UNPREFIXED = {
    "user": ("user", "POSTGRES_USER"),
    "password": ("password", "PASSWORD", "POSTGRES_PASSWORD"),
}


class EnvSecrets(Secrets):
    """Environment variables."""

    source: Literal["env"] = "env"
    prefix: str = Field(
        default="",
        description="Put before each name: with `DB_`, `password` is DB_password or DB_PASSWORD. "
        "Left out, `credentials` are also looked for in POSTGRES_USER and POSTGRES_PASSWORD.",
    )
    username_key: Text = Field(
        default="user",
        description="The name, after the prefix, of the variable with the user. Without a prefix, "
        "USER is ignored: it names the user who runs the program.",
    )
    password_key: Text = Field(
        default="password",
        description="The name, after the prefix, of the variable with the password.",
    )

    def credentials(self, user: str | None = None) -> dict[str, str]:
        """Return `username` and `password`. If `user` is given, only the password is read.

        Without a prefix, POSTGRES_USER and POSTGRES_PASSWORD replace variables that are not set.
        USER is ignored: it names the user who runs the program.
        """
        if self.prefix:
            return super().credentials(user)
        username = self._unprefixed(self.username_key, "user") if user is None else user
        return {"username": username, "password": self._unprefixed(self.password_key, "password")}

    def _unprefixed(self, key: str, usual: str) -> str:
        if key != usual:
            return self.get(key)
        variables = _UNPREFIXED[usual]
        for variable in variables:
            if variable in os.environ:
                return os.environ[variable]
        raise ConfigurationError(
            f"no secret {usual!r} in source env: there is no environment variable "
            f"{' or '.join(variables)}"
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
