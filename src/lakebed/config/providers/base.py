"""The base class of the providers of Postgres servers."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import ClassVar, NamedTuple

from lakebed.config.fields import Raw, wrong
from lakebed.config.masking import MASK


class Token(NamedTuple):
    """A temporary password. It expires at `expires_at`, in seconds since 1970 (None if unknown)."""

    value: str
    expires_at: float | None

    def __repr__(self) -> str:
        return f"Token({MASK}, expires_at={self.expires_at})"


class Target(NamedTuple):
    """The server and user that a token is for."""

    host: str
    port: int
    user: str
    region: str | None


class Provider:
    """A provider. This base class has no settings of its own.

    `options`: the settings that only some providers have. `address`: those among them that name the
    server. `variables`: the environment variables with the server's address, by setting. `sslmode`:
    the default. `login`: the name of the provider's tokens, or None if it has none.
    """

    name: ClassVar[str]
    options: ClassVar[frozenset[str]] = frozenset()
    address: ClassVar[frozenset[str]] = frozenset()
    variables: ClassVar[Mapping[str, str]] = {}
    sslmode: ClassVar[str | None] = "require"
    enforces_tls: ClassVar[bool] = False
    login: ClassVar[str | None] = None

    def place(self, raw: Raw) -> Raw:
        """Return the settings with the server's address: as given, else from the environment."""
        if raw.get("host") is not None:
            return raw
        variables = self.variables.items()
        found = {name: os.environ[var] for name, var in variables if os.environ.get(var)}
        if "host" not in found:
            raise wrong(self._no_host(), "host")
        return found | {name: value for name, value in raw.items() if value is not None}

    def _no_host(self) -> str:
        return f"is missing: provider {self.name} needs it, or {self.variables['host']} must be set"

    def host(self, given: Mapping[str, str | None]) -> str | None:
        """Return the host that the settings name, or None."""
        return given["host"]

    def user(self, user: str, _host: str, *, at_host: bool) -> str:
        """Return the user's name on this provider's servers. `at_host` is an option of Azure."""
        assert not at_host
        return user

    def tokens(self, _target: Target) -> Callable[[], Token]:
        """Return a function that gives a valid token for each new connection."""
        raise AssertionError(f"provider {self.name} has no tokens")
