"""Where sessions are kept in tests, and how another process opens the same."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import lakebed
from lakebed.lake.lake import Lake
from lakebed.sessions import SessionManager
from lakebed.sessions.folder.lake import open_folder

BACKENDS = ("sqlite", "json", "postgres", "mariadb", "scope")


def place(backend: str, folder: Path, request: Any) -> str:
    """A new place for a backend, as text that another process can open."""
    if backend == "json":
        return f"json:{folder}/json"
    if backend == "postgres":
        server = request.getfixturevalue("postgres_18")
        return server.url(server.create_database())
    if backend == "mariadb":
        return request.getfixturevalue("mariadb").url(f"t_{secrets.token_hex(6)}")
    return f"{backend}:{folder}/lake"


def open_place(where: str) -> Lake:
    """The lake there."""
    kind, _, rest = where.partition(":")
    if kind == "json":
        return open_folder(rest)
    if kind == "sqlite":
        return lakebed.open(rest, history="all")
    if kind == "scope":
        return lakebed.open(rest, history="all").scope("agency/a/team/t")
    if kind == "postgresql":
        return lakebed.open(catalog=where, history="all")
    catalog = {"type": "sqlalchemy", "url": where.replace("mysql:", "mysql+pymysql:")}
    return lakebed.open(catalog=catalog, history="all")


def open_sessions(where: str) -> SessionManager:
    """The sessions there."""
    return SessionManager(open_place(where))
