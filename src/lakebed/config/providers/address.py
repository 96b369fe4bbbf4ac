"""The address of a Postgres server: from settings, a URL, or the usual environment variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import quote, urlencode

_SCHEMES = ("postgresql", "postgres")
_VARIABLES = {
    "host": "POSTGRES_HOST",
    "port": "POSTGRES_PORT",
    "user": "POSTGRES_USER",
    "password": "POSTGRES_PASSWORD",
    "database": "POSTGRES_DB",
}
_LIBPQ = {"database": "dbname"}


def address_from_environment() -> dict[str, str] | None:
    """Return the settings in `DATABASE_URL` if it names a Postgres database, else those in the
    `POSTGRES_…` variables. Return None if there is no address."""
    plain = native_url(os.environ.get("DATABASE_URL", ""))
    if plain is not None:
        return {"connection_string": plain}
    if not os.environ.get("POSTGRES_HOST"):
        return None
    return {name: os.environ[var] for name, var in _VARIABLES.items() if os.environ.get(var)}


def native_url(url: str) -> str | None:
    """Return a Postgres URL for libpq, without a driver such as `+psycopg`. Return None if the URL
    is not for Postgres."""
    scheme, separator, rest = url.partition("://")
    name, _, _driver = scheme.partition("+")
    return f"postgresql://{rest}" if separator and name in _SCHEMES else None


def connection_string(parts: Mapping[str, object]) -> str:
    """Build a libpq connection string (`host='…' password='…'`). Values may have any characters."""
    return " ".join(
        f"{_LIBPQ.get(name, name)}='{_escape(str(value))}'"
        for name, value in parts.items()
        if value is not None
    )


def add_words(address: str, words: Mapping[str, str | None]) -> str:
    """Add parameters to a connection string or URL. They override those in it."""
    given = {name: value for name, value in words.items() if value is not None}
    if not given:
        return address
    if native_url(address) is None:
        return f"{address} {connection_string(given)}"
    return f"{address}{'&' if '?' in address else '?'}{urlencode(given, quote_via=quote)}"


def words_of(address: str) -> dict[str, str]:
    """Return the parameters of a connection string or URL, by libpq's names.

    The result is empty if libpq cannot read the string or is not installed. Opening the catalog
    then raises the error.
    """
    try:
        from psycopg import ProgrammingError
        from psycopg.conninfo import conninfo_to_dict
    except ImportError:
        return {}
    try:
        return {name: str(value) for name, value in conninfo_to_dict(address).items()}
    except ProgrammingError:
        return {}


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")
