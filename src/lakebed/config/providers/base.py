"""What differs between the providers of Postgres servers."""

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
    """The login that a token is for."""

    host: str
    port: int
    user: str
    region: str | None


class Provider:
    """A provider. This base class adds nothing of its own.

    `options`: the settings that only some providers have; `address`: those of them that say where
    the server is. `variables`: the environment variables with its address. `sslmode`: the default.
    `login`: what its tokens are called, or None if it has none.
    """

    name: ClassVar[str]
    options: ClassVar[frozenset[str]] = frozenset()
    address: ClassVar[frozenset[str]] = frozenset()
    variables: ClassVar[Mapping[str, str]] = {}
    sslmode: ClassVar[str | None] = "require"
    enforces_tls: ClassVar[bool] = False
    login: ClassVar[str | None] = None

    def place(self, raw: Raw) -> Raw:
        """Return the settings with the server's address: the given one, or the environment's."""
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
        """The host that the settings name."""
        return given["host"]

    def user(self, user: str, _host: str, *, at_host: bool) -> str:
        """The name of the user on this provider's servers. `at_host` is Azure's option."""
        assert not at_host
        return user

    def tokens(self, _target: Target) -> Callable[[], Token]:
        """Return a function that gives a valid token for a new connection."""
        raise AssertionError(f"provider {self.name} has no tokens")
