"""What differs from one provider of Postgres servers to another."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import ClassVar, NamedTuple

from lakebed.config.fields import Raw, wrong
from lakebed.config.masking import MASK


class Token(NamedTuple):
    """What stands for a password for a while; it ends at `expires_at`, in seconds since 1970 (None
    if it does not say)."""

    value: str
    expires_at: float | None

    def __repr__(self) -> str:
        return f"Token({MASK}, expires_at={self.expires_at})"


class Target(NamedTuple):
    """What a token is for."""

    host: str
    port: int
    user: str
    region: str | None


class Provider:
    """A provider; this one adds nothing of its own.

    `options`: the settings that not all providers take; `address`: those of them that say where the
    server is. `variables`: the environment's names for its address. `sslmode`: what is meant if
    none is given. `login`: what its tokens are called, None if it has none.
    """

    name: ClassVar[str]
    options: ClassVar[frozenset[str]] = frozenset()
    address: ClassVar[frozenset[str]] = frozenset()
    variables: ClassVar[Mapping[str, str]] = {}
    sslmode: ClassVar[str | None] = "require"
    enforces_tls: ClassVar[bool] = False
    login: ClassVar[str | None] = None

    def place(self, raw: Raw) -> Raw:
        """The settings with the server's address in them: the one given, else the environment's."""
        if raw.get("host") is not None:
            return raw
        variables = self.variables.items()
        found = {name: os.environ[var] for name, var in variables if os.environ.get(var)}
        if "host" not in found:
            raise wrong(self._no_host(), "host")
        return found | {name: value for name, value in raw.items() if value is not None}

    def _no_host(self) -> str:
        return f"is missing: provider {self.name} takes host, or {self.variables['host']} is set"

    def host(self, given: Mapping[str, str | None]) -> str | None:
        """The host that the settings name."""
        return given["host"]

    def user(self, user: str, _host: str, *, at_host: bool) -> str:
        """The user as this provider's servers know it; `at_host` is Azure's option."""
        assert not at_host
        return user

    def tokens(self, _target: Target) -> Callable[[], Token]:
        """What gives a token that is good for a new connection, renewed before it ends."""
        raise AssertionError(f"provider {self.name} has no tokens")
