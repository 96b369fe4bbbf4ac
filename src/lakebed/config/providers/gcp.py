"""Cloud SQL for PostgreSQL on Google Cloud."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from datetime import UTC
from typing import ClassVar

from lakebed.config.clouds import GOOGLE, first_line
from lakebed.config.fields import Raw, wrong
from lakebed.config.providers.base import Provider, Target, Token
from lakebed.errors import ConnectError

# https://cloud.google.com/sql/docs/postgres/iam-logins
_SCOPE = "https://www.googleapis.com/auth/sqlservice.login"
_VARIABLE = "CLOUDSQL_CONNECTION_NAME"
# A project of an organisation has a colon of its own: example.com:project.
_CONNECTION_NAME = re.compile(r"([^:/\s]+:)?[^:/\s]+:[^:/\s]+:[^:/\s]+")
_PART = re.compile(r"[^:/\s]+")
_PROJECT = re.compile(r"([^:/\s]+:)?[^:/\s]+")


class Gcp(Provider):
    """Cloud SQL, through the socket of its proxy or the platform, or through an address."""

    name: ClassVar[str] = "gcp"
    options: ClassVar[frozenset[str]] = frozenset({"project", "region", "instance"})
    address: ClassVar[frozenset[str]] = options
    login: ClassVar[str | None] = "IAM token"

    def place(self, raw: Raw) -> Raw:
        if raw.get("instance") is not None:
            if raw.get("host") is not None:
                raise wrong("cannot be combined with instance: give one of them", "host")
            _check_connection_name(raw)
            return raw
        for name in ("project", "region"):
            if raw.get(name) is not None:
                raise wrong("requires instance", name)
        if raw.get("host") is not None:
            return raw
        found = os.environ.get(_VARIABLE, "")
        if not found:
            raise wrong(
                "is missing: provider gcp needs host, or instance with project and region, or "
                f"{_VARIABLE} must be set",
                "host",
            )
        if not _CONNECTION_NAME.fullmatch(found):
            raise wrong(f"{_VARIABLE} must have the form project:region:instance", "host")
        return raw | {"host": f"/cloudsql/{found}"}

    def host(self, given: Mapping[str, str | None]) -> str | None:
        if given["instance"] is None:
            return given["host"]
        return f"/cloudsql/{given['project']}:{given['region']}:{given['instance']}"

    def user(self, user: str, _host: str, *, at_host: bool) -> str:
        assert not at_host
        # Names in Postgres have at most 63 bytes, so Cloud SQL removes this suffix.
        return user.removesuffix(".gserviceaccount.com")

    def tokens(self, _target: Target) -> Callable[[], Token]:
        auth = GOOGLE.client("google.auth")
        refused = GOOGLE.client("google.auth.exceptions").GoogleAuthError
        request = GOOGLE.client("google.auth.transport.requests").Request()
        try:
            credentials, _ = auth.default(scopes=[_SCOPE])
        except refused as error:
            raise _no_token(error) from None

        def token() -> Token:
            if not credentials.valid:  # true from some minutes before the token expires
                try:
                    credentials.refresh(request)
                except refused as error:
                    raise _no_token(error) from None
            end = credentials.expiry  # in UTC, but without a zone
            return Token(credentials.token, end and end.replace(tzinfo=UTC).timestamp())

        return token


def _check_connection_name(raw: Raw) -> None:
    for name, pattern in (("project", _PROJECT), ("region", _PART), ("instance", _PART)):
        part = raw.get(name)
        if part is None:
            raise wrong("is missing: instance requires project and region", name)
        if not isinstance(part, str) or not pattern.fullmatch(part):
            raise wrong(f"expected only the {name}'s name, without ':', '/' or spaces", name)


def _no_token(error: Exception) -> ConnectError:
    return ConnectError(
        f"cannot get a token for Cloud SQL from Google: {first_line(error)}", "auth_failed"
    )
