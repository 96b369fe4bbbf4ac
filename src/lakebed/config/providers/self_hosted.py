"""A self-hosted Postgres server."""

from __future__ import annotations

from typing import ClassVar

from lakebed.config.fields import Raw, wrong
from lakebed.config.postgres import address_from_environment
from lakebed.config.providers.base import Provider


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
        return found | {name: value for name, value in raw.items() if value is not None}
