"""Secrets in environment variables."""

from __future__ import annotations

import os

from lakebed.errors import ConfigurationError


class EnvSecrets:
    """The environment as a source of secrets: `password` is `<prefix>password`, or in capitals
    `<prefix>PASSWORD`."""

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix

    def get(self, name: str) -> str:
        exact, capitals = self._prefix + name, self._prefix + name.upper()
        for variable in (exact, capitals):
            if variable in os.environ:
                return os.environ[variable]
        looked = exact if exact == capitals else f"{exact} or {capitals}"
        raise ConfigurationError(
            f"no secret {name!r} in source env: no environment variable {looked}"
        )
