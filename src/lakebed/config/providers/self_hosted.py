"""A self-hosted Postgres server."""

from __future__ import annotations

from typing import ClassVar

from lakebed.config.fields import Raw, wrong
from lakebed.config.providers.address import address_from_environment
from lakebed.config.providers.base import Provider

_LOGIN = ("user", "password")


class SelfHosted(Provider):
    """A self-hosted server: libpq's own defaults and the usual environment variables."""

    name: ClassVar[str] = "self-hosted"
    sslmode: ClassVar[str | None] = None

    def place(self, raw: Raw) -> Raw:
        if raw.get("host") is not None:
            return raw
        found = address_from_environment()
        if found is None:
            raise wrong(
                "the address is missing: give connection_string or host, or set DATABASE_URL "
                "(postgresql://…) or POSTGRES_HOST"
            )
        if raw.get("credentials") is not None:
            found = {name: value for name, value in found.items() if name not in _LOGIN}
        return found | {name: value for name, value in raw.items() if value is not None}
