"""Open the sessions that a command works on."""

from __future__ import annotations

import os
from typing import Annotated

import typer

import lakebed
from lakebed.cli.opening import Settings, is_absent, lake_name, open_lake
from lakebed.config.opening import is_configuration_file
from lakebed.errors import ConfigurationError
from lakebed.lake.lake import Lake
from lakebed.lake.opening import DEFAULT_FOLDER, History
from lakebed.sessions.folder.lake import open_folder
from lakebed.sessions.manager import SessionManager
from lakebed.sessions.opening import open_sessions

JSON = "json:"
SessionId = Annotated[str, typer.Argument(metavar="SESSION", help="The id of the session.")]


def open_manager(ctx: typer.Context, *, create: bool = False) -> SessionManager:
    """Open the sessions that --lake names, or without it `STORAGE_BACKEND`.

    `json:DIR` names a folder of JSON files. If the place does not exist, create it if `create`,
    otherwise raise ConfigurationError.
    """
    where = lake_name(ctx)
    if where == DEFAULT_FOLDER and os.environ.get("STORAGE_BACKEND"):
        return SessionManager(open_sessions())
    if where.startswith(JSON) or is_configuration_file(where):
        return SessionManager(open_place(where, create=create))
    settings = Settings(history="all") if create and is_absent(where) else Settings()
    return SessionManager(open_lake(ctx, create=create, settings=settings))


def open_place(where: str, *, create: bool) -> Lake:
    """Open the lake of a place that an argument names."""
    if where.startswith(JSON):
        folder = os.path.expanduser(where.removeprefix(JSON))  # noqa: PTH111 - text stays text
        if not folder or (not create and not os.path.isdir(folder)):  # noqa: PTH112
            raise ConfigurationError(f"no folder at {folder!r}")
        return open_folder(folder)
    if is_configuration_file(where):
        return open_sessions(where)
    if not create and is_absent(where):
        raise ConfigurationError(f"no lake at {where}")
    history: History | None = "all" if is_absent(where) else None
    if "://" in where:
        return lakebed.open(catalog=where, history=history)
    return lakebed.open(where, history=history)
