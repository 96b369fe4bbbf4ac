"""Checks a connection to Postgres: its provider, its TLS and its login."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from lakebed.catalog.postgres.errors import explain
from lakebed.catalog.postgres.opening import check_address
from lakebed.catalog.postgres.server import require_driver
from lakebed.catalog.statements.dialect import POSTGRES
from lakebed.config.providers.address import words_of
from lakebed.config.providers.server import ServerOptions

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_CHECKS = {
    "verify-ca": ("note", "certificate checked, but not its name: sslmode verify-full checks both"),
    "verify-full": ("ok", "certificate and name checked"),
}
_UNCHECKED = (
    "note",
    "certificate not checked, so an attacker on the network could read everything: set sslmode "
    "verify-full and sslrootcert",
)


class Look(NamedTuple):
    """The result of one check."""

    check: str
    state: Literal["ok", "note"]
    detail: str


def look_at(options: ServerOptions, wait: float) -> Iterator[Look]:
    """Connect once, and describe the connection. Waits at most `wait` seconds.

    Raises ConnectError or another LakebedError if the connection fails.
    """
    require_driver()
    import psycopg

    login = options.login()
    address = check_address(options.address())
    words = words_of(address)
    shown = f"postgresql://{words.get('host', 'localhost')}:{words.get('port', 5432)}"
    tokens: dict[str, Any] = dict(login()) if login else {}
    begin = time.perf_counter()
    try:
        with psycopg.connect(
            address, connect_timeout=int(wait), application_name="lakebed", **tokens
        ) as connection:
            took = (time.perf_counter() - begin) * 1000
            row = connection.execute(POSTGRES.queries()["session_tls"].encode()).fetchone()
            major, minor = divmod(connection.info.server_version, 10_000)
            user = connection.info.user
            with_password = connection.pgconn.used_password
            encrypted = connection.pgconn.ssl_in_use
    except psycopg.Error as error:
        raise explain(error, f"{shown}/{words.get('dbname', '')}") from None
    yield Look(
        "server",
        "ok",
        f"provider {options.provider}, PostgreSQL {major}.{minor}, connected in {took:.1f} ms",
    )
    yield _tls(words, encrypted, row)
    kind = login.kind if login else "password" if with_password else "no password"
    if not login and not with_password and "sslcert" in words:
        kind = "client certificate"
    ends = None if login is None else login.expires_at
    left = "" if ends is None else f", valid for another {ends - time.time():.0f} seconds"
    yield Look("login", "ok", f"{user} by {kind}{left}")


def _tls(words: Mapping[str, str], encrypted: bool, row: tuple[Any, ...] | None) -> Look:
    if not encrypted:
        host = words.get("host", "")
        if not host or host.startswith(("/", "@")) or host in _LOOPBACK:
            return Look("tls", "ok", "no TLS: the connection stays on this machine")
        return Look("tls", "note", "no TLS: passwords and values cross the network unencrypted")
    # Behind a pooler the server describes the pooler's connection, not ours.
    version = row[0] if row and row[0] else "TLS as far as the pooler"
    mode = words.get("sslmode", "prefer")
    if mode == "require" and "sslrootcert" in words:
        mode = "verify-ca"  # libpq treats it so
    state, detail = _CHECKS.get(mode, _UNCHECKED)
    return Look("tls", "ok" if state == "ok" else "note", f"{version}, {detail} (sslmode {mode})")
